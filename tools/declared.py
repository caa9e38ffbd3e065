"""When the test of each claim was fixed: the last commit that changed what decides it.

What decides is direction, threshold and number of seeds. `data/declared.json` keeps commit and time
of each claim, for copies of the book without its history.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

FILE = "book/claims.yml"
KEPT = "declared.json"  # in the folder of the recorded runs
DECIDES = ("direction", "threshold", "seeds")

Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Version:
    """The file of claims as one commit has it."""

    written: datetime
    commit: str
    claims: Entries  # by id


def git(root: Path, *arguments: str) -> str:
    """Return what git prints."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def is_complete(root: Path) -> bool:
    """Return whether the whole history lies here, and not a copy without it or a shallow one."""
    if not (root / ".git").exists():
        return False
    try:
        return git(root, "rev-parse", "--is-shallow-repository", "--verify", "HEAD").startswith(
            "false"
        )
    except subprocess.CalledProcessError:  # nothing is committed yet
        return False


def history(root: Path) -> list[Version]:
    """Return each version of the claims, newest first."""
    listed = git(root, "log", "--full-history", "--format=%H %aI", "--", FILE).splitlines()
    found = []
    for commit, when in (line.split() for line in listed):
        text = git(root, "show", f"{commit}:{FILE}")
        found.append(Version(datetime.fromisoformat(when), commit, by_id(text)))
    return sorted(found, key=lambda version: version.written, reverse=True)


def by_id(text: str) -> Entries:
    """Return the entries of a file of claims."""
    return {claim["id"]: claim for claim in yaml.safe_load(text)}


def fixed(claim: Mapping[str, Any], versions: Iterable[Version]) -> Version | None:
    """Return the version in which a claim got the test that it has now; None if in none.

    Args:
        claim: The claim as it stands now.
        versions: Newest first. One without the claim says nothing: chapters are written side by
            side.
    """
    found = None
    for version in versions:
        before = version.claims.get(claim["id"], claim)
        if any(before.get(name) != claim.get(name) for name in DECIDES):
            break
        found = version if claim["id"] in version.claims else found
    return found


def first_record(data: Path, chapter: str) -> datetime | None:
    """Return when the first of a chapter's recorded runs was made."""
    files = data.glob(f"{chapter}-*/*/provenance.json")
    made = [json.loads(path.read_text(encoding="utf-8"))["created"] for path in files]
    return min(map(datetime.fromisoformat, made), default=None)


def told(root: Path) -> dict[str, dict[str, str]]:
    """Return commit and time by id, as they are kept; a claim that is not committed has none."""
    versions = history(root)
    now = by_id((root / FILE).read_text(encoding="utf-8"))
    since = {id: fixed(claim, versions) for id, claim in now.items()}
    return {
        id: {"commit": one.commit, "date": one.written.isoformat()}
        for id, one in since.items()
        if one
    }


def write(root: Path) -> None:
    """Keep what the history tells; leaves the file as it is where the history is not complete."""
    if is_complete(root):
        text = json.dumps(told(root), indent=1)
        (root / "data" / KEPT).write_text(f"{text}\n", encoding="utf-8")


def kept(root: Path) -> dict[str, dict[str, str]]:
    """Return what is kept, nothing where the file is missing."""
    path = root / "data" / KEPT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
