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
        return NAMED[data](data_folder())
    if isinstance(data, str | os.PathLike) and os.fspath(data).endswith(".npz"):
        return _npz(Path(data).expanduser(), data_folder())
    if isinstance(data, Mapping):
        return Source("own arrays", data)
    if isinstance(data, tuple) and len(data) == 2:
        return Source("own arrays", {"x": data[0], "y": data[1]})
    names = ", ".join(map(repr, NAMED))
    allowed = f"{names}, a path ending in .npz, a dict of arrays, or a tuple (x, y)"
    raise ArgumentError("data", data, allowed)


def _npz(path: Path, folder: Path) -> Source:
    """Reads a .npz file, looked for as given and then in the data folder."""
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


@contextlib.contextmanager
def _torchvision(name: str, folder: Path) -> Iterator[Any]:
    """Hands out torchvision's data sets, and says what to do where they fail."""
    with _explained(f"{name} needs torchvision", "Install it as its own page says"):
        from torchvision import datasets
    advice = f"Its files are looked for in {folder} (set by the variable {DATA_VARIABLE}). "
    advice += "Check the network and load it again, or put its files there; "
    advice += 'load("digits") needs no file and no network'
    with _explained(f"{name} cannot be read or downloaded", advice):
        yield datasets


def _digits(folder: Path) -> Source:
    """The handwritten digits that come with scikit-learn: no file and no network needed."""
    with _explained("digits needs scikit-learn, which carries them", "Install it"):
        from sklearn.datasets import load_digits
    images, labels = load_digits(return_X_y=True)
    arrays = {"x": images.reshape(-1, 8, 8).astype(np.uint8), "y": labels}
    return Source("digits", arrays, divisor=16, held_out={"validation": 297, "test": 300})


def _breast_cancer(folder: Path) -> Source:
    """A table that comes with scikit-learn: 30 measurements of 569 tumours, in two classes."""
    with _explained("breast_cancer needs scikit-learn, which carries it", "Install it"):
        from sklearn.datasets import load_breast_cancer
    table = load_breast_cancer()
    arrays = {"x": table.data, "y": table.target, "classes": table.target_names}
    return Source("breast_cancer", arrays)


def _mnist(folder: Path) -> Source:
    with _torchvision("mnist", folder) as datasets:
        train, test = (datasets.MNIST(os.fspath(folder), k, download=k) for k in (True, False))
    return Source("mnist", _three_parts(train.data, train.targets, test.data, test.targets))


def _cifar10(folder: Path) -> Source:
    with _torchvision("cifar10", folder) as datasets:
        train, test = (datasets.CIFAR10(os.fspath(folder), k, download=k) for k in (True, False))
    arrays = _three_parts(train.data, train.targets, test.data, test.targets)
    return Source("cifar10", {**arrays, "classes": train.classes})


def _svhn(folder: Path) -> Source:
    with _torchvision("svhn", folder) as datasets:
        train, test = (
            datasets.SVHN(os.fspath(folder), split, download=True) for split in ("train", "test")
        )
    return Source("svhn", _three_parts(train.data, train.labels, test.data, test.labels))


def _three_parts(x: Any, y: Any, x_test: Any, y_test: Any) -> dict[str, Any]:
    """Makes the last training images the validation part."""
    parts = {"x_train": x[:-VALIDATION_SIZE], "y_train": y[:-VALIDATION_SIZE]}
    parts |= {"x_validation": x[-VALIDATION_SIZE:], "y_validation": y[-VALIDATION_SIZE:]}
    return parts | {"x_test": x_test, "y_test": y_test}


NAMED = {
    "digits": _digits,
    "mnist": _mnist,
    "cifar10": _cifar10,
    "svhn": _svhn,
    "breast_cancer": _breast_cancer,
}
