"""Seeds: one whole number and one purpose give one stream of random draws, on every device.

Draws are made on the CPU, so that a member of an ensemble sees the same numbers whatever the device
and whoever trains beside it; naming the purpose keeps the streams of one seed independent.
"""

import zlib

import numpy as np
import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator whose stream depends on `seed` and `purpose` alone."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)  # torch takes a signed 64-bit seed
