"""The same numbers again, and the same verdicts however networks are packed and rounded."""

import pytest
from pandas.testing import assert_frame_equal

from memhelpers.engine import packing
from tests import chapters
from tools import chapter, judging


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for variable, value in chapters.QUICK.items():
        monkeypatch.setenv(variable, value)


def easy_examples(**overrides):
    """The tables of chapter 02, and the verdicts that its own code gives them."""
    path = chapter.find("02")
    tables = chapter.run(path, {"controls": 4, "draws": 2, "widths": (0,)} | overrides)["tables"]
    verdicts = judging.definitions(path)["verdicts"](tables)
    return tables, {v.claim.id: (v.verdict, v.interval.estimate) for v in verdicts}


@pytest.fixture(scope="module")
def as_usual():
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in chapters.QUICK.items():
            patch.setenv(variable, value)
        return easy_examples()


def test_the_same_seeds_give_the_same_numbers(as_usual):
    tables, _ = easy_examples()
    for name, table in as_usual[0].items():
        assert_frame_equal(tables[name], table, check_exact=True)


def test_networks_side_by_side_in_other_stacks_reach_the_same_verdicts(as_usual, monkeypatch):
    monkeypatch.setattr(packing, "passes_side_by_side", lambda device: 3)
    monkeypatch.setattr(packing, "networks_per_pass", lambda *given: 20)
    assert_same_verdicts(easy_examples()[1], as_usual[1], rel=0.02)


def test_one_network_at_a_time_reaches_the_same_verdicts(monkeypatch):
    few = {"networks": 30}
    expected = easy_examples(**few)[1]
    monkeypatch.setattr(packing, "networks_per_pass", lambda *given: 1)
    assert_same_verdicts(easy_examples(**few)[1], expected, rel=0.02)


def test_products_in_bfloat16_reach_the_same_verdicts(as_usual):
    assert_same_verdicts(easy_examples(precision="bf16")[1], as_usual[1], rel=0.1)


def assert_same_verdicts(found, expected, rel):
    assert {k: v[0] for k, v in found.items()} == {k: v[0] for k, v in expected.items()}
    for name, (_, estimate) in found.items():
        assert estimate == pytest.approx(expected[name][1], rel=rel)
