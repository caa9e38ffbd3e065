"""Loss sensitivity is what retraining with a changed pixel gives, and Gini what its formula is."""

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toys import member, plain_sgd, relabelled, toy_cnn, toy_data, toy_mlp

from memhelpers import sensitivity as module
from memhelpers.corrupt import shuffle_pixels
from memhelpers.data import Part
from memhelpers.engine import curvature
from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.probes import Probe
from memhelpers.errors import ArgumentError
from memhelpers.networks import mlp
from memhelpers.sensitivity import (
    Sensitivity,
    loss_sensitivity,
    time_shares,
)
from memhelpers.training import fit
from tools import judging, notebooks


def of_chapter(slug: str, *names: str) -> list:
    """Functions of a chapter."""
    found = judging.definitions(notebooks.BOOK / f"{slug}.ipynb")
    return [found[name] for name in names]


inequality, by_example, gini = of_chapter("04-loss-sensitivity", "inequality", "by_example", "gini")
(class_table,) = of_chapter("05-per-class-loss-sensitivity", "class_table")
DATA = toy_data(n=10, shape=(1, 2, 2))
IMAGES = toy_data(n=10, shape=(1, 8, 8))
TIMES = [1, 2, 3, 5, 9]  # of 9 updates in 3 epochs: batches of 4, 4 and 2
SETTINGS = {"epochs": 3, "batch_size": 4, "learning_rate": 0.5}
ALL = {"norms": ["l1", "l2", "linf"], "derivatives": ["total", "direct"]}
NORMS = {
    "l1": lambda g: np.abs(g).sum(-1),
    "l2": lambda g: np.sqrt((g**2).sum(-1)),
    "linf": lambda g: np.abs(g).max(-1),
}
SEED = 11
PIXEL_STEP = 2.0**-15  # which float32 adds to a multiple of 1/256 without rounding


def computed(data=DATA, seeds=(SEED,), **settings):
    settings = SETTINGS | {"evaluations": TIMES, "precision": "fp64"} | settings
    return loss_sensitivity(toy_mlp(DATA), data, seeds=seeds, **settings)


def retrained(x: torch.Tensor) -> np.ndarray:
    """Loss of each example after each of TIMES, [t, n], when trained from scratch on images `x`."""
    losses = []

    def see(update, network):
        if update in TIMES:
            logits = network(x.double())
            each = torch.nn.functional.cross_entropy(logits, DATA.train.y, reduction="none")
            losses.append(each.detach().numpy())

    network = copy.deepcopy(toy_mlp(DATA)).double()
    initial = Ensemble.initialize(toy_mlp(DATA), [SEED], dtype=torch.float64)
    network.load_state_dict(member(initial, 0))
    plain_sgd(network, Part(x, DATA.train.y), BATCHES, see=see, learning_rate=0.5)
    return np.array(losses)


def trained_batches() -> list[torch.Tensor]:
    probes = {"it": Probe(lambda moment: moment.batch, updates="all")}
    history = fit(toy_mlp(DATA), DATA, seeds=[SEED], probes=probes, **SETTINGS)
    return [history.probes["it"].at(update)[0] for update in range(9)]


BATCHES = trained_batches()


@pytest.fixture(scope="module")
def differences() -> np.ndarray:
    """Central differences of each example's loss by each pixel: [t, loss of, image, pixel]."""
    found = np.empty((len(TIMES), 10, 10, 4))
    for image in range(10):
        for pixel in range(4):
            ends = []
            for step in (PIXEL_STEP, -PIXEL_STEP):
                x = DATA.train.x.clone()
                x[image].view(-1)[pixel] += step
                assert x[image].view(-1)[pixel] - DATA.train.x[image].view(-1)[pixel] == step
                ends.append(retrained(x))
            found[:, :, image, pixel] = (ends[0] - ends[1]) / (2 * PIXEL_STEP)
    return found


# --- The derivative


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # from within torch
@pytest.mark.parametrize("by_hand", [True, False])
def test_the_total_derivative_is_what_retraining_with_a_changed_pixel_gives(
    differences, by_hand, monkeypatch
):
    if not by_hand:
        monkeypatch.setattr(curvature, "is_plain_mlp", lambda network: False)
    expected = differences.mean(1)  # L_t is the average loss
    found = computed(**ALL)
    for name, norm in NORMS.items():
        np.testing.assert_allclose(
            found.at_times("total", name)[0], norm(expected), rtol=1e-5, atol=1e-9
        )


