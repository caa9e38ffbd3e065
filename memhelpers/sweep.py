"""Sweeps: many runs over parameters and seeds, each stored as soon as it is finished.

Sixth step of the data flow, where one call of `fit` does not do. A run is what one choice of
parameters determines; `sweep` stacks those that can be stacked, hands them to any executor, and
does only what its store does not hold. Whatever ends it, the same call goes on from there.
"""

import contextlib
import functools
import inspect
import itertools
import math
import os
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from memhelpers import errors
from memhelpers.data import Dataset
from memhelpers.engine import packing
from memhelpers.errors import ArgumentError
from memhelpers.runs import fingerprint, machine
from memhelpers.runs.store import Entry, Store, join, key_of, to_entry, warn
from memhelpers.runs.work import Outcome, Run, Work, failure
from memhelpers.training import History, fit

PER_MEMBER = ("learning_rate", "momentum", "weight_decay", "perturb")  # may differ in a stack
_NOT_SET = ("network", "data", "seeds", "subsets", "together", "workers", "progress")
_DEFAULTS = {  # of what a `Training` may set
    name: given.default
    for name, given in inspect.signature(fit).parameters.items()
    if name not in _NOT_SET
}
Report = Callable[[int, int], None] | None  # progress within a unit: done, and in all


class Training:
    """One network to train: what `fit` takes, for one member.

    Args:
        network: template of the architecture, on the CPU.
        data: what it trains on.
        seed: of its initial weights and its order of the data.
        subset: positions [k] of its training examples, or a mask [n]; all of them by default.
        settings: further arguments of `fit`, `epochs` at least.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Dataset,
        seed: int,
        *,
        subset: Tensor | None = None,
        **settings: Any,
    ):
        if unknown := settings.keys() - _DEFAULTS.keys():
            raise ArgumentError(min(unknown), settings[min(unknown)], f"one of {[*_DEFAULTS]}")
        if "epochs" not in settings:
            raise ArgumentError("epochs", None, "passes over the data, at most")
        self.network = errors.check_instance("network", network, nn.Module)
        self.data = errors.check_instance("data", data, Dataset)
        self.seed = errors.check_seed("seed", seed)
        self.subset, self.settings = subset, {**_DEFAULTS, **settings}


@dataclass(frozen=True)
class Sweep:
    """What a sweep has, and what it lacks."""

    table: pd.DataFrame  # rows of every finished run with its parameters, in the order given
    failures: pd.DataFrame  # parameters, `error` and `traceback` of the runs that raised
    missing: list[Run]  # for which no time was left
    done_before: int  # how many were found in the store

    def __repr__(self) -> str:
        counts = f"{len(self.failures)} failed, {len(self.missing)} missing"
        return f"Sweep({len(self.table)} rows; {self.done_before} runs done before, {counts})"


def grid(**axes: Iterable[Any]) -> list[Run]:
    """Every combination of the values of all axes, the last axis running fastest."""
    listed = {}
    for name, values in axes.items():
        several = isinstance(values, Iterable) and not isinstance(values, str)
        listed[name] = list(values) if several else []
        if not listed[name]:
            raise ArgumentError(name, values, "values, such as [64, 128] or range(10)")
    combinations = itertools.product(*listed.values())
    return [dict(zip(listed, chosen, strict=True)) for chosen in combinations]


def summary(history: History) -> pd.DataFrame:
    """What `sweep` keeps by default: `ended`, `epochs`, `updates`; its last losses, accuracies."""
    ends = history.members[["ended", "epochs", "updates", "train_accuracy"]]
    last = history.epochs.tail(1).reset_index(drop=True)
    known = ["member", "seed", "epoch", "update", "train_accuracy"]
    return ends.join(last.drop(columns=known))


def sweep(
    experiment: Callable[..., Training | pd.DataFrame],
    runs: Iterable[Mapping[str, Any]],
    *,
    measure: Callable[..., pd.DataFrame] = summary,
    store: str | os.PathLike | None = None,
    executor: Any = None,
    together: int | None = None,
    minutes: float | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Sweep:
    """Do every run that is not in the store yet.

    A run is stored under a hash of its parameters and of all that `experiment` and `measure` use
    (see `runs.fingerprint`); not of device, executor, packing and library versions, which the run's
    file tells. How networks are packed changes results by rounding.

    Args:
        experiment: takes the parameters of a run by name and returns the network to train, or the
            run's table if it is another computation. It must give the same each time: for a
            `Training` it is called once to see what can be stacked, and again where it trains.
        runs: the parameters of each run, of the same names: numbers, texts, booleans, None, tuples.
        measure: what to keep of a trained network, from the `History` of it alone and, if it takes
            a second argument, the `Training` that the experiment returned: a table of
            numbers, booleans and texts. A column named as a parameter gives way to it.
        store: folder of finished runs, which several sweeps may share; a process waits for another
            that does the same one. None: in memory only.
        executor: of `concurrent.futures`, or a client of `dask.distributed`; by default everything
            runs in this process. Functions of a notebook reach Dask's workers, and threads.
        together: most runs in one unit of work, which is what a kill loses; by default as many
            networks as fill the processor, and few enough that every worker has some.
        minutes: no unit is started that would, at the pace so far, not end within this time.
        progress: called with (runs done, runs in all); by default a bar with the time left.

    Raises:
        ArgumentError: an argument is outside what is allowed; nothing has been run then.
        RuntimeError: a worker process died; as after Ctrl-C, what had finished is in the store.

    Warns:
        RuntimeWarning: runs failed; one is damaged, or finds no space; locks do not work.
    """
    errors.check_function("experiment", experiment)
    errors.check_function("measure", measure)
    if progress is not None:
        errors.check_function("progress", progress)
    if store == "" or not isinstance(store, str | os.PathLike | None):
        raise ArgumentError("store", store, "the path of a folder, or None")
    listed = _checked_runs(experiment, runs)
    seconds = math.inf if minutes is None else 60 * errors.check_positive("minutes", minutes)
    together = None if together is None else errors.check_positive_int("together", together)
    ends = time.monotonic() + seconds
    lines = fingerprint.lines({"experiment": experiment, "measure": measure})
    code = fingerprint.digest(*lines)
    keys = [key_of({"parameters": run, "determined_by": code}) for run in listed]
    distinct = dict(zip(keys, listed, strict=True))
    stack = functools.partial(_stacks, experiment, together)
    held = None if store is None else Store(store)
    with contextlib.nullcontext() if held is None else held.alone(code, seconds):
        do, about = functools.partial(_do, experiment, measure), {"determined_by": lines}
        work = Work(distinct, do, stack, executor, held, about, ends)
        before = len(work.done)
        if progress is None and work.left:
            progress = machine.progress(getattr(experiment, "__name__", "sweep"), already=before)
        work.finish(progress or (lambda done, total: None))
    failed = [run | work.failed[k] for k, run in zip(keys, listed, strict=True) if k in work.failed]
    failures = pd.DataFrame(failed, columns=[*listed[0], "error", "traceback"])
    if failed:
        first = failed[0]["error"]
        warn(f"{len(failed)} of {len(keys)} runs failed, the first with {first}; see `failures`")
    return Sweep(_table(listed, keys, work.done), failures, [*work.left.values()], before)


def _checked_runs(experiment: Callable, runs: Any) -> list[Run]:
    listed = list(runs) if isinstance(runs, Iterable) and not isinstance(runs, Mapping) else None
    if not listed or not all(isinstance(run, Mapping) and run for run in listed):
        raise ArgumentError("runs", runs, "at least one dict of parameters, as `grid` gives them")
    names = list(listed[0])
    if taken := {"error", "traceback"} & set(names):  # columns of `failures`
        raise ArgumentError("runs", names, f"parameters of another name than {min(taken)!r}")
    for run in listed:
        if run.keys() != set(names):
            raise ArgumentError("runs", list(run), f"parameters of the same names: {names}")
    try:
        inspect.signature(experiment).bind(**listed[0])
    except (TypeError, ValueError) as error:
        raise ArgumentError("runs", names, f"what the experiment takes: {error}") from None
    return [{name: _plain(name, run[name]) for name in names} for run in listed]


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON can keep it; sequences as tuples."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(name, value, "finite numbers")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, tuple | list):
        return tuple(_plain(name, item) for item in value)
    raise ArgumentError(name, value, "numbers, texts, booleans, None, and tuples of them")


def _stacks(
    experiment: Callable, together: int | None, runs: Mapping[str, Run], share: int
) -> list[list[str]]:
    """Keys of runs that are trained together: at most `together`, or as many as fill the processor.

    Without `together`, no more than the `share` of a worker. A run goes alone if it raises, gives a
    table, or has settings that cannot be compared.
    """
    walk, groups, sizes = fingerprint.Walk(), {}, {}
    for key, run in runs.items():
        try:
            training = experiment(**run)
            group = _group(training, walk)
            if group not in groups:
                sizes[group] = together or min(share, _filling(training))
        except Exception:
            group, walk = "alone", fingerprint.Walk()  # the former may have broken off
            sizes[group] = 1
        groups.setdefault(group, []).append(key)
    return [
        keys[start : start + sizes[group]]
        for group, keys in groups.items()
        for start in range(0, len(keys), sizes[group])
    ]


def _group(training: Training, walk: fingerprint.Walk) -> Hashable:
    """What networks must share to be stacked; an `ArgumentError` if that cannot be pinned down."""
    data = training.data
    alike = (data.shape, data.n_classes, str(data.device), training.subset is None)
    shared = {k: v for k, v in sorted(training.settings.items()) if k not in PER_MEMBER}
    settings = walk.pin(shared, "settings")
    return (*alike, settings, *fingerprint.architecture(training.network, walk))


def _filling(training: Training) -> int:
    """As many networks as fill the processor."""
    data, size, precision = training.data, *map(training.settings.get, ("batch_size", "precision"))
    each = packing.networks_per_pass(training.network, data.shape, size, data.device, precision)
    return each * packing.passes_side_by_side(data.device)


def _do(
    experiment: Callable,
    measure: Callable,
    runs: Mapping[str, Run],
    looking: bool,
    report: Report = None,
) -> dict[str, Outcome]:
    """Do the runs of a unit; see `Work`."""
    made = {key: _made(experiment, run) for key, run in runs.items()}
    trainings = {key: one for key, one in made.items() if isinstance(one, Training)}
    if looking or not trainings:
        return made | {key: {} for key in trainings}
    return made | _train(trainings, measure, report)


def _made(experiment: Callable, run: Run) -> Training | Outcome:
    started = time.monotonic()
    try:
        made = experiment(**run)
        if isinstance(made, Training):
            return made
        if not isinstance(made, pd.DataFrame):
            raise ArgumentError("experiment", type(made), "one that returns Training or DataFrame")
        return _entry("experiment", made, time.monotonic() - started, machine.device(), "fp32")
    except Exception as error:
        return failure(error)


def _train(trainings: dict[str, Training], measure: Callable, report: Report) -> dict[str, Outcome]:
    """Train networks of one group; where that fails, halves of them, until the guilty is alone."""
    started, keys = time.monotonic(), list(trainings)
    try:
        history = _fit(list(trainings.values()), report)
    except Exception as error:
        if len(keys) == 1:
            return {keys[0]: failure(error)}
        halves = keys[: len(keys) // 2], keys[len(keys) // 2 :]
        parts = [{key: trainings[key] for key in half} for half in halves]
        return _train(parts[0], measure, report) | _train(parts[1], measure, report)
    took = (time.monotonic() - started) / len(keys)
    outcomes = {
        key: _measured(trainings[key], history.only(row), measure, took)
        for row, key in enumerate(keys)
    }
    whole = [key for key in keys if "error" not in outcomes[key]]
    return outcomes | {key: {**outcomes[key], "trained_with": whole} for key in whole}


def _fit(trainings: list[Training], report: Report) -> History:
    first = trainings[0]
    own = {name: [training.settings[name] for training in trainings] for name in PER_MEMBER}
    subsets = None if first.subset is None else [training.subset for training in trainings]
    return fit(
        first.network,
        [training.data for training in trainings],
        seeds=[training.seed for training in trainings],
        subsets=subsets,
        progress=report,
        **{**first.settings, **own},
    )


def _measured(training: Training, history: History, measure: Callable, took: float) -> Outcome:
    data, precision = training.data, training.settings["precision"]
    described = "; ".join([data.name, *data.steps])
    try:
        taken = inspect.signature(measure).parameters.values()
        needed = [p for p in taken if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
        table = measure(*(history, training)[: len(needed)])  # the history alone, or both
        return _entry("measure", table, took, data.device, precision, data=described)
    except Exception as error:
        return failure(error)


def _entry(source: str, table: Any, took: float, device: Any, precision: str, **about) -> Entry:
    """What is stored of a run whose table `source` gave; made here, so that only it may fail."""
    table = table.reset_index(drop=True) if isinstance(table, pd.DataFrame) else table
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    ran_on = machine.environment(device, precision)
    return to_entry(source, table, **about, seconds=round(took, 3), finished=ended, ran_on=ran_on)


def _table(listed: list[Run], keys: list[str], done: Mapping[str, Entry]) -> pd.DataFrame:
    """Parameters beside what was measured; a measured column of the same name gives way."""
    places = [place for place, key in enumerate(keys) if key in done]
    entries = [done[keys[place]] for place in places]
    rows = np.repeat(places, [entry["rows"] for entry in entries]).astype(int)
    parameters = pd.DataFrame(listed)  # of all runs: types do not depend on which are done
    chosen, measured = parameters.iloc[rows].reset_index(drop=True), join(entries)
    return chosen.join(measured[[name for name in measured.columns if name not in chosen.columns]])
