"""What chapter 19 defines itself: AUROC, attack, curvature, depth of prediction, wrong labels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from memhelpers import scores
from memhelpers.data import load
from memhelpers.engine.ensemble import Ensemble
from tests import chapters
from tools import notebooks

PATH = notebooks.BOOK / "19-difficulty-scores.ipynb"


@pytest.fixture(scope="module")
def space() -> dict:
    """The functions of the chapter."""
    return chapters.functions(PATH)


def test_auroc_is_that_of_scikit_learn_with_ties(space):
    draws = np.random.default_rng(0)
    wrong, score = draws.random(200) < 0.3, draws.integers(0, 6, 200)
    assert space["auroc"](score, wrong) == pytest.approx(roc_auc_score(wrong, score))


def test_log_odds_are_those_of_the_softmax(space):
    logits, y = torch.randn(2, 7, 4, dtype=torch.float64), torch.randint(4, (2, 7))
    p = logits.softmax(-1).gather(-1, y[..., None])[..., 0]
    torch.testing.assert_close(space["log_odds"](logits, y), (p / (1 - p)).log())


def test_exactly_a_share_of_the_labels_is_wrong_and_none_stays_right():
    space = chapters.functions(PATH)
    digits = load("digits", examples=200)
    noisy = space["mislabelled"](digits, 0.2, 3)
    assert noisy.changed.sum() == 40
    assert torch.equal(noisy.changed, noisy.train.y != digits.train.y)
    assert (space["mislabelled"](digits, 0.0, 3).train.y == digits.train.y).all()


def test_the_attack_hits_who_is_given_away_and_guesses_on_subsets_of_others(space):
    inside = scores.balanced_subsets(2000, 10, 0.5).numpy()
    other = scores.balanced_subsets(2000, 10, 0.5, seed=1).numpy()
    own = np.random.default_rng(0).normal(size=2000)  # each example has its own height
    phi = 3 * own + np.random.default_rng(1).normal(size=inside.shape) + 4 * inside
    ratio = space["likelihood_ratio"](phi, inside)
    assert space["hit"](ratio, inside) > 0.5
    assert space["hit"](phi, inside) < 0.2  # one threshold for all
    assert space["hit"](ratio, other) == pytest.approx(0.01, abs=0.006)


def test_the_judged_network_has_no_part_in_its_own_likelihoods(space):
    inside = scores.balanced_subsets(50, 10, 0.5).numpy()
    phi = np.random.default_rng(0).normal(size=inside.shape)
    moved, flipped = phi.copy(), inside.copy()
    flipped[4] = ~flipped[4]
    ratio, same = (space["likelihood_ratio"](phi, one) for one in (inside, flipped))
    np.testing.assert_array_equal(ratio[4], same[4])
    moved[4] += 1
    assert (space["likelihood_ratio"](moved, inside)[4] != ratio[4]).all()


def test_curvature_is_that_of_the_second_derivative():
    """One pixel, two classes: the loss log(1 + exp(-2 w x)) is known to the second derivative."""
    space = chapters.functions(PATH)
    space["step"] = 1e-4
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).double()
    ensemble = Ensemble.empty(network, 1, dtype=torch.float64)
    ensemble.store(0, {"1.weight": torch.tensor([[1.5], [-1.5]])})
    x = torch.linspace(-1, 1, 9, dtype=torch.float64).view(-1, 1, 1, 1)
    read = space["curvature"](x, torch.zeros(1, 9, dtype=torch.long))
    now = SimpleNamespace(members=torch.tensor([0]), ensemble=ensemble)
    p = torch.sigmoid(3 * x.flatten())
    expected = (9 * p * (1 - p)) ** 2
    torch.testing.assert_close(read(now)[0], expected, rtol=1e-3, atol=1e-6)


def test_prediction_depth_counts_the_layers_before_the_votes_agree():
    """Labels follow two clusters, which the inputs show in one case and hide in the other."""
    space = chapters.functions(PATH)
    space["neighbours"] = 3
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    ensemble = Ensemble.empty(network, 1, dtype=torch.float64)
    near = {"1.weight": torch.tensor([[0.0, 1.0], [0.0, -1.0]]), "1.bias": torch.zeros(2)}
    near |= {"3.weight": torch.eye(2), "3.bias": torch.zeros(2)}
    ensemble.store(0, near)
    side = torch.tensor([1.0, -1.0]).repeat(20)
    y = (side < 0).long()
    for wide, depth in ((0.01, 0), (100.0, 1)):  # the first number hides the second in the input
        x = torch.stack([wide * torch.arange(40.0), side], 1).double().view(40, 1, 1, 2)
        found = space["prediction_depth"](ensemble, 0, x, y)
        assert found[5:35].mean() == pytest.approx(depth, abs=0.4)
