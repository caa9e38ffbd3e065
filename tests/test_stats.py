import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm, t

from memhelpers import stats
from memhelpers.errors import ArgumentError
from memhelpers.stats import Interval

few = settings(deadline=None, derandomize=True, max_examples=20)


def draws(networks: int, examples: int, spread: float, seed: int = 0) -> np.ndarray:
    """Correctness of networks on examples whose log-odds differ by `spread`; [R, n]."""
    rng = np.random.default_rng(seed)
    rates = 1 / (1 + np.exp(-spread * rng.normal(size=examples)))
    return rng.random((networks, examples)) < rates


# Interval


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.507, 0.481, 0.532, 0.95, 10), "0.51 [0.48, 0.53], 10 seeds"),
        (Interval(20037.2, 19900.4, 20200.1, 0.95, 5), "20037 [19900, 20200], 5 seeds"),
        (
            Interval(-0.0001, -0.01, 0.01, 0.95, 100, "networks"),
            "0.000 [−0.010, 0.010], 100 networks",
        ),
        (Interval(0.5, -math.inf, math.inf, 0.95, 1), "0.5 [−∞, ∞], 1 seed"),
        (Interval(1, 1, 1, 0.95, 3), "1 [1, 1], 3 seeds"),
        (Interval(2e-9, 1e-9, 3e-9, 0.95, 6), "2e−09 [1e−09, 3e−09], 6 seeds"),
    ],
)
def test_an_interval_reads_with_the_digits_that_its_width_warrants(interval, text):
    assert str(interval) == text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((math.nan, 0, 1, 0.95, 5), "estimate"),
        ((0.5, math.nan, 1, 0.95, 5), "low, high"),
        ((0.5, 1, 0, 0.95, 5), "low, high"),
    ],
)
def test_an_impossible_interval_is_refused(arguments, named):
    with pytest.raises(ArgumentError, match=f"^{named}: given"):
        Interval(*arguments)


# interval and paired


def test_a_ratio_with_outliers_is_covered_too():
    rng = np.random.default_rng(0)
    shape = 500, 10
    a, b = (rng.lognormal(0, 0.2, shape) * np.where(rng.random(shape) < 0.1, 5, 1) for _ in "ab")
    intervals = [stats.paired(*pair, "ratio") for pair in zip(a, b, strict=True)]
    covered = np.mean([i.low <= 1 <= i.high for i in intervals])
    assert 0.90 < covered < 0.975  # plain BCa: .77


@pytest.mark.parametrize("n", [2, 5, 9])
def test_below_ten_seeds_the_interval_is_students(n):
    values = np.random.default_rng(1).lognormal(size=n)
    interval = stats.interval(values)
    low, high = t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n))
    found = interval.low, interval.estimate, interval.high
    assert found == pytest.approx((low, values.mean(), high))


@pytest.mark.parametrize("n", [20, 30])
def test_from_ten_seeds_each_end_is_the_outer_of_student_and_bca(n):
    for seed in range(5):
        values = np.random.default_rng(seed).exponential(size=n)
        student = t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n))
        quantile = t.ppf(0.975, n - 1) * math.sqrt(n / (n - 1))
        level = 1 - 2 * norm.sf(quantile)
        options = {"confidence_level": level, "n_resamples": 20_000, "rng": 0}
        bca = scipy_bootstrap((values,), np.mean, **options).confidence_interval
        interval = stats.interval(values)
        near = 0.05 * (interval.high - interval.low)
        assert interval.low == pytest.approx(min(student[0], bca.low), abs=near)
        assert interval.high == pytest.approx(max(student[1], bca.high), abs=near)
        assert interval.high > student[1] + near  # an exponential's tail is on this side


