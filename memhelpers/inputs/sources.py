"""Where images come from: named data sets, the reader's own files, and arrays in memory.

Everything ends in a `Source`: named arrays as they are stored, which `inputs.arrays` then checks.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memhelpers.errors import ArgumentError, DataError

DATA_VARIABLE = "MEMHELPERS_DATA"

# MD5 sums of the four uncompressed MNIST files (torchvision pins those of the compressed ones only,
# and does not look at a file again once it is unpacked).
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
VALIDATION_SIZE = 10_000  # the last images of the training part, of MNIST, CIFAR-10 and SVHN


@dataclass(frozen=True)
class Source:
    """Arrays as they are stored, before they are checked, split and scaled."""

    name: str  # what the data is called
    arrays: Mapping[str, Any]  # with the keys that `memhelpers.data.load` describes
    divisor: int = 255  # of whole-numbered pixels
    held_out: Mapping[str, int] | None = None  # sizes of parts to split off, where it fixes them


def data_folder(root: str | os.PathLike | None = None) -> Path:
    """Returns the folder of data files: `root`, else `MEMHELPERS_DATA`, else the user's cache."""
    chosen = root or os.environ.get(DATA_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "memhelpers"


def read(source: object, root: str | os.PathLike | None = None, download: bool = True) -> Source:
    """Reads a source; arguments and errors as in `memhelpers.data.load`."""
    if isinstance(source, str) and source in NAMED:
        return NAMED[source](data_folder(root), download)
    if isinstance(source, str | os.PathLike) and os.fspath(source).endswith(".npz"):
        return _npz(Path(source).expanduser(), data_folder(root))
    if isinstance(source, Mapping):
        return Source("own arrays", source)
    if isinstance(source, tuple) and len(source) == 2:
        return Source("own arrays", {"x": source[0], "y": source[1]})
    names = ", ".join(map(repr, NAMED))
    allowed = f"{names}, a path ending in .npz, a dict of arrays, or a tuple (x, y)"
    raise ArgumentError("source", source, allowed)


def _npz(path: Path, folder: Path) -> Source:
    """Reads a .npz file, looked for as given and then in the data folder."""
    found = path if path.is_file() else folder / path
    if not found.is_file():
        told = f"no file {path}: looked for it here and in {folder}. Give its full path, or put it "
        raise DataError(told + f"into the folder that `root` or the variable {DATA_VARIABLE} names")
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
def _torchvision(name: str, folder: Path, download: bool) -> Iterator[Any]:
    """Hands out torchvision's data sets, and says what was tried and what to do where they fail."""
    with _explained(f"{name} needs torchvision", "Install it as its own page says"):
        from torchvision import datasets
    addresses = {
        "mnist": datasets.MNIST.mirrors,
        "cifar10": [datasets.CIFAR10.url],
        "svhn": [datasets.SVHN.split_list[split][0] for split in ("train", "test")],
    }
    tried = f" or downloaded (tried {' and '.join(addresses[name])})" if download else ""
    again = "Check the network and load it again" if download else "Load it with download=True"
    where = f"{folder} (set by the argument root or the variable {DATA_VARIABLE})"
    advice = f"Its files are looked for in {where}. {again}, or put its files there; "
    advice += 'load("digits") needs no file and no network'
    with _explained(f"{name} cannot be read{tried}", advice):
        yield datasets


def _digits(folder: Path, download: bool) -> Source:
    """The handwritten digits that come with scikit-learn: no file and no network needed."""
    with _explained("digits needs scikit-learn, which carries them", "Install it"):
        from sklearn.datasets import load_digits
    images, labels = load_digits(return_X_y=True)
    arrays = {"x": images.reshape(-1, 8, 8).astype(np.uint8), "y": labels}
    return Source("digits", arrays, divisor=16, held_out={"validation": 297, "test": 300})


def _breast_cancer(folder: Path, download: bool) -> Source:
    """A table that comes with scikit-learn: 30 measurements of 569 tumours, in two classes."""
    with _explained("breast_cancer needs scikit-learn, which carries it", "Install it"):
        from sklearn.datasets import load_breast_cancer
    table = load_breast_cancer()
    arrays = {"x": table.data, "y": table.target, "classes": table.target_names}
    return Source("breast_cancer", arrays)


def _mnist(folder: Path, download: bool) -> Source:
    raw = folder / "MNIST" / "raw"
    if not all((raw / name).is_file() for name in MNIST_FILES):
        with _torchvision("mnist", raw, download) as datasets:
            datasets.MNIST(os.fspath(folder), download=download)
    contents = [_verified(raw / name, md5) for name, md5 in MNIST_FILES.items()]
    # An idx header has 4 bytes, and 4 more for each dimension; the MD5 sum vouches for the rest.
    x, x_test = (np.frombuffer(c, np.uint8, offset=16).reshape(-1, 28, 28) for c in contents[::2])
    y, y_test = (np.frombuffer(c, np.uint8, offset=8) for c in contents[1::2])
    return Source("mnist", _three_parts(x, y, x_test, y_test))


def _verified(path: Path, md5: str) -> bytes:
    """Reads a file whose MD5 sum is known."""
    with _explained(f"{path} cannot be read"):
        content = path.read_bytes()
    given = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if given != md5:
        told = f"{path} is truncated or altered: {len(content):,} bytes with MD5 {given}, and not "
        raise DataError(f"{told}{md5}. Delete it and load the data again")
    return content


def _cifar10(folder: Path, download: bool) -> Source:
    with _torchvision("cifar10", folder, download) as datasets:
        train = datasets.CIFAR10(os.fspath(folder), train=True, download=download)
        test = datasets.CIFAR10(os.fspath(folder), train=False)
    arrays = _three_parts(train.data, train.targets, test.data, test.targets)
    return Source("cifar10", {**arrays, "classes": train.classes})


def _svhn(folder: Path, download: bool) -> Source:
    with _torchvision("svhn", folder, download) as datasets:
        train = datasets.SVHN(os.fspath(folder), split="train", download=download)
        test = datasets.SVHN(os.fspath(folder), split="test", download=download)
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
