"""The statistic of each claim, worked out a second time from the recorded tables.

Everything here is written from the words of `claims.yml`, with plain loops and without the book's
own functions: a chapter that takes another norm, condition or time than its claim says is found,
also where the verdict would be the same.
"""

import math
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from memhelpers import claims, lab
from memhelpers.runs import records
from tests import chapters
from tools import notebooks


def recorded_verdicts() -> Iterator:
    """Tables and stored row of each verdict on a recorded run."""
    for path in chapters.CHAPTERS:
        records = lab.Chapter(path.stem).recorded
        found = [o.get("data", {}) for c in notebooks.code_cells(notebooks.read(path))
                 for o in c.outputs]  # fmt: skip
        for row in [row for d in found if claims.MIME in d for row in d[claims.MIME]["rows"]]:
            if row["recorded"]:
                yield pytest.param(records[row["run"]], row, id=f"{row['id']}-{row['run']}")


def by_seed(table: pd.DataFrame, column: str, **where) -> np.ndarray:
    """A column's values in the order of the seeds, of the rows that have these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    assert table["seed"].is_unique
    return table.sort_values("seed")[column].to_numpy()


# Chapter 01: the table `fits` has one row for each network.


def final(tables, condition, column="train_accuracy"):
    noise = {"real": 0.0, "randY": 1.0}.get(condition, 0.0)
    return by_seed(tables["fits"], column, condition=condition, noise=noise)


def longer(tables, below):
    return final(tables, "randY", "epochs").mean() / final(tables, below, "epochs").mean()


def lowest(tables):
    noise = ["shuffled pixels", "shuffled per image", "randX"]
    return np.min([final(tables, condition) for condition in noise], axis=0).mean()


def gap_rises(tables):
    labels = tables["fits"][tables["fits"]["condition"].isin(["real", "randY"])]
    partly = tables["fits"][tables["fits"]["condition"].str.endswith("random labels")]
    each = pd.concat([labels, partly]).groupby("seed")
    return np.mean([spearmanr(rows["noise"], rows["gap"]).statistic for _, rows in each])


def over_chance(tables):
    found = final(tables, "randY", "validation_accuracy")
    return (found - final(tables, "randY", "chance")).mean()


# Chapter 02: `by_network` holds, for an example, one bit for each network.


def right(tables, condition) -> np.ndarray:
    """Whether network r is right on example i, [R, n]."""
    networks = int((tables["networks"]["condition"] == condition).sum())
    texts = tables["examples"].query("condition == @condition")["by_network"]
    bits = [format(int(text, 16), f"0{4 * len(text)}b")[:networks] for text in texts]
    return np.array([[bit == "1" for bit in one] for one in bits], dtype=float).T


def pairs_covary(correct) -> float:
    """The mean covariance of two different networks, over the examples; [R, n]."""
    networks, covariance = len(correct), np.cov(correct)
    return (covariance.sum() - np.trace(covariance)) / (networks * (networks - 1))


def overdispersion(correct) -> float:
    """That of 100 networks, however many there are."""
    p = correct.mean()
    return 1 + 99 * pairs_covary(correct) / (p * (1 - p))


def over(tables, condition) -> float:
    return overdispersion(right(tables, "real")) / overdispersion(right(tables, condition))


def within(tables, condition) -> float:
    """Each label's overdispersion, weighted by the variance that chance gives its examples."""
    correct = right(tables, condition)
    labels = tables["examples"].query("condition == @condition")["label"].to_numpy()
    above = below = 0.0
    for label in set(labels):
        one = correct[:, labels == label]
        p, n = one.mean(), one.shape[1]
        if n > 1:
            above += n * pairs_covary(one)
            below += n * p * (1 - p)
    return 1 + 99 * above / below


def extremes(correct) -> float:
    networks, p = len(correct), correct.mean()
    counts = np.arange(networks + 1)
    chance = np.array([math.comb(networks, k) * p**k * (1 - p) ** (networks - k) for k in counts])
    ends = (counts <= round(0.05 * networks)) | (counts >= round(0.95 * networks))
    seen = ends[correct.sum(0).astype(int)].mean()
    return seen - chance[ends].sum()


# Chapter 04

OWN_CLASS, DATA_CLASSES = "one class per example", "classes of the data"


def at_end(tables, condition, norm="l1", task=DATA_CLASSES):
    table = tables["gini"]
    last = table[table["update"] == table["update"].max()]
    which = {"condition": condition, "norm": norm, "task": task, "derivative": "total"}
    return by_seed(last, "gini", **which)


