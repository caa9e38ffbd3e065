"""Timing on a machine that is shared and noisy: ways in turn, round after round, and ratios."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import t

from memhelpers import stats


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, with the GPU's queue empty before and after."""
    gc.collect()
    _wait()
    started = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - started


def in_turn(
    ways: Mapping[str, Callable[[], object]], rounds: int, say: Callable[[str], None]
) -> pd.DataFrame:
    """Time all ways one after another, `rounds` times, each round in another order.

    Whatever else the machine does then falls on all of them alike, and the ratio of two ways within
    a round tells more than their times. Warm-ups are the caller's.

    Returns:
        One row a way and round: `way`, `round`, `seconds`.
    """
    rows, names = [], list(ways)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            took = seconds(ways[name])
            rows.append({"way": name, "round": number, "seconds": took})
            say(f"  round {number + 1} of {rounds}: {name}: {took:.2f} s")
    return pd.DataFrame(rows)


def ratio(times: pd.DataFrame, slow: str, fast: str) -> stats.Interval:
    """How many times faster `fast` is than `slow`: the mean over rounds, and its 95 % interval.

    With fewer than three rounds there is no interval; it is then as wide as it can be.
    """
    by_way = times.pivot(index="round", columns="way", values="seconds")
    return summary((by_way[slow] / by_way[fast]).to_numpy())


def summary(values: Sequence[float]) -> stats.Interval:
    """Mean of a few measurements, with Student's interval."""
    values = np.asarray(values, dtype=float)
    n, mean, half = len(values), float(values.mean()), float("inf")
    if n >= 3:
        half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)
    return stats.Interval(mean, mean - half, mean + half, 0.95, n, "rounds")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
