"""Run every check of the book, one after another, and end with the sum of all of them.

    python -m tools.check

A step that fails does not keep the next from running. The last line reads
`N passed, N failed, N skipped`, and the exit status is 1 where anything has failed.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "_build" / "test"
CLOSING = REPORTS / "closing-line.txt"

PYTHON = [sys.executable, "-m"]
LATER = ["tests/test_tinkering.py", "tests/test_colab.py", "tests/test_browser.py"]
TWO = ["-n", "2", "--dist", "loadscope"]  # the machines that check this have two cores
NBVAL = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600"]

STEPS = {
    "lint": [*PYTHON, "ruff", "check", "."],
    "format": [*PYTHON, "ruff", "format", "--check", "."],
    "units": [*PYTHON, "pytest", *TWO, "tests", *(f"--ignore={file}" for file in LATER)],
    "book": [*PYTHON, "tools.build"],
    "notebooks": [*PYTHON, "pytest", *TWO, *NBVAL, "book"],
    "tinkering": [*PYTHON, "pytest", "-n", "2", *LATER[:2]],
    "browser": [*PYTHON, "pytest", LATER[2]],
}


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
    total = Sum()
    for name, command in STEPS.items():
        started = time.monotonic()
        print(f"\n== {name}", flush=True)
        done = step(name, command)
        print(f"== {name}: {done} ({time.monotonic() - started:.0f} s)", flush=True)
        total += done
    for reason in total.reasons:
        print(f"skipped: {reason}")
    CLOSING.write_text(f"{total}\n")
    print(f"\n{total}", flush=True)
    return int(total.failed > 0)


def step(name: str, command: list[str]) -> Sum:
    """Run one step; a step that is not a test run counts as one check."""
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    tests = "pytest" in command
    asked = [*command, f"--junitxml={report}"] if tests else command
    status = subprocess.run(asked, cwd=ROOT, env=environment(name), stdin=subprocess.DEVNULL)
    if status.returncode:
        print(f"== {name}: exit status {status.returncode}")  # negative: ended by a signal
    if not tests:
        return Sum(failed=1) if status.returncode else Sum(passed=1)
    counted = counts(report) if report.exists() else Sum()
    broken = status.returncode != 0 and counted.failed == 0
    return counted + Sum(failed=1) if broken else counted


def environment(name: str) -> dict[str, str]:
    """Give the step the quick preset; where two processes share the cores, one thread to each."""
    threads = {} if name in ("book", "browser") else {"OMP_NUM_THREADS": "1"}
    static = {"MEMHELPERS_PRESET": "quick", "MEMHELPERS_STATIC": "1", "TQDM_DISABLE": "1"}
    return {**os.environ, **threads, **static, "PYTHONFAULTHANDLER": "1"}


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