def test_the_derivative_of_a_classs_part_of_the_loss_is_what_retraining_gives(differences):
    found = computed(by_class=True).at_times("total", "l1")[0]  # [t, class, image]
    assert found.shape == (len(TIMES), 3, 10)
    for k in range(3):
        part = differences[:, DATA.train.y.numpy() == k].sum(1) / 10
        np.testing.assert_allclose(found[:, k], NORMS["l1"](part), rtol=1e-5, atol=1e-9)


def backward(times=TIMES, by_class=False) -> module._Backward:
    settings = SETTINGS | {"precision": "fp64", "seeds": [SEED], "updates": 9}
    return module._Backward(toy_mlp(DATA), [DATA], list(times), by_class, **settings)


def test_the_classes_parts_sum_to_the_whole():
    times, gradients = [2, 9], {}
    for by_class in (True, False):
        back = backward(times, by_class)
        for update in range(9, 0, -1):
            if update in times:
                back.start(update)
            back.step(update - 1)
        gradients[by_class] = back.gradients  # [m, n, times, parts, d]
    assert gradients[True].shape == (1, 10, 2, 3, 4)
    torch.testing.assert_close(gradients[True].sum(3), gradients[False][:, :, :, 0])


def test_the_direct_derivative_is_the_gradient_at_fixed_weights():
    found = computed(**ALL)
    back = backward()
    for place, time in enumerate(TIMES):
        network = toy_mlp(DATA).double()
        network.load_state_dict({k: v[0] for k, v in back.weights_at(time).items()})
        x = DATA.train.x.double().requires_grad_()
        loss = torch.nn.functional.cross_entropy(network(x), DATA.train.y)
        gradient = torch.autograd.grad(loss, x)[0].flatten(1).numpy()
        for name, norm in NORMS.items():
            np.testing.assert_allclose(found.at_times("direct", name)[0, place], norm(gradient))


@pytest.mark.parametrize("by_class", [False, True])
def test_the_indirect_derivative_is_the_total_less_the_gradient_at_fixed_weights(
    differences, by_class
):
    found = computed(by_class=by_class, derivatives=["indirect", "total"])
    of_part = np.eye(3)[:, DATA.train.y.numpy()] if by_class else np.ones((1, 10))
    for place, time in enumerate(TIMES):
        direct = backward([time]).start(time)[0, 0].numpy()
        for k, counts in enumerate(of_part):
            total = (differences[place] * counts[:, None, None]).sum(0) / 10
            expected = np.abs(total - direct * counts[:, None]).sum(-1)
            given = found.at_times("indirect", "l1")[0, place]
            np.testing.assert_allclose(given[k] if by_class else given, expected, 1e-4, 1e-9)


def test_total_and_direct_agree_for_images_that_took_no_part_yet_and_differ_for_the_others():
    found = computed(evaluations=[1], **ALL)
    total, direct = (found.at_times(which)[0, 0] for which in ("total", "direct"))
    took_part = np.isin(np.arange(10), BATCHES[0].numpy())
    np.testing.assert_allclose(total[~took_part], direct[~took_part])
    assert (np.abs(total - direct)[took_part] > 0.01 * direct[took_part]).all()


def test_loss_and_accuracy_at_the_times_are_those_of_the_networks():
    found, losses = computed(), retrained(DATA.train.x)
    np.testing.assert_allclose(found.train_loss[0], losses.mean(1))
    back = backward()
    for place, time in enumerate(TIMES):
        network = toy_mlp(DATA).double()
        network.load_state_dict({k: v[0] for k, v in back.weights_at(time).items()})
        hits = network(DATA.train.x.double()).argmax(1) == DATA.train.y
        assert found.train_accuracy[0, place] == pytest.approx(hits.double().mean().item())


def test_single_precision_gives_the_same_to_rounding():
    double, single = computed(**ALL), computed(precision="fp32", **ALL)
    assert single.at_times().dtype == np.float32
    for key, values in double.norms.items():
        np.testing.assert_allclose(single.norms[key], values, rtol=1e-3, atol=1e-5)


# --- Several networks at once


