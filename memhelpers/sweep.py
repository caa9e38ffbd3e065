"""Sweeps: many runs over parameters and seeds, each stored as soon as it is finished.

Sixth step of the data flow, where one call of `fit` does not do. A run is what one choice of
parameters determines; `sweep` stacks those that can be stacked, hands them to any executor, and
does only what its store does not hold. Whatever ends it, the same call goes on from there.

On one GPU, and on a CPU, no executor is needed: networks of one architecture train together in this
process. On several GPUs, `processes(4, gpus=range(4))` gives each worker one of them. On a cluster,
SLURM's for one, a client of `dask.distributed` does, whose workers see the code and the data::

    from dask_jobqueue import SLURMCluster
    cluster = SLURMCluster(cores=4, memory="16GB", job_extra_directives=["--gres=gpu:1"])
    cluster.scale(jobs=8)
    sweep(network_of, runs, store="sweeps/capacity", executor=cluster.get_client())
"""

import functools
import inspect
import itertools
import math
import os
import pickle
import secrets
import signal
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from memhelpers.data import Dataset
from memhelpers.engine import packing
from memhelpers.errors import (
    ArgumentError,
    check_positive,
    check_positive_int,
    check_seed,
)
from memhelpers.runs import files, fingerprint, machine
from memhelpers.runs.store import Claims, Entry, Store, decode, encode, join, key_of
from memhelpers.training import History, fit

_OWN = ("learning_rate", "momentum", "weight_decay")  # may differ between stacked networks
_NOT_SET = ("network", "data", "seeds", "subsets", "together", "workers", "progress")
_DEFAULTS = {name: given.default for name, given in inspect.signature(fit).parameters.items()}
SETTINGS = tuple(name for name in _DEFAULTS if name not in _NOT_SET)
POLL = 0.5  # seconds between looks at what other processes have done

Run = dict[str, Any]


