"""Sweeps: every run once, stacked where that can be, the same table whoever does it."""

import functools
import json
import random
import re
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import tqdm
from torch import nn
from toys import complete, relabelled, toy_data, toy_mlp, weight_norm

from memhelpers import sweep as module
from memhelpers.engine import packing
from memhelpers.engine.perturbations import dropout, gaussian_noise
from memhelpers.engine.probes import Probe, parameters
from memhelpers.errors import ArgumentError
from memhelpers.networks import mlp
from memhelpers.runs import machine
from memhelpers.sweep import Training, grid, summary, sweep
from memhelpers.training import fit, halve_every

pytestmark = pytest.mark.filterwarnings("error")
DATA = toy_data()
CALLS = sys.sweep_calls = []  # of the experiments below; as no value that they depend on


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    CALLS.clear()
    monkeypatch.setenv(machine.STATIC, "1")


def network_of(width, rate, seed):
    sys.sweep_calls.append({"width": width, "rate": rate, "seed": seed})
    data = relabelled(DATA, seed)
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": rate, "momentum": 0.9}
    return Training(mlp(DATA.shape, [width], DATA.n_classes), data, seed=seed, **settings)


def rows_of(size, seed):
    """An experiment that is no training."""
    sys.sweep_calls.append({"size": size, "seed": seed})
    return pd.DataFrame({"value": [size / (seed + 3)] * size, "name": [f"{size}"] * size})


def noisy_network_of(seed):
    return Training(toy_mlp(DATA), DATA, seed, epochs=1, probes={"noise": noisy_probe(seed % 2)})


NETWORKS = grid(width=[3, 4], rate=[0.1, 0.2], seed=range(3))
TABLES = grid(size=[1, 2], seed=range(4))


@pytest.fixture
def fits(monkeypatch) -> list[list[int]]:
    """The seeds of each call of `fit` that a sweep makes."""
    calls: list[list[int]] = []

    def counted(trainings, report, real=module._fit):
        calls.append([training.seed for training in trainings])
        return real(trainings, report)

    monkeypatch.setattr(module, "_fit", counted)
    return calls


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a, b, check_exact=True)


# The grid and the table


def test_the_last_axis_of_a_grid_runs_fastest():
    found = grid(a=[1, 2], b=("x", "y"))
    assert [(run["a"], run["b"]) for run in found] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


@pytest.mark.parametrize("axes", [{"a": 3}, {"a": "text"}, {"a": []}])
def test_a_grid_needs_values(axes):
    with pytest.raises(ArgumentError, match="a: given"):
        grid(**axes)


def test_the_table_has_the_parameters_and_what_fit_gives(fits):
    found = sweep(network_of, NETWORKS)
    table = found.table
    assert complete(found)
    assert found.done_before == 0
    assert table[["width", "rate", "seed"]].to_dict("records") == NETWORKS
    for row, run in enumerate(NETWORKS):
        made = network_of(**run)
        alone = fit(made.network, made.data, seeds=[made.seed], **made.settings)
        for name, value in summary(alone).iloc[0].items():
            if isinstance(value, str):
                assert table.loc[row, name] == value
            else:
                assert table.loc[row, name] == pytest.approx(value, rel=1e-4), name
    assert list(table.columns) == [
        *("width", "rate", "seed", "ended", "epochs", "updates", "train_accuracy"),
        *("train_loss", "validation_loss", "validation_accuracy"),
    ]


def test_an_experiment_may_return_a_table_of_several_rows():
    table = sweep(rows_of, TABLES).table
    assert table["size"].tolist() == [1] * 4 + [2] * 8
    assert table["value"].tolist() == [
        r["size"] / (r["seed"] + 3) for r in TABLES for _ in range(r["size"])
    ]
    assert len(CALLS) == len(TABLES)


