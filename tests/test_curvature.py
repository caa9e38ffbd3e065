"""Second derivatives along directions are those of the loss, whichever way they are computed."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toys import small_cnn

from memhelpers.engine import curvature
from memhelpers.engine.curvature import MlpProducts, general_products, is_plain_mlp, products
from memhelpers.networks import mlp

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # within torch

SHAPE, CLASSES = (2, 2, 3), 4
MEMBERS, BATCH, DIRECTIONS = 3, 5, 2
NETWORKS = [mlp(SHAPE, [6, 5], CLASSES), mlp(SHAPE, [4, 5, 6], CLASSES), mlp(SHAPE, [7], CLASSES)]
NETWORKS.append(mlp(SHAPE, [], CLASSES))


def problem(network: nn.Module):
    """Weights, images, labels and directions of several networks."""
    torch.manual_seed(0)
    named = dict(network.named_parameters())
    weights = {k: torch.randn(MEMBERS, *p.shape).double() for k, p in named.items()}
    directions = {k: torch.randn(MEMBERS, DIRECTIONS, *p.shape).double() for k, p in named.items()}
    x = torch.rand(MEMBERS, BATCH, *SHAPE).double()
    return weights, x, torch.randint(CLASSES, (MEMBERS, BATCH)), directions


def gradients(network, weights, x, y):
    """Plain autograd: gradients of the mean loss of one network by its weights and images."""
    leaves = {k: v.clone().requires_grad_() for k, v in weights.items()}
    x = x.clone().requires_grad_()
    loss = cross_entropy(torch.func.functional_call(network, leaves, (x,)), y)
    *by_weights, by_image = torch.autograd.grad(loss, [*leaves.values(), x])
    return [*by_weights, by_image.flatten(1)]


@pytest.mark.parametrize("network", NETWORKS, ids=["2 layers", "3 layers", "1 layer", "linear"])
@pytest.mark.parametrize("way", [MlpProducts, general_products])
def test_products_are_the_change_of_the_gradients_along_the_directions(network, way):
    weights, x, y, directions = problem(network)
    by_weights, by_image = way(network)(weights, x, y, directions)
    step = 1e-6
    for m in range(MEMBERS):
        for k in range(DIRECTIONS):
            ends = [
                gradients(
                    network,
                    {n: w[m] + s * directions[n][m, k] for n, w in weights.items()},
                    x[m],
                    y[m],
                )
                for s in (step, -step)
            ]
            *expected, image = [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
            close = {"rtol": 1e-5, "atol": 1e-7}
            for name, change in zip(weights, expected, strict=True):
                torch.testing.assert_close(by_weights[name][m, k], change, **close)
            torch.testing.assert_close(by_image[m, :, k], image, **close)


@pytest.mark.parametrize("network", NETWORKS, ids=["2 layers", "3 layers", "1 layer", "linear"])
def test_both_ways_agree_to_rounding(network):
    weights, x, y, directions = problem(network)
    results = [way(network)(weights, x, y, directions) for way in (MlpProducts, general_products)]
    torch.testing.assert_close(*results)


def test_one_direction_or_network_that_is_not_finite_leaves_the_others():
    network = NETWORKS[0]
    weights, x, y, directions = problem(network)
    expected = MlpProducts(network)(weights, x, y, directions)
    weights["1.weight"][1], directions["1.weight"][0, 1] = torch.nan, torch.nan
    by_weights, by_image = MlpProducts(network)(weights, x, y, directions)
    assert by_image[1].isnan().all()
    assert by_image[0, :, 1].isnan().all()
    torch.testing.assert_close(by_image[2], expected[1][2])
    torch.testing.assert_close(by_image[0, :, 0], expected[1][0, :, 0])
    for name, value in by_weights.items():
        torch.testing.assert_close(value[0, 0], expected[0][name][0, 0])


def test_only_the_plain_relu_network_is_done_by_hand():
    assert all(is_plain_mlp(network) for network in NETWORKS)
    others = [
        small_cnn((1, 8, 8), 3),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)),
        nn.Sequential(
            nn.Flatten(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)
        ),
        nn.Sequential(nn.Linear(4, 2)),
        nn.Sequential(),
        nn.Linear(4, 2),
    ]
    assert not any(is_plain_mlp(network) for network in others)
    assert isinstance(products(NETWORKS[0]), MlpProducts)
    assert not isinstance(products(others[1]), MlpProducts)


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


def changed(change) -> nn.Module:
    network = mlp(SHAPE, [6, 6], CLASSES)
    change(network)
    return network


@pytest.mark.parametrize(
    "network",
    [
        Doubled(*mlp(SHAPE, [6], CLASSES)),
        changed(lambda n: n.register_forward_hook(lambda *seen: 2 * seen[-1])),
        changed(lambda n: n[1].register_forward_pre_hook(lambda *seen: None)),
        changed(lambda n: n[1].register_full_backward_hook(lambda *seen: None)),
        changed(lambda n: n[1].weight.requires_grad_(False)),
        changed(lambda n: n[1].bias.requires_grad_(False)),
        changed(lambda n: n.append(nn.ReLU()).append(n[3])),
    ],
    ids=["subclass", "hook", "hook of a layer", "backward hook", "weight", "bias", "layer twice"],
)
def test_a_network_that_only_looks_plain_is_not_done_by_hand(network):
    assert not is_plain_mlp(network)


def test_a_step_stays_on_the_device():
    """Fake tensors know their device and refuse to mix devices or to be looked at."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        network = mlp(SHAPE, [6, 5], CLASSES)
        weights, x, y, directions = (
            {k: v.to("cuda") for k, v in given.items()} if isinstance(given, dict) else given.cuda()
            for given in problem(network)
        )
        by_weights, by_image = MlpProducts(network)(weights, x, y, directions)
    assert {str(v.device) for v in [*by_weights.values(), by_image]} == {"cuda:0"}


def test_the_cross_entropy_is_pytorchs():
    torch.manual_seed(0)
    logits, y = torch.randn(6, 4) * 20, torch.randint(4, (6,))
    expected = cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(curvature.cross_entropy(logits, y), expected)
