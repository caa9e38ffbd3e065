"""C-scores of MNIST: the experiment of Jiang et al. 2021, whole on a GPU, a share of it on a CPU.

A network trains on a random share of the training examples; an example's score is how often it is
classified correctly by networks that have not seen it, averaged over the shares. Published: 1,800
networks (784-512-256-10, ReLU, batches of 128, momentum 0.9, 10 epochs; shares .1 to .9, 200 runs
each) in just under two hours on a V100.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from benchmarks import clock, workload
from memhelpers import networks
from memhelpers.data import Dataset, Part
from memhelpers.engine.ensemble import Ensemble, predict
from memhelpers.seeding import generator
from memhelpers.training import fit

SHARES = tuple(tenths / 10 for tenths in range(1, 10))
RUNS = 200  # a share, as published
RUNS_ON_A_CPU = 6
HIDDEN, EPOCHS, BATCH_SIZE, LEARNING_RATE, MOMENTUM = (512, 256), 10, 128, 0.1, 0.9
AT_ONCE = 500  # networks whose answers are held together
HARDEST = 30


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Train, score, and project the time of all 1,800 networks from those that were trained.

    Returns:
        `time`: share of the data, runs, seconds. `scores`: example, label, score, and by how many
        networks it was scored. `hardest`: the examples of lowest score with their pixels.
    """
    data = _all_training(
        workload.data("digits" if small else "mnist", 200 if small else None, device)
    )
    runs = 2 if small else RUNS if device == "cuda" else RUNS_ON_A_CPU
    n = len(data.train)
    right, seen = (torch.zeros(len(SHARES), n, device=device) for _ in range(2))
    times = []
    for row, share in enumerate(SHARES):
        tally = _Tally(data, share, row, right, seen)
        seconds = clock.seconds(lambda: tally.run(runs, 1 if small else EPOCHS))  # noqa: B023
        times.append({"share": share, "runs": runs, "seconds": seconds})
        say(f"  share {share}: {runs} networks in {seconds:.1f} s")
    scores = _scores(right.cpu().numpy(), seen.cpu().numpy(), data)
    return {"time": pd.DataFrame(times), "scores": scores, "hardest": _hardest(scores, data)}


def _all_training(data: Dataset) -> Dataset:
    """With the validation part joined to the training part, as published: 60,000 of MNIST."""
    both = [data.train, data.validation]
    joined = Part(torch.cat([part.x for part in both]), torch.cat([part.y for part in both]))
    return data.replace(train=joined, replaced=None, changed=None)


class _Tally:
    """How often each example was classified correctly while held out, for one share."""

    def __init__(self, data: Dataset, share: float, row: int, right, seen):
        self.data, self.share = data, share
        self.right, self.seen = right[row], seen[row]

    def run(self, runs: int, epochs: int) -> None:
        for start in range(0, runs, AT_ONCE):
            seeds = [round(self.share * 10) * 10_000 + k for k in range(start, runs)][:AT_ONCE]
            subsets = [self._subset(seed) for seed in seeds]
            history = fit(
                networks.mlp(self.data.shape, HIDDEN, self.data.n_classes),
                self.data,
                seeds=seeds,
                epochs=epochs,
                batch_size=BATCH_SIZE,
                learning_rate=LEARNING_RATE,
                momentum=MOMENTUM,
                subsets=subsets,
                evaluate=(),
                precision="bf16",
            )
            for member, subset in enumerate(subsets):
                self._count(history.ensemble.select(torch.tensor([member])), subset)

    def _subset(self, seed: int) -> torch.Tensor:
        n = len(self.data.train)
        return torch.randperm(n, generator=generator(seed, "subset"))[: round(self.share * n)]

    def _count(self, network: Ensemble, subset: torch.Tensor) -> None:
        held_out = torch.ones(len(self.data.train), dtype=torch.bool, device=self.data.device)
        held_out[subset.to(self.data.device)] = False
        train = self.data.train
        with torch.autocast(self.data.device.type, torch.bfloat16):
            right = predict(network, train.x[held_out])[0].argmax(-1) == train.y[held_out]
        self.right[held_out] += right.float()
        self.seen += held_out.float()


def _scores(right: np.ndarray, seen: np.ndarray, data: Dataset) -> pd.DataFrame:
    """The mean over shares of how often an example was classified correctly while held out."""
    with np.errstate(invalid="ignore"):
        score = np.nanmean(np.where(seen > 0, right / seen, np.nan), axis=0)
    return pd.DataFrame(
        {
            "example": range(len(score)),
            "label": data.train.y.cpu().numpy(),
            "score": score.astype(np.float32),
            "networks": seen.sum(0).astype(int),
        }
    )


def _hardest(scores: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The examples of lowest score; pixels as two hexadecimal digits each, row by row."""
    hardest = scores.sort_values(["score", "example"]).head(HARDEST).reset_index(drop=True)
    images = data.train.x[torch.tensor(hardest["example"].to_numpy())].cpu()
    pixels = (images.flatten(1) * 255).round().to(torch.uint8).numpy()
    return hardest.assign(pixels=[row.tobytes().hex() for row in pixels])
