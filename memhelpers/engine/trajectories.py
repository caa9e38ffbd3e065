"""Per-example records of training: how loss, correctness and margin of each example move.

The values are those of the forward pass that training does anyway: each example is seen once an
epoch, just before the update that uses it.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memhelpers.errors import check_choice

KINDS = {"loss": np.float32, "correct": np.int8, "margin": np.float32}
UNSEEN = {"loss": np.nan, "correct": -1, "margin": np.nan}
IN_MEMORY = 2**31  # bytes; a larger array is mapped to a temporary file


@dataclass(frozen=True)
class Trajectories:
    """Arrays [member, epoch, example], of those asked for; epoch 1 of training is index 0.

    Attributes:
        loss: cross-entropy in nats; not a number where a member did not see the example.
        correct: 1 classified as labelled, 0 not, -1 not seen.
        margin: logit of the label minus the largest other logit (not softmax); or not a number.
    """

    arrays: dict[str, np.ndarray]

    @classmethod
    def empty(
        cls, kinds: Sequence[str], members: int, epochs: int, examples: int
    ) -> "Trajectories":
        """Arrays filled with "not seen"; those above 2 GB live in a temporary file.

        Raises:
            ArgumentError: a kind is none of `loss`, `correct` and `margin`.
        """
        shape = (members, epochs, examples)
        return cls({k: _unseen(check_choice("record", k, KINDS), shape) for k in kinds})

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.__dict__["arrays"][name]
        except KeyError:
            asked = f"; ask for it: record=[{name!r}]" if name in KINDS else ""
            raise AttributeError(f"{name} was not recorded{asked}") from None

    def pages(self, members: int, device: torch.device) -> dict[str, Tensor]:
        """Empty pages [m, example] on the device, for one epoch of a pass."""
        page = {}
        for kind, array in self.arrays.items():
            dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
            page[kind] = torch.full(
                (members, array.shape[2]), UNSEEN[kind], dtype=dtype, device=device
            )
        return page

    def store(self, members: Tensor, epoch: int, pages: dict[str, Tensor]) -> None:
        """Write the pages of one epoch into the rows of `members`."""
        for kind, page in pages.items():
            self.arrays[kind][members.numpy(), epoch - 1] = page.cpu().numpy()


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Logit of the label minus the largest other logit: [..., classes] and [...] give [...]."""
    own = logits.gather(-1, y[..., None])[..., 0]
    others = logits.scatter(-1, y[..., None], -torch.inf)
    return own - others.amax(-1)


def _unseen(kind: str, shape: tuple[int, int, int]) -> np.ndarray:
    dtype = np.dtype(KINDS[kind])
    if np.prod(shape) * dtype.itemsize > IN_MEMORY:
        array = np.memmap(tempfile.TemporaryFile(), dtype, mode="w+", shape=shape)  # noqa: SIM115
    else:
        array = np.empty(shape, dtype)
    array[...] = UNSEEN[kind]
    return array
