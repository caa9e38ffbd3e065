"""The training loop: stochastic gradient descent of many members in step, and what is noted of it.

A *member* is one network of an ensemble; a *pass* trains some of them together, in one batched
forward and backward pass. `train` is the loop; `Pass` holds what changes, `Log` what is kept.
"""

import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memhelpers.engine import packing, perturbations
from memhelpers.engine.ensemble import Ensemble, Weights, predict
from memhelpers.engine.gradients import NamedGradients, example_losses, gradients_for
from memhelpers.engine.perturbations import Noise
from memhelpers.engine.probes import Probe, Snapshot
from memhelpers.engine.templates import is_plain_mlp
from memhelpers.engine.trajectories import Trajectories, margin
from memhelpers.errors import ArgumentError
from memhelpers.seeding import generator

PRECISIONS = {"fp32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}  # of the weights


@dataclass
class Settings:
    """What `training.fit` was asked for, checked; a list or an array has one item a member.

    A part is any object with images x [n, C, H, W] and labels y [n], where the members train.
    """

    network: nn.Module
    seeds: list[int]
    train: list[Any]
    visited: list[Tensor]  # positions of the training examples that a member visits, on the CPU
    evaluate: dict[str, list[Any]]
    epochs: int
    until: float
    batch_size: int
    hyperparameters: dict[str, list[float]]
    factors: list[float]  # on the learning rate, one an epoch
    init: str
    perturb: dict[str, list[float]]
    probes: dict[str, Probe]
    precision: str
    trajectories: Trajectories
    networks: Ensemble | None  # room for the final ones
    progress: Callable[[float, float], None]
    loss: Callable[..., Tensor] | None = None  # the cross-entropy
    attack: Callable[..., Tensor] | None = None
    stop: threading.Event = field(default_factory=threading.Event)  # the user's, heeded each epoch
    stopped: threading.Event = field(default_factory=threading.Event)
    _done: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and losses."""
        return PRECISIONS[self.precision]

    @property
    def device(self) -> torch.device:
        """Where the data are, and so the networks."""
        return self.train[0].x.device

    def groups(self) -> list[list[int]]:
        """Members whose updates go in step: equally many examples to store and to visit."""
        groups: dict[tuple[int, int], list[int]] = {}
        for member, (part, visited) in enumerate(zip(self.train, self.visited, strict=True)):
            groups.setdefault((len(part.y), len(visited)), []).append(member)
        return list(groups.values())

    def advance(self, members: list[int], done: int) -> None:
        """Note that a pass, of several side by side, has `done` member-epochs behind it."""
        with self._lock:
            before = sum(self._done.values())
            self._done[members[0]] = done
            if (after := sum(self._done.values())) != before:
                self.progress(after, len(self.seeds) * self.epochs)


def train(settings: Settings, members: list[int]) -> "Log":
    """The loop. All members here have equally many examples, so their updates go in step."""
    networks, log = Pass(settings, members), Log(settings, members)
    log.read_probes(networks, epoch=0)
    for epoch in range(1, settings.epochs + 1):
        for batch in networks.batches():
            log.read_probes(networks, batch=batch)
            losses, logits, y, gradients = networks.forward_backward(batch)
            log.note(batch, losses, logits, y)
            networks.sgd_step(gradients, settings.factors[epoch - 1])
        log.end_epoch(networks, epoch)
        log.read_probes(networks, epoch=epoch)
        networks.keep(log.still_running(networks))
        if not len(networks.members):
            break
    settings.advance(members, len(members) * settings.epochs)
    return log


class Pass:
    """Members trained together: their stacked weights, data, hyperparameters and random orders."""

    def __init__(self, settings: Settings, members: list[int]):
        self.settings = settings
        self.members = torch.tensor(members)
        seeds = [settings.seeds[m] for m in members]
        network = copy.deepcopy(settings.network)  # one a thread: calls change it for a time
        place = settings.device, settings.dtype
        self.ensemble = Ensemble.initialize(network, seeds, settings.init, *place)
        network.to("meta")  # only what is computed is needed from now on; its weights take room
        self.gradients = gradients_for(network, settings.precision)
        self.rates = {k: [v[m] for m in members] for k, v in settings.hyperparameters.items()}
        self.velocity: Weights = {}
        self.kept: Weights = {}  # what a loss keeps from update to update
        self.noise: Noise = {}  # that of the first update
        for kind, each in settings.perturb.items():
            own = [each[m] for m in members]
            if any(own):
                first = perturbations.first_draws(seeds, kind).to(settings.device)
                strengths = torch.tensor(own, dtype=settings.dtype).to(settings.device)
                self.noise[kind] = first, strengths
        self.orders = [generator(seed, "order") for seed in seeds]
        self.update = 0
        parts = [settings.train[m] for m in members]
        self.x, self.which_x = _bank([part.x for part in parts])
        self.y, self.which_y = _bank([part.y for part in parts])
        self.x = self.x.to(settings.dtype)
        # Rounded once, not anew in each update; autocast does it for other networks.
        by_hand = settings.precision == "bf16" and is_plain_mlp(network)
        self.images = self.x.bfloat16() if by_hand else self.x

    def batches(self) -> Iterator[Tensor]:
        """One epoch of positions, [m, b] each; every member goes through its own order."""
        orders = []
        for member, order in zip(self.members.tolist(), self.orders, strict=True):
            visited = self.settings.visited[member]
            orders.append(visited[torch.randperm(len(visited), generator=order)])
        on_device = torch.stack(orders).to(self.settings.device)
        for batch in on_device.split(self.settings.batch_size, dim=1):
            if self.settings.stopped.is_set():
                raise packing.Stopped
            yield batch

    def forward_backward(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor, NamedGradients]:
        """Per-example losses [m, b], logits [m, b, classes], labels [m, b], and the gradients."""
        x, y = _take(self.images, self.which_x, batch), _take(self.y, self.which_y, batch)
        noise = perturbations.at_update(self.update, self.noise)
        loss = self.settings.loss
        if loss is not None:
            loss = partial(loss, batch=batch, kept=self.kept)
        if self.settings.attack is not None:
            x = self._attacked(x)
        losses, logits, gradients = self.gradients(self.ensemble, x, y, noise, loss)
        return losses, logits, y, gradients

    def _attacked(self, x: Tensor) -> Tensor:
        """The images [m, b, C, H, W] that take the place of those of the batch."""
        found = self.settings.attack(self.ensemble, x, self.update)
        if not isinstance(found, Tensor) or found.shape != x.shape:
            allowed = f"a function that returns as many images, {list(x.shape)}"
            raise ArgumentError("attack", getattr(found, "shape", found), allowed)
        return found.detach()

    @torch.no_grad()
    def sgd_step(self, gradients: NamedGradients, factor: float) -> None:
        """One update of every member, each on its own mean loss and with its own numbers:

        v = momentum * v + g + decay * w;  w = w - rate * v,  where rate = factor * learning_rate.
        """
        momentum, decay = self.rates["momentum"], self.rates["weight_decay"]
        minus_rate = [-factor * rate for rate in self.rates["learning_rate"]]
        for name, g in gradients:
            w = self.ensemble.parameters[name]
            if any(decay):
                g = _add(g.to(w.dtype, copy=True), decay, w)  # g + decay * w
            v = g
            if any(momentum):
                before = self.velocity.setdefault(name, torch.zeros_like(w))
                v = before.mul_(_factors(momentum, w)).add_(g)  # momentum * v + g
            _add(w, minus_rate, v)  # w - rate * v
        self.update += 1

    def finite(self) -> np.ndarray:
        """Whose weights are all finite, [m]: their sum is only then."""
        sums = [w.detach().flatten(1).sum(1) for w in self.ensemble.parameters.values()]
        return torch.stack(sums).isfinite().all(0).cpu().numpy()

    def evaluate(self, parts: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Mean loss and accuracy of every member on its part; not a number where it is empty."""
        loss, accuracy = np.full((2, len(self.members)), np.nan)
        sharing: dict[tuple[int, int], list[int]] = {}
        for row, member in enumerate(self.members.tolist()):
            sharing.setdefault((id(parts[member].x), id(parts[member].y)), []).append(row)
        for rows in sharing.values():
            part, networks = parts[int(self.members[rows[0]])], self.ensemble
            if not len(part.y):
                continue
            if len(rows) < len(self.members):
                networks = networks.select(torch.tensor(rows, device=self.settings.device))
            logits, y = predict(networks, part.x), part.y.expand(len(rows), -1)
            loss[rows] = example_losses(logits, y).mean(1).cpu().numpy()
            accuracy[rows] = (logits.argmax(-1) == y).float().mean(1).cpu().numpy()
        return loss, accuracy

    def keep(self, running: Tensor) -> None:
        """Let the members go that have stopped, so that they cost nothing more."""
        if bool(running.all()):
            return
        rows = running.nonzero()[:, 0]
        self.members = self.members[rows]
        self.orders = [self.orders[row] for row in rows.tolist()]
        self.rates = {k: [v[row] for row in rows.tolist()] for k, v in self.rates.items()}
        there = rows.to(self.settings.device)
        self.ensemble = self.ensemble.select(there)
        self.velocity = {name: v[there] for name, v in self.velocity.items()}
        self.kept = {name: v[there] for name, v in self.kept.items()}
        self.noise = {kind: (first[there], s[there]) for kind, (first, s) in self.noise.items()}
        self.which_x, self.which_y = self.which_x[there], self.which_y[there]


class Log:
    """What is noted of a pass while it trains."""

    def __init__(self, settings: Settings, members: list[int]):
        self.settings, self.members = settings, members
        self.rows: list[dict[str, Any]] = []  # one an epoch: a number for all, or one a member
        self.counted = 0  # member-epochs
        self.readings: list[tuple[str, int, Tensor, Tensor]] = []  # probe, time, members, values
        self._start_epoch(len(members))

    def _start_epoch(self, members: int) -> None:
        device = self.settings.device
        self.loss = torch.zeros(members, device=device, dtype=self.settings.dtype)
        self.correct = torch.zeros(members, device=device)
        self.seen = 0
        self.pages = self.settings.trajectories.pages(members, device)

    def note(self, batch: Tensor, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        """Add one batch to the epoch's sums and to the per-example pages."""
        seen = {"loss": loss, "correct": logits.argmax(-1) == y}
        self.loss += loss.sum(1)
        self.correct += seen["correct"].sum(1)
        self.seen += batch.shape[1]
        for kind, page in self.pages.items():
            values = margin(logits, y) if kind == "margin" else seen[kind]
            page.scatter_(1, batch, values.to(page.dtype))

    def end_epoch(self, networks: Pass, epoch: int) -> None:
        """Close the epoch's row of every member and decide who stops."""
        row = {
            "member": networks.members.numpy(),
            "epoch": epoch,
            "update": networks.update,
            "train_loss": (self.loss / self.seen).cpu().numpy(),
            "train_accuracy": (self.correct / self.seen).cpu().numpy(),
        }
        for name, parts in self.settings.evaluate.items():
            row[f"{name}_loss"], row[f"{name}_accuracy"] = networks.evaluate(parts)
        diverged = ~(np.isfinite(row["train_loss"]) & networks.finite())
        fitted = row["train_accuracy"] >= self.settings.until
        ends = "stopped" if self.settings.stop.is_set() else ""  # empty: it goes on
        last = "epochs" if epoch == self.settings.epochs else ends
        row["ended"] = np.select([diverged, fitted], ["diverged", "fitted"], last)
        self.rows.append(row)
        self.settings.trajectories.store(networks.members, epoch, self.pages)
        self.counted += len(networks.members)
        self.settings.advance(self.members, self.counted)

    def still_running(self, networks: Pass) -> Tensor:
        """Which members go on, [m]; the networks of the others are put aside."""
        running = torch.from_numpy(self.rows[-1]["ended"] == "")
        kept, device = self.settings.networks, self.settings.device
        if kept is not None and not bool(running.all()):
            left = networks.ensemble.select(~running.to(device))
            members = networks.members[~running].to(device)
            kept.store(members, left.parameters | left.buffers)
        self._start_epoch(int(running.sum()))
        return running

    def read_probes(
        self, networks: Pass, epoch: int | None = None, batch: Tensor | None = None
    ) -> None:
        """Call the probes that are due: before an update (`batch`) or at the end of an epoch."""
        members, update = networks.members, networks.update
        time = update if epoch is None else epoch
        for name, probe in self.settings.probes.items():
            times = probe.updates if epoch is None else probe.epochs
            if times == "all" or time in times:
                now = Snapshot(networks.ensemble, members, epoch, update, batch, networks)
                self.readings.append((name, time, members, probe.read(now)))


def _add(total: Tensor, factors: list[float], step: Tensor) -> Tensor:
    """Change total to total + factor * step, [m, ...] each, with a factor for each member."""
    if len(set(factors)) == 1:
        return total.add_(step, alpha=factors[0])
    return total.addcmul_(_factors(factors, total), step)


def _factors(factors: list[float], weight: Tensor) -> Tensor | float:
    """One number if all are the same, else [m, 1, ...] to multiply [m, ...] with."""
    if len(set(factors)) == 1:
        return factors[0]
    column = torch.tensor(factors, device=weight.device, dtype=weight.dtype)
    return column.view(-1, *[1] * (weight.dim() - 1))


def _bank(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The distinct tensors stacked, and for each given one its place among them."""
    distinct = {id(tensor): tensor for tensor in tensors}
    places = {key: place for place, key in enumerate(distinct)}
    stacked = torch.stack([*distinct.values()]) if len(distinct) > 1 else tensors[0][None]
    return stacked, torch.tensor([places[id(t)] for t in tensors], device=tensors[0].device)


def _take(bank: Tensor, which: Tensor, batch: Tensor) -> Tensor:
    """The examples [m, b, ...] at positions [m, b] of the members' own among the stacked sets."""
    if len(bank) == 1:  # all members have the same: this way it is several times faster
        return bank[0].index_select(0, batch.flatten()).unflatten(0, batch.shape)
    return bank[which[:, None], batch]