def test_measure_sees_the_history_of_one_network():
    def measure(history):
        correct = history.trajectories.correct
        assert correct.shape[0] == len(history.ensemble) == len(history.members) == 1
        norms = history.probes["weight_norm"].stacked()[:, 0]
        weights = history.ensemble.flat_parameters().norm(dim=1)
        return pd.DataFrame(
            {
                "time": history.probes["weight_norm"].times,
                "norm": norms.numpy(),
                "right": int(correct.sum()),
                "last": weights.item(),
                "member": history.members["member"].item(),
            }
        )

    def experiment(width, seed):
        settings = {"epochs": 2, "record": ["correct"], "probes": {"weight_norm": weight_norm}}
        return Training(mlp(DATA.shape, [width], 3), DATA, seed, learning_rate=0.1, **settings)

    table = sweep(experiment, grid(width=[3], seed=range(3)), measure=measure).table
    assert table["time"].tolist() == [0, 1, 2] * 3
    assert table["member"].eq(0).all()
    final = table[table["time"] == 2]
    np.testing.assert_allclose(final["norm"], final["last"], rtol=1e-5)
    assert final["norm"].nunique() == 3


def test_only_is_what_the_network_would_have_seen_alone():
    settings = {"epochs": 4, "until": 0.6, "record": ["margin"], "learning_rate": 0.5}
    probes = {"w": Probe(parameters, epochs="all")}
    together = fit(toy_mlp(DATA), DATA, seeds=range(4), probes=probes, **settings)
    assert together.members["epochs"].nunique() > 1
    for row in range(4):
        one = together.only(row)
        alone = fit(toy_mlp(DATA), DATA, seeds=[row], probes=probes, **settings)
        pd.testing.assert_frame_equal(one.members, alone.members)
        pd.testing.assert_frame_equal(one.epochs, alone.epochs)
        np.testing.assert_allclose(one.trajectories.margin, alone.trajectories.margin, 1e-4, 1e-4)
        assert one.probes["w"].times == alone.probes["w"].times
        torch.testing.assert_close(one.probes["w"].stacked(), alone.probes["w"].stacked())


def test_a_measured_column_named_as_a_parameter_gives_way():
    table = sweep(network_of, NETWORKS[:2], measure=lambda history: history.members).table
    assert list(table.columns).count("seed") == 1


def test_types_do_not_depend_on_which_runs_are_done():
    def experiment(level, kind):
        if kind == "bad":
            raise ValueError("no")
        return pd.DataFrame({"x": [1]})

    with pytest.warns(RuntimeWarning, match="failed"):
        table = sweep(experiment, grid(level=[0, 0.5], kind=["good", "bad"])).table
    assert table["level"].dtype == float
    none = sweep(rows_of, TABLES, minutes=1e-9)
    assert len(none.table) == 0
    assert list(none.table.columns) == ["size", "seed"]
    assert none.missing == TABLES


def test_a_run_that_is_given_twice_is_done_once_and_shown_twice():
    table = sweep(rows_of, [TABLES[0], TABLES[1], TABLES[0]]).table
    assert table["seed"].tolist() == [0, 1, 0]
    assert len(CALLS) == 2


def test_parameters_of_every_plain_kind_reach_the_experiment_as_they_are():
    given = {"a": (1, (2, 3)), "b": None, "c": True, "d": "x", "e": 0.5, "f": np.int64(3)}

    def experiment(**run):
        assert run == {**given, "f": 3}
        assert type(run["f"]) is int
        return pd.DataFrame({"x": [1]})

    found = sweep(experiment, [given])
    assert complete(found)
    assert found.table.loc[0, "a"] == (1, (2, 3))


# What is stacked


def test_networks_of_one_shape_are_stacked_whatever_may_differ_between_them(fits):
    sweep(network_of, NETWORKS)
    assert fits == [[0, 1, 2, 0, 1, 2]] * 2  # by width


def test_no_more_are_stacked_than_asked_for(fits):
    sweep(network_of, NETWORKS, together=4)
    assert sorted(map(len, fits)) == [2, 2, 4, 4]


def test_by_default_as_many_are_stacked_as_fill_the_processor(fits, monkeypatch):
    monkeypatch.setattr(packing, "networks_per_pass", lambda *a, **b: 2)
    monkeypatch.setattr(packing, "passes_side_by_side", lambda device: 2)
    sweep(network_of, NETWORKS)
    assert sorted(map(len, fits)) == [2, 2, 4, 4]


def test_workers_share_the_runs_evenly(fits):
    with ThreadPoolExecutor(4) as pool:
        sweep(network_of, NETWORKS, executor=pool)
    assert sorted(map(len, fits)) == [3] * 4
    assert len(CALLS) <= 5 + 2 * len(NETWORKS)  # until one was seen to train; to stack; to train


