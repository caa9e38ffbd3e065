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
# Layer 0 are the images, layer l the activations after the l-th ReLU.
Function = Callable[[Tensor, int, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Kind:
    """A kind of noise, whatever its strength; see `perturbation`."""

    name: str
    function: Function
    draws: str
    where: str


# What one update needs of each kind: keys of the draws and strengths, [m] each.
Noise = dict[Kind, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Perturbation:
    """Kinds of noise with their strengths, of one member; `a + b` has those of both."""

    strengths: tuple[tuple[Kind, float], ...] = ()

    def __add__(self, other: "Perturbation") -> "Perturbation":
        both = self.strengths + other.strengths
        names = [kind.name for kind, _ in both]
        if len(set(names)) < len(names):
            raise ArgumentError("perturb", " + ".join(names), "each kind of noise once a member")
        return Perturbation(both)


def perturbation(
    function: Function, strength: float, *, draws: str = "normal", where: str = "hidden"
) -> Perturbation:
    """Noise of the reader's own, for `fit(..., perturb=)`.

    Args:
        function: of (activations [b, ...], layer, strength, draws [b, ...]) of one member, gives
            the noisy activations; made of differentiable tensor operations, without decisions that
            depend on values. Layer 0 are the images; l the activations after the l-th ReLU.
        strength: a finite number of at least 0, with which the function leaves the activations as
            they are at 0.
        draws: `normal` (mean 0, variance 1) or `uniform` (from 0 to below 1), one an activation.
        where: `input` or `hidden`: after each `nn.ReLU` of the network.

    Raises:
        ArgumentError: an argument is outside what is allowed.
    """
    if not callable(function):
        raise ArgumentError("function", function, "f(activations, layer, strength, draws)")
    check_choice("draws", draws, DRAWS)
    check_choice("where", where, ["input", "hidden"])
    kind = Kind(function.__name__, function, draws, where)
    return Perturbation(((kind, _strength("strength", strength)),))


def dropout(rate: float) -> Perturbation:
    """Each hidden activation becomes 0 with probability `rate`, or else is divided by 1 - rate.

    Args:
        rate: from 0 to below 1.

    Raises:
        ArgumentError: the rate is no such number.

    Source:
        Srivastava et al. 2014; Arpit et al. 2017, Sec. 5.
    """
    kind = Kind("dropout", _drop, "uniform", "hidden")
    return Perturbation(((kind, _strength("rate", rate, below=1)),))


def input_dropout(rate: float) -> Perturbation:
    """The same for the pixels of the images; arguments and errors as in `dropout`."""
    kind = Kind("input_dropout", _drop, "uniform", "input")
    return Perturbation(((kind, _strength("rate", rate, below=1)),))


def input_noise(deviation: float) -> Perturbation:
    """Gaussian noise is added to each pixel.

    Args:
        deviation: its standard deviation, in units of pixel value.

    Raises:
        ArgumentError: the deviation is no finite number of at least 0.

    Source:
        Arpit et al. 2017, Sec. 5.
    """
    kind = Kind("input_noise", _add_noise, "normal", "input")
    return Perturbation(((kind, _strength("deviation", deviation)),))


def hidden_noise(deviation: float) -> Perturbation:
    """The same for each hidden activation; arguments and errors as in `input_noise`."""
    kind = Kind("hidden_noise", _add_noise, "normal", "hidden")
    return Perturbation(((kind, _strength("deviation", deviation)),))


def _drop(a: Tensor, layer: int, rate: Tensor, draws: Tensor) -> Tensor:
    return a * (draws >= rate) / (1 - rate)


def _add_noise(a: Tensor, layer: int, deviation: Tensor, draws: Tensor) -> Tensor:
    return a + deviation * draws


def _strength(argument: str, value: object, below: float = torch.inf) -> float:
    if not isinstance(value, Real) or not 0 <= value < below or not isfinite(value):
        limit = f"from 0 to below {below}" if isfinite(below) else "that is finite and at least 0"
        allowed = f"one number {limit}; perturb=[...] takes one perturbation a seed"
        raise ArgumentError(argument, value, allowed)
    return float(value)


def strengths_by_kind(perturb: Sequence[Perturbation], network: nn.Module) -> dict:
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


def key(seed: int, kind: Kind) -> Tensor:
    """Where a member's draws begin; its other kinds of noise draw elsewhere."""
    draws = generator(seed, f"perturb {kind.name}")
    return torch.randint(-(2**63), 2**63 - 1, (), generator=draws)


def after(update: int, noise: Noise) -> Noise:
    """The noise of one update, given that of update 0."""
    return {kind: (keys + _signed(update << 40), s) for kind, (keys, s) in noise.items()}


def perturbed(a: Tensor, layer: int, noise: Noise) -> Tensor:
    """Activations [b, ...] of one member with their noise."""
    for kind, (place, strength) in _acting(layer, noise).items():
        draws = DRAWS[kind.draws](place + _signed(layer << 32), a.shape)
        a = kind.function(a, layer, strength, draws.to(strength.dtype)).to(a.dtype)
    return a


def _acting(layer: int, noise: Noise) -> Noise:
    where = "hidden" if layer else "input"
    return {kind: drawn for kind, drawn in noise.items() if kind.where == where}


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


def all_perturbed(a: Tensor, layer: int, noise: Noise) -> Tensor:
    """Activations [m, b, ...] of all members with their noise."""
    here = _acting(layer, noise)
    if not here:
        return a
    if len(a) == 1:  # a plain call: vmap over one member only costs time
        return perturbed(a[0], layer, tree_map(lambda value: value[0], here))[None]
    return vmap(perturbed, in_dims=(0, None, 0))(a, layer, here)


def _uniform(place: Tensor, shape: torch.Size) -> Tensor:
    high, low = _hashes(place, shape.numel())
    return torch.cat([high, low]).float().mul_(2**-24)[: shape.numel()].view(shape)


def _normal(place: Tensor, shape: torch.Size) -> Tensor:
    """Box and Muller: sqrt(-2 ln u) times the cosine and the sine of 2 pi v."""
    high, low = _hashes(place, shape.numel())
    radius = high.add_(1).float().mul_(2**-24).log_().mul_(-2).sqrt_()  # from u above 0
    angle = low.float().mul_(2**-24 * 2 * torch.pi)
    both = torch.cat([radius * angle.cos(), radius * angle.sin()])
    return both[: shape.numel()].view(shape)


DRAWS = {"normal": _normal, "uniform": _uniform}


def _hashes(place: Tensor, numbers: int) -> tuple[Tensor, Tensor]:
    """Whole numbers below 2^24, half of `numbers` in each tensor: ends of SplitMix64's hashes."""
    z = torch.arange(-(-numbers // 2), device=place.device) * _GAMMA + place
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = z.bitwise_xor_(_shifted(z, shift)).mul_(_wrapped(factor))
    z = z.bitwise_xor_(_shifted(z, 31))
    return _shifted(z, 40), z.bitwise_and_(2**24 - 1)


def _shifted(z: Tensor, bits: int) -> Tensor:
    return (z >> bits).bitwise_and_(2 ** (64 - bits) - 1)  # PyTorch's shift copies the sign


def _signed(number: int) -> int:
    """How far the draw of that number is from the first."""
    return _wrapped(number * _GAMMA)


def _wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


_GAMMA = 0x9E3779B97F4A7C15 - 2**64  # SplitMix64's step
