"""Where images come from: named data sets, the reader's own files, and arrays in memory.

Everything ends in a `Source`: named arrays as they are stored, which `inputs.arrays` then checks.
"""

import contextlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memhelpers.errors import ArgumentError, DataError

DATA_VARIABLE = "MEMHELPERS_DATA"
VALIDATION_SIZE = 10_000  # the last images of the training part, of MNIST, CIFAR-10 and SVHN


@dataclass(frozen=True)
class Source:
    """Arrays as they are stored, before they are checked, split and scaled."""

    name: str  # what the data is called
    arrays: Mapping[str, Any]  # with the keys that `memhelpers.data.load` describes
    divisor: int = 255  # of whole-numbered pixels
    held_out: Mapping[str, int] | None = None  # sizes of parts to split off, where it fixes them


def data_folder() -> Path:
    """Returns the folder of data files: `MEMHELPERS_DATA`, else the user's cache."""
    chosen = os.environ.get(DATA_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "memhelpers"


def read(data: object) -> Source:
    """Reads data; arguments and errors as in `memhelpers.data.load`."""
    if isinstance(data, str) and data in NAMED:
        return NAMED[data](data)
    if isinstance(data, str | os.PathLike) and os.fspath(data).endswith(".npz"):
        return _npz(Path(data).expanduser())
    if isinstance(data, Mapping):
        return Source("own arrays", data)
    if isinstance(data, tuple) and len(data) == 2:
        return Source("own arrays", {"x": data[0], "y": data[1]})
    names = ", ".join(map(repr, NAMED))
    allowed = f"{names}, a path ending in .npz, a dict of arrays, or a tuple (x, y)"
    raise ArgumentError("data", data, allowed)


def _npz(path: Path) -> Source:
    """Reads a .npz file, looked for as given and then in the data folder."""
    folder = data_folder()
    found = path if path.is_file() else folder / path
    if not found.is_file():
        told = f"no file {path}: looked for it here and in {folder}. Give its full path, or put it "
        raise DataError(told + f"into the folder that the variable {DATA_VARIABLE} names")
    what = f"{found} is not a complete .npz file of plain arrays (without Python objects)"
    if not zipfile.is_zipfile(found):
        raise DataError(f"{what}: it is no archive, as np.savez writes it")
    # Never allow_pickle: a data file from elsewhere must not be able to run code.
    with _explained(what), np.load(found, allow_pickle=False) as stored:
        return Source(found.stem, {key: stored[key] for key in stored.files})


@contextlib.contextmanager
def _explained(what: str, advice: str = "") -> Iterator[None]:
    """Turns whatever a reader or a download raises into one DataError."""
    try:
        yield
    except Exception as error:  # each format and connection has its own kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.removesuffix(" when allow_pickle=False")  # nothing that a reader can set
        raise DataError(f"{what}: {reason}.{' ' if advice else ''}{advice}") from error


def _bundled(name: str) -> Source:
    """Data that come with scikit-learn: no file and no network needed."""
    with _explained(f"{name} needs scikit-learn, which carries it", "Install it"):
        from sklearn import datasets
    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
        arrays = {"x": x.reshape(-1, 8, 8).astype(np.uint8), "y": y}
        return Source(name, arrays, divisor=16, held_out={"validation": 297, "test": 300})
    table = datasets.load_breast_cancer()
    return Source(name, {"x": table.data, "y": table.target, "classes": table.target_names})


def _downloaded(name: str) -> Source:
    """Data that torchvision downloads; the last training images become the validation part."""
    with _explained(f"{name} needs torchvision", "Install it as its own page says"):
        from torchvision import datasets
    kind, folder = getattr(datasets, name.upper()), os.fspath(data_folder())
    splits, labels = (True, False), "targets"
    if name == "svhn":
        splits, labels = ("train", "test"), "labels"
    advice = f"Its files are looked for in {folder} (set by the variable {DATA_VARIABLE}). "
    advice += "Check the network and load it again, or put its files there; "
    advice += 'load("digits") needs no file and no network'
    with _explained(f"{name} cannot be read or downloaded", advice):
        train, test = (kind(folder, split, download=True) for split in splits)
    x, y, last = train.data, getattr(train, labels), VALIDATION_SIZE
    arrays = {"x_train": x[:-last], "y_train": y[:-last]}
    arrays |= {"x_validation": x[-last:], "y_validation": y[-last:]}
    arrays |= {"x_test": test.data, "y_test": getattr(test, labels)}
    if name == "cifar10":  # the others' classes are their labels
        arrays["classes"] = train.classes
    return Source(name, arrays)


NAMED = {
    "digits": _bundled,
    "mnist": _downloaded,
    "cifar10": _downloaded,
    "svhn": _downloaded,
    "breast_cancer": _bundled,
}
