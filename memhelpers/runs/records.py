"""Recorded runs: what an experiment at a larger scale gave, kept as CSV tables and one JSON file.

`tools/recording.py` of the repository writes a record; it is checked when it is read.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from memhelpers.errors import RecordError
from memhelpers.runs import files, machine

FORMAT = 2
PROVENANCE = "provenance.json"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_=.-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Record:
    """A recorded run: its tables by name, and how they came about, as it was written."""

    chapter: str
    name: str
    tables: Mapping[str, pd.DataFrame]
    provenance: Mapping[str, object]


def load(chapter: str, name: str, *, root: str | Path | None = None) -> Record:
    """Reads a record; a `RecordError` if it is not there, or not what was written."""
    folder, label = record_folder(chapter, name, root), f"record {chapter}/{name}"
    if not (folder / PROVENANCE).is_file():
        known = ", ".join(available(chapter, root)) or "none"
        raise RecordError(f"{label} does not exist; recorded for {chapter}: {known}")
    try:
        provenance = json.loads((folder / PROVENANCE).read_bytes())
        version = provenance["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{label}: {PROVENANCE} cannot be read: {error!r}") from None
    if version != FORMAT:
        raise RecordError(f"{label}: given format version {version!r}; allowed: {FORMAT}")
    if provenance.get("sha256") != checksum(provenance):
        raise RecordError(f"{label}: {PROVENANCE} is altered (its checksum differs)")
    tables = {}
    for table, description in provenance["tables"].items():
        path = folder / f"{table}.csv"
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != description["sha256"]:
            wrong = "is missing, truncated or altered (its checksum differs)"
            raise RecordError(f"{label}, table {table}: {path.name} {wrong}")
        tables[table] = files.from_csv(content, description["columns"])
    return Record(chapter, name, tables, provenance)


def available(chapter: str, root: str | Path | None = None) -> list[str]:
    """The names of a chapter's recorded runs, sorted; none where nothing has been recorded."""
    folder = Path(root or machine.data_folder()) / valid_name("chapter", chapter)
    names = (path.parent.name for path in folder.glob(f"*/{PROVENANCE}"))
    return sorted(name for name in names if _NAME.fullmatch(name))  # not what a killed run left


def valid_name(what: str, name: object) -> str:
    """The name, if it leads to no other folder than it should; else a `RecordError` on `what`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = 'letters, digits and "_=.-", a letter or digit at both ends, up to 100'
        raise RecordError(f"{what}: given {name!r}; allowed: {allowed}")
    return name


def record_folder(chapter: str, name: str, root: str | Path | None = None) -> Path:
    """Where a record lies or is to lie, `<root>/<chapter>/<name>`, both of them a `valid_name`."""
    root = Path(root or machine.data_folder())
    return root / valid_name("chapter", chapter) / valid_name("name", name)


def checksum(provenance: Mapping[str, object]) -> str:
    """SHA-256 of its canonical JSON, without the checksum itself."""
    rest = {key: value for key, value in provenance.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