@pytest.mark.parametrize("portion_bytes", [1, 15_000, 2**30])
def test_several_networks_at_once_give_what_each_gives_alone(monkeypatch, portion_bytes):
    monkeypatch.setattr(module, "PORTION_BYTES", portion_bytes)
    datasets = [DATA, relabelled(DATA, 2), shuffle_pixels(DATA, per_image=True), DATA]
    seeds, steps = [3, 4, 3, 5], []
    together = computed(datasets, seeds, progress=lambda *step: steps.append(step), **ALL)
    portions = {1: 4, 15_000: 2, 2**30: 1}[portion_bytes]
    assert len(steps) == portions * max(TIMES)  # it moves with every update
    assert steps == sorted(set(steps))
    assert steps[-1] == (4, 4)
    for row, (seed, data) in enumerate(zip(seeds, datasets, strict=True)):
        single = computed(data, [seed], **ALL)
        for key, values in single.norms.items():
            np.testing.assert_allclose(together.norms[key][row], values[0])
        np.testing.assert_allclose(together.train_loss[row], single.train_loss[0])
        np.testing.assert_array_equal(together.labels[row], data.train.y)
    assert not np.allclose(together.at_times()[0], together.at_times()[2])


@pytest.mark.parametrize("portion_bytes", [1, 2**30])
def test_a_network_that_diverges_is_not_a_number_and_the_others_are_as_without_it(
    monkeypatch, portion_bytes
):
    monkeypatch.setattr(module, "PORTION_BYTES", portion_bytes)
    pixels = Part(DATA.train.x * 1e20, DATA.train.y)  # which no network survives
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = computed([DATA, DATA.replace(train=pixels)], [SEED, SEED], precision="fp32", **ALL)
    healthy = computed(precision="fp32", **ALL)
    for key, values in healthy.norms.items():
        np.testing.assert_allclose(found.norms[key][0], values[0], rtol=1e-4, atol=1e-6)
        assert np.isnan(found.norms[key][1, -1]).all()
    assert np.isnan(found.train_accuracy[1, -1])
    assert np.isnan(found.train_loss[1, -1])
    assert np.isnan(found.at_times()[1, -1]).all()


def test_as_many_classes_as_examples():
    data = DATA.replace(train=Part(DATA.train.x, torch.arange(10)), classes=tuple("abcdefghij"))
    network = mlp(data.shape, [5], data.n_classes)
    found = loss_sensitivity(network, data, seeds=[1], evaluations=2, **SETTINGS)
    assert found.at_times().shape == (1, 2, 10)
    assert (found.at_times() > 0).all()


# --- Times


def test_a_number_of_times_is_spread_evenly_in_the_logarithm():
    times = computed(evaluations=4, epochs=9).times
    assert times.tolist() == [1, 3, 9, 27]
    assert computed(evaluations=1).times.tolist() == [9]
    many = computed(evaluations=100)
    assert many.times.tolist() == list(range(1, 10))


def test_listed_times_are_sorted_and_need_not_reach_the_end():
    found, full = computed(evaluations=[5, 2, 5], **ALL), computed(**ALL)
    assert found.times.tolist() == [2, 5]
    for key, values in found.norms.items():
        np.testing.assert_allclose(values, full.norms[key][:, [1, 3]])


def test_over_training_is_the_mean_over_all_updates_where_all_are_evaluated():
    found = computed(evaluations=range(1, 10))
    np.testing.assert_allclose(found.over_training(), found.at_times().mean(1))
    by_class = computed(evaluations=range(1, 10), by_class=True)
    np.testing.assert_allclose(by_class.over_training(), by_class.at_times().mean(1))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(times=st.sets(st.integers(1, 60), min_size=1))
def test_each_time_stands_for_the_updates_nearest_to_it(times):
    times = sorted(times)
    shares = np.zeros(len(times))
    for update in range(1, times[-1] + 1):
        distance = np.abs(np.array(times) - update)
        nearest = distance == distance.min()
        shares[nearest] += 1 / nearest.sum() / times[-1]
    np.testing.assert_allclose(time_shares(times), shares)
    assert time_shares(times).sum() == pytest.approx(1)


# --- Gini and the matrix of classes

positive = arrays(np.float64, st.integers(1, 12), elements=st.floats(1e-3, 1e3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=positive)
def test_gini_is_the_mean_difference_over_twice_the_mean(values):
    total = sum(abs(a - b) for a in values for b in values)
    expected = total / (2 * len(values) ** 2 * values.mean())
    assert gini(values) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=positive, factor=st.floats(1e-6, 1e6), data=st.data())
