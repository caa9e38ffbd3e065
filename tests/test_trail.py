"""From a claim to all that it rests on: code, records, commit; and its experiment run again."""

import json
import re
from types import SimpleNamespace

import pytest

from memhelpers.claims import Claim, judge
from tests.chapters import CHAPTERS
from tests.toy_claims import ENTRY, interval
from tools import claim, judging, notebooks, scoreboard, trail

TOY = Claim(**ENTRY)
CODE = """def verdicts(tables):
    found = {"C3.1": gap(tables), 3: 4}
    found["C3.2"] = gap(tables) / 2
    return [claims.judge(id, one) for id, one in found.items()] + [claims.judge("C3.3", x(tables))]
"""


@pytest.fixture
def board() -> scoreboard.Scoreboard:
    return scoreboard.gather(CHAPTERS)


def test_the_code_of_each_way_to_judge_is_found(tmp_path):
    path = tmp_path / "04-a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "metadata": {}, "source": CODE}]}))
    assert judging.statistics(path) == {
        "C3.1": "gap(tables)", "C3.3": "x(tables)", "C3.2": "gap(tables) / 2",
    }  # fmt: skip


def test_every_claim_leads_to_its_chapter_code_records_and_commit(board):
    table, data = board.table(), {one["id"]: one for one in board.data()["claims"]}
    for id in board.claims:
        told = data[id]
        assert f'<tr id="{id}">' in table
        assert told["address"] == f"book/scoreboard.html#{id}"
        assert (notebooks.ROOT / told["notebook"]).is_file()
        assert told["code"]
        assert told["records"]
        for record in told["records"]:
            assert (notebooks.ROOT / record / "provenance.json").is_file()
        assert re.fullmatch("[0-9a-f]{40}", told["fixed"]["commit"])


def test_the_trail_leads_into_the_repository_where_that_is_known(monkeypatch):
    monkeypatch.setattr(trail.records, "available", lambda stem: ["paper-mnist"])
    monkeypatch.setattr(
        trail, "_fixed", lambda: {"C3.1": {"commit": "ab" * 20, "date": "2026-11-01T"}}
    )
    here = trail.links(TOY, "04-a", "gap(x < 1)", "")
    assert here == (
        '<a href="04-a.html#how-it-is-judged">code</a> <code>gap(x &lt; 1)</code>; '
        "test fixed in <code>ababababab</code> on 2026-11-01"
    )
    assert trail.record_links("04-a", "") == "records <code>paper-mnist</code>"
    there = trail.links(TOY, "04-a", None, "https://example.org/o/n")
    recorded = trail.record_links("04-a", "https://example.org/o/n")
    assert '<a href="https://example.org/o/n/tree/HEAD/data/04-a/paper-mnist">' in recorded
    assert f"https://example.org/o/n/commit/{'ab' * 20}" in there


def test_a_chapter_that_is_not_written_has_no_trail():
    assert trail.trail(TOY, "", None)["notebook"] is None
    assert trail.trail(TOY, "", None)["records"] == []
    assert trail.record_links("", "") == ""


def test_every_field_of_the_data_is_documented(board):
    page = (notebooks.ROOT / "book/checking.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| field of a claim.*?\n\n", page, re.DOTALL)
    told = {name for cell in re.findall(r"^\| (`.*?) \|", table, re.M) for name in cell.split(", ")}
    data = board.data()
    assert {f"`{name}`" for name in data["claims"][0]} == told
    assert f"`format` is {data['format']}" in page
    (verdicts,) = re.findall(r"\| `verdicts` \|(.*)\|", table)
    for name in data["claims"][0]["verdicts"][0]:
        assert f"`{name}`" in verdicts, name


# The experiment behind a claim, again


@pytest.fixture
def rerun(monkeypatch):
    """Runs claims with given tables in the place of training; returns what was asked for."""
    asked = []

    def set_tables(change=lambda tables: tables):
        def run(path, overrides, preset):
            asked.append((path.stem, overrides, preset))
            record = claim.choose(path.stem, preset, None)
            return {"chapter": SimpleNamespace(tables=change(dict(record.tables)))}

        monkeypatch.setattr(claim.chapter, "run", run)
        return asked

    return set_tables


def test_a_run_with_the_tables_of_its_record_agrees(rerun, capsys):
    asked = rerun()
    assert claim.main(["C3.1a"]) == 0
    assert asked == [("04-loss-sensitivity", {}, "quick")]
    told = capsys.readouterr().out
    for words in ("Sec. 3.2", "fixed      in ", "quick-digits", "estimates differ by 0;"):
        assert words in told
    assert "the verdict is that of the record" in told


def test_a_run_that_says_otherwise_ends_with_status_one(rerun, capsys):
    def swapped(tables):
        names = {"real": "randX", "randX": "real"}
        return {k: t.replace({"condition": names}) for k, t in tables.items()}

    rerun(swapped)
    assert claim.main(["C3.1a"]) == 1
    assert "NOT that of the record" in capsys.readouterr().out


def test_the_record_decides_the_parameters(rerun):
    asked = rerun()
    name = "colab-mnist-examples=2000-seeds=5"
    claim.main(["C6.3a", "--preset", "colab"])
    claim.main(["C6.3a", "--run", name])
    assert asked == [("07-time-to-convergence", {"examples": 2000, "seeds": 5}, "colab")] * 2


def test_close_verdicts_agree_if_their_intervals_overlap():
    sure, close = judge(TOY, interval(0.2, 0.3)), judge(TOY, interval(0.08, 0.25))
    other = judge(TOY, interval(-0.3, 0.05))
    assert close.close
    assert claim.agree(sure, close)
    assert claim.agree(sure, judge(TOY, interval(0.3, 0.5)))
    assert not claim.agree(sure, other)
    assert not claim.agree(sure, judge(TOY, interval(-0.2, -0.1)))
    assert not claim.agree(sure, judge(TOY, interval(0.1, 0.4, n=2)))  # too few seeds, not close
    assert claim.agree(None, None)
    assert not claim.agree(sure, None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["C99"], "claim 'C99' is not declared"),
        (["C3.1a", "--preset", "huge"], "argument --preset: invalid choice: 'huge'"),
        (
            ["C6.3a", "--preset", "paper"],
            "preset: given 'paper'; allowed: colab or quick, which",
        ),
        (["C3.1a", "--run", "x"], "run: given 'x'; allowed: one of 'paper-mnist'"),
    ],
)
def test_a_wrong_argument_gets_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as stopped:
        claim.main(arguments)
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
