"""The benchmarks run, at a size of seconds, and their table of ratios says what they found."""

import importlib
import re
import shutil
import sys
from argparse import Namespace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from benchmarks import __main__ as command
from benchmarks import clock, fig1, goals, plain_jax, workload
from memhelpers import lab, networks
from memhelpers.runs import records
from tests.checkout import ROOT
from tools import execute, notebooks, recording


@cache
def measured(name):
    return importlib.import_module(f"benchmarks.{name}").measure("cpu", True, lambda line: None)


@pytest.mark.parametrize("name", list(goals.RATIOS))
def test_each_benchmark_measures_what_its_ratios_need(name, tmp_path):
    tables = measured(name)
    ratios = pd.DataFrame(goals.RATIOS[name](tables, "cpu"))
    assert list(ratios.columns) == list(goals.COLUMNS)
    assert np.isfinite(ratios["value"]).all()
    assert set(ratios["met"]) <= {"", "yes", "no"}
    recording.save("benchmarks", name, {**tables, "ratios": ratios}, {}, root=tmp_path)
    assert records.load("benchmarks", name, root=tmp_path).tables.keys() == {*tables, "ratios"}


def test_all_ways_train_networks_that_are_as_good():
    accuracy = measured("fig1")["accuracies"].groupby("way")["accuracy"].mean()
    assert len(accuracy) == 9
    assert accuracy.max() - accuracy.min() < 0.2, accuracy
    assert accuracy.min() > 0.5


def test_ways_are_timed_in_turn_in_another_order_each_round():
    order = []
    ways = {name: lambda name=name: order.append(name) for name in "abc"}
    times = clock.in_turn(ways, 3, lambda line: None)
    assert "".join(order) == "abcbcacab"
    assert len(times) == 9
    assert (times["seconds"] >= 0).all()


def test_a_ratio_pairs_the_ways_of_a_round():
    times = pd.DataFrame(
        {"way": list("abab") * 2, "round": [0, 0, 1, 1, 2, 2, 3, 3], "seconds": [2, 1, 8, 4] * 2}
    )
    found = clock.ratio(times, "a", "b")
    assert (found.estimate, found.low, found.high, found.n) == (2, 2, 2, 4)
    assert clock.summary([1.0, 3.0]).high == np.inf


@pytest.mark.parametrize(("goal", "met"), [({"low": 3}, "no"), ({"high": 3}, "yes"), ({}, "")])
def test_a_goal_is_met_or_not(goal, met):
    assert goals.row("question", clock.summary([2.0, 2.0, 2.0]), **goal)["met"] == met


def test_the_arithmetic_is_what_pytorch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    network = networks.mlp((1, 6, 6), [20, 30], 5)
    with FlopCounterMode(display=False) as counter:
        network(workload.torch.rand(7, 1, 6, 6)).sum().backward()
    assert counter.get_total_flops() == 7 * workload.mlp_flops((1, 6, 6), [20, 30], 5)


def test_jax_in_bfloat16_rounds_for_the_products_and_keeps_its_weights_in_float32():
    data, trained = workload.data("digits", 300, "cpu"), {}
    for precision in fig1.PRECISIONS:
        trainer = plain_jax.Trainer(data, (16,), 128, 0.1, precision)
        (weights,) = trainer.one_after_another([0])
        trained[precision] = np.asarray(weights[0][0])
        assert weights[0][0].dtype == "float32"
    apart = np.abs(trained["bf16"] - trained["fp32"])
    assert 1e-6 < apart.max() < 1e-2


def times_of(seconds: dict[str, float]) -> dict[str, pd.DataFrame]:
    """The tables of a made-up run: each way's seconds, the same in three rounds."""
    ways = fig1.all_ways(workload.data("digits", 100, "cpu"), range(1), 128, lambda line: None)
    rows = [(way, k, seconds.get(way, 8.0)) for way in ways for k in range(3)]
    times = pd.DataFrame(rows, columns=["way", "round", "seconds"])
    accuracies = pd.DataFrame([(w, n, 0.9 + n / 100) for w in ways for n in range(3)])
    accuracies.columns = ["way", "network", "accuracy"]
    return {"times": times, "accuracies": accuracies, "work": pd.DataFrame({"flops": [1e9]})}


