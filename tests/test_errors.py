"""The one form of every error, and the checks that raise it."""

import pickle

import numpy as np
import pandas as pd
import pytest

from memhelpers.errors import (
    ArgumentError,
    check_choice,
    check_fraction,
    check_integer,
    check_positive,
    check_positive_int,
    check_seed,
)


def test_the_message_names_the_argument_what_was_given_and_what_is_allowed():
    error = ArgumentError("width", 0, "an integer of at least 1")
    assert str(error) == "width: given 0; allowed: an integer of at least 1"
    assert isinstance(error, ValueError)


def test_a_long_value_is_shortened_in_the_message():
    assert len(str(ArgumentError("source", "x" * 10_000, "a name"))) < 300
    assert len(str(ArgumentError("source", np.zeros((1000, 1000)), "a name"))) < 300


def test_of_arrays_and_tables_the_message_tells_the_shape_and_of_numbers_no_type():
    x, y = np.zeros((20, 3)), np.zeros(20, int)
    told = str(ArgumentError("data", (x, y, pd.DataFrame(x)), "a tuple (x, y)"))
    assert told == (
        "data: given (ndarray of shape [20, 3], float64, ndarray of shape [20], int64,"
        " DataFrame of shape [20, 3]); allowed: a tuple (x, y)"
    )
    assert "given 1000000000.0;" in str(ArgumentError("learning_rate", np.float64(1e9), "less"))
    assert "given [0.5, 3];" in str(ArgumentError("rates", [np.float32(0.5), np.int64(3)], "less"))


def test_an_error_survives_the_trip_from_another_process():
    error = ArgumentError("width", 0, "an integer of at least 1")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (what a process pool does)
    assert (again.argument, again.given, str(again)) == ("width", 0, str(error))


@pytest.mark.parametrize("value", [0, 1, 0.25, np.float32(0.5), np.int64(1)])
def test_a_fraction_between_0_and_1_is_accepted_as_a_float(value):
    assert check_fraction("fraction", value) == pytest.approx(float(value))
    assert type(check_fraction("fraction", value)) is float


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf"), "0.5", None, True, 1j])
def test_anything_else_is_no_fraction(value):
    with pytest.raises(
        ArgumentError, match=r"fraction: given .*; allowed: a fraction between 0 and"
    ):
        check_fraction("fraction", value)


@pytest.mark.parametrize("value", [0, -1, 1.0, "3", None, True, float("nan")])
def test_a_positive_int_is_at_least_1_and_an_integer(value):
    with pytest.raises(ArgumentError, match=r"epochs: given .*; allowed: an integer of at least 1"):
        check_positive_int("epochs", value)


def test_integers_of_numpy_become_ints():
    assert type(check_positive_int("epochs", np.int32(3))) is int


def test_an_integer_may_have_an_upper_bound():
    assert check_integer("n", 10, 1, 10) == 10
    with pytest.raises(ArgumentError, match="n: given 11; allowed: an integer from 1 to 10"):
        check_integer("n", 11, 1, 10)


@pytest.mark.parametrize("value", [-1, 1.5, "0", 2**63])
def test_a_seed_is_not_negative_and_fits_a_generator(value):
    with pytest.raises(ArgumentError, match="seed: given"):
        check_seed("seed", value)


def test_seeds_from_zero_to_the_largest_are_accepted():
    assert check_seed("seed", 0) == 0
    assert check_seed("seed", 2**63 - 1) == 2**63 - 1


@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf"), "0.1", True])
def test_a_positive_number_is_finite_and_above_0(value):
    with pytest.raises(ArgumentError, match=r"learning_rate: given .*finite number above 0"):
        check_positive("learning_rate", value)
    assert check_positive("learning_rate", 1) == 1.0


def test_a_choice_is_one_of_those_that_the_message_lists():
    assert check_choice("norm", "l1", ("l1", "l2")) == "l1"
    with pytest.raises(ArgumentError, match="norm: given 'l3'; allowed: one of 'l1', 'l2'"):
        check_choice("norm", "l3", ("l1", "l2"))


def test_a_choice_of_another_type_is_refused_and_not_compared():
    with pytest.raises(ArgumentError, match="norm: given array"):
        check_choice("norm", np.array(["l1", "l2"]), ("l1", "l2"))
    with pytest.raises(ArgumentError, match="given True"):
        check_choice("norm", True, (1, 2))
