"""From one number per seed to a statement: intervals, and the statistics that the claims test.

Every interval counts independent units (seeds, or networks), never examples or time steps of one
run. A NaN or infinite value, as a diverged member leaves it, is an error that says how many there
are: leaving runs out is the caller's decision, to be written down where it is made.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from memhelpers.errors import (
    ArgumentError,
    check_choice,
    check_fraction,
    check_function,
    check_instance,
    check_integer,
    check_positive_int,
    check_seed,
)
from memhelpers.inputs.arrays import numbers

LEVEL = 0.95
LEAST_RESAMPLES = 100  # of fewer, the ends of an interval say nothing


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval over independent units.

    Raises:
        ArgumentError: the estimate is not finite, not low <= high, level not in (0, 1), or n < 1.
    """

    estimate: float  # the statistic on all units
    low: float  # or -inf
    high: float  # or inf
    level: float  # nominal coverage, such as 0.95
    n: int  # number of independent units behind it
    unit: str = "seeds"  # what these are, in the plural

    def __post_init__(self) -> None:
        for name in ("estimate", "low", "high"):
            check_instance(name, getattr(self, name), Real)
        if not math.isfinite(self.estimate):
            raise ArgumentError("estimate", self.estimate, "a finite number")
        if not self.low <= self.high:
            raise ArgumentError("low, high", (self.low, self.high), "two numbers, low <= high")
        _check_level(self.level)
        check_positive_int("n", self.n)

    def __str__(self) -> str:
        unit = self.unit.removesuffix("s") if self.n == 1 else self.unit
        estimate, low, high = _readable(self.estimate, self.low, self.high)
        return f"{estimate} [{low}, {high}], {self.n} {unit}"


def bootstrap(
    values: object, *, level: float = LEVEL, resamples: int = 9999, seed: int = 0
) -> Interval:
    """The bias-corrected and accelerated (BCa) bootstrap interval of the mean over seeds.

    The plain interval is too narrow for few seeds: it reads a normal quantile where Student's
    belongs, and the resamples' variance lacks the factor n / (n - 1). BCa is asked for the level
    that the quantile widened by both has: for normal values, 5, 10 and 20 seeds then cover about
    91, 94 and 95 % instead of 85, 91 and 94 %. No resample leaves the range of the values, so
    below 6 seeds no interval of this kind reaches 95 %.

    Args:
        values: one value per seed, [n].
        level: nominal coverage.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Returns:
        The interval; of width 0 where the values agree exactly, without ends where n is 1.

    Raises:
        ArgumentError: no value, or a NaN or infinite one.

    Source: Efron, "Better bootstrap confidence intervals", 1987 (BCa); Hesterberg, "What teachers
        should know about the bootstrap", 2015, Sec. 3.3 (the widening).
    """
    rows = _finite("values", values)

    def mean(index: np.ndarray, axis: int = -1) -> np.ndarray:
        return rows[index].mean(axis)

    return _bca(rows[:, None], mean, level, resamples, seed)


def paired(a: object, b: object, how: str = "difference", **options: Any) -> Interval:
    """The bootstrap interval of a comparison in which seed k of `a` belongs to seed k of `b`.

    Pairs are resampled whole, so what a seed does to both conditions cancels.

    Args:
        a: one value per seed, [n].
        b: one value per seed, [n], in the same order.
        how: "difference", the mean of a - b; "ratio", the mean of a over the mean of b.
        **options: level, resamples and seed, as of `bootstrap`.

    Returns:
        The interval, as of `bootstrap`.

    Raises:
        ArgumentError: lengths differ, a value is NaN or infinite, or a ratio is asked for values
            that are not all above 0.
    """
    check_choice("how", how, ("difference", "ratio"))
    first, second = _finite("a", a), _finite("b", b)
    if len(first) != len(second):
        raise ArgumentError("b", f"{len(second)} values", f"{len(first)} values, one for each of a")
    if how == "difference":
        return bootstrap(first - second, **options)
    for argument, values in (("a", first), ("b", second)):
        if values.min() <= 0:
            raise ArgumentError(argument, float(values.min()), "values above 0, for a ratio")

    def ratio(index: np.ndarray, axis: int = -1) -> np.ndarray:
        return first[index].mean(axis) / second[index].mean(axis)

    return _bca(np.stack([first, second], 1), ratio, **options)


