"""Many networks as one: fourth step of the data flow.

An `Ensemble` holds the weights of m networks of one architecture stacked along a first dimension
and runs them all in one batched pass. No operation crosses that dimension, so members do not
influence each other: one that diverges does no harm, and an ensemble gives what single runs give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from memhelpers import networks
from memhelpers.seeding import generator

Weights = dict[str, Tensor]


@dataclass
class Ensemble:
    """m networks of one architecture.

    Attributes:
        network: the template that says what is computed; its own weights are not used.
        parameters: by name, [m, ...] each.
        buffers: running statistics of batch norm, by name, [m, ...] each.
    """

    network: nn.Module
    parameters: Weights
    buffers: Weights

    @classmethod
    def initialize(
        cls,
        network: nn.Module,
        seeds: Sequence[int],
        init: str = "glorot_uniform",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Ensemble":
        """Draw every member's weights from its own seed, whatever the other members are.

        Raises:
            ArgumentError: unknown `init`, or a layer that it does not know.
        """
        drawn = []
        for seed in seeds:
            networks.initialize(network, generator(seed, "init"), init)
            drawn.append({k: v.detach().clone() for k, v in network.state_dict().items()})
        stacked = {k: torch.stack([d[k] for d in drawn]).to(device) for k in drawn[0]}
        stacked = {k: v.to(dtype) if v.is_floating_point() else v for k, v in stacked.items()}
        trained = {name for name, _ in network.named_parameters()}
        return cls(
            network,
            {k: v.requires_grad_() for k, v in stacked.items() if k in trained},
            {k: v for k, v in stacked.items() if k not in trained},
        )

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __call__(self, x: Tensor, *, shared: bool = False, training: bool = False) -> Tensor:
        """Logits of all members.

        Args:
            x: [m, b, C, H, W], a batch for each member; or [b, C, H, W] where `shared`.
            shared: all members see the same images.
            training: batch norm uses the batch's statistics and updates the running ones.

        Returns:
            [m, b, classes].
        """
        self.network.train(training)
        if len(self) == 1:  # a plain call: vmap over one member only costs time
            return self._single(x if shared else x[0])[None]
        forward = vmap(self._member, in_dims=(0, 0, None if shared else 0))
        return forward(self.parameters, self.buffers, x)

    def _member(self, parameters: Weights, buffers: Weights, x: Tensor) -> Tensor:
        return functional_call(self.network, (parameters, buffers), (x,))

    def _single(self, x: Tensor) -> Tensor:
        parameters = {k: v[0] for k, v in self.parameters.items()}
        # Indexing gives views, so batch norm's in-place updates reach the stacked buffers.
        return self._member(parameters, {k: v[0] for k, v in self.buffers.items()}, x)

    def select(self, keep: Tensor) -> "Ensemble":
        """The members that the boolean or index tensor `keep` names, as copies."""
        parameters = {k: v.detach()[keep].requires_grad_() for k, v in self.parameters.items()}
        return Ensemble(self.network, parameters, {k: v[keep] for k, v in self.buffers.items()})

    def flat_parameters(self) -> Tensor:
        """All trained parameters side by side, [m, parameters], in the template's order."""
        return torch.cat([p.detach().flatten(1) for p in self.parameters.values()], dim=1)


def concatenate(ensembles: Sequence[Ensemble]) -> Ensemble:
    """One ensemble of all members of `ensembles`, in order."""

    def joined(kind: str) -> Weights:
        parts = [getattr(ensemble, kind) for ensemble in ensembles]
        return {k: torch.cat([part[k].detach() for part in parts]) for k in parts[0]}

    return Ensemble(ensembles[0].network, joined("parameters"), joined("buffers"))


def networks_per_pass(network: nn.Module, batch_size: int, device: torch.device) -> int:
    """How many members to train in one batched pass.

    Stacking pays while a single network leaves the processor waiting for the next instruction. On
    a CPU that ends when the members' weights, gradients and activations outgrow the cache; on a
    GPU it goes on until memory is full, and `training.fit` halves the number when that happens.
    """
    numbers = 3 * networks.parameter_count(network) + 8 * batch_size * _widest(network)
    budget = _CACHED_NUMBERS if device.type == "cpu" else _GPU_NUMBERS
    return max(1, budget // numbers)


_CACHED_NUMBERS = 4_000_000  # 16 MB of float32, about a desktop processor's last-level cache
_GPU_NUMBERS = 2_000_000_000  # 8 GB of float32, which fits the smallest card in common use (T4)


def _widest(network: nn.Module) -> int:
    return max(len(parameter) for parameter in network.parameters())
