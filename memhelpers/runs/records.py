"""Recorded runs: what an experiment at a larger scale gave, kept as CSV tables and one JSON file.

`tools/recording.py` of the repository writes a record, and checks how it came about.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from memhelpers.errors import RecordError
from memhelpers.runs import files, machine

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Record:
    """A recorded run: its tables by name, and how they came about, as it was written."""

    chapter: str
    name: str
    tables: Mapping[str, pd.DataFrame]
    provenance: Mapping[str, object]


def load(chapter: str, name: str, *, root: str | Path | None = None) -> Record:
    """Reads a record; a `RecordError` if it is not there, or a table is not what was written."""
    folder, tables = Path(root or machine.data_folder()) / chapter / name, {}
    try:
        provenance = json.loads((folder / PROVENANCE).read_bytes())
        for table, description in provenance["tables"].items():
            content = (folder / f"{table}.csv").read_bytes()
            if hashlib.sha256(content).hexdigest() != description["sha256"]:
                raise ValueError(f"{table}.csv is truncated or altered (its checksum differs)")
            tables[table] = files.from_csv(content, description["columns"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(
            f"record {chapter}/{name} cannot be read: {type(error).__name__}: {error}"
        ) from None
    return Record(chapter, name, tables, provenance)


def available(chapter: str, root: str | Path | None = None) -> list[str]:
    """The names of a chapter's recorded runs, sorted; none where nothing has been recorded."""
    found = (Path(root or machine.data_folder()) / chapter).glob(f"[!.]*/{PROVENANCE}")
    return sorted(path.parent.name for path in found)  # not what a killed run left, .name.new
