"""What a chapter says around its experiment, and the tool that runs a chapter to record it."""

import json
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import toy_data

from memhelpers import charts, claims, lab, stats
from memhelpers.claims import Claim
from memhelpers.errors import ArgumentError, RecordError
from memhelpers.runs import machine, records
from memhelpers.stats import interval
from tests import chapters
from tools import chapter as tool
from tools import notebooks, recording

SLUG = "07-toys"
TABLE = pd.DataFrame({"seed": range(6), "value": np.linspace(1, 2, 6)})
CLAIM = Claim("C9.1", "07", "nobody", "It is large.", "value", "1", "above", 0.5, 5, "It is large")


@pytest.fixture(autouse=True)
def empty_book(tmp_path, monkeypatch):
    """A checkout of its own, without chapters or records."""
    (tmp_path / "book").mkdir()
    monkeypatch.setattr(machine, "repository_root", lambda: tmp_path)
    monkeypatch.setenv(machine.STATIC, "1")
    for name in (lab.PRESET, lab.STORE, lab.DEADLINE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def save(
    name, preset="paper", *, dataset="mnist", seconds=60.0, factor=1.0, parameters=None, **overrides
):
    """Record a run of the toy chapter."""
    provenance = {
        "preset": preset,
        "overrides": overrides,
        "parameters": parameters or dict(overrides),
        "dataset": {"name": dataset, "fingerprint": f"of {dataset}", "is": f"{dataset}: few"},
        "wall_seconds": seconds,
        **recording.environment("cpu", overrides.get("precision", "fp32")),
    }
    recording.save(SLUG, name, {"values": TABLE.assign(value=factor * TABLE["value"])}, provenance)


def chapter_with_a_run() -> lab.Chapter:
    chapter = lab.Chapter(SLUG)
    chapter.record({"values": TABLE}, data=toy_data())
    return chapter


def verdicts(tables):
    return [claims.judge(CLAIM, interval(tables["values"]["value"]))]


# Scale


@pytest.mark.parametrize(("preset", "value"), [("quick", 1), ("colab", "two"), ("paper", (3,))])
def test_each_preset_gives_its_own_value(monkeypatch, preset, value):
    monkeypatch.setenv(lab.PRESET, preset)
    chapter = lab.Chapter(SLUG)
    assert chapter.preset == preset
    assert chapter.pick(paper=(3,), colab="two", quick=1) == value


def test_without_a_choice_the_device_decides(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (lab.Chapter(SLUG).device, lab.Chapter(SLUG).preset) == ("cpu", "quick")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (lab.Chapter(SLUG).device, lab.Chapter(SLUG).preset) == ("cuda", "colab")


def test_an_unknown_preset_is_refused(monkeypatch):
    monkeypatch.setenv(lab.PRESET, "big")
    with pytest.raises(ArgumentError, match=r"MEMHELPERS_PRESET: given 'big'.*'quick', 'colab'"):
        lab.Chapter(SLUG)


# Records


def test_record_takes_tables_and_data_over_and_writes_nothing(empty_book):
    chapter = chapter_with_a_run()
    assert not (empty_book / "data").exists()
    assert (chapter.here, chapter.data.name) == ("This page: toy", "toy")
    (run,) = chapter.runs
    assert (run.label, run.data, run.verdicts) == ("This page: toy", "toy", {})
    pd.testing.assert_frame_equal(run.tables["values"], TABLE)


@pytest.mark.parametrize(
    ("preset", "overrides", "whether"),
    [
        ("paper", {}, True),
        ("paper", {"data": "mine.npz"}, True),
        ("paper", {"seeds": 5}, False),
        ("paper", {"precision": "bf16"}, False),
        ("colab", {}, False),
        ("quick", {}, False),
    ],
)
def test_only_the_paper_preset_as_it_is_counts_as_paper_scale(preset, overrides, whether):
    save("one", preset, **overrides)
    (record,) = lab.recorded(SLUG).values()
    assert lab.at_paper_scale(record) is whether
    missing = "paper scale" in chapter_with_a_run().judge(verdicts).recorded
    assert missing is not whether


def drawn(run):
    return charts.table(run.tables["values"], caption=run.label)


def labels(chapter):
    return [run.label for run in chapter.runs]


def test_a_quick_record_is_shown_on_the_first_screen_alone():
    save("quick-mnist", "quick", factor=7)
    save("colab-mnist", "colab")
    chapter, seen = chapter_with_a_run(), []

    def figure(run):
        seen.append(run.tables["values"]["value"].max())
        return drawn(run)

    assert list(chapter.recorded) == ["Recorded: MNIST"]
    assert labels(chapter) == ["This page: toy", "Recorded: MNIST"]
    assert list(chapter.show(figure).panels) == labels(chapter)
    assert seen == [2, 2]
    assert list(chapter.judge(verdicts).recorded) == ["Recorded: MNIST", "paper scale"]
    shown = lab.Chapter(SLUG).first_screen(figure, lambda run: "It grows.", downloads="none")
    assert list(shown.parts[1].panels) == ["Quick run: MNIST", "Recorded: MNIST"]
    assert seen[2:] == [14, 2]


# What sets this page's run apart


def changed_in(monkeypatch, preset="quick", **parameters):
    """What a notebook whose parameters cell has assigned these has otherwise than its preset."""
    monkeypatch.setenv(lab.PRESET, preset)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(**parameters))
    return chapter_with_a_run().changed


def test_it_is_known_which_parameters_were_changed(monkeypatch):
    same = {"data": "digits", "epochs": 80, "hidden": (16, 16), "rate": 0.1}
    save("quick-mnist", preset="quick", parameters={**same, "hidden": [16, 16]})
    assert changed_in(monkeypatch, **same) == {}
    assert changed_in(monkeypatch, **same | {"data": "mine"}, more=1) == {"data": "mine"}
    assert changed_in(monkeypatch, epochs=80) == {}  # the others are deleted
    changed = {"epochs": 5, "hidden": (16, 32)}
    assert changed_in(monkeypatch, **same | changed) == changed
    assert changed_in(monkeypatch, "colab", **same | changed) == {}  # what it has is not known


def test_a_run_that_departs_does_not_tell_what_the_preset_has(monkeypatch):
    save("paper-mnist-epochs=5", parameters={"epochs": 5, "seeds": 3}, epochs=5)
    assert changed_in(monkeypatch, "paper", epochs=80, seeds=4) == {}
    save("paper-mnist", parameters={"epochs": 80, "seeds": 3}, data="mine.npz")
    assert changed_in(monkeypatch, "paper", epochs=80, seeds=4) == {"seeds": 4}


def test_a_changed_run_says_so_and_is_seen_first(monkeypatch):
    save("quick-mnist", preset="quick", parameters={"epochs": 80, "hidden": [16, 16]})
    save("paper-mnist")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(epochs=5, hidden=(16, 32)))
    chapter = chapter_with_a_run()
    here = chapter.runs[0]
    assert here.about.endswith("16 x 32 units; changed: epochs = 5, hidden = 16 x 32")
    assert chapter.judge(verdicts).title == "This page: toy"
    shown = chapter.show(drawn)
    assert list(shown.panels) == ["This page: toy", "Recorded: MNIST"]
    assert shown.start == "This page: toy"


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_an_unchanged_chapter_counts_as_unchanged(path, monkeypatch):
    """So what is recorded at a preset, and told of its cost, has the preset's parameters."""
    monkeypatch.setattr(machine, "repository_root", lambda: notebooks.ROOT)
    for preset in ("quick", "paper"):
        given = tool.parameters(path, preset=preset)
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(**given))
        monkeypatch.setenv(lab.PRESET, preset)
        chapter = lab.Chapter(path.stem)
        chapter.record({}, data=toy_data())
        assert chapter.changed == {}
    assert any(r.provenance["preset"] == "quick" for r in lab.recorded(path.stem).values())


