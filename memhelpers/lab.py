"""What a chapter says around its experiment: its scale, its recorded runs, its verdicts.

What a recording run calls needs no notebook; what displays something imports it when called.
"""

import html
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from memhelpers.data import Dataset
from memhelpers.errors import ArgumentError, RecordError, check_choice, check_instance
from memhelpers.runs import machine, records
from memhelpers.runs.machine import progress as progress
from memhelpers.runs.records import Record
from memhelpers.sweep import sweep

PRESETS = ("quick", "colab", "paper")
PRESET = "MEMHELPERS_PRESET"  # the scale
STORE = "MEMHELPERS_STORE"  # a folder that keeps finished networks
DEADLINE = "MEMHELPERS_DEADLINE"  # seconds of `time.monotonic`

Tables = Mapping[str, pd.DataFrame]
LABELLED = ("hidden", "balanced", "precision")  # parameters that tell runs apart, in this order
COUNTED = ("networks", "seeds")


class Unfinished(RuntimeError):
    """The time is over before all networks are trained; those that are lie in the store."""


@dataclass(frozen=True)
class Run:
    """A run of a chapter as its figures and sentences see it."""

    label: str  # "This page: digits", "Recorded: MNIST" or "Recorded: MNIST, 2 x 512 units"
    tables: Tables  # tidy, by name
    verdicts: Mapping[str, Any] = field(default_factory=dict)  # judged claims by id
    about: str = ""  # its sizes in words
    details: Mapping[str, str] = field(default_factory=dict)  # what else a reader may ask of it

    @property
    def data(self) -> str:
        """What its data are called in a sentence, such as MNIST."""
        name = self.label.partition(": ")[2].split(",")[0]
        return f"a {name}" if name.endswith(" subset") else name

    def supports(self, claim: str) -> bool:
        """Whether it supports the claim of this id; not before it is judged."""
        return claim in self.verdicts and self.verdicts[claim].verdict == "supported"

    def interval(self, claim: str) -> str:
        """The interval that a claim was judged by, such as "0.43 [0.41, 0.45]"."""
        return self.verdicts[claim].interval.short if claim in self.verdicts else "not judged"

    def estimate(self, claim: str) -> str:
        """The estimate alone, such as "0.43"."""
        return self.interval(claim).partition(" [")[0]


