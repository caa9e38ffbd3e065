"""Labels and inputs replaced by noise: the second step of the data flow.

Each function takes a `Dataset` and returns a new one in which a fraction of the examples is
corrupted, with two masks over the training examples: `replaced` (the corruption touched it) and
`changed` (it is no longer what it was; a label drawn at random may be the true one). Masks of
several corruptions add up. Exactly round(fraction * n) examples are replaced; for one seed the
examples of a smaller fraction are among those of a larger one, with the same labels or pixels.
Validation and test parts stay clean unless `parts` names them.
"""

from collections.abc import Callable, Iterable, Sequence

import torch

from memhelpers.data import Dataset, Part
from memhelpers.errors import ArgumentError, check_fraction, check_instance, check_seed
from memhelpers.inputs.arrays import PART_NAMES
from memhelpers.seeding import generator

Redraw = Callable[[Part, str], Part]  # a part and its name to the same part, all of it corrupted


def random_labels(
    data: Dataset,
    fraction: float = 1.0,
    *,
    seed: int = 0,
    parts: Sequence[str] = ("train",),
) -> Dataset:
    """Replaces labels by labels drawn uniformly from all K classes: randY.

    A label so stays the true one with probability 1/K (see the mask `changed`).

    Args:
        data: the data.
        fraction: share of the examples of each named part that are replaced, 0 to 1.
        seed: of which examples, and of what is drawn for them.
        parts: names of the parts to corrupt.

    Raises:
        ArgumentError: a fraction outside [0, 1], a negative seed, or an unknown part.

    Source:
        Arpit et al. 2017 (randY); Zhang et al. 2017, Section 2.1.
    """

    def redraw(part: Part, name: str) -> Part:
        draws = generator(seed, f"random labels of {name}")
        drawn = torch.randint(data.n_classes, (len(part),), generator=draws)
        return Part(part.x, drawn.to(part.y.device))

    step = f"random_labels(fraction={fraction}, seed={seed})"
    return _corrupt(data, redraw, fraction, seed, "random labels", parts, step)


def random_inputs(
    data: Dataset,
    fraction: float = 1.0,
    *,
    seed: int = 0,
    parts: Sequence[str] = ("train",),
) -> Dataset:
    """Replaces images by Gaussian noise with mean and deviation of all training pixels: randX.

    The noise is not clipped to the range of the pixels, as that would change both. Arguments and
    errors as in `random_labels`.

    Source:
        Arpit et al. 2017 (randX); Zhang et al. 2017, Section 2.1 (Gaussian).
    """

    def redraw(part: Part, name: str) -> Part:
        # float64 on the CPU: a sum over millions of float32 pixels would depend on its order.
        deviation, mean = torch.std_mean(data.train.x.cpu().double(), correction=0)
        noise = torch.randn(part.x.shape, generator=generator(seed, f"random inputs of {name}"))
        return Part((mean.float() + deviation.float() * noise).to(part.x.device), part.y)

    step = f"random_inputs(fraction={fraction}, seed={seed})"
    return _corrupt(data, redraw, fraction, seed, "random inputs", parts, step)


def shuffle_pixels(
    data: Dataset,
    fraction: float = 1.0,
    *,
    seed: int = 0,
    per_image: bool = False,
    parts: Sequence[str] = ("train",),
) -> Dataset:
    """Moves the pixels of images to random places.

    A pixel moves with all its channels. One fixed permutation for all images (and all named parts)
    keeps what images have in common, in other places; one `per_image` keeps nothing but each
    image's own colours. Other arguments and errors as in `random_labels`.

    Source:
        Zhang et al. 2017, Section 2.1 (shuffled pixels, random pixels).
    """
    check_instance("per_image", per_image, bool)

    def redraw(part: Part, name: str) -> Part:
        purpose = f"pixel shuffles of {name}" if per_image else "pixel shuffle"
        draws, rows = generator(seed, purpose), len(part) if per_image else 1
        keys = torch.rand(rows, part.x.shape[2:].numel(), dtype=torch.float64, generator=draws)
        places = keys.argsort(1).to(part.x.device)[:, None].expand(len(part), data.shape[0], -1)
        return Part(part.x.flatten(2).gather(2, places).view_as(part.x), part.y)

    step = f"shuffle_pixels(fraction={fraction}, seed={seed}, per_image={per_image})"
    return _corrupt(data, redraw, fraction, seed, "shuffled pixels", parts, step)


def _corrupt(
    data: Dataset,
    redraw: Redraw,
    fraction: float,
    seed: int,
    purpose: str,
    parts: Sequence[str],
    step: str,
) -> Dataset:
    """Takes a share of each named part's examples from `redraw`, and keeps the masks."""
    check_instance("data", data, Dataset, ", as `load` gives it")
    fraction, seed = check_fraction("fraction", fraction), check_seed("seed", seed)
    several = isinstance(parts, Iterable) and not isinstance(parts, str)
    if not several or not set(parts) or not set(parts) <= set(PART_NAMES):
        raise ArgumentError("parts", parts, "a tuple with some of 'train', 'validation', 'test'")
    fields = {}
    for name in parts:
        part = getattr(data, name)
        order = torch.randperm(len(part), generator=generator(seed, f"{purpose} in {name}"))
        mask = torch.zeros(len(part), dtype=torch.bool)
        mask[order[: round(fraction * len(part))]] = True
        mask = mask.to(data.device)
        # Everything is drawn, and the mask picks: so a smaller fraction has the same draws.
        new = redraw(part, name)
        x, y = part.x, torch.where(mask, new.y, part.y)
        differs = y != part.y
        if new.x is not part.x:
            x = torch.where(mask[:, None, None, None], new.x, part.x)
            differs |= (x != part.x).flatten(1).any(1)
        fields[name] = Part(x, y)
        if name == "train":
            fields["replaced"] = data.replaced | mask
            fields["changed"] = data.changed | differs
    return data.replace(**fields, steps=(*data.steps, step))
