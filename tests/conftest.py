"""Fixtures that several test modules share."""

import os
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch
import yaml

from memhelpers.claims import Ledger, judge
from memhelpers.data import Dataset, load
from memhelpers.inputs.sources import DATA_VARIABLE
from memhelpers.runs import machine
from tests.toy_claims import ENTRY, OTHER, SECOND, interval

# The networks of the tests are tiny: threads would only wait for each other, minutes of it where
# the tests run in parallel.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The embedded handwritten digits; frozen, so that all tests may share them."""
    return load("digits")


@pytest.fixture(scope="session")
def real_data() -> str:
    """The folder of the real data files; skips, visibly, where none is named."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{DATA_VARIABLE} is not set: it names the folder of MNIST and CIFAR-10 files")
    return folder


@pytest.fixture
def declare(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Makes the given entries the declared claims."""

    def write(*entries: object) -> Path:
        path = tmp_path / "claims.yml"
        path.write_text(yaml.safe_dump(list(entries)), encoding="utf-8")
        monkeypatch.setattr(machine, "book_file", lambda name: path)
        return path

    write(ENTRY, SECOND, OTHER)
    return write


@pytest.fixture
def ledger(declare) -> Ledger:
    """Two claims of chapter 04, of which one is recorded."""
    here = [judge("C3.1", interval(0.3, 0.36)), judge("C3.2", interval(3, 4, n=2))]
    mnist = [judge("C3.1", interval(0.01, 0.05, n=10))]
    recorded = {"Recorded: MNIST, 2 x 16 units": mnist, "Recorded: CIFAR-10": None}
    return Ledger(here, recorded, title="This page: digits")


@pytest.fixture
def chapter(tmp_path: Path) -> Callable[..., Path]:
    """Writes a notebook whose stored outputs are the given ledgers."""

    def write(name: str, *ledgers: Ledger, title: str = "A chapter") -> Path:
        cells = [nbformat.v4.new_markdown_cell(f"# {title}\n\ntext")]
        for ledger in ledgers:
            output = nbformat.v4.new_output("display_data", data=ledger._repr_mimebundle_())
            cells.append(nbformat.v4.new_code_cell("# a comment\nledger", outputs=[output]))
        path = tmp_path / name
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write
