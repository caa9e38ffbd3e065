"""Audit of one's own data: wrong labels, hard and memorized examples, and what helps or hurts them.

`audit` trains one ensemble on random subsets. What the networks that never saw an example say of it
tells whether its label is plausible; how they differ from those that did, whether it is memorized,
and whether an outsider could tell that it was used; and which others they had seen, which examples
help or hurt it. From a shell: `python -m memhelpers.audit data.csv --label target`.
"""

import argparse
import json
import math
import os
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from memhelpers import errors, scores
from memhelpers.data import Dataset, Part
from memhelpers.engine import packing
from memhelpers.engine.ensemble import predict
from memhelpers.errors import ArgumentError, DataError
from memhelpers.inputs import tables
from memhelpers.networks import mlp
from memhelpers.page import report
from memhelpers.runs import fingerprint, machine
from memhelpers.scores import BLOCK
from memhelpers.training import History, fit

HIDDEN = 128  # units of the network where the reader brings none
CURVATURE = 3.2  # its learning rate times its inputs, at most: as many inputs, so steep the loss
TRAINING = {  # short and with a strong penalty, so that wrong labels are not learned by heart
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "init": "glorot_uniform",
    "precision": "fp32",
}
ABOUT = """Find the labels of a table or of images that are probably wrong, and the examples
that are hard or memorized. Trains small networks on random parts of the data, and writes one page
that any browser shows without Python and without a network."""
EXAMPLE = "example: python -m memhelpers.audit data.csv --label target"
UNRELATED = """what networks say of examples that they never saw is unrelated to the labels, so
nothing here tells wrong labels from right ones""".replace("\n", " ")
FORMAT = 3  # of the files of a store
SEEDS = 1_000_000  # so many lie between the networks of one audit and those of the next

Block = dict[str, np.ndarray]  # what ten networks said


