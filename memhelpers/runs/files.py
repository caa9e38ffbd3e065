"""Files that readers and later runs rely on: tables as exact CSV, and writes that last."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from memhelpers.errors import ArgumentError

NUMBERS = {"bool", "float32", "float64"}
NUMBERS |= {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


def kinds(argument: str, table: object) -> dict[str, str]:
    """For each column of a table the type that it is read back with: a NumPy name, or "text".

    An `ArgumentError` says of any other table what `argument` may be.
    """
    if not isinstance(table, pd.DataFrame) or not len(table.columns):
        raise ArgumentError(argument, type(table), "a DataFrame with columns")
    names = list(table.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ArgumentError(f"{argument}.columns", names, "texts, each once")
    if not table.index.equals(pd.RangeIndex(len(table))):
        raise ArgumentError(f"{argument}.index", "its own", "0, 1, ... (reset_index())")
    found = {}
    for name, column in table.items():
        is_number = isinstance(column.dtype, np.dtype) and column.dtype.name in NUMBERS
        if not is_number and not all(isinstance(value, str) for value in column):
            allowed = "numbers, booleans or texts (numbers of 32 or 64 bits, or whole ones)"
            raise ArgumentError(f"column {name!r}", column.dtype, allowed)
        found[name] = column.dtype.name if is_number else "text"
    return found


def from_csv(content: bytes, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table of a record from its file and its `kinds`; the texts "nan" and "1" stay texts."""
    exact = {"dtype": str, "na_filter": False, "skip_blank_lines": False, "lineterminator": "\n"}
    table = pd.read_csv(io.BytesIO(content), **exact)
    for name, kind in columns.items():
        if kind == "bool":
            table[name] = table[name] == "True"
        elif kind != "text":  # by NumPy, whose numbers are exact in all versions
            table[name] = np.array(table[name].tolist(), dtype=kind)
    return table


def write(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