class Chapter:
    """The scale of a chapter's run, where it runs, and what has been recorded for it.

    Args:
        slug: the chapter's file name without ending, such as "04-loss-sensitivity".

    `preset` is what the variable `MEMHELPERS_PRESET` says (`quick`, `colab` or `paper`), else
    `colab` on a GPU and `quick` on a CPU; `device` is `cuda` or `cpu`. After `record`, `here`,
    `tables` and `data` are the label, tables and dataset of this page's run, and `parameters` and
    `changed` what its notebook has, and has otherwise than its preset.
    """

    def __init__(self, slug: str):
        if not isinstance(slug, str) or not re.fullmatch(r"\d\d-[a-z0-9-]+", slug):
            raise ArgumentError("slug", slug, "a chapter's file name, such as 04-loss-sensitivity")
        self.slug, self.device = slug, machine.device()
        by_device = "colab" if self.device == "cuda" else "quick"
        self.preset = str(check_choice(PRESET, os.environ.get(PRESET) or by_device, PRESETS))
        self.here, self.tables, self.data, self.ledger = "", {}, None, None
        self.parameters, self.changed = {}, {}

    def pick(self, *, quick: Any, colab: Any, paper: Any) -> Any:
        """The value for the scale of this run."""
        return {"quick": quick, "colab": colab, "paper": paper}[self.preset]

    def sweep(
        self, experiment: Callable, runs: Sequence[Mapping[str, Any]], **settings: Any
    ) -> pd.DataFrame:
        """The table of `memhelpers.sweep.sweep`, with `MEMHELPERS_STORE` as its store.

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
        """Take over the tables of this page's run, to be shown, judged and, by a tool, kept."""
        check_instance("tables", tables, Mapping)
        check_instance("data", data, Dataset, ", as `load` gives it")
        self.tables = {name: frame.reset_index(drop=True) for name, frame in tables.items()}
        self.data, self.here, self.ledger = data, f"This page: {_display(data.name)}", None
        import __main__  # whose names are those of the notebook

        preset: Mapping[str, Any] = {}  # as in its recorded run; without one nothing is known
        with suppress(RecordError):  # told where the record is shown; a recording may replace it
            for record in self._records.values():
                if record.provenance["preset"] == self.preset and not departures(record):
                    preset = record.provenance["parameters"]
        here = self.parameters = {k: v for k, v in vars(__main__).items() if k in preset}
        self.changed = {k: v for k, v in here.items() if _words(v) != _words(preset[k])}

    @cached_property
    def recorded(self) -> dict[str, Record]:
        """The recorded runs by label, the largest first; those at the quick preset are left out."""
        large = [r for r in self._records.values() if r.provenance["preset"] != "quick"]
        return labelled(sorted(large, key=_size, reverse=True))

    @cached_property
    def _records(self) -> dict[str, Record]:
        return recorded(self.slug)

    @property
    def quick(self) -> dict[str, Record]:
        """The recorded quick runs by label, for the first screen; this page has its run later."""
        found = [r for r in self._records.values() if r.provenance["preset"] == "quick"]
        return labelled(found, "Quick run")

    @property
    def runs(self) -> list[Run]:
        """This page's run, and the recorded ones, the largest first.

        One that was recorded a second time in another precision is judged as a check, not drawn.
        """
        runs = []
        if self.tables:
            data, changed = self.data.describe(), _listed(_without_data(self.changed))
            about = sizes(self.parameters, data) + f"; changed: {changed}" * bool(changed)
            runs = [Run(self.here, self.tables, self._verdicts(self.here), about)]
        scales: dict[str, Run] = {}
        for label, record in self.recorded.items():  # of two twins the usual precision comes first
            scales.setdefault(_scale(record), self._run(label, record))
        return runs + list(scales.values())

    def _run(self, label: str, record: Record) -> Run:
        ran, changed = record.provenance, _listed(record.provenance["overrides"])
        versions = ", ".join(f"{name} {ran[name]}" for name in ("python", "torch", "numpy"))
        details = {
            "Data": ran["dataset"]["is"],
            "Preset": ran["preset"] + f", with {changed}" * bool(changed),
            "Parameters": _listed(ran["parameters"]),
            "Took": _took(ran),
            "Ran on": f"{_processor(ran)}, {ran['precision'] or 'fp32'}; {versions}",
            "Recorded": f"{ran['created'][:10]}, commit {str(ran['commit'])[:12]}",
        }
        about = sizes(ran["parameters"], ran["dataset"]["is"])
        return Run(label, record.tables, self._verdicts(label), about, details)

    def _verdicts(self, label: str) -> dict[str, Any]:
        """The verdicts on a run by claim: those judged here, else those kept with the book."""
        if self.ledger is not None and label in self.ledger.runs:
            return {verdict.claim.id: verdict for verdict in self.ledger.runs[label]}
        return {} if label == self.here else self._kept(label)

    def _kept(self, label: str) -> dict[str, Any]:
        """The verdicts that are kept with the book, by claim."""
        from memhelpers import claims

        file = machine.data_folder() / claims.KEPT
        known = json.loads(file.read_text()) if file.exists() else {}
        intervals = known.get(self.slug, {}).get(label, {}).items()
        return {id: claims.restored(id, row) for id, row in intervals}

    def first_screen(
        self, figure: Callable[[Run], Any], finding: Callable[[Run], str], *, downloads: str
    ) -> Any:
        """What a reader sees first: the finding, its figure, the claims, the cost; trains nothing.

        `figure` draws a recorded run; `finding` says in one or two sentences what the largest one
        shows (**bold** in Markdown), `downloads` what is downloaded.
        """
        from memhelpers.page.figures import Page, spaced

        runs = [self._run(label, record) for label, record in self.quick.items()] + self.runs
        if not runs:
            return say("*No run of this chapter is recorded: its figures are drawn further down.*")
        largest = (self.runs or runs)[0]

        def panel(run: Run) -> Page:
            return Page(figure(run), _pills(run.verdicts.values()))

        said = finding(largest) if largest.verdicts else "This run is not judged yet."
        found = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(spaced(said)))
        costly = self.quick | dict(list(self.recorded.items())[:1])
        took = [f"{label}: {_took(record.provenance)}" for label, record in costly.items()]
        if not any("GPU" in line or "NVIDIA" in line or "Tesla" in line for line in took):
            took.append("On a GPU (Colab's T4 or other): not measured yet")
        cost = html.escape(f"{'. '.join(took)}. Downloads: {downloads}.")
        return Page(
            f'<p class="mem-finding">{found}</p>',
            _switch(panel, runs, largest, details=True),
            f'<p class="mem-cost"><strong>Cost</strong> {cost}</p>',
        )

    def show(self, figure: Callable[[Run], Any]) -> Any:
        """`figure(run)` of all `runs` with a switch.

        It starts with the largest recorded run, or with this page's, if anything is changed there.
        """
        _run_above(self.tables)
        here, *large = self.runs
        return _switch(figure, [here, *large], here if self.changed or not large else large[0])

    def judge(self, verdicts: Callable[[Tables], Sequence[Any]]) -> Any:
        """The `claims.Ledger` of this page's run and the recorded ones; `ledger` keeps it."""
        from memhelpers import claims

        _run_above(self.tables)
        judged = {label: verdicts(record.tables) for label, record in self.recorded.items()}
        if not any(map(at_paper_scale, self.recorded.values())):
            judged["paper scale"] = None
        kept = {} if self.changed else self._kept(self.here)
        here = verdicts(self.tables)
        self.ledger = claims.Ledger(here, judged, title=self.here, kept=kept)
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


