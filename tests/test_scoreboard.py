"""The scoreboard: what it gathers from the chapters' outputs, and what it refuses to show."""

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from memhelpers import claims, stats
from memhelpers.claims import Ledger, judge
from memhelpers.errors import ClaimError
from tests.chapters import CHAPTERS
from tests.toy_claims import ENTRY, OTHER, SECOND, Table, interval
from tools import notebooks, scoreboard


@pytest.fixture
def chapter(tmp_path: Path) -> Callable[..., Path]:
    """Writes a notebook whose stored outputs are the given ledgers."""

    def write(name: str, *ledgers: Ledger, title: str = "A chapter") -> Path:
        cells = [nbformat.v4.new_markdown_cell(f"# {title}\n\ntext")]
        for ledger in ledgers:
            output = nbformat.v4.new_output("display_data", data=ledger._repr_mimebundle_())
            cells.append(nbformat.v4.new_code_cell("# a comment\nledger", outputs=[output]))
        path = tmp_path / name
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write


def edit(path: Path, change: Callable[[dict], None]) -> None:
    """Changes the first table of claims that a notebook stores."""
    notebook = notebooks.read(path)
    change(scoreboard.tables(notebook)[0])
    notebooks.write(notebook, path)


# What it shows


def test_the_table_shows_effects_and_intervals_by_chapter(ledger, chapter):
    paths = [chapter("04-loss-sensitivity.ipynb", ledger, title="Loss <sensitivity>")]
    page = scoreboard.gather(paths).table()
    assert "\n\n" not in page, "a blank line ends a block of HTML in Markdown"
    table = Table(page)
    assert table.caption.startswith(
        "3 claims. The chapters' own runs: 1 supported, 0 contradicted, 1 inconclusive, "
        "1 not measured yet. Recorded runs: 0 supported, 1 contradicted, 0 inconclusive, "
        "3 not recorded at paper scale. "  # one of the two runs of C3.1 is missing
    )
    assert [row[0] for row in table.rows] == [
        "Claim", "Chapter 02: not written yet", "C1.1a",
        "Chapter 04: Loss <sensitivity>", "C3.1", "C3.2",
    ]  # fmt: skip
    assert table.scopes.count("rowgroup") == 2
    assert '<a href="04-loss-sensitivity.html">' in page
    assert table.rows[0][4] == "The chapter's own run"
    assert table.rows[2][4:] == ["not measured yet", "not recorded at paper scale"]
    assert table.rows[4][4] == "quick, digits: ✓ supported0.33 [0.30, 0.36], 5 seeds"
    assert "paper, mnist: ✗ contradicted0.030 [0.010, 0.050]" in table.rows[4][5]
    assert "paper, cifar10: not recorded at paper scale" in table.rows[4][5]


def test_the_text_tells_the_same(ledger, chapter):
    text = str(scoreboard.gather([chapter("04-a.ipynb", ledger, title="Loss")]))
    assert text.startswith("3 claims. ")
    assert "In brackets: 95 % intervals.\n\nChapter 02: not written yet\nC1.1a: Real" in text
    assert "\n\nChapter 04: Loss\nC3.1: Real digits are less equal than <noise>.\n" in text
    assert "    Here: quick, digits: supported, 0.33 [0.30, 0.36], 5 seeds\n" in text
    assert "    Recorded: paper, mnist: contradicted, 0.030 [0.010, 0.050], 10 seeds\n" in text
    assert "2 seeds (the claim demands at least 5 seeds)\n" in text
    assert "    Here: not measured yet\n    Recorded: not recorded at paper scale\n" in text
    assert max(map(len, text.splitlines()[1:])) < 120


def test_the_data_hold_every_claim_and_every_verdict(ledger, chapter):
    data = scoreboard.gather([chapter("04-a.ipynb", ledger)]).data()
    first, second, third = data["claims"]
    declared = {**ENTRY, "sentence": "Real digits are less equal than <noise>."}
    assert {name: first[name] for name in ENTRY} == declared
    here, recorded = first["verdicts"]
    assert here == {
        "run": "quick, digits", "recorded": False, "verdict": "supported",
        "reason": "the whole interval is above 0.1", "estimate": pytest.approx(0.33),
        "low": 0.3, "high": 0.36, "level": 0.95, "n": 5, "unit": "seeds",
    }  # fmt: skip
    assert (recorded["run"], recorded["recorded"]) == ("paper, mnist", True)
    assert (recorded["verdict"], recorded["high"], recorded["n"]) == ("contradicted", 0.05, 10)
    assert first["not_recorded"] == ["paper, cifar10"]
    assert list(second["threshold"]) == [0.5, 2]
    assert [verdict["verdict"] for verdict in second["verdicts"]] == ["inconclusive"]
    assert (third["id"], third["verdicts"], third["not_recorded"]) == ("C1.1a", [], [])


def test_an_interval_without_ends_survives_the_way_through_the_notebook(declare, chapter):
    path = chapter("04-a.ipynb", Ledger([judge("C3.1", stats.interval([0.3]))], title="quick"))
    board = scoreboard.gather([path])
    assert board.ledgers["C3.1"].here[0].interval == stats.interval([0.3])
    (verdict,) = board.data()["claims"][0]["verdicts"]
    assert (verdict["low"], verdict["high"]) == (None, None)


