"""Noise in the forward pass: each member has its own, the same whoever trains beside it."""

import pytest
import torch
from test_gradients import assert_same, batch_for, ensemble_of
from torch import nn
from toys import assert_same_runs, toy_cnn, toy_data, toy_mlp

from memhelpers.engine import ensemble as ensembles
from memhelpers.engine import perturbations
from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.gradients import MlpGradients, by_autograd
from memhelpers.engine.perturbations import perturbed
from memhelpers.errors import ArgumentError
from memhelpers.networks import mlp
from memhelpers.training import Perturbation, dropout, fit, gaussian_noise

DATA = toy_data()
IMAGES = toy_data(n=20, shape=(1, 8, 8))


def input_dropout(rate):
    return dropout(rate, where="input")


def input_noise(deviation):
    return gaussian_noise(deviation, where="input")


KINDS = [dropout, input_dropout, input_noise, gaussian_noise]


def plain_cnn(data):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(16, 3)
    )


CASES = {"mlp": (toy_mlp, DATA), "cnn": (plain_cnn, IMAGES), "batch norm": (toy_cnn, IMAGES)}


def full(case="mlp", **settings):
    build, data = CASES[case]
    kept = {"record": ["loss", "correct", "margin"], "evaluate": ["validation"]}
    basic = {"epochs": 4, "batch_size": 8, "learning_rate": 0.2} | kept
    return fit(build(data), data, **(basic | settings))


def noise_of(given: Perturbation, seeds, dtype=torch.float64):
    """The noise of the first update."""
    return {
        kind: (
            perturbations.first_draws(seeds, kind),
            torch.full((len(seeds),), strength, dtype=dtype),
        )
        for kind, strength in given.strengths
    }


# --- An ensemble is its single runs


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("make", KINDS)
def test_members_with_noise_give_what_single_runs_give(case, make):
    strengths, seeds = [0.6, 0.0, 0.2], [4, 4, 9]
    extra = {"momentum": 0.5, "until": 0.8, "epochs": 6, "precision": "fp64"}
    each = [make(strength) for strength in strengths]
    whole = full(case, seeds=seeds, perturb=each, **extra)
    apart = full(case, seeds=seeds, perturb=each, together=1, **extra)
    assert_same_runs(whole, apart, range(3), range(3), 1e-6)
    for row, seed in enumerate(seeds):
        single = full(case, seeds=[seed], perturb=each[row], **extra)
        assert_same_runs(whole, single, [row], [0], 1e-6)
    assert len(set(whole.members["epochs"])) > 1 or case != "mlp"
    first = whole.trajectories.loss[:, 0]
    assert (first[0] != first[1]).any()  # seeds alike, noise not


@pytest.mark.parametrize("case", CASES)
def test_members_may_have_noise_of_different_kinds_also_in_single_precision(case):
    each = [None, dropout(0.5) + input_noise(0.3), gaussian_noise(0.1), input_dropout(0.2)]
    whole = full(case, seeds=range(4), perturb=each, epochs=2)
    for row, own in enumerate(each):
        single = full(case, seeds=[row], perturb=own, epochs=2)
        assert_same_runs(whole, single, [row], [0], 2e-3 if case == "batch norm" else 1e-5)
    columns = whole.members[["hidden_dropout", "input_noise", "hidden_noise", "input_dropout"]]
    assert columns.to_numpy().tolist() == [
        [0] * 4,
        [0.5, 0.3, 0, 0],
        [0, 0, 0.1, 0],
        [0, 0, 0, 0.2],
    ]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("make", KINDS)
def test_strength_0_is_exactly_the_run_without_noise_beside_noisy_members_too(case, make):
    plain, seeds = full(case, seeds=[1, 2]), [1, 2]
    assert_same_runs(plain, full(case, seeds=seeds, perturb=make(0)), [0, 1], [0, 1], 0)
    mixed = full(case, seeds=seeds, perturb=[make(0), make(0.5)])
    assert_same_runs(plain, mixed, [0], [0], 0)
    assert plain.epochs["train_loss"].iloc[-1] != mixed.epochs["train_loss"].iloc[-1]


@pytest.mark.parametrize("case", CASES)
def test_in_bf16_the_noise_is_the_same_up_to_rounding(case):
    given = dropout(0.3) + input_noise(0.1)
    settings = {"seeds": [0, 1], "perturb": given, "learning_rate": 0.005, "batch_size": 10}
    half, single = (full(case, precision=p, **settings).epochs for p in ("bf16", "fp32"))
    assert 0 < (half["train_loss"] - single["train_loss"]).abs().max() < 0.06


# --- What the noise is


def test_dropout_leaves_the_share_and_the_mean_that_it_should():
    a = torch.ones(200, 500)
    out = perturbed(a, 1, {k: (p[0], s[0]) for k, (p, s) in noise_of(dropout(0.8), [3]).items()})
    assert (out == 0).double().mean().item() == pytest.approx(0.8, abs=0.01)
    assert out.max().item() == pytest.approx(5)
    assert out.mean().item() == pytest.approx(1, abs=0.03)


def test_gaussian_noise_has_the_deviation_that_was_asked_for():
    noise = noise_of(input_noise(2.5), [3])
    a = torch.ones(200, 501)
    added = perturbed(a, 0, {k: (p[0], s[0]) for k, (p, s) in noise.items()}) - a
    assert added.mean().item() == pytest.approx(0, abs=0.03)
    assert added.std().item() == pytest.approx(2.5, rel=0.01)
    assert ((added / 2.5) ** 4).mean().item() == pytest.approx(3, abs=0.1)


