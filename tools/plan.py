"""What is worth recording at the paper's scale, what it costs, and the command that records it.

    python -m tools.plan --minutes 9      (make record MINUTES=9)
    python -m tools.plan --list           what is recorded and what is missing

The experiments stand in `plan.yml`. The plan goes through them in the order of claims a minute and
stops in time; called again, it goes on where it stopped, since each finished network lies in a
store. It needs torch, torchvision, numpy, pandas and PyYAML only.
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.workload import mlp_flops
from memhelpers import claims, lab
from memhelpers.errors import DataError
from memhelpers.runs.records import Record
from tools import chapter, recording

PLAN = Path(__file__).parent / "plan.yml"
PRESET = "paper"
CLASSES = 10
DATASETS = {  # shape of an image, training images
    "digits": ((1, 8, 8), 1_200),
    "mnist": ((1, 28, 28), 50_000),
    "cifar10": ((3, 32, 32), 40_000),
}


@dataclass(frozen=True)
class Experiment:
    """One recorded run that the book would like to have.

    Attributes:
        chapter: number of the chapter, such as "02".
        about: what it is, in a few words.
        set: what departs from the paper preset.
    """

    chapter: str
    about: str
    set: Mapping[str, Any] = field(default_factory=dict)

    def path(self) -> Path:
        """Its chapter's notebook."""
        return chapter.find(self.chapter)

    def parameters(self) -> dict[str, Any]:
        """The values of its chapter's parameters cell."""
        return chapter.parameters(self.path(), self.set, preset=PRESET)

    def record(self) -> str:
        """Name of its recorded run."""
        return recording.record_name(PRESET, self.parameters()["data"], self.set)

    def claims(self) -> int:
        """How many claims are declared for its chapter."""
        return sum(claim.chapter == self.chapter for claim in claims.load().values())


@dataclass(frozen=True)
class Cost:
    """What a run costs, from a record of it or of another run of its chapter.

    Attributes:
        minutes: by the clock; NaN where nothing of the chapter is recorded.
        processor_minutes: of all cores; NaN where the record does not have them.
        device: that the record ran on.
        source: `recorded`, `scaled from <record>` or `not measured`.
    """

    minutes: float = math.nan
    processor_minutes: float = math.nan
    device: str = ""
    source: str = "not measured"


def experiments(path: Path | None = None) -> list[Experiment]:
    """The planned experiments, in the file's order."""
    return [Experiment(**entry) for entry in yaml.safe_load((path or PLAN).read_text())]


def work(parameters: Mapping[str, Any]) -> float | None:
    """FLOPs of the networks of one condition: networks x epochs x examples x `mlp_flops`.

    How many conditions there are, and what is measured, is alike within a chapter.

    Args:
        parameters: of a chapter: `data`, `epochs`, `hidden`, the `widths` of networks of two
            equal layers or the `depths` of those of one `width`, `examples` (None: all), `side`
            (None: as it is), and `networks` or `seeds`; with `channels` or a `network` it trains a
            CNN.

    Returns:
        None where the data are none of `DATASETS`, a parameter is missing, or a CNN is trained.
    """
    networks = parameters.get("networks") or parameters.get("seeds") or 1
    layers = [parameters["hidden"]] if "hidden" in parameters else []
    layers = layers or [(width, width) for width in parameters.get("widths", ())]
    layers = layers or [(parameters["width"],) * n for n in parameters.get("depths", ())]
    convolutional = parameters.get("channels") or parameters.get("network")
    if parameters.get("data") not in DATASETS or "epochs" not in parameters or convolutional:
        return None
    (channels, *sides), examples = DATASETS[parameters["data"]]
    side = parameters.get("side")
    shape = (channels, *([side, side] if side else sides))
    passes = networks * parameters["epochs"] * (parameters.get("examples") or examples)
    flops = sum(mlp_flops(shape, hidden, CLASSES) for hidden in layers)
    return float(passes * flops) or None


def cost(experiment: Experiment) -> Cost:
    """What its record says; else that of the nearest record of its chapter, scaled by `work`.

    Of several with the same work it is the one that departs least from its preset.
    """
    recorded, name = lab.recorded(experiment.path().stem), experiment.record()
    if name in recorded:
        return _scaled(recorded[name], 1, "recorded")
    needed = work(experiment.parameters())
    ratios = {
        other: needed / done
        for other, record in recorded.items()
        if needed and (done := work(record.provenance["parameters"]))
    }
    if not ratios:
        return Cost()

    def distance(other: str) -> tuple[float, int]:
        return abs(math.log(ratios[other])), len(lab.departures(recorded[other]))

    nearest = min(ratios, key=distance)
    return _scaled(recorded[nearest], ratios[nearest], f"scaled from {nearest}")


def _scaled(record: Record, ratio: float, source: str) -> Cost:
    ran = record.provenance
    minutes = (ratio * ran.get(key, math.nan) / 60 for key in ("wall_seconds", "cpu_seconds"))
    threads = f", {ran['threads']} threads" if "threads" in ran else ""
    return Cost(*minutes, f"{ran['device']}{threads}", source)


def table() -> pd.DataFrame:
    """Every experiment with its claims and its cost: one row each."""
    rows = []
    for experiment in experiments():
        costs = cost(experiment)
        rows.append(
            {
                "chapter": experiment.chapter,
                "experiment": experiment.about,
                "claims": experiment.claims(),
                "minutes": costs.minutes,
                "processor minutes": costs.processor_minutes,
                "device": costs.device,
                "cost": costs.source,
            }
        )
    return pd.DataFrame(rows)


def pending() -> list[Experiment]:
    """Those not recorded yet, the most claims a minute first; unmeasured ones last."""
    planned = {(e.path().stem, e.record()): e for e in experiments()}
    missing = {k: e for k, e in planned.items() if k[1] not in lab.recorded(k[0])}

    def value(experiment: Experiment) -> float:
        minutes = cost(experiment).minutes
        return 0.0 if math.isnan(minutes) else experiment.claims() / minutes

    return sorted(missing.values(), key=value, reverse=True)


def run(minutes: float, say: Callable[[str], None]) -> bool:
    """Record what is missing until the time is over; whether everything is recorded then.

    Args:
        minutes: the limit.
        say: takes a line of progress.
    """
    deadline = time.monotonic() + 60 * minutes
    for experiment in pending():
        if time.monotonic() > deadline:
            break
        costs = cost(experiment)
        about = "" if math.isnan(costs.minutes) else f"about {costs.minutes:.1f} minutes, "
        say(f"{experiment.chapter}, {experiment.about}: {about}{costs.source}")
        say(f"  {_record(experiment, deadline)}")
    return not pending()


def _record(experiment: Experiment, deadline: float) -> str:
    with chapter.environment({lab.DEADLINE: str(deadline)}):
        try:
            kept = chapter.record(experiment.path(), experiment.set, preset=PRESET)
        except lab.Unfinished as left:
            return f"the time is over: {left}; the next call goes on there"
        except DataError as error:
            return f"left out: {error}"
    return f"recorded as {kept.name}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.plan", description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit (default: 9)")
    parser.add_argument("--list", action="store_true", help="only show the experiments")
    given = parser.parse_args()
    if not given.minutes > 0:
        parser.error(f"minutes: given {given.minutes}; allowed: a number above 0")
    if not given.list:
        done = run(given.minutes, lambda line: print(line, flush=True))
        print("Everything is recorded." if done else "Not all is recorded yet: call it again.")
    print(table().to_string(index=False, float_format="{:.3g}".format, na_rep="none"))


if __name__ == "__main__":
    main()
