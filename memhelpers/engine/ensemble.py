"""Many networks as one: the weights of m networks are stacked along a first dimension.

All run in one batched pass. No operation crosses that dimension, so an ensemble gives what single
runs give, and a member that diverges does no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from memhelpers.engine import templates
from memhelpers.engine.perturbations import Noise, after_each_relu, perturbed
from memhelpers.seeding import generator

Weights = dict[str, Tensor]


@dataclass
class Ensemble:
    """m networks of one architecture.

    Attributes:
        network: the template that says what is computed; its own weights are not used.
        parameters: by name, [m, ...] each.
        buffers: running statistics of batch norm, by name, [m, ...] each.
        activations: numbers that the layers put out for one image, by its shape, once known.
    """

    network: nn.Module
    parameters: Weights
    buffers: Weights
    activations: dict[templates.Shape, int] = field(default_factory=dict, repr=False)

    @classmethod
    def initialize(
        cls,
        network: nn.Module,
        seeds: Sequence[int],
        init: str = "glorot_uniform",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Ensemble":
        """Draw every member's weights from its own seed, by `networks.initialize`."""
        ensemble = cls.empty(network, len(seeds), device, dtype)
        for row, seed in enumerate(seeds):
            templates.initialize(network, generator(seed, "init"), init)
            ensemble.store(row, network.state_dict())
        for parameter in ensemble.parameters.values():
            parameter.requires_grad_()
        return ensemble

    @classmethod
    def empty(
        cls,
        network: nn.Module,
        members: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Ensemble":
        """Room for `members` networks, which `store` fills."""
        trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
        ensemble = cls(network, {}, {})
        for name, value in network.state_dict().items():
            kind = dtype if value.is_floating_point() else value.dtype
            room = torch.empty((members, *value.shape), device=device, dtype=kind)
            (ensemble.parameters if name in trained else ensemble.buffers)[name] = room
        return ensemble

    def store(self, rows: int | Tensor, weights: Weights) -> None:
        """Set the members at `rows` to `weights`: parameters and buffers by name."""
        for name, value in (self.parameters | self.buffers).items():
            value.detach()[rows] = weights[name].detach().to(value.device, value.dtype)

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __call__(
        self, x: Tensor, *, shared: bool = False, training: bool = False, noise: Noise | None = None
    ) -> Tensor:
        """Logits of all members, [m, b, classes].

        Args:
            x: [m, b, C, H, W], a batch for each member; or [b, C, H, W] for all where `shared`.
            shared: all members see the same images.
            training: batch norm uses the batch's statistics and updates the running ones.
            noise: on the images and after each ReLU (see `perturbations`).
        """
        self.network.train(training)
        stacked = (self.parameters, self.buffers, noise or {})
        if len(self) == 1:  # a plain call: vmap over one member only costs time
            # Indexing gives views, so batch norm's in-place updates reach the stacked buffers.
            first = tree_map(lambda value: value[0], stacked)
            return self._member(*first, x if shared else x[0])[None]
        return vmap(self._member, in_dims=(0, 0, 0, None if shared else 0))(*stacked, x)

    def _member(self, parameters: Weights, buffers: Weights, noise: Noise, x: Tensor) -> Tensor:
        with after_each_relu(self.network, noise):
            return functional_call(self.network, (parameters, buffers), (perturbed(x, 0, noise),))

    def images_per_pass(self, shape: templates.Shape) -> int:
        """How many images of `shape` to show all members at once where no gradient is needed."""
        shape = tuple(shape)
        if shape not in self.activations:  # a dry run takes longer than a small network's epoch
            self.activations[shape] = templates.dry_run(self.network, shape)[1]
        return max(1, _EVALUATED_NUMBERS // (len(self) * self.activations[shape]))

    def select(self, keep: Tensor) -> "Ensemble":
        """The members that the boolean or index tensor `keep` names, as copies."""
        parameters = {k: v.detach()[keep].requires_grad_() for k, v in self.parameters.items()}
        buffers = {k: v[keep] for k, v in self.buffers.items()}
        return Ensemble(self.network, parameters, buffers, self.activations)

    def flat_parameters(self) -> Tensor:
        """All trained parameters side by side, [m, parameters], in the template's order."""
        return torch.cat([p.detach().flatten(1) for p in self.parameters.values()], dim=1)


@torch.no_grad()
def predict(ensemble: Ensemble, x: Tensor) -> Tensor:
    """Logits [m, n, classes] of all members on the same images [n, C, H, W], in evaluation mode.

    Images lie on the members' device and pass in portions that bound the memory it takes.
    """
    dtype = next(iter(ensemble.parameters.values())).dtype
    portions = x.split(ensemble.images_per_pass(x.shape[1:]))
    return torch.cat([ensemble(images.to(dtype), shared=True) for images in portions], dim=1)


_EVALUATED_NUMBERS = 250_000_000  # 1 GB of float32 of activations, where none is kept
