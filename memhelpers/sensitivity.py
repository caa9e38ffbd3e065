"""Loss sensitivity: how much the training loss depends on each training image.

Arpit et al. 2017, Sec. 3.2. The loss after t updates depends on an image x directly and through
every update in which x took part. The *total* derivative counts both; it is found by going back
through the updates once, for all evaluation times, networks and classes together. With
theta_{s+1} = theta_s - eta grad L_s(theta_s, x) and an adjoint a = dL_t / dtheta_{s+1}, one step
back is

    dL_t/dx       -=  eta * d/dx     < grad L_s, a >
    dL_t/dtheta_s  =  a - eta * d/dtheta < grad L_s, a >,

so each step costs one Hessian-vector product: a forward derivative of a gradient. The *direct*
derivative is that at fixed weights; the *indirect* one is what came through the updates alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import one_hot
from torch.nn.modules.batchnorm import _BatchNorm

from memhelpers import errors
from memhelpers.data import Dataset
from memhelpers.engine import curvature
from memhelpers.engine.ensemble import Weights
from memhelpers.engine.probes import Probe, Readings, parameters
from memhelpers.engine.templates import check_template, parameter_count
from memhelpers.errors import ArgumentError, as_list
from memhelpers.inputs.arrays import numbers
from memhelpers.training import PRECISIONS, check_names, check_seeds, fit, one_each

NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda g: g.abs().sum(-1),
    "l2": lambda g: g.norm(dim=-1),
    "linf": lambda g: g.abs().amax(-1),
}
DERIVATIVES = ("total", "direct", "indirect")
PORTION_BYTES = 2**30  # of weights and input gradients; more networks are done one after another


@dataclass(frozen=True)
class Sensitivity:
    """Norms of the derivative of the training loss by each training image.

    Attributes:
        times: numbers of updates t after which the loss L_t is differentiated, [t].
        norms: (derivative, norm) -> [member, t, example]; with `by_class`, [member, t, class,
            example]. Units: nats per unit of pixel value.
        train_accuracy: accuracy on all training examples after t updates, [member, t].
        train_loss: L_t in nats, [member, t].
        labels: label of each training example, [member, example]; `seeds` of the members.

    Norms, accuracy and loss are not numbers from where a member has diverged.
    """

    times: np.ndarray
    norms: dict[tuple[str, str], np.ndarray]
    train_accuracy: np.ndarray
    train_loss: np.ndarray
    labels: np.ndarray
    seeds: list[int]

    def over_training(self, derivative: str = "total", norm: str = "l1") -> np.ndarray:
        """The loss sensitivity of each example: (1/T) sum_t of its norms, without the axis t.

        Each evaluation time is weighted by the updates it stands for (see `time_shares`).
        """
        return np.moveaxis(self.at_times(derivative, norm), 1, -1) @ time_shares(self.times)

    def at_times(self, derivative: str = "total", norm: str = "l1") -> np.ndarray:
        """The norms of one derivative, [member, t, example] or [member, t, class, example].

        Raises:
            ArgumentError: it was not computed; the message lists those that were.
        """
        if (derivative, norm) not in self.norms:
            raise ArgumentError("(derivative, norm)", (derivative, norm), f"{list(self.norms)}")
        return self.norms[derivative, norm]


def loss_sensitivity(
    network: nn.Module,
    data: Dataset | Sequence[Dataset],
    *,
    seeds: Iterable[int],
    epochs: int,
    evaluations: int | Sequence[int] = 25,
    batch_size: int = 100,
    learning_rate: float = 0.1,
    norms: Sequence[str] = ("l1",),
    derivatives: Sequence[str] = ("total",),
    by_class: bool = False,
    init: str = "glorot_uniform",
    precision: str = "fp32",
    progress: Callable[[float, float], None] | None = None,
) -> Sensitivity:
    """Train networks by plain SGD and differentiate their training loss by every image.

    Args:
        network: template of the architecture; no batch norm (its loss mixes the examples).
        data: one dataset, or one a seed, with equally many training examples.
        seeds: one a network.
        epochs: passes over the data.
        evaluations: updates t at which to differentiate, or how many, spaced evenly in log t.
        batch_size: examples an update.
        learning_rate: of SGD without momentum.
        norms: of `l1` (the paper's), `l2` and `linf`, over the pixels of an image.
        derivatives: `total`, through the updates; `direct`, at fixed weights; `indirect`, total
            less direct, before the norm is taken.
        by_class: split L_t into its classes' parts, L_t(y = i) = (1/n) sum of the losses of the
            examples with label i.
        init: see `networks.initialize`.
        precision: `fp32` or `fp64`.
        progress: called with (networks done, networks in all).

    Raises:
        ArgumentError: an argument is outside what is allowed.

    Source:
        Arpit et al. 2017, Sec. 3.2, Figs. 3 and 4; total derivative as in Maclaurin et al. 2015.
    """
    seeds = check_seeds(seeds)
    datasets = one_each("data", data, seeds, Dataset, "Dataset, as `load` gives it")
    check_template(network, datasets[0].shape, datasets[0].n_classes)
    layers = network.modules()
    if any(isinstance(m, _BatchNorm) or getattr(m, "track_running_stats", 0) for m in layers):
        raise ArgumentError("network", "batch norm", "networks in which each example has its loss")
    if not all(parameter.requires_grad for parameter in network.parameters()):
        raise ArgumentError("network", "frozen parameters", "networks that are trained as a whole")
    norms = check_names("norms", norms, NORMS, least=1)
    derivatives = check_names("derivatives", derivatives, DERIVATIVES, least=1)
    errors.check_choice("precision", precision, ["fp32", "fp64"])
    errors.check_positive("learning_rate", learning_rate)
    errors.check_instance("by_class", by_class, bool)
    sizes = sorted({len(dataset.train) for dataset in datasets})
    if len(sizes) != 1:
        raise ArgumentError("data", f"training parts of {sizes}", "one number of examples for all")
    batch_size = errors.check_positive_int("batch_size", batch_size)
    epochs = errors.check_positive_int("epochs", epochs)
    updates = epochs * -(-sizes[0] // batch_size)
    times = _times(evaluations, updates)
    settings = {
        "epochs": epochs,
        "updates": updates,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "init": init,
        "precision": precision,
    }
    progress = errors.check_function("progress", progress or (lambda done, total: None))
    found, at_once = [], _members_at_once(network, datasets[0], times, updates, by_class)
    for start in range(0, len(seeds), at_once):
        some = slice(start, start + at_once)
        back = _Backward(network, datasets[some], times, by_class, seeds=seeds[some], **settings)
        found.append(_differentiate(back, norms, derivatives, progress, start, len(seeds)))
    joined = {key: torch.cat([part[key] for part in found]).numpy() for key in found[0]}
    accuracy, loss, labels = (joined.pop(key) for key in ("accuracy", "loss", "labels"))
    norms = {key: values if by_class else values[:, :, 0] for key, values in joined.items()}
    return Sensitivity(np.array(times), norms, accuracy, loss, labels, seeds)


def time_shares(times: Sequence[int] | np.ndarray) -> np.ndarray:
    """The share of all updates that each of these times stands for, [t].

    A time stands for the updates from the first to the last time that are nearer to it than to any
    other (half of one in the middle), and the first time also for those before it. They are counted
    from 1, and ascend.
    """
    times = numbers("times", times)
    if times.ndim != 1 or not len(times) or times[0] < 1 or (np.diff(times) <= 0).any():
        raise ArgumentError("times", times, "numbers of updates from 1 on, ascending")
    # Update t covers the stretch from t - 1/2 to t + 1/2.
    edges = np.concatenate([[0.5], (times[1:] + times[:-1]) / 2, times[-1:] + 0.5])
    return np.diff(edges) / times[-1]


class _Backward:
    """Going back through all updates: adjoints of the weights, and input gradients gathered so far.

    Adjoints are ordered by their time, so those already under way are a slice from the end. Each
    stands for the loss of all examples, or `by_class` for one class's part of it.
    """

    def __init__(
        self,
        network: nn.Module,
        datasets: list[Dataset],
        times: list[int],
        by_class: bool,
        **settings,
    ):
        self.network, self.rate = network, settings["learning_rate"]
        self.products = curvature.products(network)
        self.places = {time: place for place, time in enumerate(times)}
        self.first = len(times)  # adjoints from here on are under way
        self.weights, self.batches = _every_step(network, datasets, **settings)
        dtype = PRECISIONS[settings["precision"]]
        self.x = torch.stack([d.train.x for d in datasets]).to(dtype)
        self.y = torch.stack([d.train.y for d in datasets])
        every, each = torch.ones_like(self.y)[:, None], one_hot(self.y, datasets[0].n_classes).mT
        self.parts = (each if by_class else every).to(dtype)  # [m, parts, n]: does it count?
        lead = (len(self.y), len(times), self.parts.shape[1])
        weights = self.weights_at(0)
        self.adjoints = {k: w.new_zeros(*lead, *w.shape[1:]) for k, w in weights.items()}
        # The examples come first, so that a step back adds whole rows.
        numbers = self.x[0, 0].numel()
        self.gradients = self.x.new_zeros(lead[0], self.x.shape[1], *lead[1:], numbers)
        self.accuracy, self.loss = self.x.new_zeros(2, *lead[:2])

    def weights_at(self, time: int) -> Weights:
        """Weights [m, ...] after `time` updates, by name."""
        flat = self.weights.at(time).to(self.x.device)
        named = dict(self.network.named_parameters())
        parts = flat.split([p.numel() for p in named.values()], dim=1)
        return {k: v.view(-1, *p.shape) for (k, p), v in zip(named.items(), parts, strict=True)}

    def start(self, time: int) -> Tensor:
        """Begin the adjoints of L_time; returns its direct input gradients, [m, parts, n, d]."""
        place = self.first = self.places[time]
        by_weights, by_image, logits, losses = vmap(self._gradients)(
            self.weights_at(time), self.x, self.y, self.parts
        )
        for name, adjoint in self.adjoints.items():
            adjoint[:, place] = by_weights[name]
        self.gradients[:, :, place] = by_image.transpose(1, 2)
        self.loss[:, place] = loss = losses.mean(1)
        accuracy = (logits.argmax(-1) == self.y).to(self.x.dtype).mean(1)
        self.accuracy[:, place] = accuracy.where(loss.isfinite(), torch.nan)
        return by_image

    def _gradients(self, weights: Weights, x: Tensor, y: Tensor, parts: Tensor):
        def loss(weights, x, part):
            logits = functional_call(self.network, weights, (x,))
            losses = curvature.cross_entropy(logits, y)
            return (losses * part).mean(), (logits, losses)

        (by_weights, by_image), (logits, losses) = vmap(
            grad(loss, argnums=(0, 1), has_aux=True), in_dims=(None, None, 0)
        )(weights, x, parts)
        return by_weights, by_image.flatten(2), logits[0], losses[0]

    def step(self, update: int) -> None:
        """Go back through one update."""
        # Where a member has diverged, any positions will do: its weights are no numbers.
        batch = self.batches.at(update).nan_to_num().long().to(self.x.device)
        members = torch.arange(len(batch), device=batch.device)[:, None]
        under_way = {k: a[:, self.first :].flatten(1, 2) for k, a in self.adjoints.items()}
        by_weights, by_image = self.products(
            self.weights_at(update), self.x[members, batch], self.y[members, batch], under_way
        )
        rate, parts = self.rate, self.parts.shape[1]
        for name, change in by_weights.items():
            self.adjoints[name][:, self.first :] -= rate * change.unflatten(1, (-1, parts))
        by_image = by_image.unflatten(2, (-1, parts))  # [m, b, times, parts, d]
        rows = (members * self.x.shape[1] + batch).flatten()  # of all members' examples
        gathered = self.gradients.flatten(0, 1)[:, self.first :]
        gathered.index_add_(0, rows, by_image.flatten(0, 1), alpha=-rate)


def _differentiate(
    back: _Backward,
    norms: list[str],
    derivatives: list[str],
    progress: Callable[[float, float], None],
    before: int,
    networks: int,
) -> dict:
    """Go back once, with one adjoint for each evaluation time and class; the norms, by name.

    So many of all `networks` were done `before`.
    """
    direct, own, last = [], [], max(back.places)
    for update in range(last, 0, -1):
        if update in back.places:
            gradients = back.start(update)
            direct.insert(0, {norm: NORMS[norm](gradients).cpu() for norm in norms})
            if "indirect" in derivatives:  # an image is a term of one part only
                own.insert(0, gradients.sum(1))
        if set(derivatives) != {"direct"}:
            back.step(update - 1)
        progress(before + len(back.y) * (1 - (update - 1) / last), networks)
    found = {"accuracy": back.accuracy.cpu(), "loss": back.loss.cpu(), "labels": back.y.cpu()}
    if "total" in derivatives:
        total = {norm: NORMS[norm](back.gradients) for norm in norms}  # [m, n, times, parts]
        found |= {("total", norm): v.permute(0, 2, 3, 1).cpu() for norm, v in total.items()}
    if "direct" in derivatives:
        found |= {("direct", norm): torch.stack([at[norm] for at in direct], 1) for norm in norms}
    if "indirect" in derivatives:
        for place, image in enumerate(own):  # one time after another, to save memory
            back.gradients[:, :, place] -= back.parts.mT[..., None] * image[:, :, None]
        parts = {norm: NORMS[norm](back.gradients) for norm in norms}
        found |= {("indirect", norm): v.permute(0, 2, 3, 1).cpu() for norm, v in parts.items()}
    return found


def _every_step(
    network: nn.Module, datasets: list[Dataset], *, epochs: int, updates: int, **settings
) -> tuple[Readings, Readings]:
    """Train by `fit`; the weights before each update and after the last, and each batch.

    Weights are [m, parameters], batches are positions [m, b]; NaN where a member has diverged.
    """
    probes = {
        "weights": Probe(parameters, updates="all"),
        "batches": Probe(lambda snapshot: snapshot.batch, updates="all"),
        "last": Probe(parameters, epochs=[epochs]),
    }
    settings |= {"epochs": epochs, "evaluate": (), "keep_networks": False}
    found = fit(network, datasets, probes=probes, **settings).probes
    weights, batches, last = found["weights"], found["batches"], found["last"]
    members, nowhere = torch.arange(len(datasets)), torch.full_like(weights.at(0), torch.nan)
    for time in range(len(weights.times), updates):  # where all members have diverged
        weights.add(time, members, nowhere)
        batches.add(time, members, torch.zeros_like(batches.at(0)))
    weights.add(updates, members, last.at(epochs) if last.times else nowhere)
    return weights, batches


def _times(evaluations: int | Sequence[int], updates: int) -> list[int]:
    """The updates to evaluate at, ascending and distinct."""
    if isinstance(evaluations, Integral):
        count = errors.check_positive_int("evaluations", evaluations)
        spaced = np.geomspace(1, updates, count) if count > 1 else np.array([updates])
        return sorted({int(t) for t in spaced.round()})
    listed = as_list(evaluations)
    if listed is None:
        raise ArgumentError("evaluations", evaluations, "a number of times, or a list of updates")
    times = sorted({errors.check_positive_int("evaluations", t) for t in listed})
    if not times or times[-1] > updates:
        raise ArgumentError("evaluations", times, f"updates from 1 to {updates}")
    return times


def _members_at_once(
    network: nn.Module, data: Dataset, times: list[int], updates: int, by_class: bool
) -> int:
    """How many members' weights at every update and input gradients fit in memory."""
    parts = data.n_classes if by_class else 1
    numbers = len(times) * parts * data.train.x.numel() + updates * parameter_count(network)
    return max(1, PORTION_BYTES // (4 * numbers))
