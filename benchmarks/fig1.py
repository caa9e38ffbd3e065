"""The workload of the paper's Fig. 1: 100 networks of 2 x 512 units, one epoch over 10,000 images.

Five ways in one run, in turn: PyTorch with a `DataLoader`, PyTorch with everything in memory, JAX
with `vmap`, JAX one after another, and this package.
"""

from collections.abc import Callable
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
BASE = "PyTorch, DataLoader, one after another"
VMAP, SCAN = "JAX, jit + scan + vmap", "JAX, jit + scan, one after another"
OWN, OWN_BF16 = "memhelpers, fp32", "memhelpers, bf16"


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Times and accuracies of all ways.

    Args:
        device: `cpu` or `cuda`.
        small: a workload for a test of the benchmark itself.
        say: takes a line of progress.

    Returns:
        `times`: way, round, seconds. `accuracies`: way, network, accuracy on the test part.
        `work`: FLOPs of the workload and the machine's measured product rates.
    """
    data = workload.data("digits" if small else "mnist", 300 if small else 10_000, device)
    seeds = range(4 if small else 100)
    ways = all_ways(data, seeds)
    # The first call of each way warms it up, and its networks are those that are judged.
    accuracies = [_accuracies(name, way.judge(way.train())) for name, way in ways.items()]
    times = clock.in_turn({k: way.train for k, way in ways.items()}, 1 if small else 3, say)
    examples = len(seeds) * len(data.train)
    work = {
        "networks": len(seeds),
        "flops": networks.mlp_flops(data.shape, HIDDEN, data.n_classes) * examples,
        "peak_fp32": workload.product_peak(device, torch.float32),
        "peak_bf16": workload.product_peak(device, torch.bfloat16),
    }
    return {
        "times": times,
        "accuracies": pd.concat(accuracies, ignore_index=True),
        "work": pd.DataFrame([work]),
    }


class Way(NamedTuple):
    """One way to train all networks, and to find the test accuracy of each afterwards."""

    train: Callable[[], Any]
    judge: Callable[[Any], list[float]]


def all_ways(data: Dataset, seeds: range) -> dict[str, Way]:
    """The ways by name; the first is what the others are compared with."""
    loader = plain_torch.from_a_loader(data, BATCH_SIZE)
    memory = plain_torch.from_memory(data, BATCH_SIZE)
    return {
        BASE: _torch(data, seeds, loader),
        "PyTorch, in memory, one after another": _torch(data, seeds, memory),
        "PyTorch, in memory, bf16 autocast": _torch(data, seeds, memory, bf16=True),
        **_jax(data, seeds),
        OWN: _own(data, seeds, "fp32"),
        OWN_BF16: _own(data, seeds, "bf16"),
    }


def _torch(data: Dataset, seeds: range, batches: Callable, bf16: bool = False) -> Way:
    train = partial(
        plain_torch.train,
        lambda: networks.mlp(data.shape, HIDDEN, data.n_classes),
        data,
        batches,
        seeds=seeds,
        epochs=1,
        learning_rate=LEARNING_RATE,
        bf16=bf16,
    )
    return Way(train, lambda trained: plain_torch.accuracies(trained, data))


def _jax(data: Dataset, seeds: range) -> dict[str, Way]:
    trainer = plain_jax.Trainer(data, HIDDEN, BATCH_SIZE, LEARNING_RATE)

    def judge_all(weights: plain_jax.Weights) -> list[float]:
        return trainer.accuracies(plain_jax.unstacked(weights), data)

    return {
        VMAP: Way(partial(trainer.all_at_once, seeds), judge_all),
        SCAN: Way(
            partial(trainer.one_after_another, seeds),
            lambda trained: trainer.accuracies(trained, data),
        ),
    }


def _own(data: Dataset, seeds: range, precision: str) -> Way:
    train = partial(
        fit,
        networks.mlp(data.shape, HIDDEN, data.n_classes),
        data,
        seeds=seeds,
        epochs=1,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        evaluate=(),
        precision=precision,
    )

    def judge(history: History) -> list[float]:
        right = predict(history.ensemble, data.test.x).argmax(-1) == data.test.y
        return right.float().mean(1).tolist()

    return Way(train, judge)


def _accuracies(way: str, accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"way": way, "network": range(len(accuracies)), "accuracy": accuracies})