def test_the_table_takes_its_place_in_the_page_and_the_data_lie_beside_it(
    ledger, chapter, tmp_path
):
    board = scoreboard.gather([chapter("04-a.ipynb", ledger)])
    page = tmp_path / scoreboard.PAGE
    page.parent.mkdir()
    page.write_text(f"# Scoreboard\n\n{scoreboard.PLACE}\n\nMore.\n")
    scoreboard.write(board, tmp_path)
    before, wide, after = page.read_text().partition('\n\n<div class="mem-wide">\n')
    assert (before, bool(wide)) == ("# Scoreboard", True)
    assert after == f"{board.table()}\n</div>\n\nMore.\n"
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(
        json.dumps(board.data())
    )
    with pytest.raises(ClaimError, match=r"book/scoreboard.md: given 0 lines"):
        scoreboard.write(board, tmp_path)


# What it refuses


def test_a_claim_in_two_tables_is_refused(ledger, chapter):
    one = Ledger(ledger.here[:1], title="again")
    both = chapter("04-a.ipynb", ledger, one)
    with pytest.raises(ClaimError, match=r"C3.1 stands in two tables: 04-a.ipynb and 04-a.ipynb"):
        scoreboard.gather([both])
    paths = [chapter("04-a.ipynb", one), chapter("04-b.ipynb", ledger)]
    with pytest.raises(ClaimError, match=r"C3.1 stands in two tables: 04-a.ipynb and 04-b.ipynb"):
        scoreboard.gather(paths)


def test_a_claim_in_another_chapter_than_declared_is_refused(ledger, chapter):
    with pytest.raises(ClaimError, match=r"C3.1 of chapter 04 is shown in 05-a.ipynb"):
        scoreboard.gather([chapter("05-a.ipynb", ledger)])


def test_a_claim_that_is_no_longer_declared_is_refused(ledger, chapter, declare):
    path = chapter("04-a.ipynb", ledger)
    declare(SECOND, OTHER)
    with pytest.raises(ClaimError, match=r"'C3.1' is not declared; declared: C3.2"):
        scoreboard.gather([path])


def test_a_stored_verdict_older_than_the_claims_file_is_refused(ledger, chapter, declare):
    path = chapter("04-a.ipynb", ledger)
    declare({**ENTRY, "threshold": 0.5}, SECOND, OTHER)
    with pytest.raises(ClaimError, match=r"C3.1 is stored as supported, .* execute the chapter"):
        scoreboard.gather([path])


def test_a_shown_claim_older_than_the_claims_file_is_refused(ledger, chapter, declare):
    path = chapter("04-a.ipynb", ledger)
    declare({**ENTRY, "sentence": "Another sentence."}, SECOND, OTHER)
    with pytest.raises(ClaimError, match=r"04-a.ipynb: the table .* execute the chapter again"):
        scoreboard.gather([path])


def test_an_edited_verdict_is_refused(ledger, chapter):
    path = chapter("04-a.ipynb", ledger)
    edit(path, lambda stored: stored[claims.MIME]["rows"][0].update(verdict="contradicted"))
    with pytest.raises(ClaimError, match=r"04-a.ipynb: claim C3.1 is stored as contradicted"):
        scoreboard.gather([path])


def test_an_interval_edited_together_with_its_verdict_is_refused(ledger, chapter):
    other = Ledger([judge("C3.1", interval(-0.2, 0.0)), *ledger.here[1:]], ledger.recorded,
                   title=ledger.title)._repr_mimebundle_()  # fmt: skip
    for part in ("text/html", claims.MIME):
        path = chapter("04-a.ipynb", ledger)
        edit(path, lambda stored, part=part: stored.update({part: other[part]}))
        with pytest.raises(ClaimError, match=r"04-a.ipynb: the table .* execute the chapter"):
            scoreboard.gather([path])


@pytest.mark.parametrize("place", ["missing", "rows"])
def test_a_run_taken_out_of_the_data_is_refused(ledger, chapter, place):
    path = chapter("04-a.ipynb", ledger)
    edit(path, lambda stored: stored[claims.MIME][place].pop())
    with pytest.raises(ClaimError, match=r"04-a.ipynb: the table .* execute the chapter"):
        scoreboard.gather([path])


# The book's own


def test_every_declared_claim_has_the_verdict_that_its_chapter_prints():
    board = scoreboard.gather(CHAPTERS)
    printed = []
    for path in CHAPTERS:
        for cell in notebooks.tagged(notebooks.read(path), "nbval-check-output"):
            if "lines()" in cell.source:
                printed += [line for out in cell.outputs for line in out["text"].splitlines()]
    told = {id: table.lines().splitlines() for id, table in board.ledgers.items()}
    assert set(told) == set(claims.load())
    assert sorted(printed) == sorted({line for lines in told.values() for line in lines})


def test_the_books_page_has_the_place_of_the_table():
    assert (notebooks.ROOT / scoreboard.PAGE).read_text().count(scoreboard.PLACE) == 1
