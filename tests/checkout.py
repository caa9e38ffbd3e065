"""Copies of the checkout for tests that must not touch it."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def copy(target: Path) -> Path:
    """Copy what git tracks or would track, as it stands in the working tree; return the copy."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def clone(target: Path) -> str:
    """Make a repository of a copy of the checkout; return the address that pip installs from."""
    copy(target)
    author = [
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@localhost",
        "-c",
        "commit.gpgsign=false",
    ]
    for command in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "-qm", "copy"]):
        subprocess.run(["git", *command], cwd=target, check=True)
    return f"git+file://{target}"
