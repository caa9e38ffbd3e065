"""The permutation test of chapter 17: its level, its scores, its matrix, and what sets its null."""

import ast
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from memhelpers.seeding import generator
from tools import notebooks

PATH = notebooks.BOOK / "17-learning-against-memorizing.ipynb"
NAMES = ("answers", "targets", "auc", "scores", "labellings", "permutation_test", "near")
IMPORTS = {"np": np, "torch": torch, "generator": generator}


def functions(classes: int = 2, permutations: int = 99) -> dict:
    """The chapter's own functions, at these parameters."""
    space = IMPORTS | {"one_hot": torch.nn.functional.one_hot, "ridge": 10.0}
    space |= {"classes": classes, "permutations": permutations}
    for cell in notebooks.tagged(notebooks.read(PATH), "run"):
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef) and node.name in NAMES:
                exec(compile(ast.Module([node], []), PATH.name, "exec"), space)
    assert set(NAMES) <= set(space)
    return space


def noise(seed: int, n: int, d: int, classes: int = 2) -> tuple[torch.Tensor, ...]:
    """Features, the same a little moved, and labels that have nothing to do with them."""
    drawn = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=drawn)
    moved = z + 0.5 * torch.randn(n, d, generator=drawn)
    return z, moved, torch.randint(classes, (n,), generator=drawn)


@pytest.mark.parametrize("classes", [2, 3])
def test_under_a_true_null_p_is_uniform(classes):
    space, found = functions(classes), []
    for seed in range(400):
        z, moved, y = noise(seed, 48, 24, classes)
        found.append(space["permutation_test"](z, moved, space["labellings"](y, seed))["p"])
    found = np.array(found)
    steps = found * 100  # p has the values 1/100, ..., 100/100
    assert steps == pytest.approx(steps.round(), abs=1e-4)
    assert steps.min() > 0.5
    bins = np.bincount(((steps.round() - 1) // 10).astype(int), minlength=10)
    assert chisquare(bins).pvalue > 0.01, bins
    spread = np.random.default_rng(0).random(len(found))  # fills the steps between the values
    assert kstest((steps.round() - spread) / 100, "uniform").pvalue > 0.01


def test_the_given_labels_count_as_one_of_the_permutations():
    space = functions(permutations=19)
    z, moved, y = noise(0, 40, 10)
    z[:, 0], moved[:, 0] = 10.0 * y, 10.0 * y
    assert space["permutation_test"](z, moved, space["labellings"](y, 0))["p"] == pytest.approx(
        1 / 20
    )


def test_shuffled_labels_are_the_given_ones_in_other_orders():
    space = functions(4, 30)
    y = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
    labels, columns = space["labellings"](y, 3)
    assert labels.shape == (31, 8)
    assert columns.shape == (31, 8, 4)
    assert (labels[0] == y).all()
    assert (labels.sort(1).values == y).all()
    assert len(labels[1:].unique(dim=0)) > 25
    assert (columns.mean(1).abs() < 1e-5).all()  # each class weighs the same


@pytest.mark.parametrize(("n", "d"), [(40, 12), (20, 60)])
def test_the_matrix_gives_what_a_ridge_regression_answers(n, d):
    z, moved, y = noise(1, n, d)
    centre = z.mean(0)
    size = (z - centre).square().mean().sqrt()
    target = y.double() - y.double().mean()
    fitted = Ridge(alpha=3.0, fit_intercept=False).fit((z - centre) / size, target)
    wanted = fitted.predict((moved - centre) / size)
    assert (functions()["answers"](z, moved, 3.0) @ target.float()).numpy() == pytest.approx(
        wanted, abs=2e-4
    )


def test_scores_are_those_of_scikit_learn_with_guesses_at_0():
    drawn, two, three = torch.Generator().manual_seed(0), functions(2), functions(3)
    said = torch.randn(1, 50, 1, generator=drawn)
    y = torch.randint(2, (1, 50), generator=drawn)
    area = roc_auc_score(y[0], said[0, :, 0])
    assert two["scores"](said, y).item() == pytest.approx(2 * area - 1, abs=1e-6)
    said, y = torch.randn(1, 50, 3, generator=drawn), torch.arange(50)[None] % 5 % 3
    wanted = balanced_accuracy_score(y[0], said[0].argmax(-1), adjusted=True)
    assert three["scores"](said, y).item() == pytest.approx(wanted, abs=1e-6)


def test_the_mean_over_all_permutations_is_set_by_the_trace():
    z, moved, _ = noise(2, 6, 3)
    hat = functions()["answers"](z.double(), moved.double(), 0.5)
    t = torch.tensor([1.0, 1, -1, 1, -1, -1]).double()
    every = [t[list(order)] @ hat @ t[list(order)] for order in itertools.permutations(range(6))]
    wanted = t @ t / 5 * (hat.trace() - hat.sum() / 6)
    assert len(every) == math.factorial(6)
    assert sum(every).item() / len(every) == pytest.approx(wanted.item())


def test_strength_0_gives_the_training_set_itself_and_others_their_deviation():
    near, x = functions()["near"], torch.randn(50, 1, 8, 8) * 3
    assert (near(x, 0, 1) == x).all()
    assert (near(x, 0.5, 1) - x).std() == pytest.approx(0.5 * float(x.std()), rel=0.05)


def test_new_inputs_are_scored_with_labels_of_their_own():
    """Shuffled labels say nothing of them, so their null is at chance, whatever the features."""
    space, nulls = functions(permutations=199), []
    for seed in range(20):
        z, _, y = noise(seed, 60, 30)
        z[:, 0] += 3 * y
        new, _, own = noise(1000 + seed, 60, 30)
        new[:, 0] += 3 * own
        row = space["permutation_test"](z, new, space["labellings"](y, seed), own)
        nulls.append(row["null"])
        assert row["observed"] > 0.4
    assert np.mean(nulls) == pytest.approx(0, abs=0.03)
