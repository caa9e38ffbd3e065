"""The scoreboard: what it gathers from the chapters' outputs, and what it refuses to show."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from memhelpers import claims
from memhelpers.claims import Ledger, judge
from memhelpers.errors import ClaimError
from memhelpers.runs import machine
from memhelpers.stats import Interval
from tests.chapters import CHAPTERS
from tests.toy_claims import ENTRY, OTHER, SECOND, Page, interval
from tools import front, judging, notebooks, scoreboard

NO_ENDS = Interval(0.3, -math.inf, math.inf, 0.95, 1)


def edit(path: Path, change: Callable[[dict], None]) -> None:
    """Changes the first table of claims that a notebook stores."""
    notebook = notebooks.read(path)
    change(scoreboard.tables(notebook)[0])
    notebooks.write(notebook, path)


# What it shows


COUNTS = (
    "3 claims. In the largest recorded run of each, 0 are supported, 1 contradicted and 0 "
    "inconclusive (2 have no recorded run); in the runs of these pages, 1 is supported, 0 "
    "contradicted and 1 inconclusive (1 are not measured yet). "
)


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_counts_say_how_many_claims_hold_and_at_which_scale(ledger, chapter, monkeypatch):
    board = scoreboard.gather([chapter("04-a.ipynb", ledger)])
    assert board.counts() == f"{COUNTS}None are recorded at the paper's own scale."
    record = SimpleNamespace(provenance={"preset": "paper", "overrides": {}})
    runs = SimpleNamespace(recorded={"Recorded: MNIST, 2 x 16 units": record})
    monkeypatch.setattr(scoreboard.lab, "Chapter", lambda stem: runs)
    assert board.counts() == f"{COUNTS}1 is recorded at the paper's own scale: chapter 4."
    record.provenance["overrides"] = {"hidden": [8]}
    assert board.counts() == f"{COUNTS}None are recorded at the paper's own scale."
    record.provenance["overrides"] = {}
    runs.recorded = {"Recorded: MNIST, 2 x 17 units": record}
    with pytest.raises(ClaimError, match=r"04-a: no verdict on the run 'Recorded: MNIST, 2 x 17"):
        board.counts()


def test_controls_are_counted_apart_and_named(declare):
    declare({**ENTRY, "control": True, "revised_after_data": "the grid"}, SECOND)
    board = scoreboard.gather([])
    assert board.counts().startswith("2 claims, 1 of them controls of a measurement. ")
    told = board.table()
    assert told.count("Revised after data were seen: the grid. A control of the measurement.") == 1


def test_the_picture_has_a_line_for_each_claim_that_links_to_its_card(ledger, chapter):
    board = scoreboard.gather([chapter("04-a.ipynb", ledger, title="Loss <sensitivity>")])
    shown = Page(board.picture())
    assert [words(one) for one in shown.texts["mem-score-row"]] == [
        "C1.1a Real digits are less <equal> supported if < 0.1",
        "C3.1 Real digits are less <equal> supported if > 0.1 "
        "✓ digits supported: 0.33 ✗ MNIST contradicted: 0.030",
        "C3.2 Real digits are less <equal> under this cut supported if 0.5 to 2 "
        "? digits inconclusive: 3.5",
    ]
    assert shown.values("a", "href")[-2:] == ["04-a.html#claim-C3.1", "04-a.html#claim-C3.2"]
    assert [words(one) for one in shown.texts["mem-score-chapter"]] == [
        "2 not written yet Paper 2017, Fig. 3", "4 Loss <sensitivity> Paper 2017, Fig. 3",
    ]  # fmt: skip
    assert "This page digitsRecorded MNIST" in words(shown.texts["mem-score-head"][0])


def test_a_line_has_a_scale_of_its_own_and_the_supported_side_on_the_right(declare):
    def marks(entry, **runs):
        given = {("Recorded", run): judge(claims.Claim(**entry), one) for run, one in runs.items()}
        return scoreboard._marks(claims.Claim(**entry), given, list(given))

    def bars(drawn):
        return [
            (float(given["x1"][:-1]), float(given["x2"][:-1]))
            for tag, given in Page(drawn).tags
            if tag == "line"
        ]

    above = bars(marks(ENTRY, a=interval(0.2, 0.3), b=interval(-0.3, 0.0)))
    assert above == [(48 + 11.5, 48 + 23), (48 - 46, 48 - 11.5)]
    below = bars(marks(OTHER, a=interval(-0.1, 0.0)))
    assert below == [(94, 71)]
    within = {**SECOND, "threshold": (-1.0, 1.0)}
    assert bars(marks(within, a=interval(-0.5, 0.5), b=interval(1.5, 2))) == [(71, 94), (2, 25)]
    assert bars(marks(ENTRY, a=interval(0.1, 0.1))) == [(48, 48)]
    assert bars(marks(ENTRY, a=NO_ENDS)) == [(2, 94)]


def test_a_second_run_on_the_same_data_gets_no_mark(declare, chapter):
    first, twin = judge("C3.1", interval(0.2, 0.3)), judge("C3.1", interval(-0.3, -0.2))
    recorded = {"Recorded: MNIST, 2 x 16 units": [first], "Recorded: MNIST, bf16": [twin]}
    one = Ledger([first], recorded, title="This page: digits")
    board = scoreboard.gather([chapter("04-a.ipynb", one)])
    assert "contradicted:" not in board.picture()
    assert "contradicted" in board.table()
    assert board.counts().startswith("3 claims. In the largest recorded run of each, 1 is support")


def test_the_table_has_full_sentences_and_every_verdict(ledger, chapter, monkeypatch):
    since = {"C3.1": {"commit": "ab" * 20, "date": "2026-11-01T10:00"}}
    monkeypatch.setattr(scoreboard.trail, "_fixed", lambda: since)
    fixed = "test fixed in ababababab on 2026-11-01"
    page = scoreboard.gather([chapter("04-a.ipynb", ledger, title="Loss <sensitivity>")]).table()
    shown = Page(page)
    assert shown.texts["th"] == [
        "Claim", "Sentence", "Verdicts", "not written yet", "C1.1a", "Loss <sensitivity>",
        "C3.1", "C3.2",
    ]  # fmt: skip
    assert shown.values("th", "scope").count("rowgroup") == 2
    assert shown.texts["td"][1:4] == [
        "not measured yetnot recorded at paper scale",
        "Real digits are less equal than <noise>."
        "Gini, real minus randX: supported if above 0.1. Paper 2017, Fig. 3.",
        "This page: digits: ✓ supported 0.33 [0.30, 0.36], 5 seeds"
        "Recorded: MNIST, 2 x 16 units: ✗ contradicted 0.030 [0.010, 0.050], 10 seeds"
        f"Recorded: CIFAR-10: not recorded at paper scale{fixed}",
    ]
    assert "Declared after the data were seen." in shown.texts["td"][4]


def test_the_text_tells_the_verdicts(ledger, chapter):
    assert str(scoreboard.gather([chapter("04-a.ipynb", ledger)])).splitlines()[1:] == [
        "C1.1a Real digits are less <equal>: not measured yet",
        "C3.1 Real digits are less <equal>: contradicted, 0.030 [0.010, 0.050], 10 seeds "
        "(Recorded: MNIST, 2 x 16 units); supported, 0.33 [0.30, 0.36], 5 seeds "
        "(This page: digits)",
        "C3.2 Real digits are less <equal>: inconclusive, 3.5 [3.0, 4.0], 2 seeds "
        "(This page: digits)",
    ]


@pytest.mark.parametrize("mark", ["", '<span class="mem-number">4</span> '])
def test_a_title_is_told_without_its_number(chapter, mark):
    path = chapter("04-a.ipynb", title=f"{mark}Loss sensitivity")
    assert scoreboard.title(notebooks.read(path)) == "Loss sensitivity"


def test_the_data_hold_every_claim_and_every_verdict(ledger, chapter):
    data = scoreboard.gather([chapter("04-a.ipynb", ledger)]).data()
    first, second, third = data["claims"]
    declared = {**ENTRY, "sentence": "Real digits are less equal than <noise>."}
    assert {name: first[name] for name in ENTRY} == declared
    here, recorded = first["verdicts"]
    assert here == {
        "run": "This page: digits", "recorded": False, "verdict": "supported",
        "reason": "the whole interval is above 0.1", "estimate": pytest.approx(0.33),
        "low": 0.3, "high": 0.36, "level": 0.95, "n": 5, "unit": "seeds",
    }  # fmt: skip
    assert (recorded["run"], recorded["recorded"]) == ("Recorded: MNIST, 2 x 16 units", True)
    assert (recorded["verdict"], recorded["high"], recorded["n"]) == ("contradicted", 0.05, 10)
    assert first["not_recorded"] == ["Recorded: CIFAR-10"]
    assert list(second["threshold"]) == [0.5, 2]
    assert [verdict["verdict"] for verdict in second["verdicts"]] == ["inconclusive"]
    assert (third["id"], third["verdicts"], third["not_recorded"]) == ("C1.1a", [], [])


def test_an_interval_without_ends_survives_the_way_through_the_notebook(declare, chapter):
    path = chapter("04-a.ipynb", Ledger([judge("C3.1", NO_ENDS)], title="quick"))
    board = scoreboard.gather([path])
    assert board.ledgers["C3.1"].here[0].interval == NO_ENDS
    (verdict,) = board.data()["claims"][0]["verdicts"]
    assert (verdict["low"], verdict["high"]) == (None, None)


def test_the_parts_take_their_places_in_the_page_and_the_data_lie_beside_it(
    ledger, chapter, tmp_path
):
    board = scoreboard.gather([chapter("04-a.ipynb", ledger)])
    page = tmp_path / scoreboard.PAGE
    page.parent.mkdir()
    page.write_text("# Scoreboard\n\n" + "\n\n".join([*scoreboard.PLACES, "More.\n"]))
    scoreboard.write(board, tmp_path)
    parts = (f"<p>{board.counts()}</p>", board.picture(), board.table())
    raw = [f"`````{{raw}} html\n{part}\n`````" for part in parts]
    assert page.read_text() == "\n\n".join(["# Scoreboard", *raw, "More.\n"])
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(
        json.dumps(board.data())
    )
    with pytest.raises(ClaimError, match=r"scoreboard.md: given 0 lines <!-- counts -->"):
        scoreboard.write(board, tmp_path)


def test_the_stored_verdicts_are_those_of_the_chapters(ledger, chapter, tmp_path):
    found = scoreboard.gather([chapter("04-a.ipynb", ledger)]).verdicts()
    path = tmp_path / "verdicts.json"
    with pytest.raises(ClaimError, match=r"verdicts.json differs .*: run make outputs"):
        scoreboard.check_verdicts(found, path)
    scoreboard.write_verdicts(found, path)
    scoreboard.check_verdicts(found, path)
    stored = json.loads(path.read_text())
    runs = stored["04-a"]
    here, large = runs["This page: digits"], runs["Recorded: MNIST, 2 x 16 units"]
    words = {id: claims.restored(id, row).verdict for id, row in here.items()}
    assert words == {"C3.1": "supported", "C3.2": "inconclusive"}
    assert claims.restored("C3.1", large["C3.1"]).verdict == "contradicted"
    here["C3.1"] = large["C3.1"]
    path.write_text(json.dumps(stored))
    with pytest.raises(ClaimError, match=r"such as C3.1 of 04-a in the run 'This page: digits'"):
        scoreboard.check_verdicts(found, path)
    stored["04-a"]["Gone"] = {"C3.1": large["C3.1"]}
    path.write_text(json.dumps(stored))
    with pytest.raises(ClaimError, match=r"such as C3.1 of 04-a in the run 'Gone'"):
        scoreboard.check_verdicts(found, path)


def test_a_close_verdict_may_be_another_on_another_processor(declare, chapter, tmp_path):
    near = Ledger([judge("C3.1", interval(0.11, 0.21))], title="This page: digits")
    found = scoreboard.gather([chapter("04-a.ipynb", near)]).verdicts()
    path = tmp_path / "verdicts.json"
    touching = claims.stored(interval(0.09, 0.21))
    assert claims.restored("C3.1", touching).verdict == "inconclusive"
    path.write_text(json.dumps({"04-a": {"This page: digits": {"C3.1": touching}}}))
    scoreboard.check_verdicts(found, path)
    path.write_text('{"04-a": {"This page: digits": {}}}')
    with pytest.raises(ClaimError, match="run make outputs"):
        scoreboard.check_verdicts(found, path)


# What it refuses


def test_a_claim_in_two_tables_is_refused(ledger, chapter):
    one = Ledger(ledger.here[:1], title="again")
    both = chapter("04-a.ipynb", ledger, one)
    with pytest.raises(ClaimError, match=r"C3.1 stands in two outputs: 04-a.ipynb and 04-a.ipynb"):
        scoreboard.gather([both])
    paths = [chapter("04-a.ipynb", one), chapter("04-b.ipynb", ledger)]
    with pytest.raises(ClaimError, match=r"C3.1 stands in two outputs: 04-a.ipynb and 04-b.ipynb"):
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
    with pytest.raises(ClaimError, match=r"04-a.ipynb: the cards .* execute the chapter again"):
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
        with pytest.raises(ClaimError, match=r"04-a.ipynb: the cards .* execute the chapter"):
            scoreboard.gather([path])


@pytest.mark.parametrize("place", ["missing", "rows"])
def test_a_run_taken_out_of_the_data_is_refused(ledger, chapter, place):
    path = chapter("04-a.ipynb", ledger)
    edit(path, lambda stored: stored[claims.MIME][place].pop())
    with pytest.raises(ClaimError, match=r"04-a.ipynb: the cards .* execute the chapter"):
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


@pytest.mark.parametrize("part", [scoreboard, front])
def test_the_books_pages_have_the_places_of_what_is_laid_into_them(part):
    text = (notebooks.ROOT / part.PAGE).read_text()
    assert [text.count(place) for place in part.PLACES] == [1, 1, 1]


def test_the_books_verdicts_are_stored_for_the_first_screens():
    found = scoreboard.gather(CHAPTERS).verdicts() | judging.of_quick_runs(CHAPTERS)
    scoreboard.check_verdicts(found, machine.data_folder() / "verdicts.json")


def test_a_staged_chapter_shows_cards_in_the_place_of_its_table(ledger, chapter):
    path = chapter("04-a.ipynb", ledger)
    scoreboard.lay_cards(scoreboard.gather([path]), [path])
    (shown,) = scoreboard.tables(notebooks.read(path))
    assert Page(shown["text/html"]).values("section", "id") == ["claim-C3.1", "claim-C3.2"]
