"""Probes are called when they should be, see what they should, and readings find their members."""

import numpy as np
import pytest
import torch
from toys import relabelled, toy_cnn, toy_data, toy_mlp, weight_norm

from memhelpers.corrupt import random_inputs
from memhelpers.engine import ensemble as ensembles
from memhelpers.engine.ensemble import Ensemble, predict
from memhelpers.engine.probes import Probe, Readings, correct_on, parameters
from memhelpers.errors import ArgumentError
from memhelpers.training import fit

DATA = toy_data()
STEPS = 3  # updates an epoch: 22 examples by 8


def probed(probe, data=DATA, **settings):
    """The readings of one probe."""
    settings = {"seeds": [0, 1], "epochs": 2, "batch_size": 8, "learning_rate": 0.1} | settings
    network = toy_mlp(data if not isinstance(data, list) else data[0])
    return fit(network, data, probes={"it": probe}, **settings).probes["it"]


def times_seen(**when):
    """What a probe that is called then is told of the time."""
    seen = []

    def read(snapshot):
        seen.append(
            (
                snapshot.epoch,
                snapshot.update,
                None if snapshot.batch is None else snapshot.batch.shape,
            )
        )
        return torch.zeros(len(snapshot.members))

    readings = probed(Probe(read, **when))
    return seen, readings.times


def test_a_function_is_called_before_training_and_after_each_epoch():
    calls = []

    def read(snapshot):
        calls.append(snapshot.epoch)
        return snapshot.members

    readings = probed(read)
    assert calls == readings.times == [0, 1, 2]


def test_chosen_epochs_include_the_one_before_training():
    seen, times = times_seen(epochs=[0, 2])
    assert seen == [(0, 0, None), (2, 2 * STEPS, None)]
    assert times == [0, 2]


def test_chosen_updates_are_seen_before_they_are_made_with_their_batch():
    seen, times = times_seen(updates=[0, 2, 4])
    assert seen == [(None, 0, (2, 8)), (None, 2, (2, 6)), (None, 4, (2, 8))]
    assert times == [0, 2, 4]


def test_all_updates_are_those_of_all_epochs():
    _, times = times_seen(updates="all")
    assert times == list(range(2 * STEPS))


def test_before_training_the_weights_are_the_initial_ones():
    first = probed(parameters).at(0)
    expected = Ensemble.initialize(toy_mlp(DATA), [0, 1]).flat_parameters()
    assert torch.equal(first, expected)


def test_after_training_the_weights_are_the_final_ones():
    history = fit(toy_mlp(DATA), DATA, seeds=[0, 1], epochs=2, probes={"it": parameters})
    readings = history.probes["it"]
    assert torch.equal(readings.at(2), history.ensemble.flat_parameters())
    assert not torch.equal(readings.at(1), readings.at(2))


def test_the_weight_norm_is_that_of_all_parameters():
    history = fit(
        toy_mlp(DATA),
        DATA,
        seeds=[0, 1],
        epochs=1,
        probes={"norm": Probe(weight_norm, epochs=[1]), "all": Probe(parameters, epochs=[1])},
    )
    flat = history.probes["all"].at(1)
    torch.testing.assert_close(history.probes["norm"].at(1), (flat**2).sum(1).sqrt())


def test_correctness_on_chosen_examples_is_that_of_each_members_own_data():
    datasets = [DATA, relabelled(DATA, 1), random_inputs(DATA)]
    positions = torch.tensor([3, 0, 21, 7])
    settings = {"seeds": [0, 1, 2], "epochs": 3, "learning_rate": 0.2, "batch_size": 8}
    probes = {"it": correct_on(positions)}
    history = fit(toy_mlp(DATA), datasets, probes=probes, **settings)
    found = history.probes["it"].at(3)
    assert found.dtype == torch.bool
    for row, data in enumerate(datasets):
        logits = predict(history.ensemble, data.train.x[positions])[row]
        assert torch.equal(found[row], logits.argmax(1) == data.train.y[positions])


