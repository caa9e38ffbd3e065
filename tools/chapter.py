"""Run a chapter without Jupyter, to record it at any scale.

    python -m tools.chapter 04 --preset paper --set hidden=32,32 --record

The notebook stays the only source: its cells tagged `parameters` and `run` are executed in order,
in one namespace. They need torch, numpy and pandas, no notebook, browser or chart.
"""

import argparse
import ast
import json
import linecache
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memhelpers import lab
from memhelpers.errors import ArgumentError, DataError, check_choice
from memhelpers.runs import machine
from tools import recording

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


def run(
    path: Path, overrides: Mapping[str, Any] | None = None, *, preset: str | None = None
) -> dict[str, Any]:
    """Execute the experiment of a chapter and return its namespace.

    Args:
        path: the notebook.
        overrides: new values of names in its parameters cell.
        preset: the scale (default: as in the notebook).

    Raises:
        ArgumentError: an override names no parameter.
    """
    namespace, _ = _execute(path, overrides, preset)
    return namespace


def record(
    path: Path, overrides: Mapping[str, Any] | None = None, *, preset: str | None = None
) -> Path:
    """Execute the experiment of a chapter and keep its tables; returns the record's folder.

    Finished networks lie in `data/cache/sweeps`, or where `MEMHELPERS_STORE` says, so that a
    recording that the deadline stops goes on there; the time of both counts.

    Raises:
        ArgumentError: an override names no parameter, or the chapter hands over no tables.
        RecordError: so much departs from the preset that the name is too long.
        lab.Unfinished: the deadline is over.
    """
    found = parameters(path, overrides, preset=preset)
    data = Path(str(found.get("data"))).stem  # of a path, as the data set calls itself
    name = recording.record_name(str(preset), data, overrides or {})
    recording.record_folder(path.stem, name)  # refuses a name before hours of training, not after
    cache = machine.data_folder() / "cache"
    store = os.environ.get(lab.STORE) or str(cache / "sweeps")
    clock = _clocked(cache / "spent" / f"{path.stem}-{name}.json")
    with environment({lab.STORE: store}), clock as spent:
        chapter = run(path, overrides, preset=preset)["chapter"]
        if not chapter.tables:
            raise ArgumentError("chapter", path.stem, "a notebook that calls `chapter.record`")
        return _save(chapter, dict(overrides or {}), found, *spent())


def _save(
    chapter: lab.Chapter,
    overrides: dict[str, Any],
    parameters: dict[str, Any],
    wall: float,
    processor: float,
) -> Path:
    """Write the record of a chapter that has run; returns its folder."""
    data, precision = chapter.data, parameters.get("precision", "fp32")
    name = recording.record_name(chapter.preset, data.name, overrides)
    provenance = {
        "preset": chapter.preset,
        "overrides": overrides,
        "parameters": parameters,
        "dataset": {"name": data.name, "fingerprint": data.fingerprint, "is": data.describe()},
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(processor, 1),
        **recording.environment(chapter.device, precision),
    }
    return recording.save(chapter.slug, name, chapter.tables, provenance)


@contextmanager
def _clocked(kept: Path) -> Iterator[Callable[[], list[float]]]:
    """Gives a function of the wall and processor seconds that a recording has taken until now.

    Those of earlier calls that the deadline stopped lie in the file `kept` and count, too.
    """
    before = json.loads(kept.read_text()) if kept.exists() else [0.0, 0.0]
    started = time.monotonic(), time.process_time()

    def spent() -> list[float]:
        now = time.monotonic(), time.process_time()
        return [b + n - s for b, n, s in zip(before, now, started, strict=True)]

    try:
        yield spent
    except lab.Unfinished:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(spent()))
        raise
    kept.unlink(missing_ok=True)


def parameters(
    path: Path, overrides: Mapping[str, Any] | None = None, *, preset: str | None = None
) -> dict[str, Any]:
    """The values of a chapter's parameters cell at a scale; nothing is trained.

    Raises:
        ArgumentError: an override names no parameter.
    """
    _, found = _execute(path, overrides, preset, whole=False)
    if found is None:
        raise ArgumentError("chapter", path.stem, "a notebook with a cell tagged `parameters`")
    return found


def _execute(
    path: Path, overrides: Mapping[str, Any] | None, preset: str | None, *, whole: bool = True
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The namespace after the experiment, or after its parameters, and these by themselves."""
    namespace: dict[str, Any] = {"__name__": path.stem}
    found = None
    with environment({lab.PRESET: preset}):
        for tags, source, place in _cells(path):
            exec(compile(source, place, "exec"), namespace)
            if "parameters" in tags:
                found = _overridden(namespace, source, overrides or {})
                if not whole:
                    break
    return namespace, found


def _cells(path: Path) -> Iterator[tuple[list[str], str, str]]:
    """Tags, source and name of each cell to execute."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and set(tags) & set(TAGS):
            source, place = "".join(cell["source"]), f"{path.name}[{cell['id']}]"
            # Where tracebacks find the source of what a cell defines.
            lines = source.splitlines(keepends=True)
            linecache.cache[place] = (len(source), None, lines, place)
            yield tags, source, place


def _overridden(
    namespace: dict[str, Any], source: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Set the overrides in the namespace; returns the parameters, that is the plain values."""
    names = [
        target.id
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]
    names = [name for name in names if not callable(namespace[name])]  # not `pick`
    for name, value in overrides.items():
        namespace[check_choice("set", name, names)] = value
    return {name: namespace[name] for name in names}


@contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables that have a value; afterwards all of them are as they were before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: value for name, value in variables.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


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
    try:
        (record if given.record else run)(find(given.number), dict(given.set), preset=given.preset)
    except (ArgumentError, DataError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
