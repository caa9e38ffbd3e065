import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

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
            "0.000 [-0.010, 0.010], 100 networks",
        ),
        (Interval(0.5, -math.inf, math.inf, 0.95, 1), "0.5 [-inf, inf], 1 seed"),
        (Interval(1, 1, 1, 0.95, 3), "1 [1, 1], 3 seeds"),
        (Interval(2e-9, 1e-9, 3e-9, 0.95, 6), "2e-09 [1e-09, 3e-09], 6 seeds"),
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
        ((0.5, 0, 1, 95, 5), "level"),
        ((0.5, 0, 1, 0.95, 0), "n"),
    ],
)
def test_an_impossible_interval_is_refused(arguments, named):
    with pytest.raises(ArgumentError, match=f"^{named}: given"):
        Interval(*arguments)


# bootstrap and paired


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [stats.bootstrap(rng.normal(size=10), resamples=999) for _ in range(300)]
    covered = np.mean([i.low <= 0 <= i.high for i in intervals])
    # 95 % within three standard errors of 300 trials; the unwidened interval covers about 90 %.
    assert 0.912 < covered < 0.985


def test_the_bootstrap_interval_is_wider_than_plain_bca_for_few_seeds_and_alike_for_many():
    rng = np.random.default_rng(1)
    for n, low, high in ((5, 1.2, 2.0), (200, 0.97, 1.05)):
        values = rng.normal(size=n)
        plain = 2 * 1.96 * values.std() / math.sqrt(n)
        interval = stats.bootstrap(values)
        assert low < (interval.high - interval.low) / plain < high


def test_the_widened_level_has_students_quantile_and_the_missing_factor():
    # Student's 97.5 % quantile, 4 degrees of freedom, is 2.7764; Phi(2.7764 sqrt(5 / 4)) = .99905.
    assert stats._widened(0.95, 5) == pytest.approx(0.99809, abs=1e-5)


def test_bca_moves_the_interval_towards_the_long_tail():
    values = np.random.default_rng(2).lognormal(sigma=1, size=30)
    interval = stats.bootstrap(values)
    assert interval.high - interval.estimate > 1.3 * (interval.estimate - interval.low)


def test_the_bootstrap_is_the_same_for_the_same_seed_only():
    values = [0.3, 0.5, 0.45, 0.7, 0.52, 0.61]
    assert stats.bootstrap(values) == stats.bootstrap(torch.tensor(values, dtype=torch.float64))
    assert stats.bootstrap(values) != stats.bootstrap(values, seed=1)


def test_where_bca_is_undefined_the_percentile_interval_stands_in():
    # Leaving one pair out never moves this ratio, so BCa's acceleration is 0 / 0.
    interval = stats.paired([2.0, 4.0, 8.0], [1.0, 2.0, 4.0], "ratio")
    assert (interval.estimate, interval.low, interval.high) == (2, 2, 2)


def test_equal_values_give_an_interval_without_width():
    assert stats.bootstrap([0.75] * 7) == Interval(0.75, 0.75, 0.75, 0.95, 7)


def test_one_seed_says_nothing_about_the_spread():
    interval = stats.bootstrap([0.3])
    assert (interval.low, interval.high, interval.n) == (-math.inf, math.inf, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_diverged_seeds_are_counted_in_the_error(bad):
    with pytest.raises(ArgumentError, match="2 of 5 values NaN or infinite"):
        stats.bootstrap([0.1, bad, 0.2, bad, 0.3])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: stats.bootstrap([]), "values"),
        (lambda: stats.bootstrap(0.5), "values"),
        (lambda: stats.bootstrap(["a", "b"]), "values"),
        (lambda: stats.bootstrap([[1, 2], [3]]), "values"),
        (lambda: stats.bootstrap([[1, 2], [3, 4]]), "values"),
        (lambda: stats.bootstrap([1, 2], level=95), "level"),
        (lambda: stats.bootstrap([1, 2], level="0.95"), "level"),
        (lambda: stats.bootstrap(["1", "2"]), "values"),
        (lambda: stats.bootstrap(np.ma.masked_equal([1, 2, 9], 9)), "values"),
        (lambda: stats.bootstrap([1, 2], resamples=1), "resamples"),
        (lambda: stats.half_sample(draws(8, 9, 1), excess, resamples=1), "resamples"),
        (lambda: stats.bootstrap([1, 2], seed=-1), "seed"),
        (lambda: stats.half_sample([], excess), "correct"),
        (lambda: stats.half_sample([[0.5, 1]], excess), "correct"),
        (lambda: stats.half_sample(draws(8, 9, 1), lambda halves: 0.5), "statistic"),
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
    assert stats.bootstrap(a).low < b.mean()


