"""From stored arrays to checked parts: whatever is wrong with a reader's arrays is found here."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch

from memhelpers.errors import ArgumentError, check_choice
from memhelpers.inputs.sources import Source
from memhelpers.seeding import generator

PART_NAMES = ("train", "validation", "test")
KEYS = (
    "x and y; or x_train and y_train, and x_validation, y_validation, x_test, y_test where there "
    "are such; and classes, the names of the classes"
)

Pair = tuple[np.ndarray, np.ndarray]


def as_array(name: str, value: object) -> np.ndarray:
    """Returns `value` as a NumPy array that is not ragged, not masked, and holds no objects."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.double() if value.dtype == torch.bfloat16 else value
    if np.ma.isMaskedArray(value):
        raise ArgumentError(name, "a masked array", "an array without what the mask leaves out")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(name, type(value).__name__, f"an array ({error})") from error
    for kind, plain in ((str, str), (Real, np.float64)):  # as columns of a table come
        if array.dtype.hasobject and all(isinstance(item, kind) for item in array.flat):
            array = array.astype(plain)
    if array.dtype.hasobject:
        raise ArgumentError(name, "an array of Python objects", "an array of numbers, or of texts")
    return array


def numbers(name: str, value: object) -> np.ndarray:
    """Returns numbers or booleans as a float64 array; an `ArgumentError` for anything else."""
    array = as_array(name, value)
    if array.dtype.kind not in "biuf":
        raise ArgumentError(name, f"values of type {array.dtype}", "numbers")
    return array.astype(np.float64)


def check(
    source: Source, layout: str | None = None, scale: str | None = None
) -> tuple[dict[str, Pair], dict[str, Any]]:
    """Checks arrays, scales their pixels, and splits off the parts that are not given.

    Arguments and errors as in `data.load`; returns x float32 [n, C, H, W] and y int64 [n] of each
    part, and `classes`, `scaling` and `steps` as `data.Dataset` has them.
    """
    if layout is not None:
        check_choice("layout", layout, ("NCHW", "NHWC"))
    keys = _keys_of_parts(source.arrays)
    stored = {key: as_array(key, source.arrays[key]) for pair in keys.values() for key in pair}
    pixels, labels, types, shapes = {}, {}, {}, {}
    for part, (x, y) in keys.items():
        pixels[part] = pixels_of(x, stored[x], source.divisor, layout, exact=scale is not None)
        labels[y] = labels_of(y, stored[y], x, len(stored[x]))
        types[x] = "uint8 pixels" if stored[x].dtype == np.uint8 else "numbers of another type"
        shapes[x] = "x".join(map(str, pixels[part].shape[1:])) + " images"
    _check_alike(types)
    _check_alike(shapes)
    scaling = f"pixel / {source.divisor}" if "uint8 pixels" in types.values() else "as given"
    classes, labels = classes_of(source.arrays.get("classes"), labels)
    parts = {part: (pixels[part], labels[y]) for part, (_, y) in keys.items()}
    parts, steps = _split(parts, keys["train"][0], source.held_out)
    absent = set(range(len(classes))) - set(parts["train"][1].tolist())
    if absent and "classes" not in source.arrays:
        given = f"class {classes[min(absent)]!r} without a training example"
        raise ArgumentError(keys["train"][1], given, "more examples of it, or parts of your own")
    if scale is not None:
        parts, steps = standardized(parts), (*steps, "standardized")
    return parts, {"classes": classes, "scaling": scaling, "steps": steps}