def test_logits_for_a_probe_may_come_in_portions(monkeypatch):
    data, settings = toy_data(shape=(1, 8, 8)), {"seeds": [0, 1], "epochs": 1}
    probes = {"it": lambda snapshot: snapshot.train_logits(torch.arange(22))[0]}
    whole = fit(toy_cnn(data), data, probes=probes, **settings).probes["it"].stacked()
    monkeypatch.setattr(ensembles, "_EVALUATED_NUMBERS", 1)
    portions = fit(toy_cnn(data), data, probes=probes, **settings).probes["it"].stacked()
    assert whole.shape == (2, 2, 22, 3)
    torch.testing.assert_close(whole, portions)


def test_a_probe_does_not_change_the_training():
    data, settings = toy_data(shape=(1, 8, 8)), {"seeds": [0, 1], "epochs": 2}
    probing = fit(toy_cnn(data), data, probes={"it": correct_on(torch.arange(5))}, **settings)
    plain = fit(toy_cnn(data), data, **settings)
    assert torch.equal(probing.ensemble.flat_parameters(), plain.ensemble.flat_parameters())
    for name, value in plain.ensemble.buffers.items():
        assert torch.equal(probing.ensemble.buffers[name], value)


def test_members_that_stopped_read_as_not_a_number_and_cost_no_call():
    sizes = []

    def read(snapshot):
        sizes.append(len(snapshot.members))
        return snapshot.members[:, None] + torch.tensor([0, 10])

    readings = probed(
        read, seeds=[0, 1, 2], epochs=4, learning_rate=[0.2, 0.0, 0.0], until=0.9, together=2
    )
    assert sizes == [2, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    assert readings.at(2).tolist() == [[0, 10], [1, 11], [2, 12]]
    last = readings.at(4)
    assert last[0].isnan().all()
    assert last[1:].tolist() == [[1, 11], [2, 12]]
    assert readings.stacked().shape == (5, 3, 2)


def test_readings_of_groups_of_different_sizes_come_in_the_order_of_the_members():
    subsets = [torch.arange(5), torch.arange(22), torch.arange(5)]
    readings = probed(lambda m: m.members, seeds=[7, 8, 9], subsets=subsets)
    assert readings.stacked().tolist() == [[0, 1, 2]] * 3
    by_update = probed(Probe(lambda m: m.members, updates="all"), seeds=[7, 8, 9], subsets=subsets)
    assert by_update.times == list(range(2 * STEPS))
    assert by_update.at(1).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(by_update.at(4), [np.nan, 1, np.nan])


def test_readings_keep_their_precision_and_kind():
    readings = Readings(2)
    readings.add(0, torch.tensor([1]), torch.tensor([1 / 3], dtype=torch.float64))
    assert readings.at(0).dtype == torch.float64
    assert readings.at(0)[1] == 1 / 3
    assert readings.at(0)[0].isnan()
    readings.add(1, torch.tensor([1, 0]), torch.tensor([True, False]))
    assert readings.at(1).tolist() == [False, True]


def test_readings_refuse_a_time_at_which_nothing_was_read():
    with pytest.raises(ArgumentError, match=r"time: given 1; allowed: one of \[0, 2\]"):
        probed(Probe(weight_norm, epochs=[0, 2])).at(1)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Probe("weight_norm"), "probe: given 'weight_norm'.*a function"),
        (lambda: Probe(parameters), "epochs or updates at which"),
        (lambda: Probe(parameters, epochs="every"), "epochs: given 'every'.*'all'"),
        (lambda: Probe(parameters, updates=3), r"updates: given 3.*\[0, 1\]"),
        (lambda: Probe(parameters, epochs=[1], updates=[1]), "updates.*two probes"),
        (lambda: probed("loss"), "probe: given 'loss'"),
        (lambda: probed(Probe(parameters, epochs=[1, 3])), r"probes\['it'\].epochs: given \[3\]"),
        (lambda: probed(Probe(parameters, epochs=[-1])), "of at least 0"),
        (lambda: probed(Probe(parameters, updates=[6])), r"updates: given \[6\].*0 to 5"),
        (lambda: probed(lambda m: torch.zeros(3)), r"probe: given \(3,\).*\[2, \.\.\.\]"),
        (lambda: probed(lambda m: 0.5), r"probe: given \(\)"),
    ],
)
def test_what_is_no_probe_or_time_is_refused(build, said):
    with pytest.raises(ArgumentError, match=said):
        build()
