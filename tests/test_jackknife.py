"""Chapter 02's overdispersion, and its intervals, which leave networks out in turn."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, sem, t

from memhelpers import stats
from memhelpers.errors import ArgumentError
from memhelpers.stats import Interval
from tests.test_stats import draws
from tools import judging, notebooks

CHAPTER = judging.definitions(notebooks.BOOK / "02-easy-examples.ipynb")
at_the_ends, jackknife, left_out, more, over, spread = (
    CHAPTER[name] for name in ("at_the_ends", "jackknife", "left_out", "more", "over", "spread")
)
LABELS = np.arange(1000) % 10
few = settings(deadline=None, derandomize=True, max_examples=20)


def overdispersion(right: np.ndarray, runs: int | None = None, *others, **named):
    """The chapter's, for as many runs as there are networks if none are given."""
    return CHAPTER["overdispersion"](right, runs or len(right), *others, **named)


def rate(right: np.ndarray) -> np.ndarray:
    """The share of right answers of each group."""
    groups = left_out(len(right))
    return groups @ right.mean(1) / groups.sum(1)


@pytest.mark.parametrize("networks", [4, 12])
def test_the_jackknife_of_a_mean_is_students_interval(networks):
    right = draws(networks, 40, 1)
    interval = jackknife(rate(right))
    means = right.mean(1)
    low, high = t.interval(0.95, networks - 1, means.mean(), sem(means))
    found = interval.low, interval.estimate, interval.high
    assert found == pytest.approx((low, means.mean(), high))
    assert (interval.n, interval.unit, interval.level) == (networks, "networks", 0.95)


@pytest.mark.parametrize(
    ("spread_of", "labels"),
    [(1, None), (1.1, None), (2, None), (10, None), (80, None), (1.1, LABELS), (10, LABELS)],
    ids=lambda value: "within labels" if np.ndim(value) else str(value),
)
def test_the_jackknife_covers_the_overdispersion_of_other_networks(spread_of, labels):
    rng = np.random.default_rng(3)
    both = 99 / max(spread_of - 1, 1e-9) - 1  # the two parameters of the beta distribution, added
    odds = np.log(1 / rng.beta(0.3 * both, 0.7 * both, 1000).clip(1e-9, 1 - 1e-9) - 1)

    def interval() -> Interval:
        skill = 0.2 * rng.normal(size=(100, 1))
        right = rng.random((100, 1000)) < 1 / (1 + np.exp(odds - skill))
        return jackknife(spread(right, labels))

    found = [interval() for _ in range(100)]
    estimates = np.array([i.estimate for i in found])
    assert np.mean([i.low <= estimates.mean() <= i.high for i in found]) > 0.9
    half_widths = [(i.high - i.low) / 2 / 1.984 for i in found]
    # 1 within 3 standard errors; where the spread is 1, the plain jackknife is 1.41 times too wide.
    assert np.mean(half_widths) / np.std(estimates) == pytest.approx(1, abs=0.22)


def test_the_variances_of_conditions_add():
    a, b = spread(draws(20, 200, 2, seed=1)), spread(draws(16, 200, 0.5, seed=2))
    both = jackknife(*more(a, b))
    alone = [jackknife(values) for values in (a, b)]
    assert both.n == 16
    assert both.low > 0
    assert both.estimate == pytest.approx(alone[0].estimate - alone[1].estimate)
    widths = [(i.high - i.low) / q for i, q in zip(alone, (2.0930, 2.1314), strict=True)]
    assert (both.high - both.low) / 2.1314 == pytest.approx(math.hypot(*widths), rel=1e-3)


def test_a_ratio_on_the_log_scale_is_as_wide_downwards_as_upwards():
    real, noise = spread(draws(60, 300, 2, seed=1)), spread(draws(60, 300, 0, seed=2))
    up = jackknife(*over(real, noise), log=True)
    down = jackknife(*over(noise, real), log=True)
    assert up.estimate / up.low == pytest.approx(up.high / up.estimate)
    inverse = [1 / down.high, 1 / down.estimate, 1 / down.low]
    assert [up.low, up.estimate, up.high] == pytest.approx(inverse)
    assert 1 < up.low < up.high < math.inf


def test_a_ratio_to_what_may_be_zero_has_no_ends():
    few_networks = np.eye(4, 40)  # never right together: their overdispersion for 100 is below 0
    values = over(spread(draws(60, 40, 2)), spread(few_networks))
    interval = jackknife(*values, log=True)
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert interval.estimate < 0


@pytest.mark.parametrize("statistic", [spread, at_the_ends])
def test_each_group_of_networks_has_the_value_of_its_rows(statistic):
    right = draws(24, 60, 2)
    groups = left_out(24) == 1
    alone = [statistic(right[one])[0] for one in groups]
    assert statistic(right) == pytest.approx(alone, rel=1e-9)
    assert len(set(np.round(alone, 9))) > 10


def test_the_groups_are_all_networks_all_without_one_and_all_without_two():
    sizes = left_out(9).sum(1)
    assert sizes.tolist() == [9] + 9 * [8] + 36 * [7]
    assert left_out(9)[1:10].sum(0).tolist() == [8] * 9


def test_what_lies_at_the_ends_is_the_share_beyond_the_binomial():
    right = np.zeros((20, 100), bool)
    right[:, :40] = True  # 40 always right
    right[:10, 40:90] = True  # 50 in the middle
    right[:1, 90:] = True  # 10 at p = .05, which is at an end
    p = right.mean()
    expected = binom.cdf(1, 20, p) + binom.sf(18, 20, p)
    assert at_the_ends(right)[0] == pytest.approx(0.5 - expected)


