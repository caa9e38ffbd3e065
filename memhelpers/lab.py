"""What a chapter says around its experiment: its scale, its recorded runs, its verdicts.

Nothing here computes a result. What a recording run calls needs neither a browser nor a notebook;
what displays something imports what it needs when it is called.
"""

import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import pandas as pd

from memhelpers.data import Dataset
from memhelpers.errors import ArgumentError, RecordError, check_choice, check_instance
from memhelpers.runs import machine, records
from memhelpers.runs.machine import progress as progress
from memhelpers.runs.records import Record
from memhelpers.runs.records import pack_answers as pack_answers
from memhelpers.runs.records import unpack_answers as unpack_answers
from memhelpers.sweep import sweep

PRESETS = ("quick", "colab", "paper")
PRESET = "MEMHELPERS_PRESET"  # the scale
STORE = "MEMHELPERS_STORE"  # a folder that keeps finished networks
DEADLINE = "MEMHELPERS_DEADLINE"  # seconds of `time.monotonic`

Tables = Mapping[str, pd.DataFrame]


class Unfinished(RuntimeError):
    """The time is over before all networks are trained; those that are lie in the store."""


class Chapter:
    """The scale of a chapter's run, where it runs, and what has been recorded for it.

    Args:
        slug: the chapter's file name without ending, such as "04-loss-sensitivity".

    `preset` is what the variable `MEMHELPERS_PRESET` says (`quick`, `colab` or `paper`), else
    `colab` on a GPU and `quick` on a CPU; `device` is `cuda` or `cpu`. `here`, `tables` and `data`
    are the title, the tables and the dataset of this page's run, once it has been handed to
    `record`; parameters that the reader has changed stand in the title: "quick, digits, with
    epochs = 5".
    """

    def __init__(self, slug: str):
        if not isinstance(slug, str) or not re.fullmatch(r"\d\d-[a-z0-9-]+", slug):
            raise ArgumentError("slug", slug, "a chapter's file name, such as 04-loss-sensitivity")
        self.slug, self.device = slug, machine.device()
        by_device = "colab" if self.device == "cuda" else "quick"
        self.preset = str(check_choice(PRESET, os.environ.get(PRESET) or by_device, PRESETS))
        self.here, self.tables, self.data, self.ledger = "", {}, None, None

    def __str__(self) -> str:
        """One line: preset, device and versions."""
        ran_on = machine.environment(self.device, "")
        versions = ", ".join(f"{name} {ran_on[name]}" for name in ("python", "torch", "numpy"))
        return f"preset {self.preset} | {ran_on['device']} | {versions}"

    def pick(self, *, quick: Any, colab: Any, paper: Any) -> Any:
        """The value for the scale of this run."""
        return {"quick": quick, "colab": colab, "paper": paper}[self.preset]

    def sweep(
        self, experiment: Callable, runs: Sequence[Mapping[str, Any]], **settings: Any
    ) -> pd.DataFrame:
        """The table of `memhelpers.sweep.sweep`; a chapter that is stopped goes on where it was.

        Finished networks are kept in the folder that `MEMHELPERS_STORE` names, else in memory.

        Raises:
            Unfinished: the time given to a recording is over.
            RuntimeError: a network failed; the others are in the store.
        """
        minutes = None
        if DEADLINE in os.environ:
            minutes = (float(os.environ[DEADLINE]) - time.monotonic()) / 60
            if minutes <= 0:
                raise Unfinished("nothing of this part is done yet")
        store = os.environ.get(STORE) or None
        found = sweep(experiment, runs, store=store, minutes=minutes, **settings)
        if len(found.failures):
            first = found.failures.iloc[0]
            run = ", ".join(f"{name} = {first[name]}" for name in runs[0])
            told = f"{len(found.failures)} of {len(runs)} runs failed, such as that of {run}"
            mistake = first["error"].startswith(ArgumentError.__name__)  # its line says it all
            raise RuntimeError(f"{told}: {first['error' if mistake else 'traceback']}")
        if found.missing:
            raise Unfinished(f"{len(found.missing)} of {len(runs)} networks are missing")
        return found.table

    def record(self, tables: Tables, *, data: Dataset) -> None:
        """Take over the tables of this page's run, to be shown, judged and, by a tool, kept.

        `make chapter N=04 PRESET=paper` runs the chapter and writes them to `data/`.
        """
        check_instance("tables", tables, Mapping)
        check_instance("data", data, Dataset, ", as `load` gives it")
        self.tables = {name: frame.reset_index(drop=True) for name, frame in tables.items()}
        self.data, self.here = data, f"{self.preset}, {data.name}"
        with suppress(RecordError):  # told where the record is shown; a recording may replace it
            if changed := self._changed():
                self.here += f", with {_listed(changed)}"

    def _changed(self) -> dict[str, Any]:
        """The parameters, but for the data, that the notebook has otherwise than its preset.

        The preset's are those of its recorded run; where it has none, nothing is known.
        """
        import __main__  # whose names are those of the notebook

        preset: Mapping[str, Any] = {}
        for record in self._records.values():
            if record.provenance["preset"] == self.preset and not departures(record):
                preset = record.provenance["parameters"]
        here = {k: v for k, v in vars(__main__).items() if k in preset and k != "data"}
        return {k: v for k, v in here.items() if _words(v) != _words(preset[k])}

    @cached_property
    def recorded(self) -> dict[str, Record]:
        """The recorded runs by title, the largest first; those at the quick preset are left out."""
        found = self._records.values()
        large = [record for record in found if record.provenance["preset"] != "quick"]
        return {title(record): record for record in sorted(large, key=_size, reverse=True)}

    @cached_property
    def _records(self) -> dict[str, Record]:
        return recorded(self.slug)

    @property
    def runs(self) -> dict[str, Tables]:
        """The tables of this page's run and of the recorded ones, by title.

        A run that was recorded a second time in another precision is a check, not further evidence:
        it is judged, but not drawn.
        """
        scales: dict[str, tuple[str, Tables]] = {}
        for name, record in self.recorded.items():  # of two twins the usual precision comes first
            scales.setdefault(_scale(record), (name, record.tables))
        return ({self.here: self.tables} if self.tables else {}) | dict(scales.values())

    def show(self, figure: Callable[[str, Tables], Any]) -> Any:
        """`figure(title, tables)` of all `runs` with a switch, which starts with a recorded one."""
        from memhelpers.page.figures import Switch

        _run_above(self.runs)
        drawn = {self._label(name): figure(name, tables) for name, tables in self.runs.items()}
        recorded = [name for name in self.runs if name != self.here]
        return Switch(drawn, start=self._label(recorded[0] if recorded else self.here))

    def _label(self, run: str) -> str:
        """What the switch calls a run: by its data, or in full where two have the same."""
        if run == self.here:
            return f"This page: {run.split(', ')[1]}"
        names = [name.split(",")[0] for name in self.runs if name != self.here]
        data = run.split(",")[0]
        return f"Recorded: {data if names.count(data) == 1 else run}"

    def say(self, sentence: Callable[[str, Tables], str]) -> Any:
        """`sentence(title, tables)`, a text of Markdown, for each run in a paragraph of its own."""
        return say("\n\n".join(sentence(*run) for run in self.runs.items()))

    def judge(self, verdicts: Callable[[Tables], Sequence[Any]]) -> Any:
        """The `claims.Ledger` of this page's run and the recorded ones; `ledger` keeps it."""
        from memhelpers import claims

        _run_above(self.tables)
        judged = {name: verdicts(record.tables) for name, record in self.recorded.items()}
        if not any(map(at_paper_scale, self.recorded.values())):
            judged["paper scale"] = None
        self.ledger = claims.Ledger(verdicts(self.tables), judged, title=self.here)
        return self.ledger

    def unsupported(self) -> Any:
        """A list in Markdown: which claims each run does not support, with their intervals."""
        lines = []
        _run_above(self.ledger)
        for run, verdicts in {self.ledger.title: self.ledger.here, **self.ledger.recorded}.items():
            missed = [v for v in verdicts or () if v.verdict != "supported"]
            told = "; ".join(f"{v.claim.id} is {v.verdict} ({v.interval})" for v in missed)
            known = "not recorded" if verdicts is None else told or "every claim is supported"
            lines.append(f"- **{run}**: {known}.")
        return say("\n".join(lines))

    def cost(self, downloads: str) -> Any:
        """One line: what the recorded runs took, on what, and (in words) what is downloaded."""
        took = [f"{name}: {_took(record.provenance)}" for name, record in self._records.items()]
        if not any("GPU" in line or "NVIDIA" in line or "Tesla" in line for line in took):
            took.append("on a GPU (Colab's T4 or other): not measured yet")
        return say(f"**Cost.** {'; '.join(took)}. Downloads: {downloads}.")


