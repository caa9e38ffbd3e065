"""Images with labels in three parts: the first step of the data flow.

`load` turns a named data set, the reader's own `.npz` file or arrays into a `Dataset`: frozen,
checked, on its device, with training, validation and test parts. Whatever changes a data set
afterwards (a subset, a smaller side, a corruption) returns a new one that says so in its `steps`.
"""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memhelpers.errors import ArgumentError, check_choice, check_instance, check_integer, check_seed
from memhelpers.inputs import arrays, sources
from memhelpers.inputs.arrays import PART_NAMES
from memhelpers.seeding import generator

RESIZE_CHUNK = 1024  # images averaged at once, which bounds the memory of float64
LARGE, SMALL = 10.0, 1e-3  # above which mean and deviation, below which deviation, `load` warns


@dataclass(frozen=True, eq=False)
class Part:
    """Images `x`, float32 [n, C, H, W], and their labels `y`, int64 [n]."""

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != torch.float32:
            allowed = "float32 [n, channels, height, width]"
            raise ArgumentError("x", _kind(self.x), allowed)
        if self.y.shape != self.x.shape[:1] or self.y.dtype != torch.int64:
            raise ArgumentError("y", _kind(self.y), f"int64 [{len(self.x)}]")

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Tensor) -> "Part":
        """Returns the examples at `index` (int64 [m] or bool [n]), in that order."""
        index = index.to(self.x.device)
        return Part(self.x[index], self.y[index])

    def to(self, device: str | torch.device) -> "Part":
        """Returns the same examples on `device`."""
        return Part(self.x.to(device), self.y.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test images of one kind, on one device.

    Of the training examples, bool [n_train], a corruption has `replaced` some; `changed` are those
    whose label or input is no longer what it was (see `corrupt`).
    """

    name: str
    train: Part
    validation: Part  # may be empty, as the next
    test: Part
    classes: tuple[str, ...]  # label k is `classes[k]`
    scaling: str  # how stored pixels became `x`, such as "pixel / 255"
    replaced: Tensor | None = None
    changed: Tensor | None = None
    steps: tuple[str, ...] = ()  # what was done since loading, in order

    def __post_init__(self) -> None:
        for mask in ("replaced", "changed"):
            if getattr(self, mask) is None:
                clean = torch.zeros_like(self.train.y, dtype=torch.bool)
                object.__setattr__(self, mask, clean)
            given = getattr(self, mask)
            if given.shape != self.train.y.shape or given.dtype != torch.bool:
                raise ArgumentError(mask, _kind(given), f"bool [{len(self.train)}]")

    @property
    def parts(self) -> dict[str, Part]:
        """The three parts by name, that is "train", "validation" and "test"."""
        return {name: getattr(self, name) for name in PART_NAMES}

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.train.x.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return tuple(self.train.x.shape[1:])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any pixel or label, and not with the device."""
        digest = hashlib.sha256(self.scaling.encode())
        for name, part in self.parts.items():
            for tensor in (part.x, part.y):
                digest.update(f"|{name} {list(tensor.shape)}|".encode())
                digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return digest.hexdigest()[:16]

    def describe(self) -> str:
        """Returns one line: name, sizes, shape, classes, scaling, fingerprint, steps."""
        sizes = ", ".join(f"{len(part):,} {name}" for name, part in self.parts.items())
        images = f"{'x'.join(map(str, self.shape))} images in {self.n_classes} classes"
        facts = f"{self.name}: {sizes}", images, self.scaling, f"fingerprint {self.fingerprint}"
        return "; ".join([*facts, *self.steps])

    def replace(self, **changes: Any) -> "Dataset":
        """Returns a new data set in which the named fields have other values."""
        return dataclasses.replace(self, **changes)

    def to(self, device: str | torch.device) -> "Dataset":
        """Returns the same data on `device`, which must be present here."""
        device = _check_device(device)
        moved = self.parts | {"replaced": self.replaced, "changed": self.changed}
        return self.replace(**{name: value.to(device) for name, value in moved.items()})

    def subset(self, n: int, *, balanced: bool = False, seed: int = 0) -> "Dataset":
        """Draws `n` training examples, which keep their order; validation and test stay whole.

        Args:
            n: how many. A smaller number with the same seed draws from the same.
            balanced: whether every class gets as many as any other (one more or less where `n` is
                no multiple of the number of classes).
            seed: of the draw.
        """
        return _subset(self, "n", n, balanced, seed)

    def resize(self, side: int) -> "Dataset":
        """Averages all images down to `side` x `side` pixels; refuses a larger side, and vectors.

        Each new pixel is the mean over its area, with pixels on its border weighted by the share
        inside; 28 to 14 is the mean of 2 x 2.
        """
        if min(self.shape[1:]) == 1:  # a vector's numbers are no pixels to be averaged
            raise ArgumentError("side", side, "None, for vectors")
        side = check_integer("side", side, 1, min(self.shape[1:]))
        smaller = {name: Part(_average(p.x, side), p.y) for name, p in self.parts.items()}
        return self.replace(**smaller, steps=(*self.steps, f"resize(side={side})"))


def load(
    data: str | os.PathLike | Mapping[str, Any] | tuple[Any, Any],
    *,
    examples: int | None = None,
    side: int | None = None,
    scale: str | None = None,
    balanced: bool = False,
    seed: int = 0,
    device: str | torch.device = "cpu",
    layout: str | None = None,
) -> Dataset:
    """Loads images and labels, checked, scaled, split in three parts and on their device.

    Args:
        data: "digits" (1,797 images of 8x8 from scikit-learn, no download), "mnist", "cifar10",
            "svhn" (downloaded by torchvision where they are not there); "breast_cancer" (a table
            from scikit-learn); a path ending in `.npz`, also relative to the data folder
            (`MEMHELPERS_DATA`, else ~/.cache/memhelpers); a mapping with the same keys; or a tuple
            (x, y). Keys:
            `x` and `y` (a sixth each is held out for validation and test), or `x_train`, `y_train`
            and, where given, `x_validation`, `y_validation`, `x_test`, `y_test` (a part not given
            is a fifth of the training examples, drawn by a fixed shuffle); `classes` names the
            classes. x: [n, H, W], [n, H, W, C], [n, C, H, W], or [n, d] for vectors; uint8 (divided
            by 255) or other numbers (kept as they are). y: whole numbers (floats, too) or
            texts; the classes are those of the training part in ascending order, or those of
            `classes`.
        examples: size of the training subset; None takes all (balanced: as many as there can be).
        side: side to which the images are averaged down; None leaves them as they are.
        scale: "standard" gives the training part mean 0 and deviation 1, each channel of images and
            each number of vectors for itself, and the other parts by the same; None leaves them.
        balanced: as `Dataset.subset` has it, like `seed`.
        seed: of the training subset.
        device: where the tensors go.
        layout: "NCHW" or "NHWC", for arrays of four dimensions whose shape leaves it open.

    Raises:
        ArgumentError: an argument, or something in the arrays, is not as above.
        DataError: a file is missing or damaged, or cannot be downloaded.

    Warns:
        UserWarning: numbers far from 0, or hardly different, are taken as they are.
    """
    seed, device = check_seed("seed", seed), _check_device(device)
    for argument, size in {"examples": examples, "side": side}.items():
        if size is not None:  # refused here before anything is downloaded
            check_integer(argument, size, 1)
    check_choice("scale", scale, (None, "standard"))
    check_instance("balanced", balanced, bool)
    given = sources.read(data)
    pairs, facts = arrays.check(given, layout, scale)
    parts = {name: Part(*map(torch.from_numpy, pair)) for name, pair in pairs.items()}
    data = Dataset(given.name, **parts, **facts)
    deviation, mean = torch.std_mean(data.train.x)
    far = max(abs(mean), deviation) > LARGE or deviation < SMALL
    if far and data.scaling == "as given":
        told = f"the train part has mean {mean:.3g} and deviation {deviation:.3g}, on which "
        told += 'networks train badly: give scale="standard", or divide by the largest number'
        warnings.warn(told, UserWarning, stacklevel=2)
    if examples is None and balanced:
        examples = data.n_classes * int(data.train.y.bincount(minlength=data.n_classes).min())
    if examples is not None:
        data = _subset(data, "examples", examples, balanced, seed)
    return (data if side is None else data.resize(side)).to(device)


def _subset(data: Dataset, argument: str, n: int, balanced: bool, seed: int) -> Dataset:
    """See `Dataset.subset`; `argument` is what the reader calls `n`."""
    n, seed = check_integer(argument, n, 1, len(data.train)), check_seed("seed", seed)
    order = torch.randperm(len(data.train), generator=generator(seed, "subset"))
    if check_instance("balanced", balanced, bool):
        check_integer(argument, n, data.n_classes)
        labels = data.train.y.cpu()[order]
        present = torch.nn.functional.one_hot(labels, data.n_classes)
        counts = present.sum(0)
        needed = n // data.n_classes + (torch.arange(data.n_classes) < n % data.n_classes)
        if (counts < needed).any():
            least = int((counts - needed).argmin())
            allowed = f"equally many of each class: {data.classes[least]!r} has {counts[least]}"
            raise ArgumentError(argument, n, allowed)
        turn = present.cumsum(0).gather(1, labels[:, None])[:, 0]  # of each within its class
        order = order[(turn * data.n_classes + labels).argsort()]
    index = order[:n].sort().values.to(data.device)
    return data.replace(
        train=data.train.take(index),
        replaced=data.replaced[index],
        changed=data.changed[index],
        steps=(*data.steps, f"subset(n={n}, balanced={balanced}, seed={seed})"),
    )


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _check_device(device: object) -> torch.device:
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        said = str(error).partition("\n")[0]
        raise ArgumentError("device", device, f"a device present here ({said})") from error
    if found.type == "meta":  # it holds no numbers
        raise ArgumentError("device", device, "a device that computes, such as cpu or cuda")
    return found


def _average(x: Tensor, side: int) -> Tensor:
    """Area means, in float64 on the CPU, so that no device or library rounds them its own way."""
    averaged = []
    for chunk in x.split(RESIZE_CHUNK):
        chunk = chunk.cpu().double()
        for axis in (2, 3):  # each pixel `side` times; so many in a row as there were are a new one
            chunk = chunk.repeat_interleave(side, axis).unflatten(axis, (side, -1)).mean(axis + 1)
        averaged.append(chunk.float())
    return torch.cat(averaged).to(x.device)
