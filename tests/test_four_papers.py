"""The measures of the page on four papers, against scikit-learn's and cases known by hand."""

from types import SimpleNamespace

import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import cohen_kappa_score

from tests import chapters
from tools import notebooks


@pytest.fixture(scope="module")
def page():
    """The functions of the page, for data of four classes."""
    found = chapters.functions(notebooks.BOOK / "four-papers.ipynb")
    found.update(pool=SimpleNamespace(n_classes=4), PERMUTATIONS=200, NOISE=0.1)
    return found


def test_kappa_is_that_of_scikit_learn(page):
    a, b = torch.randint(4, (2, 60), generator=torch.Generator().manual_seed(0)) ** 2 // 3
    b[:30] = a[:30]
    assert page["kappa"](a, b) == pytest.approx(cohen_kappa_score(a, b))


def test_a_score_is_0_for_guesses_and_1_for_all(page):
    given = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])
    said = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0]])
    assert page["score"](given, said).tolist() == [1, 0]


def test_the_linear_map_is_a_ridge_regression_with_a_constant(page):
    draws = torch.Generator().manual_seed(1)
    z, to = torch.randn(2, 40, 5, generator=draws, dtype=torch.float32)
    z1, to1 = (torch.cat([part, torch.ones(40, 1)], 1) for part in (z, to))
    y = torch.randn(40, 2, generator=draws)
    known = Ridge(alpha=0.01 * 40, fit_intercept=False).fit(z1, y).predict(to1)
    assert page["linear"](z, y, to).numpy() == pytest.approx(known, abs=1e-4)


def test_p_is_small_for_labels_in_the_states_and_the_null_knows_none(page):
    draws = torch.Generator().manual_seed(2)
    y = torch.arange(80) % 4
    x = torch.randn(80, 6, generator=draws)

    def states(images):  # one strip
        return images[:, None]

    centre, p = page["null"](states, (x, y), 0)
    assert p > 0.05
    told = x + 3 * torch.nn.functional.one_hot(y, 6)
    centre_told, p_told = page["null"](states, (told, y), 0)
    assert p_told == pytest.approx(1 / 201)
    assert centre_told == pytest.approx(centre, abs=0.1)