def difference(tables, **which):
    return (at_end(tables, "real", **which) - at_end(tables, "randX", **which)).mean()


def most_of_training(tables):
    """Each update counts with the evaluation time that is nearest to it."""
    table = tables["gini"].query("task == @DATA_CLASSES and derivative == 'total' and norm == 'l1'")
    times, found = np.sort(table["update"].unique()), []
    updates = np.arange(1, times[-1] + 1)
    distances = np.abs(updates[:, None] - times)
    nearest = distances == distances.min(1, keepdims=True)
    weights = (nearest / nearest.sum(1, keepdims=True)).sum(0) / len(updates)
    for _, rows in table.groupby("seed"):
        curves = [rows[rows["condition"] == c].sort_values("update")["gini"].to_numpy()
                  for c in ("real", "randX")]  # fmt: skip
        found.append(weights[curves[0] > curves[1]].sum())
    return np.mean(found)


def high(tables, condition):
    rows = tables["spread"].query("condition == @condition and task == @DATA_CLASSES")
    for _, one in rows.groupby("seed"):  # of 41 quantiles; the 99th percentile lies in the last gap
        below = [np.interp(top / 10, one["relative"], one["rank"]) for top in one["relative"][-2:]]
        assert 1 - below[1] - 0.025 <= one["high"].iloc[0] <= 1 - below[0] + 0.025
    return rows.groupby("seed")["high"].first().mean()


# Chapter 05


def own_over_other(tables, condition):
    """From the matrices over the training, which need no weights of times."""
    ratios = []
    for _, rows in tables["matrix"].query("condition == @condition").groupby("seed"):
        matrix = rows.pivot(index="loss_of", columns="images_of", values="value").to_numpy()
        on = np.eye(len(matrix), dtype=bool)
        ratios.append(matrix[on].mean() / matrix[~on].mean())
    return np.array(ratios)


def influence(tables):
    real, noise = (1 / own_over_other(tables, condition) for condition in ("real", "randX"))
    return real.mean() / noise.mean()


# Chapter 09: `course` has one row for each network and time, `critical` one for each radius, too.

SHARES = (0.2, 0.4, 0.6, 0.8)
COLUMNS = {"right": "clean", "wrong": "corrupted", "true class": "as_true"}


def rows_of(table, level, kind, network):
    rows = table[(table["network"] == network) & (table["level"] == level)]
    return rows[rows["kind"] == (kind if level else "clean")]


def curve(tables, column, level, seed, kind="random labels", network="MLP"):
    """A quantity of one network by epoch."""
    rows = rows_of(tables["critical" if column == "ratio" else "course"], level, kind, network)
    return rows[rows["seed"] == seed].groupby("epoch")[COLUMNS.get(column, column)].mean()


def others_peak(tables, level, seed, kind="random labels", network="MLP"):
    """The first epoch at which the other seeds do best on validation images."""
    rows = rows_of(tables["course"], level, kind, network)
    others = rows[rows["seed"] != seed].groupby("epoch")["validation"]
    return others.mean().round(6).idxmax()


def worst(tables, number, **which):
    """Mean over seeds of the smallest number of (level, seed, peak) over the shares of noise."""
    seeds = tables["course"]["seed"].unique()
    return np.mean([min(number(level, seed, others_peak(tables, level, seed, **which))
                        for level in SHARES) for seed in seeds])  # fmt: skip


def grows(tables, column, sign=1, **which):
    def growth(level, seed, peak):
        values = curve(tables, column, level, seed, **which)
        return sign * (values.iloc[-1] - values[peak])

    return worst(tables, growth, **which)


def grows_more_than_on_clean_data(tables):
    def growth(level, seed, peak):
        noisy, clean = (curve(tables, "ratio", share, seed) for share in (level, 0))
        return noisy.iloc[-1] - noisy[peak] - (clean.iloc[-1] - clean[peak])

    return worst(tables, growth)


def ahead(tables, first, second, **which):
    def difference(level, seed, peak):
        one, other = (curve(tables, c, level, seed, **which)[peak] for c in (first, second))
        return one - other

    return worst(tables, difference, **which)


def order(tables, column, kind, last):
    """Mean rank correlation with the share of noise, of the last values or the highest."""
    found = []
    for seed in tables["course"]["seed"].unique():
        curves = [curve(tables, column, level, seed, kind) for level in (0, *SHARES)]
        values = [one.iloc[-1] if last else one.max() for one in curves]
        found.append(spearmanr((0, *SHARES), np.round(values, 6)).statistic)
    return np.array(found)


