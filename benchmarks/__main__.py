"""Run the benchmarks in one run, record them under `data/benchmarks/`, and print the ratios.

python -m benchmarks [fig1 stacking looking limit scale cscores critical audit live]
                     [--small] [--into FOLDER]

A record is named after device and day, so that runs on other machines and days stand beside it.
"""

import argparse
import importlib
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks import goals
from memhelpers.runs import machine
from tools import recording


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(goals.RATIOS)} (default: all)")
    parser.add_argument(
        "--small", action="store_true", help="seconds instead of minutes, no record"
    )
    parser.add_argument("--into", type=Path, help="folder of the records (default: data/)")
    given = parser.parse_args()
    unknown = set(given.names) - set(goals.RATIOS)
    if unknown:
        parser.error(f"names: given {sorted(unknown)}; allowed: {', '.join(goals.RATIOS)}")
    found = [measured(name, given) for name in given.names or goals.RATIOS]
    say("\n" + table(pd.concat(found)))
    return 0


def measured(name: str, given: argparse.Namespace) -> pd.DataFrame:
    """Run one benchmark and record it at once; returns its ratios."""
    device, started = machine.device(), time.monotonic()
    say(f"\n== {name}")
    module = importlib.import_module(f"benchmarks.{name}")
    tables = module.measure(device, given.small, say)
    tables["ratios"] = pd.DataFrame(goals.RATIOS[name](tables, device))
    if not given.small:
        took = round(time.monotonic() - started, 1)
        ran_on = recording.environment(device, "see the tables") | {"wall_seconds": took}
        run = f"{name}-{slug(ran_on)}-{datetime.now(UTC).date()}"
        where = recording.save("benchmarks", run, tables, ran_on, root=given.into, digits=6)
        say(f"   recorded in {where.name}")
    return tables["ratios"]


def slug(ran_on: dict) -> str:
    """The device in a few words: amd-epyc-2-threads."""
    threads = f"-{ran_on['threads']}-threads" if machine.device() == "cpu" else ""
    words = re.sub(r"[^A-Za-z0-9]+", "-", str(ran_on["device"]).lower()).strip("-")
    return "-".join(words.split("-")[:4]) + threads


def table(ratios: pd.DataFrame) -> str:
    """The ratios as text."""
    lines = []
    for found in ratios.itertuples():
        value = f"{found.value:.3g}"
        if found.rounds >= 3 and found.high > found.low:
            value += f" [{found.low:.3g}, {found.high:.3g}]"
        goal = f"  goal: {found.goal}: {found.met}" if found.goal else ""
        lines.append(f"{found.question:<86} {value:<22}{goal}")
    return "\n".join(lines)


def say(line: str) -> None:
    """Print at once, also into a file."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
