"""The networks and data that the benchmarks share, and how much arithmetic they need."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import prod

import torch

from benchmarks import clock
from memhelpers.data import Dataset, load
from memhelpers.engine import gradients


def data(name: str, examples: int | None, device: str, side: int | None = None) -> Dataset:
    """The first benchmark data: MNIST, or the digits where a test wants it small."""
    return load(name, examples=examples, side=side, device=device)


def mlp_flops(shape: Sequence[int], hidden: Sequence[int], classes: int) -> int:
    """Floating-point operations of training `networks.mlp` on one image.

    Counted are the matrix products, two for a multiplication and addition: forward, gradient by the
    weights, and gradient by the inputs of every layer but the first.
    """
    first, answer = prod(shape) * [*hidden, classes][0], answer_flops(shape, hidden, classes)
    return 3 * answer - 2 * first


def answer_flops(shape: Sequence[int], hidden: Sequence[int], classes: int) -> int:
    """The same of its answer alone, the forward pass."""
    return 2 * sum(a * b for a, b in pairwise([prod(shape), *hidden, classes]))


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """PyTorch's number of threads for a while; None leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def product_rates(device: str, dtype: torch.dtype, small: bool = False) -> dict[str, float]:
    """The best rate of a large matrix product on this machine, in FLOP/s, by library.

    `mm` is PyTorch's own choice (MKL on most processors); `onednn` is tried where this package
    would use it (see `memhelpers.engine.gradients`). `small` is for a test of the benchmark itself.
    """
    side = 128 if small else 8192 if device == "cuda" else 2048
    a, b = (torch.randn(1, side, side, device=device).to(dtype) for _ in range(2))
    libraries = {"mm": lambda: torch.mm(a[0], b[0])}
    if gradients.onednn_is_faster(a, b):
        libraries["onednn"] = lambda: gradients.onednn_product(a[0], b[0])
    return {
        name: 2 * side**3 / _seconds_each(product, small) for name, product in libraries.items()
    }


def copy_rate(device: str, small: bool = False) -> float:
    """The best rate of copying memory, in bytes read and written a second."""
    a = torch.zeros(2**16 if small else 2**28 if device == "cuda" else 2**26, device=device)
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / _seconds_each(lambda: b.copy_(a), small)


def _seconds_each(work: Callable[[], object], small: bool) -> float:
    """The shortest time of one call in three measurements of about half a second."""
    work()
    seconds = 0.01 if small else 0.5
    times = max(1, int(seconds / clock.seconds(work)))
    return min(clock.seconds(lambda: [work() for _ in range(times)]) for _ in range(3)) / times
