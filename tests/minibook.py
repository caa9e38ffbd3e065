"""A book of one small chapter in a folder of its own, with this checkout's tools and helpers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import notebooks, scoreboard

CONFIG = """\
title: A small book
author: the contributors
only_build_toc_files: true
execute: {execute_notebooks: "off"}
repository:
  url: ""  # written by make stamp
  path_to_book: _sources
  branch: gh-pages
sphinx:
  config:
    html_theme_options: {use_fullscreen_button: false}
    suppress_warnings: [mystnb.unknown_mime_type]
"""
TOC = """\
format: jb-book
root: book/intro
chapters:
  - file: book/01-first
  - file: book/scoreboard
"""
CLAIM = """\
- id: C9.1
  chapter: "01"
  source: nobody
  sentence: The number is large.
  short: The number is large
  statistic: the number
  unit: "1"
  direction: above
  threshold: 1.0
  seeds: 5
"""
CHAPTER = [
    ("markdown", [], "# First\n\nOne sentence."),
    ("code", ["bootstrap"], notebooks.BOOTSTRAP),
    ("code", ["parameters"], "scale = 3.0"),
    (
        "code",
        [],
        "import os\nfrom memhelpers import claims, stats\n"
        "values = [scale + seed / 10 for seed in range(6)]\n"
        'ledger = claims.Ledger([claims.judge("C9.1", stats.bootstrap(values))],\n'
        '    title=os.environ["MEMHELPERS_PRESET"])\nledger',
    ),
]


def notebook(cells: list[tuple[str, list[str], str]]) -> nbformat.NotebookNode:
    """A notebook of (kind, tags, source) cells without outputs."""
    makers = {"markdown": new_markdown_cell, "code": new_code_cell}
    made = [makers[kind](source, metadata={"tags": tags}) for kind, tags, source in cells]
    return new_notebook(cells=made, metadata=notebooks.METADATA)


def make(root: Path) -> Path:
    """Lay out the small book in an empty folder."""
    for part in ("memhelpers", "tools"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(notebooks.ROOT / part, root / part, ignore=ignore)
    shutil.copy(notebooks.ROOT / "pyproject.toml", root)
    (root / "_config.yml").write_text(CONFIG)
    (root / "_toc.yml").write_text(TOC)
    (root / "book" / "_static").mkdir(parents=True)
    (root / "book" / "intro.md").write_text("# Introduction\n\nWords.\n")
    (root / "book" / "claims.yml").write_text(CLAIM)
    nbformat.write(notebook(CHAPTER), root / "book" / "01-first.ipynb")
    page = f"# Scoreboard\n\n{scoreboard.PLACE}\n"
    (root / "book" / "scoreboard.md").write_text(page)
    return root


def edit(root: Path, name: str, old: str, new: str) -> None:
    """Replace a text in one file; the text has to be there."""
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run(root: Path, module: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run one of the tools there; return its exit status and what it said."""
    unset = ("GITHUB_SHA", "MEMHELPERS_PRESET", "MEMHELPERS_SOURCE", "PYTHONPATH")
    clean = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env={**clean, "CI": "true", **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr
