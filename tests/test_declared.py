"""Claims are declared before they are measured: the history of the repository shows it.

What decides a claim (direction, threshold and number of seeds) has not changed since before the
first of the recorded runs that it judges, or the claim says `added_after_data`.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tools import declared
from tools.notebooks import ROOT

CLAIMS = declared.by_id((ROOT / declared.FILE).read_text(encoding="utf-8"))
CLAIM = {"id": "C1", "chapter": "01", "direction": "above", "threshold": 1, "seeds": 5}
DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 3)]


@pytest.fixture(scope="module")
def versions() -> list[declared.Version]:
    if not declared.is_complete(ROOT):
        pytest.skip("the history of the repository is not here")
    return declared.history(ROOT)


def judged_too_early(claim: dict, versions: list[declared.Version], data: Path) -> str:
    """Why a claim is not older than the first run that it judges; empty where it is."""
    recorded = declared.first_record(data, claim["chapter"])
    if recorded is None or claim.get("added_after_data"):
        return ""
    since = declared.fixed(claim, versions)
    if since is None:
        return "commit the claim before it is measured"
    first = f"fixed at {since.written}, first measured at {recorded}"
    return "" if since.written < recorded else first


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_is_older_than_the_first_run_that_it_judges(claim, versions):
    assert judged_too_early(claim, versions, ROOT / "data") == ""


def test_what_is_kept_is_what_the_history_says(versions):
    kept = declared.kept(ROOT)
    assert kept.keys() == CLAIMS.keys()
    for id, claim in CLAIMS.items():
        since = declared.fixed(claim, versions)
        assert kept[id] == {"commit": since.commit, "date": since.written.isoformat()}, id


def commit(root: Path, claim: dict, day: datetime) -> None:
    """Commits a file of one claim."""
    path = root / declared.FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump([claim]), encoding="utf-8")
    if not (root / ".git").exists():
        declared.git(root, "init", "--quiet")
    declared.git(root, "add", ".")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    date = f"--date={day.isoformat()}"
    declared.git(root, *who, "commit", "--quiet", "--allow-empty", date, "-m", "claims")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A repository whose claim was declared on day 1 and first measured on day 2."""
    commit(tmp_path, CLAIM, DAYS[0])
    folder = tmp_path / "data" / "01-toy" / "quick-digits"
    folder.mkdir(parents=True)
    told = json.dumps({"created": DAYS[1].isoformat()})
    (folder / "provenance.json").write_text(told, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("changed", [{"threshold": 2}, {"direction": "below"}, {"seeds": 6}])
def test_a_threshold_that_is_moved_after_the_run_is_found(measured, changed):
    assert judged_too_early(CLAIM, declared.history(measured), measured / "data") == ""
    moved = CLAIM | changed
    uncommitted = judged_too_early(moved, declared.history(measured), measured / "data")
    assert uncommitted == "commit the claim before it is measured"
    commit(measured, moved, DAYS[2])
    found = judged_too_early(moved, declared.history(measured), measured / "data")
    assert found == f"fixed at {DAYS[2]}, first measured at {DAYS[1]}"
    late = moved | {"added_after_data": True}
    assert judged_too_early(late, declared.history(measured), measured / "data") == ""


def test_another_wording_leaves_a_claim_as_old_as_it_was(measured):
    reworded = CLAIM | {"short": "new"}
    commit(measured, reworded, DAYS[2])
    assert judged_too_early(reworded, declared.history(measured), measured / "data") == ""
    declared.write(measured)
    first = declared.history(measured)[-1].commit
    assert declared.kept(measured) == {"C1": {"commit": first, "date": DAYS[0].isoformat()}}


def test_a_branch_without_the_claim_says_nothing_of_it():
    versions = [
        declared.Version(DAYS[1], "b", {}),
        declared.Version(DAYS[0], "a", {"C1": CLAIM}),
    ]
    assert declared.fixed(CLAIM, versions).commit == "a"
    assert declared.fixed({**CLAIM, "id": "C2"}, versions) is None


def test_a_threshold_that_went_and_came_back_counts_from_its_return():
    texts = [CLAIM, CLAIM | {"threshold": 2}, CLAIM]
    days = zip(reversed(DAYS), "cba", texts, strict=True)
    versions = [declared.Version(day, name, {"C1": text}) for day, name, text in days]
    assert declared.fixed(CLAIM, versions).commit == "c"


def test_a_copy_without_history_keeps_what_it_has(measured, tmp_path):
    declared.write(measured)
    before = declared.kept(measured)
    (measured / ".git").rename(measured / "elsewhere")
    declared.write(measured)
    assert declared.kept(measured) == before != {}
