"""The work of a sweep: what waits, what is under way, and what has come of it.

A unit is some runs that are done together, in this process or by a worker; what a kill loses. Runs
that do not train are units of one; those that do are first looked at here, to see which can be
stacked. Nothing in this module knows what a run computes.
"""

import functools
import os
import pickle
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from memhelpers.errors import ArgumentError
from memhelpers.runs.store import Entry, Store, decode, encode, warn

POLL = 0.2  # seconds between looks at what other processes have done

Run = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        table: what it gave; None where it failed, or is to be stacked with others.
        about: how the table came about; JSON values.
        companions: places in the unit of the runs that it was trained with, itself among them.
    """

    table: pd.DataFrame | None = None
    error: str = ""
    traceback: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    companions: Sequence[int] = ()

    @classmethod
    def failed(cls, error: BaseException) -> "Outcome":
        """Of a run that raised."""
        trace = "".join(traceback.format_exception(error))
        return cls(error=f"{type(error).__name__}: {error}", traceback=trace)


class _Here(Executor):
    """Does everything at once, in this process."""

    def submit(self, function: Callable, *arguments: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


class Workers:
    """Whatever executor was given, as `Work` needs it: of `concurrent.futures`, Dask's, or None."""

    def __init__(self, executor: Any):
        if executor is not None and not hasattr(executor, "submit"):
            raise ArgumentError("executor", executor, "one of concurrent.futures, or Dask's client")
        is_client = hasattr(executor, "get_executor")
        self.executor = executor.get_executor() if is_client else executor or _Here()
        self.are_here = executor is None

    def count(self) -> int:
        """How many work side by side."""
        client = getattr(self.executor, "_client", None)  # dask's: workers may come and go
        if client is not None:
            return max(1, sum(client.nthreads().values()))
        known = 1 if self.are_here else getattr(self.executor, "_max_workers", None)
        return known or os.cpu_count() or 1

    def pack(self, functions: Any) -> Any:
        """Functions as they reach the workers, which `unpack` them.

        Raises:
            ArgumentError: they cannot be sent to other processes.
        """
        if isinstance(self.executor, _Here | ThreadPoolExecutor):
            return functions
        try:
            import cloudpickle as pickler
        except ImportError:
            pickler = pickle
        try:
            return pickler.dumps(functions)
        except Exception as error:
            allowed = "functions of modules that the workers import, too; others need `cloudpickle`"
            given = f"{type(error).__name__}: {error}"
            raise ArgumentError("experiment", given, allowed) from error


def unpack(functions: Any) -> Any:
    """What `pack` was given."""
    return _loaded(functions) if isinstance(functions, bytes) else functions


@functools.lru_cache(maxsize=1)  # the last ones only: they may hold whole data sets
def _loaded(content: bytes) -> Any:
    return pickle.loads(content)  # noqa: S301 (of the process that started us)


