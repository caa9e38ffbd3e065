"""Run every check of the book, two at a time, and end with the sum of all of them.

    python -m tools.check

Each step computes on one core; a step that fails does not keep the next from running. The last
line reads `N passed, N failed, N skipped`, and the exit status is 1 where anything has failed.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tools import notebooks

ROOT = notebooks.ROOT
REPORTS = ROOT / "_build" / "test"
CLOSING = REPORTS / "closing-line.txt"
AT_ONCE = 2  # the machines that check this have two cores

PYTHON = (sys.executable, "-m")
PYTEST = (*PYTHON, "pytest", "--color=no")
NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600")
APART = ("tests/test_tinkering.py", "tests/test_colab.py", "tests/test_browser.py")
PROCESSES = ("tests/test_benchmarks.py", "tests/test_build.py", "tests/test_sweep_faults.py")


@dataclass(frozen=True)
class Step:
    """One command, and the names of the steps that have to end before it begins."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()


def steps() -> list[Step]:
    """List the steps in the order in which they begin: the longest first, the short ones last."""
    return [
        Step("pages", (*PYTHON, "tools.build", "--stored")),
        Step("units", (*PYTEST, "tests", *(f"--ignore={file}" for file in APART + PROCESSES))),
        Step("browser", (*PYTEST, APART[2]), after=("pages",)),
        Step("processes", (*PYTEST, *PROCESSES)),
        Step("tinkering", (*PYTEST, APART[0])),
        Step("colab", (*PYTEST, APART[1])),
        *(
            Step(f"notebook {path.stem}", (*PYTEST, *NBVAL, f"book/{path.name}"))
            for path in notebooks.paths()
        ),
        Step("lint", (*PYTHON, "ruff", "check", ".")),
        Step("format", (*PYTHON, "ruff", "format", "--check", ".")),
    ]


@dataclass
class Sum:
    """Counts of checks and the reasons of those that were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: tuple[str, ...] = ()

    def __add__(self, other: "Sum") -> "Sum":
        """Add two sums up, reasons included."""
        counts = (getattr(self, n) + getattr(other, n) for n in ("passed", "failed", "skipped"))
        return Sum(*counts, reasons=self.reasons + other.reasons)

    def __str__(self) -> str:
        """Return the closing line."""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main() -> int:
    """Run the steps, print the sum, and keep the closing line in a file."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    CLOSING.unlink(missing_ok=True)
    started = time.monotonic()
    total = run(steps())
    for reason in total.reasons:
        print(f"skipped: {reason}")
    CLOSING.write_text(f"{total}\n")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"\n{time.monotonic() - started:.0f} s, {cpu:.0f} s of processor time")
    print(f"{total}", flush=True)
    return int(total.failed > 0)


def run(waiting: Sequence[Step]) -> Sum:
    """Run steps side by side, each once those that it waits for have ended; add up their sums."""
    waiting, ended, total = list(waiting), set(), Sum()
    running: dict[Future[Sum], Step] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while waiting or running:
            ready = [step for step in waiting if ended.issuperset(step.after)]
            for step in ready[: AT_ONCE - len(running)]:
                waiting.remove(step)
                running[pool.submit(perform, step)] = step
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                ended.add(running.pop(done).name)
                total += done.result()
    return total


def perform(step: Step) -> Sum:
    """Run one step and print what it said; a step that is not a test run counts as one check."""
    report = REPORTS / f"{step.name}.xml"
    report.unlink(missing_ok=True)
    tests = "pytest" in step.command
    command = [*step.command, f"--junitxml={report}"] if tests else step.command
    started = time.monotonic()
    print(f"== {step.name}: begins", flush=True)
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    failed = int(ran.returncode != 0)
    done = summed(report, ran.returncode) if tests else Sum(passed=1 - failed, failed=failed)
    # A status below 0 is the signal that ended the step.
    status = f", exit status {ran.returncode}" if ran.returncode else ""
    took = f"{time.monotonic() - started:.0f} s"
    print(f"\n{ran.stdout}== {step.name}: {done}{status} ({took})", flush=True)
    return done


def environment() -> dict[str, str]:
    """Give each step the quick preset, one thread, and the pages made from the stored outputs."""
    settings = {
        "OMP_NUM_THREADS": "1",
        "MEMHELPERS_PRESET": "quick",
        "MEMHELPERS_STATIC": "1",
        "MEMHELPERS_HTML": str(ROOT / "_build" / "stored" / "_build" / "html"),
        "TQDM_DISABLE": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    return {**os.environ, **settings}


def summed(report: Path, status: int) -> Sum:
    """Sum up a test run; one that ends badly without a failed test counts as one failure."""
    counted = counts(report) if report.exists() else Sum()
    return counted + Sum(failed=1) if status and not counted.failed else counted


def counts(report: Path) -> Sum:
    """Read the counts and the reasons of skipped tests from a JUnit report."""
    total = Sum()
    for case in ElementTree.parse(report).iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            total += Sum(failed=1)
        elif skip is not None:
            reason = f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}"
            total += Sum(skipped=1, reasons=(reason,))
        else:
            total += Sum(passed=1)
    return total


if __name__ == "__main__":
    sys.exit(main())
