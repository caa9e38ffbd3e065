"""From one number per seed to a statement: intervals, and the statistics that the claims test.

Every interval counts independent units (seeds, or networks), never examples or time steps of one
run. A NaN or infinite value, as a diverged member leaves it, is an error that says how many there
are: leaving runs out is the caller's decision, to be written down where it is made.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import scipy.special
import scipy.stats

from memhelpers.errors import ArgumentError, check_choice, check_instance
from memhelpers.inputs.arrays import numbers

LEVEL = 0.95
BCA_FROM = 10  # seeds; of fewer, resamples know too little of a distribution's tails
RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval over independent units."""

    estimate: float  # the statistic on all units, finite
    low: float  # or -inf
    high: float  # or inf
    level: float  # nominal coverage, above 0 and below 1
    n: int  # number of independent units behind it
    unit: str = "seeds"  # what these are, in the plural

    def __post_init__(self) -> None:
        if not math.isfinite(self.estimate):
            raise ArgumentError("estimate", self.estimate, "a finite number")
        if not self.low <= self.high:
            raise ArgumentError("low, high", (self.low, self.high), "two numbers, low <= high")

    @property
    def short(self) -> str:
        """The numbers alone, such as 0.43 [0.41, 0.45]."""
        return readable(self.estimate, self.low, self.high)

    def __str__(self) -> str:
        return f"{self.short}, {self.n} {self.unit.removesuffix('s') if self.n == 1 else self.unit}"


def readable(estimate: float, low: float, high: float) -> str:
    """The three as text, with the digits that the width warrants: to a fifth of it, or finer."""
    shown, form, width = (estimate, low, high), ".3g", high - low
    if 0 < width < math.inf:
        decimals = max(0, math.ceil(-math.log10(width / 5) - 1e-9))
        form = f"z.{decimals}f" if decimals <= 6 and max(map(abs, shown)) < 1e7 else form
    text = "{} [{}, {}]".format(*(format(number, form) for number in shown))
    return text.replace("-", "−").replace("inf", "∞")


def interval(values: object) -> Interval:
    """The 95 % interval of the mean over seeds.

    Student's t below `BCA_FROM` seeds; from there on, end by end the outer of it and of the
    bias-corrected and accelerated bootstrap (BCa), which reaches further towards a long tail. BCa
    is asked for Student's quantile, times the factor sqrt(n / (n - 1)) that resamples lack.

    Args:
        values: one value per seed, [n]; an `ArgumentError` for a NaN or infinite one.

    Returns:
        The interval; of width 0 where the values agree exactly, without ends where n is 1.

    Source: Efron, "Better bootstrap confidence intervals", 1987 (BCa); Hesterberg, "What teachers
        should know about the bootstrap", 2015, Sec. 3.3 (the quantile).
    """
    rows = _finite("values", values)
    estimate = float(rows[0] + (rows - rows[0]).mean())  # exact where all values agree
    influence = rows - estimate
    low, high = _ends(influence, lambda weights: influence @ weights)
    return Interval(estimate, float(estimate + low), float(estimate + high), LEVEL, len(rows))


def paired(a: object, b: object, how: str = "difference") -> Interval:
    """The 95 % interval of a comparison in which seed k of `a` belongs to seed k of `b`.

    What a seed does to both cancels. A ratio's ends are those of its logarithm, on which a seed
    has the influence a_k / mean(a) - b_k / mean(b).

    Args:
        a: one value per seed, [n], as in `b`.
        b: the other side, in the same order.
        how: "difference", the mean of a - b; "ratio", the mean of a over the mean of b.

    Returns:
        The interval, as of `interval`; from one seed a ratio lies between 0 and infinity.

    Raises:
        ArgumentError: lengths differ, a value is NaN or infinite, or a ratio's is not above 0.
    """
    check_choice("how", how, ("difference", "ratio"))
    first, second = _finite("a", a), _finite("b", b)
    if len(first) != len(second):
        raise ArgumentError("b", f"{len(second)} values", f"{len(first)} values, one for each of a")
    if how == "difference":
        return interval(first - second)
    for argument, values in (("a", first), ("b", second)):
        if values.min() <= 0:
            raise ArgumentError(argument, float(values.min()), "values above 0, for a ratio")
    above, below = first / first.mean(), second / second.mean()
    ends = _ends(above - below, lambda weights: np.log(above @ weights) - np.log(below @ weights))
    estimate = float(first.mean() / second.mean())
    low, high = (float(estimate * np.exp(end)) for end in ends)
    return Interval(estimate, low, high, LEVEL, len(first))