class Work:
    """Everything that is to be done, until it is.

    Args:
        runs: by key, in the order given.
        do: gives outcomes, in a worker, for `functions`, some runs and whether these are known to
            train; here, a callback for progress within the unit comes fourth. A single run that is
            not known to train, but does, comes back with neither a table nor an error.
        functions: see `Workers.pack`.
        look: gives, here, what a run shares with those that it can be stacked with and how many of
            them make a unit; or its outcome, where it does not train or fails.
        about: what every run's file tells.
        seconds: until which units are started, as far as they would end by then.
    """

    def __init__(
        self,
        runs: Mapping[str, Run],
        do: Callable[..., list[Outcome]],
        functions: Any,
        look: Callable[[Run], tuple[Hashable, int] | Outcome],
        workers: Workers,
        store: Store | None,
        about: Mapping[str, Any],
        seconds: float,
    ):
        self.runs, self.workers, self.store, self.about = runs, workers, store, about
        self.do, self.functions, self.look = do, functions, look
        self.ends, self.longest = time.monotonic() + seconds, 0.0
        self.done: dict[str, Entry] = {} if store is None else store.find(runs)
        self.failed: dict[str, Outcome] = {}
        self.late: list[str] = []
        self.units = deque([key] for key in runs if key not in self.done)
        self.trainings: list[str] = []  # to be looked at and stacked
        self.looked: set[str] = set()
        self.elsewhere: list[list[str]] = []  # units that other processes do
        self.under_way: dict[Future, tuple[list[str], list]] = {}  # units with their locks
        self.all_stored = True

    def finish(self, progress: Callable[[float, float], None]) -> None:
        """Do everything that is not done, as long as there is time.

        Raises:
            RuntimeError: workers died; what had finished is stored.
        """
        self.progress = progress
        self._report()
        try:
            while self._advance():
                pass
        except BaseException as error:
            self._keep_what_is_finished()
            if isinstance(error, BrokenExecutor):
                told = "a worker process died; finished runs are stored: call again with a new"
                raise RuntimeError(f"{told} executor ({error})") from error
            raise
        finally:
            if self.store is not None:
                self.store.release(self.store.held)

    def _advance(self) -> bool:
        """Start what there is room for, and take in what has ended; False when nothing is left."""
        room = 1 if self.workers.are_here else self.workers.count() + 1  # so that none waits for us
        while len(self.under_way) < room and (unit := self._next()):
            self._start(*unit)
        if self.under_way:
            for future in wait(self.under_way, return_when=FIRST_COMPLETED)[0]:
                self._take_in(future)
        elif self.elsewhere:
            time.sleep(POLL)
            self.units.extend(self.elsewhere)
            self.elsewhere = []
        return bool(self.under_way or self.units or self.trainings or self.elsewhere)

    # What comes next

    def _next(self) -> tuple[list[str], list] | None:
        """A unit with its locks; None where there is none, or what can be stacked is not known."""
        if self.trainings and self.under_way:
            return None
        if self.trainings:
            self._stack()
        while self.units:
            unit = self.units.popleft()
            if time.monotonic() + self.longest >= self.ends:
                self.late += [key for key in unit if key not in self.done]
                continue
            locks = [] if self.store is None else self.store.lock(unit)
            if locks is None:
                self.elsewhere.append(unit)
            elif left := self._left(unit):
                return left, locks
            else:
                self.store.release(locks)
        return None

    def _left(self, unit: list[str]) -> list[str]:
        """What is to be done of a unit, now that it is ours.

        Nothing where another process has done it. All of it where a crash has left only some of the
        runs that were trained together: with others beside them, the rest would differ by rounding.
        """
        if self.store is not None:
            self.done |= self.store.find(key for key in unit if key not in self.done)
        missing = [key for key in unit if key not in self.done]
        return unit if set(missing) & self._torn(unit).keys() else missing

    def _torn(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Missing runs that were trained with some of these, each with all of its unit."""
        units = [self.done[key].about["trained_with"] for key in keys if key in self.done]
        known = [unit for unit in units if self.runs.keys() >= {*unit}]
        return {key: unit for unit in known for key in unit if key not in self.done}

    def _stack(self) -> None:
        """Look at all that waits, and make units of what can be stacked."""
        units = [self.trainings, *self.units, *self.elsewhere]
        waiting = {key for unit in units for key in unit} - self.done.keys()
        self.trainings, self.units, self.elsewhere = [], deque(), []
        torn, groups = self._torn(self.done), {}
        for key in [key for key in self.runs if key in waiting]:
            self.looked.add(key)
            if key in torn:
                groups[tuple(torn[key])] = (len(torn[key]), torn[key])
                continue
            seen = self.look(self.runs[key])
            if isinstance(seen, Outcome):
                self._keep([key], [seen])
            else:
                groups.setdefault(seen[0], (seen[1], []))[1].append(key)
        for size, keys in groups.values():
            self.units += [keys[start : start + size] for start in range(0, len(keys), size)]

    def _start(self, unit: list[str], locks: list) -> None:
        runs, stacked = [self.runs[key] for key in unit], not self.looked.isdisjoint(unit)
        arguments = [self.functions, runs, stacked]
        if self.workers.are_here:
            arguments.append(self._report_within(len(runs)))
        self.under_way[self.workers.executor.submit(self.do, *arguments)] = unit, locks

    # What has come of it

    def _take_in(self, future: Future) -> None:
        unit, locks = self.under_way.pop(future)
        self._keep(unit, self._outcomes(future, len(unit)))
        if self.store is not None:
            self.store.release(locks)

    def _outcomes(self, future: Future, runs: int) -> list[Outcome]:
        try:
            return future.result()
        except BrokenExecutor:
            raise
        except Exception as error:  # functions did not arrive, or a worker of Dask died repeatedly
            return [Outcome.failed(error)] * runs

    def _keep(self, unit: list[str], outcomes: Sequence[Outcome]) -> None:
        for key, outcome in zip(unit, outcomes, strict=True):
            if outcome.error:
                self.failed[key] = outcome
            elif outcome.table is None:
                self.trainings.append(key)
            elif key not in self.done:
                worked = [unit[p] for p in outcome.companions if outcomes[p].table is not None]
                self._save(key, outcome, {"trained_with": worked})
        took = [outcome.about["seconds"] for outcome in outcomes if outcome.table is not None]
        self.longest = max(self.longest, sum(took))
        self._report()

    def _save(self, key: str, outcome: Outcome, about: Mapping[str, Any]) -> None:
        about = {"parameters": self.runs[key], **outcome.about, **about, **self.about}
        content = encode(key, outcome.table, about)
        self.done[key] = decode(content)
        try:
            if self.store is not None:
                self.store.put(key, content)
        except OSError as error:
            if self.all_stored:
                told = "could not be stored, nor may others; the next call does them again"
                warn(f"{named([self.runs[key]])} {told} ({error})")
            self.all_stored = False

    def _keep_what_is_finished(self) -> None:
        for future in self.under_way:
            future.cancel()
        for future, (unit, _) in self.under_way.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                self._keep(unit, future.result())

    def _report(self) -> None:
        self.progress(len(self.done) + len(self.failed), len(self.runs))

    def _report_within(self, runs: int) -> Callable[[int, int], None]:
        """For a unit that is done in this process: how far it is, as a part of all."""
        before, total = len(self.done) + len(self.failed), len(self.runs)
        return lambda done, of: self.progress(before + runs * done / of, total)


def named(runs: Sequence[Run]) -> str:
    """The first of some runs by its parameters, and how many they are."""
    first = "(" + ", ".join(f"{name}={value!r}" for name, value in runs[0].items()) + ")"
    return f"run {first}" if len(runs) == 1 else f"{len(runs)} runs such as {first}"
