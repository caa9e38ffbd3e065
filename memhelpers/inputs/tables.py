"""From a reader's examples to numbers to learn from: images, vectors, tables, files of either.

Inputs get mean 0 and deviation 1; a column of texts becomes one number for each of its values, 1
where the row has it, one of dates the days since 1970. Missing values are an error until the reader
has chosen what to do.
"""

import csv
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from memhelpers.errors import ArgumentError, DataError, as_list, check_choice
from memhelpers.inputs import arrays, sources

LEVELS = 50  # values of a column of texts, at most
FURTHEST = 10.0  # deviations; what lies further, as a typing error may, counts as this
MISSING = (None, "fill", "drop")
LEAST = 10  # examples, as ten networks leave each of them out in turn
ROWS_OF_AN_ID = 20  # from so many rows on are whole numbers without a repetition taken for an id
DATE = r"\d{4}-\d\d-\d\d"  # how a text begins that is read as a date


@dataclass(frozen=True)
class Examples:
    """Labelled examples, ready to learn from."""

    x: np.ndarray  # float32 [n, C, H, W]; vectors and rows of a table are [n, 1, 1, d]
    y: np.ndarray  # int64 [n], places among the classes
    classes: np.ndarray  # of the type of the labels, or names, [K]
    rows: np.ndarray  # the place of each example in what was given, [n]
    table: pd.DataFrame | None  # what was given, where it is one; of a file by its lines


def examples(
    x: Any,
    y: Any = None,
    *,
    classes: Any = None,
    label: str | None = None,
    missing: str | None = None,
    layout: str | None = None,
) -> Examples:
    """Checked examples; arguments and errors as in `memhelpers.audit.audit`, `classes` names."""
    check_choice("missing", missing, MISSING)
    if isinstance(y, str):
        raise ArgumentError("y", y, f"one label an example; label={y!r} where a column is meant")
    if isinstance(x, str | os.PathLike):
        if y is not None:
            raise ArgumentError("y", y, f"None, as {os.fspath(x)!r} has the labels")
        x, y, classes = _read(x, label)
    table = x.copy() if isinstance(x, pd.DataFrame) else None
    if table is not None and not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise ArgumentError("x", f"two columns {twice!r}", "columns of different names")
    if table is not None and y is None:
        x, y = _split_label(table, label)
    elif label is not None:
        raise ArgumentError("label", label, "None: only a table without y has such a column")
    if y is None:
        raise ArgumentError("y", None, "a label for each example")
    named = "y" if label is None else f"label={label!r}"
    if isinstance(y, pd.DataFrame):
        y = y.squeeze(axis=1).to_numpy()
    if not isinstance(x, pd.DataFrame):
        x = arrays.as_array("x", x)
        x = pd.DataFrame(arrays.numbers("x", x)) if x.ndim == 2 else x
    if x.ndim:
        _check_count(len(x), "rows")
    if isinstance(x, pd.DataFrame):
        index = x.index
        columns = _plain(x.reset_index(drop=True))
        columns, y, rows = _complete(columns, named, y, missing, index)
        x = _to_numbers(columns, y)[:, None, None]
    else:
        pixels = arrays.pixels_of("x", x, 255, layout, exact=True)
        x = arrays.standardized({"train": (pixels, None)})["train"][0]
        rows = np.arange(len(x))
        index = pd.Index(rows)
    y, classes = _labels(named, y, index[rows], classes)
    return Examples(x, y, classes, rows, table)


def _check_count(n: int, what: str) -> None:
    if n < LEAST:
        raise ArgumentError("x", f"{n or 'no'} {what}", f"at least {LEAST}")


def _place(index: pd.Index, row: int) -> str:
    """A row as the report calls it, of a file by its line."""
    return f"{index.name or 'row'} {index[row]}"