def test_gini_has_no_scale_and_no_order_and_lies_below_1(values, factor, data):
    shuffled = data.draw(st.permutations(values.tolist()))
    assert gini(values * factor) == pytest.approx(gini(values), abs=1e-9)
    assert gini(np.array(shuffled)) == pytest.approx(gini(values), abs=1e-12)
    assert -1e-12 <= gini(values) <= 1 - 1 / len(values) + 1e-12


def test_gini_of_equal_values_is_0_and_of_a_single_holder_nearly_1():
    assert gini(np.full(7, 3.0)) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 5])) == pytest.approx(3 / 4)


def test_gini_works_along_the_last_axis():
    values = np.random.default_rng(0).random((3, 5, 4))
    np.testing.assert_allclose(gini(values), np.apply_along_axis(gini, -1, values))


def test_gini_of_zeros_or_of_what_is_not_a_number_is_not_a_number_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gini(np.array([[0.0, 0.0], [np.nan, 1.0], [1.0, 3.0]]))
    np.testing.assert_allclose(found, [np.nan, np.nan, 0.25])


def random_sensitivity(classes: int, absent: int | None = None) -> Sensitivity:
    """Two members, three times, twelve examples; perhaps a class without any."""
    draws = np.random.default_rng(3)
    labels = draws.integers(0, classes, (2, 12))
    labels[labels == absent] = (absent or 0) - 1
    norms = {("total", "l1"): draws.random((2, 3, classes, 12))}
    times = np.array([1, 4, 6])
    return Sensitivity(times, norms, np.ones((2, 3)), np.ones((2, 3)), labels, [0, 1])


def class_matrix(found: Sensitivity) -> np.ndarray:
    """The table by class as an array [member, i, j]."""
    table = class_table(found).set_index(["seed", "loss_of", "images_of"])["value"]
    return table.to_numpy().reshape(table.index.levshape)


@pytest.mark.parametrize("absent", [None, 2])
def test_the_class_matrix_is_a_mean_over_the_examples_of_a_class_and_over_training(absent):
    found = random_sensitivity(4, absent)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = class_matrix(found)
    assert matrix.shape == (2, 4, 4)
    # Of 6 updates 1 and 2 are nearest to 1; 3 and 4 to 4, and half of 5; the rest to 6.
    values, shares = found.at_times(), [2 / 6, 2.5 / 6, 1.5 / 6]
    for m in range(2):
        for i in range(4):
            for j in range(4):
                terms = [
                    sum(share * values[m, t, i, e] for t, share in enumerate(shares))
                    for e in range(12)
                    if found.labels[m, e] == j
                ]
                expected = sum(terms) / len(terms) if terms else np.nan
                np.testing.assert_allclose(matrix[m, i, j], expected)
                assert bool(terms) == (j != absent)


def test_a_class_that_has_no_example_keeps_its_place_in_every_portion_of_networks(monkeypatch):
    monkeypatch.setattr(module, "PORTION_BYTES", 1)
    y = DATA.train.y.clone()
    y[y == 2] = 0
    datasets = [DATA, DATA.replace(train=Part(DATA.train.x, y))]
    found = computed(datasets, [1, 1], by_class=True)
    assert found.at_times().shape == (2, len(TIMES), 3, 10)
    assert not found.at_times()[1, :, 2].any()


def test_the_diagonal_of_the_matrix_is_a_classs_own_part():
    found = computed(by_class=True)
    per_example = found.over_training()[0]
    own = per_example[1, DATA.train.y.numpy() == 1].mean()
    assert class_matrix(found)[0, 1, 1] == pytest.approx(own)