# Recorded runs


def test_recorded_runs_come_with_those_at_paper_scale_first_then_the_largest():
    save("quick-mnist", preset="quick", seconds=1e6)
    save("paper-mnist-hidden=8-8", seconds=900, hidden=[8, 8])
    save("paper-mnist", seconds=60, parameters={"hidden": [4, 4]})
    save("paper-mnist-hidden=16-16", seconds=30, hidden=[16, 16])
    assert labels(chapter_with_a_run()) == [
        "This page: toy",
        "Recorded: MNIST, 2 x 4 units",
        "Recorded: MNIST, 2 x 16 units",
        "Recorded: MNIST, 2 x 8 units",
    ]


def test_a_twin_in_another_precision_is_judged_and_not_drawn():
    usual = {"hidden": [9], "precision": "fp32"}
    save("paper-mnist-seeds=5", parameters=usual, seeds=5)
    half = usual | {"precision": "bf16"}
    save("paper-mnist-p=bf16", parameters=half, precision="bf16", seeds=5)
    alone = {"hidden": [8, 8], "precision": "bf16"}
    save("paper-mnist-hidden=8-8-p=bf16", parameters=alone, **alone)  # has no twin
    chapter = chapter_with_a_run()
    drawn = ["Recorded: MNIST, 2 x 8 units", "Recorded: MNIST, 1 x 9 units"]
    twin = "Recorded: MNIST, 1 x 9 units, bf16"
    assert labels(chapter) == ["This page: toy", *drawn]
    assert sorted(chapter.judge(verdicts).recorded) == sorted([*drawn, twin, "paper scale"])


