"""Training: `fit` trains many networks at once by stochastic gradient descent.

Fifth step of the data flow. Members share an architecture and a batch size; each has its own seed,
data or labels, subset, learning rate, momentum, weight decay and noise. What is recorded comes out
of the forward pass that training does anyway; `probes` see anything else.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from memhelpers import errors
from memhelpers.data import Dataset
from memhelpers.engine import loop, packing
from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.loop import PRECISIONS
from memhelpers.engine.perturbations import Perturbation, dropout, gaussian_noise, strengths_by_kind
from memhelpers.engine.probes import Probe, Readings, as_probe, correct_on, parameters
from memhelpers.engine.templates import INITIALIZATIONS, check_template
from memhelpers.engine.trajectories import KINDS, Trajectories
from memhelpers.errors import ArgumentError, as_list

PARTS = ("validation", "test")


@dataclass(frozen=True)
class History:
    """What `fit` saw.

    Attributes:
        members: one row a member: its seed, hyperparameters and strengths of noise, `epochs` and
            `updates` it ran, `ended` (`fitted`: `until` was reached; `diverged`: its loss or
            weights are not finite; `stopped`: `stop` was set; `epochs`: all were run) and its last
            `train_accuracy`.
        epochs: one row a member and epoch: loss (nats) and accuracy on the training part, as met
            during the epoch, and after it on the clean parts asked for.
        trajectories: per-example quantities, [member, epoch, example], where asked for.
        probes: the readings of each probe.
        ensemble: the final networks in the order of `members`, where the data is; or None.
    """

    members: pd.DataFrame
    epochs: pd.DataFrame
    trajectories: Trajectories
    probes: dict[str, Readings]
    ensemble: Ensemble | None

    def only(self, row: int) -> "History":
        """What was seen of one network, as if it had been the only one."""
        errors.check_integer("row", row, 0, len(self.members) - 1)
        tables = [t[t["member"] == row].reset_index(drop=True) for t in (self.members, self.epochs)]
        pages = {kind: array[row : row + 1] for kind, array in self.trajectories.arrays.items()}
        readings = {name: reading.only(row) for name, reading in self.probes.items()}
        kept = None if self.ensemble is None else self.ensemble.select(torch.tensor([row]))
        return History(*(t.assign(member=0) for t in tables), Trajectories(pages), readings, kept)


def fit(
    network: nn.Module,
    data: Dataset | Sequence[Dataset],
    *,
    seeds: Iterable[int],
    epochs: int,
    until: float | None = None,
    batch_size: int = 128,
    learning_rate: float | Sequence[float] = 0.01,
    momentum: float | Sequence[float] = 0.0,
    weight_decay: float | Sequence[float] = 0.0,
    schedule: Callable[[int], float] | None = None,
    subsets: Sequence[Tensor] | None = None,
    init: str = "glorot_uniform",
    perturb: Perturbation | Sequence[Perturbation | None] | None = None,
    loss: Callable[..., Tensor] | None = None,
    attack: Callable[[Ensemble, Tensor, int], Tensor] | None = None,
    evaluate: Sequence[str] = ("validation",),
    record: Sequence[str] = (),
    probes: Mapping[str, Probe | Callable | str] | None = None,
    precision: str = "fp32",
    together: int | None = None,
    workers: int | None = None,
    keep_networks: bool = True,
    progress: Callable[[float, float], None] | None = None,
    stop: threading.Event | None = None,
) -> History:
    """Train one network per seed, all at once.

    Args:
        network: template of the architecture (see `networks`), on the CPU.
        data: one dataset for all members, or one for each, of one image shape, number of classes
            and device; that is where the networks train.
        seeds: one a member; fixes its initial weights, its order of the data and its noise.
        epochs: passes over the data, at most.
        until: training accuracy, met during an epoch, at which a member stops.
        batch_size: examples an update; the last batch of an epoch may be smaller.
        learning_rate: of plain SGD; one value, or one a member, as are the next two.
        momentum: fraction of the last step that is kept.
        weight_decay: l2 penalty's factor, added to the gradient.
        schedule: factor on the learning rate, at least 0, as a function of the epoch from 0 on.
        subsets: for each member the positions [k] of its training examples, or a mask [n].
        init: see `networks.initialize`.
        perturb: noise in the forward pass of training, for all members or one a member, such as
            `[dropout(0.5), dropout(0.2, where="input") + gaussian_noise(0.1), None]`. Training
            losses, accuracies and trajectories are those with noise; evaluation has none.
        loss: what to descend instead of the cross-entropy, for all members; called as `loss(logits,
            y, batch=..., kept=...)` with logits [m, b, classes], labels [m, b], the positions of
            the examples [m, b] and a dict, empty at first, in which it may keep tensors [m, ...]
            from update to update. It returns losses [m, b], which training then reports.
        attack: called before each update with the m networks, their images [m, b, C, H, W] and the
            number of the update; returns the images to train on instead.
        evaluate: clean parts to evaluate after each epoch, of `validation` and `test`.
        record: per-example quantities to keep, of `loss`, `correct` and `margin`.
        probes: by name; a `Probe`, or a function of a `Snapshot` to call after each epoch, from 0.
        precision: `fp32`; `bf16` (weights stay fp32, products are bf16); or `fp64`.
        together: members in one batched pass; by default `packing.networks_per_pass`.
        workers: passes side by side, one core each; by default `packing.passes_side_by_side`.
        keep_networks: return the final weights.
        progress: called with (member-epochs done, member-epochs in all).
        stop: once it is set, from a probe or another thread, each member ends with its epoch.

    Raises:
        ArgumentError: an argument is outside what is allowed.
        MemoryError: not even one network fits; as long as one does, smaller passes are warned of.
    """
    seeds = check_seeds(seeds)
    datasets = one_each("data", data, seeds, Dataset, "Dataset, as `load` gives it")
    _check_alike(network, datasets)
    visited = _visited(subsets, datasets, seeds)
    epochs = errors.check_positive_int("epochs", epochs)
    batch_size = errors.check_positive_int("batch_size", batch_size)
    _check_batches(network, visited, batch_size)
    dtype = PRECISIONS[errors.check_choice("precision", precision, PRECISIONS)]
    updates = epochs * -(-max(map(len, visited)) // batch_size)
    noises = one_each("perturb", perturb, seeds, Perturbation | None, "Perturbation or None")
    evaluate = check_names("evaluate", evaluate, PARTS)
    record = check_names("record", record, KINDS)
    if not isinstance(probes or {}, Mapping):
        raise ArgumentError("probes", probes, "a dict of functions by name")
    examples = max(len(dataset.train) for dataset in datasets)
    shape, device = datasets[0].shape, datasets[0].device
    if together is None:
        together = packing.networks_per_pass(network, shape, batch_size, device, precision)
    if workers is None:
        workers = packing.passes_side_by_side(device)
    keep = errors.check_instance("keep_networks", keep_networks, bool)
    kept = Ensemble.empty(network, len(seeds), device, dtype) if keep else None
    settings = loop.Settings(
        network=network,
        seeds=seeds,
        train=[dataset.train for dataset in datasets],
        visited=visited,
        evaluate={name: [dataset.parts[name] for dataset in datasets] for name in evaluate},
        epochs=epochs,
        until=np.inf if until is None else errors.check_fraction("until", until),
        batch_size=batch_size,
        hyperparameters={
            "learning_rate": _numbers("learning_rate", learning_rate, seeds),
            "momentum": _numbers("momentum", momentum, seeds, below=1),
            "weight_decay": _numbers("weight_decay", weight_decay, seeds),
        },
        factors=_factors(schedule, epochs),
        init=errors.check_choice("init", init, INITIALIZATIONS),
        perturb=strengths_by_kind(noises, network),
        loss=None if loss is None else errors.check_function("loss", loss),
        attack=None if attack is None else errors.check_function("attack", attack),
        stop=errors.check_instance("stop", stop or threading.Event(), threading.Event),
        probes={k: as_probe(k, p, epochs, updates) for k, p in dict(probes or {}).items()},
        precision=precision,
        trajectories=Trajectories.empty(record, len(seeds), epochs, examples),
        networks=kept,
        progress=errors.check_function("progress", progress or (lambda done, total: None)),
    )
    logs = packing.run(
        settings.groups(),
        partial(loop.train, settings),
        together=errors.check_positive_int("together", together),
        workers=errors.check_positive_int("workers", workers),
        stop=settings.stopped.set,
    )
    return _history(settings, logs)


def halve_every(epochs: int) -> Callable[[int], float]:
    """Schedule that halves the learning rate every `epochs` epochs (Arpit et al. 2017: 15)."""
    errors.check_positive_int("epochs", epochs)
    return lambda epoch: 0.5 ** (epoch // epochs)


def _history(settings: loop.Settings, logs: list[loop.Log]) -> History:
    noted = [row for log in logs for row in log.rows]
    full = [dict(zip(row, np.broadcast_arrays(*row.values()), strict=True)) for row in noted]
    rows = pd.DataFrame({k: np.concatenate([row[k] for row in full]) for k in noted[0]})
    rows = rows.sort_values(["member", "epoch"], ignore_index=True)
    rows.insert(1, "seed", np.asarray(settings.seeds)[rows["member"]])
    last = rows.groupby("member").tail(1).reset_index(drop=True)
    own = {"seed": settings.seeds, **settings.hyperparameters, **settings.perturb}
    members = pd.DataFrame({"member": last["member"], **own})
    members[["epochs", "updates"]] = last[["epoch", "update"]]
    members[["ended", "train_accuracy"]] = last[["ended", "train_accuracy"]]
    readings = {name: Readings(len(members)) for name in settings.probes}
    for name, *reading in (reading for log in logs for reading in log.readings):
        readings[name].add(*reading)
    rows = rows.drop(columns="ended")
    return History(members, rows, settings.trajectories, readings, settings.networks)


def check_seeds(seeds: Iterable[int]) -> list[int]:
    """The seeds as a list; an `ArgumentError` if there is none, or one is no whole number."""
    checked = [errors.check_seed("seeds", seed) for seed in as_list(seeds) or ()]
    if not checked:
        raise ArgumentError("seeds", seeds, "whole numbers, one a network, such as range(10)")
    return checked


def check_names(
    argument: str, given: str | Iterable[str], allowed: Iterable[str], least: int = 0
) -> list[str]:
    """The names as a list, where one may be given alone; an `ArgumentError` for an unknown one."""
    names = as_list([given] if isinstance(given, str) else given)
    if names is None or len(names) < least:
        raise ArgumentError(argument, given, f"names, of {', '.join(allowed)}")
    return [str(errors.check_choice(argument, name, allowed)) for name in names]


def _check_alike(network: nn.Module, datasets: list[Dataset]) -> None:
    """Members share one batched pass, and a label beyond the logits would crash a GPU."""
    for name in ("shape", "n_classes", "device"):
        found = list(dict.fromkeys(getattr(dataset, name) for dataset in datasets))
        if len(found) > 1:
            raise ArgumentError("data", f"datasets of {name} {found}", f"one {name} for all")
    check_template(network, datasets[0].shape, datasets[0].n_classes)


def _check_batches(network: nn.Module, visited: list[Tensor], batch_size: int) -> None:
    sizes = {len(positions) for positions in visited}
    if 0 in sizes:
        raise ArgumentError("data", "no training example", "at least one")
    alone = [n for n in sizes if (n % batch_size or batch_size) == 1]
    if alone and any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        allowed = f"a size that leaves no batch of one of {alone[0]} examples, for batch norm"
        raise ArgumentError("batch_size", batch_size, allowed)


def _visited(subsets: object, datasets: list[Dataset], seeds: list[int]) -> list[Tensor]:
    """The positions of each member's training examples, on the CPU."""
    examples = [len(data.train) for data in datasets]
    if subsets is None:
        everything = {n: torch.arange(n) for n in set(examples)}
        return [everything[n] for n in examples]
    return list(map(_positions, one_each("subsets", subsets, seeds, Tensor, "tensor"), examples))


