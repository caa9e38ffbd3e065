"""The plan of recordings: its order, its time limit, and how it goes on."""

import json
import os
import time

import pandas as pd
import pytest

from memhelpers import lab
from memhelpers.runs import machine, records
from memhelpers.sweep import Training, grid
from tests.toys import toy_data, toy_mlp
from tools import chapter, plan
from tools.plan import Experiment

DATA = toy_data()


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setenv(lab.STATIC, "1")


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A checkout with two tiny chapters, which record what `lab.sweep` gives."""
    (tmp_path / "book").mkdir()
    (tmp_path / "data").mkdir()
    for number, name in (("01", "first"), ("02", "second")):
        cells = [
            ("parameters", "networks = 3\nwait = 0.0"),
            (
                "run",
                f"from tests.test_plan import trained\ntrained('{number}-{name}', networks, wait)",
            ),
        ]
        body = [
            {"cell_type": "code", "id": tag, "metadata": {"tags": [tag]}, "source": [source]}
            for tag, source in cells
        ]
        (tmp_path / "book" / f"{number}-{name}.ipynb").write_text(json.dumps({"cells": body}))
    monkeypatch.setattr(machine, "book_file", lambda name: tmp_path / "book" / name)
    monkeypatch.setattr(machine, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(machine, "repository_root", lambda: tmp_path)
    experiments = (
        Experiment("01", "dear", 1, 4, 100, 1e14, 1),
        Experiment("02", "cheap", 2, 4, 100, 1e12, 1, settings={"networks": 4}),
    )
    monkeypatch.setattr(plan, "EXPERIMENTS", experiments)
    return tmp_path


def trained(stem, networks, wait):
    """What a chapter's run cells do."""

    def training(seed):
        return Training(toy_mlp(DATA), DATA, seed=seed, epochs=1, evaluate=())

    def measure(history):
        time.sleep(wait)
        return history.members[["ended"]]

    found = lab.sweep(training, grid(seed=range(networks)), together=1, measure=measure)
    name = lab.record_name("paper", "mnist", json.loads(os.environ[lab.OVERRIDES]))
    provenance = {"wall_seconds": 1, "device": "cpu", "threads": 1}
    records.save(stem, name, {"networks": found.table}, provenance)


def test_what_tells_more_a_minute_comes_first_and_all_is_recorded(book):
    said = []
    assert [e.about for e in plan.pending("2 CPU cores")] == ["cheap", "dear"]
    assert plan.run(5, "2 CPU cores", said.append)
    assert [line.strip() for line in said if "recorded" in line] == [
        "recorded as paper-mnist-networks=4",
        "recorded as paper-mnist",
    ]
    assert plan.pending("2 CPU cores") == []
    assert len(records.load("02-second", "paper-mnist-networks=4").tables["networks"]) == 4
    assert set(plan.table()["recorded"]) == {"0.0 min, cpu, 1 threads"}


def test_it_stops_in_time_and_goes_on_where_it_stopped(book, monkeypatch):
    said, settings = [], {"networks": 40, "wait": 0.15}
    slow = Experiment("01", "slow", 1, 40, 1, 1e9, 1, settings=settings)
    monkeypatch.setattr(plan, "EXPERIMENTS", (slow,))
    calls = 0
    while not plan.run(4 / 60, "2 CPU cores", said.append):
        calls += 1
        assert calls < 20
    assert calls >= 1
    assert "the time is over" in "".join(said)
    assert len(list((book / "data" / "cache" / "sweeps").glob("*.json"))) == 40


def test_the_environment_is_as_before(book, monkeypatch):
    monkeypatch.setenv(lab.PRESET, "quick")
    plan.run(5, "2 CPU cores", lambda line: None)
    assert os.environ[lab.PRESET] == "quick"
    assert lab.RECORD not in os.environ


def test_a_failed_run_names_its_parameters():
    def fails(seed):
        if seed == 1:
            raise ValueError("no such thing")
        return pd.DataFrame({"value": [seed]})

    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(RuntimeError, match=r"1 of 3 runs failed.*seed = 1:(.|\n)*no such thing"),
    ):
        lab.sweep(fails, grid(seed=range(3)))


def test_finished_networks_lie_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv(lab.STORE, str(tmp_path / "drive"))
    lab.sweep(lambda seed: pd.DataFrame({"value": [seed]}), grid(seed=range(3)))
    assert len(list((tmp_path / "drive").glob("*.json"))) == 3


def test_the_book_plans_chapters_that_it_has():
    for experiment in plan.EXPERIMENTS:
        path = chapter.find(experiment.chapter)
        assert set(experiment.settings) <= _parameters(path)
        assert experiment.flops > 0
        assert experiment.minutes("H200") < experiment.minutes("T4") < experiment.minutes(
            "2 CPU cores"
        ) or experiment.chapter in ("04", "05")
    assert len({e.about for e in plan.EXPERIMENTS}) == len(plan.EXPERIMENTS)
    assert len(plan.table()) == len(plan.EXPERIMENTS)


def _parameters(path):
    from tests.chapters import parameters

    return parameters(path)
