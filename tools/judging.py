"""What a chapter judges its claims with, read from its notebook: nothing is trained for it."""

import ast
import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from memhelpers import lab
from memhelpers.claims import Verdict

VERDICTS = "verdicts"  # the function of a chapter that judges its tables


def definitions(path: Path) -> dict[str, Any]:
    """Return what a chapter draws, tells and judges with: imports, constants and functions.

    Nothing of it runs, so a function is left out whose defaults are parameters of the experiment;
    `chapter` is a new one.
    """
    space: dict[str, Any] = {"chapter": lab.Chapter(path.stem)}
    for tags, source in _code(path):
        for node in [] if tags & {"bootstrap", "parameters"} else ast.parse(source).body:
            definition = isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)
            with suppress(NameError) if "run" in tags else nullcontext():
                if definition or _is_constant(node):
                    exec(compile(ast.Module([node], []), path.name, "exec"), space)
    return space


def of_quick_runs(paths: Iterable[Path]) -> dict[tuple[str, str, str], Verdict]:
    """Judge the recorded quick runs, which first screens draw, by chapter, label and id.

    A page's own run is judged in the page; on another processor it has other numbers.
    """
    return {
        (path.stem, label, verdict.claim.id): verdict
        for path in paths
        for label, record in lab.Chapter(path.stem).quick.items()
        for verdict in definitions(path)[VERDICTS](record.tables)
    }


def assigned(statement: ast.AST) -> set[str]:
    """Return the names that one assignment assigns; none for another statement."""
    targets = [*getattr(statement, "targets", []), getattr(statement, "target", None)]
    within = [node for target in targets if target for node in ast.walk(target)]
    return {node.id for node in within if isinstance(node, ast.Name)}


def statistics(path: Path) -> dict[str, str]:
    """Return the code that stands beside the id of each claim where a chapter judges."""
    for _, source in _code(path):
        for function in ast.parse(source).body:
            if getattr(function, "name", "") == VERDICTS:
                nodes = ast.walk(function)
                return {id: ast.unparse(code) for node in nodes for id, code in _beside(node)}
    return {}


def _code(path: Path) -> Iterator[tuple[set[str], str]]:
    """Tags and source of each cell of code."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield set(cell["metadata"].get("tags", [])), "".join(cell["source"])


def _is_constant(node: ast.stmt) -> bool:
    """Whether a statement assigns nothing but names in capitals."""
    return all(name.isupper() for name in assigned(node) or {""})


def _beside(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Ids and what is given for them: in a dict, in `judge(id, ...)`, or as `found[id] = ...`."""
    pairs: list[tuple[ast.AST | None, ast.AST]] = []
    if isinstance(node, ast.Dict):
        pairs = list(zip(node.keys, node.values, strict=True))
    elif isinstance(node, ast.Call) and len(node.args) == 2:
        pairs = [(node.args[0], node.args[1])]
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        pairs = [(node.targets[0].slice, node.value)]
    for key, value in pairs:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value
