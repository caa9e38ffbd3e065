"""Execute notebooks, each only when something that it depends on has changed: the second step.

A notebook's outputs are kept under a key over everything that can change them: its code, the
helpers, the claims and their verdicts, the recorded runs that it draws, the preset and the
versions of what computes. Prose is not in the key, so an edited sentence costs no run.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from memhelpers import claims
from tools import notebooks

VERSIONS = ("torch", "numpy", "pandas", "altair", "ipykernel", "nbclient")
CELL_TIMEOUT = 3600  # seconds; a chapter at paper scale may hold a cell for most of an hour
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class NotebookError(RuntimeError):
    """A cell has failed; the message names the notebook, the cell and the error."""


@dataclass
class Executor:
    """Executes the notebooks of one checkout.

    Args:
        root: The checkout: `memhelpers/`, `book/` and `data/` lie in it.
        cache: Folder of the kept outputs, one file per notebook.
        log: Called with one line of progress.
        bars: Whether to draw a live bar over the cells of a running notebook.
    """

    root: Path
    cache: Path
    log: Callable[[str], None] = print
    bars: bool = field(default_factory=lambda: sys.stderr.isatty() and not os.environ.get("CI"))

    def outputs(self, path: Path, folder: Path) -> NotebookNode:
        """Return the notebook at `path` with its outputs, executed in `folder` unless kept.

        Args:
            path: The notebook as it stands in the book.
            folder: Working folder of the run.

        Raises:
            NotebookError: A cell has failed; nothing is kept of that run.
        """
        notebook = notebooks.refresh_bootstrap(notebooks.read(path))
        notebook = notebooks.normalize(notebook, path.stem)
        key = self.key(path, notebook)
        kept = self._kept(path.stem, key)
        if kept is None:
            kept = self._run(path.stem, notebook, folder)
            self._keep(path.stem, key, kept)
        else:
            self.log(f"  {path.stem}: unchanged, outputs kept")
        return with_outputs(notebook, kept)

    def key(self, path: Path, notebook: NotebookNode) -> str:
        """Hash everything that the notebook's outputs depend on."""
        code = [(cell.source, notebooks.tags(cell)) for cell in notebooks.code_cells(notebook)]
        digest = hashlib.sha256(json.dumps([code, settings()]).encode())
        for file in self._dependencies(path, json.dumps(code)):
            digest.update(file.relative_to(self.root).as_posix().encode() + b"\0")
            digest.update(file.read_bytes())
        digest.update(json.dumps(self._verdicts().get(path.stem)).encode())
        return digest.hexdigest()

    def _verdicts(self) -> dict:
        """Read what the first screens of the chapters say."""
        kept = self.root / "data" / claims.KEPT
        return json.loads(kept.read_text()) if kept.exists() else {}

    def _dependencies(self, path: Path, code: str) -> list[Path]:
        """List the helpers, the claims and the records of each chapter that the code names."""
        records = [folder for folder in (self.root / "data").glob("*/") if folder.name != "cache"]
        used = [folder for folder in records if folder.name == path.stem or folder.name in code]
        files = [self.root / "book" / "claims.yml", *(self.root / "memhelpers").rglob("*.py")]
        files += [file for folder in used for file in folder.rglob("*") if file.is_file()]
        return sorted(file for file in files if file.exists())

    def _kept(self, stem: str, key: str) -> list[dict] | None:
        file = self.cache / f"{stem}.json"
        if not file.exists():
            return None
        try:
            kept = json.loads(file.read_text())
        except ValueError:  # garbled: as good as not kept
            return None
        return kept["cells"] if kept["key"] == key else None

    def _keep(self, stem: str, key: str, cells: list[dict]) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        unfinished = self.cache / f"{stem}.json.part"
        unfinished.write_text(json.dumps({"key": key, "cells": cells}))
        unfinished.replace(self.cache / f"{stem}.json")

    def _run(self, stem: str, notebook: NotebookNode, folder: Path) -> list[dict]:
        cells = len(notebooks.code_cells(notebook))
        self.log(f"  {stem}: executing {cells} cells ({preset()} preset)")
        started = time.monotonic()
        executed = run(notebook, folder, title=stem, root=self.root, bar=self.bars)
        self.log(f"  {stem}: done in {time.monotonic() - started:.0f} s")
        return [{"outputs": cell.outputs} for cell in notebooks.code_cells(executed)]


def preset() -> str:
    """Name the preset that the notebooks run at: the reader's, or quick."""
    return os.environ.get("MEMHELPERS_PRESET") or "quick"


def settings() -> dict[str, str]:
    """Collect what else decides the outputs: the preset, Python and the libraries that compute."""
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    return {"preset": preset(), "python": platform.python_version(), **versions}


def run(notebook: NotebookNode, folder: Path, *, title: str, root: Path, bar: bool) -> NotebookNode:
    """Execute a copy of the notebook in `folder` and return the copy.

    Raises:
        NotebookError: A cell has failed.
    """
    copy = deepcopy(notebook)
    progress = tqdm(total=len(notebooks.code_cells(copy)), desc=title, disable=not bar, leave=False)
    failed: list[int] = []
    client = NotebookClient(
        copy,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=40"],  # errors only; the kernel's notices are not the book's
        resources={"metadata": {"path": str(folder)}},
        on_cell_executed=lambda **_: progress.update(),
        on_cell_error=lambda cell_index, **_: failed.append(cell_index),
    )
    with progress:
        try:
            client.execute(env=kernel_environment(root))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise NotebookError(explain(title, copy, failed, error)) from error
    return copy


def kernel_environment(root: Path) -> dict[str, str]:
    """Give the kernel the preset, the checkout's own helpers, and no bars or live controls.

    At the quick preset it computes on one core: networks this small gain nothing from a second,
    and their sums come in the same order on every machine.
    """
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    static = {"MEMHELPERS_STATIC": "1", "TQDM_DISABLE": "1"}
    threads = {"OMP_NUM_THREADS": "1"} if preset() == "quick" else {}
    return {**os.environ, **static, **threads, "MEMHELPERS_PRESET": preset(), "PYTHONPATH": path}


def explain(title: str, notebook: NotebookNode, failed: list[int], error: Exception) -> str:
    """Say which cell of which notebook failed, and how; the traceback follows."""
    if not failed:
        return f"{title}: {type(error).__name__}: {error}"
    cell = notebook.cells[failed[-1]]
    number = notebooks.code_cells(notebook).index(cell) + 1
    first = next((line for line in cell.source.splitlines() if line.strip()), "")
    what = f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"
    trace = COLOUR.sub("", str(error)).strip()
    return f"{title}, code cell {number} ({first.strip()!r}): {what}\n\n{trace}\n"


def with_outputs(notebook: NotebookNode, kept: list[dict]) -> NotebookNode:
    """Lay kept outputs over the code cells of a notebook and count its cells from 1."""
    for count, (cell, old) in enumerate(zip(notebooks.code_cells(notebook), kept, strict=True), 1):
        cell.outputs = [nbformat.from_dict(output) for output in old["outputs"]]
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
    return notebook