def test_draws_differ_between_seeds_updates_layers_and_kinds_and_places():
    shape, seen = (4, 250), []
    for given in (input_noise(1) + dropout(0), gaussian_noise(1)):
        noise = noise_of(given, [0, 1])
        for update in (0, 1, 2**20):
            for layer in (0, 1, 2):
                at = perturbations.at_update(update, noise)
                out = perturbations.all_perturbed(torch.zeros(2, *shape), layer, at)
                seen += [row for row in out.reshape(-1, 250) if row.any()]
    assert len(seen) == 3 * 2 * 4 * (1 + 2)  # updates, seeds, rows; images and two layers
    related = torch.corrcoef(torch.stack(seen)) - torch.eye(len(seen))
    assert related.abs().max() < 0.35


def test_uniform_draws_are_splitmix64s():
    """The first hashes of the published generator, seeded with 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    start = torch.tensor(1234567 + perturbations._STEP)  # its first number is that of step 1
    high, low = perturbations._hashes(start, 6)
    assert high.tolist() == [z >> 40 for z in published]
    assert low.tolist() == [z % 2**24 for z in published]


def layers_seen(monkeypatch, network, data):
    """The layers at which noise acts in one update, with the shapes of their activations."""
    seen, acting = [], perturbations.perturbed

    def noted(a, layer, noise):
        if perturbations._acting(layer, noise):
            assert layer == 0 or bool((a >= 0).all())
            seen.append((layer, tuple(a.shape[1:])))
        return acting(a, layer, noise)

    monkeypatch.setattr(perturbations, "perturbed", noted)
    monkeypatch.setattr(ensembles, "perturbed", noted)
    both = dropout(0.1) + input_noise(0.1)
    fit(network, data, seeds=[0], epochs=1, batch_size=30, perturb=both, evaluate=())
    return seen


@pytest.mark.parametrize("case", CASES)
def test_noise_acts_on_the_images_and_after_each_relu(monkeypatch, case):
    build, data = CASES[case]
    shapes = {
        "mlp": [(0, (1, 3, 3)), (1, (8,)), (2, (7,))],
        "cnn": [(0, (1, 8, 8)), (1, (4, 6, 6))],
        "batch norm": [(0, (1, 8, 8)), (1, (4, 8, 8)), (2, (4, 4, 4)), (3, (64,))],
    }
    assert layers_seen(monkeypatch, build(data), data) == shapes[case]


def test_a_relu_that_is_used_twice_counts_twice(monkeypatch):
    relu = nn.ReLU()
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), relu, nn.Linear(5, 4), relu)
    network.append(nn.Linear(4, 3))
    assert [layer for layer, _ in layers_seen(monkeypatch, network, DATA)] == [0, 1, 2]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("members", [1, 3])
def test_the_written_out_gradients_are_those_of_autograd_with_the_same_noise(make, members):
    ensemble, (x, y) = ensemble_of(members, [8, 7], torch.float64), batch_for(members, 6)
    noise = perturbations.at_update(5, noise_of(make(0.4), range(members)))
    found = MlpGradients(ensemble.network, "fp64")(ensemble, x.double(), y, noise)
    assert_same(found, by_autograd("fp64")(ensemble, x.double(), y, noise))


def test_evaluation_and_probes_have_no_noise():
    for case in CASES:
        probes = {"logits": lambda snapshot: snapshot.train_logits(torch.arange(9))[0]}
        settings = {"seeds": [0, 1], "learning_rate": 0, "epochs": 1, "probes": probes}
        noisy = full(case, perturb=dropout(0.5) + input_noise(1), **settings)
        plain = full(case, **settings)
        if case != "batch norm":  # its running statistics are those of noisy activations
            assert noisy.epochs["validation_loss"].equals(plain.epochs["validation_loss"])
        assert torch.equal(noisy.probes["logits"].at(0), plain.probes["logits"].at(0))
        assert not noisy.epochs["train_loss"].equals(plain.epochs["train_loss"])


def test_the_ensemble_that_is_returned_has_no_noise_left():
    history = full("cnn", seeds=[0], perturb=dropout(0.5))
    assert not any(module._forward_hooks for module in history.ensemble.network.modules())
    assert isinstance(history.ensemble, Ensemble)


# --- Bad arguments


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: dropout(1), "rate: given 1; allowed: one number from 0 to below 1"),
        (lambda: input_dropout(-0.1), "rate: given -0.1"),
        (lambda: dropout([0.1, 0.2]), r"rate: given \[0.1, 0.2\].*perturb=\[...\].*a seed"),
        (lambda: input_noise(-1), "deviation: given -1.*from 0"),
        (lambda: gaussian_noise(float("inf")), "deviation: given inf.*below inf"),
        (lambda: gaussian_noise(float("nan")), "deviation: given nan"),
        (lambda: dropout(0.1, where="output"), "where: given 'output'.*'hidden'"),
        (lambda: dropout(0.1) + dropout(0.2), "perturb: given .*hidden_dropout.*once"),
        (lambda: full(seeds=[0, 1], perturb=0.5), "perturb: given 0.5.*Perturbation"),
        (lambda: full(seeds=[0, 1], perturb=[dropout(0.5)]), "perturb: given '1 items'.*a seed"),
        (lambda: full(seeds=[0], perturb=["dropout"]), "perturb: given 'dropout'"),
        (
            lambda: fit(mlp(DATA.shape, [], 3), DATA, seeds=[0], epochs=1, perturb=dropout(0.1)),
            "perturb: given 'hidden_dropout for a network without them'.*nn.ReLU",
        ),
    ],
)
def test_what_is_no_noise_is_refused_with_the_argument_named(wrong, said):
    with pytest.raises(ArgumentError, match=said):
        wrong()