def test_the_ratio_is_that_of_the_means_and_not_the_mean_of_ratios():
    found = stats.paired([2, 6, 1, 9, 4], [1, 2, 2, 3, 8], "ratio")
    assert found.estimate == 22 / 16
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 9, (2, 30))
    whole, part = stats.paired(a, b, "ratio"), stats.paired(a / b, np.ones(30), "ratio")
    assert whole.estimate == pytest.approx(a.mean() / b.mean())
    assert whole.high - whole.low < 0.8 * (part.high - part.low)  # its ends are of ratios, too


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int16])
def test_values_come_as_tensors_of_any_type(dtype):
    values = torch.tensor([1, 2, 4, 8, 16]).to(dtype).requires_grad_(dtype.is_floating_point)
    assert stats.bootstrap(values) == stats.bootstrap([1, 2, 4, 8, 16])


@few
@given(st.integers(2, 12), st.floats(0.5, 20), st.integers(0, 99))
def test_a_constant_factor_comes_back_from_the_ratio(n, factor, seed):
    b = np.random.default_rng(seed).uniform(1, 2, n)
    interval = stats.paired(factor * b, b, "ratio", resamples=100)
    ends = [interval.low, interval.estimate, interval.high]
    assert ends == pytest.approx([factor] * 3, abs=1e-9)


# overdispersion, extreme_excess, half_sample


def spread(right: object) -> object:
    return stats.overdispersion(right, 16)


def excess(right: object) -> object:
    return stats.extreme_excess(right, 0.2, 0.8)


def test_binomial_draws_have_overdispersion_one():
    values = [stats.overdispersion(draws(20, 300, 0, seed)) for seed in range(100)]
    error = np.std(values) / 10
    assert abs(np.mean(values) - 1) < 3 * error < 0.05


def test_overdispersion_is_the_mean_over_pairs_of_distinct_networks():
    right = draws(7, 30, 1.5).astype(float)
    gram = np.cov(right)
    pairs = gram[~np.eye(7, dtype=bool)].mean()
    p = right.mean()
    expected = 1 + 6 * pairs / (p * (1 - p))
    assert stats.overdispersion(right) == pytest.approx(expected, rel=1e-12)
    assert stats.overdispersion(torch.tensor(right).bool()) == pytest.approx(expected, rel=1e-12)


def test_overdispersion_is_nearly_the_ratio_of_variances():
    right = draws(100, 1000, 2)
    p = right.mean()
    ratio = right.mean(0).var() / (p * (1 - p) / 100)
    assert ratio > 20
    assert stats.overdispersion(right) == pytest.approx(ratio, rel=0.02)


def test_examples_that_all_networks_agree_on_give_the_number_of_runs():
    right = np.repeat([[True] * 50 + [False] * 50], 8, axis=0)
    exact = 1 + 7 * 100 / 99
    assert stats.overdispersion(right) == pytest.approx(exact)
    assert stats.overdispersion(right, runs=100) == pytest.approx(1 + 99 * 100 / 99)


def test_a_part_of_the_networks_estimates_the_same_overdispersion():
    right = draws(200, 500, 1)
    full = stats.overdispersion(right)
    parts = [stats.overdispersion(right[k : k + 20], runs=200) for k in range(0, 200, 20)]
    assert np.mean(parts) == pytest.approx(full, rel=0.03)


@few
@given(st.integers(2, 6), st.integers(2, 8), st.integers(0, 999))
def test_overdispersion_depends_on_neither_order_nor_on_which_answer_is_right(r, n, seed):
    rng = np.random.default_rng(seed)
    right = rng.random((r, n)) < 0.5
    right[0, 0], right[1, 1] = True, False
    value = stats.overdispersion(right)
    shuffled = right[rng.permutation(r)][:, rng.permutation(n)]
    assert stats.overdispersion(shuffled) == pytest.approx(value)
    assert stats.overdispersion(~right) == pytest.approx(value)


def test_extreme_excess_is_the_share_beyond_the_binomial():
    right = np.zeros((20, 100), bool)
    right[:, :40] = True  # 40 always right
    right[:10, 40:90] = True  # 50 in the middle
    right[:1, 90:] = True  # 10 at p = .05, an extreme one
    p = right.mean()
    expected = binom.cdf(1, 20, p) + binom.sf(18, 20, p)
    assert stats.extreme_excess(right) == pytest.approx(0.5 - expected)


def test_binomial_draws_have_no_extreme_excess():
    right = np.random.default_rng(0).random((20, 4000)) < 0.9
    expected = binom.cdf(1, 20, 0.9) + binom.sf(18, 20, 0.9)
    assert expected > 0.3
    assert abs(stats.extreme_excess(right)) < 0.03


def test_diverged_networks_are_counted_in_the_error():
    right = draws(6, 10, 1).astype(float)
    right[2] = np.nan
    for call in (stats.overdispersion, stats.extreme_excess):
        with pytest.raises(ArgumentError, match="10 of 60 values NaN"):
            call(right)
    with pytest.raises(ArgumentError, match="10 of 60 values NaN"):
        stats.half_sample(right, stats.overdispersion)


