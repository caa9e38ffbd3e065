"""The book's chapters, as several test modules need them."""

import ast
from pathlib import Path
from typing import Any

from memhelpers import lab
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


def definitions(path: Path) -> dict[str, Any]:
    """What a chapter draws, tells and judges with: its imports, constants and functions.

    Nothing of it runs, so functions of the experiment are left out; `chapter` is a new one.
    """
    space: dict[str, Any] = {"chapter": lab.Chapter(path.stem)}
    for cell in notebooks.code_cells(notebooks.read(path)):
        tags = set(notebooks.tags(cell))
        for node in [] if tags & {"bootstrap", "parameters"} else ast.parse(cell.source).body:
            function = isinstance(node, ast.FunctionDef) and "run" not in tags
            if function or isinstance(node, ast.Import | ast.ImportFrom) or _is_constant(node):
                exec(compile(ast.Module([node], []), path.name, "exec"), space)
    return space


def _is_constant(node: ast.stmt) -> bool:
    """Whether a statement assigns nothing but names in capitals."""
    names = assigned(node) or {getattr(getattr(node, "target", None), "id", "")}
    return all(name.isupper() for name in names)


def figures(path: Path) -> list[str]:
    """The names of the functions that a chapter shows, the first screen's first."""
    found = []
    for cell in notebooks.code_cells(notebooks.read(path)):
        for node in ast.walk(ast.parse(cell.source)):
            called = getattr(node, "func", None)
            if isinstance(called, ast.Attribute) and called.attr in ("show", "first_screen"):
                found.append(node.args[0].id)
    return found
