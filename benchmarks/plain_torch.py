"""What a reader would write in PyTorch instead: one network after another."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from memhelpers.data import Dataset


def from_a_loader(data: Dataset, batch_size: int) -> Callable[[], Iterable]:
    """Batches of one epoch from a `DataLoader`, as in the tutorials."""
    part = TensorDataset(data.train.x.cpu(), data.train.y.cpu())
    return lambda: DataLoader(part, batch_size, shuffle=True)


def from_memory(data: Dataset, batch_size: int) -> Callable[[], Iterator]:
    """Batches of one epoch by indexing tensors that stay where the network is."""
    x, y = data.train.x, data.train.y

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for some in torch.randperm(len(y), device=y.device).split(batch_size):
            yield x[some], y[some]

    return batches


def train(
    make: Callable[[], nn.Module],
    data: Dataset,
    batches: Callable[[], Iterable],
    *,
    seeds: Sequence[int],
    epochs: int,
    learning_rate: float,
    momentum: float = 0.0,
    bf16: bool = False,
) -> list[nn.Module]:
    """Train one network per seed by `torch.optim.SGD`; returns them."""
    device = data.device
    trained = []
    for seed in seeds:
        torch.manual_seed(seed)
        network = glorot(make()).to(device)
        optimizer = torch.optim.SGD(network.parameters(), learning_rate, momentum)
        for _ in range(epochs):
            for x, y in batches():
                optimizer.zero_grad()
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    logits = network(x.to(device))
                cross_entropy(logits.float(), y.to(device)).backward()
                optimizer.step()
        trained.append(network)
    return trained


def glorot(network: nn.Module) -> nn.Module:
    """The initial weights of the book's networks, drawn from PyTorch's own generator."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return network


@torch.no_grad()
def accuracies(trained: Sequence[nn.Module], data: Dataset) -> list[float]:
    """Test accuracy of each network."""
    x, y = data.test.x, data.test.y
    return [(network.eval()(x).argmax(1) == y).float().mean().item() for network in trained]
