"""Against the limit of the machine: the time that products and memory need at least."""

from collections.abc import Callable
from functools import partial
from math import prod

import pandas as pd
import torch

from benchmarks import clock, workload
from memhelpers import networks
from memhelpers.training import fit

WIDTHS = (512, 4096)
BATCH_SIZE = 128
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """The roofline time of one update of one network, and the time it took.

    Returns:
        `limit`: width, precision, round; `flops` and `bytes` of an update, the machine's measured
        `flops_per_second` and `bytes_per_second`, `seconds` of an update, and `share` reached.
    """
    rows = []
    data = workload.data("digits" if small else "mnist", 300 if small else 10_000, device)
    for width in (16,) if small else WIDTHS:
        for number in range(1 if small else 3):
            for precision in DTYPES:
                row = {"width": width, "precision": precision, "round": number}
                rows.append(row | _reached(data, width, precision, small))
                say(f"  width {width}, {precision}: {rows[-1]['share']:.0%} of the limit")
    return {"limit": pd.DataFrame(rows)}


def _reached(data, width: int, precision: str, small: bool) -> dict[str, float]:
    flops = workload.mlp_flops(data.shape, [width, width], data.n_classes) * BATCH_SIZE
    moved = _bytes(data.shape, width, data.n_classes, precision)
    products = workload.product_rates(str(data.device), DTYPES[precision], small)
    rates = {
        "flops_per_second": max(products.values()),
        "bytes_per_second": workload.copy_rate(str(data.device), small),
    }
    members = 2 if small or width > 1000 else 16
    network = networks.mlp(data.shape, [width, width], data.n_classes)
    train = partial(
        fit,
        network,
        data,
        seeds=range(members),
        batch_size=BATCH_SIZE,
        evaluate=(),
        keep_networks=False,
        precision=precision,
    )
    # The second epoch alone: drawing the weights is no part of an update.
    took = clock.seconds(lambda: train(epochs=2)) - clock.seconds(lambda: train(epochs=1))
    update = took / members / (len(data.train) / BATCH_SIZE)
    limit = max(flops / rates["flops_per_second"], moved / rates["bytes_per_second"])
    return {"flops": flops, "bytes": moved, **rates, "seconds": update, "share": limit / update}


def _bytes(shape: networks.Shape, width: int, classes: int, precision: str) -> int:
    """Bytes that an update moves at least, if nothing but a layer's own numbers stays in the cache.

    Weights are read for the forward and the backward pass, and read and written by the update;
    their gradients are written and read. In bf16 the products' copies of weights and gradients are
    half as large, and the copies are written once.
    """
    weights = prod(shape) * width + width * width + width * classes
    activations = BATCH_SIZE * (prod(shape) + 2 * 2 * width)
    if precision == "bf16":
        return weights * (4 + 4 + 2 + 2 + 2 + 2 + 2) + activations * 2 * 2
    return weights * 4 * 6 + activations * 4 * 2