@dataclass(frozen=True)
class Halves:
    """Groups of the networks of one ensemble, as a statistic of `half_sample` sees them.

    Args:
        right: whether network r is right on example i, [R, n], values 0 or 1.
        chosen: whether network r belongs to group h, [H, R], values 0 or 1 (default: one group of
            all networks).

    Raises:
        ArgumentError: `right` has other values or another shape.
    """

    right: np.ndarray
    chosen: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "right", _correctness("correct", self.right))
        groups = np.ones((1, len(self.right))) if self.chosen is None else self.chosen
        groups = _correctness("chosen", groups)
        if groups.shape[1] != len(self.right):
            raise ArgumentError("chosen", groups.shape, f"[H, {len(self.right)}]")
        object.__setattr__(self, "chosen", groups)

    @property
    def rate(self) -> np.ndarray:
        """The mean correctness of each group, [H]."""
        return self.chosen @ self.right.mean(1) / self.chosen.sum(1)

    def part(self, examples: object) -> "Halves":
        """The same groups on some of the examples only (indices, or a mask [n])."""
        return replace(self, right=self.right[:, examples])


def overdispersion(correct: object, runs: int | None = None) -> float | np.ndarray:
    """How many times more the examples' success rates vary than under one common success rate.

    1 + (runs - 1) rho, where rho is the mean, over all pairs of distinct networks, of the sample
    covariance of their correctness over the examples, divided by p (1 - p). With runs = R this is
    Var_i(p_i) / [p (1 - p) / R], up to terms of order 1/R; but as no network is paired with itself,
    resampling the networks does not shift it. 1 means that the examples are equally hard.

    Args:
        correct: whether network r is right on example i, [R, n], values 0 or 1; or `Halves`.
        runs: of which the rates p_i are taken to be the mean (default: R). Fix it (to the full R)
            when the statistic is applied to a part of the networks.

    Returns:
        The ratio of variances, dimensionless. Of `Halves` one for each, [H], 1 where all answers
        of the half are right, or all wrong: nothing varies.

    Raises:
        ArgumentError: other values or shape, fewer than 2 networks or examples, or all answers
            right, or all wrong.

    Source: Arpit et al. 2017, Sec. 3.1, Fig. 1 (the curves; the statistic is this book's).
    """
    halves = correct if isinstance(correct, Halves) else Halves(correct)
    examples, networks = halves.right.shape[1], halves.chosen.sum(1)
    if networks.min() < 2 or examples < 2:
        allowed = "shape [R, n], R >= 2 networks and n >= 2 examples"
        raise ArgumentError("correct", halves.right.shape, allowed)
    runs = networks if runs is None else check_positive_int("runs", runs)
    p = halves.rate
    if halves is not correct and p[0] in (0, 1):
        raise ArgumentError("correct", f"all {int(p[0])}", "both right and wrong predictions")
    # The Gram matrix of the centred rows sums to the variance of the examples' counts, its diagonal
    # to the networks' own variances: the mean of the rest needs no matrix.
    counts, rates = halves.chosen @ halves.right, halves.right.mean(1)
    own = halves.chosen @ (rates * (1 - rates)) * examples / (examples - 1)
    covariance = (counts.var(1, ddof=1) - own) / (networks * (networks - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 1 + (runs - 1) * np.where((p > 0) & (p < 1), covariance / (p * (1 - p)), 0.0)
    return found if halves is correct else float(found[0])


def extreme_excess(correct: object, low: float = 0.05, high: float = 0.95) -> float | np.ndarray:
    """How many more examples are nearly always wrong or right than equally hard ones would be.

    Args:
        correct: as of `overdispersion`.
        low: success rates p_i up to this one count as extreme.
        high: success rates from this one on count as extreme.

    Returns:
        The share of examples with p_i <= low or p_i >= high, minus the share that
        Binomial(R, mean p) gives; from -1 to 1. Of `Halves` one for each, [H].

    Raises:
        ArgumentError: other values or shape, or not 0 <= low < high <= 1.
    """
    if not check_fraction("low", low) < check_fraction("high", high):
        raise ArgumentError("low, high", (low, high), "0 <= low < high <= 1")
    halves = correct if isinstance(correct, Halves) else Halves(correct)
    networks, binomial = halves.chosen.sum(1), scipy.stats.binom
    # .95 * 20 is not 19 in floating point: half a count of slack would be too much, this is not.
    few, many = np.floor(low * networks + 1e-9), np.ceil(high * networks - 1e-9)
    counts = halves.chosen @ halves.right
    share = ((counts <= few[:, None]) | (counts >= many[:, None])).mean(1)
    expected = binomial.cdf(few, networks, halves.rate)
    expected += binomial.sf(many - 1, networks, halves.rate)
    return share - expected if halves is correct else float(share[0] - expected[0])


def half_sample(
    correct: object,
    statistic: Callable[..., np.ndarray],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The 95 % interval over networks of a statistic of all networks together, by halves.

    Drawing networks with replacement pairs a network with its own copy, which makes any measure of
    agreement too high. Halves drawn without replacement have no copies, and their statistic spreads
    with the variance that the full one has over ensembles. The interval is the estimate, plus and
    minus Student's quantile (networks - 1 degrees of freedom) times that spread. Where networks
    agree by chance only (overdispersion 1), it is too wide, by up to the square root of 3.

    Args:
        correct: whether network r is right on example i, [R, n]; or a list of such arrays, one for
            each condition, which are halved independently of each other.
        statistic: a function of `Halves` (one argument for each condition) that returns a number
            for each half, [H], as `overdispersion`, `extreme_excess` and their ratios do. One that
            depends on the number of networks should be given the full number, as by `runs`.
        resamples: number of halves; each is used together with its complement.
        seed: of the halves.

    Returns:
        The interval; its n is the smallest condition's number of networks, below 4 without ends.

    Raises:
        ArgumentError: other values or shape, or a statistic that is not a finite number for each.

    Source: McCarthy, "Pseudo-replication: half samples", 1969 (balanced halves).
    """
    check_integer("resamples", resamples, LEAST_RESAMPLES)
    check_function("statistic", statistic)
    rng = np.random.default_rng(check_seed("seed", seed))
    whole = [Halves(rows) for rows in (correct if isinstance(correct, list | tuple) else [correct])]
    if not whole:
        raise ArgumentError("correct", correct, "at least one condition")
    networks = min(len(one.right) for one in whole)
    (estimate,) = _numbers(statistic(*whole), 1)
    if networks < 4:
        return Interval(estimate, -math.inf, math.inf, LEVEL, networks, "networks")
    halves = _halves(whole, (resamples + 1) // 2, rng)
    spread = np.std(_numbers(statistic(*halves), len(halves[0].chosen)), ddof=1)
    margin = float(scipy.stats.t.ppf((1 + LEVEL) / 2, networks - 1) * spread)
    return Interval(estimate, estimate - margin, estimate + margin, LEVEL, networks, "networks")


def band(table: pd.DataFrame, by: str | Sequence[str], value: str) -> pd.DataFrame:
    """The mean over seeds with Student's 95 % t interval, one row for each point of a curve.

    Args:
        table: tidy, one row for each combination of `by` and its column `seed`.
        by: the columns that tell points apart (such as condition and epoch).
        value: the column to average.

    Returns:
        `by`, then mean, low, high (NaN with one seed) and seeds, in the order of first appearance.

    Raises:
        ArgumentError: a column is missing, a value is NaN or infinite, or a seed appears twice at a
            point (it would be counted as two).
    """
    check_instance("table", table, pd.DataFrame)
    keys = [by] if isinstance(by, str) else list(by)
    for name in (*keys, value, "seed"):
        check_choice("column", name, table.columns)
    _finite(value, table[value])
    twice = int(table.duplicated([*keys, "seed"]).sum())
    if twice:
        raise ArgumentError("table", f"{twice} repeated rows", f"one for each {[*keys, 'seed']}")
    groups = table.groupby(keys, sort=False, observed=True, dropna=False)[value]
    mean, seeds = groups.mean(), groups.size()
    margin = scipy.stats.t.ppf((1 + LEVEL) / 2, seeds - 1) * groups.std() / np.sqrt(seeds)
    columns = {"mean": mean, "low": mean - margin, "high": mean + margin, "seeds": seeds}
    return pd.DataFrame(columns).reset_index()


def kaplan_meier(times: object, observed: object) -> pd.DataFrame:
    """The share of runs that have not yet finished, when some were stopped before they did.

    Args:
        times: when a run finished, or was stopped (censored), [n], any unit, at least 0.
        observed: whether it finished, [n], boolean; a run stopped at t counts as unfinished at t.

    Returns:
        time and surviving, a right-continuous step function: one row at time 0, at each finish and
        at the last time.

    Raises:
        ArgumentError: lengths differ, or a time is negative, NaN or infinite.

    Source: Kaplan and Meier, "Nonparametric estimation from incomplete observations", 1958.
    """
    t, finished = _finite("times", times), _correctness("observed", observed, 1) == 1
    if len(t) != len(finished):
        raise ArgumentError("observed", f"{len(finished)} values", f"{len(t)}, one for each time")
    if t.min() < 0:
        raise ArgumentError("times", float(t.min()), "times of at least 0")
    censored = scipy.stats.CensoredData(uncensored=t[finished], right=t[~finished])
    grid = np.unique(np.concatenate([[0.0], t[finished], [t.max()]]))
    surviving = scipy.stats.ecdf(censored).sf.evaluate(grid)
    return pd.DataFrame({"time": grid, "surviving": surviving})


def _bca(
    rows: np.ndarray,
    statistic: Callable[..., np.ndarray],
    level: float = LEVEL,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """BCa over the indices of the rows, which `statistic` takes."""
    _check_level(level)
    check_integer("resamples", resamples, LEAST_RESAMPLES)
    rng = np.random.default_rng(check_seed("seed", seed))
    n = len(rows)
    estimate = float(statistic(np.arange(n)))
    if n < 2:
        return Interval(estimate, -math.inf, math.inf, level, n)
    if (rows == rows[0]).all():
        return Interval(estimate, estimate, estimate, level, n)
    widened, indices = _widened(level, n), (np.arange(n),)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # Where BCa is undefined, scipy warns and returns NaN (or ends in the wrong order, under
        # extreme skew): the percentile interval stands in.
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        result = scipy.stats.bootstrap(
            indices, statistic, n_resamples=resamples, confidence_level=widened, rng=rng
        )
    low, high = map(float, result.confidence_interval)
    if not low <= high:
        ends = [(1 - widened) / 2, (1 + widened) / 2]
        low, high = map(float, np.quantile(result.bootstrap_distribution, ends))
    return Interval(estimate, low, high, level, n)


def _widened(level: float, n: int) -> float:
    """The level whose normal quantile is Student's, times sqrt(n / (n - 1))."""
    quantile = scipy.stats.t.ppf((1 + level) / 2, n - 1) * math.sqrt(n / (n - 1))
    # Kept off 1, which BCa does not take: at 2 or 3 units the interval is the range anyway.
    return min(1 - 2 * float(scipy.stats.norm.sf(quantile)), 1 - 1e-12)


def _halves(whole: list[Halves], pairs: int, rng: np.random.Generator) -> list[Halves]:
    """Halves of each condition, every one followed by its complement."""
    chosen = [np.zeros((2 * pairs, len(one.right))) for one in whole]
    for pair in range(pairs):
        for one in chosen:
            networks = one.shape[1]
            one[2 * pair, rng.permutation(networks)[: networks // 2]] = 1
    for one in chosen:
        one[1::2] = 1 - one[::2]
    return [replace(one, chosen=halves) for one, halves in zip(whole, chosen, strict=True)]


def _finite(argument: str, values: object, ndim: int = 1) -> np.ndarray:
    """A float array of numbers, booleans, or a torch tensor on any device; all of them finite."""
    array = numbers(argument, values)
    if array.ndim == 0 or array.size == 0:
        raise ArgumentError(argument, array.shape, "at least one value, in an array")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        given = f"{bad} of {array.size} values NaN or infinite"
        allowed = "finite values; where networks diverged, lower the rate or leave them out openly"
        raise ArgumentError(argument, given, allowed)
    if array.ndim != ndim:
        raise ArgumentError(argument, array.shape, "shape [R, n]" if ndim == 2 else "shape [n]")
    return array


def _correctness(argument: str, values: object, ndim: int = 2) -> np.ndarray:
    array = _finite(argument, values, ndim)
    if not ((array == 0) | (array == 1)).all():
        raise ArgumentError(argument, values, "booleans, or numbers 0 and 1")
    return array


def _check_level(level: float) -> None:
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ArgumentError("level", level, "a number between 0 and 1, both excluded")


def _numbers(values: object, count: int) -> list[float]:
    """What a statistic returned for each of the halves."""
    numbers = np.asarray(values)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ArgumentError("statistic", values, f"a function that returns {count} finite numbers")
    return numbers.tolist()


def _readable(estimate: float, low: float, high: float) -> list[str]:
    """Three numbers with the digits that the interval's width warrants: a fifth of it, or finer."""
    width, largest = high - low, max(map(abs, (estimate, low, high)))
    if not 0 < width < math.inf:
        return [f"{value:.3g}" for value in (estimate, low, high)]
    decimals = max(0, math.ceil(-math.log10(width / 5) - 1e-9))
    form = f"z.{decimals}f" if decimals <= 6 and largest < 1e7 else ".3g"
    return [format(value, form) for value in (estimate, low, high)]
