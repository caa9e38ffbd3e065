"""The file of claims is looked through before it is used."""

import math

import pytest

from memhelpers import claims
from memhelpers.errors import ClaimError
from tests.toy_claims import ENTRY, OTHER, SECOND
from tools import stated


def test_the_books_own_claims_are_valid():
    stated.check()
    assert {"Z1.1", "C1.2", "C3.2", "C4.2"} <= set(claims.load())


def test_what_may_be_left_out_may_be_left_out(declare):
    declare(SECOND, {k: v for k, v in SECOND.items() if k != "under"} | {"id": "C3.3"})
    stated.check()


@pytest.mark.parametrize("name", list(ENTRY))
def test_a_missing_field_is_named_with_its_claim(declare, name):
    declare({key: value for key, value in ENTRY.items() if key != name})
    where = "claim number 1" if name == "id" else "claim C3.1"
    with pytest.raises(
        ClaimError, match=f"claims.yml: {where}, field {name}: given None; allowed: "
    ):
        stated.check()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "3.1"),
        ("id", 3),
        ("chapter", 4),
        ("chapter", "4"),
        ("source", ""),
        ("sentence", None),
        ("statistic", 7),
        ("unit", " "),
        ("direction", "over"),
        ("direction", ["above"]),
        ("threshold", None),
        ("threshold", "0.1"),
        ("threshold", [0, 1]),
        ("threshold", True),
        ("threshold", math.nan),
        ("threshold", math.inf),
        ("seeds", 4),
        ("seeds", 10.0),
        ("seeds", True),
        ("short", ""),
        ("short", "x" * 53),
        ("under", 1),
        ("under", "x" * 25),
        ("added_after_data", "yes"),
        ("control", "yes"),
        ("revised_after_data", True),
        ("revised_after_data", "x" * 61),
        ("range", 1),
        ("range", [0]),
        ("range", [1, 0]),
        ("range", [0, None]),
        ("range", [0.2, 1]),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_with_its_claim(declare, name, value):
    declare(OTHER, {**ENTRY, name: value})
    with pytest.raises(ClaimError, match=f"claim .*, field {name}: given .*; allowed") as error:
        stated.check()
    assert name == "id" or "claim C3.1" in str(error.value)


@pytest.mark.parametrize("threshold", [0.5, [1], [2, 1], [1, 1], [0, "1"], [0, 1, 2], [0, None]])
def test_within_takes_two_numbers_in_order(declare, threshold):
    declare({**SECOND, "threshold": threshold})
    with pytest.raises(ClaimError, match=r"C3.2, field threshold: .* low < high"):
        stated.check()


def test_an_id_declared_twice_and_an_unknown_field_are_refused(declare):
    declare(ENTRY, OTHER, ENTRY)
    with pytest.raises(
        ClaimError, match=r"C3.1, field id: given .*; allowed: .* not declared twice"
    ):
        stated.check()
    declare({**ENTRY, "treshold": 1})
    with pytest.raises(
        ClaimError, match=r"claim C3.1, field treshold: given 1; allowed: only id, "
    ):
        stated.check()


@pytest.mark.parametrize("text", ["", "[]", "a: b", "- just text", "- {a: [}"])
def test_a_file_that_is_no_list_of_claims_is_refused(tmp_path, text):
    path = tmp_path / "own.yml"
    path.write_text(text)
    with pytest.raises(ClaimError, match=r"own\.yml"):
        stated.check(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ClaimError, match=r"none\.yml cannot be read"):
        stated.check(tmp_path / "none.yml")