class Custom(nn.Module):
    """A network whose text says nothing of its setting."""

    def __init__(self, power):
        super().__init__()
        self.inner, self.power = mlp(DATA.shape, [3], 3), power

    def forward(self, x):
        return self.inner(x) ** self.power


@pytest.mark.parametrize(
    ("one", "other", "stacked"),
    [
        ({}, {}, True),
        ({"momentum": 0.5}, {"momentum": 0.1}, True),
        ({"weight_decay": 0.5}, {"weight_decay": 0.1}, True),
        ({"momentum": 0.5}, {}, True),
        ({"perturb": dropout(0.5)}, {}, True),
        ({"batch_size": 8}, {"batch_size": 9}, False),
        ({"precision": "fp64"}, {}, False),
        ({"schedule": halve_every(2)}, {"schedule": halve_every(2)}, True),
        ({"schedule": halve_every(2)}, {"schedule": halve_every(3)}, False),
        (
            {"probes": {"w": Probe(weight_norm, [0])}},
            {"probes": {"w": Probe(weight_norm, [0])}},
            True,
        ),
        (
            {"probes": {"w": Probe(weight_norm, [0])}},
            {"probes": {"w": Probe(weight_norm, [1])}},
            False,
        ),
        ({"subset": torch.arange(5)}, {"subset": torch.arange(7)}, True),
        ({"subset": torch.arange(5)}, {}, False),
        ({"network": lambda: Custom(1)}, {"network": lambda: Custom(1)}, True),
        ({"network": lambda: Custom(1)}, {"network": lambda: Custom(2)}, False),
        ({"data": DATA}, {"data": toy_data(30)}, True),  # `fit` keeps them apart
        (
            {"data": DATA},
            {"data": toy_data(shape=(1, 4, 4)), "network": lambda: mlp((1, 4, 4), [3], 3)},
            False,
        ),
    ],
)
def test_what_fit_needs_to_be_alike_is_not_stacked_where_it_differs(fits, one, other, stacked):
    def made(seed, network=None, data=DATA, **settings):
        network = network() if network else mlp(DATA.shape, [3], 3)
        return Training(network, data, seed, **{"epochs": 1, **settings})

    def experiment(seed):
        return made(seed, **(other if seed else one))

    assert complete(sweep(experiment, grid(seed=[0, 1])))
    assert fits == ([[0, 1]] if stacked else [[0], [1]])


def test_networks_that_differ_in_their_noise_are_stacked_and_equal_single_fits(fits):
    noises = {
        "none": None,
        "dropout": dropout(0.5),
        "both": dropout(0.2) + gaussian_noise(0.3, where="input"),
    }

    def experiment(noise):
        settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.5}
        return Training(toy_mlp(DATA), DATA, seed=1, perturb=noises[noise], **settings)

    table = sweep(experiment, grid(noise=noises)).table
    assert fits == [[1, 1, 1]]
    assert table["train_loss"].nunique() == 3
    for row, noise in enumerate(noises):
        made = experiment(noise)
        alone = summary(fit(made.network, made.data, seeds=[1], **made.settings))
        found = table.loc[[row], alone.columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, alone, rtol=1e-4)


def test_a_setting_that_cannot_be_compared_is_trained_alone(fits):
    def experiment(seed):
        noise = torch.Generator().manual_seed(seed)
        probe = Probe(lambda moment: torch.rand(len(moment.members), generator=noise), epochs=[0])
        return Training(toy_mlp(DATA), DATA, seed, epochs=1, probes={"noise": probe})

    assert complete(sweep(experiment, grid(seed=range(3))))
    assert fits == [[0], [1], [2]]


@functools.cache
def noisy_probe(seed):
    noise = torch.Generator().manual_seed(seed)
    return Probe(lambda moment: torch.rand(len(moment.members), generator=noise), epochs=[0])


def test_what_could_not_be_compared_once_is_not_compared_later(fits):
    assert complete(sweep(noisy_network_of, grid(seed=range(4))))
    assert fits == [[0], [1], [2], [3]]


# The store


