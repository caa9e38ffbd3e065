"""A folder of finished runs, which sweeps share: one file a run, under the hash that determines it.

A run's file holds its table as CSV and says how the table came about, in one JSON object with a
checksum. It appears as a whole or not at all. Two stores become one by copying files.
"""

import contextlib
import hashlib
import inspect
import json
import os
import secrets
import time
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from memhelpers.errors import ArgumentError
from memhelpers.runs import files

FORMAT = 1

_CLAIMS, _UNITS = "claims", "units"
_NEEDED = {"format", "key", "table", "sha256"}
_PATIENCE = 60.0  # seconds until a lock that nobody gives back counts as one that does not work
_LEFTOVER = 3600.0  # seconds after which a temporary file belongs to a process that is gone


@dataclass(frozen=True)
class Entry:
    """A finished run.

    Attributes:
        key: the hash of everything that determines it, 64 hexadecimal digits.
        about: what the file says of it besides its table; JSON values.
        kinds: the columns of its table with the type of each.
        columns: their values.
        rows: how many.
    """

    key: str
    about: Mapping[str, Any]
    kinds: Mapping[str, str]
    columns: Mapping[str, Any]
    rows: int

    @property
    def table(self) -> pd.DataFrame:
        """Its table, of the types that it was stored with."""
        return join([self])