def _labels(named: str, y: Any, index: pd.Index, classes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels as places among the classes, and these; each has at least two examples."""
    array, n = arrays.as_array(named, y), len(index)
    if array.dtype.kind == "f" and (array == np.round(array)).all():  # as a gap makes them
        array = array.astype(np.int64)
    if array.shape != (n,):
        given = f"labels of shape {list(array.shape)}"
        raise ArgumentError(named, given, f"one label an example, [{n}]")
    different, first, counts = np.unique(array, return_index=True, return_counts=True)
    numbers = "" if array.dtype.kind == "U" else "; no measured number"
    if 2 * len(different) > n:
        given = f"{len(different)} different labels of {n} examples"
        raise ArgumentError(named, given, f"classes, each with several examples{numbers}")
    if array.dtype.kind == "f":
        row = int((array != np.round(array)).argmax())
        given = f"label {array[row]:g} in {_place(index, row)}, which is no whole number"
        allowed = "whole numbers or texts; where fractions name classes, texts such as 'class 3.5'"
        raise ArgumentError(named, given, allowed + numbers)
    if counts.min() < 2:
        rare = counts.argmin()
        where = _place(index, first[rare])
        given = f"class {str(different[rare])!r} with one example, in {where}"
        allowed = "at least 2 examples of each class: leave this one out, or merge two classes"
        raise ArgumentError(named, given, allowed)
    names, found = arrays.classes_of(classes, {named: arrays.labels_of(named, array, "x", n)})
    return found[named], different if classes is None else np.array(names)


def _read(path: str | os.PathLike, label: str | None) -> tuple[Any, Any, Any]:
    """Inputs, labels and names of classes in a file; of a table no labels yet."""
    if os.fspath(path).endswith(".csv"):
        return _read_csv(path, label), None, None
    if not os.fspath(path).endswith(".npz"):
        raise ArgumentError("x", os.fspath(path), "the path of a .csv or an .npz file")
    stored = sources.read(path).arrays
    if not {"x", "y"} <= set(stored):
        named = ", ".join(stored) or "(none)"
        raise ArgumentError("x", f"an .npz file with the keys {named}", "one with x and y")
    return stored["x"], stored["y"], stored.get("classes")


def _read_csv(path: str | os.PathLike, label: str | None) -> pd.DataFrame:
    """The table of a `.csv` file, its index the lines; a `DataError` where it is none."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        table = pd.read_csv(path)
        lines = _filled_lines(path)[1:]  # without that of the header
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in UTF-8, as a table must be: save it as UTF-8") from error
    except (ValueError, csv.Error) as error:  # also what pandas says of no table
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is no table of comma-separated columns: {reason}") from error
    if table.shape[1] < 2 and label not in table.columns:
        told = f"one column, {table.columns[0]!r}; are its columns separated by commas?"
        raise DataError(f"{path} has {told}")
    if not len(table):
        raise DataError(f"{path} has no rows below its header")
    if len(lines) != len(table):  # as a quotation mark within a value makes them
        lines = range(2, 2 + len(table))
    return table.set_index(pd.Index(lines, name="line"))


def _filled_lines(path: Path) -> list[int]:
    """Which lines hold something, as a spreadsheet counts: from 1, a line break in quotes none."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = enumerate(csv.reader(file), 1)
        return [line for line, row in rows if len(row) > 1 or "".join(row).strip()]


def _split_label(table: pd.DataFrame, label: str | None) -> tuple[pd.DataFrame, pd.Series]:
    """The columns to learn from, and the column of labels."""
    if label is None or label not in table.columns:
        named = ", ".join(map(repr, table.columns[:20])) + ", ..." * (table.shape[1] > 20)
        raise ArgumentError("label", label, f"the column of the labels, one of {named}")
    if table.shape[1] == 1:
        given = f"no other column than that of the labels, {label!r}"
        raise ArgumentError("x", given, "at least one column to learn from")
    return table.drop(columns=label), table[label]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Dates as days since 1970, truth values with gaps as 0 and 1; nothing where all is missing."""
    empty = table.columns[table.isna().all()]
    for name in empty:
        _left_out(name, "is empty")
    table = table.drop(columns=empty)
    for name in table.columns:
        known = table[name].dropna().infer_objects()
        if types.is_bool_dtype(known) and len(known) < len(table):
            table[name] = table[name].astype(float)
        elif not types.is_numeric_dtype(known) and known.astype(str).str.match(DATE).all():
            dates = pd.to_datetime(table[name], errors="coerce", format="ISO8601", utc=True)
            if dates.notna().sum() == len(known):
                table[name] = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
    return table


def _complete(
    table: pd.DataFrame, named: str, y: Any, missing: str | None, index: pd.Index
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Columns and labels without missing values, and the places of their rows.

    `missing`: "drop" leaves the rows out that lack something; "fill" puts a column's mean, or the
    text "missing", and adds a column that says where; labels are never filled.
    """
    listed = as_list(y.tolist() if hasattr(y, "tolist") else y)
    if listed is None or any(isinstance(label, list | tuple | np.ndarray) for label in listed):
        raise ArgumentError(named, y, f"one label an example, [{len(table)}]")
    y = pd.Series(listed, dtype=object)
    if len(y) != len(table):
        raise ArgumentError(named, f"{len(y)} labels", f"{len(table)}, one a row")
    table = table.replace([np.inf, -np.inf], np.nan)
    whole = np.ones(len(y), bool)
    if missing == "drop":
        whole = (table.notna().all(axis=1) & y.notna()).to_numpy()
        _check_count(int(whole.sum()), "complete rows")
    table, y = table[whole], y[whole].infer_objects()
    if (absent := y.isna().to_numpy()).any():
        where = _place(index, int(absent.argmax()))
        given = f"no label in {where} (none in {absent.sum()} of {len(y)} rows)"
        allowed = 'labels, or missing="drop", which leaves such rows out; '
        raise ArgumentError(named, given, allowed + 'missing="fill" does not fill labels')
    lacking = [name for name in table.columns if table[name].isna().any()]
    if lacking and missing is None:
        counts = ", ".join(f"{name!r} ({int(table[name].isna().sum())})" for name in lacking[:9])
        more = ", ..." * (len(lacking) > 9)
        given = f"missing or infinite values in columns {counts}{more}"
        raise ArgumentError("x", given, 'complete columns, or missing="fill", or missing="drop"')
    for name in lacking:
        where, number = table[name].isna(), types.is_numeric_dtype(table[name])
        column = table[name].astype(float if number else object)
        table[name] = column.fillna(column.mean() if number else "missing")
        table[f"{name} is missing"] = where
    return table, y.to_numpy(), np.flatnonzero(whole)


def _to_numbers(table: pd.DataFrame, y: np.ndarray) -> np.ndarray:
    """The columns as float32 [n, d]; an `ArgumentError` names one that cannot become numbers.

    Warns:
        UserWarning: a column is left out that looks like an id, or that says the label, which would
            make every label look right.
    """
    code, parts = pd.factorize(pd.Series(y))[0], []
    classes = 2 * code.max(initial=0) < len(code)  # else no labels to learn: a later error
    for name, column in table.items():
        same = pd.factorize(column, use_na_sentinel=False)[0] == code
        if why := "says the label" if classes and same.all() else _like_an_id(column):
            _left_out(name, why)
        else:
            parts.append(_encoded(str(name), column))
    if not parts:
        raise ArgumentError("x", "no column to learn from", "at least one that is no id")
    numbers = np.concatenate(parts, axis=1)
    deviation = numbers.std(0)
    deviation[deviation <= 1e-12 * np.abs(numbers).max(0)] = 1
    return ((numbers - numbers.mean(0)) / deviation).clip(-FURTHEST, FURTHEST).astype(np.float32)


def _like_an_id(column: pd.Series) -> str:
    """Why a column only names its rows: as texts, or whole numbers that count them; else ""."""
    n, different = len(column), column.nunique()
    if types.is_integer_dtype(column):
        counts = n >= ROWS_OF_AN_ID and different == n and column.max() - column.min() < 2 * n
        return "looks like an id (whole numbers in a row, no two alike)" if counts else ""
    texts = types.is_string_dtype(column) and different > max(0.9 * n, ROWS_OF_AN_ID)
    return "looks like an id (texts, hardly two alike)" if texts else ""


def _encoded(name: str, column: pd.Series) -> np.ndarray:
    """A column as float64 [n, k]."""
    if types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float)[:, None]
    kinds = sorted({type(value).__name__ for value in column})
    if len(kinds) > 1:
        given = f"column {name!r} with values of the types {', '.join(kinds)}"
        raise ArgumentError("x", given, "numbers, or texts, in one column")
    if column.nunique() > LEVELS:
        given = f"column {name!r} with {column.nunique()} different texts"
        allowed = f"at most {LEVELS} in a column, dates as 2024-05-31, or a column left out"
        raise ArgumentError("x", given, allowed)
    return pd.get_dummies(column.astype(str)).to_numpy(dtype=float)


def _left_out(name: object, why: str) -> None:
    warnings.warn(f"column {str(name)!r} {why} and is left out", UserWarning, stacklevel=5)
