"""Scores of examples: how hard, how memorized and how soon learned, from one ensemble on subsets.

Networks that are trained on random subsets answer two questions of each example at once: what do
networks say of it that never saw it, and what do those that did? Arrays are [member, example] or,
along training, [member, epoch, example], as `fit(..., record=...)` gives them.
"""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from memhelpers import errors
from memhelpers.errors import ArgumentError
from memhelpers.seeding import generator

BLOCK = 10  # networks over which each example is in equally many subsets
LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


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
    """C-score: the mean of `correct` over the networks that never saw an example, [n].

    Not a number where there is none.

    Args:
        correct: is network m right on example i (or its probability of the label), [m, n].
        inside: did it train on it, bool [m, n], such as from `balanced_subsets`.

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


def membership(log_odds: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The chance that a network that saw an example is surer of its label than one that did not.

    The area under the ROC curve of the attack on one example, [n], from ranks over the networks;
    .5: an outsider who asks the network cannot tell; 1: always.

    Args:
        log_odds: log p - log (1 - p) of the label, or anything that grows with it, [m, n].
        inside: as in `consistency`.

    Source:
        Carlini et al. 2022 (LiRA), Sec. III; without its Gaussian.
    """
    log_odds, inside = _checked(log_odds, inside)
    ranks = pd.DataFrame(log_odds).rank().to_numpy()
    seen, unseen = inside.sum(0), (~inside).sum(0)
    with np.errstate(invalid="ignore"):
        return (np.where(inside, ranks, 0).sum(0) - seen * (seen + 1) / 2) / (seen * unseen)


def influence(p: np.ndarray, inside: np.ndarray, example: int) -> pd.DataFrame:
    """How much each other example helps or hurts one, over the networks that never saw that one.

    `effect = mean p(label | other seen) - mean p(label | other not seen)`, with Student's
    95 % interval `low`, `high` for all examples at once (pooled variance, Bonferroni). Needs scipy.

    Args:
        p: of the label of the example, by each network, [m].
        inside: as in `consistency`.
        example: whose.

    Returns:
        One row for each other example that was seen and not seen at least twice: `example`,
        `effect`, `low`, `high`; the clearest first.

    Source:
        Feldman & Zhang 2020, Sec. 1.2 (influence).
    """
    from scipy import stats

    unseen = ~inside[:, example]
    p, seen = np.asarray(p, dtype=float)[unseen], inside[unseen].astype(float)
    counts = np.stack([len(p) - seen.sum(0), seen.sum(0)])
    known = np.flatnonzero(counts.min(0) > 1)  # not the example itself, which none of these saw
    seen, counts = seen[:, known], counts[:, known]
    means = np.stack([p @ (1 - seen), p @ seen]) / counts
    freedom = len(p) - 2
    within = np.maximum(p @ p - (counts * means**2).sum(0), 1e-9) / max(1, freedom)
    quantile = stats.t.isf((1 - LEVEL) / 2 / max(1, len(known)), max(1, freedom))
    width, effect = quantile * np.sqrt(within * (1 / counts).sum(0)), means[1] - means[0]
    columns = {"effect": effect, "low": effect - width, "high": effect + width}
    table = pd.DataFrame({"example": known, **columns})
    return table.iloc[np.argsort(-abs(effect) / width, kind="stable")].reset_index(drop=True)


def wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share out of a count, both ends [n]."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * np.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def suspicion(pred_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How implausible a label is: 1 - its held-out probability, [n].

    Args:
        pred_probs: mean probability of each class over networks without the example, [n, K].
        labels: of the examples, [n].
    """
    return 1 - pred_probs[np.arange(len(labels)), labels]


def learned(pred_probs: np.ndarray, labels: np.ndarray) -> bool:
    """Whether what networks say of examples that they never saw goes with the labels at all.

    For each example, the probability of its label less that of a label drawn from all of them:

        d_i = p_i[y_i] - sum_c p_i[c] share_c;

    true if the 95 % interval of its mean lies above 0. Unlike the accuracy, this tells rare classes
    that are found likelier, but never likeliest. Arguments as in `suspicion`.
    """
    shares = np.bincount(labels, minlength=pred_probs.shape[1]) / len(labels)
    gain = 1 - suspicion(pred_probs, labels) - pred_probs @ shares
    return bool(gain.mean() > Z * gain.std() / np.sqrt(len(labels)))


def wrong_share(pred_probs: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """Estimated share of wrong labels, and both ends of its 95 % interval.

    If wrong labels are as if drawn at random from the other classes, their suspicion is known: it
    is that of every other class of an example whose label the networks agree with, S. Right labels
    hardly ever reach its median, so that

        share = 2 P(suspicion >= median of S),

    at most 1. A right label that all networks take for another class counts as wrong; so does,
    where classes overlap, a label that is only unlikely. The interval is twice Wilson's of that
    probability, over the examples; too narrow where nearly half of the labels are wrong, since the
    median itself is uncertain there. Arguments as in `suspicion`.
    """
    found, if_wrong = suspicion(pred_probs, labels), _if_wrong(pred_probs, labels)
    above = np.mean(found >= np.median(if_wrong))
    ends = (above, *wilson(above, len(found)))
    return tuple(min(1.0, 2 * float(end)) for end in ends)


def expected_precision(pred_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of the k most suspicious labels, the share to expect to be wrong, [n] for k = 1, 2, ...

    `share n P(S >= suspicion of the k-th) / k` with share and S as in `wrong_share`. As this can
    only fall along the ranking, the largest value from k on counts, at most 1.
    """
    found, if_wrong = suspicion(pred_probs, labels), _if_wrong(pred_probs, labels)
    above = 1 - np.searchsorted(if_wrong, -np.sort(-found)) / len(if_wrong)
    share = wrong_share(pred_probs, labels)[0]
    precision = share * len(found) * above / np.arange(1, len(found) + 1)
    return np.minimum(1.0, np.maximum.accumulate(precision[::-1])[::-1])


def _if_wrong(pred_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """S of `wrong_share`, in ascending order; of all examples where no network agrees with any."""
    agreed = pred_probs.argmax(1) == labels
    other = np.arange(pred_probs.shape[1]) != labels[:, None]
    return np.sort(1 - pred_probs[other & (agreed[:, None] | ~agreed.any())])


def networks_until_stable(
    p: np.ndarray, inside: np.ndarray, k: int, agreement: float = 0.9
) -> float:
    """How many times as many networks until the k most suspicious labels are stable.

    Stable: two audits of other seeds would share `agreement` of them, in the mean over simulated
    ones: to each example's suspicion comes noise of its standard error over the networks so far.

    Args:
        p: probability of its label by each network, [m, n].
        inside: as in `consistency`.
        k: how many of the most suspicious.
        agreement: share of them.

    Returns:
        The factor, from 1 on; infinite where a thousand would not do, as examples tie.
    """
    outside, count = ~inside, (~inside).sum(0)
    mean = _mean(p, outside)
    square = np.where(outside, (p - mean) ** 2, 0).sum(0) / (count - 1) / count + 1e-12
    # Differences that noise alone would make are taken out (empirical Bayes), or ties would look
    # like an order that more networks confirm.
    true = max(0.0, mean.var() - square.mean())
    mean, error = mean + (mean.mean() - mean) * square / (true + square), np.sqrt(square)
    noise = np.random.default_rng(0).standard_normal((2, 20, len(mean)))
    for factor in 1.25 ** np.arange(32):
        noisy = mean + noise * error / math.sqrt(factor)
        first = np.argpartition(noisy, k - 1, axis=-1)[..., :k]
        shared = [len(np.intersect1d(*pair)) / k for pair in first.swapaxes(0, 1)]
        if np.mean(shared) >= agreement:
            return float(factor)
    return math.inf


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
    return _mean(margin, ~np.isnan(margin), axis=1)


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
