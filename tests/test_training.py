"""The one loop: an ensemble is its single runs, each of them plain SGD, and faults stay local."""

import copy
import linecache
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from toys import (
    assert_same_runs,
    member,
    plain_sgd,
    relabelled,
    toy_cnn,
    toy_data,
    toy_mlp,
    weight_norm,
)

from memhelpers.corrupt import random_inputs, random_labels
from memhelpers.data import Dataset, Part
from memhelpers.engine import loop
from memhelpers.engine.ensemble import Ensemble, predict
from memhelpers.engine.perturbations import strengths_by_kind
from memhelpers.engine.trajectories import Trajectories
from memhelpers.errors import ArgumentError
from memhelpers.training import (
    PRECISIONS,
    Probe,
    dropout,
    fit,
    gaussian_noise,
    halve_every,
    parameters,
)

ALL_KINDS = ("loss", "correct", "margin")
DATA = toy_data()
IMAGES = toy_data(n=20, shape=(1, 8, 8))
BASIC = {"epochs": 3, "batch_size": 8, "learning_rate": 0.2}
NOISY = {"momentum": 0.9, "weight_decay": 0.01, "schedule": halve_every(2)}
EVERY_STEP = {
    "weights": Probe(parameters, updates="all"),
    "batches": Probe(lambda snapshot: snapshot.batch, updates="all"),
}


def network_for(data: Dataset) -> torch.nn.Module:
    return toy_cnn(data) if data.shape[1] >= 8 else toy_mlp(data)


def full(data=DATA, **settings):
    """A fit of toy networks that keeps everything."""
    first = data if isinstance(data, Dataset) else data[0]
    settings = BASIC | {"record": ALL_KINDS, "evaluate": ("validation", "test")} | settings
    return fit(network_for(first), data, **settings)


def of_member(history, row):
    """The rows of one member in the table of epochs."""
    return history.epochs[history.epochs["member"] == row].reset_index(drop=True)


# --- An ensemble is its single runs


@pytest.mark.parametrize(
    ("data", "precision", "tolerance"),
    # Batch norm over few images enlarges differences of rounding, so that it is also done in fp64.
    [(DATA, "fp32", 1e-5), (IMAGES, "fp32", 2e-3), (IMAGES, "fp64", 1e-9)],
    ids=["mlp", "cnn", "cnn fp64"],
)
@pytest.mark.parametrize("extra", [{}, NOISY], ids=["plain", "momentum and decay"])
def test_an_ensemble_gives_what_single_runs_give(data, precision, tolerance, extra):
    seeds, extra = [4, 0, 9], {"precision": precision, **extra}
    together = full(data, seeds=seeds, **extra)
    for row, seed in enumerate(seeds):
        assert_same_runs(together, full(data, seeds=[seed], **extra), [row], [0], tolerance)


@pytest.mark.parametrize("together", [1, 2, 4])
def test_the_result_does_not_depend_on_how_members_are_grouped(together):
    whole, grouped = (full(seeds=range(5), together=t, **NOISY) for t in (5, together))
    assert_same_runs(whole, grouped, range(5), range(5))
    assert whole.members.drop(columns="train_accuracy").equals(
        grouped.members.drop(columns="train_accuracy")
    )


def test_the_result_does_not_depend_on_the_order_of_the_seeds():
    forward, backward = full(seeds=[1, 2, 3]), full(seeds=[3, 2, 1])
    assert_same_runs(forward, backward, [0, 1, 2], [2, 1, 0])
    assert backward.members["seed"].tolist() == [3, 2, 1]


def test_each_member_has_its_own_rate_momentum_and_decay():
    own = {
        "learning_rate": [0.3, 0.05, 0.1],
        "momentum": [0.0, 0.9, 0.5],
        "weight_decay": [0.1, 0.0, 0.01],
    }
    together = full(seeds=[2, 2, 5], **own)
    for row, seed in enumerate([2, 2, 5]):
        single = {name: values[row] for name, values in own.items()}
        assert_same_runs(together, full(seeds=[seed], **single), [row], [0])
    for name, values in own.items():
        assert together.members[name].tolist() == values
    weights = together.ensemble.flat_parameters()
    assert not torch.allclose(weights[0], weights[1])


