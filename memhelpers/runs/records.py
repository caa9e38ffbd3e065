"""Recorded runs: what an experiment at a larger scale gave, kept as CSV tables and one JSON file.

This is the last step of a run that readers need not repeat. A record is written as a whole or not
at all, is checked when it is read, and needs neither pickle nor this package to be opened.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from memhelpers.errors import ArgumentError, RecordError
from memhelpers.runs import files, machine

FORMAT = 1

_PROVENANCE = "provenance.json"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_=.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Record:
    """A recorded run: its tables by name, and how they came about, as written by `save`."""

    chapter: str
    name: str
    tables: Mapping[str, pd.DataFrame]
    provenance: Mapping[str, object]


def save(
    chapter: str,
    name: str,
    tables: Mapping[str, pd.DataFrame],
    provenance: Mapping[str, object],
    *,
    root: str | Path | None = None,
    digits: int | None = None,
) -> Path:
    """Writes a record, as a whole or not at all.

    Whatever fails on the way, the former record stays as it was.

    Args:
        chapter: slug of the chapter, such as "04-loss-sensitivity".
        name: of the run, such as "paper-mnist"; letters, digits and "_=.-".
        tables: by name; columns of numbers, booleans or text, and the default index.
        provenance: how they came about (parameters, seeds, dataset fingerprint, wall time, and what
            `environment` returns); JSON values, no NaN.
        root: the folder of records (default: `data/` of the checkout).
        digits: significant digits of floating-point columns (default: enough to read back exactly).

    Returns:
        The record's folder, `<root>/<chapter>/<name>`.

    Raises:
        RecordError: a bad name, a full disk or another fault of the file system.
        ArgumentError: a table or a provenance that cannot be kept.
    """
    folder = _folder(chapter, name, root)
    if not isinstance(tables, Mapping) or not tables:
        raise ArgumentError("tables", tables, "at least one table by name")
    contents, described = {}, {}
    for table_name, table in tables.items():
        columns = files.kinds(f"tables[{_valid('table', table_name)!r}]", table)
        content = contents[f"{table_name}.csv"] = files.to_csv(table, digits)
        checksum = hashlib.sha256(content).hexdigest()
        described[table_name] = {"sha256": checksum, "rows": len(table), "columns": columns}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    head = {"format": FORMAT, "chapter": chapter, "name": name, "created": created}
    contents[_PROVENANCE] = _json(head | provenance | head | {"tables": described})
    try:
        _replace(folder, contents)
    except OSError as error:
        told = f"record {chapter}/{name} was not written: {error.strerror or error}"
        raise RecordError(f"{told}; a former record of this name is as it was") from error
    return folder


def load(chapter: str, name: str, *, root: str | Path | None = None) -> Record:
    """Reads a record and checks that it is what was written.

    Raises:
        RecordError: there is no such record, it has another format version, or a file is missing or
            not what was written.
    """
    folder = _present(_folder(chapter, name, root))
    label = f"record {chapter}/{name}"
    if folder is None:
        known = ", ".join(available(chapter, root)) or "none"
        raise RecordError(f"{label} does not exist; recorded for {chapter}: {known}")
    provenance = _provenance(folder, label)
    tables = {
        table: _table(folder / f"{table}.csv", description, f"{label}, table {table}")
        for table, description in provenance["tables"].items()
    }
    return Record(chapter, name, tables, provenance)


def available(chapter: str, root: str | Path | None = None) -> list[str]:
    """The names of a chapter's recorded runs, sorted; none where nothing has been recorded.

    Raises:
        RecordError: the chapter's slug is no valid name.
    """
    folder = _root(root) / _valid("chapter", chapter)
    found = folder.iterdir() if folder.is_dir() else ()
    # A record that a crash left beside its name counts: `load` finds it there.
    names = {re.sub(r"^\.(.+)\.new$", r"\1", path.name) for path in found}
    return sorted(name for name in names if _NAME.fullmatch(name) and _present(folder / name))


def pack_answers(right: np.ndarray) -> list[str]:
    """Which networks are right on each example, in one short text an example.

    Args:
        right: whether network r is right on example i, [R, n]; eight give two hexadecimal digits.
    """
    return [bits.tobytes().hex() for bits in np.packbits(right, axis=0).T]


def unpack_answers(texts: Sequence[str], networks: int) -> np.ndarray:
    """Whether network r is right on example i, bool [R, n], from what `pack_answers` gave.

    Raises:
        ArgumentError: a text that does not hold the answers of so many networks.
    """
    size = -(-networks // 8)
    for text in texts:
        if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
            raise ArgumentError("texts", text, f"{2 * size} hexadecimal digits each")
    packed = np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(-1, size)
    return np.unpackbits(packed, axis=1, count=networks).T == 1


# Names and folders


def _valid(what: str, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name or len(name) > 100:
        allowed = 'letters, digits and "_=.-", a letter or digit at both ends, up to 100'
        raise RecordError(f"{what}: given {name!r}; allowed: {allowed}")
    return name


def _root(root: str | Path | None) -> Path:
    return machine.data_folder() if root is None else Path(root)


def _folder(chapter: str, name: str, root: str | Path | None) -> Path:
    return _root(root) / _valid("chapter", chapter) / _valid("name", name)


def _fresh(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.new")


def _present(folder: Path) -> Path | None:
    """Where a record lies: under its name, or beside it if a crash came before the last step."""
    found = (path for path in (folder, _fresh(folder)) if (path / _PROVENANCE).is_file())
    return next(found, None)


# Writing


def _json(value: Mapping[str, object]) -> bytes:
    def plain(value: object) -> object:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise ArgumentError("provenance", value, "numbers, texts, booleans, None, lists, dicts")

    try:
        text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False, default=plain)
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError("provenance", str(error), "finite numbers") from None
    return (text + "\n").encode()


def _replace(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Make `folder` hold exactly these files, or leave it as it was."""
    half = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(half, ignore_errors=True)  # what a killed run left
    _settle(folder)
    try:
        half.mkdir(parents=True)
        for name, content in contents.items():
            files.write(half / name, content)
        half.rename(_fresh(folder))
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    with contextlib.suppress(OSError):  # it is whole, and found beside its name, too
        _settle(folder)


def _settle(folder: Path) -> None:
    """Give a whole record that lies beside its name that name."""
    fresh = _fresh(folder)
    if fresh.is_dir():
        (folder / _PROVENANCE).unlink(missing_ok=True)  # half of the former one is no record
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


# Reading


def _provenance(folder: Path, label: str) -> dict:
    try:
        provenance = json.loads((folder / _PROVENANCE).read_bytes())
        version, tables = provenance["format"], provenance["tables"].values()
        if not all({"sha256", "rows", "columns"} <= table.keys() for table in tables):
            raise ValueError("it does not describe its tables")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{label}: {_PROVENANCE} cannot be read: {error!r}") from None
    if version != FORMAT:
        raise RecordError(f"{label}: given format version {version!r}; allowed: {FORMAT}")
    return provenance


def _table(path: Path, description: Mapping, label: str) -> pd.DataFrame:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{label}: {path.name} cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise RecordError(f"{label}: {path.name} is truncated or altered (its checksum differs)")
    try:
        return files.from_csv(content, description["columns"], description["rows"])
    except ValueError:
        what = f"{path.name} and {_PROVENANCE}"
        raise RecordError(f"{label}: {what} disagree on rows or columns") from None