def band(table: pd.DataFrame, by: str | Sequence[str], value: str) -> pd.DataFrame:
    """The mean over seeds with Student's 95 % t interval, one row for each point of a curve.

    Args:
        table: tidy, one row for each combination of `by` and its column `seed`.
        by: the columns that tell points apart (such as condition and epoch).
        value: the column to average.

    Returns:
        `by`, then mean, low, high (NaN with one seed) and seeds, in the order of first appearance.
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
    margin = _quantile(seeds) * groups.std() / np.sqrt(seeds)
    columns = {"mean": mean, "low": mean - margin, "high": mean + margin, "seeds": seeds}
    return pd.DataFrame(columns).reset_index()


def _quantile(n: int | pd.Series) -> float | np.ndarray:
    return scipy.stats.t.ppf((1 + LEVEL) / 2, n - 1)


def _ends(influence: np.ndarray, resampled: Callable[[np.ndarray], np.ndarray]) -> list:
    """Both ends relative to the estimate, of one sample or of many at once.

    Of each unit's `influence` on the estimate, [..., n], and a function that gives the estimates
    of resamples minus that of all, [..., B], for weights of the units, [n, B].
    """
    n = influence.shape[-1]
    margin = _quantile(n) * influence.std(-1, ddof=1) / math.sqrt(n) if n > 1 else math.inf
    if n < BCA_FROM:
        return [-margin, margin]
    draws, ends = np.sort(resampled(_weights(n)), axis=-1), []
    near = 1e-9 * margin[..., None]  # resamples that tie with the estimate, but for rounding
    bias = scipy.special.ndtri(((draws < -near).mean(-1) + (draws <= near).mean(-1)) / 2)
    for side in (-1, 1):
        with np.errstate(invalid="ignore", divide="ignore"):
            skew = (influence**3).sum(-1) / (6 * (influence**2).sum(-1) ** 1.5)
            shift = bias + side * _quantile(n) * math.sqrt(n / (n - 1))
            rank = scipy.special.ndtr(bias + shift / (1 - skew * shift))
        # Where BCa is undefined, the median stands in, which leaves the end to Student's t.
        rank = np.nan_to_num(rank, nan=0.5).clip(0.001, 0.999)  # no further than resamples tell
        place = (rank * (RESAMPLES - 1)).round().astype(int)
        end = np.take_along_axis(draws, place[..., None], -1)[..., 0]
        ends.append(side * np.maximum(side * end, margin))
    return ends


@lru_cache(maxsize=8)
def _weights(n: int) -> np.ndarray:
    """Shares of the n units in each resample, [n, B]."""
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.ascontiguousarray(counts.T / n)


def _finite(argument: str, values: object) -> np.ndarray:
    """A float array of numbers, booleans, or a torch tensor on any device; all of them finite."""
    array = numbers(argument, values)
    if array.ndim == 0 or array.size == 0:
        raise ArgumentError(argument, array.shape, "at least one value, in an array")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        given = f"{bad} of {array.size} values NaN or infinite"
        allowed = "finite values; where networks diverged, lower the rate or leave them out openly"
        raise ArgumentError(argument, given, allowed)
    if array.ndim != 1:
        raise ArgumentError(argument, array.shape, "shape [n]")
    return array