def test_each_member_has_its_own_labels_and_inputs():
    datasets = [DATA, relabelled(DATA, 1), random_inputs(DATA), DATA, random_labels(DATA, seed=3)]
    together = full(datasets, seeds=[0] * 5)
    for row, data in enumerate(datasets):
        assert_same_runs(together, full(data, seeds=[0]), [row], [0])
    final = together.epochs.groupby("member")["train_loss"].last()
    assert final[0] == pytest.approx(final[3], rel=1e-5)
    assert len(set(final.round(4))) == 4


def test_each_member_has_its_own_subset_also_of_another_size():
    subsets = [torch.arange(6), torch.tensor([20, 3, 7, 1, 9, 13, 2, 0, 5, 8]), torch.arange(6) + 9]
    together = full(seeds=[5, 6, 7], subsets=subsets)
    for row, (seed, subset) in enumerate(zip([5, 6, 7], subsets, strict=True)):
        assert_same_runs(together, full(seeds=[seed], subsets=[subset]), [row], [0])
        part = DATA.train.take(subset)
        taken = full(DATA.replace(train=part, replaced=None, changed=None), seeds=[seed])
        columns = ["epoch", "train_loss", "train_accuracy", "test_loss"]
        rows = of_member(together, row)
        np.testing.assert_allclose(rows[columns], taken.epochs[columns], rtol=1e-5, atol=1e-6)
        seen = ~np.isnan(together.trajectories.loss[row])
        assert (seen.any(0) == np.isin(np.arange(22), subset)).all()
    assert together.members["updates"].tolist() == [3, 6, 3]


def test_datasets_of_different_sizes_train_side_by_side():
    datasets = [DATA, toy_data(n=13)]
    together = full(datasets, seeds=[1, 1])
    assert_same_runs(together, full(DATA, seeds=[1]), [0], [0])
    single = full(datasets[1], seeds=[1])
    assert np.isnan(together.trajectories.loss[1, :, 13:]).all()
    np.testing.assert_allclose(
        together.trajectories.loss[1, :, :13], single.trajectories.loss[0], rtol=1e-5, atol=1e-6
    )


def test_datasets_of_different_sizes_may_have_subsets_of_one_size():
    datasets, subsets = [DATA, toy_data(n=13)], [torch.arange(6) + 16, torch.arange(6)]
    together = full(datasets, seeds=[1, 2], subsets=subsets)
    for row in range(2):
        single = full(datasets[row], seeds=[row + 1], subsets=[subsets[row]])
        losses = of_member(together, row)["train_loss"], single.epochs["train_loss"]
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_mask_chooses_the_same_examples_as_their_positions():
    mask = torch.arange(22) % 3 == 0
    masked = full(seeds=[3], subsets=[mask])
    assert_same_runs(masked, full(seeds=[3], subsets=[mask.nonzero()[:, 0]]), [0], [0], 0)


def test_the_same_seed_twice_gives_the_same_member_and_the_same_bits():
    first, second = (full(seeds=[8, 8], **NOISY) for _ in range(2))
    assert_same_runs(first, second, [0, 1], [0, 1], 0)
    assert_same_runs(first, first, [0], [1])
    assert first.members["seed"].tolist() == [8, 8]


# --- A single run is plain SGD


