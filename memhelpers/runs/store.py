"""A folder of finished runs, which sweeps share: one file a run, under the hash that determines it.

A run's file is one JSON object with its table, how the table came about, and a checksum.
"""

import contextlib
import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from memhelpers.errors import ArgumentError
from memhelpers.runs import files

FORMAT = 3  # part of every key: runs of another format are not found

Entry = dict[str, Any]  # a finished run as its file keeps it: `columns`, `rows`, and facts about it


def key_of(determined_by: object) -> str:
    """The key of a run: a hash of the canonical JSON of everything that determines it."""
    whole = [FORMAT, determined_by]
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def to_entry(argument: str, table: pd.DataFrame, **about: Any) -> Entry:
    """A finished run: type and values of each column (see `files.kinds`), and JSON about it."""
    columns = {}
    for name, kind in files.kinds(argument, table).items():
        values = table[name].tolist()  # what is no finite number as text, as JSON has none
        values = [str(v) if isinstance(v, float) and not math.isfinite(v) else v for v in values]
        columns[name] = [kind, values]
    return {**about, "rows": len(table), "columns": columns}


def encode(entry: Entry) -> bytes:
    """A run's file: its JSON, whose first entry is the checksum of what follows."""
    rest = json.dumps(entry, allow_nan=False).removeprefix("{").encode() + b"\n"
    return b'{"sha256": "%s",' % hashlib.sha256(rest).hexdigest().encode() + rest


def decode(content: bytes) -> Entry:
    """A run from its file; a `ValueError` if that is truncated or altered."""
    head, _, rest = content.partition(b'",')
    if head != b'{"sha256": "%s' % hashlib.sha256(rest).hexdigest().encode():
        raise ValueError("is truncated or altered (its checksum differs)")
    return json.loads(content)


def join(entries: Sequence[Entry]) -> pd.DataFrame:
    """The tables of runs below each other; a column that some lack is not a number there."""
    kinds = [[(name, kind) for name, (kind, _) in entry["columns"].items()] for entry in entries]
    if any(kind != kinds[0] for kind in kinds):
        return pd.concat([join([entry]) for entry in entries], ignore_index=True)
    joined = {}  # column by column: thousands of runs take a moment
    for name, kind in kinds[0] if kinds else ():
        values = [value for entry in entries for value in entry["columns"][name][1]]
        text = kind == "text"
        joined[name] = pd.Series(values, dtype=str) if text else np.array(values, dtype=kind)
    return pd.DataFrame(joined)


class Store:
    """A folder of finished runs, which may be on a mounted drive."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError("store", str(folder), f"a folder to write in ({error})") from None

    def path(self, key: str) -> Path:
        """The file of a run."""
        return self.folder / f"{key}.json"

    def find(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Those of these runs that are there; a damaged one counts as missing, with a warning."""
        found = {}
        for key in keys:
            try:
                found[key] = decode(self.path(key).read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                warn(f"a stored run is not used but done again: {self.path(key)} {error}")
        return found

    def put(self, key: str, entry: Entry) -> None:
        """Store a run: under a temporary name first, so that it is there as a whole or not at all.

        After an `OSError`, such as no space left, a former file is as it was.
        """
        fresh = self.folder / f".{key}.tmp"
        try:
            files.write(fresh, encode(entry))
            fresh.replace(self.path(key))
        except OSError:
            fresh.unlink(missing_ok=True)  # half of it would take what little space there is
            raise

    @contextlib.contextmanager
    def alone(self, sweep: str, seconds: float = math.inf) -> Iterator[None]:
        """Keeps out other processes with the same sweep; waits for them, so long at most.

        The system gives the lock back whatever ends the process. Where locks do not work a warning
        says so, and sweeps do not heed each other.
        """
        lock = FileLock(self.folder / "locks" / f"{sweep}.lock")
        try:
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
            if not isinstance(lock, FileLock):  # a file that would outlive the process
                raise NotImplementedError("the folder has none")
            if not lock.is_locked:
                warn("another process does this sweep: waiting for its runs")
                lock.acquire(timeout=-1 if seconds == math.inf else seconds)
        except Timeout:
            pass  # no time is left to start anything
        except (OSError, NotImplementedError) as error:
            told = "start only one sweep at a time on this store"
            warn(f"locks do not work in {self.folder} ({error}): {told}")
        try:
            yield
        finally:
            lock.release()


def warn(message: str) -> None:
    """A warning that says enough without the line that it comes from."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)
