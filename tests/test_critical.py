"""The search for critical samples: exact on linear classifiers, where the answer is known."""

import numpy as np
import pytest
import torch
from torch import nn
from toys import member, toy_cnn, toy_data, toy_mlp

from benchmarks.critical import one_by_one
from memhelpers import critical
from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.gradients import example_losses
from memhelpers.errors import ArgumentError
from memhelpers.networks import mlp
from memhelpers.seeding import generator
from memhelpers.training import Probe, fit

DATA = toy_data(n=60)
MANY = torch.rand(300, 1, 3, 3, generator=generator(0, "images"))
IMAGES = MANY[:30]
RADII = [0.02, 0.1, 0.3]


def linear(classes=10, side=28, members=2, scale=1.0, n=200, dtype=torch.float64):
    """Linear classifiers, and images of which each lies towards the weights of a class."""
    draws = generator(0, "linear classifiers")
    networks = Ensemble.initialize(
        mlp((1, side, side), [], classes), range(members), dtype=torch.float64
    )
    with torch.no_grad():
        for weights in networks.parameters.values():
            weights.copy_(torch.randn(weights.shape, generator=draws, dtype=torch.float64))
    noise = torch.randn(members, n, side * side, generator=draws, dtype=torch.float64)
    towards = networks.parameters["1.weight"].detach()[:, torch.arange(n) % classes]
    images = (0.5 * towards + noise).unflatten(2, (1, side, side))
    weights = {k: (scale * v.detach()).to(dtype) for k, v in networks.parameters.items()}
    return Ensemble(networks.network, weights, {}), images.to(dtype)


def distances(networks, images):
    """Least l-infinity distance to another class, [m, n]: margin / l1 norm of the difference."""
    w, b = networks.parameters["1.weight"], networks.parameters["1.bias"]
    logits = images.flatten(2) @ w.mT + b[:, None]
    own = logits.argmax(-1, keepdim=True)
    margins = logits.gather(-1, own) - logits
    norms = (w[:, :, None] - w[:, None]).abs().sum(-1)  # [m, class, class]
    norms = torch.stack([each[k] for each, k in zip(norms, own[..., 0], strict=True)])
    return (margins / norms).scatter(-1, own, torch.inf).amin(-1)


def shares(truth, found):
    """Of the truly critical: how many are found; and of those found: how many are none."""
    return (found & truth).sum() / truth.sum(), int((found & ~truth).sum())


@pytest.fixture(scope="module")
def trained():
    network = toy_mlp(DATA)
    history = fit(network, DATA, seeds=range(3), epochs=30, batch_size=8, learning_rate=0.3)
    return history.ensemble


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_on_linear_classifiers_it_finds_no_false_one_and_with_all_targets_every_true_one(classes):
    networks, images = linear(classes)
    true = distances(networks, images)
    radii = true.quantile(torch.tensor([0.2, 0.5, 0.8], dtype=true.dtype)).tolist()
    truth = true[:, None] <= torch.tensor(radii)[:, None]
    for settings in ({}, {"steps": 60}, {"noise": 0.0}, {"restarts": classes}):
        found, false = shares(truth, critical.search(networks, images, radii, **settings))
        assert false == 0, settings
        if "restarts" in settings:
            assert found >= 0.99


def test_the_papers_setting_misses_many_because_its_noise_keeps_it_off_the_corner():
    networks, images = linear()
    true = distances(networks, images)
    radius = true.median().item()
    truth = (true <= radius)[:, None]
    found, _ = shares(truth, critical.search(networks, images, [radius]))
    ascent, _ = shares(truth, critical.search(networks, images, [radius], noise=0, step=0.25))
    more, _ = shares(truth, critical.search(networks, images, [radius], restarts=10))
    assert 0.5 < found < 0.8 < ascent < more
    missed = true[truth[:, 0] & ~critical.search(networks, images, [radius])[:, 0]]
    assert missed.min() > 0.8 * radius  # only such that the box hardly reaches


def test_it_is_what_one_would_write_for_one_image_at_a_time(trained):
    for row in range(3):
        network = toy_mlp(DATA)
        network.load_state_dict(member(trained, row))
        together = critical.search(trained, MANY, RADII, steps=5, seed=4)
        for radius, found in zip(RADII, together[row], strict=True):
            alone = one_by_one(network, MANY, radius, steps=5, seed=4)
            assert alone.tolist() == found.tolist()


def test_what_is_found_for_one_does_not_depend_on_the_others(trained):
    everything = critical.search(trained, IMAGES, RADII, restarts=2)
    assert 0 < everything.double().mean() < 1
    some = critical.search(trained.select(torch.tensor([2])), IMAGES[3:6], RADII[1:2], restarts=2)
    assert torch.equal(some, everything[2:3, 1:2, 3:6])
    own = torch.stack([IMAGES, IMAGES.flip(0), IMAGES])
    assert torch.equal(critical.search(trained, own, RADII, restarts=2)[1], everything[1].flip(-1))


