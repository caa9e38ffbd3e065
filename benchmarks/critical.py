"""The search for critical samples: all at once, against one image after another."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from benchmarks import workload
from memhelpers import critical, networks
from memhelpers.engine.ensemble import Ensemble
from memhelpers.seeding import generator
from memhelpers.training import fit

SCALE = 255  # the radii of the paper are on this scale
RADII = (0.3, 1, 3, 8, 16)
STEPS = 10
FEW = 20  # searches by which the loop is measured, in each round


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Times of both ways for the same networks, images and radii.

    Returns:
        `search`: round, `searches` (networks times radii times images), processor `seconds` of the
        package for all of them, and `loop_seconds`, projected from the few that were measured.
    """
    data = workload.data("digits", 300, device)
    network = networks.mlp(data.shape, [128, 128], data.n_classes)
    members, epochs = (2, 1) if small else (10, 20)
    trained = fit(network, data, seeds=range(members), epochs=epochs, learning_rate=0.1).ensemble
    radii, images = [r / SCALE for r in RADII], data.validation.x[: 50 if small else 200]
    own = partial(critical.search, trained, images, radii, steps=STEPS)
    own()
    rows = []
    for number in range(1 if small else 5):
        seconds = _processor(own)
        searches = members * len(radii) * len(images)
        loop = _processor(partial(_loop, trained, images, radii)) * searches / FEW
        rows.append({"round": number, "searches": searches, "seconds": seconds})
        rows[-1]["loop_seconds"] = loop
        say(f"  {searches:,} searches: {seconds:.2f} s; loop {loop:.0f} s, from {FEW} of them")
    return {"search": pd.DataFrame(rows)}


def _processor(work: Callable[[], object]) -> float:
    """Seconds of processor time: the loop is too short for the clock of a machine that is shared.

    On a GPU, where the processor waits at each result, they are those of the clock.
    """
    started = time.process_time()
    work()
    return time.process_time() - started


def _loop(trained: Ensemble, images: Tensor, radii: Sequence[float]) -> None:
    """A few of the searches, spread over networks, images and radii."""
    state = trained.parameters | trained.buffers
    for k in range(FEW):
        member = {name: value[k % len(trained)].detach() for name, value in state.items()}
        x = images[k * len(images) // FEW][None]
        one_by_one(partial(functional_call, trained.network, member), x, radii[k % len(radii)])


def one_by_one(
    network: nn.Module | Callable[[Tensor], Tensor],
    images: Tensor,
    radius: float,
    steps: int = STEPS,
    seed: int = 0,
) -> Tensor:
    """What one would write: LASS for one image after another, bool [n]; it stops when it finds."""
    found = []
    for x in images.split(1):
        draws, k = generator(seed, "critical samples 0"), network(x).argmax(1)
        new, flipped = x.clone(), False
        for _ in range(steps):
            (gradient,) = torch.autograd.grad(
                cross_entropy(network(new.requires_grad_()), k), (new,)
            )
            eta = torch.randn(x.shape[1:], generator=draws).to(x)
            new = new.detach() + radius * (critical.STEP * gradient.sign() + critical.NOISE * eta)
            new = new.clamp(x - radius, x + radius)
            with torch.no_grad():
                flipped = bool(network(new).argmax(1) != k)
            if flipped:
                break
        found.append(flipped)
    return torch.tensor(found)
