"""The introduction: its figure and its list of chapters, from recorded runs and stored outputs."""

import re
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from memhelpers import lab
from tests.chapters import CHAPTERS
from tests.toy_claims import Page
from tools import cards, front, notebooks, scoreboard


def curves(falls: bool) -> pd.DataFrame:
    """Two seeds of one share of random labels; the first stops after two of three epochs."""
    rows = [(0, 1, 0.9), (0, 2, 0.8), (1, 1, 0.9), (1, 2, 0.8), (1, 3, 0.6)]
    frame = pd.DataFrame(rows, columns=["seed", "epoch", "validation_accuracy"])
    if not falls:
        frame["validation_accuracy"] = 0.9
    frame = frame.assign(condition="partly random labels", noise=0.4, train_accuracy=0.5)
    return frame.assign(right_label=0.7, wrong_label=0.2)


def notebook(*pages: str) -> nbformat.NotebookNode:
    outputs = [nbformat.v4.new_output("display_data", data={"text/html": one}) for one in pages]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])


def test_a_network_that_has_stopped_keeps_its_values():
    kept = front.carried(curves(falls=True)).set_index(["seed", "epoch"])
    assert len(kept) == 6
    assert kept.loc[(0, 3), "validation_accuracy"] == 0.8


def test_the_largest_recorded_run_is_drawn(monkeypatch):
    monkeypatch.setattr(lab, "recorded", lambda chapter: {"quick-digits": "small"})
    monkeypatch.setattr(lab, "Chapter", lambda slug: SimpleNamespace(recorded={"MNIST": "large"}))
    assert front.largest("01-a") == "large"
    monkeypatch.setattr(lab, "Chapter", lambda slug: SimpleNamespace(recorded={}))
    assert front.largest("01-a") == "small"


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        (['<p class="mem-finding">All alike.\n It ends at <b>0.63</b> &lt; 1. More 2.</p>'],
         "It ends at 0.63 < 1."),
        (['<p class="mem-finding" id="x">No number. None.</p>'], "No number."),
        (["<p>1</p>", '<p class="mem-finding">First 1.</p><p class="mem-finding">Then 2.</p>'],
         "First 1."),
        (["<p>1</p>"], ""),
        (['<p class="mem-finding">It is 62\u00a0%\n now.</p>'], "It is 62\u00a0% now."),
    ],
)  # fmt: skip
def test_the_finding_is_the_first_sentence_with_a_number(pages, said):
    assert front.finding(notebook(*pages)) == said


def test_a_spark_line_has_a_line_for_each_condition_that_there_is():
    lines = pd.DataFrame({"condition": ["real", "real", "randX"], "x": [1, 10, 10], "y": [0, 2, 1]})
    drawn = re.findall(r'points="([^"]*)"', front.spark(lines, log=False, label="a"))
    assert drawn == ["2.0,43.0 182.0,3.0", "182.0,23.0", ""]


def test_the_list_gives_number_question_finding_and_verdicts(monkeypatch, ledger, tmp_path):
    page = notebook('<p class="mem-finding">It is 0.6.</p>')
    page.cells.insert(0, nbformat.v4.new_markdown_cell("# Loss"))
    path = tmp_path / "04-loss.ipynb"
    notebooks.write(page, path)
    table = pd.DataFrame({"condition": ["real"], "x": [1], "y": [1]})
    monkeypatch.setattr(front, "ENTRIES", {"04": ("Why?", "Gini", lambda _: table, False)})
    monkeypatch.setattr(front, "largest", lambda chapter: SimpleNamespace(tables={}))
    claims = {claim.id: claim for claim, *_ in cards.rows_of(ledger)}
    ledgers = dict.fromkeys(claims, ledger)
    shown = Page(front._item(scoreboard.Scoreboard(claims, {"04": ("04-loss", "")}, ledgers), path))
    texts = [shown.texts[name][0] for name in ("mem-number", "a", "mem-question", "figcaption")]
    assert texts == ["4", "Loss", "Why?", "Gini"]
    assert shown.texts["p"][2:] == ["It is 0.6.", "✗?"]
    assert shown.values("p", "aria-label") == ["1 contradicted, 1 inconclusive"]
    assert shown.values("a", "href") == ["04-loss.html"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_has_its_question_and_its_line(path):
    _, _, lines, _ = front.ENTRIES[path.name[:2]]
    lines = lines(front.largest(path.stem).tables)
    # Some have no images of noise, and one is about random labels alone.
    without = ("10", "11", "12", "15", "16", "18", "19", "20", "21")
    fewer = {key: {"real", "randY"} for key in without} | {"14": {"randY"}}
    assert fewer.get(path.stem[:2], {"real", "randX"}) <= set(lines["condition"])
    assert lines["y"].between(0, 100).all()


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_says_its_finding_with_a_number(path):
    assert re.search(r"\d", front.finding(notebooks.read(path)))
