"""The measures of chapter 15 against scikit-learn's, and against cases that are known by hand."""

import ast
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, cohen_kappa_score
from torch import nn

from memhelpers.data import Part
from memhelpers.engine.ensemble import Ensemble
from tools import judging, notebooks


@pytest.fixture(scope="module")
def space():
    path = notebooks.BOOK / "15-one-way-to-learn.ipynb"
    found = judging.definitions(path) | {"pool": SimpleNamespace(n_classes=3), "ridge": 1e-6}
    for cell in notebooks.tagged(notebooks.read(path), "run"):
        functions = [n for n in ast.parse(cell.source).body if isinstance(n, ast.FunctionDef)]
        exec(compile(ast.Module(functions, []), cell.id, "exec"), found)
    return found


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_kappa_and_rand_index_are_those_of_scikit_learn(space):
    said = torch.from_numpy(np.random.default_rng(0).choice(3, (4, 50), p=(0.6, 0.3, 0.1)))
    said[1, :30] = said[0, :30]
    counts = space["crossed"](said)
    kappa, uniform = space["kappas"](counts)
    rand = space["rand_indices"](counts)
    for a in range(4):
        for b in range(4):
            assert kappa[a, b] == pytest.approx(cohen_kappa_score(said[a], said[b]))
            assert rand[a, b] == pytest.approx(adjusted_rand_score(said[a], said[b]))
            agreed = (said[a] == said[b]).double().mean()
            assert uniform[a, b] == pytest.approx(float((agreed - 1 / 3) / (2 / 3)))


def test_networks_that_always_say_the_same_have_a_kappa_of_0(space):
    counts = space["crossed"](torch.zeros(2, 9, dtype=torch.int64))
    assert space["kappas"](counts)[0].tolist() == [[0, 0], [0, 0]]


def test_cka_is_1_after_a_rotation_and_0_in_the_mean_for_unrelated_layers(space):
    layer = drawn(1, 30, 8)
    rotation = torch.linalg.qr(drawn(8, 8)).Q
    alike = space["cka"](torch.cat([layer, 3 * layer @ rotation]))
    assert alike[0, 1] == pytest.approx(1)
    unrelated = space["cka"](drawn(60, 30, 8))
    off = unrelated[~torch.eye(60, dtype=torch.bool)]
    assert off.mean().abs() < 0.01  # the usual estimate is above .2 here


def test_cka_is_the_unbiased_estimate_written_out(space):
    x, y = layers = drawn(2, 7, 3)

    def hsic(x, y):  # Song et al. 2012, their formula with four different images
        k, m, n, total = x @ x.T, y @ y.T, len(x), 0.0
        for a in range(n):
            for b in range(n):
                for c in range(n):
                    for d in range(n):
                        if len({a, b, c, d}) == 4:
                            total += k[a, b] * (m[a, b] + m[c, d] - 2 * m[a, c])
        return total / (n * (n - 1) * (n - 2) * (n - 3))

    known = hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()
    assert space["cka"](layers)[0, 1] == pytest.approx(float(known))


def test_a_ridge_map_finds_a_linear_map_and_nothing_where_there_is_none(space):
    x, other = drawn(2, 100, 4)
    y = x @ drawn(4, 4) + 1
    told = space["ridge_map"](
        torch.stack([x, y, other])[:, :60], torch.stack([x, y, other])[:, 60:]
    )
    assert told[0, 1] == pytest.approx(1, abs=1e-4)
    assert told[0, 2] < 0.2


def test_the_same_errors_are_counted_where_one_of_the_two_is_wrong(space):
    said = torch.tensor([[0, 1, 1, 2], [0, 1, 2, 0]])
    y = torch.tensor([0, 0, 0, 0])  # the first errs thrice, the second twice; one they share
    assert space["same_errors"](said, y)[0, 1] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert space["same_errors"](y[None].repeat(2, 1), y).tolist() == [[0, 0], [0, 0]]


def test_gradients_of_linear_networks_are_their_weights_less_the_mean(space):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    ensemble = Ensemble.initialize(network, [0, 1])
    y = torch.tensor([2, 0, 2, 1, 2])
    part = Part(drawn(5, 1, 2, 2).float(), y)
    found = space["gradient_cosines"](ensemble, part)
    weights = ensemble.parameters["1.weight"].detach()
    rows = (weights - weights.mean(1, keepdim=True))[:, y]
    known = torch.cosine_similarity(rows[0], rows[1], dim=1).mean()
    assert found[0, 1] == pytest.approx(float(known), abs=1e-6)


def test_hidden_layers_are_those_of_the_networks(space):
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)
    )
    ensemble = Ensemble.initialize(network, [0, 1])
    x = drawn(6, 1, 2, 2).float()
    first, second = space["hidden_layers"](ensemble, x)
    assert first.shape == (2, 6, 3)
    weight, bias = (ensemble.parameters[f"5.{name}"] for name in ("weight", "bias"))
    logits = second @ weight.mT + bias[:, None]
    assert torch.allclose(logits, ensemble(x, shared=True), atol=1e-6)


def test_the_plane_keeps_the_distances_of_points_in_a_plane(space):
    points = np.random.default_rng(0).random((6, 2)) / 2
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    places, off = space["plane"](pd.DataFrame(1 - apart))
    assert np.linalg.norm(places[:, None] - places, axis=2) == pytest.approx(apart, abs=1e-3)
    assert off < 1e-3


def test_entropy_counts_grey_levels(space):
    x = torch.zeros(3, 1, 2, 2)
    x[1, 0, 0], x[2] = 1, torch.tensor([[0, 1 / 3], [2 / 3, 1]])
    assert space["entropies"](x).tolist() == pytest.approx([0, 1, 2])
