"""How cost grows with examples, epochs and networks, and how much memory training takes."""

import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from benchmarks import clock, workload
from memhelpers import networks
from memhelpers.data import Dataset
from memhelpers.seeding import generator
from memhelpers.training import fit

FACTORS = (1, 4, 16)
BATCH_SIZE = 128
MEMORY = ((512, 16, 0.9), (4096, 1, 0.9))  # units a layer, networks together, momentum


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Times over a factor of 16 in each of three sizes, and peak memory.

    Returns:
        `growth`: size (`examples`, `epochs`, `networks`), factor, round, seconds.
        `memory`: width, networks, `peak_bytes` above what the process held with its data, the bytes
        `needed` for parameters, gradients, velocities and activations, and `data_bytes`.
    """
    return {"growth": _growth(device, small, say), "memory": _memory(device, small, say)}


def _growth(device: str, small: bool, say: Callable[[str], None]) -> pd.DataFrame:
    name, unit = ("digits", 50) if small else ("mnist", 2500)
    rows = []
    _train(workload.data(name, unit, device), 2, 1)  # warms up
    for size in ("examples", "epochs", "networks"):
        for number in range(1 if small else 3):
            for factor in FACTORS:
                sizes = {"examples": 2, "epochs": 1, "networks": 2} | {size: 1}
                sizes[size] *= factor
                data = workload.data(name, sizes["examples"] * unit, device)
                seconds = clock.seconds(partial(_train, data, sizes["networks"], sizes["epochs"]))
                rows.append({"size": size, "factor": factor, "round": number, "seconds": seconds})
            say(f"  {size}: " + ", ".join(f"{r['seconds']:.2f} s" for r in rows[-len(FACTORS) :]))
    return pd.DataFrame(rows)


def _train(
    data: Dataset,
    members: int,
    epochs: int,
    network: nn.Module | None = None,
    momentum: float = 0.0,
) -> None:
    fit(
        network or networks.mlp(data.shape, [256, 256], data.n_classes),
        data,
        seeds=range(members),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        momentum=momentum,
        evaluate=(),
        together=members if network else None,
        workers=1 if network else None,
        keep_networks=False,
    )


def _memory(device: str, small: bool, say: Callable[[str], None]) -> pd.DataFrame:
    rows = []
    for width, members, momentum in ((64, 4, 0.9),) if small else MEMORY:
        peak, data_bytes = _peak(device, width, members, momentum, small)
        needed = _needed(width, members) + data_bytes
        rows.append(
            {
                "width": width,
                "networks": members,
                "peak_bytes": peak + data_bytes,
                "needed_bytes": needed,
                "data_bytes": data_bytes,
            }
        )
        say(f"  width {width}: {rows[-1]['peak_bytes'] / needed:.2f} of what is needed")
    return pd.DataFrame(rows)


def _needed(width: int, members: int) -> int:
    """Bytes of parameters, gradients, velocities and activations."""
    shape, classes = (1, 28, 28), 10
    network = networks.mlp(shape, [width, width], classes)
    activations = networks.dry_run(network, shape)[1] * BATCH_SIZE
    return 4 * members * (3 * networks.parameter_count(network) + activations)


def _peak(device: str, width: int, members: int, momentum: float, small: bool) -> tuple[int, int]:
    """Peak bytes above the state with the data loaded, and the bytes of the data."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:  # its own process: memory once used is not given back
        return pool.apply(_peak_here, (device, width, members, momentum, small))


def _peak_here(device: str, width: int, members: int, momentum: float, small: bool):
    data = workload.data("digits" if small else "mnist", 300 if small else 10_000, device)
    blank = torch.rand(data.train.x.shape[0], 1, 28, 28, generator=generator(0, "benchmark"))
    data = data.replace(train=type(data.train)(blank.to(device), data.train.y))
    data = data.replace(validation=data.train, test=data.train)
    _train(data, 1, 1)  # what a first call loads stays loaded
    network = networks.mlp(data.shape, [width, width], data.n_classes)
    before = _now(device)
    _train(data, members, 1, network, momentum)
    x = data.train.x
    return _most(device) - before, x.numel() * x.element_size()


def _now(device: str) -> int:
    """Bytes in use; from here on the peak is counted anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew
    return _status("VmRSS")


def _most(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def _status(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{entry}:"))
    return int(kilobytes) * 1024
