"""Claims are declared before they are measured: the history of the repository shows it.

What decides a claim (direction, threshold and number of seeds) has not changed since before the
first of the recorded runs that it judges, or the claim says `added_after_data`.
"""

import json
import subprocess
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = "book/claims.yml"
ROOT = Path(__file__).parents[1]
DECIDES = ("direction", "threshold", "seeds")

Version = tuple[datetime, Mapping[str, Mapping[str, Any]]]


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def history() -> list[Version]:
    """Each version of the claims with the time at which it was written, newest first."""
    commits = [
        line.split()
        for line in git("log", "--full-history", "--format=%H %aI", "--", FILE).splitlines()
    ]
    return [
        (datetime.fromisoformat(when), by_id(git("show", f"{commit}:{FILE}")))
        for commit, when in commits
    ]


def by_id(text: str) -> dict[str, Mapping[str, Any]]:
    return {claim["id"]: claim for claim in yaml.safe_load(text)}


def declared(claim: Mapping[str, Any], versions: list[Version]) -> datetime | None:
    """When the claim got the test that it has now; None if it stands in no version.

    A version without the claim says nothing: chapters are written side by side.
    """
    found = None
    for when, version in sorted(versions, key=lambda version: version[0], reverse=True):
        before = version.get(claim["id"], claim)
        if any(before.get(name) != claim.get(name) for name in DECIDES):
            break
        found = when if claim["id"] in version else found
    return found


@cache
def first_record(chapter: str) -> datetime | None:
    """When the first of a chapter's recorded runs was made."""
    files = (ROOT / "data").glob(f"{chapter}-*/*/provenance.json")
    made = [json.loads(path.read_text(encoding="utf-8"))["created"] for path in files]
    return min(map(datetime.fromisoformat, made), default=None)


CLAIMS = by_id((ROOT / FILE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def versions() -> list[Version]:
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") != "false\n":
        pytest.skip("the history of the repository is not here")
    return history()


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_is_older_than_the_first_run_that_it_judges(claim, versions):
    recorded = first_record(claim["chapter"])
    if recorded is None or claim.get("added_after_data"):
        return
    since = declared(claim, versions)
    assert since is not None, "commit the claim before it is measured"
    assert since < recorded, f"declared at {since}, first measured at {recorded}"


def test_a_changed_threshold_counts_from_its_change():
    claim = {"id": "C1", "direction": "above", "threshold": 1, "seeds": 5}
    days = [datetime(2026, 11, day) for day in (1, 2, 3)]
    texts = [{"C1": {**claim, "threshold": 2}}, {"C1": claim}, {"C1": {**claim, "short": "new"}}]
    assert declared(claim, list(zip(days, texts, strict=True))) == days[1]
    assert declared({**claim, "seeds": 6}, list(zip(days, texts, strict=True))) is None
    assert declared({**claim, "id": "C2"}, [(days[0], {"C1": claim})]) is None
    assert declared(claim, [(days[0], {"C1": claim}), (days[1], {})]) == days[0]