def test_what_is_stored_is_not_done_again(tmp_path):
    for experiment, runs in ((network_of, NETWORKS), (rows_of, TABLES)):
        first = sweep(experiment, runs, store=tmp_path)
        CALLS.clear()
        again = sweep(experiment, runs, store=tmp_path)
        assert CALLS == []
        assert again.done_before == len(runs)
        same(first.table, again.table)


def test_only_what_is_new_is_done(tmp_path):
    sweep(rows_of, TABLES[:5], store=tmp_path)
    CALLS.clear()
    found = sweep(rows_of, TABLES, store=tmp_path)
    assert TABLES[5:] == CALLS
    assert found.done_before == 5
    same(found.table, sweep(rows_of, TABLES).table)


def test_another_function_or_measure_is_another_run(tmp_path):
    def once(**changes):
        given = {"experiment": network_of, "runs": NETWORKS[:1], "measure": summary, **changes}
        return sweep(store=tmp_path, **given).done_before

    assert [once(), once()] == [0, 1]
    assert once(experiment=lambda width, rate, seed: network_of(width, rate, seed)) == 0
    assert once(measure=lambda history: history.members) == 0


def test_packing_and_executor_make_no_other_run(tmp_path):
    sweep(network_of, NETWORKS, store=tmp_path, together=1)
    with ThreadPoolExecutor(2) as pool:
        assert sweep(network_of, NETWORKS, store=tmp_path, executor=pool).done_before == 12


def test_the_file_of_a_run_says_what_it_was(tmp_path):
    sweep(network_of, NETWORKS[:1], store=tmp_path)
    (path,) = tmp_path.glob("*.json")
    run = json.loads(path.read_text())
    assert run["parameters"] == NETWORKS[0]
    assert run["data"] == "toy"
    assert run["trained_with"] == [path.stem]
    assert run["ran_on"]["torch"] == torch.__version__
    assert any(line.startswith("experiment = function network_of") for line in run["determined_by"])
    assert any(line.startswith("memhelpers = source") for line in run["determined_by"])
    assert str(Path.home()) not in path.read_text()


def test_a_sweep_that_was_broken_off_between_units_packs_the_rest_alike(tmp_path, fits):
    whole = sweep(network_of, NETWORKS, together=4).table
    expected = sorted(fits)
    fits.clear()

    def stop(done, total):
        if done == 4 and isinstance(done, int):  # a fraction is within a unit
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(network_of, NETWORKS, together=4, store=tmp_path, progress=stop)
    assert len(fits) == 1
    found = sweep(network_of, NETWORKS, together=4, store=tmp_path)
    assert found.done_before == 4
    assert sorted(fits) == expected
    same(found.table, whole)


# Executors


class Shuffled(Executor):
    """Finishes its tasks in a random order, each in a thread of its own."""

    _max_workers = 3

    def __init__(self, seed):
        self.draw, self.threads = random.Random(seed), []

    def submit(self, function, *arguments):
        future, delay = Future(), self.draw.random() / 50

        def work():
            time.sleep(delay)
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)

        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()
        return future


@pytest.mark.parametrize("seed", range(4))
def test_the_order_in_which_runs_finish_makes_no_difference(seed):
    for experiment, runs in ((network_of, NETWORKS), (rows_of, TABLES)):
        expected = sweep(experiment, runs, together=1).table
        same(sweep(experiment, runs, together=1, executor=Shuffled(seed)).table, expected)


def test_processes_give_the_same_table_and_name_what_does_not_reach_them(tmp_path):
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = sweep(network_of, NETWORKS, executor=pool, store=tmp_path, together=3)
        tables = sweep(rows_of, TABLES, executor=pool)
        with pytest.warns(RuntimeWarning, match="8 of 8 runs failed"):
            lost = sweep(lambda **run: rows_of(**run), TABLES, executor=pool)
    assert complete(found)
    same(found.table, sweep(network_of, NETWORKS, together=3).table)
    same(tables.table, sweep(rows_of, TABLES).table)
    assert lost.failures["error"].str.contains("lambda").all()


def test_trainings_and_tables_may_be_mixed():
    def either(seed):
        data = pd.DataFrame({"seed_again": [seed]})
        return Training(toy_mlp(DATA), DATA, seed, epochs=1) if seed % 2 else data

    for runs in (grid(seed=range(5)), grid(seed=[1, 3, 0, 2])):
        found = sweep(either, runs)
        assert complete(found)
        assert len(found.table) == len(runs)