def test_runs_on_other_data_are_no_twins():
    save("paper-mnist")
    save("paper-cifar10", dataset="cifar10", data="cifar10")
    found = ["This page: toy", "Recorded: CIFAR-10", "Recorded: MNIST"]
    assert labels(chapter_with_a_run()) == found


@pytest.mark.parametrize(
    ("parameters", "label"),
    [
        ([{"hidden": [4]}, {"hidden": [4], "balanced": True}], "MNIST, balanced"),
        ([{"rate": 0.1}, {"rate": 0.3}], "MNIST, rate = 0.3"),
        ([{"hidden": [4]}, {"hidden": []}], "MNIST, no hidden layer"),
    ],
)
def test_runs_of_the_same_data_are_told_apart_by_what_they_have_otherwise(parameters, label):
    for number, values in enumerate(parameters):
        save(f"paper-mnist-{number}", parameters=values, **values)
    found = lab.labelled(list(lab.recorded(SLUG).values()))
    assert len(found) == 2
    assert f"Recorded: {label}" in found


def test_a_run_tells_its_sizes_and_how_it_came_about():
    save("paper-mnist", parameters={"hidden": [16, 16], "seeds": 10, "rate": 0.1}, seconds=600)
    (_, run) = chapter_with_a_run().runs
    assert run.about == "2 x 16 units, 10 seeds"
    assert {"Data", "Parameters", "Took", "Ran on", "Recorded"} <= run.details.keys()
    assert "rate = 0.1" in run.details["Parameters"]
    data = "mnist: 1,000 train; 1x14x14 images in 10 classes"
    assert lab.sizes({"networks": 100}, data) == "1,000 images, 100 networks"
    assert lab.sizes({}, "wine: 90 train; 13 numbers") == "90 examples"


# What is shown


def test_the_switch_starts_with_the_largest_recorded_run():
    save("paper-mnist", factor=3)
    seen = {}

    def figure(run):
        seen[run.label] = run.tables["values"]["value"].max()
        return drawn(run)

    shown = chapter_with_a_run().show(figure)
    assert seen == {"This page: toy": 2, "Recorded: MNIST": 6}
    assert shown.start == "Recorded: MNIST"
    assert list(shown.panels) == ["This page: toy", "Recorded: MNIST"]


def test_without_a_record_the_switch_has_this_page_s_run_alone():
    shown = chapter_with_a_run().show(drawn)
    assert (shown.start, list(shown.panels)) == ("This page: toy", ["This page: toy"])


@pytest.fixture
def declared(monkeypatch):
    monkeypatch.setattr(claims, "load", lambda path=None: {CLAIM.id: CLAIM})


def keep(**intervals):
    """Keep verdicts of recorded runs beside the records."""
    told = {
        label.replace("_", ": "): {CLAIM.id: claims.stored(interval)}
        for label, interval in intervals.items()
    }
    (machine.data_folder() / claims.KEPT).write_text(json.dumps({SLUG: told}))