class Training:
    """One network to train: what `fit` takes, for one member.

    Args:
        network: template of the architecture, on the CPU.
        data: what it trains on.
        seed: of its initial weights and its order of the data.
        subset: positions [k] of its training examples, or a mask [n]; all of them by default.
        settings: further arguments of `fit`, `epochs` at least.

    Raises:
        ArgumentError: an argument that `fit` does not take, or not here.
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
        for name in settings:
            if name not in SETTINGS:
                raise ArgumentError(name, settings[name], "settings: " + ", ".join(SETTINGS))
        if "epochs" not in settings:
            raise ArgumentError("epochs", None, "passes over the data, at most")
        for name, value, kind in (("network", network, nn.Module), ("data", data, Dataset)):
            if not isinstance(value, kind):
                raise ArgumentError(name, value, f"a {kind.__name__}")
        self.network, self.data, self.seed = network, data, check_seed("seed", seed)
        self.subset, self.settings = subset, settings

    def setting(self, name: str) -> Any:
        """An argument of `fit`: the one given, or its default."""
        return self.settings.get(name, _DEFAULTS[name])


@dataclass(frozen=True)
class Sweep:
    """What a sweep has, and what it lacks.

    Attributes:
        table: the rows of every finished run, with its parameters as columns, in the order in which
            the runs were given.
        failures: parameters, `error` and `traceback` of the runs that raised; the next call tries
            them again.
        missing: the runs for which no time was left.
        done_before: how many were found in the store.
    """

    table: pd.DataFrame
    failures: pd.DataFrame
    missing: list[Run]
    done_before: int

    @property
    def complete(self) -> bool:
        """Whether no run has failed or is missing."""
        return not len(self.failures) and not self.missing

    def __repr__(self) -> str:
        counts = f"{len(self.failures)} failed, {len(self.missing)} missing"
        return f"Sweep({len(self.table)} rows; {self.done_before} runs done before, {counts})"


def grid(**axes: Iterable[Any]) -> list[Run]:
    """Every combination of the values of all axes, the last axis running fastest.

    Raises:
        ArgumentError: an axis that is not several values, or has none.
    """
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ArgumentError(name, values, "several values, such as [64, 128] or range(10)")
    listed = {name: list(values) for name, values in axes.items()}
    for name, values in listed.items():
        if not values:
            raise ArgumentError(name, values, "at least one value")
    combinations = itertools.product(*listed.values())
    return [dict(zip(listed, chosen, strict=True)) for chosen in combinations]


def summary(history: History) -> pd.DataFrame:
    """What `sweep` keeps of a network by default, in one row.

    Returns:
        `ended`, `epochs`, `updates` and `train_accuracy` (see `History.members`), and the other
        losses and accuracies of its last epoch (see `History.epochs`).
    """
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
    depends: Sequence[Any] = (),
    progress: Callable[[float, float], None] | None = None,
) -> Sweep:
    """Do every run that is not in the store yet.

    A run is stored under a hash of its parameters and of all that `experiment` and `measure` use
    (see `versions`): their code, the data sets and values they refer to, the modules of this
    package. Neither device, executor, packing nor library versions are part of it; the run's file
    tells them. What an experiment itself reads from files is not seen; pass it in `depends`.

    How networks are packed changes results by rounding. The packs follow from the list of runs, so
    that a sweep that was broken off and one that was not pack alike; a single run that is done
    again (its file was damaged, or it had failed) is packed with those that are still missing. With
    `together=1` nothing depends on the rest.

    Args:
        experiment: takes the parameters of a run by name and returns the network to train, or the
            run's table if it is another computation. It must give the same each time: for a
            `Training` it is called once to see what can be stacked, and again where it trains.
        runs: the parameters of each run, of the same names: numbers, texts, booleans, None, tuples.
        measure: what to keep of a trained network, from the `History` of it alone and, if it takes
            a second argument, the `Training` that the experiment returned: a table of
            numbers, booleans and texts. A column named as a parameter gives way to it.
        store: folder of finished runs; in memory only where it is None. Several processes, and
            several machines that see the folder, may share it.
        executor: of `concurrent.futures`, or a client of `dask.distributed`; by default everything
            runs in this process. Functions of a notebook reach other processes by `cloudpickle`.
        together: most runs in one unit of work, which is what a kill loses; by default as many
            networks as fill the processor, and few enough that every worker has some.
        minutes: no unit is started that would, at the pace so far, not end within this time.
        depends: further things that results depend on, such as a data set that is read inside.
        progress: called with (runs done, runs in all); by default a bar with the time left.

    Returns:
        What is done, what failed and what is missing.

    Raises:
        ArgumentError: an argument is outside what is allowed; nothing has been run then.
        KeyboardInterrupt: as usual; what had finished is in the store.

    Warns:
        RuntimeWarning: runs failed; a stored run is damaged and is done again; no space is left for
            a run, which the next call will do again; locks do not work in the folder; a worker
            process died.
    """
    plan = _Plan.checked(experiment, runs, measure, depends)
    pool = _Pool(executor)
    limit = None if minutes is None else check_positive("minutes", minutes)
    limits = _Limits(None if together is None else check_positive_int("together", together), limit)
    functions = pool.ship(experiment, measure)
    held = None if store is None else Store(store)
    found = {} if held is None else held.find(plan.runs)
    if progress is None and len(found) < len(plan.runs):
        progress = machine.progress(getattr(experiment, "__name__", "sweep"), already=len(found))
    with Claims(held) as claims:
        work = _Work(plan, functions, pool, held, claims, limits, progress or _silent)
        return work.run(found)


def processes(workers: int, *, gpus: Sequence[int] = ()) -> Executor:
    """A pool of processes for `sweep`, which share the cores of this machine evenly.

    Args:
        workers: how many. In a script the sweep then stands under `if __name__ == "__main__"`.
        gpus: numbers of the GPUs, which the workers take in turn; each sees only its own.

    Raises:
        ArgumentError: no worker.
    """
    workers = check_positive_int("workers", workers)
    context = get_context("spawn")  # a fork of a process that has used threads or a GPU may hang
    threads = max(1, torch.get_num_threads() // workers)
    started = context.Value("i", 0)
    return ProcessPoolExecutor(workers, context, _start_worker, (threads, list(gpus), started))


def _start_worker(threads: int, gpus: list[int], started: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act on
    torch.set_num_threads(threads)
    with started.get_lock():
        turn, started.value = started.value, started.value + 1
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpus[turn % len(gpus)])


def _silent(done: float, total: float) -> None:
    """No progress is shown."""


# What is to be done


@dataclass(frozen=True)
class _Plan:
    """The checked runs by key, in the order in which they were given."""

    keys: list[str]  # of every run given; one that is given twice is done once
    runs: dict[str, Run]
    determined_by: list[str]

    @classmethod
    def checked(cls, experiment: Any, runs: Any, measure: Any, depends: Sequence[Any]) -> "_Plan":
        for name, function in (("experiment", experiment), ("measure", measure)):
            if not callable(function):
                raise ArgumentError(name, function, "a function")
        listed = _checked_runs(experiment, runs)
        named = {"experiment": experiment, "measure": measure}
        named |= {f"depends[{place}]": thing for place, thing in enumerate(depends)}
        lines = fingerprint.of(named)
        code = fingerprint.digest(*lines)
        keys = [key_of({"parameters": run, "determined_by": code}) for run in listed]
        return cls(keys, dict(zip(keys, listed, strict=True)), lines)


@dataclass(frozen=True)
class _Limits:
    together: int | None
    minutes: float | None
    started: float = field(default_factory=lambda: time.monotonic())

    def allow(self, seconds: float) -> bool:
        """Whether something that takes so long would end in time."""
        if self.minutes is None:
            return True
        return time.monotonic() + seconds < self.started + 60 * self.minutes


def _checked_runs(experiment: Callable, runs: Any) -> list[Run]:
    listed = list(runs) if isinstance(runs, Iterable) and not isinstance(runs, Mapping) else None
    if not listed or not all(isinstance(run, Mapping) and run for run in listed):
        raise ArgumentError("runs", runs, "at least one dict of parameters, as `grid` gives them")
    names = list(listed[0])
    for run in listed:
        if run.keys() != set(names):
            raise ArgumentError("runs", list(run), f"parameters of the same names: {names}")
        try:
            inspect.signature(experiment).bind(**run)
        except (TypeError, ValueError) as error:
            raise ArgumentError("runs", list(run), f"what the experiment takes: {error}") from None
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


# What is done in a worker


@dataclass(frozen=True)
class _Sketch:
    """What there is to train: networks of one group can be stacked."""

    group: str
    portion: int  # as many as fill the processor


@dataclass(frozen=True)
class _Outcome:
    """What became of a run: a table, or an error."""

    table: pd.DataFrame | None = None
    error: str = ""
    traceback: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def failed(cls, error: BaseException) -> "_Outcome":
        trace = "".join(traceback.format_exception(error))
        return cls(error=f"{type(error).__name__}: {error}", traceback=trace)

    @classmethod
    def of(cls, table: Any, device: torch.device | str, precision: str, **about: Any) -> "_Outcome":
        """The outcome of a run that gave a table; of a failed one where it cannot be kept."""
        if not isinstance(table, pd.DataFrame):
            raise ArgumentError("measure", type(table), "a function that returns a DataFrame")
        table = table.reset_index(drop=True)
        files.csv_of(files.check_table("table", table))  # here, so that only this run fails
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        ran_on = _environment(str(device), precision)
        return cls(table, about={**about, "finished": ended, "ran_on": ran_on})


@functools.lru_cache(maxsize=16)
def _environment(device: str, precision: str) -> dict[str, object]:
    return machine.environment(device, precision)


@dataclass(frozen=True)
class _Shipped:
    """The two functions on their way to another process; unpacked there once."""

    name: str
    content: bytes

    def unpack(self) -> tuple[Callable, Callable]:
        if self.content not in _UNPACKED:
            try:
                functions = pickle.loads(self.content)  # noqa: S301 (of the process that started us)
            except Exception as error:
                raise _unsendable(self.name, error) from error
            _UNPACKED.clear()  # the last ones only: they may hold whole data sets
            _UNPACKED[self.content] = functions
        return _UNPACKED[self.content]


_UNPACKED: dict[bytes, tuple[Callable, Callable]] = {}


def _unsendable(name: str, error: BaseException) -> ArgumentError:
    allowed = (
        "a function that other processes can load: one defined in a module that they import too, "
        f"or any if `cloudpickle` is installed ({type(error).__name__}: {error})"
    )
    return ArgumentError("experiment", name, allowed)


def _unpacked(functions: Any) -> tuple[Callable, Callable]:
    return functions.unpack() if isinstance(functions, _Shipped) else functions


def _look(functions: Any, runs: list[Run]) -> list[_Sketch | _Outcome]:
    """What the experiment wants trained for each run; its table where it is no training."""
    experiment, _ = _unpacked(functions)
    found: list[_Sketch | _Outcome] = []
    portions: dict[str, int] = {}
    for run in runs:
        made = _made(experiment, run)
        found.append(_sketch(made, portions) if isinstance(made, Training) else made)
    return found


def _do(
    functions: Any, runs: list[Run], report: Callable[[int, int], None] | None = None
) -> list[_Outcome]:
    """Do some runs, those that train stacked."""
    experiment, measure = _unpacked(functions)
    made = [_made(experiment, run) for run in runs]
    places: dict[str, list[int]] = {}
    for place, training in enumerate(made):
        if isinstance(training, Training):
            places.setdefault(_group(training), []).append(place)
    for some in places.values():
        outcomes = _train([made[place] for place in some], measure, report)
        for place, outcome in zip(some, outcomes, strict=True):
            made[place] = outcome
    return made


def _made(experiment: Callable, run: Run) -> Training | _Outcome:
    started = time.monotonic()
    try:
        made = experiment(**run)
        if isinstance(made, Training):
            return made
        if not isinstance(made, pd.DataFrame):
            raise ArgumentError("experiment", type(made), "one that returns Training or DataFrame")
        took = round(time.monotonic() - started, 3)
        return _Outcome.of(made, machine.device(), "fp32", seconds=took, together=1)
    except Exception as error:
        return _Outcome.failed(error)


def _sketch(training: Training, portions: dict[str, int]) -> _Sketch | _Outcome:
    """What there is to train; `portions` keeps the size of each group's, which takes a moment."""
    try:
        group = _group(training)
        if group not in portions:
            portions[group] = _portion(training)
        return _Sketch(group, portions[group])
    except Exception as error:
        return _Outcome.failed(error)


