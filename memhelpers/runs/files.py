"""Files that readers and later runs rely on: tables as exact text, and writes that outlive a crash.

What `records` and `store` share. Nothing here needs pickle to be read back.
"""

import contextlib
import csv
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from memhelpers.errors import ArgumentError, check_integer


def check_table(argument: str, table: object) -> pd.DataFrame:
    """Returns the table, which `csv_of` can keep.

    Raises:
        ArgumentError: it is no DataFrame with columns, each of another name, and the default index.
    """
    if not isinstance(table, pd.DataFrame) or not len(table.columns):
        raise ArgumentError(argument, type(table), "a DataFrame with columns")
    names = list(table.columns)
    if not all(isinstance(column, str) for column in names) or len(set(names)) < len(names):
        raise ArgumentError(f"{argument}.columns", names, "texts, each once")
    if not table.index.equals(pd.RangeIndex(len(table))):
        raise ArgumentError(f"{argument}.index", "its own", "0, 1, ... (reset_index())")
    return table


def kinds_of(table: pd.DataFrame) -> dict[str, str]:
    """For each column the type that it is read back with: a NumPy name, or "text".

    Raises:
        ArgumentError: a column of neither numbers, booleans nor texts.
    """
    return {name: _kind(table[name]) for name in table.columns}


def csv_of(table: pd.DataFrame, digits: int | None = None) -> bytes:
    """The table as CSV, from which `columns_from` gets the same values back.

    Args:
        table: see `check_table`.
        digits: significant digits of floating-point columns (default: as many as it takes).
    """
    if digits is not None:
        check_integer("digits", digits, 1, 17)
    columns = [_texts(table[name], digits) for name in table.columns]
    lines = [list(table.columns), *zip(*columns, strict=True)]
    return "".join(map(_line, lines)).encode()


def columns_from(content: bytes, kinds: Mapping[str, str], rows: int) -> dict[str, object]:
    """The columns of a table from what `csv_of` and `kinds_of` gave; texts come as a list.

    Raises:
        ValueError: they do not belong together.
    """
    header, *lines = csv.reader(io.StringIO(content.decode(), newline="")) if content else [[]]
    if header != list(kinds) or len(lines) != rows:
        raise ValueError("the table and its description disagree on rows or columns")
    columns = zip(*lines, strict=True) if lines else [()] * len(header)
    return {name: _values(texts, kinds[name]) for name, texts in zip(header, columns, strict=True)}


def write(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all: under a temporary name beside it, then renamed.

    Raises:
        OSError: no space, or another fault of the file system; a former file is as it was.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(fresh, content)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    with contextlib.suppress(OSError):  # The file stands; only the flush of its name failed.
        sync(path.parent)


def sync(folder: Path) -> None:
    """Makes the names in a folder durable, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kind(column: pd.Series) -> str:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.dtype.name
    if not all(isinstance(value, str) for value in column):
        raise ArgumentError(f"column {column.name!r}", column.dtype, "numbers, booleans or texts")
    return "text"


def _line(fields: Sequence[str]) -> str:
    """One line of CSV; `csv` itself leaves a carriage return unquoted, and reads a new line."""
    special = ("",) if len(fields) == 1 else ()
    quoted = (
        '"' + text.replace('"', '""') + '"' if text in special or _SPECIAL & {*text} else text
        for text in fields
    )
    return ",".join(quoted) + "\n"


_SPECIAL = {",", '"', "\r", "\n"}


def _texts(column: pd.Series, digits: int | None) -> list[str]:
    """A column's values as text; floats with the fewest digits that read back the same."""
    if _kind(column) != "text" and column.dtype.kind == "f":
        # NumPy's own text has the fewest digits of the type; format() goes through a wider one.
        shown = str if digits is None else f"{{:.{digits}g}}".format
        return [shown(value) for value in column.to_numpy()]
    return [str(value) for value in column]


def _values(texts: Sequence[str], kind: str) -> object:
    """A column's values from their texts; a text that reads "nan" or "1" stays a text."""
    if kind == "text":
        return list(texts)
    return np.array([text == "True" for text in texts] if kind == "bool" else texts, dtype=kind)
