"""The plan of recordings: costs from the files, its order, its time limit, and how it goes on."""

import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from benchmarks.workload import mlp_flops
from memhelpers import lab
from memhelpers.data import load
from memhelpers.errors import DataError
from memhelpers.runs import machine, records
from tests.checkout import ROOT
from tools import chapter, plan, recording
from tools.plan import Experiment

PARAMETERS = {"data": "digits", "examples": None, "hidden": (8, 8), "epochs": 2, "seeds": 3}
PLANNED = """
- {chapter: "01", about: dear, set: {epochs: 20}}
- {chapter: "02", about: cheap, set: {epochs: 4}}
- {chapter: "03", about: never tried}
"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A plan with three chapters that record a table of files, one a network, in a stub's time."""
    stub = SimpleNamespace(root=tmp_path, wait=0.0, missing_data=())

    def record(path, overrides, preset):
        assert preset == "paper"
        if path.stem in stub.missing_data:
            raise DataError("not to be had")
        for network in range(10):
            file = tmp_path / f"{path.stem}-{network}"
            if not file.exists():
                if time.monotonic() > float(os.environ[lab.DEADLINE]):
                    raise lab.Unfinished(f"{10 - network} of 10 networks are missing")
                time.sleep(stub.wait)
                file.touch()
        return keep(path.stem, recording.record_name("paper", "digits", overrides), overrides)

    monkeypatch.setattr(chapter, "find", lambda number: Path(f"{number}-chapter.ipynb"))
    monkeypatch.setattr(chapter, "record", record)
    monkeypatch.setattr(
        chapter, "parameters", lambda path, changed, preset: PARAMETERS | dict(changed)
    )
    monkeypatch.setattr(machine, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(machine, "repository_root", lambda: tmp_path)
    monkeypatch.setattr(plan, "PLAN", tmp_path / "plan.yml")
    plan.PLAN.write_text(PLANNED)
    return stub


def keep(stem, name, overrides, **provenance):
    ran = {"wall_seconds": 120, "cpu_seconds": 180, "device": "a CPU", "threads": 2}
    ran |= {"parameters": PARAMETERS | dict(overrides), "overrides": dict(overrides)}
    ran |= provenance
    return recording.save(stem, name, {"networks": pd.DataFrame({"seed": [0]})}, ran)


def test_the_book_s_plan_counts_its_claims_and_takes_its_costs_from_records():
    declared = re.findall(r'^  chapter: "(\d\d)"$', (ROOT / "book/claims.yml").read_text(), re.M)
    for row, planned in zip(plan.table().itertuples(), plan.experiments(), strict=True):
        assert row.claims == declared.count(row.chapter) > 0
        file = planned.path().stem, planned.record()
        if row.cost == "recorded":
            ran = records.load(*file).provenance
            assert row.minutes == ran["wall_seconds"] / 60
        else:
            assert file[1] not in records.available(file[0])


def test_what_is_not_recorded_is_scaled_by_counted_work():
    wide = Experiment("02", "2 x 4096 units", {"hidden": (4096, 4096)})
    name = "paper-mnist-hidden=1024-1024-widths=0-128-256-512"
    measured = records.load("02-easy-examples", name).provenance
    shape = (1, 28, 28)
    times = mlp_flops(shape, (4096, 4096), 10) / mlp_flops(shape, (1024, 1024), 10)
    found = plan.cost(wide)
    assert found.minutes == pytest.approx(measured["wall_seconds"] / 60 * times)
    assert found.processor_minutes == pytest.approx(measured["cpu_seconds"] / 60 * times)
    assert found.source == f"scaled from {name}"


def test_the_book_s_plan_sets_parameters_that_its_chapters_have():
    planned = plan.experiments()
    for experiment in planned:
        assert experiment.set.keys() <= experiment.parameters().keys()
    counted = {e.about: plan.work(e.parameters()) for e in planned}
    cnns = {"first-layer filters", "critical samples, CIFAR-10, CNN"}
    cnns |= {"patterns first", "patterns first, CIFAR-10", "loss trajectories"}  # besides MLPs
    cnns |= {"persistent hidden states"}  # recurrent networks
    cnns |= {"regularizers", "learning against memorizing"}
    cnns |= {"where memorization sits"}
    assert {about for about, flops in counted.items() if flops is None} == cnns
    assert min(flops for flops in counted.values() if flops is not None) > 0
    assert len({e.record() + e.chapter for e in planned}) == len(planned)
    assert all(
        entry.keys() <= {"chapter", "about", "set"}
        for entry in yaml.safe_load(plan.PLAN.read_text())
    )


@pytest.mark.parametrize(
    ("changed", "times"),
    [
        ({"seeds": 6}, 2),
        ({"networks": 9}, 3),
        ({"epochs": 3}, 1.5),
        ({"examples": 600}, 0.5),
        ({"side": 4}, (3 * (16 * 8 + 64 + 80) - 128) / (3 * (64 * 8 + 64 + 80) - 512)),
    ],
)
def test_work_is_networks_times_epochs_times_examples_times_flops(changed, times):
    assert plan.work(PARAMETERS | changed) / plan.work(PARAMETERS) == pytest.approx(times)


def test_the_work_of_a_row_of_widths_is_that_of_its_networks():
    widths = {key: value for key, value in PARAMETERS.items() if key != "hidden"}
    one, two = (plan.work(PARAMETERS | {"hidden": (width, width)}) for width in (8, 32))
    assert plan.work(widths | {"widths": (8, 32)}) == one + two


def test_the_work_of_a_row_of_depths_is_that_of_its_networks():
    depths = {key: value for key, value in PARAMETERS.items() if key != "hidden"}
    one, three = (plan.work(PARAMETERS | {"hidden": (8,) * depth}) for depth in (1, 3))
    assert plan.work(depths | {"depths": (1, 3), "width": 8}) == one + three


def test_work_that_cannot_be_counted_is_none():
    assert plan.work(PARAMETERS | {"data": "mine.npz"}) is None
    assert plan.work(PARAMETERS | {"channels": (4, 8)}) is None
    assert plan.work(PARAMETERS | {"network": "small"}) is None
    assert plan.work({"data": "digits", "epochs": 3}) is None
    assert plan.work({"data": "digits"}) is None


def test_the_sizes_of_the_data_are_those_of_the_files(digits, real_data):
    for data in (digits, load("mnist")):
        assert plan.DATASETS[data.name] == (data.shape, len(data.train))


def test_a_cost_is_that_of_the_nearest_record(book):
    _, cheap, untried = plan.experiments()
    keep("02-chapter", "far", {"epochs": 4000})
    keep("02-chapter", "near", {"epochs": 2}, device="another")
    keep("02-chapter", "unknown", {"data": "mine.npz"})
    found = plan.cost(cheap)
    assert (found.minutes, found.processor_minutes) == (4, 6)
    assert (found.device, found.source) == ("another, 2 threads", "scaled from near")
    keep("02-chapter", cheap.record(), cheap.set, wall_seconds=60)
    assert (plan.cost(cheap).minutes, plan.cost(cheap).source) == (1, "recorded")
    assert plan.cost(untried).source == "not measured"


def test_what_tells_more_a_minute_comes_first_and_all_is_recorded(book, monkeypatch):
    monkeypatch.setattr(Experiment, "claims", lambda self: 1)
    keep("01-chapter", "small", {})
    keep("02-chapter", "small", {})
    assert [e.about for e in plan.pending()] == ["cheap", "dear", "never tried"]
    said = []
    assert plan.run(5, said.append)
    assert [line.strip() for line in said] == [
        "02, cheap: about 4.0 minutes, scaled from small",
        "recorded as paper-digits-epochs=4",
        "01, dear: about 20.0 minutes, scaled from small",
        "recorded as paper-digits-epochs=20",
        "03, never tried: not measured",
        "recorded as paper-digits",
    ]
    assert plan.pending() == []
    assert set(plan.table()["cost"]) == {"recorded"}


def test_it_stops_in_time_and_goes_on_where_it_stopped(book):
    said, calls, book.wait = [], 1, 0.02
    while not plan.run(0.1 / 60, said.append):
        calls += 1
        assert calls < 20
    assert calls > 2
    assert "the time is over" in "".join(said)


def test_nothing_begins_when_the_time_is_over(book):
    said = []
    assert not plan.run(1e-9, said.append)
    assert said == []


def test_data_that_are_not_to_be_had_are_left_out(book):
    book.missing_data, said = ("02-chapter",), []
    assert not plan.run(5, said.append)
    assert [e.about for e in plan.pending()] == ["cheap"]
    assert "  left out: not to be had" in said


def test_the_environment_is_as_before(book, monkeypatch):
    monkeypatch.setenv(lab.PRESET, "quick")
    plan.run(5, lambda line: None)
    assert os.environ[lab.PRESET] == "quick"
    assert lab.DEADLINE not in os.environ


def test_the_command_line_records_or_only_lists(book, monkeypatch, capsys):
    monkeypatch.setattr(machine, "book_file", lambda name: ROOT / "book" / name)
    monkeypatch.setattr(sys, "argv", ["plan", "--list"])
    plan.main()
    assert len(plan.pending()) == 3
    assert "never tried" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["plan"])
    plan.main()
    assert plan.pending() == []
    assert "Everything is recorded." in capsys.readouterr().out


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "soon"])
def test_a_time_limit_that_is_none_is_refused(book, monkeypatch, minutes):
    monkeypatch.setattr(sys, "argv", ["plan", "--minutes", minutes])
    with pytest.raises(SystemExit, match="2"):
        plan.main()
    assert len(plan.pending()) == 3
