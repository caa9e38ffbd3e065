"""Calls that a reader may make by mistake: each ends at once, in one line that names the argument.

Not one of them may pass in silence, hang, or show an error from inside a library. They come in the
order of the data flow; what an error says beyond its argument is tested beside each function.
"""

import time

import numpy as np
import pandas as pd
import pytest
import torch
from toys import small_cnn, weight_norm

from memhelpers import charts, claims, corrupt, lab, networks, sensitivity, stats, sweep
from memhelpers.data import load
from memhelpers.errors import ArgumentError, ClaimError
from memhelpers.training import Probe, dropout, fit, gaussian_noise, halve_every

DIGITS = load("digits", examples=60)
NETWORK = networks.mlp(DIGITS.shape, [8], 10)
TABLE = pd.DataFrame({"x": [1, 2], "y": [1.0, 2.0], "seed": [0, 1]})
AXES = {"title": "t", "x_title": "x", "y_title": "y"}
CHART = charts.lines(TABLE, "x", "y", **AXES)
MEASURED = sensitivity.loss_sensitivity(NETWORK, DIGITS, seeds=[0, 1], epochs=1, evaluations=2)
x, y = np.random.default_rng(0).random((60, 8, 8)), np.arange(60) % 3


def trained(network=NETWORK, data=DIGITS, **given):
    return fit(network, data, **({"seeds": [0, 1], "epochs": 1} | given))


def lined(table=TABLE, x="x", y="y", **given):
    return charts.lines(table, x, y, **AXES, **given)


def swept(experiment=lambda a: TABLE, runs=({"a": 1},), **given):
    return sweep.sweep(experiment, runs, **given)


def chapter(slug="04-loss-sensitivity"):
    return lab.Chapter(slug)


