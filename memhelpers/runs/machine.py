"""The machine that this runs on: its devices, its versions, where the book's files lie on it.

In a checkout, the declared claims and the recorded runs lie in `book/` and `data/`; a wheel carries
copies inside the package, so that a chapter opened alone (in Colab) still finds them.
"""

import os
import platform
import re
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch

STATIC = "MEMHELPERS_STATIC"  # set while pages are made: nothing there can answer a control

_PACKAGE = Path(__file__).resolve().parent.parent


def repository_root() -> Path | None:
    """The checkout that this package is imported from; None in an installed wheel."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "book").is_dir() else None


def book_file(name: str) -> Path:
    """The path of a file in `book/`, existing or not; a wheel carries few."""
    root = repository_root()
    return (root / "book" if root else _PACKAGE / "_book") / name


def data_folder() -> Path:
    """The folder of the recorded runs, `<chapter>/<name>` below it."""
    root = repository_root()
    return root / "data" if root else _PACKAGE / "_data"


def device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def environment(device: object, precision: str) -> dict[str, object]:
    """What a run ran on: versions, device, CPU threads and precision; no host, user or folder."""
    device = torch.device(device)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "memhelpers": _own_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def progress(what: str, already: int = 0) -> Callable[[float, float], None]:
    """A callback for `fit`, `loss_sensitivity` and `sweep` that shows how far they are.

    A bar of `what` is done; nothing where the output is kept (pages, tests) or `tqdm` is not
    installed. The time left is reckoned from what was not done `already`.
    """
    if os.environ.get(STATIC) or os.environ.get("CI") or not find_spec("tqdm"):
        return lambda done, total: None
    from tqdm import tqdm

    shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.6g}/{total_fmt} [{elapsed}<{remaining}]"
    bar = tqdm(desc=what, unit="", leave=False, initial=already, bar_format=shape)

    def show(done: float, total: float) -> None:
        if bar.total != total:
            bar.total = total
            bar.refresh()
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


@lru_cache(maxsize=1)  # each run of a sweep tells it
def _own_version() -> str | None:
    try:
        return metadata.version("memhelpers")
    except metadata.PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def _cpu_name() -> str:
    linux = Path("/proc/cpuinfo")
    described = linux.read_text(encoding="utf-8") if linux.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return model.group(1).strip() if model else platform.processor() or platform.machine()
