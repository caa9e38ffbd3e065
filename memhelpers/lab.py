"""What a chapter needs around its experiment: presets, recording, and sentences with numbers.

Nothing here computes a result. The functions that a recording run calls need neither a browser nor
a notebook; those that display something import what they need when they are called.
"""

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from memhelpers.data import Dataset
from memhelpers.errors import ArgumentError, check_choice
from memhelpers.runs import machine, records
from memhelpers.runs.machine import STATIC, device
from memhelpers.runs.records import Record

PRESETS = ("quick", "colab", "paper")
PRESET, RECORD, OVERRIDES = "MEMHELPERS_PRESET", "MEMHELPERS_RECORD", "MEMHELPERS_OVERRIDES"
STORE, DEADLINE = "MEMHELPERS_STORE", "MEMHELPERS_DEADLINE"  # a folder; seconds of this process


class Presets:
    """The scale of this run: calling it picks one of three plain values.

    Attributes:
        name: `quick`, `colab` or `paper`.
    """

    def __init__(self, name: str):
        self.name = str(check_choice("preset", name, PRESETS))
        self.started = time.monotonic(), time.process_time()

    def __call__(self, *, quick: Any, colab: Any, paper: Any) -> Any:
        """The value for the scale of this run."""
        return {"quick": quick, "colab": colab, "paper": paper}[self.name]


def presets(name: str | None = None) -> Presets:
    """Choose the scale: `name`, else `MEMHELPERS_PRESET`, else by the device.

    Without either it is `colab` on a GPU and `quick` on a CPU.

    Raises:
        ArgumentError: the preset is none of `quick`, `colab` and `paper`.
    """
    by_device = "colab" if torch.cuda.is_available() else "quick"
    return Presets(name or os.environ.get(PRESET) or by_device)


def setting(pick: Presets, precision: str = "fp32") -> str:
    """One line: preset, device, precision and versions."""
    ran_on = machine.environment(device(), precision)
    versions = ", ".join(f"{name} {ran_on[name]}" for name in ("python", "torch", "numpy"))
    return f"preset {pick.name} | {ran_on['device']} | {precision} | {versions}"


class Unfinished(RuntimeError):
    """The time is over before all networks are trained; those that are lie in the store."""


def sweep(experiment: Callable, runs: Sequence[Mapping[str, Any]], **settings: Any) -> Any:
    """`memhelpers.sweep.sweep`, so that a chapter that is stopped goes on where it was.

    Finished networks are kept in the folder that `MEMHELPERS_STORE` names, which may lie on a
    mounted drive; without it, in `data/cache/sweeps` while a chapter is recorded, else in memory.

    Raises:
        Unfinished: the time given to a recording is over.
        RuntimeError: a network failed; the others are in the store.
    """
    from memhelpers.sweep import sweep

    recording = machine.data_folder() / "cache" / "sweeps" if os.environ.get(RECORD) else None
    deadline = float(os.environ.get(DEADLINE, "inf"))
    if (left := deadline - time.monotonic()) <= 0:
        raise Unfinished("nothing of this part is done yet")
    minutes = None if deadline == float("inf") else left / 60
    store = os.environ.get(STORE) or recording
    found = sweep(experiment, runs, store=store, minutes=minutes, **settings)
    if len(found.failures):
        first = found.failures.iloc[0]
        run = ", ".join(f"{name} = {first[name]}" for name in runs[0])
        told = f"{len(found.failures)} of {len(runs)} runs failed, such as that of {run}"
        raise RuntimeError(f"{told}:\n{first['traceback']}")
    if found.missing:
        raise Unfinished(f"{len(found.missing)} of {len(runs)} networks are missing")
    return found


def record_name(preset: str, data: str, overrides: Mapping[str, Any]) -> str:
    """What a recorded run is called: preset, data and whatever departs from the preset."""
    changed = [f"{k}={_plain(v)}" for k, v in sorted(overrides.items()) if k != "data"]
    return "-".join([preset, _plain(data), *changed])


def record(
    chapter: str,
    pick: Presets,
    tables: Mapping[str, pd.DataFrame],
    *,
    data: Dataset,
    parameters: Mapping[str, Any],
    precision: str = "fp32",
) -> None:
    """Record this run under `data/`, if the chapter was started to be recorded; else do nothing.

    `make chapter N=04 PRESET=paper` starts it so. The run is named after preset, data and whatever
    was set otherwise than the preset has it.

    Raises:
        RecordError: it cannot be written; a former record stays as it was.
    """
    if not os.environ.get(RECORD):
        return
    overrides = json.loads(os.environ.get(OVERRIDES, "{}"))
    run = record_name(pick.name, data.name, overrides)
    provenance = {
        "preset": pick.name,
        "overrides": overrides,
        "parameters": dict(parameters),
        "dataset": {"name": data.name, "fingerprint": data.fingerprint, "is": data.describe()},
        "wall_seconds": round(time.monotonic() - pick.started[0], 1),
        "cpu_seconds": round(time.process_time() - pick.started[1], 1),
        **machine.environment(device(), precision),
    }
    plain = {name: frame.reset_index(drop=True) for name, frame in tables.items()}
    records.save(chapter, run, plain, provenance)


