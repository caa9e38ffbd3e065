"""The written-out gradients of plain ReLU networks are those of autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import small_cnn

from memhelpers.engine import gradients
from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.gradients import MlpGradients, by_autograd
from memhelpers.networks import mlp


def batch_for(members: int, images: int, shape=(1, 4, 4), classes=3):
    draws = torch.Generator().manual_seed(members)
    x = torch.rand(members, images, *shape, generator=draws)
    return x, torch.randint(classes, (members, images), generator=draws)


def ensemble_of(members: int, hidden, dtype=torch.float32, shape=(1, 4, 4), classes=3):
    """Networks whose biases, too, are not zero, as they are at first."""
    ensemble = Ensemble.initialize(mlp(shape, hidden, classes), range(members), dtype=dtype)
    draws = torch.Generator().manual_seed(0)
    for bias in list(ensemble.parameters.values())[1::2]:
        bias.detach().copy_(torch.randn(bias.shape, generator=draws) / 50)
    return ensemble


def assert_same(found, expected, **tolerance):
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance, check_dtype=False)
    own, others = named(found), named(expected)
    assert own.keys() == others.keys()
    for name, gradient in others.items():
        torch.testing.assert_close(own[name], gradient, **tolerance, check_dtype=False)


def named(found):
    return {name: gradient.clone() for name, gradient in found[2]}


@settings(max_examples=25, deadline=None)
@given(
    members=st.integers(1, 4),
    images=st.integers(1, 9),
    hidden=st.lists(st.integers(1, 12), max_size=3),
)
def test_in_double_precision_they_are_the_same(members, images, hidden):
    ensemble = ensemble_of(members, hidden, torch.float64)
    x, y = batch_for(members, images)
    x = x.double()
    found = MlpGradients(ensemble.network, "fp64")(ensemble, x, y, {})
    assert_same(found, by_autograd("fp64")(ensemble, x, y, {}))


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("fp32", {"rtol": 1e-4, "atol": 1e-6}), ("bf16", {"rtol": 0.05, "atol": 6e-3})],
)
def test_in_lower_precision_they_differ_by_rounding(members, precision, tolerance):
    ensemble = ensemble_of(members, [64, 64], shape=(1, 28, 28))  # products large enough for oneDNN
    x, y = batch_for(members, 128, shape=(1, 28, 28))
    found = MlpGradients(ensemble.network, precision)(ensemble, x, y, {})
    assert_same(found, by_autograd(precision)(ensemble, x, y, {}), **tolerance)


def test_without_onednn_the_product_is_the_same(monkeypatch):
    a, b = torch.randn(1, 128, 300), torch.randn(1, 300, 200)
    monkeypatch.setattr(gradients, "_ONEDNN", None)
    assert not gradients.onednn_is_faster(a, b)
    by_hand = MlpGradients(mlp((1, 4, 4), [2], 3), "fp32")
    torch.testing.assert_close(by_hand._product("z", a, b), a @ b)


def test_onednn_takes_large_float32_products_of_one_network():
    a, b = torch.randn(1, 128, 300), torch.randn(1, 300, 200)
    if not gradients.onednn_is_faster(a, b):
        pytest.skip("this build of PyTorch has no oneDNN")
    torch.testing.assert_close(
        gradients.onednn_product(a[0], b[0], torch.ones(200)), a[0] @ b[0] + 1, rtol=1e-4, atol=1e-4
    )
    assert not gradients.onednn_is_faster(a[:, :8, :8], b[:, :8, :8])
    assert not gradients.onednn_is_faster(a.double(), b.double())
    assert not gradients.onednn_is_faster(a.expand(2, -1, -1), b.expand(2, -1, -1))


def test_a_member_that_is_not_finite_does_the_others_no_harm():
    ensemble = ensemble_of(3, [8])
    x, y = batch_for(3, 5)
    expected = MlpGradients(ensemble.network, "fp32")(ensemble, x, y, {})
    kept = {name: gradient[::2] for name, gradient in named(expected).items()}
    with torch.no_grad():
        ensemble.parameters["1.weight"][1] = torch.nan
    found = named(MlpGradients(ensemble.network, "fp32")(ensemble, x, y, {}))
    for name, gradient in kept.items():
        assert torch.equal(found[name][::2], gradient)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_next_call_sees_the_changed_weights_and_a_changed_ensemble(precision):
    ensemble, (x, y) = ensemble_of(3, [8, 6]), batch_for(3, 5)
    by_hand, tolerance = MlpGradients(ensemble.network, precision), {"rtol": 0.05, "atol": 5e-3}
    for _ in range(3):
        _, _, found = by_hand(ensemble, x, y, {})
        with torch.no_grad():
            for name, gradient in found:
                ensemble.parameters[name] -= gradient
        assert_same(
            by_hand(ensemble, x, y, {}), by_autograd(precision)(ensemble, x, y, {}), **tolerance
        )
    fewer = ensemble.select(torch.tensor([2, 0]))
    again = by_hand(fewer, x[[2, 0]], y[[2, 0]], {})
    assert_same(again, by_autograd(precision)(fewer, x[[2, 0]], y[[2, 0]], {}), **tolerance)


def test_only_plain_networks_are_written_out():
    assert isinstance(gradients.gradients_for(mlp((1, 4, 4), [5], 3), "fp32"), MlpGradients)
    assert not isinstance(gradients.gradients_for(small_cnn((1, 8, 8), 3), "fp32"), MlpGradients)
