"""Scores of examples: how hard, how memorized and how soon learned, from one ensemble on subsets.

Networks that are trained on random subsets answer two questions of each example at once: what do
networks say of it that never saw it, and what do those that did? Arrays are [member, example] or,
along training, [member, epoch, example], as `fit(..., record=...)` gives them.
"""

import numpy as np
import torch
from torch import Tensor

from memhelpers import errors
from memhelpers.errors import ArgumentError
from memhelpers.seeding import generator

BLOCK = 10  # networks over which each example is in equally many subsets


def balanced_subsets(examples: int, members: int, share: float, *, seed: int = 0) -> Tensor:
    """Random subsets of the training examples, as masks [member, example] for `fit(subsets=...)`.

    Of every ten networks in a row each example is seen by exactly 10 `share` and left out by the
    others, while who is together with whom is drawn anew; so no example lacks either answer. The
    first subsets stay the same when there are more members.

    Args:
        examples: n, at least 10.
        members: how many subsets.
        share: of the examples in a subset, in tenths from .1 to .9.
        seed: of the draws.

    Source:
        Feldman & Zhang 2020, Sec. 3 (random subsets of .7); the balance is this book's.
    """
    errors.check_integer("examples", examples, BLOCK)
    errors.check_positive_int("members", members)
    seen = round(BLOCK * errors.check_fraction("share", share))
    if not 0 < seen < BLOCK or abs(seen / BLOCK - share) > 1e-9:
        raise ArgumentError("share", share, "a tenth from .1 to .9, such as .7")
    masks = []
    for block in range(-(-members // BLOCK)):
        draws = generator(seed, f"balanced subsets {block}")
        place = torch.randperm(examples, generator=draws) % BLOCK
        turn = torch.randperm(BLOCK, generator=draws)[:, None]
        masks.append((place + turn) % BLOCK < seen)
    return torch.cat(masks)[:members]


def consistency(correct: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """C-score: the share of the networks that never saw an example and are right about it, [n].

    Args:
        correct: is network m right on example i (or its probability of the label), [m, n].
        inside: did it train on it, bool [m, n], such as from `balanced_subsets`.

    Returns:
        `mean of correct over the networks without the example`; not a number where there is none.

    Source:
        Jiang et al. 2021, Sec. 2 (at one size of the subset).
    """
    correct, inside = _checked(correct, inside)
    return _mean(correct, ~inside)


def memorization(correct: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Memorization: how much more often networks are right on an example that they trained on, [n].

    `mean of correct over networks with the example - mean over those without it`; arguments as in
    `consistency`; not a number where one side is empty.

    Source:
        Feldman & Zhang 2020, Sec. 1.1 (with random subsets for leaving one out).
    """
    correct, inside = _checked(correct, inside)
    return _mean(correct, inside) - _mean(correct, ~inside)


def forgetting_events(correct: np.ndarray) -> np.ndarray:
    """How often an example that was right is wrong one epoch later, [m, n] from [m, epoch, n].

    Args:
        correct: 1 right, 0 wrong, -1 not seen, as `fit(..., record=["correct"])` gives it.

    Returns:
        The counts; infinite for an example that was seen and never right, and not a number for one
        that was not seen.

    Source:
        Toneva et al. 2019, Sec. 3, with one look at each example an epoch.
    """
    correct = _along_training("correct", correct)
    events = ((correct[:, :-1] == 1) & (correct[:, 1:] == 0)).sum(1).astype(float)
    events[(correct != 1).all(1)] = np.inf
    events[(correct == -1).all(1)] = np.nan
    return events


def area_under_margin(margin: np.ndarray) -> np.ndarray:
    """AUM: the mean over the epochs of the margin of an example, [m, n] from [m, epoch, n].

    The margin is the logit of the label minus the largest other one, as `fit(...,
    record=["margin"])` gives it; low or negative where the label contradicts what networks learn
    from the other examples. Not a number for an example that was not seen.

    Source:
        Pleiss et al. 2020, Sec. 3.1.
    """
    margin = _along_training("margin", margin)
    seen = ~np.isnan(margin)
    return _mean(margin, seen, axis=1)


def _mean(values: np.ndarray, where: np.ndarray, axis: int = 0) -> np.ndarray:
    """The mean over those that count; not a number where none does."""
    with np.errstate(invalid="ignore"):
        return np.where(where, values, 0).sum(axis, dtype=float) / where.sum(axis)


def _checked(correct: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    correct, inside = np.asarray(correct), np.asarray(inside)
    if inside.ndim != 2 or inside.dtype != bool:
        raise ArgumentError("inside", inside, "booleans [member, example]")
    if correct.shape != inside.shape or correct.dtype.kind not in "bif":
        given = f"{correct.dtype} {list(correct.shape)}"
        raise ArgumentError("correct", given, f"numbers or booleans {list(inside.shape)}")
    return correct, inside


def _along_training(argument: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 3 or not values.size:
        raise ArgumentError(argument, values, "an array [member, epoch, example]")
    return values