def test_the_first_screen_says_what_the_kept_verdicts_allow(declared):
    save("paper-mnist")
    keep(Recorded_MNIST=stats.interval([0.7, 0.8, 0.9, 0.8, 0.8]))
    said = []

    def finding(run):
        said.append((run.supports("C9.1"), run.estimate("C9.1")))
        return f"It is **{run.interval('C9.1')}** < 1."

    page = lab.Chapter(SLUG).first_screen(drawn, finding, downloads="none").html()
    assert said == [(True, "0.80")]
    assert '<p class="mem-finding">It is <strong>0.80 [0.71, 0.89]</strong> &lt; 1.</p>' in page
    assert page.index("mem-finding") < page.index("Recorded") < page.index("#claim-C9.1")
    assert "Downloads: none." in page


def test_the_quick_run_of_the_first_screen_has_its_own_verdicts_not_those_of_a_page(declared):
    save("quick-mnist", "quick")
    pages, own = stats.interval([0.7, 0.8, 0.9]), stats.interval([0.2, 0.3, 0.4])
    keep(**{"This page_MNIST": pages, "Quick run_MNIST": own})
    page = lab.Chapter(SLUG).first_screen(
        drawn, lambda run: f"It is {run.estimate('C9.1')}.", downloads="none"
    )
    assert "It is 0.30." in page.html()


def test_what_nobody_has_judged_is_not_claimed(declared):
    save("paper-mnist")
    page = lab.Chapter(SLUG).first_screen(drawn, lambda run: "It is large.", downloads="none")
    assert "It is large" not in page.html()
    assert "not judged yet" in page.html()
    (run,) = [run for run in chapter_with_a_run().runs if run.label == "Recorded: MNIST"]
    assert not run.supports("C9.1")
    assert run.interval("C9.1") == run.estimate("C9.1") == "not judged"


def test_a_chapter_without_records_has_a_first_screen(declared):
    shown = lab.Chapter(SLUG).first_screen(drawn, lambda run: "It is.", downloads="none")
    assert "No run of this chapter is recorded" in shown.data


def test_judged_runs_carry_their_verdicts_to_the_figures():
    save("paper-mnist", factor=0.1)
    chapter = chapter_with_a_run()
    chapter.judge(verdicts)
    assert [run.supports("C9.1") for run in chapter.runs] == [True, False]
    chapter.record({"values": TABLE}, data=toy_data())  # a new run is not judged by the old
    assert not chapter.runs[0].verdicts


def test_a_missing_run_at_paper_scale_is_told():
    save("paper-mnist-hidden=8-8", factor=0.1, hidden=[8, 8])
    save("paper-mnist-hidden=4-4", factor=1 / 3, hidden=[4, 4])
    chapter = chapter_with_a_run()
    assert chapter.judge(verdicts) is chapter.ledger
    assert chapter.ledger.recorded["paper scale"] is None
    assert chapter.ledger.lines() == "C9.1 supported"
    here, far, near, missing = chapter.unsupported().data.splitlines()
    assert here == "- **This page: toy**: every claim is supported."
    assert far.startswith("- **Recorded: MNIST, 2 x 8 units**: C9.1 is contradicted (0.15")
    assert near.startswith("- **Recorded: MNIST, 2 x 4 units**: C9.1 is inconclusive (0.5")
    assert missing == "- **paper scale**: not recorded."


def cost(**named):
    page = lab.Chapter(SLUG).first_screen(drawn, lambda run: "It is.", downloads="none").html()
    return re.search(r"<strong>Cost</strong> (.*?)</p>", page)[1]


def test_the_cost_line_tells_each_record_and_that_no_gpu_was_measured():
    save("paper-mnist", seconds=600)
    save("quick-mnist", "quick", seconds=99)
    threads = f"{torch.get_num_threads()} thread"
    told = rf"Quick run: MNIST: 99 s on .*, {threads}s?\. Recorded: MNIST: 10 min on"
    assert re.search(told, cost())
    assert cost().endswith("not measured yet. Downloads: none.")


