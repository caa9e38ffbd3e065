"""The workload of the paper's Fig. 1: 100 networks of 2 x 512 units, one epoch over 10,000 images.

Nine ways in one run, in turn: PyTorch with a `DataLoader`, with everything in memory, and with
bfloat16 autocast; JAX with `vmap` and one after another, and this package, each in float32 and in
bfloat16. What the ratio to the `DataLoader` depends on is measured beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch

from benchmarks import clock, plain_jax, plain_torch, workload
from memhelpers import networks
from memhelpers.data import Dataset
from memhelpers.engine.ensemble import predict
from memhelpers.training import History, fit

HIDDEN = (512, 512)
BATCH_SIZE, LEARNING_RATE = 128, 0.1
PRECISIONS = ("fp32", "bf16")
DATALOADER = "PyTorch, DataLoader, one after another"
AUTOCAST = "PyTorch, in memory, bf16 autocast"
VMAP = {p: f"JAX, jit + scan + vmap, {p}" for p in PRECISIONS}
SCAN = {p: f"JAX, jit + scan, one after another, {p}" for p in PRECISIONS}
OWN = {p: f"memhelpers, {p}" for p in PRECISIONS}

# One thing at a time otherwise than in the workload; `threads` are cores on a CPU.
VARIED = (
    {},
    {"threads": 1},
    {"width": 64},
    {"width": 2048},
    {"batch_size": 32},
    {"batch_size": 512},
    {"side": 14},  # pixels of an image
)


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Times and accuracies of all ways.

    Args:
        device: `cpu` or `cuda`.
        small: a workload for a test of the benchmark itself.
        say: takes a line of progress.

    Returns:
        `times`: way, round, seconds. `accuracies`: way, network, accuracy on the test part.
        `work`: FLOPs of the workload and the machine's measured product rates, FLOP/s.
        `varied`: how many times as fast as the `DataLoader` loop this package is, by what is
        changed and precision, with the interval.
    """
    data = workload.data("digits" if small else "mnist", 600 if small else 10_000, device)
    seeds, rounds = range(3 if small else 100), 1 if small else 3
    ways = all_ways(data, seeds, 16 if small else BATCH_SIZE, say)
    # The first call of each way warms it up, and its networks are those that are judged.
    accuracies = [_accuracies(name, way.judge(way.train())) for name, way in ways.items()]
    times = clock.in_turn({name: way.train for name, way in ways.items()}, rounds, say)
    changes = VARIED[:2] if small else VARIED if device == "cpu" else VARIED[:1] + VARIED[2:]
    varied = [_against_the_loop(change, device, small, rounds, say) for change in changes]
    return {
        "times": times,
        "accuracies": pd.concat(accuracies, ignore_index=True),
        "work": pd.DataFrame([_work(data, len(seeds), device, small)]),
        "varied": pd.concat(varied, ignore_index=True),
    }


def _work(data: Dataset, members: int, device: str, small: bool) -> dict[str, float]:
    """FLOPs of all networks, and what a large product reaches; by library where there are two."""
    fp32, bf16 = (
        workload.product_rates(device, dtype, small) for dtype in (torch.float32, torch.bfloat16)
    )
    return {
        "networks": members,
        "flops": workload.mlp_flops(data.shape, HIDDEN, data.n_classes) * members * len(data.train),
        "peak_fp32": max(fp32.values()),
        "peak_bf16": max(bf16.values()),
        **{f"fp32_{library}": rate for library, rate in fp32.items()},
    }


class Way(NamedTuple):
    """One way to train all networks, and to find the test accuracy of each afterwards."""

    train: Callable[[], Any]
    judge: Callable[[Any], list[float]]