def test_the_ends_move_by_less_than_a_tenth_of_the_width_with_other_resamples(monkeypatch):
    for seed in range(5):
        values = np.random.default_rng(seed).lognormal(size=12)
        first = stats.interval(values)
        other = np.random.default_rng(99).multinomial(12, [1 / 12] * 12, size=stats.RESAMPLES)
        with monkeypatch.context() as patch:
            patch.setattr(stats, "_weights", lambda n, other=other: other.T / 12)
            second = stats.interval(values)
        moved = max(abs(first.low - second.low), abs(first.high - second.high))
        assert 0 < moved < 0.1 * (first.high - first.low)


def test_an_interval_does_not_depend_on_order_scale_or_type():
    values = np.array([0.3, 0.5, 0.45, 0.7, 0.52, 0.61, 0.3, 0.3, 0.9, 0.4])
    interval, doubled = stats.interval(values), stats.interval(7 - 2 * values)
    assert stats.interval(torch.tensor(values)) == interval
    assert 7 - 2 * interval.high == pytest.approx(doubled.low, abs=0.01)
    assert stats.interval(values[::-1]).high == pytest.approx(interval.high, abs=0.02)


def test_resamples_that_tie_with_the_estimate_are_told_from_those_beside_it_despite_rounding():
    ties = [0.98, *[1.0] * 11]
    found, shifted = stats.interval(ties), stats.interval([value / 3 for value in ties])
    assert shifted.low == pytest.approx(found.low / 3, rel=1e-12)
    assert shifted.high == pytest.approx(found.high / 3, rel=1e-12)


@pytest.mark.parametrize("n", [2, 7, 12])
def test_equal_values_give_an_interval_without_width(n):
    assert stats.interval([0.1] * n) == Interval(0.1, 0.1, 0.1, 0.95, n)
    assert stats.paired([0.3] * n, [0.1] * n, "ratio").estimate == pytest.approx(3)


def test_one_seed_says_nothing_about_the_spread():
    interval = stats.interval([0.3])
    assert (interval.low, interval.high, interval.n) == (-math.inf, math.inf, 1)
    ratio = stats.paired([3], [2], "ratio")
    assert (ratio.low, ratio.estimate, ratio.high) == (0, 1.5, math.inf)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_diverged_seeds_are_counted_in_the_error(bad):
    with pytest.raises(ArgumentError, match="2 of 5 values NaN or infinite"):
        stats.interval([0.1, bad, 0.2, bad, 0.3])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: stats.interval([]), "values"),
        (lambda: stats.interval(0.5), "values"),
        (lambda: stats.interval(["a", "b"]), "values"),
        (lambda: stats.interval([[1, 2], [3]]), "values"),
        (lambda: stats.interval([[1, 2], [3, 4]]), "values"),
        (lambda: stats.interval(["1", "2"]), "values"),
        (lambda: stats.interval(np.ma.masked_equal([1, 2, 9], 9)), "values"),
        (lambda: stats.paired([1, 2], [1, 2, 3]), "b"),
        (lambda: stats.paired([1, 2], [1, 2], "sum"), "how"),
        (lambda: stats.paired([1, 2], [0, 2], "ratio"), "b"),
        (lambda: stats.paired([-1, 2], [1, 2], "ratio"), "a"),
        (lambda: stats.paired([1, math.nan], [1, 2]), "a"),
    ],
)
def test_bad_values_are_named(call, named):
    with pytest.raises(ArgumentError, match=f"^{named}: given"):
        call()


def test_pairing_cancels_what_the_seed_does_to_both():
    rng = np.random.default_rng(4)
    shared, noise = rng.normal(size=12), 0.01 * rng.normal(size=12)
    a, b = 5 + shared + 0.1 + noise, 5 + shared
    difference = stats.paired(a, b)
    assert 0.08 < difference.low < difference.estimate < difference.high < 0.12
    ratio = stats.paired(a, b, "ratio")
    assert 1.01 < ratio.low < ratio.estimate < ratio.high < 1.03
    assert stats.interval(a).low < b.mean()


