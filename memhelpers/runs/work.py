"""The work of a sweep: what waits, what is under way, and what has come of it.

A unit is some runs that are done together, in this process or by a worker; what a kill loses. Each
run is a unit of its own until one turns out to train: then all that are left are stacked.
"""

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

from memhelpers.errors import ArgumentError
from memhelpers.runs.store import Store, warn

Run = dict[str, Any]
# What became of a run: an entry of the store; or, where it raised, `error` and `traceback`; or
# nothing, where it trains and is to be stacked with others.
Outcome = dict[str, Any]


def failure(error: BaseException) -> Outcome:
    """The outcome of a run that raised."""
    trace = "".join(traceback.format_exception(error))
    return {"error": f"{type(error).__name__}: {error}", "traceback": trace}


class _Here(Executor):
    """Does everything at once, in this process."""

    _max_workers = 1

    def submit(self, function: Callable, *arguments: Any) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


def _count(executor: Executor) -> int:
    """How many of its workers work side by side."""
    client = getattr(executor, "_client", None)  # dask's: workers may come and go
    if client is not None:
        return max(1, sum(client.nthreads().values()))
    return getattr(executor, "_max_workers", None) or os.cpu_count() or 1


@dataclass
class Work:
    """Everything that is to be done, until it is.

    `done` has the entries of finished runs by key, `failed` the outcomes of those that raised.
    """

    runs: Mapping[str, Run]  # by key, in the order given
    # Gives, in a worker, the outcomes by key of a unit; takes the unit's runs, whether those that
    # train are to be stacked first, and here a callback, too.
    do: Callable[..., dict[str, Outcome]]
    # Gives the keys of each unit, for runs that may be stacked and the most that a worker gets.
    stack: Callable[[Mapping[str, Run], int], list[list[str]]]
    executor: Any  # of `concurrent.futures`, a client of Dask, or None: this process
    store: Store | None  # where finished runs are kept beyond this call
    about: Mapping[str, Any]  # what every run's file tells
    ends: float  # by the monotonic clock: until then units are started, if they would end by then

    def __post_init__(self) -> None:
        if self.executor is not None and not hasattr(self.executor, "submit"):
            allowed = "one of concurrent.futures, or Dask's client"
            raise ArgumentError("executor", self.executor, allowed)
        is_client = hasattr(self.executor, "get_executor")
        self.executor = self.executor.get_executor() if is_client else self.executor or _Here()
        self.longest = 0.0
        found = {} if self.store is None else self.store.find(self.runs)
        # Where a crash has left only some of the networks that were trained together, all of them
        # are missing: with others beside them, the rest would differ by rounding.
        lost = self.runs.keys() - found.keys()
        whole = {key for key, run in found.items() if lost.isdisjoint(run.get("trained_with", ()))}
        self.done = {key: run for key, run in found.items() if key in whole}
        self.failed: dict[str, Outcome] = {}

    @property
    def left(self) -> dict[str, Run]:
        """The runs that are neither done nor failed."""
        ended = self.done.keys() | self.failed.keys()
        return {key: run for key, run in self.runs.items() if key not in ended}

    def finish(self, progress: Callable[[float, float], None]) -> None:
        """Do everything that is not done, as long as there is time."""
        self.progress = progress
        self._report()
        if self._carry_out([[key] for key in self.left], looking=True):
            share = -(-len(self.runs) // _count(self.executor))
            self._carry_out(self.stack(self.left, share), looking=False)

    def _carry_out(self, units: list[list[str]], looking: bool) -> bool:
        """Do these units; True, and no more of them, where one turned out to train (`looking`)."""
        waiting, under_way, trains = deque(units), {}, False
        # One more than there are workers, so that none waits for us.
        room = 1 if isinstance(self.executor, _Here) else _count(self.executor) + 1
        try:
            while waiting or under_way:
                if trains or time.monotonic() + self.longest >= self.ends:
                    waiting.clear()
                while waiting and len(under_way) < room:
                    unit = waiting.popleft()
                    under_way[self._start(unit, looking)] = unit
                for future in wait(under_way, return_when="FIRST_COMPLETED")[0]:
                    outcomes = _outcomes(future, under_way.pop(future))
                    trains |= not all(outcomes.values())
                    self._keep(outcomes)
        except BrokenExecutor as error:
            told = "a worker process died; finished runs are stored: call again with a new"
            raise RuntimeError(f"{told} executor ({error})") from error
        finally:  # as after Ctrl-C, what has ended meanwhile is kept
            for future in under_way:
                if not future.cancel() and future.done() and future.exception() is None:
                    self._keep(future.result())
        return trains

    def _start(self, unit: list[str], looking: bool) -> Future:
        arguments = [{key: self.runs[key] for key in unit}, looking]
        if isinstance(self.executor, _Here):  # progress within the unit, as a part of all
            before, total = len(self.done) + len(self.failed), len(self.runs)
            share = len(unit)
            arguments.append(lambda done, of: self.progress(before + share * done / of, total))
        return self.executor.submit(self.do, *arguments)

    def _keep(self, outcomes: Mapping[str, Outcome]) -> None:
        for key, outcome in outcomes.items():
            if "error" in outcome:
                self.failed[key] = outcome
            elif outcome:
                self._save(key, outcome)
        took = sum(outcome.get("seconds", 0.0) for outcome in outcomes.values())
        self.longest = max(self.longest, took)
        self._report()

    def _save(self, key: str, outcome: Outcome) -> None:
        entry = self.done[key] = {"parameters": self.runs[key], **outcome, **self.about}
        try:
            if self.store is not None:
                self.store.put(key, entry)
        except OSError as error:
            told = f"could not be stored ({error.strerror or error}), nor may others"
            warn(f"a run {told}; the next call does them again")

    def _report(self) -> None:
        self.progress(len(self.done) + len(self.failed), len(self.runs))


def _outcomes(future: Future, unit: list[str]) -> dict[str, Outcome]:
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except Exception as error:  # functions did not arrive, or a worker of Dask died repeatedly
        return dict.fromkeys(unit, failure(error))
