"""How members are packed: how many share one batched pass, and how many passes run side by side.

The rules are those that the benchmarks measure; they change results by rounding at most.
"""

import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from memhelpers.engine.templates import Shape, dry_run, parameter_count

_CACHED_NUMBERS = 3_000_000  # 12 MB of float32, a core's share of the last-level cache
_CACHED_NUMBERS_BF16 = 8_000_000
_GPU_NUMBERS = 2_000_000_000  # 8 GB of float32, which fits the smallest card in common use (T4)
_TURN_SECONDS = 1e-4  # Python's turn of a thread; at its default, 5 ms, cores wait for each other


class Stopped(Exception):
    """A pass was given up because another one has failed, or the user has interrupted."""


def networks_per_pass(
    network: nn.Module, shape: Shape, batch_size: int, device: torch.device, precision: str = "fp32"
) -> int:
    """How many members to train in one batched pass, for images of `shape` (C, H, W).

    On a CPU, stacking pays until the members' weights, gradients and activations outgrow the cache,
    and longer in bf16, where products are over sooner; on a GPU until memory is full, and `run`
    halves the number when that happens.
    """
    activations = dry_run(network, shape)[1]
    # Weights, gradients, velocities and a step; activations, their gradients and work space.
    numbers = 4 * parameter_count(network) + 3 * batch_size * activations
    budget = _GPU_NUMBERS
    if device.type == "cpu":
        budget = _CACHED_NUMBERS_BF16 if precision == "bf16" else _CACHED_NUMBERS
    return max(1, budget // numbers)


def passes_side_by_side(device: torch.device) -> int:
    """One a core, as cores that share a small product would wait; one on a GPU, which it fills."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def run(
    groups: Sequence[Sequence[int]],
    train: Callable[[list[int]], Any],
    *,
    together: int,
    workers: int,
    stop: Callable[[], None],
) -> list[Any]:
    """Train all members, those of a group in passes of `together`, several passes at a time.

    `train` trains some members of a group, from one of `workers` threads; what it returned for each
    pass comes back in no particular order. `together` is halved, with a warning, when memory runs
    out. After the first error of `train`, or Ctrl-C, `stop` makes the other calls raise `Stopped`.

    Raises:
        MemoryError: not even one network fits.
    """
    passes = [group[k : k + together] for group in groups for k in range(0, len(group), together)]
    waiting, limit = deque(passes), together  # what a thread takes from a deque, no other takes

    def work() -> list[Any]:
        nonlocal limit
        results: list[Any] = []
        while waiting:
            try:
                members = waiting.popleft()
            except IndexError:  # another thread was faster
                break
            if members[limit:]:
                waiting.appendleft(members[limit:])
            members = members[:limit]
            try:
                results.append(train(members))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if len(members) == 1:
                    raise MemoryError("not even one network fits; lower batch_size") from error
                waiting.appendleft(members)
                limit = min(limit, len(members) // 2)
                told = (
                    f"memory ran out with {len(members)} networks together; going on with {limit}"
                )
                warnings.warn(told, RuntimeWarning, stacklevel=4)  # at the caller of `fit`
        return results

    workers = min(workers, len(passes))
    if workers == 1:
        return work()
    with _one_core_each(workers) as pool:
        try:  # Ctrl-C may come while the first ones work and the others are not submitted yet
            working = [pool.submit(work) for _ in range(workers)]
            wait(working, return_when=FIRST_EXCEPTION)
        finally:  # all are done, one has failed, or Ctrl-C was pressed
            stop()
            waiting.clear()
    errors = [error for done in working if (error := done.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error
    return [result for done in working for result in done.result()]


@contextmanager
def _one_core_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads whose PyTorch uses one core each; the caller's has its cores back afterwards."""
    cores, turn = torch.get_num_threads(), sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1)) as pool:
            yield pool
    finally:
        sys.setswitchinterval(turn)
        torch.set_num_threads(cores)  # the threads have changed it for those to come


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    said = ("out of memory", "not enough memory", "allocate memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in said)