def recorded(chapter: str, columns: Mapping[str, Sequence[str]]) -> dict[str, Record]:
    """The recorded runs of a chapter other than those at the quick preset, by title.

    Args:
        chapter: its file name without ending.
        columns: for each table that the page draws, the columns it needs.

    Raises:
        RecordError: a record is damaged, of another version, or lacks a column.
    """
    found = {}
    for name in records.available(chapter):
        record = records.load(chapter, name, columns={k: list(v) for k, v in columns.items()})
        if record.provenance["preset"] != "quick":
            found[title(record)] = record
    return found


def show_recorded(found: Mapping[str, Record], draw: Callable[[str, Mapping], Any]) -> None:
    """Display `draw(title, tables)` for each recorded run, or say that there is none."""
    from IPython.display import display

    for name, record in found.items():
        display(draw(name, record.tables))
    if not found:
        display(say("*Not recorded at paper scale.*"))


def title(record: Record) -> str:
    """What a recorded run is, in words: its data, and its scale or what departs from it."""
    provenance = record.provenance
    changed = {k: v for k, v in provenance["overrides"].items() if k != "data"}
    scale = f"{provenance['preset']} scale"
    if changed:
        departs = ", ".join(f"{k} = {_words(v)}" for k, v in changed.items())
        scale = f"{provenance['preset']} preset with {departs}"
    return f"{provenance['dataset']['name']}, {scale}"


def _words(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def say(text: str) -> Any:
    """A paragraph of Markdown from code, so that its numbers come from a run."""
    from IPython.display import Markdown

    return Markdown(text)


def judged(
    found: Mapping[str, Record], verdicts: Callable[[Mapping], Sequence[Any]]
) -> dict[str, Sequence[Any] | None]:
    """The verdicts on each recorded run, by title; None stands for a missing one at paper scale."""
    by_run = {name: verdicts(record.tables) for name, record in found.items()}
    complete = any(_at_paper_scale(record) for record in found.values())
    return by_run if complete else {**by_run, "paper scale": None}


def _at_paper_scale(record: Record) -> bool:
    departs = set(record.provenance["overrides"]) - {"data"}
    return record.provenance["preset"] == "paper" and not departs


def unsupported(title: str, verdicts: Sequence[Any] | None) -> str:
    """A line of Markdown: which claims a run does not support, with their intervals."""
    if verdicts is None:
        return f"- **{title}**: not recorded."
    missed = [
        f"{v.claim.id} is {v.verdict} ({v.interval})" for v in verdicts if v.verdict != "supported"
    ]
    return f"- **{title}**: " + ("; ".join(missed) if missed else "every claim is supported") + "."


def cost_card(chapter: str, sees: str, downloads: str) -> Any:
    """What the reader will see and what it costs, from the recorded runs.

    Args:
        chapter: its file name without ending.
        sees: what the chapter shows, in a few words.
        downloads: what is downloaded, by preset.
    """
    rows = [f"| You will see | {sees} |", f"| Downloads | {downloads} |"]
    for name in records.available(chapter):
        provenance = records.load(chapter, name).provenance
        rows.append(f"| Recorded: {name} | {_took(provenance)} on {_where(provenance)} |")
    if not any("GPU" in row or "NVIDIA" in row or "Tesla" in row for row in rows):
        rows.append("| On a GPU (Colab's T4 or other) | not measured yet |")
    return say("\n".join(["| Cost | |", "|---|---|", *rows]))


def explore(show: Callable[..., Any], **choices: Sequence[Any]) -> Any:
    """Live controls under which `show` runs again: for a notebook that is open, not for a page.

    Args:
        show: takes the chosen values by name and returns what to display.
        choices: for each argument the values to choose from, the first to begin with.

    Raises:
        ArgumentError: an argument has no values.
    """
    for name, values in choices.items():
        if not len(values):
            raise ArgumentError(name, values, "at least one value")
    if os.environ.get(STATIC):
        return say("*Open this chapter in Jupyter or Colab to try values with live controls here.*")
    import ipywidgets

    controls = {
        name: ipywidgets.SelectionSlider(options=list(values), description=name)
        for name, values in choices.items()
    }
    from IPython.display import display

    return ipywidgets.interactive(
        lambda **chosen: display(show(**chosen)), {"manual": True}, **controls
    )


def _plain(value: object) -> str:
    """A value as it may stand in a record's name: (512, 512) gives 512-512."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", str(value)).strip("-.")


def _took(provenance: Mapping[str, Any]) -> str:
    """Time by the clock, and the processor's, which other work on the machine does not lengthen."""
    took = _minutes(provenance["wall_seconds"])
    cpu = provenance.get("cpu_seconds")
    return took + (f" ({_minutes(cpu)} of processor time)" if cpu else "")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _where(provenance: Mapping[str, Any]) -> str:
    threads = provenance.get("threads")
    return str(provenance["device"]) + (f", {threads} threads" if threads else "")
