"""The benchmarks run, at a size of seconds, and their table of ratios says what they found."""

import importlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks import __main__ as command
from benchmarks import clock, fig1, goals, workload
from memhelpers import networks
from memhelpers.runs import records
from tests.checkout import ROOT


@pytest.mark.parametrize("name", list(goals.RATIOS))
def test_each_benchmark_measures_what_its_ratios_need(name, tmp_path):
    tables = importlib.import_module(f"benchmarks.{name}").measure("cpu", True, lambda line: None)
    ratios = pd.DataFrame(goals.RATIOS[name](tables, "cpu"))
    assert list(ratios.columns) == list(goals.COLUMNS)
    assert np.isfinite(ratios["value"]).all()
    assert set(ratios["met"]) <= {"", "yes", "no"}
    records.save("benchmarks", name, {**tables, "ratios": ratios}, {}, root=tmp_path)
    assert records.load("benchmarks", name, root=tmp_path).tables.keys() == {*tables, "ratios"}


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
    assert counter.get_total_flops() == 7 * networks.mlp_flops((1, 6, 6), [20, 30], 5)


def test_all_ways_train_networks_that_are_as_good():
    data = workload.data("digits", 900, "cpu")
    seeds = range(6)
    accuracy = {
        name: np.mean(way.judge(way.train())) for name, way in fig1.all_ways(data, seeds).items()
    }
    assert max(accuracy.values()) - min(accuracy.values()) < 0.1, accuracy


def test_an_unknown_benchmark_is_refused():
    run = [sys.executable, "-m", "benchmarks", "fig2"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "names: given ['fig2']; allowed: fig1, stacking" in done.stderr


def test_the_table_shows_interval_and_goal():
    rows = [goals.row("times as fast", clock.summary([3.0, 4.0, 5.0]), low=5)]
    assert "4 [1.52, 6.48]" in command.table(pd.DataFrame(rows))
    assert "goal: at least 5: no" in command.table(pd.DataFrame(rows))
