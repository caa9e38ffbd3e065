"""A reader's own network is trained as it is, or refused with one clear error at the start."""

import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm
from toys import member, plain_sgd, toy_data

from memhelpers.errors import ArgumentError
from memhelpers.networks import mlp
from memhelpers.sensitivity import loss_sensitivity
from memhelpers.training import Probe, fit

DATA = toy_data()
SETTINGS = {"epochs": 2, "batch_size": 8, "learning_rate": 0.3}


class Doubled(nn.Sequential):
    """A plain network whose own `forward` does something else."""

    def forward(self, x):
        return 2 * super().forward(x)


def layers() -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)]


def hooked() -> nn.Module:
    network = nn.Sequential(*layers())
    network[1].register_forward_hook(lambda module, seen, out: 3 * out)
    return network


def frozen() -> nn.Module:
    network = nn.Sequential(*layers())
    network[1].requires_grad_(False)
    return network


class Skip(nn.Module):
    """A skip connection around a hidden layer, without biases, with another activation."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(9, 8, bias=False), nn.Linear(8, 8)
        self.last = nn.Linear(8, 4)  # one logit more than classes

    def forward(self, x):
        a = torch.tanh(self.first(x.flatten(1)))
        return self.last(a + torch.nn.functional.gelu(self.second(a)))


class Unused(nn.Sequential):
    """One layer is never called."""

    def forward(self, x):
        return self[3](self[0](x))


SUPPORTED = {
    "a layer that is never used": lambda: Unused(
        nn.Flatten(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(9, 3)
    ),
    "a forward of its own": lambda: Doubled(*layers()),
    "a hook": hooked,
    "frozen layers": frozen,
    "a skip connection": Skip,
    "layer norm without weights": lambda: nn.Sequential(
        *layers()[:2], nn.LayerNorm(8, elementwise_affine=False), *layers()[2:]
    ),
    "log-probabilities": lambda: nn.Sequential(*layers(), nn.LogSoftmax(1)),
    "double weights": lambda: nn.Sequential(*layers()).double(),
}


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
@pytest.mark.parametrize("make", SUPPORTED.values(), ids=SUPPORTED)
def test_it_is_trained_as_it_is(make, precision):
    seeds, batches = [3, 4], Probe(lambda snapshot: snapshot.batch, updates="all")
    start = Probe(lambda snapshot: snapshot.ensemble.flat_parameters(), epochs=[0])
    seen = fit(make(), DATA, seeds=seeds, probes={"batches": batches, "start": start},
               precision=precision, **SETTINGS)  # fmt: skip
    for row in range(len(seeds)):
        alone = make().to(seen.ensemble.flat_parameters().dtype)
        alone.load_state_dict(member(seen.ensemble, row))  # the frozen ones are the same
        trained = [p for p in alone.parameters() if p.requires_grad]
        nn.utils.vector_to_parameters(seen.probes["start"].at(0)[row], trained)
        orders = [seen.probes["batches"].at(time)[row] for time in seen.probes["batches"].times]
        plain_sgd(alone, DATA.train, orders, learning_rate=SETTINGS["learning_rate"])
        found = nn.utils.parameters_to_vector(trained)
        torch.testing.assert_close(found, seen.ensemble.flat_parameters()[row])
        with torch.no_grad():
            right = alone.eval()(DATA.validation.x.to(found.dtype)).argmax(1) == DATA.validation.y
        last = seen.epochs.query("member == @row")["validation_accuracy"].iloc[-1]
        assert last == pytest.approx(right.float().mean().item())


def tied() -> nn.Module:
    square = nn.Linear(9, 9)
    return nn.Sequential(nn.Flatten(), square, nn.ReLU(), square, nn.Linear(9, 3))


class OwnDropout(nn.Sequential):
    """Noise that no layer shows."""

    def forward(self, x):
        return torch.nn.functional.dropout(super().forward(x), 0.5, self.training)


class Branch(nn.Sequential):
    """What it does depends on a value."""

    def forward(self, x):
        logits = super().forward(x)
        return logits if logits.sum() > 0 else -logits


class Several(nn.Sequential):
    """Logits and something else."""

    def forward(self, x):
        return super().forward(x), x


REFUSED = {
    "several outputs": (lambda: Several(*layers()), "network: given 'output tuple'; .*logits"),
    "a batch norm of images after flattening": (
        lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm2d(9), nn.Linear(9, 3)),
        "network: given 'one that fails on an image of shape",
    ),
    "a class in place of a network": (lambda: nn.Linear, "network: given <class .*nn.Module"),
    "none": (lambda: None, "network: given None; allowed: a torch.nn.Module"),
    "tied layers": (tied, "network: given 'shared weights, such as 3.bias'"),
    "lazy layers": (
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
        "network: given 'lazy layers, such as 1.weight'",
    ),
    "no parameters": (nn.Flatten, "network: given 'no trained parameter'"),
    "all frozen": (
        lambda: nn.Sequential(*layers()).requires_grad_(False),
        "network: given 'no trained parameter'",
    ),
    "weight_norm": (
        lambda: nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(9, 3))),
        "network: given 'Linear'; allowed: Linear, .* weights",
    ),
    "parametrized weight_norm": (
        lambda: nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(9, 3))),
        "network: given 'ParametrizedLinear'",
    ),
    "a final softmax": (
        lambda: nn.Sequential(*layers(), nn.Softmax(1)),
        "network: given 'one that puts out probabilities'; allowed: logits",
    ),
    "dropout": (lambda: nn.Sequential(*layers(), nn.Dropout()), "network: given 'Dropout'"),
    "dropout of its own": (
        lambda: OwnDropout(*layers()),
        r"network: given 'one that cannot be stacked \(.*random.*perturb",
    ),
    "a branch on a value": (
        lambda: Branch(*layers()),
        "network: given .one that fails on an image .*item",
    ),
    "embeddings": (
        lambda: nn.Sequential(*layers(), nn.PReLU()),
        "network: given 'PReLU'; allowed: Linear, Conv2d, BatchNorm",
    ),
    "another size": (lambda: mlp((1, 5, 5), [8], 3), r"network: .*image of shape \(1, 3, 3\)"),
    "too few logits": (lambda: mlp((1, 3, 3), [8], 2), r"network: given '2 logits'.*data \(3\)"),
    "half a flattening": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Linear(9, 3)),
        r"network: given 'output \(1, 1, 3\)'; allowed: logits \[n, classes\]",
    ),
    "images for logits": (
        lambda: nn.Conv2d(1, 3, 1),
        r"network: given 'output \(1, 3, 3, 3\)'; allowed: logits \[n, classes\]",
    ),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("train", [fit, loss_sensitivity])
@pytest.mark.filterwarnings("ignore:.*(weight_norm|Lazy modules)")
def test_it_is_refused_before_anything_is_trained(make, said, train):
    network, started, state = make(), time.monotonic(), torch.get_rng_state()
    with pytest.raises(ArgumentError, match=said) as caught:
        train(network, DATA, seeds=[1, 2], epochs=10**6, batch_size=8)
    assert time.monotonic() - started < 20
    assert "\n" not in str(caught.value)
    assert torch.equal(state, torch.get_rng_state())


def test_frozen_layers_keep_their_weights_and_the_others_are_drawn_anew():
    network = frozen()
    kept, other = network[1].weight.clone(), network[3].weight.clone()
    seen = fit(network, DATA, seeds=[0, 1], **SETTINGS).ensemble
    assert torch.equal(member(seen, 0)["1.weight"], kept)
    assert torch.equal(member(seen, 1)["1.weight"], kept)
    start = Probe(lambda snapshot: snapshot.ensemble.flat_parameters(), epochs=[0])
    first = fit(network, DATA, seeds=[0], epochs=1, probes={"w": start}).probes["w"].at(0)
    assert not torch.isclose(first[0, : other.numel()], other.flatten()).any()


def test_whole_numbers_of_numpy_do_as_well():
    numbers = {"epochs": np.int64(2), "batch_size": np.int32(8)}
    network = nn.Sequential(*layers())
    assert len(fit(network, DATA, seeds=[np.int64(0)], **numbers).epochs) == 2
    assert len(loss_sensitivity(network, DATA, seeds=[0], **numbers).times)


def test_the_check_leaves_the_template_as_it_was():
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 3), nn.BatchNorm1d(3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit(network, DATA, seeds=[0], **SETTINGS)
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
