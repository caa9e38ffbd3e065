"""The page of what reproduced: its picture, and the verdicts that its prose was written for."""

from dataclasses import replace

import pytest

from memhelpers import claims
from memhelpers.claims import Ledger, judge
from memhelpers.errors import ClaimError
from tests.chapters import CHAPTERS
from tests.toy_claims import ENTRY, OTHER, Page, interval
from tools import scoreboard, story
from tools.notebooks import ROOT

OF_PAPER = {"source": f"{story.PAPER}, Sec. 3.2"}


@pytest.fixture
def board(declare, chapter) -> scoreboard.Scoreboard:
    """Two claims of the paper, of which one is supported on MNIST and contradicted on digits."""
    declare({**ENTRY, **OF_PAPER}, {**OTHER, "chapter": "04"})
    here = [judge("C3.1", interval(-0.3, 0.0)), judge("C1.1a", interval(-0.1, 0.2))]
    runs = {"Recorded: MNIST, bf16": [judge("C3.1", interval(0.2, 0.3))]}
    shown = chapter("04-a.ipynb", Ledger(here, runs, title="This page: d"))
    return scoreboard.gather([shown])


def page(text: str, folder) -> str:
    """The staged page with a text; returns its path."""
    path = folder / story.PAGE
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n\n".join([text, *story.PLACES]), encoding="utf-8")
    return path


def test_the_prose_gets_the_interval_of_the_largest_run(board, tmp_path):
    path = page("It holds: <!-- C3.1 supported -->.", tmp_path)
    story.write(board, tmp_path)
    shown = Page(path.read_text(encoding="utf-8").splitlines()[0])
    assert shown.texts["mem-pill"] == ["C3.1 ✓supported 0.25 [0.20, 0.30], MNIST"]
    assert shown.values("a", "href") == ["04-a.html#claim-C3.1"]
    assert "<p>1 claims of the paper" in path.read_text(encoding="utf-8")  # C1.1a is of another


def test_a_claim_whose_task_is_not_on_these_images_names_none(board, tmp_path, monkeypatch):
    monkeypatch.setattr(story, "OWN_DATA", ("04",))
    path = page("It holds: <!-- C3.1 supported -->.", tmp_path)
    story.write(board, tmp_path)
    shown = Page(path.read_text(encoding="utf-8").splitlines()[0])
    assert shown.texts["mem-pill"] == ["C3.1 ✓supported 0.25 [0.20, 0.30]"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "<!-- C3.1 contradicted -->",
            "calls C3.1 contradicted; on MNIST it is supported, .*edit",
        ),
        ("<!-- C9.9 supported -->", "claim 'C9.9' is not judged in any run"),
    ],
)
def test_prose_that_the_runs_do_not_bear_out_stops_the_build(board, tmp_path, text, told):
    page(text, tmp_path)
    with pytest.raises(ClaimError, match=told):
        story.write(board, tmp_path)


def test_only_claims_of_the_paper_are_counted_and_drawn(board):
    known = list(story.told(board))
    assert [one.claim.id for one in known] == ["C3.1", "C1.1a"]
    of_paper = known[:1]
    assert story.counts(of_paper) == (
        "<p>1 claims of the paper, each in its largest recorded run: 1 supported, 0 inconclusive, "
        "0 contradicted. 1 of them is supported in one run and contradicted in another.</p>"
    )
    drawn = Page(story.picture(board, of_paper))
    assert drawn.texts["td"] == ["C3.1≠", "", ""]
    (title,) = drawn.values("a", "title")
    assert title == "Real digits are less <equal>: supported on MNIST; otherwise on d"
    late = replace(known[0], claim=replace(known[0].claim, revised_after_data="the grid"))
    told = Page(story.picture(board, [late]))
    assert told.texts["td"] == ["C3.1≠†", "", ""]
    assert told.values("a", "title") == [f"{title}; revised after data were seen: the grid"]
    assert [" ".join(one.split()) for one in drawn.texts["th"]] == [
        "Chapter", "✓ supported 1", "? inconclusive 0", "✗ contradicted 0", "4 A chapter"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "own"),
    [
        ("Sec. 4.2", True),
        ("Sec. 4.2 (implied by Fig. 7b)", True),
        ("Sec. 4.2 (read here for every data set)", False),
        ("Sec. 4.2, Fig. 7b, as a rule of use", False),
        ("Sec. 5, Fig. 10, as this book's control", False),
    ],
)
def test_what_is_read_for_other_data_is_no_claim_of_the_paper(source, own):
    claim = claims.Claim(**{**ENTRY, "source": f"{story.PAPER}, {source}"})
    assert story.is_of_paper(claim) is own


def test_an_inconclusive_run_opposes_nothing(declare, chapter):
    declare({**ENTRY, **OF_PAPER})
    here, mnist = [judge("C3.1", interval(0.2, 0.3))], [judge("C3.1", interval(0.0, 0.3))]
    one = Ledger(here, {"Recorded: MNIST": mnist}, title="This page: digits")
    (only,) = story.told(scoreboard.gather([chapter("04-a.ipynb", one)]))
    assert (only.verdict.verdict, only.opposed) == (claims.INCONCLUSIVE, ())


def test_the_books_own_page_tells_what_its_runs_show(tmp_path):
    path = tmp_path / story.PAGE
    path.parent.mkdir()
    path.write_text((ROOT / story.PAGE).read_text(encoding="utf-8"), encoding="utf-8")
    story.write(scoreboard.gather(CHAPTERS), tmp_path)
    assert "<!--" not in path.read_text(encoding="utf-8")


def test_another_book_without_the_page_is_left_alone(board, tmp_path):
    story.write(board, tmp_path)
    assert not list(tmp_path.glob("book/*.md"))