def recorded(chapter: str) -> dict[str, Record]:
    """All recorded runs of a chapter, or of "benchmarks", by name; errors as in `records.load`."""
    return {name: records.load(chapter, name) for name in records.available(chapter)}


def recorded_chapters() -> list[str]:
    """The chapters that have recorded runs, in order."""
    return sorted(folder.name for folder in machine.data_folder().glob("[0-9][0-9]-*"))


def title(record: Record) -> str:
    """What a recorded run is, in words: its data, and its scale or what departs from it."""
    changed = _listed(departures(record))
    scale = f"preset with {changed}" if changed else "scale"
    return f"{record.provenance['dataset']['name']}, {record.provenance['preset']} {scale}"


def departures(record: Record) -> dict[str, Any]:
    """The parameters that a run has otherwise than its preset; its data are told by their name."""
    return {k: v for k, v in record.provenance["overrides"].items() if k != "data"}


def at_paper_scale(record: Record) -> bool:
    """Whether a run has the paper's sizes and grids: nothing departs from the preset but data."""
    return record.provenance["preset"] == "paper" and not departures(record)


def _size(record: Record) -> tuple[bool, int, bool]:
    """By which runs are ordered: paper scale, units of the networks, and the usual precision."""
    units = math.prod(record.provenance["parameters"].get("hidden", ()))
    return at_paper_scale(record), units, "precision" not in departures(record)