def test_portions_do_not_change_it(trained, monkeypatch):
    whole = critical.search(trained, IMAGES, RADII)
    monkeypatch.setattr(critical, "PORTION", 10**9)
    assert torch.equal(whole, critical.search(trained, IMAGES, RADII))


def test_every_image_tried_lies_in_its_box_and_the_number_of_passes_is_fixed(trained, monkeypatch):
    tried, logits = [], critical._logits
    monkeypatch.setattr(critical, "_logits", lambda n, x: tried.append(x.detach()) or logits(n, x))
    critical.search(trained, IMAGES, RADII, steps=3, restarts=2)
    assert len(tried) == 2 * (3 + 1)
    away = torch.stack([(x - IMAGES).abs().amax((0, 2, 3, 4, 5)) for x in tried]).amax(0)
    np.testing.assert_allclose(away, RADII, rtol=1e-5)  # reached, and not left


def test_a_network_that_is_sure_hides_no_sample():
    sure, images = linear(scale=1e4, dtype=torch.float32)
    true = distances(sure, images)
    radius = true.median().item()
    logits = sure(images)
    assert (example_losses(logits, logits.argmax(-1)) == 0).all()  # so is its gradient
    found, _ = shares((true <= radius)[:, None], critical.search(sure, images, [radius]))
    assert found > 0.5


def test_batch_norm_is_in_evaluation_mode_and_keeps_its_statistics():
    data = toy_data(n=40, shape=(1, 8, 8))
    history = fit(toy_cnn(data), data, seeds=[0, 1], epochs=3, batch_size=8, learning_rate=0.1)
    before = {name: value.clone() for name, value in history.ensemble.buffers.items()}
    several = critical.search(history.ensemble, data.validation.x, [0.1])
    for name, value in history.ensemble.buffers.items():
        assert torch.equal(value, before[name])
    each = [critical.search(history.ensemble, x[None], [0.1]) for x in data.validation.x]
    assert torch.equal(several, torch.cat(each, -1))


def test_training_goes_on_as_if_nobody_had_looked():
    settings = {"seeds": [0, 1], "epochs": 4, "batch_size": 8, "learning_rate": 0.3}
    alone = fit(toy_mlp(DATA), DATA, **settings)
    watched = fit(toy_mlp(DATA), DATA, **settings, probes={"it": critical.probe(IMAGES, RADII)})
    for name, weight in alone.ensemble.parameters.items():
        assert torch.equal(weight, watched.ensemble.parameters[name])


def test_a_probe_reads_the_ratio_while_networks_train():
    own = torch.stack([IMAGES, IMAGES.flip(-1), IMAGES])
    settings = {"steps": 4, "restarts": 2, "seed": 3}
    history = fit(
        toy_mlp(DATA),
        DATA,
        seeds=range(3),
        epochs=6,
        batch_size=8,
        learning_rate=[0.3, 0.3, 1e30],
        probes={
            "shared": Probe(critical.probe(IMAGES, RADII, **settings), epochs=[0, 2, 6]),
            "own": critical.probe(own, RADII, **settings),
        },
    )
    end = critical.ratio(history.ensemble, IMAGES, RADII, **settings)
    assert end[:2].isfinite().all()
    assert end[2].isnan().all()  # it has diverged
    at_end = history.probes["shared"].at(6)
    torch.testing.assert_close(at_end, end, equal_nan=True)
    flipped = critical.ratio(history.ensemble, IMAGES.flip(-1), RADII, **settings)
    torch.testing.assert_close(history.probes["own"].at(6)[1], flipped[1])


IMAGE = torch.rand(2, 1, 3, 3)
NETWORKS = Ensemble.initialize(toy_mlp(DATA), [0, 1])


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"networks": nn.Linear(9, 3)}, "networks"),
        ({"images": IMAGE.numpy()}, "images"),
        ({"images": IMAGE[:0]}, "images"),
        ({"images": IMAGE.flatten(1)}, "images"),  # vectors
        ({"images": IMAGE.long()}, "images"),
        ({"images": IMAGE.expand(3, 2, 1, 3, 3)}, "images"),  # of three networks
        ({"radii": []}, "radii"),
        ({"radii": 0.1}, "radii"),
        ({"radii": [0.1, 0]}, "radii"),
        ({"radii": [-0.1]}, "radii"),
        ({"radii": ["big"]}, "radii"),
        ({"radii": [float("nan")]}, "radii"),
        ({"radii": [8]}, "radii"),  # on the scale of 0 to 255, for pixels from 0 to 1
        ({"steps": 0}, "steps"),
        ({"step": 0.0}, "step"),
        ({"noise": -0.1}, "noise"),
        ({"restarts": 0}, "restarts"),
        ({"seed": -1}, "seed"),
    ],
)
def test_errors_name_the_argument_at_once(changed, argument):
    given = {"networks": NETWORKS, "images": IMAGE, "radii": [0.1]} | changed
    with pytest.raises(ArgumentError, match=rf"^{argument}: given"):
        critical.search(**given)
    if argument in ("images", "radii") and given["images"].ndim != 5:  # how many train, unknown
        given.pop("networks")
        with pytest.raises(ArgumentError, match=rf"^{argument}: given"):
            critical.probe(**given)