@pytest.mark.parametrize("card", ["Tesla T4", "NVIDIA H100"])
def test_the_cost_line_names_the_gpu_that_was_measured(monkeypatch, card):
    ran_on = machine.environment("cpu", "fp32") | {"device": card, "threads": 1, "cpu_seconds": 30}
    monkeypatch.setattr(machine, "environment", lambda *_: ran_on)
    save("paper-mnist", seconds=120)
    told = f"Recorded: MNIST: 2 min (30 s of processor time) on {card}, 1 thread."
    assert cost() == f"{told} Downloads: none."


def test_chapters_with_records_are_listed_without_the_benchmarks(empty_book):
    for folder in ("07-toys", "01-first", "benchmarks", "cache"):
        (empty_book / "data" / folder).mkdir(parents=True)
    assert lab.recorded_chapters() == ["01-first", "07-toys"]


# Sweeps


def value(seed):
    return pd.DataFrame({"value": [seed]})


RUNS = [{"seed": seed} for seed in range(3)]


def test_a_chapter_keeps_its_networks_where_the_variable_says(tmp_path, monkeypatch):
    lab.Chapter(SLUG).sweep(value, RUNS)
    assert not (tmp_path / "data").exists()
    monkeypatch.setenv(lab.STORE, str(tmp_path / "drive"))
    found = lab.Chapter(SLUG).sweep(value, RUNS)
    assert list(found["value"]) == [0, 1, 2]
    assert len(list((tmp_path / "drive").rglob("*.json"))) == 3


def test_a_failed_run_is_an_error_that_names_it():
    def fails(seed):
        if seed == 1:
            raise ValueError("no such luck")
        return value(seed)

    told = r"1 of 3 runs failed, such as that of seed = 1:(.|\n)*no such luck"
    with pytest.raises(RuntimeError, match=told), pytest.warns(RuntimeWarning):
        lab.Chapter(SLUG).sweep(fails, RUNS)


@pytest.mark.parametrize("left", [-1.0, 0.05])
def test_no_run_begins_after_the_deadline(monkeypatch, left):
    monkeypatch.setenv(lab.DEADLINE, str(time.monotonic() + left))

    def slow(seed):
        time.sleep(0.06)
        return value(seed)

    with pytest.raises(lab.Unfinished, match="2 of 3 networks" if left > 0 else "nothing"):
        lab.Chapter(SLUG).sweep(slow, RUNS)


# Controls


def test_in_a_page_the_control_is_a_sentence():
    assert "Jupyter or Colab" in lab.explore(lambda units: None, units=[1]).data


# The tool

CELLS = [
    (["run"], f'import pandas as pd\nfrom memhelpers import lab\nchapter = lab.Chapter("{SLUG}")'),
    (
        ["parameters"],
        "pick = chapter.pick\nwidth = pick(quick=1, colab=2, paper=3)\nseeds = 6",
    ),
    (["hide-input"], "raise RuntimeError('no part of a recording')"),
    (["run"], "table = pd.DataFrame({'seed': range(seeds), 'value': float(width)})"),
    (["run"], "from toys import toy_data\nchapter.record({'values': table}, data=toy_data())"),
]


@pytest.fixture
def notebook(empty_book):
    cells = [
        {"cell_type": "code", "id": str(i), "metadata": {"tags": tags}, "source": [source]}
        for i, (tags, source) in enumerate(CELLS)
    ]
    path = empty_book / "book" / f"{SLUG}.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_a_chapter_is_found_by_its_number_and_run_without_a_record(notebook, empty_book):
    assert tool.find("7") == tool.find(SLUG) == notebook
    with pytest.raises(ArgumentError, match=r"chapter: given '99'; allowed: one of \['07-toys'\]"):
        tool.find("99")
    found = tool.run(notebook, {"width": 5}, preset="paper")
    assert found["chapter"].tables["values"]["value"].tolist() == [5.0] * 6
    assert not (empty_book / "data").exists()


def edit(notebook, old, new):
    """Replace a line in the notebook's cells by others."""
    assert old in notebook.read_text()
    notebook.write_text(notebook.read_text().replace(old, json.dumps(new)[1:-1]))