def say(text: str) -> Any:
    """A paragraph of Markdown from code, so that its numbers come from a run."""
    from IPython.display import Markdown

    return Markdown(text)


def explore(show: Callable[..., Any], **choices: Sequence[Any]) -> Any:
    """Live controls under which `show` runs again: for a notebook that is open, not for a page.

    Args:
        show: takes the chosen values by name and returns what to display.
        choices: for each argument the values to choose from, the first to begin with.
    """
    if os.environ.get(machine.STATIC):
        return say("*Open this chapter in Jupyter or Colab to try values with live controls here.*")
    import ipywidgets
    from IPython.display import display

    controls = {
        name: ipywidgets.SelectionSlider(options=list(values), description=name)
        for name, values in choices.items()
    }
    return ipywidgets.interactive(
        lambda **chosen: display(show(**chosen)), {"manual": True}, **controls
    )


def _scale(record: Record) -> str:
    """What two records share that differ in nothing but their precision."""
    ran, departs = record.provenance, departures(record)
    changed = sorted((k, v) for k, v in departs.items() if k != "precision")
    return str((ran["preset"], ran["dataset"]["fingerprint"], changed))


def _run_above(needed: Any) -> None:
    if not needed:
        raise RuntimeError("nothing to show yet: run the cells above first")


def _listed(parameters: Mapping[str, Any]) -> str:
    """Parameters in words: hidden = 512 x 512, epochs = 5."""
    return ", ".join(f"{name} = {_words(value)}" for name, value in parameters.items())


def _words(value: object) -> str:
    """A value of a parameter; (512, 512), which a record has as a list, gives 512 x 512."""
    return " x ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _took(provenance: Mapping[str, Any]) -> str:
    """Time by the clock, and the processor's, which other work on the machine does not lengthen."""
    took, cpu = _minutes(provenance["wall_seconds"]), provenance.get("cpu_seconds")
    processor = f" ({_minutes(cpu)} of processor time)" if cpu else ""
    threads = f"{provenance['threads']} thread" + ("s" if provenance["threads"] > 1 else "")
    return f"{took}{processor} on {provenance['device']}, {threads}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