def recorded(chapter: str) -> dict[str, Record]:
    """All recorded runs of a chapter, or of "benchmarks", by name; errors as in `records.load`."""
    return {name: records.load(chapter, name) for name in records.available(chapter)}


def recorded_chapters() -> list[str]:
    """The chapters that have recorded runs, in order."""
    return sorted(folder.name for folder in machine.data_folder().glob("[0-9][0-9]-*"))


def labelled(records: Sequence[Record], kind: str = "Recorded") -> dict[str, Record]:
    """Runs by label: their data, and of several with the same what sets them apart."""
    labels = {}
    for record in records:
        has, data = record.provenance["parameters"], record.provenance["dataset"]["name"]
        same = [r.provenance for r in records if r.provenance["dataset"]["name"] == data]
        words = [_display(data)]
        for name in dict.fromkeys((*LABELLED, *has)):
            alike = [r for r in same if _words(r["parameters"].get(name)) == _words(has.get(name))]
            # A draw of classes decides much, so it is told even where sizes tell runs apart.
            told = len(alike) < len(same) or (name == "balanced" and has.get(name))
            if name != "data" and told:
                words.append(_setting(name, has.get(name)))
                same = alike
        words += [record.provenance["preset"]] if len(same) > 1 else []
        labels[f"{kind}: {', '.join(filter(None, words))}"] = record
    return labels


