"""Data and networks so small that a test can train many, and a plain loop to compare with."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memhelpers.data import Dataset, Part
from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.probes import Snapshot
from memhelpers.networks import mlp
from memhelpers.seeding import generator
from memhelpers.sweep import Sweep
from memhelpers.training import History


def weight_norm(snapshot: Snapshot) -> Tensor:
    """A probe: Euclidean norm of all parameters of each member, [m]."""
    return snapshot.ensemble.flat_parameters().norm(dim=1)


def toy_data(
    n: int = 22, classes: int = 3, shape: tuple[int, int, int] = (1, 3, 3), seed: int = 0
) -> Dataset:
    """Noisy copies of one image a class; pixels are multiples of 1/256 in [0, 1]."""
    draws = generator(seed, "toy data")
    patterns = torch.rand(classes, *shape, generator=draws).round()

    def part(size: int) -> Part:
        y = torch.randint(classes, (size,), generator=draws)
        x = (0.8 * patterns[y] + 0.2 * torch.rand(size, *shape, generator=draws)) * 256
        return Part(x.round() / 256, y)

    names = tuple(f"class {k}" for k in range(classes))
    return Dataset("toy", part(n), part(9), part(7), names, "as given")


def relabelled(data: Dataset, seed: int) -> Dataset:
    """The same images with other training labels."""
    y = torch.randint(data.n_classes, data.train.y.shape, generator=generator(seed, "relabel"))
    return data.replace(train=Part(data.train.x, y))


def toy_mlp(data: Dataset) -> nn.Module:
    return mlp(data.shape, [8, 7], data.n_classes)


def small_cnn(shape: tuple[int, int, int], classes: int, channels: int = 32) -> nn.Module:
    """Convolutions and batch norm; takes images of 8x8 and more."""
    sides = [side // 4 for side in shape[1:]]
    layers: list[nn.Module] = []
    for inputs in (shape[0], channels):
        convolution = nn.Conv2d(inputs, channels, 3, padding=1)
        layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
    dense = [nn.Linear(channels * sides[0] * sides[1], 64), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *dense, nn.Linear(64, classes))


def toy_cnn(data: Dataset) -> nn.Module:
    return small_cnn(data.shape, data.n_classes, channels=4)


def member(ensemble: Ensemble, row: int) -> dict[str, Tensor]:
    """State of one member, as a module's `load_state_dict` takes it."""
    both = ensemble.parameters | ensemble.buffers
    return {name: value[row].detach().clone() for name, value in both.items()}


def plain_sgd(
    network: nn.Module,
    part: Part,
    batches: Sequence[Tensor],
    *,
    see: Callable[[int, nn.Module], None] = lambda update, network: None,
    factors: Sequence[float] | None = None,
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """Train `network` in place on these batches with PyTorch's own optimizer.

    `see` is called before each update and after the last; `factors` scale the rate of each.
    """
    optimizer = torch.optim.SGD(
        network.parameters(), learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    x = part.x.to(next(network.parameters()).dtype)
    for update, batch in enumerate(batches):
        see(update, network)
        optimizer.param_groups[0]["lr"] = learning_rate * (factors[update] if factors else 1.0)
        network.train()
        optimizer.zero_grad()
        cross_entropy(network(x[batch]), part.y[batch]).backward()
        optimizer.step()
    see(len(batches), network)


def assert_same_runs(
    a: History, b: History, rows_a: Sequence[int], rows_b: Sequence[int], tolerance: float = 1e-5
) -> None:
    """Members `rows_a` of one history are members `rows_b` of another, in all that is kept."""
    for row_a, row_b in zip(rows_a, rows_b, strict=True):
        tables = [
            h.epochs[h.epochs["member"] == row].drop(columns="member").to_numpy(dtype=float)
            for h, row in ((a, row_a), (b, row_b))
        ]
        close = {"rtol": tolerance, "atol": tolerance, "equal_nan": True}
        torch.testing.assert_close(*map(torch.from_numpy, tables), **close)
        for kind in a.trajectories.arrays:
            pages = [torch.from_numpy(h.trajectories.arrays[kind]) for h in (a, b)]
            torch.testing.assert_close(pages[0][row_a], pages[1][row_b], **close)
        torch.testing.assert_close(member(a.ensemble, row_a), member(b.ensemble, row_b), **close)


def complete(found: Sweep) -> bool:
    """Whether no run of a sweep has failed or is missing."""
    return found.failures.empty and not found.missing