@pytest.mark.parametrize("preset", lab.PRESETS)
@pytest.mark.parametrize("more", [{}, {"precision": "bf16"}])
def test_a_recording_keeps_how_it_came_about(notebook, empty_book, preset, more):
    lines = [f"{name} = {value!r}" for name, value in more.items()]
    edit(notebook, "seeds = 6", "\n".join(["seeds = 6", *lines]))
    before, given = dict(os.environ), {"width": 5, "seeds": 3}
    folder = tool.record(notebook, given, preset=preset)
    assert dict(os.environ) == before
    assert folder == empty_book / "data" / SLUG / f"{preset}-toy-seeds=3-width=5"
    found, data = lab.recorded(SLUG)[folder.name], toy_data()
    ran = found.provenance
    assert (ran["overrides"], ran["parameters"]) == (given, given | more)
    assert (ran["preset"], ran["precision"]) == (preset, more.get("precision", "fp32"))
    same = {"name": "toy", "fingerprint": data.fingerprint, "is": data.describe()}
    assert ran["dataset"] == same
    table = pd.DataFrame({"seed": range(3), "value": 5.0})
    pd.testing.assert_frame_equal(found.tables["values"], table)


def test_the_book_s_records_and_a_new_one_tell_the_same(notebook, monkeypatch):
    new = list(json.loads((tool.record(notebook) / "provenance.json").read_text()))
    monkeypatch.setattr(machine, "repository_root", lambda: notebooks.ROOT)
    for chapter in lab.recorded_chapters():
        for ran in (record.provenance for record in lab.recorded(chapter).values()):
            # What the oldest ones do not have.
            later = {"cpu_seconds", "driver", "constraints"} - set(ran)
            assert list(ran) == [key for key in new if key not in later]


@pytest.mark.parametrize("name", ["paper-other", "paper-toy"])
def test_a_damaged_record_does_not_stop_a_recording(notebook, empty_book, name):
    save(name)
    (empty_book / "data" / SLUG / name / "provenance.json").write_text("{")
    assert records.load(SLUG, tool.record(notebook, preset="paper").name).tables


def test_a_name_that_is_too_long_is_refused_before_anything_is_trained(notebook):
    edit(notebook, "table = pd.DataFrame(", "raise RuntimeError('trained')\ntable = pd.DataFrame(")
    with pytest.raises(RecordError, match=r"name: given 'paper-.*; allowed: .* up to 100"):
        tool.record(notebook, {"width": list(range(100))}, preset="paper")
    with pytest.raises(RuntimeError, match="trained"):
        tool.record(notebook, {"width": [1]}, preset="paper")


def test_a_chapter_that_hands_nothing_over_is_not_recorded(notebook, empty_book):
    edit(notebook, "chapter.record(", "dict(")
    with pytest.raises(ArgumentError, match=r"chapter: given '07-toys'; .* calls `chapter.record`"):
        tool.record(notebook)
    assert not list(empty_book.rglob("provenance.json"))


def test_a_record_is_named_by_what_departs_from_its_preset():
    overrides = {"width": 3, "data": "x.npz", "hidden": (8, 8)}
    name = recording.record_name("paper", "cifar10", overrides)
    assert name == "paper-cifar10-hidden=8-8-width=3"


@pytest.mark.parametrize("drive", [False, True])
def test_a_recording_keeps_its_networks_in_the_cache_or_where_the_reader_says(
    notebook, empty_book, monkeypatch, drive
):
    first = "def train(seed): return table[table['seed'] == seed]"
    last = "from toys import toy_data"
    edit(notebook, last, f"{first}\nchapter.sweep(train, [{{'seed': 0}}])\n{last}")
    here, cache = empty_book / "drive", empty_book / "data" / "cache" / "sweeps"
    monkeypatch.setenv(lab.STORE, str(here) if drive else "")
    tool.run(notebook)
    assert (here.exists(), cache.exists()) == (drive, False)
    tool.record(notebook)
    assert len(list((here if drive else cache).rglob("*.json"))) == 1
    assert (here.exists(), cache.exists()) == (drive, not drive)


