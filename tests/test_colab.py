"""Colab: a chapter alone, in a fresh environment that brings torch and the rest, gets the helpers.

The environment of the test sees everything that this one has installed, but not memhelpers, as
Colab's does. The bootstrap cell installs from a clone of the working tree.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from tests import checkout, minibook
from tests.chapters import CHAPTERS, QUICK
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
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    assert found.split() == ["True", "True", "False"], "not an environment like Colab's"
    return python


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a clone of the working tree, in pip's words."""
    return checkout.clone(tmp_path_factory.mktemp("clone") / "book")


def own_site(environment: Path) -> Path:
    """The folder into which pip installs in a virtual environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


def state_of_what_was_brought() -> dict[str, int]:
    """When each installed distribution but memhelpers was last written."""
    found = [path for path in SITE.iterdir() if "memhelpers" not in path.name]
    return {path.name: path.stat().st_mtime_ns for path in found if path.suffix != ".pth"}


def run_alone(chapter: Path, python: Path, folder: Path, **environment: str) -> tuple[int, str]:
    """Execute a copy of a chapter, alone, with another Python; return status and what it said."""
    shutil.copy(chapter, folder / "chapter.ipynb")
    unset = ("PYTHONPATH", "MEMHELPERS_SOURCE", "MEMHELPERS_DATA")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    kept |= {**QUICK, "JUPYTER_DATA_DIR": str(folder)}
    settings = json.dumps(QUICKER.get(chapter.stem, {}))
    command = [python, "-m", "papermill", "chapter.ipynb", "ran.ipynb"]
    done = subprocess.run(
        [*command, "-k", "python3", "--no-progress-bar", "-y", settings],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_alone_installs_the_helpers_and_runs_to_the_end(chapter, fresh, source, tmp_path):
    before = state_of_what_was_brought()
    status, said = run_alone(chapter, fresh, tmp_path, MEMHELPERS_SOURCE=source)
    assert status == 0, said
    own = {entry.name for entry in own_site(fresh.parent.parent).iterdir()}
    installed = {name for name in own if not name.startswith("memhelpers")}
    assert installed == {"brought.pth"}, "something else than memhelpers was installed"
    assert state_of_what_was_brought() == before


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
    assert "git+https://github.com/some-one/a.book@c0ffee" in command
    assert not {"torch", "numpy", "pandas", "altair", "ipywidgets"} & set(command)


def test_the_bootstrap_adds_what_draws_the_pictures_where_it_is_missing(colab, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    bootstrap("https://github.com/some-one/a.book")
    assert colab[0][-1] == "vl-convert-python"


def test_the_unstamped_bootstrap_says_on_colab_what_to_do(colab):
    with pytest.raises(RuntimeError, match="Set REPOSITORY above to the address"):
        bootstrap()
    assert not colab


def test_the_bootstrap_does_nothing_elsewhere(colab, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    bootstrap("https://github.com/some-one/a.book")
    assert not colab


def test_the_bootstrap_is_short():
    assert len(notebooks.BOOTSTRAP.splitlines()) <= 15
