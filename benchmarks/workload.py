"""The networks and data that the benchmarks share, and how much arithmetic they need."""

import torch

from memhelpers.data import Dataset, load


def data(name: str, examples: int | None, device: str) -> Dataset:
    """The first benchmark data: MNIST, or the digits where a test wants it small."""
    return load(name, train=examples, device=device)


def product_peak(device: str, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """The best rate of a large matrix product on this machine, in FLOP/s.

    Both of PyTorch's libraries are tried on a CPU (see `memhelpers.engine.gradients`).
    """
    from benchmarks import clock
    from memhelpers.engine import gradients

    side = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(1, side, side, device=device).to(dtype) for _ in range(2))
    ways = [lambda: torch.mm(a[0], b[0])]
    if gradients.onednn_is_faster(a, b):
        ways.append(lambda: gradients.onednn_product(a[0], b[0]))
    best = 0.0
    for way in ways:
        way()
        once = clock.seconds(way)
        times = max(1, int(seconds / once))
        took = min(clock.seconds(lambda: [way() for _ in range(times)]) for _ in range(3))  # noqa: B023
        best = max(best, 2 * side**3 * times / took)
    return best


def copy_rate(device: str, seconds: float = 0.5) -> float:
    """The best rate of copying memory, in bytes read and written a second."""
    from benchmarks import clock

    a = torch.zeros(2**28 if device == "cuda" else 2**26, device=device)
    b = torch.empty_like(a)
    b.copy_(a)
    once = clock.seconds(lambda: b.copy_(a))
    times = max(1, int(seconds / once))
    took = min(clock.seconds(lambda: [b.copy_(a) for _ in range(times)]) for _ in range(3))
    return 2 * a.numel() * a.element_size() * times / took