def _positions(subset: Tensor, examples: int) -> Tensor:
    """Checked positions [k] on the CPU, from positions or a mask."""
    index = subset.cpu()
    if index.dtype == torch.bool and index.shape == (examples,):
        index = index.nonzero()[:, 0]
    whole = index.dim() == 1 and not (index.is_floating_point() or index.dtype == torch.bool)
    known = set(index.tolist()) & set(range(examples)) if whole else set()
    if not known or len(known) < len(index):
        allowed = f"different positions from 0 to {examples - 1}, or a mask [{examples}]"
        raise ArgumentError("subsets", subset.tolist(), f"at least one example: {allowed}")
    return index.long()


def one_each(argument: str, given: object, seeds: list[int], kind: type, what: str) -> list:
    """What was given as a list with one item of this kind a seed, where one may serve all."""
    if isinstance(given, kind) and not isinstance(given, bool):
        return [given] * len(seeds)
    items = as_list(given)
    items = [given] if items is None else items
    allowed = f"one {what}; or a list of them, one a seed ({len(seeds)})"
    for item in items:
        if not isinstance(item, kind) or isinstance(item, bool):
            raise ArgumentError(argument, item, allowed)
    if len(items) != len(seeds):
        raise ArgumentError(argument, f"{len(items)} items", allowed)
    return items


def _factors(schedule: Callable[[int], float] | None, epochs: int) -> list[float]:
    """The factor on the learning rate in each epoch."""
    if schedule is None:
        return [1.0] * epochs
    factors = [errors.check_function("schedule", schedule)(epoch) for epoch in range(epochs)]
    for epoch, factor in enumerate(factors):
        if not isinstance(factor, Real) or not 0 <= factor < np.inf:
            raise ArgumentError(f"schedule({epoch})", factor, "a finite number of at least 0")
    return factors


def _numbers(
    argument: str, given: float | Sequence[float], seeds: list[int], below: float = np.inf
) -> list[float]:
    numbers = [float(v) for v in one_each(argument, given, seeds, Real, "number")]
    for number in numbers:
        if not 0 <= number < below:
            ends = "of at least 0" if below == np.inf else f"from 0 to below {below:g}"
            raise ArgumentError(argument, number, f"finite numbers {ends}")
    return numbers
