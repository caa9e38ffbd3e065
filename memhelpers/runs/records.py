"""Recorded runs: what an experiment at a larger scale gave, kept as CSV tables and one JSON file.

This is the last step of a run that readers need not repeat. A record is written in full before it
replaces a former one, is checked when it is read, and needs neither pickle nor this package.
"""

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

FORMAT = 2

_PROVENANCE = "provenance.json"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_=.-]{0,98}[A-Za-z0-9])?")


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
    """Writes a record beside a former one of this name, in full, and then puts it in its place.

    A full disk or a kill while it is written leaves the former one as it was.

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
        RecordError: a bad name.
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
    contents[_PROVENANCE] = _sealed(head | provenance | head | {"tables": described})
    _replace(folder, contents)
    return folder


def load(chapter: str, name: str, *, root: str | Path | None = None) -> Record:
    """Reads a record and checks that it is what was written.

    Raises:
        RecordError: there is no such record, it has another format version, or a file is missing or
            not what was written.
    """
    folder, label = _folder(chapter, name, root), f"record {chapter}/{name}"
    if not (folder / _PROVENANCE).is_file():
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
    found = (_root(root) / _valid("chapter", chapter)).glob(f"*/{_PROVENANCE}")
    names = (path.parent.name for path in found)
    return sorted(name for name in names if _NAME.fullmatch(name))  # not what a killed run left


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
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = 'letters, digits and "_=.-", a letter or digit at both ends, up to 100'
        raise RecordError(f"{what}: given {name!r}; allowed: {allowed}")
    return name


def _root(root: str | Path | None) -> Path:
    return machine.data_folder() if root is None else Path(root)


def _folder(chapter: str, name: str, root: str | Path | None) -> Path:
    return _root(root) / _valid("chapter", chapter) / _valid("name", name)


# Writing


def _sealed(provenance: Mapping[str, object]) -> bytes:
    """The provenance as JSON, with a checksum over everything in it."""
    try:
        plain = json.loads(json.dumps(provenance, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError("provenance", str(error), "JSON values, no NaN") from None
    plain["sha256"] = _checksum(plain)
    return (json.dumps(plain, indent=1, ensure_ascii=False) + "\n").encode()


def _checksum(provenance: Mapping[str, object]) -> str:
    """SHA-256 of its canonical JSON, without the checksum itself."""
    rest = {key: value for key, value in provenance.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _replace(folder: Path, contents: Mapping[str, bytes]) -> None:
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)  # what a killed run left
    try:
        fresh.mkdir(parents=True)
        for name, content in contents.items():
            files.write(fresh / name, content)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    fresh.rename(folder)


# Reading


def _provenance(folder: Path, label: str) -> dict:
    try:
        provenance = json.loads((folder / _PROVENANCE).read_bytes())
        version = provenance["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{label}: {_PROVENANCE} cannot be read: {error!r}") from None
    if version != FORMAT:
        raise RecordError(f"{label}: given format version {version!r}; allowed: {FORMAT}")
    if provenance.get("sha256") != _checksum(provenance):
        raise RecordError(f"{label}: {_PROVENANCE} is altered (its checksum differs)")
    return provenance


def _table(path: Path, description: Mapping, label: str) -> pd.DataFrame:
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        wrong = "is missing, truncated or altered (its checksum differs)"
        raise RecordError(f"{label}: {path.name} {wrong}")
    return files.from_csv(content, description["columns"])
