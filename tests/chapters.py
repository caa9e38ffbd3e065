"""The book's chapters, as several test modules need them."""

import ast
from pathlib import Path
from typing import Any

from tools import notebooks
from tools.judging import assigned

# How tests execute a chapter: small, for a page, and on one core, since more gain nothing.
QUICK = {"MEMHELPERS_PRESET": "quick", "MEMHELPERS_STATIC": "1", "OMP_NUM_THREADS": "1"}
CHAPTERS = [path for path in notebooks.paths() if notebooks.is_chapter(path)]


def parameters(path: Path) -> set[str]:
    """The names that the parameters cell of a chapter assigns."""
    (cell,) = notebooks.tagged(notebooks.read(path), "parameters")
    return {name for node in ast.parse(cell.source).body for name in assigned(node)}


def functions(path: Path) -> dict[str, Any]:
    """The functions of a notebook and what they import, constants apart; no cell is run."""
    kinds, space = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom, {}
    for cell in notebooks.code_cells(notebooks.read(path)):
        kept = [node for node in ast.parse(cell.source).body if isinstance(node, kinds)]
        exec(compile(ast.Module(kept, []), path.name, "exec"), space)
    return space


def figures(path: Path) -> list[str]:
    """The names of the functions that a chapter shows, the first screen's first."""
    found = []
    for cell in notebooks.code_cells(notebooks.read(path)):
        for node in ast.walk(ast.parse(cell.source)):
            called = getattr(node, "func", None)
            if isinstance(called, ast.Attribute) and called.attr in ("show", "first_screen"):
                found.append(node.args[0].id)
    return found
