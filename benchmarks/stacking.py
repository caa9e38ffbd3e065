"""Where stacking wins: networks trained per second against how many are trained together."""

from collections.abc import Callable
from itertools import count

import pandas as pd
import torch
from torch import nn

from benchmarks import clock
from memhelpers import networks
from memhelpers.data import Dataset, Part
from memhelpers.engine import packing
from memhelpers.seeding import generator
from memhelpers.training import fit

MEMBERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
BATCH_SIZE = 128
BATCHES = {"2 x 64": 8, "2 x 512": 6, "2 x 4096": 2, "paper's CNN": 1}  # of an epoch
ONE_BY_ONE, STACKED, CHOSEN = "one after another", "one stack", "as chosen"
PATIENCE = 1.0  # seconds that one measurement may be expected to take


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Rates of three ways to train M networks, for M from 1 to 512 as far as memory and time go.

    Returns:
        `rates`: network, members, way, round, `updates_per_second` (of all members together).
        `chosen`: what `packing` chooses for each network.
    """
    rows, chosen = [], []
    for name, batches in BATCHES.items():
        network, data = _network_and_data(name, batches, device)
        together = packing.networks_per_pass(network, data.shape, BATCH_SIZE, data.device)
        workers = packing.passes_side_by_side(data.device)
        chosen.append({"network": name, "together": together, "workers": workers})
        rows += _rates(name, network, data, small, say)
        if small:
            break
    return {"rates": pd.DataFrame(rows), "chosen": pd.DataFrame(chosen)}


def _network_and_data(name: str, batches: int, device: str) -> tuple[nn.Module, Dataset]:
    """Noise for images: what they show does not change the time."""
    shape = (3, 32, 32) if "CNN" in name else (1, 28, 28)
    draws = generator(0, "benchmark")
    x = torch.rand(batches * BATCH_SIZE, *shape, generator=draws)
    y = torch.randint(10, (len(x),), generator=draws)
    part, none = Part(x, y), Part(x[:0], y[:0])
    names = tuple(map(str, range(10)))
    data = Dataset("noise", part, none, none, names, "as given").to(device)
    if "CNN" in name:
        return networks.paper_cnn(shape, 10), data
    width = int(name.split()[-1])
    return networks.mlp(shape, [width, width], 10), data


def _rates(name: str, network: nn.Module, data: Dataset, small: bool, say: Callable) -> list[dict]:
    rows, dropped = [], set()
    for members in MEMBERS[: 2 if small else None]:
        packed = {
            ONE_BY_ONE: {"together": 1, "workers": 1},
            STACKED: {"together": members, "workers": 1},
            CHOSEN: {},
        }
        packed = {way: how for way, how in packed.items() if way not in dropped}
        if not packed:
            break
        for number in range(1 if small else 3):
            for way, how in packed.items():
                took = _seconds(network, data, members, how)
                updates = members * len(data.train) / BATCH_SIZE
                row = {"network": name, "members": members, "way": way, "round": number}
                rows.append({**row, "updates_per_second": updates / took})
                if 2 * took > PATIENCE:  # twice the members take at least twice as long
                    dropped.add(way)
        say(f"  {name}, {members} members: " + _line(rows[-len(packed) :]))
    return rows


def _seconds(network: nn.Module, data: Dataset, members: int, how: dict) -> float:
    """Time of one epoch, without drawing the initial weights: some epochs less one."""

    def train(epochs: int) -> None:
        fit(
            network,
            data,
            seeds=range(members),
            epochs=epochs,
            batch_size=BATCH_SIZE,
            learning_rate=0.01,
            evaluate=(),
            keep_networks=False,
            **how,
        )

    for epochs in count(3):  # more, where an epoch takes too little time to be measured
        longer, shorter = clock.seconds(lambda: train(epochs)), clock.seconds(lambda: train(1))  # noqa: B023
        if longer > 1.3 * shorter or epochs == 8:
            return max(longer - shorter, 1e-6) / (epochs - 1)
    raise AssertionError


def _line(rows: list[dict]) -> str:
    return ", ".join(f"{row['way']} {row['updates_per_second']:.0f}/s" for row in rows)
