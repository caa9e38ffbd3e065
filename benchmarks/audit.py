"""The audit: how well it finds wrong labels beside cleanlab, and how long it takes.

cleanlab ranks by the held-out probabilities of a cross-validated logistic regression, as its
tutorials do; both see the same standardized numbers. Labels of digits and of a table are made wrong
here; those of CIFAR-10N are people's, and are looked at where the data folder has them.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from torch.nn.functional import conv2d, unfold

from benchmarks import workload
from memhelpers import networks
from memhelpers.audit import audit
from memhelpers.data import Dataset, load
from memhelpers.inputs.sources import data_folder
from memhelpers.seeding import generator

SHARES, SEEDS = (0.05, 0.1, 0.2, 0.4), 5
IMAGES, HUMAN = "cifar10-exact-6k.npz", "cifar10n-human-labels.npz"
BATCH = 10_000  # CIFAR-10's training batches, of each of which the file has the first
RESAMPLES = 200
QUIET = {"progress": lambda done, total: None}


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """AUROC of both on all data, and the seconds of two workloads.

    Returns:
        `found`: data, share of wrong labels, seed, way, auroc, seconds. `apart`: the same without
        way, with the audit's AUROC less cleanlab's and its 95 % interval over the examples.
        `time`: workload, networks, seconds by the clock and of the processor (all cores together,
        which other work on the machine hardly lengthens), networks of the whole workload, and
        seconds that the matrix products alone need.
    """
    found, apart = [], []
    for data, share, seed, x, y, wrong in _cases(small, say):
        facts = {"data": data, "share": share, "seed": seed}
        ranked = {}
        for way, rank in {"audit": partial(_audit, device=device), "cleanlab": _cleanlab}.items():
            started = time.perf_counter()
            ranked[way] = rank(x, y)
            took = time.perf_counter() - started
            auroc = roc_auc_score(wrong, ranked[way])
            found.append({**facts, "way": way, "auroc": auroc, "seconds": took})
        apart.append({**facts, **_difference(wrong, *ranked.values())})
        said = ", ".join(f"{row['way']} {row['auroc']:.4f}" for row in found[-2:])
        say(f"  {data}, {share:.0%} wrong, seed {seed}: {said}")
    tables = {"found": pd.DataFrame(found), "apart": pd.DataFrame(apart)}
    return tables | {"time": pd.DataFrame(_times(device, small, say))}


def _audit(x: np.ndarray, y: np.ndarray, device: str) -> np.ndarray:
    return audit(x, y, networks=100, device=device, **QUIET).table["suspicion"].to_numpy()


def _cleanlab(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    model = LogisticRegression(max_iter=300)
    flat = x.reshape(len(x), -1)
    flat = (flat - flat.mean(0)) / np.maximum(flat.std(0), 1e-9)
    p = cross_val_predict(model, flat, y, cv=5, method="predict_proba")
    return -get_label_quality_scores(y, p, method="self_confidence")


def _difference(wrong: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """The difference of both AUROCs, with a paired bootstrap over the examples."""
    rng, differences = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        some = rng.integers(0, len(wrong), len(wrong))
        pair = [roc_auc_score(wrong[some], values[some]) for values in (ours, theirs)]
        differences.append(pair[0] - pair[1])
    low, high = np.quantile(differences, [0.025, 0.975])
    return {
        "difference": roc_auc_score(wrong, ours) - roc_auc_score(wrong, theirs),
        "low": low,
        "high": high,
    }


def _cases(small: bool, say: Callable[[str], None]):
    """Data, share of wrong labels, seed, x, y and which labels are wrong."""
    for name in ("digits", "breast_cancer"):
        parts = load(name, scale="standard").parts.values()
        x = torch.cat([part.x for part in parts]).numpy()
        x = x[:, 0] if name == "digits" else x[:, 0, 0]
        y = torch.cat([part.y for part in parts]).numpy()
        for share in SHARES[1:2] if small else SHARES:
            for seed in range(1 if small else SEEDS):
                given = flipped(y, share, seed)
                yield name, share, seed, x, given, given != y
    if small or not all((data_folder() / name).is_file() for name in (IMAGES, HUMAN)):
        say(f"  CIFAR-10N is left out: {IMAGES} and {HUMAN} are not in the data folder")
        return
    human = np.load(data_folder() / HUMAN)
    images = np.load(data_folder() / IMAGES)["x_train"]
    each = len(images) // 5
    places = np.concatenate([BATCH * batch + np.arange(each) for batch in range(5)])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    pixels = x.unflatten(2, (16, 2)).unflatten(4, (16, 2)).mean((3, 5)).flatten(1).numpy()
    for kind, numbers in {"pixels": pixels, "patches": random_patches(x).numpy()}.items():
        for labels in ("aggre", "worst"):
            wrong = human[labels][places] != human["clean"][places]
            name = f"CIFAR-10N {labels}, {kind}"
            yield name, float(wrong.mean()), 0, numbers, human[labels][places], wrong


def flipped(y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of the labels replaced by others."""
    rng, y, classes = np.random.default_rng(seed), y.copy(), y.max() + 1
    some = rng.permutation(len(y))[: round(share * len(y))]
    y[some] = (y[some] + rng.integers(1, classes, len(some))) % classes
    return y