def all_ways(
    data: Dataset, seeds: range, batch_size: int, say: Callable[[str], None]
) -> dict[str, Way]:
    """The ways by name; the first is what the others are compared with."""
    memory = plain_torch.from_memory(data, batch_size)
    ways = {
        DATALOADER: _torch(data, seeds, plain_torch.from_a_loader(data, batch_size)),
        "PyTorch, in memory, one after another": _torch(data, seeds, memory),
        AUTOCAST: _torch(data, seeds, memory, bf16=True),
    }
    if plain_jax.is_on(device := data.device.type):
        for precision in PRECISIONS:
            ways |= _jax(data, seeds, precision, batch_size)
    else:
        say(f"  JAX is left out: it does not see the {device}")
    return ways | {OWN[p]: _own(data, seeds, p, batch_size) for p in PRECISIONS}


def _torch(
    data: Dataset,
    seeds: range,
    batches: Callable,
    bf16: bool = False,
    hidden: Sequence[int] = HIDDEN,
) -> Way:
    train = partial(
        plain_torch.train,
        lambda: networks.mlp(data.shape, hidden, data.n_classes),
        data,
        batches,
        seeds=seeds,
        epochs=1,
        learning_rate=LEARNING_RATE,
        bf16=bf16,
    )
    return Way(train, lambda trained: plain_torch.accuracies(trained, data))


def _jax(data: Dataset, seeds: range, precision: str, batch_size: int) -> dict[str, Way]:
    trainer = plain_jax.Trainer(data, HIDDEN, batch_size, LEARNING_RATE, precision)

    def judge_all(weights: plain_jax.Weights) -> list[float]:
        return trainer.accuracies(plain_jax.unstacked(weights), data)

    return {
        VMAP[precision]: Way(partial(trainer.all_at_once, seeds), judge_all),
        SCAN[precision]: Way(
            partial(trainer.one_after_another, seeds),
            lambda trained: trainer.accuracies(trained, data),
        ),
    }


def _own(
    data: Dataset,
    seeds: range,
    precision: str,
    batch_size: int,
    hidden: Sequence[int] = HIDDEN,
) -> Way:
    train = partial(
        fit,
        networks.mlp(data.shape, hidden, data.n_classes),
        data,
        seeds=seeds,
        epochs=1,
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        evaluate=(),
        precision=precision,
    )

    def judge(history: History) -> list[float]:
        right = predict(history.ensemble, data.test.x).argmax(-1) == data.test.y
        return right.float().mean(1).tolist()

    return Way(train, judge)


def _against_the_loop(
    change: Mapping[str, int], device: str, small: bool, rounds: int, say: Callable[[str], None]
) -> pd.DataFrame:
    """Times as fast as the `DataLoader` loop, in a smaller workload with one thing changed."""
    setting = {"width": HIDDEN[0], "batch_size": BATCH_SIZE, "side": None} | dict(change)
    examples, seeds = (100, range(2)) if small else (2000, range(16))
    data = workload.data("digits" if small else "mnist", examples, device, setting["side"])
    hidden, batch_size = (setting["width"],) * 2, setting["batch_size"]
    loader = plain_torch.from_a_loader(data, batch_size)
    ways = {DATALOADER: _torch(data, seeds, loader, hidden=hidden).train}
    ways |= {OWN[p]: _own(data, seeds, p, batch_size, hidden).train for p in PRECISIONS}
    name = ", ".join(f"{key} {value}" for key, value in change.items()).replace("_", " ")
    name = name or "nothing changed"
    say(f"  {name}")
    with workload.threads(change.get("threads")):
        for train in ways.values():
            train()
        times = clock.in_turn(ways, rounds, say)
    rows = []
    for precision in PRECISIONS:
        found = clock.ratio(times, DATALOADER, OWN[precision])
        bounds = {"estimate": found.estimate, "low": found.low, "high": found.high}
        rows.append({"changed": name, "precision": precision, **bounds})
    return pd.DataFrame(rows)


def _accuracies(way: str, accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"way": way, "network": range(len(accuracies)), "accuracy": accuracies})