def test_halves_of_a_mean_give_students_interval():
    right = draws(12, 40, 1)
    interval = stats.half_sample(right, lambda halves: halves.rate, resamples=4000)
    means = right.mean(1)
    margin = 2.201 * means.std(ddof=1) / math.sqrt(12)
    assert interval.estimate == pytest.approx(means.mean())
    assert interval.high - interval.estimate == pytest.approx(margin, rel=0.05)
    assert interval.estimate - interval.low == pytest.approx(margin, rel=0.05)
    assert (interval.n, interval.unit) == (12, "networks")


@pytest.mark.parametrize(
    "statistic", [lambda rows: stats.overdispersion(rows, 16), stats.extreme_excess]
)
def test_halves_spread_as_much_as_the_statistic_does_over_ensembles(statistic):
    rng = np.random.default_rng(6)
    odds = 1.5 * rng.normal(size=150)

    def ensemble() -> np.ndarray:
        skill = 0.5 * rng.normal(size=(16, 1))
        return rng.random((16, 150)) < 1 / (1 + np.exp(-odds - skill))

    ensembles = [ensemble() for _ in range(400)]
    values = [statistic(stats.Halves(right))[0] for right in ensembles]
    intervals = [stats.half_sample(right, statistic, resamples=100) for right in ensembles[:60]]
    half_widths = [(i.high - i.low) / 2 / 2.131 for i in intervals]
    assert np.mean(half_widths) == pytest.approx(np.std(values), rel=0.2)
    covered = np.mean([i.low <= np.mean(values) <= i.high for i in intervals])
    assert covered > 0.88


def test_every_half_is_followed_by_its_complement():
    seen = []

    def statistic(halves: stats.Halves) -> np.ndarray:
        seen.append(halves.chosen)
        return halves.rate

    stats.half_sample(draws(7, 9, 1), statistic, resamples=100)
    full, halves = seen
    assert full.tolist() == [[1] * 7]
    assert halves.sum(1).tolist() == [3, 4] * 50
    assert (halves[::2] + halves[1::2] == 1).all()
    assert len(np.unique(halves, axis=0)) > 4


def test_conditions_are_halved_independently():
    a, b = draws(20, 200, 2, seed=1), draws(16, 200, 0.5, seed=2)

    def difference(first: stats.Halves, second: stats.Halves) -> np.ndarray:
        return stats.overdispersion(first, 20) - stats.overdispersion(second, 20)

    both = stats.half_sample([a, b], difference)
    alone = [stats.half_sample(rows, lambda r: stats.overdispersion(r, 20)) for rows in (a, b)]
    assert both.n == 16
    assert both.low > 0
    widths = [(i.high - i.low) / q for i, q in zip(alone, (2.093, 2.131), strict=True)]
    assert (both.high - both.low) / 2.131 == pytest.approx(math.hypot(*widths), rel=0.1)


@pytest.mark.parametrize("statistic", [spread, excess])
def test_each_group_of_networks_has_the_value_of_its_rows(statistic):
    right = draws(9, 60, 2)
    chosen = np.random.default_rng(0).permuted(np.tile(np.arange(9) < 4, (20, 1)), axis=1)
    together = statistic(stats.Halves(right, chosen.astype(float)))
    assert together == pytest.approx([statistic(right[one]) for one in chosen], rel=1e-12)
    assert statistic(stats.Halves(right)) == pytest.approx([statistic(right)], rel=1e-12)


def test_halves_on_a_part_of_the_examples_are_the_same_halves():
    right = draws(12, 40, 1)
    part = stats.half_sample(right[:, 5:30], spread, resamples=100)
    some = slice(5, 30)
    assert part == stats.half_sample(right, lambda halves: spread(halves.part(some)), resamples=100)


def test_a_half_on_which_nothing_varies_is_as_one_of_equally_hard_examples():
    right = np.array([[1, 1], [1, 1], [0, 1], [1, 0]])
    halves = stats.Halves(right, np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    first, second = stats.overdispersion(halves)
    assert first == 1 != second
    assert stats.half_sample(np.ones((8, 9)), stats.overdispersion).estimate == 1


def test_three_networks_are_too_few_to_halve():
    interval = stats.half_sample(draws(3, 20, 1), excess)
    assert (interval.low, interval.high, interval.n) == (-math.inf, math.inf, 3)


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


# survival


def test_the_survival_curve_counts_stopped_runs_while_they_ran():
    curve = stats.kaplan_meier([1, 2, 2, 3, 5], [True, True, False, True, False])
    assert curve["time"].tolist() == [0, 1, 2, 3, 5]
    assert curve["surviving"].tolist() == pytest.approx([1, 0.8, 0.6, 0.3, 0.3])