def test_the_ratio_is_that_of_the_means_and_not_the_mean_of_ratios():
    found = stats.paired([2, 6, 1, 9, 4], [1, 2, 2, 3, 8], "ratio")
    assert found.estimate == 22 / 16
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 9, (2, 30))
    whole, part = stats.paired(a, b, "ratio"), stats.paired(a / b, np.ones(30), "ratio")
    assert whole.estimate == pytest.approx(a.mean() / b.mean())
    assert whole.high - whole.low < 0.8 * (part.high - part.low)  # its ends are of ratios, too


@pytest.mark.parametrize("n", [5, 14])
def test_a_ratio_upside_down_has_the_ends_upside_down(n):
    a, b = np.random.default_rng(3).uniform(1, 9, (2, n))
    up, down = stats.paired(a, b, "ratio"), stats.paired(b, a, "ratio")
    inverse = [1 / down.high, 1 / down.estimate, 1 / down.low]
    assert [up.low, up.estimate, up.high] == pytest.approx(inverse, rel=1e-3)


def test_below_ten_seeds_a_ratio_has_students_interval_of_its_logarithm():
    a, b = np.array([2.0, 3, 4, 3]), np.array([1.0, 2, 1, 2])
    influence = a / a.mean() - b / b.mean()
    margin = 3.1824 * influence.std(ddof=1) / 2
    found = stats.paired(a, b, "ratio")
    ends = 2 * math.exp(-margin), 2 * math.exp(margin)
    assert (found.low, found.high) == pytest.approx(ends, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int16])
def test_values_come_as_tensors_of_any_type(dtype):
    values = torch.tensor([1, 2, 4, 8, 16]).to(dtype).requires_grad_(dtype.is_floating_point)
    assert stats.interval(values) == stats.interval([1, 2, 4, 8, 16])


@few
@given(st.integers(2, 12), st.floats(0.5, 20), st.integers(0, 99))
def test_a_constant_factor_comes_back_from_the_ratio(n, factor, seed):
    b = np.random.default_rng(seed).uniform(1, 2, n)
    interval = stats.paired(factor * b, b, "ratio")
    ends = [interval.low, interval.estimate, interval.high]
    assert ends == pytest.approx([factor] * 3, abs=1e-9)


# band


def test_a_band_is_students_interval_at_each_point():
    table = pd.DataFrame(
        {
            "condition": ["real"] * 3 + ["randX"] * 2,
            "epoch": [1, 1, 1, 1, 1],
            "seed": [0, 1, 2, 0, 1],
            "accuracy": [0.1, 0.2, 0.3, 0.5, 0.5],
        }
    )
    band = stats.band(table, ["condition", "epoch"], "accuracy")
    assert list(band.columns) == ["condition", "epoch", "mean", "low", "high", "seeds"]
    assert list(band["condition"]) == ["real", "randX"]
    margin = 4.3027 * 0.1 / math.sqrt(3)
    assert band.loc[0, ["mean", "low", "high", "seeds"]].tolist() == pytest.approx(
        [0.2, 0.2 - margin, 0.2 + margin, 3], abs=1e-4
    )
    assert band.loc[1, ["mean", "low", "high", "seeds"]].tolist() == [0.5, 0.5, 0.5, 2]


def test_one_seed_has_no_band():
    band = stats.band(pd.DataFrame({"t": [1], "seed": [0], "g": [2.0]}), "t", "g")
    assert band["mean"].tolist() == [2.0]
    assert band[["low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": [0, 0]}, "table: given '1 repeated rows'"),
        ({"g": [1.0, math.nan]}, "g: given '1 of 2 values NaN or infinite'"),
        ({"t": None}, "column: given 't'; allowed: one of 'seed', 'g'"),
        ({"seed": None}, "column: given 'seed'; allowed: one of 't', 'g'"),
    ],
)
def test_a_band_is_not_drawn_from_a_wrong_table(change, message):
    columns = {"t": [1, 1], "seed": [0, 1], "g": [1.0, 2.0], **change}
    table = pd.DataFrame({name: values for name, values in columns.items() if values})
    with pytest.raises(ArgumentError) as error:
        stats.band(table, "t", "g")
    assert message in str(error.value)
