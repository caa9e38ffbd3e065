"""The command that runs every check: order, failures, and the closing line."""

import sys
import threading
from pathlib import Path

import pytest

from tools import check
from tools.check import Step, Sum

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="bad"><failure/></testcase>
<testcase classname="a" name="broken"><error/></testcase>
<testcase classname="a" name="left"><skipped message="no data"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def begun(monkeypatch) -> list[str]:
    """Names of the steps in the order in which they begin; none is run, those named bad fail."""
    names: list[str] = []

    def perform(step: Step) -> Sum:
        names.append(step.name)
        return Sum(failed=1) if "bad" in step.name else Sum(passed=1)

    monkeypatch.setattr(check, "perform", perform)
    return names


def test_a_step_begins_after_those_it_waits_for_also_where_they_fail(begun):
    waiting = [Step("last", (), after=("bad", "other")), Step("bad", ()), Step("other", ())]
    assert check.run(waiting) == Sum(passed=2, failed=1)
    assert sorted(begun[:2]) == ["bad", "other"]
    assert begun[2] == "last"


def test_two_steps_run_side_by_side(monkeypatch):
    both = threading.Barrier(2, timeout=30)

    def perform(step: Step) -> Sum:
        both.wait()
        return Sum(passed=1)

    monkeypatch.setattr(check, "perform", perform)
    assert check.run([Step("one", ()), Step("two", ())]) == Sum(passed=2)


def test_every_step_waits_for_steps_that_exist_and_every_test_is_in_one():
    steps = check.steps()
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    assert all(set(step.after) <= set(names) for step in steps)
    apart = check.APART + check.PROCESSES
    assert sorted(w for step in steps for w in step.command if w in apart) == sorted(apart)


@pytest.fixture
def reports(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(check, "REPORTS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("code", "sum_"), [("0", Sum(passed=1)), ("3", Sum(failed=1))])
def test_a_step_without_tests_counts_as_one_check(code, sum_, reports, capsys):
    exits = Step("exits", (sys.executable, "-c", f"print('heard'); raise SystemExit({code})"))
    assert check.perform(exits) == sum_
    assert "heard" in capsys.readouterr().out


def test_a_test_run_that_dies_counts_as_a_failure(reports):
    dies = (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)", "pytest")
    assert check.perform(Step("dies", dies)) == Sum(failed=1)


def test_counts_and_reasons_come_from_the_report(tmp_path):
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    total = check.counts(path)
    assert str(total) == "1 passed, 2 failed, 1 skipped"
    assert total.reasons == ("a.left: no data",)