def falls(tables, kind):
    return np.maximum(*(order(tables, "validation", kind, last) for last in (False, True))).mean()


def early_and_late(tables, column, level, seed):
    """At the first epoch with half of the highest mutual information, and at the end."""
    known = curve(tables, "known", level, seed)
    values = curve(tables, column, level, seed)
    return values[known[known >= known.max() / 2].index[0]], values.iloc[-1]


def least(tables, column, levels, late):
    found = []
    for seed in tables["course"]["seed"].unique():
        pairs = [early_and_late(tables, column, level, seed) for level in levels]
        found.append(min(early - late * end for early, end in pairs))
    return np.mean(found)


OF_LINEAR = {"network": "logistic regression"}


STATISTICS = {
    "Z1.1": lambda t: final(t, "randY").mean(),
    "Z1.2": lowest,
    "Z1.3a": lambda t: longer(t, "real"),
    "Z1.3b": lambda t: longer(t, "real"),
    "Z1.4a": lambda t: longer(t, "randX"),
    "Z1.4b": lambda t: longer(t, "shuffled per image"),
    "Z1.5": gap_rises,
    "Z1.6": over_chance,
    "C1.1a": lambda t: overdispersion(right(t, "real")),
    "C1.1b": lambda t: over(t, "randX"),
    "C1.1c": lambda t: over(t, "randY"),
    "C1.2": lambda t: overdispersion(right(t, "randX")),
    "C1.3": lambda t: overdispersion(right(t, "randY")),
    "C1.4": lambda t: extremes(right(t, "real")),
    "C1.4b": lambda t: extremes(right(t, "real")) - extremes(right(t, "randX")),
    "C1.4c": lambda t: extremes(right(t, "real")) - extremes(right(t, "randY")),
    "C1.5": lambda t: within(t, "randY") / within(t, "randX"),
    "C3.1a": difference,
    "C3.1b": most_of_training,
    "C3.2": lambda t: difference(t, task=OWN_CLASS),
    "C3.3a": lambda t: high(t, "randX"),
    "C3.3b": lambda t: high(t, "real"),
    "C3.4a": lambda t: difference(t, norm="l2"),
    "C3.4b": lambda t: difference(t, norm="linf"),
    "C4.1a": lambda t: own_over_other(t, "real").mean(),
    "C4.1b": lambda t: own_over_other(t, "randX").mean(),
    "C4.2": influence,
    "C7.1a": lambda t: order(t, "ratio", "random labels", True).mean(),
    "C7.1b": lambda t: order(t, "ratio", "random inputs", True).mean(),
    "C7.2a": lambda t: falls(t, "random labels"),
    "C7.2b": lambda t: falls(t, "random inputs"),
    "C7.3a": lambda t: grows(t, "train"),
    "C7.3b": lambda t: grows(t, "validation", -1),
    "C7.4a": lambda t: grows(t, "ratio"),
    "C7.4b": grows_more_than_on_clean_data,
    "C7.5a": lambda t: ahead(t, "right", "wrong"),
    "C7.5b": lambda t: ahead(t, "right", "wrong", kind="random inputs"),
    "L1.1": lambda t: ahead(t, "true class", "wrong", **OF_LINEAR),
    "L1.2": lambda t: grows(t, "wrong", **OF_LINEAR),
    "N1.1": lambda t: least(t, "explained", (0, *SHARES), 0),
    "N1.2": lambda t: least(t, "explained", (0,), 1),
    "N1.3": lambda t: least(t, "kappa", SHARES, 1),
}


@pytest.mark.parametrize(("record", "row"), list(recorded_verdicts()))
def test_a_recorded_verdict_rests_on_the_statistic_of_its_claim(record, row):
    found = STATISTICS[row["id"]](record.tables)
    assert row["estimate"] == pytest.approx(found, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_and_its_records_are_judged_in_a_moment(path, digits, monkeypatch):
    """In 2 s of processor time where nothing else runs; other work on the machine slows it."""
    monkeypatch.setenv("MEMHELPERS_PRESET", "quick")
    space = chapters.definitions(path)
    chapter = space["chapter"]
    chapter.record(records.load(path.stem, "quick-digits").tables, data=digits)
    assert chapter.recorded  # read from the disk
    before = time.process_time()
    chapter.judge(space["verdicts"])
    assert time.process_time() - before <= 4


def test_every_claim_has_a_second_reckoning():
    assert set(STATISTICS) == set(claims.load())