def key_of(determined_by: object) -> str:
    """The key of a run: sha256 of the canonical JSON of everything that determines it."""
    text = json.dumps(determined_by, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def encode(key: str, table: pd.DataFrame, about: Mapping[str, Any]) -> bytes:
    """A run's file.

    Args:
        key: of the run.
        table: columns of numbers, booleans or texts, and the default index.
        about: how it came about; JSON values, no NaN.

    Raises:
        ArgumentError: a table that cannot be kept.
    """
    files.check_table("table", table)
    described = {"columns": files.kinds_of(table), "rows": len(table)}
    described["csv"] = files.csv_of(table).decode()
    body = {"format": FORMAT, "key": key, **about, "table": described}
    body["sha256"] = _checksum(body)
    return (json.dumps(body, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def decode(content: bytes) -> Entry:
    """A run from its file.

    Raises:
        ValueError: it is truncated, altered or of another format; the message says which.
    """
    body = _body(content)
    if body.get("format") != FORMAT:
        raise ValueError(f"is of format {body.get('format')!r}, not {FORMAT}")
    if not body.keys() >= _NEEDED or _checksum(body) != body["sha256"]:
        raise ValueError("is altered (its checksum differs)")
    table = body["table"]
    columns = files.columns_from(table["csv"].encode(), table["columns"], table["rows"])
    about = {name: value for name, value in body.items() if name not in _NEEDED}
    return Entry(body["key"], about, table["columns"], columns, table["rows"])


def join(entries: Sequence[Entry]) -> pd.DataFrame:
    """The tables of runs below each other; a column that some lack is not a number there.

    Thousands of runs of the same columns take a moment: they are joined column by column.
    """
    if len({tuple(entry.kinds.items()) for entry in entries}) > 1:
        alone = [join([entry]) for entry in entries]
        return pd.concat(alone, ignore_index=True)
    kinds = entries[0].kinds if entries else {}
    return pd.DataFrame({name: _joined(entries, name, kind) for name, kind in kinds.items()})


class Store:
    """A folder of finished runs.

    Args:
        folder: where it is, or is to be; may be on a mounted drive.

    Raises:
        ArgumentError: there can be no such folder.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.damaged: dict[str, tuple[int, ...]] = {}
        try:
            for inner in (_CLAIMS, _UNITS):
                (self.folder / inner).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError("store", str(folder), f"a folder to write in ({error})") from None
        self._clear_leftovers()

    def path(self, key: str) -> Path:
        """The file of a run."""
        return self.folder / f"{key}.json"

    def keys(self) -> set[str]:
        """The keys of all runs that are there; nothing is read."""
        self._finish_units()
        with os.scandir(self.folder) as found:
            names = [entry.name for entry in found if entry.name.endswith(".json")]
        return {name.removesuffix(".json") for name in names if not name.startswith(".")}

    def has(self, key: str) -> bool:
        """Whether a run is there, as far as that is known without reading it."""
        stamp = _stamp(self.path(key))
        return bool(stamp) and stamp != self.damaged.get(key)

    def find(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Those of these runs that are there.

        Warns:
            RuntimeWarning: a file is damaged; it counts as missing, and is replaced when its run
                has been done again.
        """
        there = self.keys()
        read = ((key, self._read(key)) for key in dict.fromkeys(keys) if key in there)
        return {key: entry for key, entry in read if entry is not None}

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Store runs that were trained together: after a crash all of them are there, or none.

        Args:
            contents: by key, what `encode` gave.

        Raises:
            OSError: no space left, or another fault of the file system.
        """
        if len(contents) == 1:
            self._write(contents)
            return
        together = self.folder / _UNITS / f"{secrets.token_hex(8)}.json"
        files.replace(together, json.dumps({k: c.decode() for k, c in contents.items()}).encode())
        self._write(contents)
        together.unlink(missing_ok=True)

    def _write(self, contents: Mapping[str, bytes]) -> None:
        for key, content in contents.items():
            files.replace(self.path(key), content)

    def _read(self, key: str) -> Entry | None:
        path, stamp = self.path(key), _stamp(self.path(key))
        try:
            entry = decode(path.read_bytes())
            if entry.key != key:
                raise ValueError("holds another run")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.damaged[key] = stamp
            reason = str(error) if isinstance(error, OSError | ValueError) else "is altered"
            message = f"a stored run is not used but done again: {path} {reason}"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
            return None
        return entry

    def _finish_units(self) -> None:
        """Give the runs of a unit their files where a crash came in between."""
        for path in (self.folder / _UNITS).glob("[!.]*.json"):
            with contextlib.suppress(OSError):
                missing = {k: c for k, c in _runs(path).items() if not self.path(k).exists()}
                self._write(missing)
                path.unlink(missing_ok=True)

    def _clear_leftovers(self) -> None:
        for folder in (self.folder, self.folder / _CLAIMS, self.folder / _UNITS):
            for path in folder.glob(".*.tmp"):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > _LEFTOVER:
                        path.unlink()


class Claims:
    """Which runs of a store this sweep works on, so that no other process does the same.

    Each sweep holds the lock of a file of its own for as long as it lives, beside a list of the
    runs that it claims. A list counts only while that lock is held, and the system gives the lock
    back whatever ends the process. Lists change under one lock of the whole store.

    Args:
        store: whose runs; None claims everything at once.

    Warns:
        RuntimeWarning: locks do not work in this folder; sweeps then do not heed each other.
    """

    def __init__(self, store: Store | None):
        self.store = store
        self.mine: set[str] = set()
        self.name = secrets.token_hex(8)
        self.life: FileLock | None = None

    def __enter__(self) -> "Claims":
        if self.store is not None:
            try:
                self.life = self._take_life()
            except (OSError, NotImplementedError, Timeout) as error:
                self._do_without(error)
        return self

    def __exit__(self, *error: object) -> None:
        if self.life is not None:
            with contextlib.suppress(OSError):
                self._list(self.name).unlink(missing_ok=True)
                self.life.release()
                self._lock_file(self.name).unlink(missing_ok=True)
            self.life = None

    def take(self, keys: Iterable[str]) -> list[str]:
        """Claim runs; those are left out that another sweep has claimed, or done meanwhile."""
        keys = list(keys)
        if self.life is None:
            return keys
        try:
            with self._all():
                others = self._others()
                free = [k for k in keys if k not in others and not self._done(k)]
                self._publish(self.mine | set(free))
        except (OSError, NotImplementedError, Timeout) as error:
            self._do_without(error)
            return keys
        return free

    def release(self, keys: Iterable[str]) -> None:
        """Give runs back that are stored, or that this sweep will not do."""
        if self.life is None:
            return
        with contextlib.suppress(OSError, NotImplementedError, Timeout), self._all():
            self._publish(self.mine - set(keys))

    def _take_life(self) -> FileLock:
        life = _lock(self._lock_file(self.name))
        life.acquire(timeout=5)  # nobody else wants it: some versions try on where there are none
        with contextlib.suppress(Timeout):  # some mounted drives let everybody have every lock
            _lock(self._lock_file(self.name)).acquire(timeout=0)
            raise NotImplementedError("locks keep nobody out")
        _held.add(life)
        return life

    def _do_without(self, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        warnings.warn(
            f"runs cannot be claimed in {self.store.folder} ({reason}): other processes do not see "
            "which ones this sweep works on; start only one sweep at a time on this store",
            RuntimeWarning,
            stacklevel=4,
        )
        self.__exit__()

    def _done(self, key: str) -> bool:
        return key not in self.mine and self.store.has(key)

    def _all(self) -> Any:
        return _lock(self._lock_file("all")).acquire(timeout=_PATIENCE)

    def _others(self) -> set[str]:
        """What the other living sweeps claim; what a dead one has left is removed."""
        claimed: set[str] = set()
        for path in (self.store.folder / _CLAIMS).glob("[!.]*.json"):
            if path.stem == self.name:
                continue
            if self._lives(path.stem):
                with contextlib.suppress(OSError, ValueError):
                    claimed |= set(json.loads(path.read_bytes()))
            else:
                path.unlink(missing_ok=True)
                self._lock_file(path.stem).unlink(missing_ok=True)
        return claimed

    def _lives(self, name: str) -> bool:
        try:
            with _lock(self._lock_file(name)).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _publish(self, keys: set[str]) -> None:
        fresh = self._list(f".{self.name}")  # not flushed: after a crash of the system none counts
        fresh.write_text(json.dumps(sorted(keys)))
        fresh.replace(self._list(self.name))
        self.mine = keys

    def _list(self, name: str) -> Path:
        return self.store.folder / _CLAIMS / f"{name}.json"

    def _lock_file(self, name: str) -> Path:
        return self.store.folder / _CLAIMS / f"{name}.lock"


def _lock(path: Path) -> FileLock:
    """A lock that the system keeps; where there is none, better none than one that outlives us."""
    takes = inspect.signature(FileLock.__init__).parameters
    return FileLock(path, **({"fallback_to_soft": False} if "fallback_to_soft" in takes else {}))


_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


def _close_in_child() -> None:
    """Forked workers must not keep a lock that their parent no longer holds."""
    for lock in list(_held):
        context = getattr(lock, "_context", None)
        descriptor = getattr(context, "lock_file_fd", None)  # None where filelock sees to it itself
        if descriptor is not None:
            context.lock_file_fd = None
            os.close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _stamp(path: Path) -> tuple[int, ...]:
    """What tells a file from one that has replaced it; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _runs(path: Path) -> dict[str, bytes]:
    """The runs of a unit's file; none where it is damaged."""
    try:
        return {key: text.encode() for key, text in json.loads(path.read_bytes()).items()}
    except (ValueError, AttributeError):
        return {}


def _body(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        raise ValueError("is truncated or garbled") from None
    if not isinstance(body, dict):
        raise ValueError("is no run")
    return body


def _checksum(body: Mapping[str, Any]) -> str:
    return key_of({name: value for name, value in body.items() if name != "sha256"})


def _joined(entries: Sequence[Entry], name: str, kind: str) -> Any:
    values = [entry.columns[name] for entry in entries]
    if kind == "text":
        return pd.Series([text for some in values for text in some], dtype=str)
    return np.concatenate(values)
