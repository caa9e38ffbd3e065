"""Loss sensitivity: how much the training loss depends on each training image.

Arpit et al. 2017, Sec. 3.2. The loss after t updates depends on an image x directly and through
every update in which x took part. The *total* derivative counts both; it is found by going back
through the updates once, for all evaluation times, networks and classes together. With
theta_{s+1} = theta_s - eta grad L_s(theta_s, x) and an adjoint a = dL_t / dtheta_{s+1}, one step
back is

    dL_t/dx       -=  eta * d/dx     < grad L_s, a >
    dL_t/dtheta_s  =  a - eta * d/dtheta < grad L_s, a >,

so each step costs one Hessian-vector product: a forward derivative of a gradient.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from memhelpers.data import Dataset
from memhelpers.ensemble import Weights
from memhelpers.errors import ArgumentError, check_choice, check_positive, check_positive_int
from memhelpers.probes import Moment, Probe, Readings
from memhelpers.training import PRECISIONS, fit

NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda g: g.abs().sum(-1),
    "l2": lambda g: g.norm(dim=-1),
    "linf": lambda g: g.abs().amax(-1),
}
DERIVATIVES = ("total", "direct")
GRADIENT_BYTES = 2**30  # of input gradients held at once; more members are swept one after another


@dataclass(frozen=True)
class Sensitivity:
    """Norms of the derivative of the training loss by each training image.

    Attributes:
        times: numbers of updates t after which the loss L_t is differentiated, [t].
        epochs: the same times in epochs, [t].
        norms: (derivative, norm) -> [member, t, example]; with `by_class`, [member, t, class,
            example]. Units: nats per unit of pixel value. Not a number where a member diverged.
        train_accuracy: accuracy on all training examples after t updates, [member, t].
        train_loss: L_t in nats, [member, t].
        labels: label of each training example, [member, example].
    """

    times: np.ndarray
    epochs: np.ndarray
    norms: dict[tuple[str, str], np.ndarray]
    train_accuracy: np.ndarray
    train_loss: np.ndarray
    labels: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The share of all updates that each evaluation time stands for, [t]; they sum to 1."""
        return time_shares(self.times)

    def over_training(self, derivative: str = "total", norm: str = "l1") -> np.ndarray:
        """The loss sensitivity of each example: (1/T) sum_t of its norms, without the axis t.

        Evaluation times are spaced in log t, so each is weighted by the updates it stands for.

        Source:
            Arpit et al. 2017, Sec. 3.2.
        """
        return np.moveaxis(self.of(derivative, norm), 1, -1) @ self.shares

    def of(self, derivative: str = "total", norm: str = "l1") -> np.ndarray:
        """The norms of one derivative.

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
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Train networks by plain SGD and differentiate their training loss by every image.

    Args:
        network: template of the architecture; no batch norm (its loss mixes the examples).
        data: one dataset, or one a seed.
        seeds: one a network.
        epochs: passes over the data.
        evaluations: updates t at which to differentiate, or how many of them, spaced evenly in
            log t from the first update to the last.
        batch_size: examples an update.
        learning_rate: of SGD without momentum.
        norms: of `l1` (the paper's), `l2` and `linf`, over the pixels of an image.
        derivatives: `total`, through the updates; `direct`, at fixed weights.
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
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()):
        raise ArgumentError("network", "batch norm", "networks in which each example has its loss")
    _check_names(norms, derivatives)
    check_choice("precision", precision, ["fp32", "fp64"])
    check_positive("learning_rate", learning_rate)
    seeds = list(seeds)
    datasets = [data] * len(seeds) if isinstance(data, Dataset) else list(data)
    path = Path.train(
        network,
        datasets,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        init=init,
        precision=precision,
    )
    times = _times(evaluations, path.updates)
    sweeps = []
    together = _members_at_once(datasets[0], len(times), by_class)
    for first in range(0, len(seeds), together):
        rows = torch.arange(first, min(first + together, len(seeds)))
        sweeps.append(_sweep(path, rows, times, norms, derivatives, by_class))
        if progress:
            progress(int(rows[-1]) + 1, len(seeds))
    return _join(sweeps, path, times)


def gini(values: Tensor | np.ndarray, axis: int = -1) -> np.ndarray:
    """Gini coefficient: 0 where all values are equal, near 1 where one holds everything.

    G = sum_ij |g_i - g_j| / (2 n^2 mean(g)), computed from the sorted values.

    Args:
        values: none negative; [..., n, ...] with n along `axis`.
        axis: the axis of the examples.

    Returns:
        The coefficients, without `axis`; not a number where a value is, or where all are zero.

    Raises:
        ArgumentError: a value is negative.

    Source:
        Arpit et al. 2017, Sec. 3.2.
    """
    values = np.moveaxis(np.asarray(values, dtype=np.float64), axis, -1)
    if (values < 0).any():
        raise ArgumentError("values", float(np.nanmin(values)), "values of at least 0")
    n = values.shape[-1]
    ordered = np.sort(values, axis=-1)  # sorts NaN last, and the sums below carry it on
    ranks = np.arange(1, n + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * (ranks * ordered).sum(-1) / (n * ordered.sum(-1)) - (n + 1) / n


def time_shares(times: Sequence[int] | np.ndarray) -> np.ndarray:
    """The share of all updates that each of these times stands for, [t].

    A time stands for the updates that are nearer to it than to any other; the first also for those
    before it.

    Args:
        times: updates, ascending.
    """
    times = np.asarray(times, dtype=np.float64)
    edges = np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, times[-1:]])
    return np.diff(edges) / times[-1]


def class_matrix(sensitivity: Sensitivity, derivative: str = "total") -> np.ndarray:
    """Per-class loss sensitivity G_ij, [member, i, j].

    G_ij is the mean over the examples of class j, and over the updates, of the l1 norm of the
    derivative of class i's part of the loss.

    Raises:
        ArgumentError: the sensitivity was not computed `by_class`.

    Source:
        Arpit et al. 2017, Sec. 3.2, Fig. 4.
    """
    over_time = sensitivity.over_training(derivative, "l1")  # [member, class, example]
    if over_time.ndim != 3:
        raise ArgumentError("sensitivity", "one loss", "one computed with by_class=True")
    classes = over_time.shape[1]
    member_of = np.eye(classes)[sensitivity.labels]  # [member, example, class]
    return np.einsum("mie,mej->mij", over_time, member_of) / member_of.sum(1)[:, None]


@dataclass(frozen=True)
class Path:
    """Trained networks with every step of their way: weights before, and examples in, each update.

    Attributes:
        network: the template.
        x: [distinct datasets, n, C, H, W] and `which` of them each member saw, [m].
        y: labels, [m, n].
        weights: weights before each update, and after the last, [m, parameters] at each time.
        batches: positions of the examples of each update, [m, b] at each time.
        learning_rate: of every update.
        updates: number of updates T.
        steps: updates an epoch.
    """

    network: nn.Module
    x: Tensor
    which: Tensor
    y: Tensor
    weights: Readings
    batches: Readings
    learning_rate: float
    updates: int
    steps: int

    @classmethod
    def train(cls, network, datasets: list[Dataset], *, precision: str, **settings) -> "Path":
        """Train with `training.fit` while noting every step."""
        history = fit(
            network,
            datasets,
            evaluate=(),
            probes={
                "weights": Probe("parameters", updates="all"),
                "batches": Probe(_batch, updates="all"),
                "last": Probe("parameters", epochs=[settings["epochs"]]),
            },
            precision=precision,
            keep_networks=False,
            **settings,
        )
        distinct = list({id(d): d for d in datasets}.values())
        places = {id(d): place for place, d in enumerate(distinct)}
        weights, updates = history.probes["weights"], len(history.probes["weights"].times)
        last = history.probes["last"]
        weights.add(updates, torch.arange(len(datasets)), last.at(settings["epochs"]))
        return cls(
            network=network,
            x=torch.stack([d.train.x for d in distinct]).to(PRECISIONS[precision]),
            which=torch.tensor([places[id(d)] for d in datasets]),
            y=torch.stack([d.train.y for d in datasets]),
            weights=weights,
            batches=history.probes["batches"],
            learning_rate=settings["learning_rate"],
            updates=updates,
            steps=updates // settings["epochs"],
        )

    def weights_at(self, time: int, rows: Tensor) -> Weights:
        """Weights of some members after `time` updates, by name."""
        flat = self.weights.at(time)[rows].to(self.x.device)
        named = dict(self.network.named_parameters())
        parts = flat.split([p.numel() for p in named.values()], dim=1)
        return {k: v.view(-1, *p.shape) for (k, p), v in zip(named.items(), parts, strict=True)}

    def batch_at(self, time: int, rows: Tensor) -> Tensor:
        """Positions of the examples of update `time`, [rows, b]."""
        return self.batches.at(time)[rows].to(self.x.device)


def _batch(moment: Moment) -> Tensor:
    return moment.batch


def _sweep(
    path: Path,
    rows: Tensor,
    times: list[int],
    norms: Sequence[str],
    derivatives: Sequence[str],
    by_class: bool,
) -> dict[str, Tensor]:
    """Go back through all updates once, with one adjoint for each evaluation time and class.

    Adjoints are ordered by their time, so those already under way are a slice from the end.
    """
    back = _Backward(path, rows, times, by_class)
    direct = {}
    for update in range(path.updates, 0, -1):
        if update in back.places:
            direct[update] = back.start(update)
        if "total" in derivatives:
            back.step(update - 1)
    found = {"accuracy": back.accuracy, "loss": back.loss}
    gradients = {"total": back.gradients, "direct": torch.stack([direct[t] for t in times], 1)}
    for derivative in derivatives:
        for norm in norms:
            found[derivative, norm] = NORMS[norm](gradients[derivative]).cpu()
    return found


class _Backward:
    """State of one sweep: adjoints of the weights, and input gradients gathered so far."""

    def __init__(self, path: Path, rows: Tensor, times: list[int], by_class: bool):
        self.path, self.rows = path, rows
        self.places = {time: place for place, time in enumerate(times)}
        self.first = len(times)  # adjoints from here on are under way
        which = path.which[rows].to(path.x.device)
        self.x = path.x[which]
        self.y = path.y[rows.to(path.y.device)]
        self.parts = _class_parts(self.y) if by_class else torch.ones_like(self.y)[:, None]
        self.parts = self.parts.to(self.x.dtype)  # [m, parts, n], 1 where the example counts
        weights = path.weights_at(0, rows)
        lead = (len(rows), len(times), self.parts.shape[1])
        self.adjoints = {k: w.new_zeros(*lead, *w.shape[1:]) for k, w in weights.items()}
        self.gradients = self.x.new_zeros(*lead, self.x.shape[1], self.x[0, 0].numel())
        self.accuracy = self.x.new_zeros(lead[:2])
        self.loss = self.x.new_zeros(lead[:2])

    def start(self, time: int) -> Tensor:
        """Begin the adjoints of L_time; returns its direct input gradients, [m, parts, n, d]."""
        place = self.first = self.places[time]
        weights = self.path.weights_at(time, self.rows)
        by_weights, by_image, logits, losses = vmap(self._gradients)(
            weights, self.x, self.y, self.parts
        )
        for name, adjoint in self.adjoints.items():
            adjoint[:, place] = by_weights[name]
        self.gradients[:, place] = by_image
        self.accuracy[:, place] = (logits.argmax(-1) == self.y).to(self.x.dtype).mean(1)
        self.loss[:, place] = losses.mean(1)
        return by_image

    def _gradients(self, weights: Weights, x: Tensor, y: Tensor, parts: Tensor):
        def loss(weights, x, part):
            logits = functional_call(self.path.network, weights, (x,))
            losses = _cross_entropy(logits, y)
            return (losses * part).mean(), (logits, losses)

        (by_weights, by_image), (logits, losses) = vmap(
            grad(loss, argnums=(0, 1), has_aux=True), in_dims=(None, None, 0)
        )(weights, x, parts)
        return by_weights, by_image.flatten(2), logits[0], losses[0]

    def step(self, update: int) -> None:
        """Go back through one update."""
        batch = self.path.batch_at(update, self.rows)
        weights = self.path.weights_at(update, self.rows)
        members = torch.arange(len(batch), device=batch.device)[:, None]
        x, y = self.x[members, batch], self.y[members, batch]
        under_way = {k: a[:, self.first :].flatten(1, 2) for k, a in self.adjoints.items()}
        by_weights, by_image = vmap(self._second_derivatives)(weights, x, y, under_way)
        rate = self.path.learning_rate
        parts = self.parts.shape[1]
        for name, change in by_weights.items():
            self.adjoints[name][:, self.first :] -= rate * change.unflatten(1, (-1, parts))
        by_image = by_image.flatten(3).unflatten(1, (-1, parts))
        for row, positions in enumerate(batch):
            gradients = self.gradients[row, self.first :]
            gradients.index_add_(2, positions, by_image[row], alpha=-rate)

    def _second_derivatives(self, weights: Weights, x: Tensor, y: Tensor, adjoints: Weights):
        """d/dtheta and d/dx of <grad L, a> for each adjoint a of one member."""

        def loss(weights, x):
            return _cross_entropy(functional_call(self.path.network, weights, (x,)), y).mean()

        def gradients(weights):
            return grad(loss, argnums=(0, 1))(weights, x)

        # The mixed derivative is symmetric: moving the weights along `a` moves both gradients.
        return vmap(lambda a: jvp(gradients, (weights,), (a,))[1])(adjoints)


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return logits.logsumexp(-1) - logits.gather(-1, y[:, None])[:, 0]


def _class_parts(y: Tensor) -> Tensor:
    """[m, n] labels to [m, classes, n] indicators."""
    return torch.nn.functional.one_hot(y, int(y.max()) + 1).transpose(1, 2)


def _join(sweeps: list[dict], path: Path, times: list[int]) -> Sensitivity:
    found = {key: torch.cat([s[key].cpu() for s in sweeps]).numpy() for key in sweeps[0]}
    accuracy, loss = found.pop("accuracy"), found.pop("loss")
    by_part = {k: v if v.shape[2] > 1 else v[:, :, 0] for k, v in found.items()}
    labels = path.y.cpu().numpy()
    when = np.array(times)
    return Sensitivity(when, when / path.steps, by_part, accuracy, loss, labels)


def _times(evaluations: int | Sequence[int], updates: int) -> list[int]:
    """The updates to evaluate at, ascending and distinct."""
    if isinstance(evaluations, int):
        count = check_positive_int("evaluations", evaluations)
        spaced = np.geomspace(1, updates, count) if count > 1 else np.array([updates])
        return sorted({int(t) for t in spaced.round()})
    times = sorted({int(t) for t in evaluations})
    if not times or times[0] < 1 or times[-1] > updates:
        raise ArgumentError("evaluations", times, f"updates from 1 to {updates}")
    return times


def _check_names(norms: Sequence[str], derivatives: Sequence[str]) -> None:
    for norm in norms:
        check_choice("norms", norm, NORMS)
    for derivative in derivatives:
        check_choice("derivatives", derivative, DERIVATIVES)


def _members_at_once(data: Dataset, times: int, by_class: bool) -> int:
    parts = data.n_classes if by_class else 1
    bytes_each = 4 * times * parts * data.train.x.numel()
    return max(1, GRADIENT_BYTES // bytes_each)