def _portion(training: Training) -> int:
    """As many networks as fill the processor."""
    device, settings = training.data.device, training.settings
    size, precision = settings.get("batch_size", 128), settings.get("precision", "fp32")
    shape = training.data.shape
    each = packing.networks_per_pass(training.network, shape, size, device, precision)
    return each * packing.passes_side_by_side(device)


def _group(training: Training) -> str:
    """Digest of what networks must share to be stacked."""
    data = training.data
    parts = [str(list(data.shape)), str(data.n_classes), str(data.device)]
    parts.append("all" if training.subset is None else "some")
    try:
        parts.append(fingerprint.architecture(training.network))
        shared = {k: v for k, v in training.settings.items() if k not in _OWN}
        parts += fingerprint.of(dict(sorted(shared.items())))
    except ArgumentError:  # such as a probe that holds an open file: it goes alone
        parts.append(secrets.token_hex(8))
    return fingerprint.digest(*parts)


def _train(
    trainings: list[Training],
    measure: Callable[[History], pd.DataFrame],
    report: Callable[[int, int], None] | None,
) -> list[_Outcome]:
    """Train networks of one group; where that fails, halves of them, until the guilty is alone."""
    started = time.monotonic()
    try:
        history = _fit(trainings, report)
    except Exception as error:
        if len(trainings) == 1:
            return [_Outcome.failed(error)]
        half = len(trainings) // 2
        parts = (trainings[:half], trainings[half:])
        return [outcome for part in parts for outcome in _train(part, measure, report)]
    seconds = round((time.monotonic() - started) / len(trainings), 3)
    about = {"seconds": seconds, "together": len(trainings)}
    return [_measured(t, history.only(row), measure, about) for row, t in enumerate(trainings)]