# Failures


def test_a_run_that_raises_is_listed_and_tried_again(tmp_path):
    broken = tmp_path / "broken"
    broken.touch()

    def experiment(size, seed, flag=str(broken)):
        if (size, seed) == (2, 1) and Path(flag).exists():
            raise ZeroDivisionError("by zero")
        return rows_of(size, seed)

    with pytest.warns(RuntimeWarning, match=r"1 of 8 runs failed, .*by zero"):
        found = sweep(experiment, TABLES, store=tmp_path / "store")
    assert not complete(found)
    assert len(found.table) == 10
    (failure,) = found.failures.to_dict("records")
    assert (failure["size"], failure["seed"]) == (2, 1)
    assert failure["error"] == "ZeroDivisionError: by zero"
    assert "in experiment" in failure["traceback"]
    CALLS.clear()
    broken.unlink()
    again = sweep(experiment, TABLES, store=tmp_path / "store")
    assert CALLS == [{"size": 2, "seed": 1}]
    same(again.table, sweep(rows_of, TABLES).table)
    assert len(again.failures) == 0
    assert list(again.failures.columns) == ["size", "seed", "error", "traceback"]


def test_of_networks_trained_together_only_the_guilty_fails(fits):
    def experiment(seed):
        rate = -1.0 if seed == 5 else 0.1  # `fit` refuses it, and all that go with it
        return Training(toy_mlp(DATA), DATA, seed, epochs=1, learning_rate=rate)

    with pytest.warns(RuntimeWarning, match=r"1 of 8 runs failed"):
        found = sweep(experiment, grid(seed=range(8)))
    assert found.failures["seed"].tolist() == [5]
    assert found.table["seed"].tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert [5] in fits


def test_a_run_whose_measure_failed_is_trained_again_alone(tmp_path, fits):
    broken = tmp_path / "broken"
    broken.touch()

    def measure(history, training, flag=str(broken)):
        if training.seed == 2 and Path(flag).exists():
            raise ValueError("no")
        return summary(history)

    given = {"runs": NETWORKS[:3], "measure": measure, "store": tmp_path / "store"}
    with pytest.warns(RuntimeWarning, match="1 of 3 runs failed"):
        sweep(network_of, **given)
    broken.unlink()
    assert complete(sweep(network_of, **given))
    assert fits == [[0, 1, 2], [2]]


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (lambda history: 1 / 0, "ZeroDivisionError"),
        (lambda history: 3, "DataFrame"),
        (lambda history: pd.DataFrame({"a": [{}]}), "numbers, booleans or texts"),
    ],
)
def test_a_measure_that_fails_fails_its_runs(measure, said):
    with pytest.warns(RuntimeWarning, match="2 of 2 runs failed"):
        found = sweep(network_of, NETWORKS[:2], measure=measure)
    assert found.failures["error"].str.contains(said).all()


def test_an_experiment_that_returns_something_else_fails():
    with pytest.warns(RuntimeWarning, match="failed"):
        found = sweep(lambda seed: seed, grid(seed=range(2)))
    assert found.failures["error"].str.contains("Training or DataFrame").all()


def test_a_diverged_network_is_a_result_like_any_other():
    def experiment(rate, seed):
        return Training(toy_mlp(DATA), DATA, seed, epochs=3, learning_rate=rate)

    found = sweep(experiment, grid(rate=[0.1, 1e30], seed=range(2)))
    assert complete(found)
    assert found.table["ended"].tolist() == ["epochs"] * 2 + ["diverged"] * 2


# Limits and progress


def test_no_unit_is_started_that_would_not_end_in_time(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))

    def slow(seed):
        time.sleep(60)
        return pd.DataFrame({"x": [seed]})

    runs = grid(seed=range(5))
    found = sweep(slow, runs, store=tmp_path, minutes=2.5)
    assert found.missing == runs[2:]
    assert not complete(found)
    assert "3 missing" in repr(found)
    rest = sweep(slow, runs, store=tmp_path, minutes=10)
    assert complete(rest)
    assert rest.done_before == 2