def test_each_precision_is_compared_with_the_better_jax_way_of_its_own():
    own, jax = fig1.OWN, {"bf16": fig1.VMAP["bf16"], "fp32": fig1.SCAN["fp32"]}
    tables = times_of({own["bf16"]: 1, own["fp32"]: 2, jax["bf16"]: 3, jax["fp32"]: 4})
    found = {row["question"]: row for row in goals.fig1_ratios(tables, "cpu")}
    values = {question: row["value"] for question, row in found.items() if "as fast" in question}
    assert values == {
        "memhelpers, bf16: times as fast as the better JAX way": 3,
        f"memhelpers, bf16: times as fast as {fig1.AUTOCAST}": 8,
        f"memhelpers, bf16: times as fast as {fig1.DATALOADER}": 8,
        "memhelpers, fp32: times as fast as the better JAX way": 2,
        f"memhelpers, fp32: times as fast as {fig1.DATALOADER}": 4,
    }
    assert [found[question]["goal"] for question in values] == [
        *["at least 1"] * 2,
        "at least 4",
        "at least 1",
        "",
    ]


def test_jax_is_left_out_aloud_where_it_computes_elsewhere(monkeypatch):
    monkeypatch.setattr(plain_jax.jax, "default_backend", lambda: "tpu")
    said, data = [], workload.data("digits", 100, "cpu")
    ways = fig1.all_ways(data, range(1), 128, said.append)
    assert not [way for way in ways if "JAX" in way]
    assert said == ["  JAX is left out: it does not see the cpu"]


def test_a_record_is_named_after_machine_and_day(tmp_path, monkeypatch):
    tables = {"time": pd.DataFrame({"seconds": [1.0], "runs": [1]})}
    monkeypatch.setattr(command.importlib, "import_module", lambda name: FakeBenchmark(tables))
    given = Namespace(small=False, into=tmp_path)
    command.measured("cscores", given)
    (name,) = records.available("benchmarks", tmp_path)
    assert re.fullmatch(r"cscores(-[a-z0-9]+)+-threads-\d{4}-\d\d-\d\d", name)
    new, former = records.load("benchmarks", name, root=tmp_path), lab.recorded("benchmarks")
    later = {"driver", "constraints"}  # which the oldest ones do not have
    for record in former.values():
        told = [key for key in new.provenance if key in record.provenance or key not in later]
        assert list(record.provenance) == told


class FakeBenchmark:
    def __init__(self, tables):
        self.measure = lambda device, small, say: dict(tables)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The folder of a package laid out as the wheel has it; tools and benchmarks are refused."""
    monkeypatch.delenv("MEMHELPERS_SOURCE", raising=False)
    monkeypatch.setenv("MEMHELPERS_PRESET", "quick")
    package = tmp_path / "site" / "memhelpers"
    shutil.copytree(ROOT / "memhelpers", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data", package / "_data", ignore=shutil.ignore_patterns("cache"))
    (package / "_book").mkdir()
    shutil.copy(ROOT / "book" / "claims.yml", package / "_book")
    for name in ("tools", "benchmarks"):
        refused = f"raise ImportError('an installed package has no {name}')\n"
        (package.parent / f"{name}.py").write_text(refused)
    return package.parent


def test_the_page_how_fast_runs_with_the_installed_package_alone(installed, tmp_path):
    page = notebooks.read(notebooks.BOOK / "how-fast.ipynb")
    page.cells.append(notebooks.nbformat.v4.new_code_cell("charts.__file__"))
    (tmp_path / "empty").mkdir()
    done = execute.run(page, tmp_path / "empty", title="how-fast", root=installed, bar=False)
    assert str(installed) in done.cells[-1].outputs[0]["data"]["text/plain"]


def test_an_unknown_benchmark_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fig2"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "names: given ['fig2']; allowed: fig1, stacking" in capsys.readouterr().err


def test_the_table_shows_interval_and_goal():
    rows = [goals.row("times as fast", clock.summary([3.0, 4.0, 5.0]), low=5)]
    assert "4 [1.52, 6.48]" in command.table(pd.DataFrame(rows))
    assert "goal: at least 5: no" in command.table(pd.DataFrame(rows))
