"""Per-example records of training: how loss, correctness and margin of each example move.

Each example is seen once an epoch, in the forward pass of the update that uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The type of the values, and the one that stands for "not seen".
KINDS = {"loss": ("float32", np.nan), "correct": ("int8", -1), "margin": ("float32", np.nan)}


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
        """Arrays filled with "not seen", for some of `KINDS`."""
        shape = (members, epochs, examples)
        unseen = {kind: KINDS[kind] for kind in kinds}
        return cls({k: np.full(shape, value, dtype) for k, (dtype, value) in unseen.items()})

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.__dict__["arrays"][name]
        except KeyError:
            asked = f"; ask for it: record=[{name!r}]" if name in KINDS else ""
            raise AttributeError(f"{name} was not recorded{asked}") from None

    def pages(self, members: int, device: torch.device) -> dict[str, Tensor]:
        """Empty pages [m, example] on the device, for one epoch of a pass."""
        pages = {}
        for kind, array in self.arrays.items():
            dtype, unseen = KINDS[kind]
            shape = (members, array.shape[2])
            pages[kind] = torch.full(shape, unseen, dtype=getattr(torch, dtype), device=device)
        return pages

    def store(self, members: Tensor, epoch: int, pages: dict[str, Tensor]) -> None:
        """Write the pages of one epoch into the rows of `members`."""
        for kind, page in pages.items():
            self.arrays[kind][members.numpy(), epoch - 1] = page.cpu().numpy()


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Logit of the label minus the largest other logit: [..., classes] and [...] give [...]."""
    own = logits.gather(-1, y[..., None])[..., 0]
    others = logits.scatter(-1, y[..., None], -torch.inf)
    return own - others.amax(-1)
