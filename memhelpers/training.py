"""The one training loop: `fit` trains many networks at once by stochastic gradient descent.

Fifth step of the data flow. Members share an architecture and a batch size; each has its own seed,
data or labels, subset, learning rate, momentum and weight decay. What is recorded comes out of the
forward pass that training does anyway; `probes` look at anything else.
"""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from memhelpers.data import Dataset, Part
from memhelpers.engine import gradients, packing
from memhelpers.engine.ensemble import Ensemble, Weights, predict
from memhelpers.engine.gradients import example_losses
from memhelpers.engine.probes import Moment, Probe, Readings, as_probe
from memhelpers.engine.templates import INITIALIZATIONS, dry_run, is_plain_mlp
from memhelpers.engine.trajectories import KINDS, Trajectories, margin
from memhelpers.errors import (
    ArgumentError,
    check_choice,
    check_fraction,
    check_positive_int,
    check_seed,
)
from memhelpers.seeding import generator

PRECISIONS = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}
PARTS = ("validation", "test")

NamedGradients = Iterator[tuple[str, Tensor]]


@dataclass(frozen=True)
class History:
    """What `fit` saw.

    Attributes:
        members: one row a member: its seed and hyperparameters, `epochs` and `updates` it ran,
            `ended` (`fitted`: `until` was reached; `diverged`: its loss or weights became infinite
            or not a number; `epochs`: all were run) and its last `train_accuracy`.
        epochs: one row a member and epoch: loss (nats) and accuracy on the training part, as met
            during the epoch, and after it on the clean parts asked for.
        trajectories: `loss`, `correct` and `margin`, [member, epoch, example], where asked for.
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
    evaluate: Sequence[str] = ("validation",),
    record: Sequence[str] = (),
    probes: Mapping[str, Probe | Callable | str] | None = None,
    precision: str = "fp32",
    together: int | None = None,
    workers: int | None = None,
    keep_networks: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> History:
    """Train one network per seed, all at once.

    Args:
        network: template of the architecture (see `networks`), on the CPU.
        data: one dataset for all members, or one for each, of one image shape, number of classes
            and device; that is where the networks train.
        seeds: one a member; fixes its initial weights and its order of the data.
        epochs: passes over the data, at most.
        until: training accuracy at which a member stops, measured over an epoch as its examples
            come up; such a member costs nothing from then on.
        batch_size: examples an update; the last batch of an epoch may be smaller, none is dropped.
        learning_rate: of plain SGD; one value, or one a member.
        momentum: fraction of the last step that is kept; likewise.
        weight_decay: l2 penalty's factor, added to the gradient; likewise.
        schedule: factor on the learning rate as a function of the epoch, counted from 0.
        subsets: for each member the positions [k] of its training examples, or a mask [n] over
            them; all of them by default.
        init: see `networks.initialize`.
        evaluate: clean parts to evaluate after each epoch, of `validation` and `test`.
        record: per-example quantities to keep, of `loss`, `correct` and `margin`.
        probes: by name; a `Probe`, or a function of a `Moment` or the name of a standard probe,
            which are then called before training and after each epoch.
        precision: `fp32`; `bf16` (weights stay fp32, products are bf16); or `fp64`.
        together: members in one batched pass; by default `packing.networks_per_pass`.
        workers: batched passes that run side by side, in one thread and on one core each; by
            default `packing.passes_side_by_side`. With more than one, `schedule` and the functions
            of `probes` are called from several threads.
        keep_networks: return the final weights.
        progress: called with (member-epochs done, member-epochs in all); those that a member is
            spared by `until` count as done when its group ends.

    Returns:
        What was seen, and the final networks.

    Raises:
        ArgumentError: an argument is outside what is allowed.
        MemoryError: not even one network fits, or there is no room to keep them all.

    Warns:
        RuntimeWarning: memory ran out, and the members are trained in smaller groups.
    """
    seeds = check_seeds(seeds)
    plan = _Plan(
        network=network,
        datasets=_one_each("data", data, seeds, Dataset),
        seeds=seeds,
        epochs=check_positive_int("epochs", epochs),
        until=np.inf if until is None else check_fraction("until", until),
        batch_size=check_positive_int("batch_size", batch_size),
        hyperparameters={
            "learning_rate": _numbers("learning_rate", learning_rate, seeds),
            "momentum": _numbers("momentum", momentum, seeds, below=1),
            "weight_decay": _numbers("weight_decay", weight_decay, seeds),
        },
        schedule=schedule or constant,
        subsets=None if subsets is None else _one_each("subsets", subsets, seeds, Tensor),
        init=check_choice("init", init, INITIALIZATIONS),
        evaluate=check_names("evaluate", evaluate, PARTS),
        record=check_names("record", record, KINDS),
        probes=dict(probes or {}),
        precision=check_choice("precision", precision, PRECISIONS),
        keep_networks=keep_networks,
        progress=progress or (lambda done, total: None),
    )
    logs = packing.run(
        plan.groups(),
        lambda members: _train(plan, members),
        together=plan.together() if together is None else check_positive_int("together", together),
        workers=plan.workers() if workers is None else check_positive_int("workers", workers),
        stop=plan.stopped.set,
    )
    return _join(plan, logs)


def constant(epoch: int) -> float:
    """The schedule that leaves the learning rate alone."""
    return 1.0


def halve_every(epochs: int) -> Callable[[int], float]:
    """Schedule that halves the learning rate every `epochs` epochs (Arpit et al. 2017: 15)."""
    check_positive_int("epochs", epochs)
    return lambda epoch: 0.5 ** (epoch // epochs)


def _train(plan: "_Plan", members: list[int]) -> "_Log":
    """The loop. All members here have equally many examples, so their updates go in step."""
    group, log = _Group(plan, members), _Log(plan, members)
    log.look(group, epoch=0)
    for epoch in range(1, plan.epochs + 1):
        for batch in group.batches():
            log.look(group, batch=batch)
            losses, logits, y, gradients = group.look_back(batch)
            log.write(group, batch, losses, logits, y)
            group.descend(gradients, plan.schedule(epoch - 1))
        log.end_epoch(group, epoch)
        log.look(group, epoch=epoch)
        group.keep(log.still_running(group))
        if not len(group.members):
            break
    log.finish(group)
    return log


@dataclass
class _Plan:
    """The checked arguments of one call of `fit`."""

    network: nn.Module
    datasets: list[Dataset]
    seeds: list[int]
    epochs: int
    until: float
    batch_size: int
    hyperparameters: dict[str, list[float]]
    schedule: Callable[[int], float]
    subsets: list[Tensor] | None
    init: str
    evaluate: list[str]
    record: list[str]
    probes: dict[str, Probe]
    precision: str
    keep_networks: bool
    progress: Callable[[int, int], None]
    trajectories: Trajectories = field(init=False)
    networks: Ensemble | None = field(init=False)
    rounded: dict[int, Tensor] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    _done: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        _check_alike(self.network, self.datasets)
        if self.subsets is not None:
            sized = zip(self.subsets, self.datasets, strict=True)
            self.subsets = [_positions(subset, len(data.train)) for subset, data in sized]
        self._check_batches()
        examples = max(len(dataset.train) for dataset in self.datasets)
        if self.precision == "bf16" and is_plain_mlp(self.network):  # elsewhere autocast does it
            distinct = {id(dataset.train.x): dataset.train.x for dataset in self.datasets}
            self.rounded = {key: x.bfloat16() for key, x in distinct.items()}
        self.probes = {k: as_probe(k, p, self.epochs, self.updates) for k, p in self.probes.items()}
        self.trajectories = Trajectories.empty(self.record, len(self.seeds), self.epochs, examples)
        self.networks = self._room_for_networks() if self.keep_networks else None

    def _check_batches(self) -> None:
        sizes = {len(self.positions(member)) for member in range(len(self.seeds))}
        if 0 in sizes:
            raise ArgumentError("data", "no training example", "at least one")
        alone = [n for n in sizes if (n % self.batch_size or self.batch_size) == 1]
        if alone and any(isinstance(m, nn.BatchNorm1d) for m in self.network.modules()):
            allowed = f"a size that leaves no batch of one of {alone[0]} examples, for batch norm"
            raise ArgumentError("batch_size", self.batch_size, allowed)

    def _room_for_networks(self) -> Ensemble:
        dtype = PRECISIONS[self.precision]
        try:
            return Ensemble.empty(self.network, len(self.seeds), self.device, dtype)
        except (RuntimeError, MemoryError) as error:
            if not packing.out_of_memory(error):
                raise
            raise MemoryError("no room for all networks; pass keep_networks=False") from error

    @property
    def device(self) -> torch.device:
        return self.datasets[0].device

    def positions(self, member: int) -> Tensor:
        """The training examples of a member, [n], on the CPU."""
        if self.subsets is None:
            return torch.arange(len(self.datasets[member].train))
        return self.subsets[member]

    @property
    def updates(self) -> int:
        """Updates of the member that makes most."""
        examples = max(len(self.positions(member)) for member in range(len(self.seeds)))
        return self.epochs * -(-examples // self.batch_size)

    def groups(self) -> list[list[int]]:
        """Members whose updates go in step: equally many examples to store and to visit."""
        groups: dict[tuple[int, int], list[int]] = {}
        for member, dataset in enumerate(self.datasets):
            key = (len(dataset.train), len(self.positions(member)))
            groups.setdefault(key, []).append(member)
        return list(groups.values())

    def template(self) -> nn.Module:
        """A copy of the template, for one thread: calls with other weights change it for a time."""
        return copy.deepcopy(self.network)

    def together(self) -> int:
        shape, size = self.datasets[0].shape, self.batch_size
        return packing.networks_per_pass(self.network, shape, size, self.device, self.precision)

    def workers(self) -> int:
        return packing.passes_side_by_side(self.device)

    def advance(self, members: list[int], done: int) -> None:
        """Note that a portion has `done` member-epochs behind it; portions report side by side."""
        with self._lock:
            before = sum(self._done.values())
            self._done[members[0]] = done
            if (after := sum(self._done.values())) != before:
                self.progress(after, len(self.seeds) * self.epochs)


class _Group:
    """Members trained in step: their stacked weights, data, hyperparameters and random orders."""

    def __init__(self, plan: _Plan, members: list[int]):
        self.plan = plan
        self.members = torch.tensor(members)
        dtype = PRECISIONS[plan.precision]
        seeds = [plan.seeds[m] for m in members]
        network = plan.template()
        self.ensemble = Ensemble.initialize(network, seeds, plan.init, plan.device, dtype)
        network.to("meta")  # only what is computed is needed from now on; its weights take room
        self.gradients = gradients.of(network, plan.precision)
        self.descent = _Descent(
            {k: [v[m] for m in members] for k, v in plan.hyperparameters.items()}
        )
        self.orders = [generator(seed, "order") for seed in seeds]
        self.update = 0
        self.x, self.which_x = _bank([plan.datasets[m].train.x for m in members])
        self.y, self.which_y = _bank([plan.datasets[m].train.y for m in members])
        self.x = self.x.to(dtype)
        self.images = self.x
        if plan.rounded:  # converted once, not anew in each update
            self.images, _ = _bank([plan.rounded[id(plan.datasets[m].train.x)] for m in members])

    def batches(self) -> Iterator[Tensor]:
        """One epoch of positions, [m, b] each; every member goes through its own order."""
        orders = []
        for member, order in zip(self.members.tolist(), self.orders, strict=True):
            positions = self.plan.positions(member)
            orders.append(positions[torch.randperm(len(positions), generator=order)])
        for batch in torch.stack(orders).to(self.plan.device).split(self.plan.batch_size, dim=1):
            if self.plan.stopped.is_set():
                raise packing.Stopped
            yield batch

    def look_back(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor, NamedGradients]:
        """Per-example losses [m, b], logits [m, b, classes], labels [m, b], and the gradients."""
        x, y = _take(self.images, self.which_x, batch), _take(self.y, self.which_y, batch)
        losses, logits, found = self.gradients(self.ensemble, x, y)
        return losses, logits, y, found

    def descend(self, found: NamedGradients, factor: float) -> None:
        """One SGD update of every member, each on its own mean loss."""
        self.descent.step(self.ensemble.parameters, found, factor)
        self.update += 1

    def finite(self) -> np.ndarray:
        """Whose weights are all finite, [m]: their sum is only then."""
        weights = self.ensemble.parameters.values()
        sums = torch.stack([w.detach().flatten(1).sum(1) for w in weights])
        return sums.isfinite().all(0).cpu().numpy()

    def part(self, name: str) -> list[tuple[Tensor, Part]]:
        """The distinct datasets' part `name`, each with the rows of the members that use it."""
        used: dict[tuple[int, int], tuple[list[int], Part]] = {}
        for row, member in enumerate(self.members.tolist()):
            part = getattr(self.plan.datasets[member], name)
            used.setdefault((id(part.x), id(part.y)), ([], part))[0].append(row)
        return [(torch.tensor(rows), part) for rows, part in used.values()]

    def keep(self, running: Tensor) -> None:
        """Let the members go that have stopped, so that they cost nothing more."""
        if bool(running.all()):
            return
        rows = running.nonzero()[:, 0]
        self.members = self.members[rows]
        self.orders = [self.orders[row] for row in rows.tolist()]
        on_device = rows.to(self.plan.device)
        self.ensemble = self.ensemble.select(on_device)
        self.which_x, self.which_y = self.which_x[on_device], self.which_y[on_device]
        self.descent.keep(rows)