def random_patches(x: torch.Tensor, filters: int = 256, side: int = 6) -> torch.Tensor:
    """Features [n, 4 * filters]: rectified answers to random whitened patches, in four quarters.

    Source:
        Coates & Ng 2011, random patches as a dictionary.
    """
    draws = generator(0, "patches")
    every = unfold(x[:2000], side).transpose(1, 2).flatten(0, 1)
    some = every[torch.randint(len(every), (20_000,), generator=draws)]
    some = (some - some.mean(1, keepdim=True)) / (some.var(1, keepdim=True) + 0.01).sqrt()
    values, vectors = torch.linalg.eigh(torch.cov(some.T))
    whitening = vectors @ torch.diag((values + 0.1).rsqrt()) @ vectors.T
    chosen = some[torch.randint(len(some), (filters,), generator=draws)] @ whitening
    chosen = (chosen / chosen.norm(dim=1, keepdim=True) @ whitening).view(
        -1, x.shape[1], side, side
    )
    features = []
    for images in x.split(500):
        answers = conv2d(images - images.mean((1, 2, 3), keepdim=True), chosen)
        answers = (answers / answers.std((2, 3), keepdim=True) - 0.5).clamp_min(0)
        features.append(torch.nn.functional.adaptive_avg_pool2d(answers, 2).flatten(1))
    return torch.cat(features)


def _times(device: str, small: bool, say: Callable[[str], None]) -> list[dict]:
    rng = np.random.default_rng(0)
    n, d, classes = (300, 16, 3) if small else (10_000, 512, 10)
    centres = rng.normal(size=(classes, d))
    y = rng.integers(0, classes, n)
    embeddings = centres[y] + 3 * rng.normal(size=(n, d))
    found = [_timed("embeddings", embeddings, y, 10 if small else 100, 100, device)]
    mnist = load("digits" if small else "mnist", examples=300 if small else 10_000)
    network = networks.mlp(mnist.shape, [140], mnist.n_classes)
    settings = {"network": network, "epochs": 5, "share": 0.5, "batch_size": 128}
    least = 10 if small else 500 if device == "cuda" else 60
    found.append(_timed("valuation", mnist, None, least, 10_000, device, **settings))
    found[-1]["products"] = least * _products(mnist, 140, 5, 0.5, device, small)
    for row in found:
        say(f"  {row['workload']}: {row['networks']} networks in {row['seconds']:.1f} s")
    return found


def _products(
    data: Dataset, hidden: int, epochs: int, share: float, device: str, small: bool
) -> float:
    """Seconds that the matrix products of one network need at this machine's best rate.

    In each epoch it is trained on a share of the examples and asked about all.
    """
    sizes = data.shape, [hidden], data.n_classes
    each = share * workload.mlp_flops(*sizes) + workload.answer_flops(*sizes)
    rates = workload.product_rates(device, torch.float32, small)
    return epochs * len(data.train) * each / max(rates.values())


def _timed(workload: str, x, y, count: int, whole: int, device: str, **settings) -> dict:
    started, worked = time.perf_counter(), time.process_time()
    audit(x, y, networks=count, device=device, **settings, **QUIET)
    took, work = time.perf_counter() - started, time.process_time() - worked
    timed = {"seconds": took, "processor": work}
    return {"workload": workload, "networks": count, **timed, "whole": whole}
