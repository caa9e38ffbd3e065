"""Chapter 14's construction: exchanging points mends what rounding spoils, and nothing else."""

import pytest
import torch

from memhelpers.seeding import generator
from tests import chapters
from tools import notebooks

CLASSES = 50


@pytest.fixture(scope="module")
def space():
    return chapters.functions(notebooks.BOOK / "14-small-relu-networks.ipynb")


def drawn(space, seed, number=2500):
    draws = generator(seed, "points")
    x = torch.randn(number, 8, generator=draws, dtype=torch.float64)
    labels = torch.randint(CLASSES, (number,), generator=draws)
    return x, labels, space["as_targets"](labels, CLASSES)


def parts_of(space, seed, size=12):
    """Random groups of points as the pairs share them: places, targets, signs, slopes."""
    draws = generator(seed, "groups")
    c = torch.rand(size * size, generator=draws, dtype=torch.float64).sort().values.view(size, size)
    y = 2 * torch.rand(size, size, generator=draws, dtype=torch.float64) - 1
    s = space["signs"](size, size)
    pair = torch.arange(size).expand(size, size).clone()
    pair[1::2] = pair[1::2].flip(1)
    needed = space["slopes_needed"](c, y, s)
    return [one.gather(1, pair) for one in (c, y, s, needed)]


@pytest.mark.parametrize("seed", range(5))
def test_pairs_exchange_whole_points_beside_the_steepest_and_keep_their_signs(space, seed):
    parts = parts_of(space, seed)
    before = [one.clone() for one in parts]
    k = seed
    after, changed = space["exchanged"](parts, k, generator(seed, "exchanges"))
    steepest = int(parts[3][:, k].argmax())
    rows = (after[0] != parts[0]).any(1).nonzero()[:, 0].tolist()
    assert set(rows) <= {steepest - 1, steepest + 1}
    moved = (after[0] != parts[0]).any(0).nonzero()[:, 0].tolist()
    assert {k, *moved} <= set(changed)
    assert torch.equal(after[2], parts[2])  # up in one group, down in the next
    for row in range(len(parts[0])):  # the same points, each with its own target and slope
        given, found = (sorted(zip(*(one[row].tolist() for one in all_), strict=True))
                        for all_ in (parts, after))  # fmt: skip
        assert given == found
    assert all(torch.equal(*both) for both in zip(parts, before, strict=True))


def test_an_exchange_gives_points_at_the_far_ends_of_the_neighbouring_groups(space):
    parts = parts_of(space, 0, size=60)
    k = int(parts[3][1:-1].max(0).values.argmax())
    steepest = int(parts[3][:, k].argmax())
    after, _ = space["exchanged"](parts, k, generator(0, "exchanges"))
    places = [(after[0][row] < after[0][row, k]).sum() for row in (steepest - 1, steepest + 1)]
    assert places[0] < 20 <= 40 <= places[1]  # of 60; ten of a sign at the far end are tried


def test_mending_lowers_errors_and_keeps_all_labels(space):
    before, after = [], []
    for seed in range(4):
        x, labels, y = drawn(space, seed)
        found = space["values"](space["memorizer"](x, y, (100, 100), 4, seed), x)
        before.append((found - y).abs().max().item())
        net = space["memorizer"](x, y, (100, 100), 4, seed, before[-1] / 3)
        found = space["values"](net, x)
        after.append((found - y).abs().max().item())
        assert torch.equal(space["classify"](found, CLASSES), labels)
        assert after[-1] <= before[-1]
    assert sum(after) < 0.8 * sum(before)
