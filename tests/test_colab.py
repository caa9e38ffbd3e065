"""Colab: a chapter alone, in a fresh environment that brings torch and the rest, gets the helpers.

The environment of the test sees everything that this one has installed, but not memhelpers, as
Colab's does. The bootstrap cell installs from a clone of the working tree.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from tests import checkout, minibook, reader
from tests.chapters import QUICK
from tests.test_tinkering import QUICKER
from tools import notebooks

SITE = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that brings what this one has, except memhelpers."""
    folder = tmp_path_factory.mktemp("fresh")
    brought = folder / "brought"
    brought.mkdir()
    for entry in SITE.iterdir():
        if "memhelpers" not in entry.name and not entry.name.endswith(".pth"):
            (brought / entry.name).symlink_to(entry)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (own_site(folder / "venv") / "brought.pth").write_text(f"{brought}\n")
    python = folder / "venv" / "bin" / "python"
    there = "from importlib.util import find_spec as find; print(*map(bool, map(find, {})))"
    command = [python, "-c", there.format(["torch", "altair", "memhelpers"])]
    found = subprocess.run(command, cwd=folder, env=alone(), capture_output=True, text=True).stdout
    assert found.split() == ["True", "True", "False"], "not an environment like Colab's"
    return python


def own_site(environment: Path) -> Path:
    """The folder into which pip installs in a virtual environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


def state_of_what_was_brought() -> dict[str, int]:
    """When each installed distribution but memhelpers was last written."""
    found = [path for path in SITE.iterdir() if "memhelpers" not in path.name]
    return {path.name: path.stat().st_mtime_ns for path in found if path.suffix != ".pth"}


@pytest.fixture(scope="module")
def installed(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same Python after the bootstrap cell has installed from a clone of the working tree."""
    source = checkout.clone(tmp_path_factory.mktemp("clone") / "book")
    before = state_of_what_was_brought()
    command = [fresh, "-c", notebooks.BOOTSTRAP]
    done = subprocess.run(
        command, env=alone(MEMHELPERS_SOURCE=source), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert state_of_what_was_brought() == before
    return fresh


def alone(**environment: str) -> dict[str, str]:
    """An environment without this checkout and its data."""
    unset = ("PYTHONPATH", "MEMHELPERS_SOURCE", "MEMHELPERS_DATA")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, **QUICK, **environment}


def test_the_bootstrap_installs_memhelpers_and_nothing_else(installed):
    own = {entry.name for entry in own_site(installed.parent.parent).iterdir()}
    others = {name for name in own if not name.startswith("memhelpers")}
    assert len(own) > len(others)
    assert others == {"brought.pth"}


@pytest.fixture(scope="module")
def failures(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What failed when each notebook ran in a folder without the others, by name."""
    tried = {}
    for path in notebooks.paths():
        folder = tmp_path_factory.mktemp(path.stem)
        tried[str(shutil.copy(path, folder))] = QUICKER.get(path.stem, {})
    command = [installed, Path(reader.__file__), json.dumps(tried)]
    # Started where no checkout lies, and in one process: each import of torch takes seconds.
    done = subprocess.run(command, cwd=folder, env=alone(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {Path(name).stem: error for name, error in json.loads(done.stdout).items()}


@pytest.mark.parametrize("path", notebooks.paths(), ids=lambda path: path.stem)
def test_a_notebook_alone_runs_to_the_end_with_the_installed_helpers(path, failures):
    assert path.stem not in failures, failures[path.stem]


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """This process taken for Colab's; holds the commands that would have been run."""
    commands: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.delenv("MEMHELPERS_SOURCE", raising=False)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    return commands


def bootstrap(address: str = "") -> None:
    notebook = minibook.notebook([("code", ["bootstrap"], notebooks.BOOTSTRAP)])
    exec(notebooks.stamp(notebook, address).cells[0].source, {})


def test_the_stamped_bootstrap_installs_the_helpers_and_no_dependency(colab):
    bootstrap("https://github.com/some-one/a.book@c0ffee")
    (command,) = colab
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert "--no-deps" in command
    assert "--upgrade" not in command, "pip leaves alone what is there already"
    named = [word for word in command[4:] if not word.startswith("-")]
    assert named == ["git+https://github.com/some-one/a.book@c0ffee", "vl-convert-python"]


def test_the_unstamped_bootstrap_says_on_colab_what_to_do(colab):
    with pytest.raises(RuntimeError, match="Set REPOSITORY above to"):
        bootstrap()
    assert not colab


def test_the_bootstrap_does_nothing_elsewhere(colab, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    bootstrap("https://github.com/some-one/a.book")
    assert not colab


def test_the_bootstrap_is_short():
    assert len(bootstrap_lines()) <= 9


def bootstrap_lines() -> list[str]:
    """The code lines of the bootstrap cell."""
    lines = notebooks.BOOTSTRAP.splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
