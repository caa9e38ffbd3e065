"""The book's chapters, as several test modules need them."""

import ast
from pathlib import Path

from tools import notebooks

# How tests execute a chapter: small, for a page, and on one core, since more gain nothing.
QUICK = {"MEMHELPERS_PRESET": "quick", "MEMHELPERS_STATIC": "1", "OMP_NUM_THREADS": "1"}
CHAPTERS = [path for path in notebooks.paths() if notebooks.is_chapter(path)]


def parameters(path: Path) -> set[str]:
    """The names that the parameters cell of a chapter assigns."""
    (cell,) = notebooks.tagged(notebooks.read(path), "parameters")
    return {name for node in ast.parse(cell.source).body for name in assigned(node)}


def assigned(statement: ast.stmt) -> set[str]:
    """The names that one assignment assigns; none for another statement."""
    targets = getattr(statement, "targets", [])
    return {
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    }
