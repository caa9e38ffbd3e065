"""Run a chapter without Jupyter, to record it at any scale.

    python -m tools.chapter 04 --preset paper --set width=1024 --record

The notebook stays the only source: its cells tagged `parameters` and `run` are executed in order,
in one namespace. They need torch, numpy and pandas, no notebook, browser or chart.
"""

import argparse
import ast
import json
import linecache
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memhelpers import lab
from memhelpers.errors import ArgumentError, check_choice
from memhelpers.runs import machine

TAGS = ("parameters", "run")


def find(number: str, folder: Path | None = None) -> Path:
    """The notebook of a chapter, by its number (`04`) or file name.

    Raises:
        ArgumentError: there is no such chapter.
    """
    folder = folder or machine.book_file("claims.yml").parent
    chapters = sorted(folder.glob("[0-9][0-9]-*.ipynb"))
    for path in chapters:
        if path.stem == number or path.stem.split("-")[0] == number.zfill(2):
            return path
    raise ArgumentError("chapter", number, f"one of {[path.stem for path in chapters]}")


def run(path: Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Execute the experiment of a chapter and return its namespace.

    Args:
        path: the notebook.
        overrides: new values of names in its parameters cell.

    Raises:
        ArgumentError: an override names no parameter.
    """
    namespace: dict[str, Any] = {"__name__": path.stem}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or not set(tags) & set(TAGS):
            continue
        source, place = "".join(cell["source"]), f"{path.name}[{cell['id']}]"
        # Where tracebacks, and `versions`, find the source of what a cell defines.
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        exec(compile(source, place, "exec"), namespace)
        if "parameters" in tags:
            _override(namespace, source, overrides or {})
    return namespace


def _override(namespace: dict[str, Any], source: str, overrides: Mapping[str, Any]) -> None:
    allowed = [
        target.id
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]
    for name, value in overrides.items():
        namespace[check_choice("set", name, allowed)] = value


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"given {text!r}; allowed: name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value  # a bare word is a string, as in data=mnist


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.chapter", description=run.__doc__)
    parser.add_argument("number", help="chapter, such as 04")
    parser.add_argument("--preset", choices=lab.PRESETS, help="scale (default: by the device)")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        type=_assignment,
        default=[],
        metavar="NAME=VALUE",
        help="other values of names in the parameters cell",
    )
    parser.add_argument("--record", action="store_true", help="keep the run under data/")
    given = parser.parse_args()
    overrides = dict(given.set)
    if given.preset:
        os.environ[lab.PRESET] = given.preset
    if given.record:
        os.environ[lab.RECORD] = "1"
        os.environ[lab.OVERRIDES] = json.dumps(overrides)
    try:
        run(find(given.number), overrides)
    except ArgumentError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
