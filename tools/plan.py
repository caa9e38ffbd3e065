"""What is worth recording at the paper's scale, what it costs, and the command that records it.

    python -m tools.plan --minutes 9      (make record MINUTES=9)

Goes through the experiments in the order of their value a minute and stops in time; called again,
it goes on where it stopped, since each finished network lies in a store. It needs torch,
torchvision, numpy and pandas only.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from memhelpers import lab
from memhelpers.errors import DataError
from memhelpers.networks import Shape, mlp_flops
from memhelpers.runs import records
from tools import chapter

MNIST = (1, 28, 28)  # shape of an image

# What a device does in float32 with the networks of this book, in FLOP/s, and how long one update
# of one batched pass takes at least, in seconds. The CPU's are measured (see the page "How fast");
# the others are estimates that await a measurement.
DEVICES = {"2 CPU cores": (2.5e11, 1.5e-4), "T4": (4e12, 1.5e-3), "H200": (3e13, 1e-3)}


@dataclass(frozen=True)
class Experiment:
    """One recorded run that the book would like to have.

    Attributes:
        chapter: number of the chapter, such as "02".
        about: what it is, in a few words.
        claims: how many claims it judges; its value.
        networks: how many are trained.
        updates: of each network, at most.
        flops: floating-point operations of all, at most.
        at_once: networks in one batched pass, as a GPU holds them.
        share: of a device's rate that it reaches; little where it moves memory most of the time.
        settings: what departs from the paper preset.
    """

    chapter: str
    about: str
    claims: int
    networks: int
    updates: int
    flops: float
    at_once: int
    share: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def minutes(self, device: str) -> float:
        """Estimated minutes on one of `DEVICES`; an upper bound where networks may stop early."""
        rate, update = DEVICES[device]
        together = 1 if "CPU" in device else self.at_once
        passes = -(-self.networks // together)
        return max(self.flops / (self.share * rate), passes * self.updates * update) / 60

    def record(self) -> str:
        """Name of its recorded run."""
        return lab.record_name("paper", self.settings.get("data", "mnist"), self.settings)


def _fitting() -> Experiment:
    networks, epochs, examples = 10 * 10, 300, 50_000  # ten conditions, ten seeds
    flops = networks * epochs * examples * mlp_flops(MNIST, (512, 512), 10)
    return Experiment(
        "01", "fitting noise, MNIST", 7, networks, epochs * examples // 100, flops, 100
    )


def _easy(shape: Shape, examples: int, width: int, **settings: Any) -> Experiment:
    networks = 300
    flops = networks * examples * mlp_flops(shape, (width, width), 10)
    data = "MNIST" if shape == MNIST else "CIFAR-10"
    about = f"easy examples, {data}, 2 x {width} units"
    if "precision" in settings:
        about += f", {settings['precision']}"
    return Experiment("02", about, 6, networks, -(-examples // 128), flops, 50, settings=settings)


def _sensitivity(number: str, about: str, conditions: int, times: int, parts: int) -> Experiment:
    networks, updates, batch_size = 10 * conditions, 1500, 100
    # Going back, half of the adjoints are under way on average; each costs about two updates.
    backward = updates * times / 2 * parts * 2 * batch_size * mlp_flops((1, 14, 14), (16, 16), 10)
    return Experiment(number, about, 5, networks, updates, networks * backward, 10, 0.03)


EXPERIMENTS = (
    _sensitivity("04", "loss sensitivity, MNIST", 3, 40, 1),
    _sensitivity("05", "loss sensitivity by class, MNIST", 2, 12, 10),
    _easy(MNIST, 50_000, 512, hidden=(512, 512)),
    _easy(MNIST, 50_000, 512, hidden=(512, 512), precision="bf16"),
    _easy(MNIST, 50_000, 4096),
    _easy((3, 32, 32), 40_000, 4096, data="cifar10"),
    _fitting(),
)


def table() -> pd.DataFrame:
    """Every experiment with its cost, estimated and measured: one row each.

    Columns: chapter, experiment, networks, updates (of each), PFLOP, estimated minutes on each of
    `DEVICES`, and what the recorded run took, on what.
    """
    rows = []
    for experiment in EXPERIMENTS:
        row = {
            "chapter": experiment.chapter,
            "experiment": experiment.about,
            "networks": experiment.networks,
            "updates": experiment.updates,
            "PFLOP": experiment.flops / 1e15,
        }
        row |= {f"minutes, {name}": experiment.minutes(name) for name in DEVICES}
        rows.append(row | {"recorded": _recorded(experiment)})
    return pd.DataFrame(rows)


def _recorded(experiment: Experiment) -> str:
    stem = chapter.find(experiment.chapter).stem
    if experiment.record() not in records.available(stem):
        return "not yet"
    ran = records.load(stem, experiment.record()).provenance
    return f"{ran['wall_seconds'] / 60:.1f} min, {ran['device']}, {ran['threads']} threads"


def pending(device: str) -> list[Experiment]:
    """Those not recorded yet, the most claims a minute first."""
    missing = [e for e in EXPERIMENTS if _recorded(e) == "not yet"]
    return sorted(missing, key=lambda e: -e.claims / e.minutes(device))


def run(minutes: float, device: str, say: Callable[[str], None]) -> bool:
    """Record what is missing until the time is over; whether everything is recorded then.

    Args:
        minutes: the limit.
        device: of `DEVICES`, to order by.
        say: takes a line of progress.
    """
    deadline = time.monotonic() + 60 * minutes
    for experiment in pending(device):
        if time.monotonic() > deadline:
            break
        say(f"{experiment.chapter}, {experiment.about}: about {experiment.minutes(device):.1f} min")
        say(f"  {_run(experiment, deadline)}")
    return not pending(device)


def _run(experiment: Experiment, deadline: float) -> str:
    environment = {
        lab.PRESET: "paper",
        lab.RECORD: "1",
        lab.OVERRIDES: json.dumps(dict(experiment.settings)),
        lab.DEADLINE: str(deadline),
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        chapter.run(chapter.find(experiment.chapter), experiment.settings)
    except lab.Unfinished as left:
        return f"the time is over: {left}; the next call goes on there"
    except DataError as error:
        return f"left out: {error}"
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return f"recorded as {experiment.record()}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.plan", description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit (default: 9)")
    parser.add_argument("--list", action="store_true", help="only show the experiments")
    given = parser.parse_args()
    if given.minutes <= 0:
        parser.error(f"minutes: given {given.minutes}; allowed: a number above 0")
    if not given.list:
        device = "H200" if lab.device() == "cuda" else "2 CPU cores"
        done = run(given.minutes, device, lambda line: print(line, flush=True))
        print("Everything is recorded." if done else "Not all is recorded yet: call it again.")
    print(table().to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
