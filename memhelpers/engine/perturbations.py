"""Noise in the forward pass of training: dropout, Gaussian noise, or a reader's own.

Draw number n of a member is a hash of n and of the member's key (SplitMix64, Steele et al. 2014),
computed where the activations are. A member so draws the same numbers whoever trains beside it and
on every device, and an update needs nothing from the one before.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from math import isfinite
from numbers import Real

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from memhelpers.errors import ArgumentError, check_choice
from memhelpers.seeding import generator

# (activations [b, ...], layer, strength [], draws [b, ...]) -> activations [b, ...], of one member.
Function = Callable[[Tensor, int, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Kind:
    """A kind of noise, whatever its strength; see `perturbation`."""

    function: Function
    draws: str
    where: str

    @property
    def name(self) -> str:
        """Such as `hidden_dropout`; also the purpose of its draws."""
        return f"{self.where}_{self.function.__name__.strip('_')}"


# What one update needs of each kind: the places of its first draws and the strengths, [m] each.
Noise = dict[Kind, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Perturbation:
    """The kinds of noise of one member, with their strengths; `a + b` has those of both."""

    strengths: tuple[tuple[Kind, float], ...] = ()

    def __add__(self, other: "Perturbation") -> "Perturbation":
        both = self.strengths + other.strengths
        names = [kind.name for kind, _ in both]
        if len(set(names)) < len(names):
            raise ArgumentError("perturb", " + ".join(names), "each kind of noise once a member")
        return Perturbation(both)


def dropout(rate: float, where: str = "hidden") -> Perturbation:
    """Each activation becomes 0 with probability `rate`, or else is divided by 1 - rate.

    Args:
        rate: from 0 to below 1.
        where: `hidden`, after each `nn.ReLU` of the network, or `input`, on the pixels.

    Raises:
        ArgumentError: an argument is outside what is allowed.

    Source:
        Srivastava et al. 2014; Arpit et al. 2017, Sec. 5.
    """
    return perturbation(_dropout, _strength("rate", rate, 1), draws="uniform", where=where)


def gaussian_noise(deviation: float, where: str = "hidden") -> Perturbation:
    """Gaussian noise of that standard deviation is added to each activation or pixel value.

    Arguments, errors and source as in `dropout`; the deviation is any number of at least 0.
    """
    return perturbation(_noise, _strength("deviation", deviation), where=where)


def perturbation(
    function: Function, strength: float, *, draws: str = "normal", where: str = "hidden"
) -> Perturbation:
    """Noise of the reader's own, for `fit(..., perturb=)`.

    Args:
        function: gives the noisy activations of one member from its activations [b, ...], the layer
            (0: the images; l: after the l-th ReLU), the strength and the draws [b, ...]; made of
            differentiable tensor operations, the same for all values.
        strength: at least 0, where the function is to leave the activations as they are.
        draws: `normal` (mean 0, variance 1) or `uniform` (from 0 to below 1), one an activation.
        where: `hidden` or `input`, as in `dropout`.

    Raises:
        ArgumentError: an argument is outside what is allowed.
    """
    if not callable(function):
        raise ArgumentError("function", function, "f(activations, layer, strength, draws)")
    check_choice("draws", draws, DRAWS)
    check_choice("where", where, ["hidden", "input"])
    return Perturbation(((Kind(function, draws, where), _strength("strength", strength)),))


def _dropout(a: Tensor, layer: int, rate: Tensor, draws: Tensor) -> Tensor:
    return a * (draws >= rate) / (1 - rate)


def _noise(a: Tensor, layer: int, deviation: Tensor, draws: Tensor) -> Tensor:
    return a + deviation * draws


def _strength(argument: str, value: object, below: float = torch.inf) -> float:
    if not isinstance(value, Real) or not 0 <= value < below:
        limit = f"from 0 to below {below}" if isfinite(below) else "that is finite and at least 0"
        allowed = f"one number {limit}; perturb=[...] takes one perturbation a seed"
        raise ArgumentError(argument, value, allowed)
    return float(value)


def strengths_by_kind(
    perturb: Sequence[Perturbation], network: nn.Module
) -> dict[Kind, list[float]]:
    """Strengths of all members, by kind of noise; 0 where a member has no such noise.

    Raises:
        ArgumentError: two functions have one name, or hidden noise finds no `nn.ReLU`.
    """
    kinds = list(dict.fromkeys(kind for given in perturb for kind, _ in given.strengths))
    for kind in kinds:
        if [other.name for other in kinds].count(kind.name) > 1:
            raise ArgumentError("perturb", kind.name, "one function of each name")
        if kind.where == "hidden" and not any(isinstance(m, nn.ReLU) for m in network.modules()):
            allowed = "a network with nn.ReLU layers, after which the noise acts"
            raise ArgumentError("perturb", f"{kind.name} for a network without them", allowed)
    return {kind: [dict(given.strengths).get(kind, 0.0) for given in perturb] for kind in kinds}


def first_draws(seeds: Sequence[int], kind: Kind) -> Tensor:
    """Where each member's draws of that kind begin, [m]."""
    draws = [generator(seed, f"perturb {kind.name}") for seed in seeds]
    return torch.stack([torch.randint(-(2**63), 2**63 - 1, (), generator=d) for d in draws])


def at_update(update: int, noise: Noise) -> Noise:
    """The noise of one update, given that of the first."""
    return {kind: (first + _steps(update << 40), s) for kind, (first, s) in noise.items()}


def perturbed(a: Tensor, layer: int, noise: Noise) -> Tensor:
    """Activations [b, ...] of one member with their noise."""
    for kind, (first, strength) in _acting(layer, noise).items():
        draws = DRAWS[kind.draws](first + _steps(layer << 32), a.shape).to(strength.dtype)
        a = kind.function(a, layer, strength, draws).to(a.dtype)
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
    return {kind: n for kind, n in noise.items() if kind.where == ("hidden" if layer else "input")}


@contextmanager
def after_each_relu(network: nn.Module, noise: Noise) -> Iterator[None]:
    """Within, hidden noise acts in the calls of `network` for one member."""
    layers = count(1)
    relus = [module for module in network.modules() if isinstance(module, nn.ReLU)] if noise else []
    hooks = [
        relu.register_forward_hook(lambda *seen: perturbed(seen[-1], next(layers), noise))
        for relu in relus
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


DRAWS = {"normal": _normal, "uniform": _uniform}
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
