"""Probes: functions of the networks while they train, at chosen epochs or updates."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memhelpers.engine.ensemble import Ensemble
from memhelpers.errors import ArgumentError, check_integer


@dataclass(frozen=True)
class Snapshot:
    """What a probe sees.

    Attributes:
        ensemble: the networks that are still training, m of them; not to be changed.
        members: their places among all members, [m], on the CPU.
        epoch: epochs done (0: before training); None before an update.
        update: updates done.
        batch: before an update, the positions of the examples it will use, [m, b]; else None.
    """

    ensemble: Ensemble
    members: Tensor
    epoch: int | None
    update: int
    batch: Tensor | None
    _pass: Any

    def train_logits(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [m, n, classes] and labels [m, n] of the training examples at `positions` [n].

        Every member sees its own inputs and labels, in evaluation mode.
        """
        trained = self._pass
        positions = positions.to(trained.x.device)
        portions = positions.split(self.ensemble.images_per_pass(trained.x.shape[2:]))
        x_of, y_of = trained.which_x[:, None], trained.which_y[:, None]
        with torch.no_grad():
            logits = torch.cat([self.ensemble(trained.x[x_of, some]) for some in portions], dim=1)
        return logits, trained.y[y_of, positions]


Function = Callable[[Snapshot], Tensor]


@dataclass(frozen=True)
class Probe:
    """A function of a `Snapshot` and when to call it.

    Args:
        function: returns one row a member still training, [m, ...]; such as `parameters`.
        epochs: after which epochs (0: before training); `all`; or none.
        updates: before which updates, counted from 0, instead of after epochs; `all`; or none.
    """

    function: Function
    epochs: Iterable[int] | str = ()
    updates: Iterable[int] | str = ()

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ArgumentError("probe", self.function, "a function, such as parameters")
        for name in ("epochs", "updates"):
            times = getattr(self, name)
            if times == "all":
                continue
            if isinstance(times, str) or not isinstance(times, Iterable):
                raise ArgumentError(name, times, f"several {name}, such as [0, 1], or 'all'")
            whole = frozenset(check_integer(name, time, 0) for time in times)
            object.__setattr__(self, name, whole)
        if not self.epochs and not self.updates:
            raise ArgumentError("epochs", (), "epochs or updates at which to read the probe")
        if self.epochs and self.updates:
            raise ArgumentError("updates", self.updates, "epochs or updates; two probes for both")

    def read(self, snapshot: Snapshot) -> Tensor:
        """The function's value on the CPU; an `ArgumentError` if it has not one row a member."""
        given = self.function(snapshot)
        try:
            value = torch.as_tensor(given).detach().cpu()
        except (TypeError, ValueError, RuntimeError):
            raise ArgumentError("probe", given, "a function that returns a tensor") from None
        if not value.dim() or len(value) != len(snapshot.members):
            raise ArgumentError("probe", tuple(value.shape), f"[{len(snapshot.members)}, ...]")
        return value


def parameters(snapshot: Snapshot) -> Tensor:
    """All parameters of each member, [m, parameters]."""
    return snapshot.ensemble.flat_parameters()


def correct_on(positions: Tensor) -> Function:
    """Probe function: is each training example at `positions` [n] classified as labelled?

    All at one time, where trajectories see each example when it comes up for training.
    """

    positions = torch.as_tensor(positions)

    def correct(snapshot: Snapshot) -> Tensor:
        logits, labels = snapshot.train_logits(positions)
        return logits.argmax(-1) == labels

    return correct


def as_probe(name: str, given: Probe | Function, epochs: int, updates: int) -> Probe:
    """What `fit` was given under `name`, as a probe, whose times are all reached."""
    given = given if isinstance(given, Probe) else Probe(given, epochs="all")
    for kind, last in (("epochs", epochs), ("updates", updates - 1)):
        times = getattr(given, kind)
        never = [time for time in times if times != "all" and not 0 <= time <= last]
        if never:
            raise ArgumentError(f"probes[{name!r}].{kind}", never, f"0 to {last}")
    return given


class Readings:
    """The values of one probe, by time, for all members."""

    def __init__(self, members: int):
        self.members = members
        self._rows: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def add(self, time: int, members: Tensor, value: Tensor) -> None:
        """Note the value [m, ...] of some members at one time."""
        self._rows.setdefault(time, []).append((members, value))

    def only(self, member: int) -> "Readings":
        """The readings of one member, as if it had been the only one."""
        alone = Readings(1)
        for time, rows in self._rows.items():
            for members, value in rows:
                if member in members:
                    alone.add(time, torch.tensor([0]), value[members == member])
        return alone

    @property
    def times(self) -> list[int]:
        """The epochs or updates at which the probe was read, ascending."""
        return sorted(self._rows)

    def at(self, time: int) -> Tensor:
        """Values at one time, [member, ...]; floats, with NaN where a member has stopped."""
        if time not in self._rows:
            raise ArgumentError("time", time, f"one of {self.times}")
        rows = self._rows[time]
        members, value = (torch.cat(column) for column in zip(*rows, strict=True))
        if len(members) == self.members:
            return value[members.argsort()]
        value = value if value.is_floating_point() else value.float()
        full = value.new_full((self.members, *value.shape[1:]), torch.nan)
        full[members] = value
        return full

    def stacked(self) -> Tensor:
        """Values at all times, [time, member, ...]."""
        return torch.stack([self.at(time) for time in self.times])
