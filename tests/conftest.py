"""Fixtures that several test modules share."""

import os

import pytest
import torch

from memhelpers.data import Dataset, load
from memhelpers.inputs.sources import DATA_VARIABLE

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
