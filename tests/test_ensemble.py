"""Many networks as one give what each gives alone, and none touches another."""

import copy

import pytest
import torch
from toys import member, toy_cnn, toy_data, toy_mlp

from memhelpers.engine import ensemble as ensembles
from memhelpers.engine.ensemble import Ensemble, predict
from memhelpers.networks import initialize
from memhelpers.seeding import generator

SEEDS = [3, 1, 4]
KINDS = [(toy_mlp, (2, 3, 3)), (toy_cnn, (1, 8, 8))]


def alone(network, ensemble, row):
    """The member at `row` as an ordinary module."""
    single = copy.deepcopy(network).to(next(iter(ensemble.parameters.values())).dtype)
    single.load_state_dict(member(ensemble, row))
    return single


@pytest.fixture(params=KINDS, ids=["mlp", "cnn"])
def network_and_images(request):
    build, shape = request.param
    data = toy_data(n=20, shape=shape)
    return build(data), data.train.x


def test_a_members_first_weights_depend_on_its_own_seed_alone(network_and_images):
    network, _ = network_and_images
    ensemble = Ensemble.initialize(network, SEEDS)
    for row, seed in enumerate(SEEDS):
        initialize(network, generator(seed, "init"), "glorot_uniform")
        for name, value in network.state_dict().items():
            assert torch.equal(member(ensemble, row)[name], value)
    weights = ensemble.flat_parameters()
    assert len(ensemble) == len(weights) == 3
    assert not torch.equal(weights[0], weights[1])


def test_logits_are_those_of_each_network_alone(network_and_images):
    network, x = network_and_images
    ensemble = Ensemble.initialize(network, SEEDS)
    own = torch.stack([x[:6], x[6:12], x[12:18]])
    for logits, inputs in [
        (ensemble(own), own),
        (ensemble(x, shared=True), x.expand(3, *x.shape)),
    ]:
        for row in range(3):
            expected = alone(network, ensemble, row).eval()(inputs[row])
            torch.testing.assert_close(logits[row], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("members", [1, 3])
def test_batch_norm_learns_the_statistics_of_each_network_from_its_own_batch(members):
    data = toy_data(n=20, shape=(1, 8, 8))
    network = toy_cnn(data)
    ensemble = Ensemble.initialize(network, SEEDS[:members])
    singles = [alone(network, ensemble, row).train() for row in range(members)]
    for first in (0, 3):
        batches = [data.train.x[first + row : first + row + 8] for row in range(members)]
        logits = ensemble(torch.stack(batches), training=True)
        for row, single in enumerate(singles):
            torch.testing.assert_close(logits[row], single(batches[row]), rtol=1e-4, atol=1e-5)
    for row, single in enumerate(singles):
        for name, value in single.named_buffers():
            torch.testing.assert_close(ensemble.buffers[name][row], value, rtol=1e-5, atol=1e-6)
        assert int(ensemble.buffers["1.num_batches_tracked"][row]) == 2


def test_a_look_in_evaluation_mode_changes_nothing():
    data = toy_data(n=20, shape=(1, 8, 8))
    ensemble = Ensemble.initialize(toy_cnn(data), SEEDS)
    before = [member(ensemble, row) for row in range(3)]
    predict(ensemble, data.train.x)
    for row in range(3):
        after = member(ensemble, row)
        assert all(torch.equal(value, after[name]) for name, value in before[row].items())


def test_a_network_that_is_not_finite_leaves_the_others_as_they_are(network_and_images):
    network, x = network_and_images
    ensemble = Ensemble.initialize(network, SEEDS)
    before = predict(ensemble, x)
    for value in ensemble.parameters.values():
        value.detach()[1] = torch.nan
    after = predict(ensemble, x)
    assert after[1].isnan().all()
    assert torch.equal(before[[0, 2]], after[[0, 2]])


def test_selected_members_are_copies(network_and_images):
    network, x = network_and_images
    ensemble = Ensemble.initialize(network, SEEDS)
    for keep in (torch.tensor([2, 0]), torch.tensor([True, False, True])):
        chosen = ensemble.select(keep)
        rows = keep.nonzero()[:, 0].tolist() if keep.dtype == torch.bool else keep.tolist()
        torch.testing.assert_close(predict(chosen, x), predict(ensemble, x)[rows])
        for value in chosen.parameters.values():
            value.detach().zero_()
        assert ensemble.flat_parameters()[rows].any(dim=1).all()


def test_stored_members_come_back(network_and_images):
    network, _ = network_and_images
    source = Ensemble.initialize(network, SEEDS)
    room = Ensemble.empty(network, 4)
    some = source.select(torch.tensor([0, 2]))
    room.store(torch.tensor([3, 1]), some.parameters | some.buffers)
    for row, place in ((0, 3), (2, 1)):
        for name, value in member(source, row).items():
            assert torch.equal(member(room, place)[name], value)


def test_flat_parameters_stand_in_the_order_of_the_template(network_and_images):
    network, _ = network_and_images
    ensemble = Ensemble.initialize(network, SEEDS)
    single = alone(network, ensemble, 1)
    expected = torch.nn.utils.parameters_to_vector(single.parameters())
    assert torch.equal(ensemble.flat_parameters()[1], expected)


def test_double_precision_keeps_the_same_first_weights():
    network = toy_mlp(toy_data())
    single, double = (
        Ensemble.initialize(network, [7], dtype=dtype) for dtype in (torch.float32, torch.float64)
    )
    assert double.flat_parameters().dtype == torch.float64
    assert torch.equal(double.flat_parameters().float(), single.flat_parameters())


def test_predictions_in_portions_are_those_in_one_pass(network_and_images, monkeypatch):
    network, x = network_and_images
    ensemble = Ensemble.initialize(network, SEEDS)
    whole, portions = predict(ensemble, x), []
    call = Ensemble.__call__

    def counted(self, images, **how):
        portions.append(len(images))
        return call(self, images, **how)

    monkeypatch.setattr(Ensemble, "__call__", counted)
    assert torch.equal(predict(ensemble, x), whole)
    assert portions == [20]
    alone = ensemble.select(torch.tensor([0]))
    assert alone.images_per_pass(x.shape[1:]) // 3 == ensemble.images_per_pass(x.shape[1:])
    at_once = ensembles._EVALUATED_NUMBERS // ensemble.images_per_pass(x.shape[1:])
    monkeypatch.setattr(ensembles, "_EVALUATED_NUMBERS", 8 * at_once + 1)
    torch.testing.assert_close(predict(ensemble, x), whole)
    assert portions[1:] == [8, 8, 4]