@pytest.fixture
def ten_seconds_a_call(monkeypatch):
    """Each recording takes ten seconds of the processor's time, from its start to its end."""
    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr(time, "process_time", lambda: next(ticks))


def stopped(notebook, **named):
    """Record a chapter that the deadline stops."""
    text = notebook.read_text()
    stop = "import time; time.sleep(0.2)\nfrom memhelpers import lab\nraise lab.Unfinished"
    edit(notebook, "from toys import toy_data", stop)
    with pytest.raises(lab.Unfinished):
        tool.record(notebook, **named)
    notebook.write_text(text)


def took(notebook, *given, **named):
    """Record a chapter; the wall and processor seconds that the record tells."""
    ran = json.loads((tool.record(notebook, *given, **named) / "provenance.json").read_text())
    return ran["wall_seconds"], ran["cpu_seconds"]


def test_a_recording_adds_up_the_time_of_the_calls_that_did_not_finish(
    notebook, empty_book, ten_seconds_a_call
):
    for _ in range(2):
        stopped(notebook, preset="paper")
    wall, processor = took(notebook, preset="paper")
    assert 0.4 <= wall < 60
    assert processor == 30
    assert not list(empty_book.rglob("spent/*"))
    assert took(notebook, preset="paper")[1] == 10


def test_only_the_same_recording_goes_on_with_the_time_that_was_spent(notebook, ten_seconds_a_call):
    edit(notebook, "seeds = 6", "seeds = 6\ndata = 'toy'")
    stopped(notebook, preset="paper")
    for other in ({"data": "other"}, {"width": 5}):
        assert took(notebook, other, preset="paper")[1] == 10
    assert took(notebook, preset="colab")[1] == 10
    tool.run(notebook, preset="paper")  # it is no recording
    assert took(notebook, preset="paper")[1] == 20


def test_the_time_spent_before_outlasts_a_failed_write(notebook, monkeypatch, ten_seconds_a_call):
    def full(*_):
        raise OSError("no space")

    stopped(notebook)
    with monkeypatch.context() as patch:
        patch.setattr(recording, "save", full)
        with pytest.raises(OSError, match="no space"):
            tool.record(notebook)
    assert took(notebook)[1] == 20


def test_parameters_are_read_without_running_the_rest(notebook):
    assert tool.parameters(notebook, preset="paper") == {"width": 3, "seeds": 6}
    assert tool.parameters(notebook, {"seeds": 9}, preset="colab") == {"width": 2, "seeds": 9}
    with pytest.raises(ArgumentError, match="set: given 'depth'; allowed: one of"):
        tool.parameters(notebook, {"depth": 1})


@pytest.mark.parametrize(
    ("words", "overrides", "called"),
    [
        ("7", {}, ("run", None)),
        ("7 --record", {}, ("record", None)),
        (
            "7 --preset colab --set width=5 data=mnist --set hidden=(8,8)",
            {"width": 5, "data": "mnist", "hidden": (8, 8)},
            ("run", "colab"),
        ),
    ],
)
def test_the_command_line_hands_on_what_it_was_given(
    notebook, monkeypatch, words, overrides, called
):
    calls = []

    def stub(name):
        return lambda *given, preset: calls.append((*given, (name, preset)))

    for name in ("run", "record"):
        monkeypatch.setattr(tool, name, stub(name))
    monkeypatch.setattr(sys, "argv", ["chapter", *words.split()])
    tool.main()
    assert calls == [(notebook, overrides, called)]


@pytest.mark.parametrize("words", ["7 --set width", "7 --preset big"])
def test_the_command_line_refuses_what_it_does_not_know(notebook, monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["chapter", *words.split()])
    with pytest.raises(SystemExit, match="2"):
        tool.main()


def test_the_command_line_refuses_an_unknown_chapter():
    done = subprocess.run(
        [sys.executable, "-m", "tools.chapter", "99"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "chapter: given '99'" in done.stderr


def test_what_comes_too_early_says_so():
    chapter = lab.Chapter(SLUG)
    for early in (lambda: chapter.show(print), lambda: chapter.judge(print), chapter.unsupported):
        with pytest.raises(RuntimeError, match="run the cells above first"):
            early()