def test_progress_tells_what_was_done_before_and_ends_with_all(tmp_path):
    told = []
    sweep(rows_of, TABLES[:5], store=tmp_path)
    sweep(rows_of, TABLES, store=tmp_path, progress=lambda *seen: told.append(seen))
    assert told[0] == (5, 8)
    assert told[-1] == (8, 8)
    assert told == sorted(told)


def test_within_a_unit_of_this_process_progress_goes_on():
    told = []
    sweep(network_of, NETWORKS, progress=lambda *seen: told.append(seen))
    assert len({done for done, _ in told}) > 4
    assert told[-1] == (12, 12)


def test_the_default_bar_starts_from_what_was_done_before(tmp_path, monkeypatch):
    asked = []

    def bar(what, already=0):
        asked.append((what, already))
        return lambda done, total: None

    monkeypatch.setattr(machine, "progress", bar)
    sweep(rows_of, TABLES[:5], store=tmp_path)
    sweep(rows_of, TABLES, store=tmp_path)
    sweep(rows_of, TABLES, store=tmp_path)  # nothing to do: no bar
    assert asked == [("rows_of", 0), ("rows_of", 5)]


def test_without_tqdm_there_is_no_bar(monkeypatch):
    monkeypatch.delenv(machine.STATIC)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert complete(sweep(rows_of, TABLES))


def test_the_bar_shows_what_was_done_before_and_reckons_from_the_rest(monkeypatch, capsys):
    for name in (machine.STATIC, "CI"):
        monkeypatch.delenv(name, raising=False)

    class Shown(tqdm.tqdm):  # TQDM_DISABLE counts when tqdm is imported
        def __init__(self, *given, **settings):
            super().__init__(*given, disable=False, **settings)

    monkeypatch.setattr(tqdm, "tqdm", Shown)
    show = machine.progress("runs", already=6)
    show(6, 8)
    time.sleep(0.15)
    show(7, 8)
    told = capsys.readouterr().err
    assert "| 6/8 [" in told
    assert re.search(r"88%\|.*\| 7/8 \[00:00<00:00\]", told)  # not as if 7 had been done in it
    show(8, 8)


# Bad arguments


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"experiment": 3}, "experiment"),
        ({"measure": "x"}, "measure"),
        ({"runs": []}, "runs"),
        ({"runs": {"seed": 1}}, "runs"),
        ({"runs": [{}]}, "runs"),
        ({"runs": [{"size": 1, "seed": 1}, {"size": 1}]}, "same names"),
        ({"runs": [{"size": 1}]}, "missing a required argument"),
        ({"runs": [{"size": 1, "seed": 1, "more": 2}]}, "unexpected keyword"),
        ({"runs": [{"size": 1, "seed": object()}]}, "seed"),
        ({"runs": [{"size": 1, "seed": float("nan")}]}, "finite"),
        ({"executor": 3}, "executor"),
        ({"together": 0}, "together"),
        ({"minutes": 0}, "minutes"),
        ({"store": __file__}, "store"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_run(changes, said):
    with pytest.raises(ArgumentError, match=said):
        sweep(**{"experiment": rows_of, "runs": TABLES, **changes})
    assert CALLS == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rat": 0.1}, "learning_rat: .*learning_rate"),
        ({"seeds": [1]}, "seeds"),
        ({"together": 3}, "together"),
        ({"progress": print}, "progress"),
        ({"epochs": None}, None),
        ({"network": "mlp"}, "network"),
        ({"data": "mnist"}, "data"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_training_takes_what_fit_takes(changes, said):
    given = {"network": toy_mlp(DATA), "data": DATA, "seed": 0, "epochs": 1, **changes}
    if said is None:
        Training(**given)
    else:
        with pytest.raises(ArgumentError, match=said):
            Training(**given)
    with pytest.raises(ArgumentError, match="epochs"):
        Training(toy_mlp(DATA), DATA, 0)


@pytest.mark.parametrize("name", ["learning_rate", "perturb"])
def test_a_training_takes_one_value_of_what_may_differ_between_networks(name):
    def experiment(seed):
        return Training(toy_mlp(DATA), DATA, seed, epochs=1, **{name: [0.1]})

    with pytest.warns(RuntimeWarning, match=rf"{name}.* given .*\[0.1\]"):
        assert len(sweep(experiment, grid(seed=[0])).failures) == 1
