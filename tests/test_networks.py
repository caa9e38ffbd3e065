"""The networks are those of the papers: sizes, order of layers, initial weights."""

import math
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys import small_cnn

from memhelpers.errors import ArgumentError
from memhelpers.networks import (
    dry_run,
    initialize,
    mlp,
    paper_cnn,
    parameter_count,
)
from memhelpers.seeding import generator

few_examples = settings(max_examples=25, deadline=None, derandomize=True)
sizes = st.integers(1, 6)


def layers_of(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if not list(module.children())]


@pytest.mark.parametrize(
    ("shape", "hidden", "classes", "count"),
    [
        ((1, 28, 28), [4096, 4096], 10, 20_037_642),
        ((1, 14, 14), [16, 16], 10, 3_594),
        ((1, 14, 14), [16, 16], 1000, 20_424),
    ],
)
def test_the_papers_mlps_have_their_numbers_of_parameters(shape, hidden, classes, count):
    with torch.device("meta"):  # counts need no memory
        assert parameter_count(mlp(shape, hidden, classes)) == count


@few_examples
@given(shape=st.tuples(sizes, sizes, sizes), hidden=st.lists(sizes, max_size=4), classes=sizes)
def test_an_mlp_of_any_depth_and_width_has_a_weight_for_each_pair_and_a_bias_for_each_unit(
    shape, hidden, classes
):
    widths = [math.prod(shape), *hidden, classes]
    network = mlp(shape, hidden, classes)
    assert parameter_count(network) == sum((a + 1) * b for a, b in pairwise(widths))
    assert network(torch.rand(3, *shape)).shape == (3, classes)
    relus = [isinstance(layer, nn.ReLU) for layer in network]
    assert sum(relus) == len(hidden)
    assert not relus[-1]


def test_the_docstring_counts_up_to_the_layers_that_are_there():
    shown = re.findall(r"`(mlp\(.*?\))` is\s+`\[(.*?)\]`", mlp.__doc__)
    assert [len(layers.split("Linear")) - 2 for _, layers in shown] == [0, 1, 2]
    for call, layers in shown:
        built = [
            f"Linear({m.in_features}, {m.out_features})"
            if isinstance(m, nn.Linear)
            else type(m).__name__
            for m in eval(call)
        ]
        assert ", ".join(built) == layers


def test_the_papers_cnn_has_its_number_of_parameters_and_its_layers_in_order():
    network = paper_cnn((3, 32, 32), 10)
    assert parameter_count(network) == 1_170_386
    convolution = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    dense = ["Linear", "BatchNorm1d", "ReLU"]
    kinds = [type(layer).__name__ for layer in layers_of(network)]
    assert kinds == ["ZeroPad2d", *convolution, *convolution, "Flatten", *dense, *dense, "Linear"]


def test_the_papers_cnn_goes_from_32_over_28_24_8_4_to_1_pixels():
    sides = []
    network = paper_cnn((3, 32, 32), 10)
    for layer in layers_of(network):
        if isinstance(layer, nn.ZeroPad2d | nn.Conv2d | nn.MaxPool2d):
            layer.register_forward_hook(lambda module, seen, out: sides.append(out.shape[-1]))
    assert network.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert sides == [28, 24, 8, 4, 1]
    outputs = [m.out_features for m in network.modules() if isinstance(m, nn.Linear)]
    assert outputs == [384, 192, 10]


def test_the_crop_keeps_the_middle():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    assert torch.equal(paper_cnn((1, 32, 32), 10).crop(image), image[:, :, 2:4, 2:4])


@pytest.mark.parametrize(
    "build",
    [
        lambda: mlp((1, 8, 8), [0], 10),
        lambda: mlp((1, 8, 8), [16, -1], 10),
        lambda: mlp((1, 8, 8), [16.0], 10),
        lambda: mlp((1, 8, 8), 16, 10),
        lambda: mlp((1, 8, 8), [16], 0),
        lambda: mlp((8, 8), [16], 10),
        lambda: mlp((1, 8, 0), [16], 10),
        lambda: mlp(64, [16], 10),
        lambda: mlp((1, 8, 8), [], 2.5),
        lambda: paper_cnn((1, 28, 28), 10),
        lambda: paper_cnn((3, 32, 31), 10),
        lambda: paper_cnn((3, 32, 32), 0),
        lambda: paper_cnn((32, 32), 10),
    ],
)
def test_what_is_no_width_image_or_number_of_classes_is_refused(build):
    with pytest.raises(ArgumentError, match=r"given .*; allowed: "):
        build()