@pytest.mark.parametrize(
    ("data", "precision", "tolerance"),
    [(DATA, "fp64", 1e-10), (IMAGES, "fp64", 1e-8), (DATA, "fp32", 1e-5)],
    ids=["mlp fp64", "cnn fp64", "mlp fp32"],
)
def test_training_is_stochastic_gradient_descent_as_pytorch_does_it(data, precision, tolerance):
    settings = {"learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.02}
    history = full(
        data,
        seeds=[1, 2],
        schedule=halve_every(2),
        probes=EVERY_STEP,
        precision=precision,
        **settings,
    )
    dtype = PRECISIONS[precision]
    initial = Ensemble.initialize(network_for(data), [1, 2], dtype=dtype)
    batches = history.probes["batches"]
    for row in range(2):
        network = copy.deepcopy(network_for(data)).to(dtype)
        network.load_state_dict(member(initial, row))
        plain_sgd(
            network,
            data.train,
            [batches.at(update)[row] for update in batches.times],
            factors=[1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5],
            **settings,
        )
        close = {"rtol": tolerance, "atol": tolerance}
        torch.testing.assert_close(member(history.ensemble, row), network.state_dict(), **close)


def test_frozen_parameters_keep_their_first_values_and_the_others_train():
    network = toy_mlp(DATA)
    network[1].weight.requires_grad_(False)
    history = fit(network, DATA, seeds=[1, 2], **BASIC)
    first = Ensemble.initialize(network, [1, 2])
    for row in range(2):
        before, after = member(first, row), member(history.ensemble, row)
        same = {name for name in before if torch.equal(before[name], after[name])}
        assert same == {"1.weight"}


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 22),
    batch_size=st.integers(1, 30),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3),
)
def test_every_epoch_visits_every_example_once_in_an_order_of_its_own(size, batch_size, seeds):
    subset = torch.randperm(22, generator=torch.Generator().manual_seed(size))[:size]
    history = fit(
        toy_mlp(DATA),
        DATA,
        seeds=seeds,
        epochs=2,
        batch_size=batch_size,
        subsets=[subset] * len(seeds),
        evaluate=(),
        probes={"batches": EVERY_STEP["batches"]},
    )
    read = history.probes["batches"]
    steps = -(-size // batch_size)
    assert read.times == list(range(2 * steps))
    for row in range(len(seeds)):
        orders = []
        for epoch in range(2):
            order = [read.at(t)[row] for t in range(epoch * steps, (epoch + 1) * steps)]
            assert all(len(batch) == batch_size for batch in order[:-1])
            orders.append(torch.cat(order))
            assert torch.equal(orders[-1].sort().values, subset.sort().values)
        assert size < 8 or not torch.equal(*orders)


def test_members_go_through_the_data_in_different_orders():
    history = full(seeds=[1, 2], probes=EVERY_STEP)
    batch = history.probes["batches"].at(0)
    assert not torch.equal(batch[0], batch[1])


def test_the_schedule_scales_the_rate_by_the_epoch_counted_from_0():
    asked = []

    def only_the_second(epoch):
        asked.append(epoch)
        return float(epoch == 1)

    probe = {"weights": Probe(parameters, epochs="all")}
    weights = full(seeds=[0], schedule=only_the_second, probes=probe).probes["weights"].stacked()
    assert sorted(set(asked)) == [0, 1, 2]
    moved = [not torch.equal(weights[t], weights[t + 1]) for t in range(3)]
    assert moved == [False, True, False]


def test_halving_every_15_epochs_begins_with_the_sixteenth():
    factor = halve_every(15)
    assert [factor(e) for e in (0, 14, 15, 29, 30, 45)] == [1, 1, 0.5, 0.5, 0.25, 0.125]
    with pytest.raises(ArgumentError, match="epochs"):
        halve_every(0)


@pytest.mark.parametrize("data", [DATA, IMAGES], ids=["mlp", "cnn"])
def test_products_in_bf16_stay_near_fp32_and_weights_stay_fp32(data):
    gentle = {"learning_rate": 0.005, "batch_size": 10}
    single, half = (full(data, seeds=[0, 1], precision=p, **gentle) for p in ("fp32", "bf16"))
    assert half.ensemble.flat_parameters().dtype == torch.float32
    assert half.trajectories.loss.dtype == np.float32
    assert np.isfinite(half.trajectories.margin).all()
    difference = np.abs(half.epochs["train_loss"] - single.epochs["train_loss"])
    assert 0 < difference.mean() < 0.05
    alone = full(data, seeds=[1], precision="bf16", **gentle)
    apart = of_member(half, 1)["train_loss"] - of_member(alone, 0)["train_loss"]
    assert np.abs(apart).mean() < 0.05


def test_double_precision_is_used_throughout():
    double, single = full(seeds=[0], precision="fp64"), full(seeds=[0])
    assert double.ensemble.flat_parameters().dtype == torch.float64
    assert double.epochs["train_loss"].dtype == np.float64
    np.testing.assert_allclose(double.epochs["train_loss"], single.epochs["train_loss"], rtol=1e-4)


# --- Members that stop


def images_passed(monkeypatch) -> list[int]:
    """The number of images of each update, of all members together."""
    passed = []
    forward_backward = loop.Pass.forward_backward

    def counted(self, batch):
        passed.append(batch.numel())
        return forward_backward(self, batch)

    monkeypatch.setattr(loop.Pass, "forward_backward", counted)
    return passed


def test_a_member_that_fits_stops_and_costs_nothing_more(monkeypatch):
    rates = [0.2, 0.0, 0.0, 0.2]  # at rate 0 a member never fits
    settings = {"seeds": range(4), "learning_rate": rates, "epochs": 12}
    without = full(**settings)
    passed = images_passed(monkeypatch)
    history = full(until=0.9, **settings)

    epochs = history.members["epochs"].tolist()
    assert epochs[1] == epochs[2] == 12
    assert 1 < epochs[0] < epochs[3] < 12
    assert history.members["ended"].tolist() == ["fitted", "epochs", "epochs", "fitted"]
    assert history.members["updates"].tolist() == [3 * e for e in epochs]
    assert sum(passed) == 22 * sum(epochs)
    for row, stopped in enumerate(epochs):
        rows, others = of_member(history, row), of_member(without, row)
        assert rows["epoch"].tolist() == list(range(1, stopped + 1))
        np.testing.assert_allclose(rows, others[:stopped], rtol=1e-4, atol=1e-5)
        for kind in ALL_KINDS:
            page, whole = (getattr(h.trajectories, kind)[row] for h in (history, without))
            np.testing.assert_allclose(page[:stopped], whole[:stopped], rtol=1e-4, atol=1e-5)
            unseen = page[stopped:]
            assert (unseen == -1).all() if kind == "correct" else np.isnan(unseen).all()
    for row in (0, 3):
        accuracy = of_member(history, row)["train_accuracy"]
        assert (accuracy[:-1] < 0.9).all()
        assert accuracy.iloc[-1] == history.members["train_accuracy"][row] >= 0.9


def test_a_member_that_stops_keeps_the_weights_that_it_had():
    rates = [0.2, 0.0, 0.3]
    history = full(seeds=range(3), learning_rate=rates, epochs=8, until=0.9, together=2)
    assert history.members["ended"].tolist() == ["fitted", "epochs", "fitted"]
    for row, epochs in enumerate(history.members["epochs"]):
        single = full(seeds=[row], learning_rate=rates[row], epochs=int(epochs))
        close = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(
            member(history.ensemble, row), member(single.ensemble, 0), **close
        )


def test_an_accuracy_of_0_stops_after_one_epoch_and_none_never_stops():
    assert full(seeds=[0, 1], until=0.0).members["epochs"].tolist() == [1, 1]
    kept_on = full(seeds=[0], epochs=20)
    assert kept_on.epochs["train_accuracy"].max() == 1
    assert kept_on.members.loc[0, ["epochs", "ended"]].tolist() == [20, "epochs"]


def test_an_accuracy_of_1_is_reached_when_all_examples_are_right():
    history = full(seeds=[0], epochs=20, until=1.0)
    assert history.members["ended"][0] == "fitted"
    last = history.members["epochs"][0] - 1
    assert history.trajectories.correct[0, last].all()


@pytest.mark.parametrize("data", [DATA, IMAGES], ids=["mlp", "cnn"])
def test_a_member_that_diverges_is_marked_and_the_others_never_know(data):
    rates = [0.2, 1e30, 0.1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = full(data, seeds=range(3), learning_rate=rates, momentum=0.5)
    healthy = full(data, seeds=[0, 2], learning_rate=[0.2, 0.1], momentum=0.5)
    assert_same_runs(history, healthy, [0, 2], [0, 1], 2e-3)
    assert history.members["ended"].tolist() == ["epochs", "diverged", "epochs"]
    assert history.members["epochs"][1] < 3
    assert not member(history.ensemble, 1)["1.weight"].isfinite().all()


def test_weights_that_leave_the_numbers_in_the_last_update_count_as_diverged():
    history = full(seeds=[0, 1], learning_rate=[1e39, 0.1], epochs=1, batch_size=30)
    assert np.isfinite(history.epochs["train_loss"]).all()
    assert history.members["ended"].tolist() == ["diverged", "epochs"]


def test_a_member_that_diverges_has_not_fitted():
    history = full(seeds=[0], learning_rate=1e30, until=0.0)
    assert history.members["ended"].tolist() == ["diverged"]


def test_images_are_rounded_to_bf16_once_a_pass(monkeypatch):
    rounded, bfloat16 = [], torch.Tensor.bfloat16

    def counted(self):
        rounded.append(self.shape)
        return bfloat16(self)

    monkeypatch.setattr(torch.Tensor, "bfloat16", counted)
    full(seeds=range(5), precision="bf16", together=5)
    assert rounded == [(1, *DATA.train.x.shape)]


# --- Too little memory


def memory_for(monkeypatch, members, error=None):
    """Make passes of more than `members` networks fail, as they do when memory is short."""
    forward_backward = loop.Pass.forward_backward

    def limited(self, batch):
        if len(batch) > members:
            raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward_backward(self, batch)

    monkeypatch.setattr(loop.Pass, "forward_backward", limited)


@pytest.mark.parametrize(
    "error",
    [
        None,
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["gpu", "python", "cpu", "cublas"],
)
def test_when_memory_runs_out_the_ensemble_is_split_and_goes_on_and_says_so(monkeypatch, error):
    expected, seen = full(seeds=range(7)), []
    memory_for(monkeypatch, 2, error)
    with pytest.warns(RuntimeWarning) as said:
        history = full(seeds=range(7), together=7, progress=lambda *step: seen.append(step))
    assert [str(w.message) for w in said] == [
        "memory ran out with 7 networks together; going on with 3",
        "memory ran out with 3 networks together; going on with 1",
    ]
    assert {linecache.getline(w.filename, w.lineno).strip() for w in said} == {
        "return fit(network_for(first), data, **settings)"  # the caller of `fit`
    }
    assert_same_runs(history, expected, range(7), range(7))
    assert seen[-1] == (21, 21)


def test_memory_that_runs_out_in_the_midst_of_training_leaves_no_trace(monkeypatch):
    settings = {"seeds": range(4), "until": 0.9, "learning_rate": [0.2, 0.0, 0.3, 0.1]}
    expected, seen, calls = full(**settings), [], []
    assert set(expected.members["ended"]) == {"fitted", "epochs"}
    forward_backward = loop.Pass.forward_backward

    def fails_once(self, batch):
        calls.append(len(batch))
        if len(calls) == 6:  # in the second epoch
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward_backward(self, batch)

    monkeypatch.setattr(loop.Pass, "forward_backward", fails_once)
    probes = {"batches": Probe(lambda m: m.batch, updates=[0, 1]), "norm": weight_norm}
    with pytest.warns(RuntimeWarning, match="4 networks together; going on with 2"):
        history = full(
            **settings, together=4, progress=lambda *step: seen.append(step), probes=probes
        )
    assert_same_runs(history, expected, range(4), range(4))
    assert history.members["ended"].equals(expected.members["ended"])
    assert history.probes["norm"].at(0).shape == (4,)
    assert history.probes["batches"].at(1).shape == (4, 8)
    done = [step[0] for step in seen]
    assert done[-1] == 12
    assert max(done) == 12


def test_when_not_even_one_network_fits_the_error_says_so(monkeypatch):
    memory_for(monkeypatch, 0)
    with pytest.raises(MemoryError, match=r"not even one network fits.*batch_size"):
        full(seeds=[1])


def test_other_errors_are_no_lack_of_memory(monkeypatch):
    memory_for(monkeypatch, 0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="multiplied"):
        full(seeds=[1, 2])


# --- What is written down


@pytest.mark.parametrize("data", [DATA, IMAGES], ids=["mlp", "cnn"])
def test_trajectories_are_what_the_pass_before_each_update_gives(data):
    history = full(data, seeds=[1, 2], probes=EVERY_STEP, momentum=0.5, precision="fp64")
    weights, batches = history.probes["weights"], history.probes["batches"]
    steps = len(batches.times) // 3
    for row in range(2):
        losses = []
        for update in batches.times:
            network = network_for(data).double().train()
            torch.nn.utils.vector_to_parameters(weights.at(update)[row], network.parameters())
            batch = batches.at(update)[row]
            y = data.train.y[batch]
            logits = network(data.train.x[batch].double()).detach()
            own = logits[torch.arange(len(y)), y]
            best_other = torch.stack(
                [torch.cat([z[:k], z[k + 1 :]]).max() for z, k in zip(logits, y, strict=True)]
            )
            expected = {
                "loss": cross_entropy(logits, y, reduction="none"),
                "correct": (logits.argmax(1) == y).to(torch.int8),
                "margin": own - best_other,
            }
            for kind, values in expected.items():
                page = getattr(history.trajectories, kind)[row, update // steps]
                np.testing.assert_allclose(page[batch], values, rtol=1e-5, atol=1e-6)
            losses += expected["loss"].tolist()
        per_epoch = np.reshape(losses, (3, -1)).mean(1)
        np.testing.assert_allclose(of_member(history, row)["train_loss"], per_epoch, rtol=1e-10)
    accuracy = history.trajectories.correct.mean(2).reshape(-1)
    np.testing.assert_allclose(history.epochs["train_accuracy"], accuracy, rtol=1e-6)


def test_only_what_is_asked_for_is_recorded():
    history = full(seeds=[0], record="margin", evaluate="test", keep_networks=False)
    assert list(history.trajectories.arrays) == ["margin"]
    assert history.ensemble is None
    assert "test_loss" in history.epochs
    assert "validation_loss" not in history.epochs


@pytest.mark.parametrize("data", [DATA, IMAGES], ids=["mlp", "cnn"])
def test_parts_are_evaluated_with_the_weights_after_the_epoch(data):
    history = full(data, seeds=[0, 1], momentum=0.9)
    for name in ("validation", "test"):
        part = getattr(data, name)
        for row in range(2):
            network = network_for(data)
            network.load_state_dict(member(history.ensemble, row))
            logits = network.eval()(part.x).detach()
            last = of_member(history, row).iloc[-1]
            assert last[f"{name}_loss"] == pytest.approx(
                float(cross_entropy(logits, part.y)), rel=1e-5
            )
            hits = (logits.argmax(1) == part.y).float().mean()
            assert last[f"{name}_accuracy"] == pytest.approx(float(hits))


def test_clean_parts_stay_clean_when_training_labels_are_noise():
    history = full([DATA, random_labels(DATA, seed=1)], seeds=[0, 0], epochs=1, learning_rate=0)
    assert history.epochs["validation_loss"].nunique() == 1
    assert history.epochs["train_loss"].nunique() == 2


def test_members_are_evaluated_on_their_own_labels_of_the_same_images():
    part = DATA.validation
    other = DATA.replace(validation=Part(part.x, (part.y + 1) % 3))
    history = full([DATA, other, DATA], seeds=[0, 0, 0])
    rows = [of_member(history, row)["validation_loss"].to_numpy() for row in range(3)]
    np.testing.assert_allclose(rows[0], rows[2])
    single = of_member(full(other, seeds=[0]), 0)["validation_loss"]
    np.testing.assert_allclose(rows[1], single, rtol=1e-5)
    assert abs(rows[0] - rows[1]).max() > 0.01


def test_an_empty_part_is_evaluated_to_not_a_number():
    empty = Part(DATA.validation.x[:0], DATA.validation.y[:0])
    history = full([DATA.replace(validation=empty), DATA], seeds=[0, 0])
    assert of_member(history, 0)["validation_loss"].isna().all()
    assert of_member(history, 0)["validation_accuracy"].isna().all()
    assert of_member(history, 1)["validation_loss"].notna().all()
    assert history.epochs["test_loss"].notna().all()


def test_the_kept_networks_stand_in_the_order_of_the_members():
    datasets = [DATA, toy_data(n=13), DATA, toy_data(n=13), DATA]
    settings = {"learning_rate": [0.2, 0.0, 0.1, 0.2, 0.3], "until": 0.9, "epochs": 6}
    history = full(datasets, seeds=range(5), together=2, **settings)
    assert len(set(history.members["epochs"])) > 1
    last = history.epochs.groupby("member").tail(1)
    assert last["member"].tolist() == history.members["member"].tolist() == list(range(5))
    for row, data in enumerate(datasets):
        logits = predict(history.ensemble, data.test.x)[row]
        loss = float(cross_entropy(logits, data.test.y))
        assert last["test_loss"].iloc[row] == pytest.approx(loss, rel=1e-5)


def test_progress_rises_to_the_total_also_when_members_stop_early():
    seen = []
    full(
        seeds=range(3),
        epochs=12,
        until=0.9,
        learning_rate=[0.2, 0.0, 0.0],
        progress=lambda *step: seen.append(step),
    )
    done = [step[0] for step in seen]
    assert {step[1] for step in seen} == {36}
    assert done == sorted(set(done))
    assert done[-1] == 36


# --- Bad arguments


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": 5}, "seeds.*range"),
        ({"seeds": [-1]}, "seeds.*-1"),
        ({"seeds": [0.5]}, "seeds"),
        ({"epochs": 0}, "epochs: given 0"),
        ({"epochs": 2.5}, "epochs"),
        ({"until": 1.5}, "until"),
        ({"batch_size": 0}, "batch_size"),
        ({"together": 0}, "together"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": "0.1"}, "learning_rate"),
        ({"learning_rate": [0.1]}, "learning_rate: given '1 items'.*one a seed"),
        ({"momentum": float("nan")}, "momentum"),
        ({"weight_decay": [0, 0, 0]}, "weight_decay"),
        ({"init": "zeros"}, "init.*glorot_uniform"),
        ({"evaluate": ["train"]}, "evaluate: given 'train'"),
        ({"record": "los"}, "record: given 'los'.*margin"),
        ({"precision": "fp16"}, "precision.*bf16"),
        ({"probes": {"mine": "weight_norm"}}, "probe.*function"),
        ({"subsets": [torch.arange(3)]}, "subsets"),
        ({"subsets": torch.tensor([0, 22])}, "subsets.*0 to 21"),
        ({"subsets": torch.tensor([-1, 3])}, "subsets"),
        ({"subsets": torch.tensor([3, 3])}, "subsets.*different"),
        ({"subsets": torch.tensor([], dtype=torch.int64)}, "subsets.*at least one"),
        ({"subsets": torch.zeros(22, dtype=torch.bool)}, "subsets.*at least one"),
        ({"subsets": torch.ones(21, dtype=torch.bool)}, "subsets"),
        ({"subsets": torch.tensor([0.0, 1.0])}, "subsets"),
        ({"data": [DATA]}, "data: given '1 items'"),
        ({"data": [DATA, None]}, "data: given None.*Dataset"),
        ({"data": [DATA, toy_data(shape=(1, 4, 4))]}, "data.*shape"),
        ({"data": [DATA, toy_data(classes=4)]}, "data.*n_classes"),
        ({"data": toy_data(n=0)}, "data: given 'no training example'"),
        ({"data": toy_data(classes=4)}, "network.*3 logits.*4"),
        ({"data": toy_data(shape=(1, 4, 4))}, r"network.*\(1, 4, 4\)"),
        ({"network": toy_cnn(IMAGES), "data": IMAGES, "batch_size": 19}, "batch_size.*20 examples"),
        ({"network": toy_cnn(IMAGES), "data": IMAGES, "batch_size": 1}, "batch_size: given 1"),
        ({"network": toy_mlp(DATA).to("meta")}, "network.*meta.*CPU"),
    ],
)
def test_what_is_not_allowed_is_refused_with_the_argument_named(wrong, said):
    allowed = {"network": toy_mlp(DATA), "data": DATA, "seeds": [0, 1], "epochs": 1}
    with pytest.raises(ArgumentError, match=said):
        fit(**(allowed | wrong))


def test_a_single_example_may_be_a_batch_where_there_is_no_batch_norm():
    assert full(seeds=[0], batch_size=21).members["updates"][0] == 6


def test_networks_may_have_more_logits_than_the_data_has_classes():
    wide = toy_mlp(toy_data(classes=5))
    assert len(fit(wide, DATA, seeds=[0], epochs=1).epochs) == 1


# --- On a GPU


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("data", [DATA, IMAGES], ids=["mlp", "cnn"])
def test_an_update_stays_on_the_device_and_waits_for_nothing(monkeypatch, data, members):
    """Fake tensors know their device and refuse whatever would need a value from it."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    # There is no engine without a GPU; what the update does with gradients is what counts here.
    monkeypatch.setattr(
        torch.autograd, "grad", lambda _, ws, *rest, **how: [torch.zeros_like(w) for w in ws]
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        away = Part(
            torch.zeros(20, *data.shape, device="cuda"),
            torch.zeros(20, dtype=torch.int64, device="cuda"),
        )
        names = data.classes
        datasets = [Dataset("away", away, away, away, names, "")] * (members - 1)
        datasets.append(Dataset("other", replace(away), away, away, names, ""))
        parts, each = [dataset.train for dataset in datasets], [0.1] * members
        settings = loop.Settings(
            network=network_for(data),
            seeds=list(range(members)),
            train=parts,
            visited=[torch.arange(20)] * members,
            evaluate={},
            epochs=2,
            until=0.9,
            batch_size=4,
            hyperparameters=dict.fromkeys(("learning_rate", "momentum", "weight_decay"), each),
            factors=[1.0, 0.5],
            init="glorot_uniform",
            perturb=strengths_by_kind(
                [dropout(0.5) + gaussian_noise(1, "input")] * members, network_for(data)
            ),
            probes={},
            precision="fp32",
            trajectories=Trajectories.empty(ALL_KINDS, members, 2, 20),
            networks=Ensemble.empty(network_for(data), members, "cuda"),
            progress=lambda done, total: None,
        )
        monkeypatch.setattr(copy, "deepcopy", lambda network: network)  # in this mode ends Python
        settings.network.to = lambda device: settings.network
        rows = list(range(members))
        networks, log = loop.Pass(settings, rows), loop.Log(settings, rows)
        batch = torch.zeros((members, 4), dtype=torch.int64, device="cuda")
        log.read_probes(networks, batch=batch)
        losses, logits, y, gradients = networks.forward_backward(batch)
        log.note(batch, losses, logits, y)
        networks.sgd_step(gradients, 1.0)
        kept = [losses, log.loss, log.correct, *log.pages.values(), networks.x, networks.which_y]
        kept += [*networks.ensemble.parameters.values(), *settings.networks.parameters.values()]
    assert {str(tensor.device) for tensor in kept} == {"cuda:0"}
