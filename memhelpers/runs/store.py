"""A folder of finished runs, which sweeps share: one file a run, under the hash that determines it.

A run's file is one JSON object with its table, how the table came about, and a checksum. It appears
as a whole or not at all. Two stores become one by copying files.
"""

import contextlib
import hashlib
import json
import math
import os
import secrets
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from memhelpers.errors import ArgumentError
from memhelpers.runs import files

FORMAT = 2
_NOT_ABOUT = ("sha256", "format", "key", "columns", "rows")
_LOCKED = 16  # runs of a unit whose locks are taken: a process may not have many files open


@dataclass(frozen=True)
class Entry:
    """A finished run: its key, how it came about, and type and values of each column."""

    key: str
    about: Mapping[str, Any]
    columns: Mapping[str, tuple[str, list]]
    rows: int


def key_of(determined_by: object) -> str:
    """The key of a run: a hash of the canonical JSON of everything that determines it."""
    text = json.dumps(determined_by, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def encode(key: str, table: pd.DataFrame, about: Mapping[str, Any]) -> bytes:
    """A run's file, with JSON values (no NaN) about how its table came about.

    Raises:
        ArgumentError: a table that cannot be kept.
    """
    kinds = files.kinds("table", table)
    columns = {name: [kind, _plain(table[name], kind)] for name, kind in kinds.items()}
    body = {"format": FORMAT, "key": key, **about, "rows": len(table), "columns": columns}
    rest = json.dumps(body, allow_nan=False).removeprefix("{").encode() + b"\n"
    return _with_checksum(rest)


def _with_checksum(rest: bytes) -> bytes:
    return b'{"sha256": "%s",' % hashlib.sha256(rest).hexdigest().encode() + rest


def decode(content: bytes) -> Entry:
    """A run from its file.

    Raises:
        ValueError: it is truncated, altered or of another format.
    """
    rest = content.partition(b'",')[2]
    if content != _with_checksum(rest):
        raise ValueError("is truncated or altered (its checksum differs)")
    body = json.loads(content)
    if body["format"] != FORMAT:
        raise ValueError(f"is no run of format {FORMAT}")
    about = {k: v for k, v in body.items() if k not in _NOT_ABOUT}
    return Entry(body["key"], about, body["columns"], body["rows"])


def join(entries: Sequence[Entry]) -> pd.DataFrame:
    """The tables of runs below each other; a column that some lack is not a number there.

    Thousands of runs of the same columns take a moment: they are joined column by column.
    """
    kinds = [{name: kind for name, (kind, _) in entry.columns.items()} for entry in entries]
    if any(list(kind.items()) != list(kinds[0].items()) for kind in kinds):
        return pd.concat([join([entry]) for entry in entries], ignore_index=True)
    joined = {}
    for name, kind in kinds[0].items() if kinds else ():
        values = [value for entry in entries for value in entry.columns[name][1]]
        text = kind == "text"
        joined[name] = pd.Series(values, dtype=str) if text else np.array(values, dtype=kind)
    return pd.DataFrame(joined)


def _plain(column: pd.Series, kind: str) -> list:
    """A column's values as JSON keeps them: what is no finite number as text."""
    values = column.tolist()
    if not kind.startswith("float"):
        return values
    return [value if math.isfinite(value) else str(value) for value in values]


class Store:
    """A folder of finished runs, which may be on a mounted drive.

    Raises:
        ArgumentError: there can be no such folder.

    Warns:
        RuntimeWarning: locks do not work in this folder; sweeps then do not heed each other.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.damaged: set[str] = set()
        self.held: list[FileLock] = []
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError("store", str(folder), f"a folder to write in ({error})") from None
        self.locks = True
        probe = self.lock([secrets.token_hex(8)])
        if probe is None:  # though nobody else can hold it
            self._do_without_locks("they are refused")
        self.release(probe or [])

    def path(self, key: str) -> Path:
        """The file of a run."""
        return self.folder / f"{key}.json"

    def find(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Those of these runs that are there; a damaged one counts as missing, with a warning."""
        read = ((key, self._read(key)) for key in keys)
        return {key: entry for key, entry in read if entry is not None}

    def _read(self, key: str) -> Entry | None:
        path = self.path(key)
        try:
            entry = decode(path.read_bytes())
            if entry.key != key:
                raise ValueError("holds another run")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if key not in self.damaged:
                self.damaged.add(key)
                warn(f"a stored run is not used but done again: {path} {error}")
            return None
        return entry

    def put(self, key: str, content: bytes) -> None:
        """Store what `encode` gave: under a temporary name first, so that it is there as a whole.

        Raises:
            OSError: such as no space left; a former file is as it was.
        """
        path = self.path(key)
        fresh = path.with_name(f".{path.name}.tmp")
        try:
            files.write(fresh, content)
            fresh.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise

    def lock(self, keys: Iterable[str]) -> list[FileLock] | None:
        """Locks of runs that are to be done; None where another process does one of them.

        The system gives a lock back whatever ends the process. Only the first of many keys are
        locked, in order: processes that go through the same list then meet at the same keys.
        """
        taken: list[FileLock] = []
        try:
            for key in sorted(keys)[:_LOCKED] if self.locks else ():
                lock = FileLock(self.folder / "locks" / f"{key}.lock")
                taken.append(lock)
                self.held.append(lock)  # before it is taken: Ctrl-C may come at any time
                lock.acquire(timeout=0)
                if not isinstance(lock, FileLock):  # a file that would outlive the process
                    raise NotImplementedError("the folder has none")
        except Timeout:
            self.release(taken)
            return None
        except (OSError, NotImplementedError) as error:
            self.release(taken)
            self._do_without_locks(str(error))
            return []
        return taken

    def release(self, locks: Sequence[FileLock]) -> None:
        """Give locks back; their runs are stored, or this sweep will not do them."""
        for lock in list(locks):
            with contextlib.suppress(OSError):
                if lock.is_locked:
                    Path(lock.lock_file).unlink(missing_ok=True)
                    lock.release()
            self.held.remove(lock)

    def _do_without_locks(self, reason: str) -> None:
        self.locks = False
        told = "start only one sweep at a time on this store"
        warn(f"locks do not work in {self.folder} ({reason}): {told}")


def warn(message: str) -> None:
    """A warning that says enough without the line that it comes from."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)