def _keys_of_parts(arrays: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns the keys of x and y for each part that is given."""
    given = set(arrays) - {"classes"}
    if given == {"x", "y"}:
        return {"train": ("x", "y")}
    pairs = {part: (f"x_{part}", f"y_{part}") for part in PART_NAMES}
    found = {part: pair for part, pair in pairs.items() if given & set(pair)}
    if given != {key for pair in found.values() for key in pair} or "train" not in found:
        raise ArgumentError("data", f"the keys {', '.join(map(str, arrays)) or '(none)'}", KEYS)
    return found


def _check_alike(kinds: Mapping[str, str]) -> None:
    first, *_ = kinds
    for name, kind in kinds.items():
        if kind != kinds[first]:
            raise ArgumentError(name, kind, f"{kinds[first]}, as in {first}")


def standardized(parts: Mapping[str, Pair]) -> dict[str, Pair]:
    """Mean 0 and deviation 1 of the training part; what is the same in all its images becomes 0."""
    x = parts["train"][0]
    axes = (0,) if min(x.shape[2:]) == 1 else (0, 2, 3)  # each number of a vector, each channel
    mean, deviation = x.mean(axes, keepdims=True), x.std(axes, keepdims=True)
    deviation[deviation <= 1e-12 * np.abs(mean)] = 1
    scaled = {name: (x - mean) / deviation for name, (x, _) in parts.items()}
    return {name: (scaled[name].astype(np.float32), y) for name, (_, y) in parts.items()}


def pixels_of(
    name: str, x: np.ndarray, divisor: int, layout: str | None, exact: bool = False
) -> np.ndarray:
    """Returns finite float32 pixels (`exact`: float64) [n, C, H, W], no memory shared with `x`."""
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        allowed = "[n, H, W], [n, H, W, C], [n, C, H, W] or [n, d], all at least 1"
        raise ArgumentError(name, f"an array of shape {list(x.shape)}", allowed)
    if x.dtype.kind not in "biuf":
        allowed = "uint8 from 0 to 255, or floats"
        raise ArgumentError(name, f"values of type {x.dtype.name}", allowed)
    if x.ndim == 4:
        # The channels, 1 or 3 (grey or colour), tell one layout from the other.
        fitting = [way for way, axis in (("NCHW", 1), ("NHWC", 3)) if x.shape[axis] in (1, 3)]
        if layout is None and len(fitting) != 1:
            allowed = f"'NCHW' or 'NHWC' (the shape of {name}, {list(x.shape)}, leaves it open)"
            raise ArgumentError("layout", layout, allowed)
        if (layout or fitting[0]) == "NHWC":
            x = x.transpose(0, 3, 1, 2)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused
        pixels = np.array(x, np.float64 if exact else np.float32, order="C")
    if x.dtype == np.uint8:
        pixels /= np.float32(divisor)
    elif not (finite := np.isfinite(pixels).reshape(len(pixels), -1).all(1)).all():
        given = f"a value that is NaN or infinite in example {int(finite.argmin())}"
        raise ArgumentError(name, given, "finite values (in float32)")
    return pixels.reshape(len(x), *(1,) * (4 - x.ndim), *x.shape[1:])


def labels_of(name: str, y: np.ndarray, x_name: str, n: int) -> np.ndarray:
    """Returns labels [n], whole numbers or texts."""
    if y.ndim != 1:
        raise ArgumentError(name, f"an array of shape {list(y.shape)}", "one label an example, [n]")
    if y.dtype.kind == "f" and all(map(float.is_integer, y.tolist())):
        y = y.astype(np.int64)
    if y.dtype.kind not in "biuU":
        raise ArgumentError(name, f"labels of type {y.dtype.name}", "whole numbers or texts")
    if len(y) != n:
        raise ArgumentError(name, f"{len(y)} labels", f"{n}, one for each example of {x_name}")
    return y.astype(np.int64) if y.dtype.kind == "b" else y


def classes_of(
    names: object, labels: Mapping[str, np.ndarray]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Returns the names of the classes, and the labels as int64 from 0 to K - 1.

    Without names the classes are the training part's own labels, in ascending order; with names,
    labels are places among them, or names.
    """
    train_key = next(iter(labels))
    kinds = {key: "texts" if y.dtype.kind == "U" else "whole numbers" for key, y in labels.items()}
    _check_alike(kinds)
    present = np.unique(labels[train_key])
    if len(present) < 2:
        raise ArgumentError(train_key, f"a single class, {present[0]}", "at least 2 classes")
    where, known, classes = train_key, present, tuple(map(str, present.tolist()))
    if names is not None:
        array = as_array("classes", names)
        if array.ndim != 1 or array.dtype.kind != "U" or len(np.unique(array)) < len(array):
            raise ArgumentError("classes", names, "a list of names, each once, one per class")
        where, classes = "`classes`", tuple(array.tolist())
        known = classes if kinds[train_key] == "texts" else range(len(classes))
    found = {key: pd.Index(known).get_indexer(y).astype(np.int64) for key, y in labels.items()}
    for key, places in found.items():
        if (strange := places < 0).any():
            first = int(strange.argmax())
            allowed = f"those of {where}: " + ", ".join(map(str, known[:20]))
            allowed += ", ..." * (len(known) > 20)
            raise ArgumentError(key, f"label {labels[key][first]} of example {first}", allowed)
    return classes, found


def _split(
    parts: Mapping[str, Pair], train_key: str, held_out: Mapping[str, int] | None
) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """Splits the parts that are not given off the training part, by a fixed shuffle."""
    x, y = parts["train"]
    missing = [part for part in PART_NAMES if part not in parts]
    if not missing:
        return dict(parts), ()
    share = 6 if train_key == "x" else 5
    sizes = held_out or dict.fromkeys(missing, len(y) // share)
    if any(size < 1 for size in sizes.values()):
        allowed = f"at least {share}, of which {' and '.join(missing)} can be split off"
        raise ArgumentError(train_key, f"{len(y)} examples", allowed)
    order = torch.randperm(len(y), generator=generator(0, "split")).numpy()
    cuts = np.cumsum(list(sizes.values()), dtype=int)
    *chosen, rest = np.split(order, cuts)
    # Every part keeps its examples in the order in which they were given.
    taken = {part: np.sort(index) for part, index in zip(sizes, chosen, strict=True)}
    taken["train"] = np.sort(rest)
    split = {part: (x[index], y[index]) for part, index in taken.items()}
    steps = tuple(f"{part}: {len(taken[part])} split off at random" for part in missing)
    return {**parts, **split}, steps
