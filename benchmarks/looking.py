"""The cost of looking: what records and sensitivities add, against what one would write instead."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from benchmarks import clock, workload
from memhelpers import networks
from memhelpers.data import Dataset
from memhelpers.seeding import generator
from memhelpers.sensitivity import loss_sensitivity
from memhelpers.training import fit

WITHOUT, WITH = "no record", "loss, correctness and margin of every example"
LEARNING_RATE, BATCH_SIZE = 0.1, 100


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Times of training with and without records, and of the loss sensitivity both ways.

    Returns:
        `records`: way, round, seconds. `sensitivity`: round, `seconds` of the package, and
        `loop_seconds` of the per-example loop, projected from the share of its derivatives that was
        computed (`share`).
    """
    return {
        "records": _records(device, small, say),
        "sensitivity": _sensitivity(device, small, say),
    }


def _records(device: str, small: bool, say: Callable[[str], None]) -> pd.DataFrame:
    data = workload.data("digits" if small else "mnist", 300 if small else 10_000, device)
    train = partial(
        fit,
        networks.mlp(data.shape, [512, 512], data.n_classes),
        data,
        seeds=range(2 if small else 8),
        epochs=1,
        learning_rate=LEARNING_RATE,
        evaluate=(),
        keep_networks=False,
    )
    ways = {WITHOUT: train, WITH: partial(train, record=["loss", "correct", "margin"])}
    for way in ways.values():
        way()
    return clock.in_turn(ways, 2 if small else 12, say)


def _sensitivity(device: str, small: bool, say: Callable[[str], None]) -> pd.DataFrame:
    examples, epochs, evaluations = (100, 2, 3) if small else (1000, 10, 50)
    data = workload.data("digits", examples, device)
    network = networks.mlp(data.shape, [16, 16], data.n_classes)
    settings = {"epochs": epochs, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
    own = partial(loss_sensitivity, network, data, seeds=[0], evaluations=evaluations, **settings)
    times = own().times.tolist()
    rows = []
    for number in range(1 if small else 3):
        seconds = clock.seconds(own)
        loop, share = _loop(network, data, times, few=1 if small else 4)
        rows.append({"round": number, "seconds": seconds, "loop_seconds": loop, "share": share})
        say(f"  loss sensitivity: {seconds:.2f} s; loop {loop:.0f} s, from {share:.1%} of it")
    return pd.DataFrame(rows)


def _loop(network: nn.Module, data: Dataset, times: list[int], few: int) -> tuple[float, float]:
    """Seconds of the loop over evaluation times and examples, projected, and the share measured.

    At each time the training is run anew with a graph through its updates, and each example's
    derivative is asked of autograd by itself. Both costs are measured at a few times and linearly
    laid over all of them; the cost is linear in the time, so they are evenly spread over the times.
    """
    x, y = data.train.x, data.train.y
    chosen = [times[round(k * (len(times) - 1) / max(1, few - 1))] for k in range(few)]
    per_update = 0.0
    asked = 2
    for time in chosen:
        images = [image[None].requires_grad_() for image in x]

        def unrolled() -> Tensor:
            return _loss_after(network, images, y, time)  # noqa: B023

        loss: list[Tensor] = []
        graph = clock.seconds(lambda: loss.append(unrolled()))  # noqa: B023
        wanted = images[:asked]
        derivatives = clock.seconds(
            lambda: [torch.autograd.grad(loss[0], image, retain_graph=True) for image in wanted]  # noqa: B023
        )
        per_update += (graph + derivatives / asked * len(x)) / time / len(chosen)
    return per_update * sum(times), len(chosen) * asked / (len(times) * len(x))


def _loss_after(network: nn.Module, images: list[Tensor], y: Tensor, updates: int) -> Tensor:
    """The training loss after some updates, as a function of the images."""
    networks.initialize(network, generator(0, "init"), "glorot_uniform")
    weights = {k: p.detach().clone().requires_grad_() for k, p in network.named_parameters()}
    x, order = torch.cat(images), generator(0, "order")
    batches: list[Tensor] = []
    for _ in range(updates):
        batches = batches or list(torch.randperm(len(y), generator=order).split(BATCH_SIZE))
        some = batches.pop(0)
        loss = cross_entropy(functional_call(network, weights, (x[some],)), y[some])
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {
            k: w - LEARNING_RATE * g for (k, w), g in zip(weights.items(), gradients, strict=True)
        }
    return cross_entropy(functional_call(network, weights, (x,)), y)