def _fit(trainings: list[Training], report: Callable[[int, int], None] | None) -> History:
    first = trainings[0]
    own = {name: [training.setting(name) for training in trainings] for name in _OWN}
    subsets = None if first.subset is None else [training.subset for training in trainings]
    return fit(
        first.network,
        [training.data for training in trainings],
        seeds=[training.seed for training in trainings],
        subsets=subsets,
        progress=report,
        **{**first.settings, **own},
    )


def _measured(
    training: Training, history: History, measure: Callable, about: Mapping[str, Any]
) -> _Outcome:
    data = training.data
    told = {"data": "; ".join([data.name, *data.steps]), **about}
    try:
        seen = (history, training)[: _arguments(measure)]
        return _Outcome.of(measure(*seen), data.device, training.setting("precision"), **told)
    except Exception as error:
        return _Outcome.failed(error)


def _arguments(measure: Callable) -> int:
    """Whether it asks for the history alone (1), or for the training, too (2)."""
    taken = inspect.signature(measure).parameters.values()
    return min(2, sum(p.default is p.empty and p.kind is not p.KEYWORD_ONLY for p in taken))


# Who does it


class _Here:
    """An executor that does everything at once, in this process."""

    def submit(self, function: Callable, *arguments: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


class _Pool:
    """Whatever executor was given, as `sweep` needs it."""

    def __init__(self, executor: Any):
        if executor is not None and not hasattr(executor, "submit"):
            allowed = "an executor of concurrent.futures, or a client of dask.distributed"
            raise ArgumentError("executor", executor, allowed)
        is_client = hasattr(executor, "get_executor")
        self.executor = executor.get_executor() if is_client else executor or _Here()
        self.own: Any = None  # a pool in place of one that broke

    @property
    def is_here(self) -> bool:
        return isinstance(self.executor, _Here)

    def workers(self) -> int:
        if self.is_here:
            return 1
        client = getattr(self.executor, "_client", None)  # dask's: workers may come and go
        if client is not None:
            return max(1, sum(client.nthreads().values()))
        return getattr(self.executor, "_max_workers", None) or os.cpu_count() or 1

    def room(self) -> int:
        """How many tasks to have under way: one more than workers, so that none waits for us."""
        return 1 if self.is_here else self.workers() + 1

    def ship(self, experiment: Callable, measure: Callable) -> Any:
        """The two functions, in a form in which they reach the workers."""
        if isinstance(self.executor, _Here | ThreadPoolExecutor):
            return experiment, measure
        name = getattr(experiment, "__qualname__", repr(experiment))
        try:
            return _Shipped(name, _pickler().dumps((experiment, measure)))
        except Exception as error:
            raise _unsendable(name, error) from error

    def renew(self) -> bool:
        """Replace a pool whose workers died by a new one like it; False where that is not known."""
        broken = self.executor
        if not isinstance(broken, ProcessPoolExecutor):
            return False
        self.close()
        kept = (broken._mp_context, broken._initializer, broken._initargs)
        self.executor = self.own = ProcessPoolExecutor(broken._max_workers, *kept)
        return True

    def close(self) -> None:
        if self.own is not None:
            self.own.shutdown(wait=False, cancel_futures=True)


def _pickler() -> Any:
    try:
        import cloudpickle
    except ImportError:
        return pickle
    return cloudpickle


@dataclass(frozen=True)
class _Task:
    keys: list[str]
    looks: bool  # to see what there is to train, or to do it
    alone: bool = False  # nothing else is under way: if the workers die, it is the reason


class _Work:
    """One call of `sweep`: what waits, what is under way, and what has come of it."""

    def __init__(
        self,
        plan: _Plan,
        functions: Any,
        pool: _Pool,
        store: Store | None,
        claims: Claims,
        limits: _Limits,
        progress: Callable[[float, float], None],
    ):
        self.plan, self.functions, self.pool, self.store = plan, functions, pool, store
        self.claims, self.limits, self.progress = claims, limits, progress
        self.done: dict[str, Entry] = {}
        self.failed: dict[str, _Outcome] = {}
        self.late: list[str] = []
        self.unsaved: dict[str, bytes] = {}
        self.trains: bool | None = None  # whether runs are trainings; None until one was looked at
        self.sketches: dict[str, _Sketch] = {}
        self.unseen: deque[list[str]] = deque()  # trainings to look at
        self.seen: list[str] = []  # looked at, and not in a unit yet
        self.units: deque[list[str]] = deque()
        self.suspects: deque[_Task] = deque()  # were under way when workers died
        self.elsewhere: list[str] = []  # claimed by others
        self.under_way: dict[Future, _Task] = {}
        self.pace: dict[str, float] = {}  # seconds a run, by group

    def run(self, found: Mapping[str, Entry]) -> Sweep:
        """Do everything, and say what has come of it."""
        self._found(found)
        self._enqueue(key for key in self.plan.runs if key not in self.done)
        self._report()
        try:
            while self._advance():
                pass
        except BaseException:
            self._keep_what_is_finished()
            raise
        finally:
            self._save_again()
            self.pool.close()
        return self._result(len(found))

    def _advance(self) -> bool:
        """Start what there is room for, and take in what has ended; False when nothing is left."""
        while len(self.under_way) < self._room() and (task := self._next()) is not None:
            self._start(task)
        if self.under_way:
            ended, _ = wait(self.under_way, return_when=FIRST_COMPLETED)
            for future in ended:
                self._take_in(future)
        elif self.elsewhere and self.limits.allow(0):
            self._look_elsewhere()
        else:
            self.late += self.elsewhere
            return False
        return True

    def _room(self) -> int:
        guarded = self.suspects or any(task.alone for task in self.under_way.values())
        return 1 if guarded else self.pool.room()

    def _start(self, task: _Task) -> None:
        runs = [self.plan.runs[key] for key in task.keys]
        more = [self._report_within(len(runs))] if self.pool.is_here and not task.looks else []
        try:
            function = _look if task.looks else _do
            self.under_way[self.pool.executor.submit(function, self.functions, runs, *more)] = task
        except BrokenExecutor as error:  # its workers died since
            self._broken(task, error)

    # What comes next

    def _enqueue(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self.trains is None or (not self.trains and key not in self.sketches):
                self.units.append([key])
            elif key in self.sketches:
                self.seen.append(key)
            else:
                self.unseen.append([key])

    def _next(self) -> _Task | None:
        if self.suspects:
            return self.suspects.popleft()
        if self.unseen:
            return _Task(self._some_unseen(), looks=True)
        if self.trains and any(task.looks for task in self.under_way.values()):
            return None  # what can be stacked is known when all have been looked at
        if self.seen:
            self.units.extend(self._packed(self.seen))
            self.seen = []
        return self._next_unit()

    def _some_unseen(self) -> list[str]:
        """A share of the runs to look at: enough of them that sending costs little."""
        share = max(1, min(50, len(self.unseen) // (4 * self.pool.workers())))
        return [key for _ in range(share) for key in self.unseen.popleft()]

    def _packed(self, keys: Iterable[str]) -> Iterator[list[str]]:
        """Units of runs that are stacked.

        All runs of a group are cut into portions, done or not, and the missing ones of a portion
        are a unit: so a sweep that was broken off between two units packs the rest as it would
        have.
        """
        waiting, groups = set(keys), {}
        for key in self.plan.runs:
            group = self._group_of(key)
            if group is not None:
                groups.setdefault(group, []).append(key)
        for members in groups.values():
            sizes = [self.sketches[key].portion for key in members if key in self.sketches]
            size = self._unit_size(sizes[0]) if sizes else 1
            for portion in _cut(members, size):
                if unit := [key for key in portion if key in waiting]:
                    yield unit

    def _group_of(self, key: str) -> str | None:
        if key in self.sketches:
            return self.sketches[key].group
        return self.done[key].about.get("group") if key in self.done else None

    def _unit_size(self, portion: int) -> int:
        if self.limits.together is not None:
            return self.limits.together
        if self.pool.is_here:
            return portion
        return min(portion, -(-len(self.plan.runs) // self.pool.workers()))

    def _next_unit(self) -> _Task | None:
        while self.units:
            unit = self.units.popleft()
            if not self.limits.allow(self._expected(unit)):
                self.late += unit
                continue
            free = self.claims.take(unit)
            self.elsewhere += [key for key in unit if key not in free]
            if free:
                return _Task(free, looks=self.trains is None)
        return None

    def _expected(self, unit: list[str]) -> float:
        """Seconds that a unit will take, at the pace seen so far."""
        known = self.pace.get(self._group_of(unit[0]) or "") or max(self.pace.values(), default=0)
        return known * len(unit)

    def _look_elsewhere(self) -> None:
        """Take what other processes have finished, and what they have given up."""
        waiting, self.elsewhere = self.elsewhere, []
        self._found(self.store.find(waiting))
        left = [key for key in waiting if key not in self.done]
        if len(left) == len(waiting):
            time.sleep(POLL)
        self._enqueue(left)
        self._report()

    # What has come of it

    def _take_in(self, future: Future) -> None:
        task = self.under_way.pop(future, None)
        if task is None:
            return
        try:
            results = future.result()
        except BrokenExecutor as error:
            self._broken(task, error)
        except ArgumentError:  # the functions do not reach the workers
            raise
        except Exception as error:
            self._lost(task, error)
        else:
            self._noted(task, results)

    def _noted(self, task: _Task, results: Sequence[_Sketch | _Outcome]) -> None:
        outcomes = {}
        for key, result in zip(task.keys, results, strict=True):
            if isinstance(result, _Sketch):
                self.sketches[key] = result
                self.seen.append(key)
            else:
                outcomes[key] = result
        self._know(task, results)
        self._keep(outcomes)
        self.claims.release(task.keys)
        self._report()

    def _know(self, task: _Task, results: Sequence[_Sketch | _Outcome]) -> None:
        """From the first run that worked: are these trainings, to be looked at and stacked?"""
        worked = [r for r in results if isinstance(r, _Sketch) or r.table is not None]
        if self.trains is None and worked:
            self.trains = isinstance(worked[0], _Sketch)
            waiting, self.units = self.units, deque()
            self._enqueue(key for unit in waiting for key in unit)
        if self.trains is False:  # a training among tables goes alone
            self.units.extend([key] for key in self.seen)
            self.seen = []

    def _keep(self, outcomes: Mapping[str, _Outcome]) -> None:
        contents = {}
        for key, outcome in outcomes.items():
            if outcome.table is None:
                self.failed[key] = outcome
                continue
            contents[key] = encode(key, outcome.table, self._about(key, outcome))
            self.done[key] = decode(contents[key])
            seconds, group = outcome.about["seconds"], self._group_of(key) or ""
            self.pace[group] = max(seconds, self.pace.get(group, 0))
        if contents and self.store is not None:
            self._save(contents)

    def _about(self, key: str, outcome: _Outcome) -> dict[str, Any]:
        sketch = self.sketches.get(key)
        about = {"parameters": self.plan.runs[key], "group": sketch and sketch.group}
        return {**about, **outcome.about, "determined_by": self.plan.determined_by}

    def _save(self, contents: Mapping[str, bytes]) -> None:
        try:
            self.store.put(contents)
        except OSError as error:
            self.unsaved |= contents
            named = self._named(contents)
            _warn(f"{named} could not be stored ({error}); kept in memory, to be stored at the end")

    def _save_again(self) -> None:
        for key, content in self.unsaved.items():
            try:
                self.store.put({key: content})
            except OSError as error:
                named = self._named([key])
                _warn(f"{named} could not be stored ({error}); the next call does it again")

    def _lost(self, task: _Task, error: Exception) -> None:
        """A whole task failed, such as by a worker that died thrice: which of its runs is it?"""
        if len(task.keys) > 1:
            self.suspects.extend(_Task([key], task.looks, alone=True) for key in task.keys)
        else:
            self._noted(task, [_Outcome.failed(error)])

    def _broken(self, task: _Task, error: BrokenExecutor) -> None:
        """The workers are dead: begin again with new ones, what was under way one by one."""
        if task.alone:
            self._lost(task, error)
        else:
            self.suspects.append(_Task(task.keys, task.looks, alone=True))
        for future in list(self.under_way):  # they have the same fate, or had just ended
            other = self.under_way.pop(future)
            wait([future])
            if future.exception() is None:
                self._noted(other, future.result())
            else:
                self.suspects.append(_Task(other.keys, other.looks, alone=True))
        _warn(f"workers died ({error}); what they worked on is done again, one by one")
        if not self.pool.renew():
            raise error

    def _keep_what_is_finished(self) -> None:
        for future in self.under_way:
            future.cancel()
        for future, task in list(self.under_way.items()):
            if future.done() and not future.cancelled() and future.exception() is None:
                self._noted(task, future.result())

    # What is told

    def _found(self, entries: Mapping[str, Entry]) -> None:
        self.done |= entries

    def _report(self) -> None:
        self.progress(len(self.done) + len(self.failed), len(self.plan.runs))

    def _report_within(self, runs: int) -> Callable[[int, int], None]:
        """For a unit that runs in this process: how far it is, as a part of all."""
        before, total = len(self.done) + len(self.failed), len(self.plan.runs)
        return lambda done, of: self.progress(before + runs * done / of, total)

    def _named(self, keys: Iterable[str]) -> str:
        return _listed([self.plan.runs[key] for key in keys])

    def _result(self, before: int) -> Sweep:
        if self.failed:
            first = next(iter(self.failed.values())).error
            _warn(f"{self._named(self.failed)} failed ({first}); see `failures`")
        missing = [self.plan.runs[key] for key in self.plan.runs if key in set(self.late)]
        return Sweep(self._table(), self._failures(), missing, before)

    def _table(self) -> pd.DataFrame:
        """Parameters beside what was measured; a measured column of the same name gives way."""
        places = [place for place, key in enumerate(self.plan.keys) if key in self.done]
        entries = [self.done[self.plan.keys[place]] for place in places]
        rows = np.repeat(places, [entry.rows for entry in entries]).astype(int)
        chosen = _parameters(self.plan).iloc[rows].reset_index(drop=True)
        measured = join(entries)
        own = [name for name in measured.columns if name not in chosen.columns]
        return chosen.join(measured[own])

    def _failures(self) -> pd.DataFrame:
        places = [place for place, key in enumerate(self.plan.keys) if key in self.failed]
        told = [self.failed[self.plan.keys[place]] for place in places]
        chosen = _parameters(self.plan).iloc[places].reset_index(drop=True)
        errors = pd.Series([outcome.error for outcome in told], dtype=str)
        traces = pd.Series([outcome.traceback for outcome in told], dtype=str)
        return chosen.assign(error=errors, traceback=traces)


def _parameters(plan: _Plan) -> pd.DataFrame:
    """One row a run given; types do not depend on which runs are done."""
    return pd.DataFrame([plan.runs[key] for key in plan.keys])


def _cut(keys: list[str], size: int) -> list[list[str]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _listed(runs: Sequence[Run]) -> str:
    """Runs by their parameters, the first ones where there are many."""
    named = ["(" + ", ".join(f"{k}={v!r}" for k, v in run.items()) + ")" for run in runs[:3]]
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return ("run " if len(runs) == 1 else f"{len(runs)} runs ") + ", ".join(named) + more


def _warn(message: str) -> None:
    """A warning at the line of the reader's call."""
    depth, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=depth)