CALLS = [
    (lambda: trained(schedule=0.5), "schedule"),
    (lambda: trained(schedule=lambda e: -1), "schedule(0)"),
    (lambda: trained(schedule=lambda e: "1"), "schedule(0)"),
    (lambda: trained(schedule=lambda e: float("nan")), "schedule(0)"),
    (lambda: trained(evaluate=None), "evaluate"),
    (lambda: trained(evaluate="train"), "evaluate"),
    (lambda: trained(record="logits"), "record"),
    (lambda: trained(probes=[weight_norm]), "probes"),
    (lambda: trained(probes={"a": 3}), "probe"),
    (lambda: trained(probes={"a": lambda s: 1.0}), "probe"),
    (lambda: trained(probes={"a": Probe(weight_norm, epochs=[5])}), "probes['a'].epochs"),
    (lambda: Probe(weight_norm, epochs="5"), "epochs"),
    (lambda: trained(probes={"a": Probe(weight_norm, epochs=[0.5])}), "epochs"),
    (lambda: trained(probes={"a": Probe(weight_norm, updates=[-1])}), "updates"),
    (lambda: trained(None), "network"),
    (lambda: trained(NETWORK, (x, y)), "data"),
    (lambda: trained(NETWORK, "digits"), "data"),
    (lambda: trained(NETWORK, DIGITS.train), "data"),
    (lambda: trained(NETWORK, None), "data"),
    (lambda: trained(seeds=3, epochs=1), "seeds"),
    (lambda: trained(seeds=[0.5], epochs=1), "seeds"),
    (lambda: trained(seeds="01", epochs=1), "seeds"),
    (lambda: trained(seeds=[], epochs=1), "seeds"),
    (lambda: trained(seeds=[True], epochs=1), "seeds"),
    (lambda: trained(seeds=[0], epochs=0), "epochs"),
    (lambda: trained(seeds=[0], epochs=2.0), "epochs"),
    (lambda: trained(learning_rate=-1), "learning_rate"),
    (lambda: trained(learning_rate="0.1"), "learning_rate"),
    (lambda: trained(learning_rate=float("nan")), "learning_rate"),
    (lambda: trained(learning_rate=float("inf")), "learning_rate"),
    (lambda: trained(learning_rate=[0.1, 0.1, 0.1]), "learning_rate"),
    (lambda: trained(learning_rate=torch.tensor([0.1, 0.2])), "learning_rate"),
    (lambda: trained(learning_rate=True), "learning_rate"),
    (lambda: trained(learning_rate={0: 0.1, 1: 0.1}), "learning_rate"),
    (lambda: trained(momentum=1), "momentum"),
    (lambda: trained(weight_decay=-1e-3), "weight_decay"),
    (lambda: trained(until=2), "until"),
    (lambda: trained(until="1"), "until"),
    (lambda: trained(batch_size=0), "batch_size"),
    (lambda: trained(batch_size=10.0), "batch_size"),
    (lambda: trained(subsets=[torch.tensor([0.5])] * 2), "subsets"),
    (lambda: trained(subsets=[torch.tensor([100])] * 2), "subsets"),
    (lambda: trained(subsets=[[0, 1], [2, 3]]), "subsets"),
    (lambda: trained(subsets=[np.array([0, 1])] * 2), "subsets"),
    (lambda: trained(init="zeros"), "init"),
    (lambda: trained(perturb="dropout"), "perturb"),
    (lambda: trained(perturb=0.5), "perturb"),
    (lambda: trained(perturb=[dropout(0.5)] * 3), "perturb"),
    (lambda: dropout(1), "rate"),
    (lambda: dropout(0.5, where="output"), "where"),
    (lambda: gaussian_noise(-1), "deviation"),
    (lambda: gaussian_noise("1"), "deviation"),
    (lambda: gaussian_noise(True), "deviation"),
    (lambda: trained(precision="fp16"), "precision"),
    (lambda: trained(together=0), "together"),
    (lambda: trained(workers=0), "workers"),
    (lambda: trained(keep_networks="no"), "keep_networks"),
    (lambda: trained(progress="bar"), "progress"),
    (lambda: halve_every(0), "epochs"),
    (lambda: halve_every(0.5), "epochs"),
    (lambda: load("fashion"), "data"),
    (lambda: load(None), "data"),
    (lambda: load(pd.DataFrame({"a": [1]})), "data"),
    (lambda: load(DIGITS), "data"),
    (lambda: load((x, y, y)), "data"),
    (lambda: load([x, y]), "data"),
    (lambda: load({"x": x}), "data"),
    (lambda: load(([[1], [1, 2]], [0, 1])), "x"),
    (lambda: load((np.array([["a"] * 5] * 60), y)), "x"),
    (lambda: load((x, np.eye(3)[y])), "y"),
    (lambda: load((x, y + 0.5)), "y"),
    (lambda: load((np.full((60, 8, 8), np.nan), y)), "x"),
    (lambda: load((np.ma.masked_less(x, 0.5), y)), "x"),
    (lambda: load((x, np.ma.masked_less(y, 1))), "y"),
    (lambda: load((x, y[:-1])), "y"),
    (lambda: load((x, y * 0)), "y"),
    (lambda: load((x[:5], y[:5])), "x"),
    (lambda: load("digits", device="meta"), "device"),
    (lambda: load("digits", device="cuda:7"), "device"),
    (lambda: load("digits", device="gpu"), "device"),
    (lambda: load("digits", device=3.5), "device"),
    (lambda: load("digits", examples=10**6), "examples"),
    (lambda: load("digits", examples=0), "examples"),
    (lambda: load("digits", examples=0.5), "examples"),
    (lambda: load("digits", side=9), "side"),
    (lambda: load((x[:, 0], y), side=1), "side"),
    (lambda: load("digits", side="8"), "side"),
    (lambda: load("digits", scale="max"), "scale"),
    (lambda: load("digits", scale=True), "scale"),
    (lambda: load("digits", balanced=True, examples=9), "examples"),
    (lambda: trained(precision=np.float32), "precision"),
    (lambda: trained(init=torch.Tensor), "init"),
    (lambda: load("digits", examples=10, balanced="yes"), "balanced"),
    (lambda: load((x, np.array([0] * 55 + [1] * 5)), examples=30, balanced=True), "examples"),
    (lambda: load("digits", examples=10, seed=-1), "seed"),
    (lambda: load("digits", layout="CHW"), "layout"),
    (lambda: load((np.zeros((60, 3, 8, 3)), y)), "layout"),
    (lambda: load((np.zeros((60, 3, 8, 3, 2)), y)), "x"),
    (lambda: load({"x": x, "y": y, "classes": [1, 2, 3]}), "classes"),
    (lambda: load({"x": x, "y": y, "classes": ["a"]}), "y"),
    (lambda: load({"x": x, "y": y, "classes": ["a", "a", "b"]}), "classes"),
    (lambda: load((x * 1j, y)), "x"),
    (lambda: load((np.zeros((60, 3), "datetime64[s]"), y)), "x"),
    (lambda: load({"x_train": x, "y_train": y, "x_test": x[:, :4], "y_test": y}), "x_test"),
    (lambda: DIGITS.subset(100), "n"),
    (lambda: DIGITS.resize(9), "side"),
    (lambda: DIGITS.to("meta"), "device"),
    (lambda: corrupt.random_labels(DIGITS, 1.5), "fraction"),
    (lambda: corrupt.random_labels(DIGITS, "half"), "fraction"),
    (lambda: corrupt.random_labels(DIGITS, seed=1.5), "seed"),
    (lambda: corrupt.random_labels(DIGITS, parts="train"), "parts"),
    (lambda: corrupt.random_labels(DIGITS, parts=["all"]), "parts"),
    (lambda: corrupt.random_labels(DIGITS, parts=5), "parts"),
    (lambda: corrupt.random_labels("digits"), "data"),
    (lambda: corrupt.random_labels(None), "data"),
    (lambda: corrupt.random_inputs((x, y)), "data"),
    (lambda: corrupt.shuffle_pixels(DIGITS, per_image=1), "per_image"),
    (lambda: networks.mlp(DIGITS.shape, 16, 10), "hidden"),
    (lambda: networks.mlp(DIGITS.shape, [-1], 10), "hidden"),
    (lambda: networks.mlp(DIGITS.shape, [1.5], 10), "hidden"),
    (lambda: networks.mlp(DIGITS.shape, "16", 10), "hidden"),
    (lambda: networks.mlp(64, [8], 10), "shape"),
    (lambda: networks.mlp(DIGITS.shape, [8], 0), "classes"),
    (lambda: networks.mlp(DIGITS.shape, np.array([8, 8]), 10), "hidden"),
    (lambda: networks.paper_cnn(DIGITS.shape, 10), "shape"),
    (lambda: sensitivity.loss_sensitivity(NETWORK, [DIGITS] * 3, seeds=[0, 1], epochs=1), "data"),
    (
        lambda: sensitivity.loss_sensitivity(
            small_cnn(DIGITS.shape, 10), DIGITS, seeds=[0], epochs=1
        ),
        "network",
    ),
    (lambda: sensitivity.time_shares([]), "times"),
    (lambda: sensitivity.time_shares([3, 1]), "times"),
    (lambda: sensitivity.time_shares("abc"), "times"),
    (lambda: sensitivity.time_shares([0, 1]), "times"),
    (lambda: MEASURED.at_times("direct"), "(derivative, norm)"),
    (lambda: stats.interval([1, float("nan")]), "values"),
    (lambda: stats.interval(None), "values"),
    (lambda: stats.interval({1: 2}), "values"),
    (lambda: stats.interval(TABLE), "values"),
    (lambda: stats.interval([[1, 2]]), "values"),
    (lambda: stats.interval([1j]), "values"),
    (lambda: stats.paired([1, 2], [1]), "b"),
    (lambda: stats.paired([1], [1], how="log"), "how"),
    (lambda: stats.paired([1, 0], [1, 1], how="ratio"), "a"),
    (lambda: stats.band(TABLE, "z", "y"), "column"),
    (lambda: stats.band(pd.concat([TABLE, TABLE]), "x", "y"), "table"),
    (lambda: stats.band(None, "x", "y"), "table"),
    (lambda: stats.band(TABLE.assign(y="a"), "x", "y"), "y"),
    (lambda: stats.band(TABLE[:0], "x", "y"), "y"),
    (lambda: stats.Interval(1, 2, 0, 0.95, 5), "low, high"),
    (lambda: claims.judge("X9", stats.interval([1, 2])), "claim 'X9' is"),
    (lambda: claims.judge("C3.1a", 0.5), "interval"),
    (lambda: claims.judge(None, stats.interval([1, 2])), "claim None is"),
    (lambda: claims.judge("C3.1a", stats.Interval(1, 0, 2, 0.5, 9)), "interval.level"),
    (lambda: claims.get(5), "claim 5 is"),
    (lambda: lined(TABLE, "a", "y"), "column"),
    (lambda: lined(TABLE.assign(y="a")), "y"),
    (lambda: lined(None), "table"),
    (lambda: lined(TABLE.assign(y=np.inf)), "y"),
    (lambda: lined(controls=[charts.slider("nose", [1, 2])]), "column"),
    (lambda: charts.intervals(TABLE, "x", title="t", x_title="x"), "column"),
    (lambda: charts.slider("x", [1, 2], start=5), "start"),
    (lambda: charts.slider("x", None), "values"),
    (lambda: charts.Figure(None, alt="a", caption="b"), "chart"),
    (lambda: charts.Figure([], alt="a", caption="b"), "chart"),
    (lambda: charts.Figure(CHART, alt="", caption="b"), "alt"),
    (lambda: charts.images(np.zeros((3, 8, 8)), ["a"] * 3, title="t", alt="a", caption="c"), "x"),
    (
        lambda: charts.images(np.zeros((3, 1, 8, 8)), ["a"], title="t", alt="a", caption="c"),
        "labels",
    ),
    (lambda: charts.table(pd.DataFrame(), caption="a"), "frame"),
    (lambda: charts.table(None, caption="a"), "frame"),
    (lambda: chapter("loss"), "slug"),
    (lambda: chapter(4), "slug"),
    (lambda: chapter().record(None, data=DIGITS), "tables"),
    (lambda: chapter().record([TABLE], data=DIGITS), "tables"),
    (lambda: chapter().record({"a": TABLE}, data="digits"), "data"),
    (lambda: sweep.grid(a=5), "a"),
    (lambda: sweep.grid(a=[]), "a"),
    (lambda: sweep.Training(NETWORK, DIGITS, 0, epoch=3), "epoch"),
    (lambda: sweep.Training(NETWORK, DIGITS, 0), "epochs"),
    (lambda: sweep.Training(NETWORK, "digits", 0, epochs=1), "data"),
    (lambda: swept(5, [{"a": 1}]), "experiment"),
    (lambda: swept(lambda a: TABLE, []), "runs"),
    (lambda: swept(lambda a: TABLE, [{"b": 1}]), "runs"),
    (lambda: swept(lambda a: TABLE, [{"a": object()}]), "a"),
    (lambda: swept(minutes=-1), "minutes"),
    (lambda: swept(together=0), "together"),
    (lambda: swept(executor=5), "executor"),
    (lambda: trained(learning_rate=torch.tensor([0.1, -0.1])), "learning_rate"),
    (lambda: trained(seeds=torch.tensor(3)), "seeds"),
    (lambda: trained(probes={"a": lambda snapshot: None}), "probe"),
    (lambda: trained(probes={"a": lambda snapshot: {}}), "probe"),
    (lambda: trained().only(2), "row"),
    (lambda: trained().only(-1), "row"),
    (
        lambda: sensitivity.loss_sensitivity(
            NETWORK, DIGITS, seeds=[0], epochs=1, evaluations=np.array(3.5)
        ),
        "evaluations",
    ),
    (lambda: swept(store=""), "store"),
    (lambda: swept(store=5), "store"),
    (lambda: swept(lambda error: TABLE, [{"error": 1}]), "runs"),
    (lambda: swept(progress=5), "progress"),
]


@pytest.mark.parametrize(("call", "argument"), CALLS)
def test_a_mistake_is_named_at_once(call, argument):
    started = time.monotonic()
    with pytest.raises((ArgumentError, ClaimError)) as caught:
        call()
    said = str(caught.value)
    assert said.startswith(argument)
    assert len(said) < 500
    assert "\n" not in said
    assert time.monotonic() - started < 20