class _Descent:
    """Stochastic gradient descent with momentum and weight decay, of all members of a group."""

    def __init__(self, rates: dict[str, list[float]]):
        self.rates = rates
        self.velocity: Weights = {}

    @torch.no_grad()
    def step(self, weights: Weights, found: NamedGradients, factor: float) -> None:
        """Change the weights [m, ...]; `factor` is the schedule's."""
        rates = [-factor * rate for rate in self.rates["learning_rate"]]
        for name, gradient in found:
            _add(weights[name], self._with_momentum(name, weights[name], gradient), rates)

    def _with_momentum(self, name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        if any(self.rates["weight_decay"]):
            gradient = _add(
                gradient.to(weight.dtype, copy=True), weight, self.rates["weight_decay"]
            )
        if not any(self.rates["momentum"]):
            return gradient
        if name not in self.velocity:
            self.velocity[name] = torch.zeros_like(weight)
        velocity = self.velocity[name].mul_(_factors(self.rates["momentum"], weight))
        return velocity.add_(gradient)

    def keep(self, rows: Tensor) -> None:
        """Let all members go but those at `rows`."""
        self.rates = {k: [v[row] for row in rows.tolist()] for k, v in self.rates.items()}
        self.velocity = {k: v[rows.to(v.device)] for k, v in self.velocity.items()}


def _add(weight: Tensor, step: Tensor, factors: list[float]) -> Tensor:
    """Add to [m, ...] in place the step [m, ...] times a factor for each member."""
    if len(set(factors)) == 1:
        return weight.add_(step, alpha=factors[0])
    return weight.addcmul_(_factors(factors, weight), step)


def _factors(factors: list[float], weight: Tensor) -> Tensor | float:
    """One number if all are the same, else [m, 1, ...] to multiply [m, ...] with."""
    if len(set(factors)) == 1:
        return factors[0]
    column = torch.tensor(factors, device=weight.device, dtype=weight.dtype)
    return column.view(-1, *[1] * (weight.dim() - 1))


def _take(bank: Tensor, which: Tensor, batch: Tensor) -> Tensor:
    """The examples [m, b, ...] at positions [m, b] of the members' own among the stacked sets."""
    if len(bank) == 1:  # all members have the same: this way it is several times faster
        return bank[0].index_select(0, batch.flatten()).unflatten(0, batch.shape)
    return bank[which[:, None], batch]


class _Log:
    """Everything that is written down about a group while it trains."""

    def __init__(self, plan: _Plan, members: list[int]):
        self.plan, self.members = plan, members
        self.rows: list[pd.DataFrame] = []
        self.ended: dict[int, str] = {}
        self.counted = 0  # member-epochs
        self.readings = {name: Readings(len(plan.seeds)) for name in plan.probes}
        self._start_epoch(len(members))

    def _start_epoch(self, members: int) -> None:
        plan = self.plan
        self.loss = torch.zeros(members, device=plan.device, dtype=PRECISIONS[plan.precision])
        self.correct = torch.zeros(members, device=plan.device)
        self.seen = 0
        self.pages = plan.trajectories.pages(members, plan.device)

    def write(self, group: _Group, batch: Tensor, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        """Add one batch to the epoch's sums and to the per-example pages."""
        correct = logits.argmax(-1) == y
        self.loss += loss.sum(1)
        self.correct += correct.sum(1)
        self.seen += batch.shape[1]
        values = {
            "loss": lambda: loss,
            "correct": lambda: correct,
            "margin": lambda: margin(logits, y),
        }
        for name, page in self.pages.items():
            page.scatter_(1, batch, values[name]().to(page.dtype))

    def end_epoch(self, group: _Group, epoch: int) -> None:
        """Close the epoch's row of every member and decide who stops."""
        row = {
            "member": group.members.numpy(),
            "epoch": epoch,
            "update": group.update,
            "train_loss": (self.loss / self.seen).cpu().numpy(),
            "train_accuracy": (self.correct / self.seen).cpu().numpy(),
        }
        for part in self.plan.evaluate:
            row[f"{part}_loss"], row[f"{part}_accuracy"] = _evaluate(group, part)
        self.rows.append(pd.DataFrame(row))
        self._note_the_stopped(self.rows[-1], group.finite())
        self.plan.trajectories.store(group.members, epoch, self.pages)
        self.counted += len(group.members)
        self.plan.advance(self.members, self.counted)

    def _note_the_stopped(self, row: pd.DataFrame, finite: np.ndarray) -> None:
        diverged = ~(np.isfinite(row["train_loss"]) & finite)
        fitted = row["train_accuracy"] >= self.plan.until
        self.ended |= dict.fromkeys(row["member"][fitted & ~diverged], "fitted")
        self.ended |= dict.fromkeys(row["member"][diverged], "diverged")

    def still_running(self, group: _Group) -> Tensor:
        """Which members go on, [m]; the networks of the others are put aside."""
        running = torch.tensor([m not in self.ended for m in group.members.tolist()])
        self._put_aside(group, ~running)
        self._start_epoch(int(running.sum()))
        return running

    def _put_aside(self, group: _Group, leaving: Tensor) -> None:
        if self.plan.networks is None or not bool(leaving.any()):
            return
        device = self.plan.device
        left = group.ensemble.select(leaving.to(device))
        self.plan.networks.store(group.members[leaving].to(device), left.parameters | left.buffers)

    def look(self, group: _Group, epoch: int | None = None, batch: Tensor | None = None) -> None:
        """Call the probes that are due: before an update (`batch`) or at the end of an epoch."""
        time = group.update if epoch is None else epoch
        for name, probe in self.plan.probes.items():
            if probe.is_due(epoch=epoch, update=group.update if epoch is None else None):
                moment = Moment(group.ensemble, group.members, epoch, group.update, batch, group)
                self.readings[name].add(time, group.members, probe.read(moment))

    def finish(self, group: _Group) -> None:
        """Note those who ran to the last epoch."""
        self.ended |= dict.fromkeys(group.members.tolist(), "epochs")
        self._put_aside(group, torch.ones(len(group.members), dtype=torch.bool))
        self.plan.advance(self.members, len(self.members) * self.plan.epochs)


def _evaluate(group: _Group, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and accuracy of every member on a clean part; not a number where it is empty."""
    loss, accuracy = np.full((2, len(group.members)), np.nan)
    for rows, examples in group.part(part):
        if not len(examples):
            continue
        alone = len(rows) == len(group.members)
        members = group.ensemble if alone else group.ensemble.select(rows.to(group.plan.device))
        logits = predict(members, examples.x)
        y = examples.y.expand(len(rows), -1)
        loss[rows.numpy()] = example_losses(logits, y).mean(1).cpu().numpy()
        accuracy[rows.numpy()] = (logits.argmax(-1) == y).float().mean(1).cpu().numpy()
    return loss, accuracy


def _join(plan: _Plan, logs: list[_Log]) -> History:
    rows = pd.concat([row for log in logs for row in log.rows], ignore_index=True)
    rows = rows.sort_values(["member", "epoch"], ignore_index=True)
    rows.insert(1, "seed", np.asarray(plan.seeds)[rows["member"]])
    last = rows.groupby("member").tail(1).reset_index(drop=True)
    ended = {m: how for log in logs for m, how in log.ended.items()}
    members = pd.DataFrame({"member": last["member"], "seed": plan.seeds, **plan.hyperparameters})
    members["epochs"], members["updates"] = last["epoch"], last["update"]
    members["ended"] = [ended[m] for m in members["member"]]
    members["train_accuracy"] = last["train_accuracy"]
    readings = {n: Readings.join([log.readings[n] for log in logs]) for n in plan.probes}
    return History(members, rows, plan.trajectories, readings, plan.networks)


def _bank(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The distinct tensors stacked, and for each given one its place among them."""
    places: dict[int, int] = {}
    which = [places.setdefault(id(tensor), len(places)) for tensor in tensors]
    distinct = list({id(tensor): tensor for tensor in tensors}.values())
    stacked = distinct[0][None] if len(distinct) == 1 else torch.stack(distinct)
    return stacked, torch.tensor(which, device=tensors[0].device)


def check_seeds(seeds: Iterable[int]) -> list[int]:
    """Returns the seeds, one a network; the same may come twice.

    Raises:
        ArgumentError: there is none, or one is no whole number of at least 0.
    """
    if not isinstance(seeds, Iterable):
        raise ArgumentError("seeds", seeds, "one whole number a network, such as range(10)")
    checked = [check_seed("seeds", seed) for seed in seeds]
    if not checked:
        raise ArgumentError("seeds", checked, "at least one seed")
    return checked


def check_names(argument: str, given: str | Iterable[str], allowed: Iterable[str]) -> list[str]:
    """Returns the names as a list, also where a single one was given.

    Raises:
        ArgumentError: one is not among those allowed.
    """
    names = [given] if isinstance(given, str) else list(given)
    return [str(check_choice(argument, name, allowed)) for name in names]


def _check_alike(network: nn.Module, datasets: list[Dataset]) -> None:
    """Members share one batched pass, and a label beyond the logits would crash a GPU."""
    for name in ("shape", "n_classes", "device"):
        found = list(dict.fromkeys(getattr(dataset, name) for dataset in datasets))
        if len(found) > 1:
            raise ArgumentError("data", f"datasets of {name} {found}", f"one {name} for all")
    logits, classes = dry_run(network, datasets[0].shape)[0], datasets[0].n_classes
    if logits < classes:
        raise ArgumentError("network", f"{logits} logits", f"one a class of the data ({classes})")


def _positions(subset: Tensor, examples: int) -> Tensor:
    """Checked positions [k] on the CPU, from positions or a mask."""
    index = subset.cpu()
    if index.dtype == torch.bool and index.shape == (examples,):
        index = index.nonzero()[:, 0]
    whole = index.dim() == 1 and not (index.is_floating_point() or index.dtype == torch.bool)
    if (
        not whole
        or len(index) == 0
        or len(index.unique()) < len(index)
        or (int(index.min()) < 0 or int(index.max()) >= examples)
    ):
        allowed = f"different positions from 0 to {examples - 1}, or a mask [{examples}]"
        raise ArgumentError("subsets", subset.tolist(), f"at least one example: {allowed}")
    return index.long()


def _one_each(argument: str, given: object, seeds: list[int], kind: type) -> list:
    if isinstance(given, kind):
        return [given] * len(seeds)
    items = list(given) if isinstance(given, Iterable) else [given]
    what = "number" if kind is Real else kind.__name__
    allowed = f"one {what}, or one a seed ({len(seeds)})"
    for item in items:
        if not isinstance(item, kind):
            raise ArgumentError(argument, item, allowed)
    if len(items) != len(seeds):
        raise ArgumentError(argument, f"{len(items)} items", allowed)
    return items


def _numbers(
    argument: str, given: float | Sequence[float], seeds: list[int], below: float = np.inf
) -> list[float]:
    numbers = [float(v) for v in _one_each(argument, given, seeds, Real)]
    if any(not 0 <= v < below for v in numbers):
        limit = "finite" if np.isinf(below) else f"below {below:g}"
        raise ArgumentError(argument, given, f"{limit} numbers of at least 0")
    return numbers