@pytest.mark.parametrize(
    ("scheme", "spread"),
    [
        ("glorot_uniform", lambda inputs, outputs: math.sqrt(2 / (inputs + outputs))),
        ("he_normal", lambda inputs, outputs: math.sqrt(2 / inputs)),
        ("lecun_normal", lambda inputs, outputs: math.sqrt(1 / inputs)),
    ],
)
def test_initial_weights_have_the_spread_of_their_scheme_and_biases_are_zero(scheme, spread):
    network = nn.Sequential(nn.Conv2d(5, 30, 3), nn.Flatten(), nn.Linear(100, 60))
    initialize(network, generator(1, "init"), scheme)
    convolution, linear = network[0], network[2]
    assert linear.weight.std().item() == pytest.approx(spread(100, 60), rel=0.05)
    assert convolution.weight.std().item() == pytest.approx(spread(5 * 9, 30 * 9), rel=0.1)
    assert not linear.bias.any()
    assert not convolution.bias.any()
    bounded = linear.weight.abs().max().item() <= math.sqrt(6 / 160)
    assert bounded == (scheme == "glorot_uniform")


def test_initialization_forgets_what_was_there_before():
    torch.manual_seed(0)
    network = small_cnn((1, 8, 8), 3, channels=4)
    fresh = {k: v.clone() for k, v in _initialized(network).items()}
    for _ in range(3):
        network(torch.rand(6, 1, 8, 8) * 9)  # moves the statistics of batch norm
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    again = _initialized(network)
    assert all(torch.equal(fresh[name], again[name]) for name in fresh)
    assert bool((again["1.running_var"] == 1).all() and (again["1.weight"] == 1).all())


def _initialized(network: nn.Module) -> dict[str, torch.Tensor]:
    initialize(network, generator(5, "init"), "glorot_uniform")
    return network.state_dict()


def test_an_unknown_scheme_or_layer_or_a_template_elsewhere_is_refused():
    draws = generator(0, "init")
    with pytest.raises(ArgumentError, match=r"init.*glorot_uniform"):
        initialize(mlp((1, 2, 2), [3], 2), draws, "ones")
    with pytest.raises(ArgumentError, match="LayerNorm"):
        initialize(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), draws, "glorot_uniform")
    with pytest.raises(ArgumentError, match="Dropout"):
        initialize(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), draws, "glorot_uniform")
    with pytest.raises(ArgumentError, match=r"meta.*CPU"):
        initialize(mlp((1, 2, 2), [3], 2).to("meta"), draws, "glorot_uniform")


def test_a_dry_run_counts_logits_and_everything_that_layers_put_out():
    network = mlp((1, 4, 5), [7, 6], 3)
    assert dry_run(network, (1, 4, 5)) == (3, 20 + 7 + 7 + 6 + 6 + 3)
    assert not any(layer._forward_hooks for layer in network)
    assert dry_run(paper_cnn((3, 32, 32), 7), (3, 32, 32))[0] == 7


def test_a_dry_run_computes_nothing_and_so_changes_nothing():
    network = small_cnn((1, 8, 8), 3)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    dry_run(network.train(), (1, 8, 8))
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert {str(v.device) for v in network.state_dict().values()} == {"cpu"}


def test_a_dry_run_refuses_images_of_another_size_and_outputs_that_are_no_logits():
    with pytest.raises(ArgumentError, match=r"network.*\(1, 4, 4\)"):
        dry_run(mlp((1, 4, 5), [7], 3), (1, 4, 4))
    with pytest.raises(ArgumentError, match="logits"):
        dry_run(nn.Conv2d(1, 2, 3), (1, 4, 4))