def _without_data(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters but for the data, which are told by their name."""
    return {name: value for name, value in parameters.items() if name != "data"}


def departures(record: Record) -> dict[str, Any]:
    """The parameters that a run has otherwise than its preset."""
    return _without_data(record.provenance["overrides"])


def at_paper_scale(record: Record) -> bool:
    """Whether a run has the paper's sizes and grids: nothing departs from the preset but data."""
    return record.provenance["preset"] == "paper" and not departures(record)


def _size(record: Record) -> tuple[bool, int, bool, int]:
    """Ordered by paper scale, units, the usual precision, and how little departs otherwise.

    Neither results, data nor the number of images enter: the glossary says so of the largest run.
    """
    units = math.prod(record.provenance["parameters"].get("hidden", ()))
    departs = departures(record)
    return at_paper_scale(record), units, "precision" not in departs, -len(departs)


def say(text: str) -> Any:
    """A paragraph of Markdown from code, so that its numbers come from a run."""
    from IPython.display import Markdown

    from memhelpers.page.figures import spaced

    return Markdown(spaced(text))


def explore(show: Callable[..., Any], **choices: Sequence[Any]) -> Any:
    """Live controls under which `show` runs again: for a notebook that is open, not for a page.

    `choices` are the values of each argument of `show`, the first to begin with.
    """
    if os.environ.get(machine.STATIC):
        return say("*Open this chapter in Jupyter or Colab to try values with live controls here.*")
    import ipywidgets
    from IPython.display import display

    lists = {name: list(values) for name, values in choices.items()}
    return ipywidgets.interactive(
        lambda **chosen: display(show(**chosen)), {"manual": True}, **lists
    )


def _scale(record: Record) -> str:
    """What two records share that differ in nothing but their precision."""
    changed = sorted((k, v) for k, v in departures(record).items() if k != "precision")
    ran = record.provenance
    return str((ran["preset"], ran["dataset"]["fingerprint"], changed))


def sizes(parameters: Mapping[str, Any], data: str) -> str:
    """Sizes of a run in words, such as 1,000 images, 2 x 16 units; `data` as `describe` has it."""
    train = re.search(r"([\d,]+) train", data)
    kind = "images" if " images " in data else "examples"
    named = [(name, parameters[name]) for name in (*LABELLED, *COUNTED) if name in parameters]
    words = [f"{train[1]} {kind}" if train else "", *(_setting(*one) for one in named)]
    return ", ".join(filter(None, words))


def _setting(name: str, value: Any) -> str:
    """A parameter in words; nothing for what goes without saying."""
    if name == "hidden" and isinstance(value, list | tuple):
        widths = sorted(set(value))
        same = f"{len(value)} x {widths[0]:,}" if len(widths) == 1 else _words(value)
        return f"{same} units" if value else "no hidden layer"
    if name in ("balanced", "precision", "examples") and value in (None, False, "fp32"):
        return ""
    if name in ("balanced", "precision"):
        return name if name == "balanced" else str(value)
    counted = name in COUNTED and isinstance(value, int)
    return f"{value:,} {name}" if counted else f"{name} = {_words(value)}"


def _display(name: str) -> str:
    """What a data set is called in a title."""
    names = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar10-jpeg-copy": "CIFAR-10 JPEG"}
    return "CIFAR-10 subset" if name == "cifar10-exact-6k" else names.get(name, name)


def _processor(ran: Mapping[str, Any]) -> str:
    return f"{ran['device']}, {ran['threads']} thread" + "s" * (ran["threads"] > 1)


def _switch(
    figure: Callable[[Run], Any], runs: Sequence[Run], start: Run, *, details: bool = False
) -> Any:
    """A figure of each run, below what the run is, with the rest of it behind a click."""
    from memhelpers.page.figures import Page, Switch

    def panel(run: Run) -> Page:
        told = [(html.escape(k), html.escape(v)) for k, v in run.details.items() if details]
        rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in told)
        about = f"<details><summary>{html.escape(run.about)}</summary><dl>{rows}</dl></details>"
        about = about if rows else html.escape(run.about)
        return Page(f'<div class="mem-about">{about}</div>', figure(run))

    return Switch({run.label: panel(run) for run in runs}, start=start.label)


def _pills(verdicts: Iterable[Any]) -> str:
    """The badges of claims, each a link to its card on the page, in the colours of the page."""
    from memhelpers.claims import SIGNS

    shown = ""
    for claim, word in ((one.claim, one.verdict) for one in verdicts):
        note = f" {html.escape(claim.under)}" if claim.under and word != "supported" else ""
        shown += f' <a class="mem-pill mem-{word}" href="#claim-{claim.id}" '
        shown += f'aria-label="{claim.id}: {word}{note}"><b>{claim.id} {SIGNS[word]}</b>{note}</a>'
    return f'<p class="mem-pills">Claims{shown}</p>'


def _run_above(needed: Any) -> None:
    if not needed:
        raise RuntimeError("nothing to show yet: run the cells above first")


def _listed(parameters: Mapping[str, Any]) -> str:
    """Parameters in words: hidden = 512 x 512, epochs = 5."""
    return ", ".join(f"{name} = {_words(value)}" for name, value in parameters.items())


def _words(value: object) -> str:
    """A value of a parameter; (512, 512), which a record has as a list, gives 512 x 512."""
    if not isinstance(value, list | tuple):
        return str(value)
    sizes = all(isinstance(one, int) for one in value)
    return (" x " if sizes else ", ").join(map(str, value))


def _took(provenance: Mapping[str, Any]) -> str:
    """Time by the clock, and the processor's, which other work on the machine does not lengthen."""
    took, cpu = _minutes(provenance["wall_seconds"]), provenance.get("cpu_seconds")
    processor = f" ({_minutes(cpu)} of processor time)" if cpu else ""
    return f"{took}{processor} on {_processor(provenance)}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
