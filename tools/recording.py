"""Write a recorded run: its tables as CSV, and how they came about as one JSON file.

A record is written in full before it replaces a former one of its name. `memhelpers.runs.records`
reads what is written here, and says what a record is.
"""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from memhelpers.errors import ArgumentError, RecordError, check_integer
from memhelpers.runs import files, machine, records

FORMAT = 2
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_=.-]{0,98}[A-Za-z0-9])?")


def record_name(preset: str, data: str, overrides: Mapping[str, Any]) -> str:
    """What a recorded run is called: preset, data and whatever departs from the preset."""
    changed = [f"{k}={_plain(v)}" for k, v in sorted(overrides.items()) if k != "data"]
    return "-".join([preset, _plain(data), *changed])


def _plain(value: object) -> str:
    """A value as it may stand in a record's name: (512, 512) gives 512-512."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", str(value)).strip("-.")


def save(
    chapter: str,
    name: str,
    tables: Mapping[str, pd.DataFrame],
    provenance: Mapping[str, object],
    *,
    root: str | Path | None = None,
    digits: int | None = None,
) -> Path:
    """Write a record beside a former one of this name, in full, and then put it in its place.

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
    folder = record_folder(chapter, name, root)
    if not isinstance(tables, Mapping) or not tables:
        raise ArgumentError("tables", tables, "at least one table by name")
    contents, described = {}, {}
    for table_name, table in tables.items():
        columns = files.kinds(f"tables[{valid_name('table', table_name)!r}]", table)
        content = contents[f"{table_name}.csv"] = _csv(table, digits)
        checksum = hashlib.sha256(content).hexdigest()
        described[table_name] = {"sha256": checksum, "rows": len(table), "columns": columns}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    head = {"format": FORMAT, "chapter": chapter, "name": name, "created": created}
    contents[records.PROVENANCE] = _sealed(head | provenance | head | {"tables": described})
    _replace(folder, contents)
    return folder


def _csv(table: pd.DataFrame, digits: int | None) -> bytes:
    """The table as `files.from_csv` reads it, exact unless it is to have so many `digits`."""
    shown = None if digits is None else f"%.{check_integer('digits', digits, 1, 17)}g"
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan", float_format=shown).encode()


def valid_name(what: str, name: object) -> str:
    """The name, if it leads to no other folder than it should; else a `RecordError` on `what`."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        allowed = 'letters, digits and "_=.-", a letter or digit at both ends, up to 100'
        raise RecordError(f"{what}: given {name!r}; allowed: {allowed}")
    return name


def record_folder(chapter: str, name: str, root: str | Path | None = None) -> Path:
    """Where a record is to lie, `<root>/<chapter>/<name>`, both of them a `valid_name`."""
    root = Path(root or machine.data_folder())
    return root / valid_name("chapter", chapter) / valid_name("name", name)


def check(root: str | Path | None = None) -> None:
    """Look through the provenance of all records.

    Raises:
        RecordError: One cannot be read, has another format, or is not what was written.
    """
    root = Path(root or machine.data_folder())
    for path in sorted(root.glob(f"[!.]*/[!.]*/{records.PROVENANCE}")):
        record = records.load(path.parent.parent.name, path.parent.name, root=root)
        told = f"record {record.chapter}/{record.name}: {path.name}"
        version = record.provenance.get("format")
        if version != FORMAT:
            raise RecordError(f"{told}: given format version {version!r}; allowed: {FORMAT}")
        if record.provenance.get("sha256") != _checksum(record.provenance):
            raise RecordError(f"{told} is altered (its checksum differs)")


def _checksum(provenance: Mapping[str, object]) -> str:
    """SHA-256 of its canonical JSON, without the checksum itself."""
    rest = {key: value for key, value in provenance.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _sealed(provenance: Mapping[str, object]) -> bytes:
    """The provenance as JSON, with a checksum over everything in it."""
    try:
        plain = json.loads(json.dumps(provenance, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError("provenance", str(error), "JSON values, no NaN") from None
    plain["sha256"] = _checksum(plain)
    return (json.dumps(plain, indent=1, ensure_ascii=False) + "\n").encode()


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


def environment(device: object, precision: str) -> dict[str, object]:
    """What `machine.environment` says, the GPU's driver, the pinned versions, and the code.

    The code is its commit, and whether it differs from that; both are None where it lies in no
    checkout with a commit. `constraints` is the SHA-256 of constraints.txt, None where that is not.
    """
    commit, dirty = _commit()
    return {
        **machine.environment(device, precision),
        "driver": _driver() if str(device).startswith("cuda") else None,
        "constraints": _constraints(),
        "commit": commit,
        "dirty": dirty,
    }


def _driver() -> str | None:
    """The version of NVIDIA's driver, which torch does not tell."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.splitlines()[0].strip() if told.stdout else None


def _constraints() -> str | None:
    root = machine.repository_root()
    path = root / "constraints.txt" if root else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else None


def _commit() -> tuple[str | None, bool | None]:
    """The checkout's commit, and whether anything but the records differs from it."""
    root = machine.repository_root()
    if not root or not (root / ".git").exists():  # a copy may lie inside some other repository
        return None, None
    try:
        changes = _git(root, "status", "--porcelain", "--", ".", ":(exclude)data")
        return _git(root, "rev-parse", "--verify", "HEAD"), bool(changes)
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