def test_no_more_binomial_draws_lie_at_the_ends():
    right = np.random.default_rng(0).random((20, 4000)) < 0.9
    expected = binom.cdf(1, 20, 0.9) + binom.sf(18, 20, 0.9)
    assert expected > 0.3
    assert abs(at_the_ends(right)[0]) < 0.03


def test_where_nothing_varies_examples_are_equally_hard():
    assert jackknife(spread(np.ones((8, 9)))).estimate == 1


@pytest.mark.parametrize("networks", [2, 3])
def test_two_or_three_networks_are_too_few_to_leave_any_out(networks):
    interval = jackknife(spread(draws(networks, 20, 1)))
    assert (interval.low, interval.high, interval.n) == (-math.inf, math.inf, networks)


def test_diverged_networks_give_an_error_and_no_interval():
    right = draws(6, 10, 1).astype(float)
    right[2] = np.nan
    with pytest.raises(ArgumentError, match="estimate: given nan"):
        jackknife(spread(right))


def test_all_intervals_of_a_chapter_take_two_seconds():
    rng = np.random.default_rng(0)
    right, values = rng.random((100, 1000)) < 0.3, rng.normal(1, 0.1, (20, 20))
    started = time.process_time()
    for _ in range(32):  # claims of four runs
        jackknife(spread(right, LABELS))
    for row in values:
        stats.interval(row)
        stats.paired(row, row[::-1], "ratio")
    assert time.process_time() - started < 4  # on two cores, with a margin for a busy machine


def test_binomial_draws_have_overdispersion_one():
    values = [overdispersion(draws(20, 300, 0, seed)) for seed in range(100)]
    error = np.std(values) / 10
    assert abs(np.mean(values) - 1) < 3 * error < 0.05


def test_overdispersion_is_the_mean_over_pairs_of_distinct_networks():
    right = draws(7, 30, 1.5).astype(float)
    gram = np.cov(right)
    pairs = gram[~np.eye(7, dtype=bool)].mean()
    p = right.mean()
    expected = 1 + 6 * pairs / (p * (1 - p))
    assert overdispersion(right) == pytest.approx(expected, rel=1e-12)


def test_overdispersion_is_nearly_the_ratio_of_variances():
    right = draws(100, 1000, 2)
    p = right.mean()
    ratio = right.mean(0).var() / (p * (1 - p) / 100)
    assert ratio > 20
    assert overdispersion(right) == pytest.approx(ratio, rel=0.02)


def test_examples_that_all_networks_agree_on_give_the_number_of_runs():
    right = np.repeat([[True] * 50 + [False] * 50], 8, axis=0)
    exact = 1 + 7 * 100 / 99
    assert overdispersion(right) == pytest.approx(exact)
    assert overdispersion(right, 100) == pytest.approx(1 + 99 * 100 / 99)


def test_a_part_of_the_networks_estimates_the_same_overdispersion():
    right = draws(200, 500, 1)
    full = overdispersion(right)
    parts = [overdispersion(right[k : k + 20], 200) for k in range(0, 200, 20)]
    assert np.mean(parts) == pytest.approx(full, rel=0.03)


@few
@given(st.integers(2, 6), st.integers(2, 8), st.integers(0, 999))
def test_overdispersion_depends_on_neither_order_nor_on_which_answer_is_right(r, n, seed):
    rng = np.random.default_rng(seed)
    right = rng.random((r, n)) < 0.5
    right[0, 0], right[1, 1] = True, False
    value = overdispersion(right)
    shuffled = right[rng.permutation(r)][:, rng.permutation(n)]
    assert overdispersion(shuffled) == pytest.approx(value)
    assert overdispersion(~right) == pytest.approx(value)


def test_within_labels_overdispersion_is_the_weighted_mean_over_labels():
    right, labels = draws(12, 60, 1.5), np.array([*"aaabb" * 11, *"ccccd"])
    parts = [right[:, labels == one] for one in "abc"]  # of "d" there is one example only
    each = [overdispersion(part, 100) for part in parts]
    weights = [part.shape[1] * part.mean() * (1 - part.mean()) for part in parts]
    expected = np.average(each, weights=weights)
    assert overdispersion(right, 100, labels) == pytest.approx(expected, rel=1e-12)
    every = overdispersion(right, 100, np.zeros(60))
    assert every == pytest.approx(overdispersion(right, 100), rel=1e-12)


def test_labels_that_explain_all_of_the_difficulty_leave_an_overdispersion_of_one():
    labels = np.arange(600) % 3
    right = np.random.default_rng(0).random((50, 600)) < np.array([0.2, 0.5, 0.8])[labels]
    assert overdispersion(right) > 10
    assert overdispersion(right, labels=labels) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("labels", [None, np.arange(60) % 3])
def test_each_group_of_networks_has_the_overdispersion_of_its_rows(labels):
    right = draws(9, 60, 2)
    groups = np.random.default_rng(0).permuted(np.tile(np.arange(9) < 4, (20, 1)), axis=1)
    together = overdispersion(right, 16, labels, groups)
    alone = [overdispersion(right[one], 16, labels) for one in groups]
    assert together == pytest.approx(alone, rel=1e-12)
    every = overdispersion(right, 16, labels, np.ones((1, 9)))
    assert every == pytest.approx([overdispersion(right, 16, labels)], rel=1e-12)


def test_a_group_on_which_nothing_varies_is_as_one_of_equally_hard_examples():
    right = np.array([[1, 1], [1, 1], [0, 1], [1, 0]])
    first, second = overdispersion(right, 2, groups=np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    assert first == 1 != second