# --- Bad arguments


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"norms": ["l3"]}, "norms: given 'l3'.*'l1', 'l2', 'linf'"),
        ({"norms": "max"}, "norms: given 'max'"),
        ({"norms": []}, r"norms: given \[\]; .*'?l1, l2, linf"),
        ({"norms": None}, "norms: given None"),
        ({"derivatives": ()}, r"derivatives: given \(\)"),
        ({"by_class": "no"}, "by_class: given 'no'"),
        ({"progress": True}, "progress: given True"),
        ({"network": None}, "network: given None; allowed: a torch.nn.Module"),
        (
            {"data": (DATA.train.x, DATA.train.y)},
            "data: given Tensor of shape .*; allowed: one Dataset, as",
        ),
        ({"evaluations": 2.5}, "evaluations: given 2.5"),
        ({"evaluations": "all"}, "evaluations: given 'all'"),
        ({"derivatives": ["full"]}, "derivatives: given 'full'.*'total', 'direct', 'indirect'"),
        ({"epochs": 0}, "epochs: given 0"),
        ({"batch_size": 0}, "batch_size: given 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": [0.1]}, "learning_rate"),
        ({"evaluations": 0}, "evaluations: given 0"),
        ({"evaluations": []}, "evaluations"),
        ({"evaluations": [0, 3]}, "evaluations: given 0"),
        ({"evaluations": [3, 10]}, r"evaluations: given \[3, 10\].*1 to 9"),
        ({"evaluations": [2.5]}, "evaluations: given 2.5"),
        ({"precision": "bf16"}, "precision"),
        ({"seeds": []}, "seeds"),
        ({"init": "zeros"}, "init"),
        ({"data": [DATA, toy_data(n=11, shape=(1, 2, 2))], "seeds": [1, 2]}, "data.*examples"),
        ({"data": [DATA], "seeds": [1, 2]}, "data: given '1 items'"),
        ({"data": [DATA] * 3, "seeds": [1, 2]}, r"data: given '3 items'; .*one a seed \(2\)"),
        ({"network": toy_cnn(IMAGES), "data": IMAGES}, "network: given 'batch norm'"),
    ],
)
def test_what_is_not_allowed_is_refused_with_the_argument_named(wrong, said):
    allowed = {"network": toy_mlp(DATA), "data": DATA, "seeds": [1], **SETTINGS}
    with pytest.raises(ArgumentError, match=said):
        loss_sensitivity(**(allowed | wrong))


def test_what_was_not_computed_is_refused_with_what_was():
    found = computed()
    for derivative, norm in [("direct", "l1"), ("total", "l2")]:
        with pytest.raises(ArgumentError, match=r"allowed: \[\('total', 'l1'\)\]"):
            found.at_times(derivative, norm)


def test_the_table_of_inequality_has_a_row_for_each_measure_seed_and_time():
    found = computed(seeds=(3, 5), norms=("l1", "l2"), evaluations=TIMES)
    table = inequality(found, [("total", "l1"), ("total", "l2")])
    values = ["share", "gini", "mean", "accuracy"]
    assert list(table) == ["derivative", "norm", "seed", "update", *values]
    assert len(table) == 2 * 2 * len(TIMES)
    row = table.query("norm == 'l2' and seed == 5").iloc[1]
    assert row["update"] == TIMES[1]
    assert row["gini"] == gini(found.at_times("total", "l2"))[1, 1]
    assert row["mean"] == pytest.approx(found.at_times("total", "l2")[1, 1].mean())
    assert row["accuracy"] == found.train_accuracy[1, 1]
    np.testing.assert_allclose(table.groupby(["norm", "seed"])["share"].sum(), 1)


def test_the_table_by_example_holds_the_sensitivity_over_training():
    found = computed(seeds=(3, 5))
    table = by_example(found)
    matrix = table.pivot(index="seed", columns="example", values="sensitivity")
    np.testing.assert_array_equal(matrix, found.over_training())
    assert list(matrix.index) == [3, 5]


def test_the_table_by_class_holds_the_matrix_over_training_and_at_each_time():
    found = computed(seeds=(3, 5), by_class=True, evaluations=TIMES)
    row = class_table(found).query("seed == 5 and loss_of == 2 and images_of == 0")
    expected = found.over_training()[1, 2, found.labels[1] == 0].mean()
    assert row["value"].item() == pytest.approx(expected)
    at_times = class_table(found, at_times=True)
    rows = at_times.query("seed == 3 and loss_of == 1 and images_of == 1")
    assert list(rows["update"]) == list(TIMES)
    own = found.labels[0] == 1
    expected = found.at_times()[0, :, 1][:, own].mean(1)
    np.testing.assert_allclose(rows["value"], expected, rtol=1e-6)


def test_a_network_with_frozen_parameters_is_refused():
    network = toy_mlp(DATA)
    network[1].weight.requires_grad_(False)
    with pytest.raises(ArgumentError, match="network: given 'frozen parameters'"):
        loss_sensitivity(network, DATA, seeds=[0], epochs=1)
