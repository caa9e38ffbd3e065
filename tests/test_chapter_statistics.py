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


def exponent(tables):
    rows, slopes = tables["numbers"], []
    for _, seed in rows.groupby("seed"):
        epochs = {
            key: part.set_index("images")["epochs"] for key, part in seed.groupby("condition")
        }
        x = np.log(epochs["real"].index.to_numpy(float))
        y = np.log(epochs["randY"].to_numpy() / epochs["real"].to_numpy())
        slopes.append(((x - x.mean()) * y).sum() / ((x - x.mean()) ** 2).sum())
    return np.mean(slopes)


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


# Chapter 07: `times` has one row for each network, axis and training accuracy.


def fitted(tables, axis, condition, value, threshold=1.0):
    """Natural logarithms of the epochs to fit, by seed."""
    where = {"axis": axis, "condition": condition, "value": value, "threshold": threshold}
    return np.log(by_seed(tables["times"], "epochs", **where))


def values_on(tables, axis):
    return sorted(set(tables["times"].query("axis == @axis")["value"]))


def slower(tables, condition):
    most = values_on(tables, "images")[-1]
    seeds = fitted(tables, "images", condition, most) - fitted(tables, "images", "real", most)
    return math.exp(seeds.mean())


def saves(tables, condition):
    widths = values_on(tables, "hidden")
    middle, widest = widths[len(widths) // 2], widths[-1]
    assert len(widths) % 2 == 1
    return fitted(tables, "hidden", condition, middle) - fitted(tables, "hidden", condition, widest)


def saves_more(tables, condition):
    return math.exp((saves(tables, condition) - saves(tables, "real")).mean())


def doublings(tables, condition):
    widths, found = values_on(tables, "hidden"), []
    times = [np.exp(fitted(tables, "hidden", condition, width)) for width in widths]
    for seed in range(len(times[0])):
        enough = widths[-1]
        for width, time_of in reversed(list(zip(widths, times, strict=True))):
            if time_of[seed] > 2 * times[-1][seed] + 1e-9:
                break
            enough = width
        found.append(math.log2(enough))
    return np.array(found)


def exponents(logs, sizes):
    """One slope for each seed, of a list of its logarithms at the sizes."""
    return np.array([np.polyfit(np.log(sizes), one, 1)[0] for one in np.transpose(logs)])


def grows(tables, condition):
    sizes = values_on(tables, "images")
    return exponents([fitted(tables, "images", condition, n) for n in sizes], sizes)


def memorizes(tables):
    sizes = sorted(set(tables["label_noise"]["value"]))
    ends = tables["label_noise"].drop_duplicates(["value", "seed"])
    return exponents([np.log(by_seed(ends, "updates", value=n)) for n in sizes], sizes)


def generalizes(tables):
    rows, logs = tables["label_noise"], []
    sizes = sorted(set(rows["value"]))
    for n in sizes:
        first = []
        for _, run in rows[rows["value"] == n].groupby("seed"):
            best = run["accuracy"].max()
            near = [u for u, a in zip(run["update"], run["accuracy"], strict=True)
                    if a >= best - 0.05 - 1e-6]  # fmt: skip
            first.append(math.log(min(near)))
        logs.append(first)
    return exponents(logs, sizes)


STATISTICS = {
    "Z1.1": lambda t: final(t, "randY").mean(),
    "Z1.2": lowest,
    "Z1.3a": lambda t: longer(t, "real"),
    "Z1.3b": lambda t: longer(t, "real"),
    "Z1.3c": exponent,
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
    "C6.1a": lambda t: saves_more(t, "randX"),
    "C6.1b": lambda t: saves_more(t, "partly randX"),
    "C6.1c": lambda t: (doublings(t, "randX") - doublings(t, "real")).mean(),
    "C6.2a": lambda t: (grows(t, "randX") - grows(t, "real")).mean(),
    "C6.2b": lambda t: (grows(t, "partly randX") - grows(t, "real")).mean(),
    "C6.3a": lambda t: slower(t, "randX"),
    "C6.3b": lambda t: slower(t, "partly randX"),
    "K1.1": lambda t: slower(t, "randY"),
    "K1.2": lambda t: slower(t, "randX"),
    "B1.1": lambda t: memorizes(t).mean(),
    "B1.2": lambda t: generalizes(t).mean(),
    "B1.3": lambda t: (memorizes(t) - generalizes(t)).mean(),
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
