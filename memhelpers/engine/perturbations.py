"""Noise in the forward pass of training: dropout and Gaussian noise.

Draw number n of a member is a hash of n and of the member's key (SplitMix64, Steele et al. 2014),
computed where the activations are. A member so draws the same numbers whoever trains beside it and
on every device, and an update needs nothing from the one before.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from numbers import Real

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from memhelpers.errors import ArgumentError, check_choice
from memhelpers.seeding import generator

# What one update needs of each kind of noise, such as `hidden_dropout`: the places of its first
# draws and the strengths, [m] each.
Noise = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Perturbation:
    """The noise of one member: kinds and strengths; `a + b` has those of both."""

    strengths: tuple[tuple[str, float], ...] = ()

    def __add__(self, other: "Perturbation") -> "Perturbation":
        both = self.strengths + other.strengths
        if len(dict(both)) < len(both):
            raise ArgumentError("perturb", [kind for kind, _ in both], "each kind once a member")
        return Perturbation(both)


def dropout(rate: float, where: str = "hidden") -> Perturbation:
    """Each activation becomes 0 with probability `rate`, or else is divided by 1 - rate.

    Args:
        rate: from 0 to below 1.
        where: `hidden`, after each `nn.ReLU` of the network, or `input`, on the pixels.

    Source:
        Srivastava et al. 2014; Arpit et al. 2017, Sec. 5.
    """
    return _perturbation("dropout", where, "rate", rate, below=1)


def gaussian_noise(deviation: float, where: str = "hidden") -> Perturbation:
    """Gaussian noise of that standard deviation is added to each activation or pixel."""
    return _perturbation("noise", where, "deviation", deviation)


def _perturbation(
    kind: str, where: str, argument: str, strength: object, below: float = torch.inf
) -> Perturbation:
    check_choice("where", where, ["hidden", "input"])
    number = isinstance(strength, Real) and not isinstance(strength, bool)
    if not number or not 0 <= strength < below:
        allowed = f"one number from 0 to below {below}; perturb=[...] takes one perturbation a seed"
        raise ArgumentError(argument, strength, allowed)
    return Perturbation(((f"{where}_{kind}", float(strength)),))


def strengths_by_kind(
    perturb: Sequence[Perturbation | None], network: nn.Module
) -> dict[str, list[float]]:
    """Strengths of all members, by kind of noise; 0 where a member has no such noise."""
    members = [dict(given.strengths) if given else {} for given in perturb]
    kinds = list(dict.fromkeys(kind for strengths in members for kind in strengths))
    hidden = [kind for kind in kinds if kind.startswith("hidden")]
    if hidden and not any(isinstance(module, nn.ReLU) for module in network.modules()):
        allowed = "a network with nn.ReLU layers, after which the noise acts"
        raise ArgumentError("perturb", f"{hidden[0]} for a network without them", allowed)
    return {kind: [strengths.get(kind, 0.0) for strengths in members] for kind in kinds}


def first_draws(seeds: Sequence[int], kind: str) -> Tensor:
    """Where each member's draws of that kind begin, [m]."""
    draws = [generator(seed, f"perturb {kind}") for seed in seeds]
    return torch.stack([torch.randint(-(2**63), 2**63 - 1, (), generator=d) for d in draws])


def at_update(update: int, noise: Noise) -> Noise:
    """The noise of one update, given that of the first."""
    return {kind: (first + _steps(update << 40), s) for kind, (first, s) in noise.items()}


def perturbed(a: Tensor, layer: int, noise: Noise) -> Tensor:
    """Activations [b, ...] of one member after the l-th ReLU (0: its images), with their noise."""
    for kind, (first, strength) in _acting(layer, noise).items():
        start = first + _steps(layer << 32)
        if kind.endswith("dropout"):
            kept = _uniform(start, a.shape).to(strength.dtype) >= strength
            a = (a * kept / (1 - strength)).to(a.dtype)
        else:
            a = (a + strength * _normal(start, a.shape).to(strength.dtype)).to(a.dtype)
    return a


def all_perturbed(a: Tensor, layer: int, noise: Noise) -> Tensor:
    """Activations [m, b, ...] of all members with their noise; themselves where there is none."""
    noise = _acting(layer, noise)
    if not noise:
        return a
    if len(a) == 1:  # a plain call: vmap over one member only costs time
        return perturbed(a[0], layer, tree_map(lambda value: value[0], noise))[None]
    return vmap(perturbed, in_dims=(0, None, 0))(a, layer, noise)


def _acting(layer: int, noise: Noise) -> Noise:
    where = "hidden" if layer else "input"
    return {kind: found for kind, found in noise.items() if kind.startswith(where)}


@contextmanager
def after_each_relu(network: nn.Module, noise: Noise) -> Iterator[None]:
    """Within, hidden noise acts in the calls of `network` for one member."""
    layers = count(1)
    hooks = [
        module.register_forward_hook(lambda *seen: perturbed(seen[-1], next(layers), noise))
        for module in network.modules()
        if noise and isinstance(module, nn.ReLU)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _uniform(first: Tensor, shape: torch.Size) -> Tensor:
    high, low = _hashes(first, shape.numel())
    return torch.cat([high, low]).float().mul_(2**-24)[: shape.numel()].view(shape)


def _normal(first: Tensor, shape: torch.Size) -> Tensor:
    """Box and Muller: sqrt(-2 ln u) times the cosine and the sine of 2 pi v."""
    high, low = _hashes(first, shape.numel())
    radius = high.add_(1).float().mul_(2**-24).log_().mul_(-2).sqrt_()  # u is above 0
    angle = low.float().mul_(2**-24 * 2 * torch.pi)
    both = torch.cat([radius * angle.cos(), radius * angle.sin()])
    return both[: shape.numel()].view(shape)


_STEP = 0x9E3779B97F4A7C15 - 2**64  # SplitMix64's


def _hashes(first: Tensor, numbers: int) -> tuple[Tensor, Tensor]:
    """Whole numbers below 2^24, half of `numbers` in each tensor: both ends of 64-bit hashes."""
    z = torch.arange(-(-numbers // 2), device=first.device) * _STEP + first
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = z.bitwise_xor_(_shifted(z, shift)).mul_(factor - 2**64)
    z = z.bitwise_xor_(_shifted(z, 31))
    return _shifted(z, 40), z.bitwise_and_(2**24 - 1)


def _shifted(z: Tensor, bits: int) -> Tensor:
    return (z >> bits).bitwise_and_(2 ** (64 - bits) - 1)  # PyTorch's own shift copies the sign


def _steps(draws: int) -> int:
    """How far so many draws lead, in 64 bits with a sign."""
    return (draws * _STEP + 2**63) % 2**64 - 2**63
