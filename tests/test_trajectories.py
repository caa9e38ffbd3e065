"""Per-example records: what was not seen says so, and the margin."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memhelpers.engine.trajectories import Trajectories, margin

ALL = ["loss", "correct", "margin"]
CPU = torch.device("cpu")


def test_empty_records_say_not_seen():
    records = Trajectories.empty(ALL, members=2, epochs=3, examples=4)
    assert np.isnan(records.loss).all()
    assert np.isnan(records.margin).all()
    assert (records.correct == -1).all()
    assert {a.shape for a in records.arrays.values()} == {(2, 3, 4)}
    assert [a.dtype for a in records.arrays.values()] == [np.float32, np.int8, np.float32]


def test_pages_go_into_the_rows_of_their_members_and_no_other():
    records = Trajectories.empty(ALL, members=3, epochs=2, examples=4)
    pages = records.pages(2, CPU)
    assert pages["loss"].isnan().all()
    assert (pages["correct"] == -1).all()
    pages["loss"][:] = torch.tensor([[1.0], [2.0]])
    pages["correct"][1, 2] = 1
    records.store(torch.tensor([2, 0]), 2, pages)
    assert (records.loss[2, 1] == 1).all()
    assert (records.loss[0, 1] == 2).all()
    assert records.correct[0, 1].tolist() == [-1, -1, 1, -1]
    assert np.isnan(records.loss[:, 0]).all()
    assert np.isnan(records.loss[1]).all()


def test_what_was_not_recorded_is_named_with_the_way_to_get_it():
    records = Trajectories.empty(["loss"], 1, 1, 1)
    with pytest.raises(AttributeError, match=r"record=\['margin'\]"):
        _ = records.margin
    with pytest.raises(AttributeError, match=r"^los was not recorded$"):
        _ = records.los
    assert not hasattr(records, "correct")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    logits=st.lists(st.lists(st.integers(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5),
    data=st.data(),
)
def test_the_margin_is_the_labels_logit_minus_the_best_other(logits, data):
    labels = data.draw(st.lists(st.integers(0, 3), min_size=len(logits), max_size=len(logits)))
    found = margin(torch.tensor(logits, dtype=torch.float32), torch.tensor(labels))
    for row, label, value in zip(logits, labels, found.tolist(), strict=True):
        assert value == row[label] - max(row[:label] + row[label + 1 :])


def test_the_margin_is_taken_on_logits_which_a_softmax_would_squash():
    logits = torch.tensor([[[30.0, 10.0, 0.0], [0.0, 5.0, 2.0]]])
    assert margin(logits, torch.tensor([[0, 0]])).tolist() == [[20.0, -5.0]]