@dataclass(frozen=True)
class Audit:
    """What the networks of an audit said of n examples in K classes.

    Attributes:
        data: the examples, as its training part.
        rows: the place of each in what was given (rows with missing values may be left out), [n].
        inside: did network m train on example i, bool [m, n].
        right: is it right about the example at the end, bool [m, n].
        log_odds: log p - log (1 - p) of the example's label, float16 [m, n].
        pred_probs: mean probability of each class over the networks that never saw the example,
            [n, K]; what cleanlab takes under this name.
        course: one row an example, over the networks that trained on it: `difficulty`,
            `forgetting`, `margin_area` of `table`.
        classes: as the labels name them, [K].
        given: the table that was given, or None; of a file by its lines.
    """

    data: Dataset
    rows: np.ndarray
    inside: np.ndarray
    right: np.ndarray
    log_odds: np.ndarray
    pred_probs: np.ndarray
    course: pd.DataFrame
    classes: np.ndarray
    given: pd.DataFrame | None

    def __repr__(self) -> str:
        wrong = "about {:.0f} wrong labels, {:.0f} to {:.0f}".format(*self.wrong_labels)
        wrong = wrong if self.learned else "labels not learned"
        told = f"accuracy on unseen examples {self.accuracy:.2f}"
        return f"Audit({len(self.inside)} networks, {len(self.rows)} examples, {told}, {wrong})"

    @property
    def labels(self) -> np.ndarray:
        """The label of each example as a place among the classes, [n]."""
        return self.data.train.y.cpu().numpy()

    @property
    def accuracy(self) -> float:
        """The share of examples whose label is likeliest for the networks that never saw them."""
        return float(np.mean(self.pred_probs.argmax(1) == self.labels))

    @property
    def learned(self) -> bool:
        """Whether the networks' answers go with the labels at all, see `scores.learned`."""
        return scores.learned(self.pred_probs, self.labels)

    @property
    def wrong_labels(self) -> tuple[float, float, float]:
        """Estimated number of wrong labels with its 95 % interval, see `scores.wrong_share`."""
        share = scores.wrong_share(self.pred_probs, self.labels)
        return tuple(len(self.rows) * end for end in share)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row an example, in the order given; the index is its place there.

        Columns: `label`; `suggested`, the likeliest class for networks that never saw it;
        `p_correct`, the share of these that are right, with Wilson's 95 % interval `p_low`,
        `p_high`; `difficulty`, the share of epochs in which a network that trains on it is wrong;
        `memorization` (see `scores.memorization`); `forgetting`, events a network, where never
        right counts as one an epoch; `margin_area`, its mean logit above the largest other one;
        `suspicion` that the label is wrong (see `scores.suspicion`); `rank` by it, from 1;
        `expected_precision`, the share of wrong labels to expect among those up to this rank; and
        `membership_risk` (see `scores.membership`).
        """
        p = scores.consistency(self.right, self.inside)
        low, high = scores.wilson(p, (~self.inside).sum(0))
        suspicion = scores.suspicion(self.pred_probs, self.labels)
        rank = 1 + np.argsort(np.argsort(-suspicion, kind="stable"))
        precision = scores.expected_precision(self.pred_probs, self.labels)
        columns = {
            "label": self.classes[self.labels],
            "suggested": self.classes[self.pred_probs.argmax(1)],
            "p_correct": p,
            "p_low": low,
            "p_high": high,
            "difficulty": self.course["difficulty"].to_numpy(),
            "memorization": scores.memorization(self.right, self.inside),
            "forgetting": self.course["forgetting"].to_numpy(),
            "margin_area": self.course["margin_area"].to_numpy(),
            "suspicion": suspicion,
            "rank": rank,
            "expected_precision": precision[rank - 1],
            "membership_risk": scores.membership(self.log_odds, self.inside),
        }
        return pd.DataFrame(columns, index=pd.Index(self.rows, name="row"))

    @property
    def names(self) -> pd.Index:
        """Of each example its line in the file, its name in the table, or its place, [n]."""
        return self.table.index if self.given is None else self.given.index[self.rows]

    @property
    def p_label(self) -> np.ndarray:
        """Each network's probability of each example's label, [m, n]."""
        return 1 / (1 + np.exp(-self.log_odds.astype(np.float32).clip(-60, 60)))

    def influence(self, row: int) -> pd.DataFrame:
        """Which training examples help or hurt this one most, see `scores.influence`.

        Args:
            row: the example's place in what was given.

        Returns:
            A row for each other example, the clearest first: its `label`, `effect` on the
            probability of this one's label, `low`, `high`, and `clear`: the interval excludes 0.
            Where none is clear, more networks are needed. The index is its place.
        """
        places = np.flatnonzero(self.rows == errors.check_integer("row", row, 0))
        if not len(places):
            raise ArgumentError("row", row, "the place of an example that was audited")
        place = places[0]
        found = scores.influence(self.p_label[:, place], self.inside, place)
        example = found.pop("example").to_numpy()
        found.insert(0, "label", self.classes[self.labels[example]])
        found["clear"] = (found["low"] > 0) | (found["high"] < 0)
        return found.set_index(pd.Index(self.rows[example], name="row"))

    def enough(self, k: int = 50, *, agreement: float = 0.9) -> float:
        """How many more networks until the k most suspicious are stable: a multiple of ten.

        0 where they are; infinite where a thousand times as many would not do. Arguments as in
        `scores.networks_until_stable`.
        """
        k = errors.check_integer("k", k, 1, len(self.rows))
        agreement = errors.check_fraction("agreement", agreement)
        factor = scores.networks_until_stable(self.p_label, self.inside, k, agreement)
        more = (factor - 1) * len(self.inside) / BLOCK
        return math.inf if math.isinf(more) else BLOCK * math.ceil(more)

    def report(
        self,
        path: str | os.PathLike = "audit.html",
        *,
        title: str = "Audit of labelled data",
        notes: Sequence[str] = (),
    ) -> Path:
        """Write one page that needs neither Python nor a network, at most 5 MB; returns its path.

        The most suspicious examples with their images or rows, and all examples as a table to sort
        and filter; what does not fit is left out from the least suspicious on, which the page says.
        Rows are called as in `names`; each of the `notes` is a sentence. Images need pillow.
        """
        told = {
            "title": title,
            "notes": list(notes),
            "learned": self.learned,
            "accuracy": self.accuracy,
            "frequent": float(np.bincount(self.labels).max() / len(self.labels)),
            "networks": len(self.inside),
            "examples": len(self.rows),
            "classes": len(self.classes),
            "wrong": self.wrong_labels,
            "more": self.enough(min(50, len(self.rows))),
        }
        images = None if min(self.data.shape[1:]) == 1 else self.data.train.x.cpu().numpy()
        path = Path(path).expanduser()
        path.write_bytes(report.page(self.table, self.names, told, images, self.given))
        return path


def audit(
    x: Any,
    y: Any = None,
    *,
    label: str | None = None,
    networks: int = 100,
    share: float = 0.7,
    network: nn.Module | None = None,
    missing: str | None = None,
    layout: str | None = None,
    seed: int = 0,
    store: str | os.PathLike | None = None,
    minutes: float | None = None,
    device: str | torch.device | None = None,
    progress: Callable[[float, float], None] | None = None,
    **training: Any,
) -> Audit:
    """Train networks on random subsets of labelled examples, and say what they tell of each.

    Args:
        x: images [n, H, W], [n, H, W, C] or [n, C, H, W]; vectors or embeddings [n, d]; a
            DataFrame; the path of a `.csv` with a header, or of an `.npz` with `x` and `y`; or a
            `Dataset`, of which the training part counts.
        y: labels [n], whole numbers or texts; None where `x` has them.
        label: of a DataFrame or a `.csv` the column of the labels, where `y` is None.
        networks: how many, in tens.
        share: of the examples that a network is trained on, in tenths.
        network: template (see `networks`); by default an MLP with a hidden layer of 128 units.
        missing: values missing in vectors or a table: None is an error; "fill" puts the column's
            mean, or the text "missing", and adds a column that says where; "drop" leaves rows out.
        layout: "NCHW" or "NHWC", where the shape of images leaves it open.
        seed: of subsets and networks.
        store: folder in which every ten finished networks are kept; the same call goes on there,
            also with more networks. Other audits may share it.
        minutes: start no further networks that would, at the pace so far, end after this time.
        device: where to train; by default a GPU where there is one.
        progress: called with (networks done, networks in all); by default a bar with time left.
        training: of `fit`: `epochs`, `batch_size`, `learning_rate`, `momentum`, `weight_decay`,
            `init`, `precision`. The defaults keep wrong labels from being learned by heart; the
            learning rate is .05, and of the default network at most 3.2 / inputs.

    Raises:
        ArgumentError: an argument, or something in the data, is outside what is allowed; nothing
            has been trained then. Also where networks diverged.
        DataError: a file is missing or is no table.

    Source:
        Feldman & Zhang 2020 (subsets, memorization, influence); Jiang et al. 2021 (C-score);
        Northcutt et al. 2021 (wrong labels by held-out probability); Carlini et al. 2022.
    """
    if unknown := training.keys() - TRAINING.keys():
        name = min(unknown)
        raise ArgumentError(name, training[name], f"of training one of {', '.join(TRAINING)}")
    if errors.check_integer("networks", networks, BLOCK) % BLOCK:
        raise ArgumentError("networks", networks, "a multiple of 10")
    seconds = math.inf if minutes is None else 60 * errors.check_positive("minutes", minutes)
    seed = errors.check_integer("seed", seed, 0, SEEDS)
    named = {"label": label, "missing": missing, "layout": layout}
    if isinstance(x, Dataset):
        x, y, named["classes"] = x.train.x.cpu(), x.train.y.cpu(), x.classes
    found = tables.examples(x, y, **named)
    data = _dataset(found).to(machine.device() if device is None else device)
    settings = dict(TRAINING)
    if network is None:
        network = mlp(data.shape, [HIDDEN], data.n_classes)
        highest = CURVATURE / math.prod(data.shape)
        settings["learning_rate"] = min(settings["learning_rate"], highest)
    settings |= training
    inside = scores.balanced_subsets(len(found.rows), networks, share, seed=seed)
    job = _Job(data, network, inside, seed, settings)
    kept = None if store is None else _Kept(store, job.key(share))
    blocks = kept.blocks(networks // BLOCK) if kept else []
    progress = progress or machine.progress("audit", already=BLOCK * len(blocks))
    started, before, at_once = time.monotonic(), len(blocks), job.blocks_at_once()
    while BLOCK * len(blocks) < networks:
        took, done = time.monotonic() - started, len(blocks) - before
        if done and took * (1 + at_once / done) > seconds:
            break
        first = BLOCK * len(blocks)
        some = range(first, min(networks, first + BLOCK * at_once))
        for block in job.train(some, progress):
            if kept:
                kept.put(len(blocks), block)
            blocks.append(block)
    done = _joined(found, data, inside[: BLOCK * len(blocks)].numpy(), blocks)
    if not done.learned:
        warnings.warn(UNRELATED, RuntimeWarning, stacklevel=2)
    return done


def _dataset(found: tables.Examples) -> Dataset:
    train = Part(torch.from_numpy(found.x), torch.from_numpy(found.y))
    none = train.take(torch.empty(0, dtype=torch.int64))
    classes = tuple(map(str, found.classes))
    return Dataset("own examples", train, none, none, classes, "mean 0, deviation 1")


@dataclass(frozen=True)
class _Job:
    """What is to be trained."""

    data: Dataset
    network: nn.Module
    inside: Tensor
    seed: int
    settings: dict[str, Any]

    def key(self, share: float) -> str:
        """A digest of what the networks depend on."""
        layers = fingerprint.architecture(self.network, fingerprint.Walk())
        numbers = json.dumps([FORMAT, share, self.seed, self.settings], default=float)
        return fingerprint.digest(self.data.fingerprint, *self.data.classes, str(layers), numbers)

    def blocks_at_once(self) -> int:
        """As many as fill the processor."""
        size, precision = self.settings["batch_size"], self.settings["precision"]
        device = self.data.device
        each = packing.networks_per_pass(self.network, self.data.shape, size, device, precision)
        return -(-each * packing.passes_side_by_side(device) // BLOCK)

    def train(self, some: range, progress: Callable[[float, float], None]) -> list[Block]:
        """Train some of the networks, and ask them all about all examples."""
        history = fit(
            self.network,
            self.data,
            seeds=[SEEDS * self.seed + k for k in some],
            subsets=list(self.inside[some.start : some.stop]),
            evaluate=(),
            record=["correct", "margin"],
            progress=lambda d, of: progress(some.start + len(some) * d / of, len(self.inside)),
            **self.settings,
        )
        firsts = range(0, len(some), BLOCK)
        return [self._block(history, slice(k, k + BLOCK), some.start + k) for k in firsts]

    def _block(self, history: History, members: slice, first: int) -> Block:
        """What ten networks said: of each about each example, and sums over those in or out."""
        inside, labels = self.inside[first : first + BLOCK].numpy(), self.data.train.y.cpu()
        logits = [self._logits(history, member) for member in range(members.start, members.stop)]
        right = [(one.argmax(1) == labels).numpy() for one in logits]
        log_odds = [_log_odds(one, labels).numpy().astype(np.float16) for one in logits]
        p = [one.softmax(1).numpy() for one in logits]
        held_out = sum(np.where(seen[:, None], 0, q) for seen, q in zip(inside, p, strict=True))
        correct, margin = (getattr(history.trajectories, k)[members] for k in ("correct", "margin"))
        events = scores.forgetting_events(correct)
        course = {
            "difficulty": (correct == 0).mean(1),
            "forgetting": np.where(np.isinf(events), correct.shape[1], events),
            "margin_area": scores.area_under_margin(margin),
        }
        sums = {name: np.where(inside, values, 0).sum(0) for name, values in course.items()}
        told = {"right": np.stack(right), "log_odds": np.stack(log_odds), "held_out": held_out}
        return told | sums

    def _logits(self, history: History, member: int) -> Tensor:
        one = history.ensemble.select(torch.tensor([member]))
        logits = predict(one, self.data.train.x)[0].float().cpu()
        if not logits.isfinite().all():
            rate = history.members["learning_rate"][member]
            raise ArgumentError("learning_rate", rate, "a lower one: a network has diverged")
        return logits


def _log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """The log odds of the label, log p - log (1 - p), [n], as far as float16 reaches."""
    others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return (logits.gather(1, labels[:, None])[:, 0] - others).clamp(-60_000, 60_000)


def _joined(
    found: tables.Examples, data: Dataset, inside: np.ndarray, blocks: list[Block]
) -> Audit:
    seen, unseen = inside.sum(0), (~inside).sum(0)
    course = ("difficulty", "forgetting", "margin_area")
    return Audit(
        data=data,
        rows=found.rows,
        inside=inside,
        right=np.concatenate([block["right"] for block in blocks]),
        log_odds=np.concatenate([block["log_odds"] for block in blocks]),
        pred_probs=sum(block["held_out"] for block in blocks) / unseen[:, None],
        course=pd.DataFrame({k: sum(block[k] for block in blocks) / seen for k in course}),
        classes=found.classes,
        given=found.table,
    )


class _Kept:
    """A folder with one file for each ten networks, named by a digest of what determines them."""

    def __init__(self, folder: str | os.PathLike, key: str):
        self.folder, self.key = Path(folder).expanduser(), key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError("store", str(folder), f"a folder to write in ({error})") from None

    def blocks(self, most: int) -> list[Block]:
        """Those that are there, from the first on, at most so many."""
        found: list[Block] = []
        while len(found) < most and (path := self._path(len(found))).exists():
            try:
                with np.load(path, allow_pickle=False) as stored:
                    found.append(dict(stored))
            except (OSError, EOFError, ValueError, zipfile.BadZipFile):
                told = f"{path} is damaged; its networks are trained again"
                warnings.warn(told, RuntimeWarning, stacklevel=3)
                break
        return found

    def put(self, place: int, block: Block) -> None:
        """Keep a block: under another name first, so that it is there as a whole or not at all."""
        fresh = self._path(place).with_suffix(".tmp")
        with fresh.open("wb") as file:
            np.savez(file, **block)
        fresh.replace(self._path(place))

    def _path(self, place: int) -> Path:
        return self.folder / f"{self.key}-{BLOCK * place:06}.npz"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: audit a file, write a report; returns the exit status."""
    name = "python -m memhelpers.audit"
    parser = argparse.ArgumentParser(prog=name, description=ABOUT, epilog=EXAMPLE)
    option = parser.add_argument
    option("data", help="a .csv file with a header, or an .npz file with x and y")
    option("--label", metavar="COLUMN", help="the column of the labels; needed for a .csv")
    option("--out", metavar="PAGE", default="audit.html", help="where to write (%(default)s)")
    option("--table", metavar="CSV", help="also write all numbers, one row an example")
    told = "how many, in tens (%(default)s); more take longer and are surer"
    option("--networks", type=int, default=100, metavar="N", help=told)
    told = "of missing values: put the column's mean or the text 'missing' there, or leave the row"
    option("--missing", choices=["fill", "drop"], help=f"{told} out; without it they are an error")
    told = "keep finished networks there; the same command, also with more networks, goes on"
    option("--store", metavar="FOLDER", help=told)
    option("--minutes", type=float, metavar="T", help="stop in time, with the networks so far")
    option("--seed", type=int, default=0, metavar="S", help="another one, other networks (0)")
    chosen = vars(parser.parse_args(arguments))
    out, table, data = (chosen.pop(name) for name in ("out", "table", "data"))
    for path in filter(None, (out, table)):
        if not Path(path).expanduser().absolute().parent.is_dir():
            parser.error(f"no folder to write {path} in")
    notes: list[str] = []

    def note(told: object, *rest: object) -> None:
        notes.append(str(told))
        sys.stderr.write(f"note: {told}\n")

    with warnings.catch_warnings():
        warnings.showwarning = note
        try:
            found = audit(data, **chosen)
        except (ArgumentError, DataError) as error:
            told = str(error).replace('missing="fill"', "--missing fill")
            told = told.replace('missing="drop"', "--missing drop").replace("label: ", "--label: ")
            parser.exit(2, f"error: {told}\n")
    if table:  # first, so that it is there whatever happens to the page
        columns = found.table.set_index(found.names.rename(found.names.name or "row"))
        columns.to_csv(table)
    column = f"{chosen['label']!r} in " if chosen["label"] else ""
    found.report(out, title=f"Audit of the labels {column}{Path(data).name}", notes=notes)
    sys.stdout.write(f"{found}\nreport: {out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
