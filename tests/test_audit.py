"""The audit: what it finds, what it keeps, what it takes, and what it refuses."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cleanlab.rank import get_self_confidence_for_each_label
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score

from benchmarks.audit import flipped
from memhelpers import networks, scores
from memhelpers.audit import BLOCK, Audit, _log_odds, audit, main
from memhelpers.data import load
from memhelpers.errors import ArgumentError, DataError
from memhelpers.training import fit

ROOT = Path(__file__).resolve().parent.parent
IMAGES, TRUE = load_digits(return_X_y=True)
IMAGES = (IMAGES * 15).astype(np.uint8).reshape(-1, 8, 8)
QUIET = {"progress": lambda done, total: None}


LABELS = flipped(TRUE, 0.1, 0)
CHANGED = LABELS != TRUE


@pytest.fixture(scope="module")
def digits() -> Audit:
    return audit(IMAGES, LABELS, networks=40, **QUIET)


def small(n: int = 60, **changes) -> dict:
    """Arguments of an audit of two blobs that takes a moment."""
    rng = np.random.default_rng(1)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 3)) + 2 * y[:, None]
    return {"x": x, "y": y, "networks": 10, "epochs": 2, **QUIET, **changes}


def test_wrong_labels_come_first_with_the_right_one_suggested(digits):
    table = digits.table
    assert roc_auc_score(CHANGED, table["suspicion"]) > 0.995
    found = table["suggested"].to_numpy()  # numbers, as the labels were
    assert (found[CHANGED] == TRUE[CHANGED]).mean() > 0.9
    assert sorted(table["rank"]) == list(range(1, len(TRUE) + 1))
    assert table.sort_values("rank")["suspicion"].is_monotonic_decreasing


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_the_share_of_wrong_labels_and_the_precision_are_about_what_they_are(share):
    labels = flipped(TRUE, share, 3)
    found = audit(IMAGES, labels, networks=20, **QUIET)
    assert found.wrong_labels[0] == pytest.approx(share * len(TRUE), rel=0.4)
    ordered = found.table.sort_values("rank")
    truly = (labels != TRUE)[ordered.index]
    for k in (50, 100, 400, 1000):
        expected = ordered["expected_precision"].iloc[k - 1]
        assert expected == pytest.approx(truly[:k].mean(), abs=0.15)


def test_the_interval_holds_the_number_of_wrong_labels_of_small_tables():
    inside, tables = 0, [load_breast_cancer(return_X_y=True), (IMAGES, TRUE)]
    for seed in range(10):
        for (x, y), share in zip(tables, (0.04, 0.1), strict=True):
            some = np.random.default_rng(seed).permutation(len(y))[:200]
            given = flipped(y[some], share, seed)
            found = audit(x[some], given, networks=10, seed=seed, **QUIET)
            _, low, high = found.wrong_labels
            inside += round(low) <= (given != y[some]).sum() <= round(high)
            assert high < 60
    assert inside >= 18


def test_labels_that_nothing_explains_are_said_to_be_so():
    rng = np.random.default_rng(0)
    x, coins = rng.normal(size=(300, 4)), rng.integers(0, 2, 300)
    with pytest.warns(RuntimeWarning, match="unrelated to the labels"):
        found = audit(x, coins, networks=20, **QUIET)
    assert not found.learned
    assert "labels not learned" in repr(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rare = (x[:, 0] + rng.normal(size=300) > 2).astype(int)  # hardly ever the likeliest class
        assert audit(x, rare, networks=20, **QUIET).learned


def test_the_test_of_learning_passes_chance_as_often_as_it_says():
    rng, passed = np.random.default_rng(0), 0
    for _ in range(400):
        labels = rng.choice(3, 200, p=[0.7, 0.2, 0.1])
        passed += scores.learned(rng.dirichlet(np.ones(3), 200), labels)
    assert 0 < passed <= 20  # one-sided, 2.5 %: ten


def test_the_table_says_what_the_networks_said(digits):
    example = int(np.flatnonzero(CHANGED)[0])
    row, inside = digits.table.loc[example], digits.inside[:, example]
    outside = digits.right[~inside, example]
    assert len(outside) == 12
    assert row["p_correct"] == outside.mean()
    assert 0 <= row["p_low"] <= row["p_correct"] <= row["p_high"] <= 1
    assert row["memorization"] == digits.right[inside, example].mean() - outside.mean()
    assert row["suspicion"] == 1 - digits.pred_probs[example, LABELS[example]]
    surer = [
        a > b for a in digits.log_odds[inside, example] for b in digits.log_odds[~inside, example]
    ]
    assert row["membership_risk"] == pytest.approx(np.mean(surer), abs=0.01)


def test_held_out_probabilities_are_those_of_networks_that_never_saw_the_example(digits):
    few = audit(**small())
    assert few.pred_probs.sum(1) == pytest.approx(1, abs=1e-5)
    p = np.where(few.inside, 0, few.p_label).sum(0) / (~few.inside).sum(0)
    assert few.pred_probs[np.arange(60), few.labels] == pytest.approx(p, abs=2e-3)


def test_wrong_labels_are_harder_learned_later_and_forgotten_more_often(digits):
    table = digits.table
    means = table.groupby(CHANGED)[["difficulty", "forgetting", "margin_area"]].mean()
    assert means.loc[True, "difficulty"] > means.loc[False, "difficulty"] + 0.5
    assert means.loc[True, "forgetting"] > means.loc[False, "forgetting"] + 1
    assert means.loc[True, "margin_area"] < 0 < means.loc[False, "margin_area"]


def test_its_probabilities_are_taken_by_cleanlab(digits):
    own = get_self_confidence_for_each_label(LABELS, digits.pred_probs)
    assert own == pytest.approx(1 - digits.table["suspicion"].to_numpy())


def test_an_example_that_only_another_one_explains_is_helped_by_it():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(80, 40)), np.arange(80) % 2
    x[:, 0] += 4 * y
    x[0], y[0] = 8 * np.eye(40)[3], 1 - y[0]  # far from all others
    x[1], y[1] = x[0], y[0]  # but for its twin
    found = audit(x, y, networks=200, epochs=20, weight_decay=0.0, **QUIET)
    helped = found.influence(0)
    assert helped.index[0] == 1
    assert helped["clear"].iloc[0]
    assert helped["effect"].iloc[0] > 0.2
    assert helped["clear"].sum() <= 2
    assert 0 not in helped.index


def test_intervals_of_influence_hold_for_all_examples_at_once():
    rng = np.random.default_rng(0)
    clear = []
    for _ in range(40):
        inside = scores.balanced_subsets(60, 60, 0.5, seed=int(rng.integers(1000))).numpy()
        p = rng.beta(2, 2, 60)  # which nothing has an effect on
        found = scores.influence(p, inside, 0)
        clear.append(((found["low"] > 0) | (found["high"] < 0)).any())
    assert np.mean(clear) <= 0.15


def test_enough_foresees_how_two_audits_agree(digits):
    other = audit(IMAGES, LABELS, networks=40, seed=1, **QUIET)
    tops = [set(one.table.nsmallest(300, "rank").index) for one in (digits, other)]
    agreed = len(tops[0] & tops[1]) / 300
    assert digits.enough(300, agreement=max(0.0, agreed - 0.06)) == 0
    assert digits.enough(300, agreement=min(1.0, agreed + 0.06)) > 0
    more = digits.enough(300, agreement=0.97)
    assert more >= digits.enough(300, agreement=0.9)
    assert more % BLOCK == 0 or np.isinf(more)


def test_two_audits_of_one_seed_are_the_same_and_of_another_not():
    first, second = audit(**small()), audit(**small())
    pd.testing.assert_frame_equal(first.table, second.table)
    assert not first.table.equals(audit(**small(seed=1)).table)


def test_two_audits_of_other_seeds_share_no_network(monkeypatch):
    used = []
    monkeypatch.setattr(
        "memhelpers.audit.fit", lambda *a, **k: used.append(k["seeds"]) or fit(*a, **k)
    )
    for seed in (0, 1):
        audit(**small(seed=seed))
    assert set(used[0]).isdisjoint(used[1])


def test_the_log_odds_of_a_network_that_is_sure_are_finite():
    found = _log_odds(torch.tensor([[1e6, 0.0], [1e6, 0.0]]), torch.tensor([0, 1]))
    assert np.isfinite(found.numpy().astype(np.float16)).all()
    assert found[0] > 0 > found[1]


# What is kept


def test_an_interrupted_audit_goes_on_where_it_was(tmp_path, monkeypatch):
    whole = audit(**small(networks=40))

    def stop(done: float, total: float) -> None:
        if done > 25:
            raise KeyboardInterrupt

    monkeypatch.setattr("memhelpers.audit._Job.blocks_at_once", lambda job: 1)
    with pytest.raises(KeyboardInterrupt):
        audit(**small(networks=40, store=tmp_path / "store", progress=stop))
    assert len(list((tmp_path / "store").glob("*.npz"))) == 2
    seen = []
    settings = small(networks=40, store=tmp_path / "store")
    again = audit(**settings | {"progress": lambda done, total: seen.append(done)})
    assert min(seen) >= 20
    pd.testing.assert_frame_equal(whole.table, again.table, rtol=2e-3, atol=2e-3)


def test_more_networks_are_added_to_those_that_are_there(tmp_path):
    few = audit(**small(store=tmp_path))
    more = audit(**small(store=tmp_path, networks=30))
    assert (more.log_odds[:10] == few.log_odds).all()
    assert len(audit(**small(store=tmp_path)).inside) == 10


def test_another_audit_is_kept_beside_what_is_there(tmp_path):
    first = audit(**small(store=tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for changed in (
        {"x": small()["x"] + 1e-3 * small()["x"] ** 2},
        {"seed": 1},
        {"share": 0.5},
        {"epochs": 3},
        {"y": np.where(np.arange(60) % 2, "a", "b")},
        {"network": networks.mlp((1, 1, 3), [5], 2)},
    ):
        other = audit(**small(store=tmp_path, **changed))
        pd.testing.assert_frame_equal(other.table, audit(**small(**changed)).table)
        assert not other.table.equals(first.table)
    assert before.items() < {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ArgumentError, match=r"store: .*thesis.tex.* a folder"):
        audit(**small(store=tmp_path / "thesis.tex"))


@pytest.mark.parametrize("left", [0, 500])
def test_a_damaged_file_is_trained_again_with_a_warning(left, tmp_path):
    whole = audit(**small(store=tmp_path, networks=20))
    damaged = sorted(tmp_path.glob("*.npz"))[1]
    damaged.write_bytes(damaged.read_bytes()[:left])
    with pytest.warns(RuntimeWarning, match="damaged"):
        again = audit(**small(store=tmp_path, networks=20))
    pd.testing.assert_frame_equal(whole.table, again.table, rtol=2e-3, atol=2e-3)


def test_it_stops_in_time_with_what_it_has(monkeypatch):
    monkeypatch.setattr("memhelpers.audit._Job.blocks_at_once", lambda job: 1)
    found = audit(**small(networks=1000, minutes=1e-5))
    assert len(found.inside) == 10
    assert len(found.table) == 60


# What it takes


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    kind = np.array(["red", "green", "blue"])[rng.integers(0, 3, 90)]
    table = pd.DataFrame(
        {"size": rng.normal(5, 2, 90), "kind": kind, "whole": rng.integers(0, 9, 90)}
    )
    return table.assign(target=np.where((kind == "red") | (table["size"] > 6), "yes", "no"))


FAST = {"networks": 10, "epochs": 2, **QUIET}


def test_a_table_with_numbers_texts_and_truth_values():
    table = rows().assign(flag=np.arange(90) % 2 == 0)
    found = audit(table, label="target", **FAST)
    assert found.data.shape == (1, 1, 1 + 3 + 1 + 1)
    assert set(found.table["label"]) == {"yes", "no"}
    given = audit(table.drop(columns="target"), table["target"], **FAST)
    pd.testing.assert_frame_equal(found.table, given.table)


def test_a_column_of_texts_counts_and_its_names_do_not():
    table = rows()
    learned = audit(table[["kind", "size"]], table["target"], networks=10, **QUIET)
    assert learned.right.mean() > 0.85


@pytest.mark.parametrize(
    "kind", ["csv", "npz", "images", "colour", "vectors", "torch", "data", "bools"]
)
def test_other_forms_of_data(kind, tmp_path):
    rng, shape = np.random.default_rng(0), None
    x, y = rng.normal(size=(40, 6)), np.arange(40) % 2
    if kind == "csv":
        path = tmp_path / "own.csv"
        rows().to_csv(path, index=False)
        found, shape = audit(path, label="target", **FAST), (1, 1, 5)
    elif kind == "npz":
        np.savez(tmp_path / "own.npz", x=x, y=y, classes=["cat", "dog"])
        found, shape = audit(tmp_path / "own.npz", **FAST), (1, 1, 6)
        assert set(found.table["label"]) == {"cat", "dog"}
    elif kind == "images":
        found, shape = audit(IMAGES[:100], TRUE[:100].astype(str), **FAST), (1, 8, 8)
    elif kind == "colour":
        found, shape = audit(rng.integers(0, 256, (40, 5, 5, 3), np.uint8), y, **FAST), (3, 5, 5)
    elif kind == "torch":
        found, shape = audit(torch.tensor(x), torch.tensor(y), **FAST), (1, 1, 6)
    elif kind == "data":
        found, shape = audit(load("digits", examples=200), **FAST), (1, 8, 8)
    elif kind == "bools":
        found, shape = audit(x, y == 1, **FAST), (1, 1, 6)
    else:
        found, shape = audit(x.tolist(), y.astype(float), **FAST), (1, 1, 6)
    assert found.data.shape == shape
    assert found.table.notna().all(axis=None)


def test_a_network_of_ones_own_is_trained():
    found = audit(IMAGES[:200], TRUE[:200], network=networks.mlp((1, 8, 8), [4], 10), **FAST)
    assert found.table["p_correct"].mean() < 0.9


def test_vectors_of_many_numbers_are_learned_with_smaller_steps():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = rng.normal(size=(120, 1)) * rng.normal(size=600) + 0.5 * rng.normal(size=(120, 600))
    x[:, :30] += y[:, None]  # beside one direction that has most of the variance
    settings = {"networks": 20, **QUIET}
    few = audit(x, y, **settings).table["p_correct"].mean()
    assert few > audit(x, y, learning_rate=0.05, **settings).table["p_correct"].mean() + 0.02


def test_a_typing_error_in_a_number_does_no_harm():
    given = small(n=300, epochs=10)  # of fewer none lies so far
    given["x"][3, 1] = 1e12
    found = audit(**given)
    assert found.table["p_correct"].mean() > 0.8
    assert found.data.train.x.abs().max() == 10


def test_missing_values_are_filled_or_dropped_where_the_reader_says_so():
    table = rows()
    table.loc[[2, 5], "size"] = np.nan
    table.loc[7, "kind"] = None
    filled = audit(table, label="target", missing="fill", **FAST)
    assert filled.data.shape == (1, 1, 1 + 4 + 1 + 2)  # a further kind, and two columns of where
    dropped = audit(table, label="target", missing="drop", **FAST)
    assert sorted(set(range(90)) - set(dropped.table.index)) == [2, 5, 7]
    with pytest.raises(ArgumentError, match="row"):
        dropped.influence(5)


def test_vectors_with_gaps_are_filled():
    given = small(missing="fill")
    given["x"][[2, 5], 1] = np.nan
    assert audit(**given).data.shape == (1, 1, 4)


def test_a_constant_and_whole_numbers_far_apart_are_columns_like_others():
    table = rows().assign(constant=0.1, population=1000 * np.arange(90) + 7)
    found = audit(table, label="target", **FAST)
    assert found.data.shape == (1, 1, 7)
    x = found.data.train.x[:, 0, 0]
    assert x[:, 5].abs().max() < 1e-6  # the constant
    assert x[:, 6].std() == pytest.approx(1, abs=0.01)


def test_a_column_without_any_value_is_left_out_with_a_warning():
    table = rows().assign(nothing=None)
    with pytest.warns(UserWarning, match="column 'nothing' is empty and is left out"):
        found = audit(table, label="target", **FAST)
    assert found.data.shape == (1, 1, 5)


def test_truth_values_with_gaps_are_numbers():
    table = rows().assign(flag=[None, True, False] * 30)
    found = audit(table, label="target", missing="fill", **FAST)
    assert found.data.shape == (1, 1, 1 + 3 + 1 + 2)
    with pytest.raises(ArgumentError, match="types bool, str"):
        audit(table.assign(flag=["red", True, False] * 30), label="target", **FAST)


@pytest.mark.parametrize("form", ["dates", "texts", "with time", "python"])
def test_dates_are_days(form):
    days = pd.Series(pd.date_range("2021-03-01", periods=90, freq="3D"))
    kinds = {"dates": days, "texts": days.dt.strftime("%Y-%m-%d"), "python": days.dt.date}
    kinds["with time"] = days.dt.strftime("%Y-%m-%dT00:00:00+00:00")
    table = rows().assign(when=kinds[form])
    table.loc[4, "when"] = None
    found = audit(table, label="target", missing="fill", **FAST)
    assert found.data.shape == (1, 1, 7)
    when = found.data.train.x[:, 0, 0, 5].numpy()
    steps = np.diff(np.delete(when, 4))
    assert np.delete(steps, 3) == pytest.approx(np.full(87, steps[0]), rel=1e-3)
    assert steps[3] == pytest.approx(2 * steps[0], rel=1e-3)
    assert abs(when[4]) < 1e-6


def test_texts_that_only_begin_like_dates_stay_texts():
    kinds = np.array(["2021-13-45", "2021-03-01", "2021-03-02 or later"])[np.arange(90) % 3]
    found = audit(rows().assign(when=kinds), label="target", **FAST)
    assert found.data.shape == (1, 1, 8)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(np.arange(60) % 2 + 7, "i"), (np.arange(60) % 2 == 1, "b"), (np.arange(60) % 2 + 3.0, "i")],
)
@pytest.mark.parametrize("form", [np.array, list, pd.Series])
def test_labels_come_back_as_what_they_were(labels, kind, form):
    found = audit(**small(y=form(labels)))
    assert found.table["label"].tolist() == labels.tolist()
    assert found.table["label"].dtype.kind == found.table["suggested"].dtype.kind == kind
    assert set(found.table["suggested"]) <= set(labels.tolist())
    assert found.influence(0)["label"].dtype.kind == kind


def test_rows_are_called_by_their_line_or_by_the_tables_own_index(tmp_path):
    table = rows()
    table.loc[3, "kind"] = "red\nor so"
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    lines = path.read_text().split("\n")
    lines[8:8] = ["", "   "]  # which a spreadsheet counts, too
    path.write_text("\n".join(lines) + "\n\n")
    found = audit(path, label="target", **FAST)
    assert found.names.tolist() == [*range(2, 8), *range(10, 94)]
    assert found.table.index.tolist() == list(range(90))
    own = table.set_index(pd.Index([f"patient {k}" for k in range(90)], name="patient"))
    own.loc["patient 5", "size"] = np.nan
    found = audit(own, label="target", missing="drop", **FAST)
    assert found.names.tolist() == [f"patient {k}" for k in range(90) if k != 5]
    assert audit(**small()).names.tolist() == list(range(60))


@pytest.mark.parametrize(
    ("name", "values"), [("id", range(90)), ("customer", [f"customer {k}" for k in range(90)])]
)
def test_a_column_like_an_id_is_left_out_with_a_warning(name, values):
    with pytest.warns(UserWarning, match=f"column '{name}' looks like an id"):
        found = audit(rows().assign(**{name: list(values)}), label="target", **FAST)
    assert found.data.shape == (1, 1, 5)


def test_a_column_that_says_the_label_is_left_out_with_a_warning():
    table = rows().assign(copy=lambda t: t["target"].map({"yes": 7, "no": 3}))
    with pytest.warns(UserWarning, match="column 'copy' says the label"):
        found = audit(table, label="target", **FAST)
    assert found.data.shape == (1, 1, 5)


def test_a_filled_table_gets_its_report(tmp_path, monkeypatch, capsys):
    table = rows()
    table.loc[3, "size"], table.loc[4, "kind"] = np.nan, None
    table.to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.chdir(tmp_path)
    arguments = ["data.csv", "--label", "target", "--networks", "10"]
    with pytest.raises(SystemExit):
        main(arguments)
    told = capsys.readouterr().err
    assert "'size' (1), 'kind' (1)" in told
    assert "--missing fill" in told
    assert main([*arguments, "--missing", "fill"]) == 0
    assert (tmp_path / "audit.html").is_file()


def test_the_page_of_a_file_names_it_and_what_was_left_out(tmp_path, monkeypatch, capsys):
    rows().assign(copy=lambda t: t["target"]).to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.chdir(tmp_path)
    assert main(["data.csv", "--label", "target", "--networks", "10"]) == 0
    assert "note: column 'copy' says the label" in capsys.readouterr().err
    page = (tmp_path / "audit.html").read_text()
    assert "Audit of the labels 'target' in data.csv" in page
    assert "column 'copy' says the label" in page


# What it refuses

ONE = np.where(np.arange(60) == 3, "rare", np.where(np.arange(60) % 2, "a", "b"))
NAN = small()["x"].copy()
NAN[4, 1] = np.nan
MANY = rows().assign(kind=[f"kind {k % 60}" for k in range(90)])
MIXED = rows().assign(kind=[1 if k % 2 else "red" for k in range(90)])


@pytest.mark.parametrize(
    ("changes", "argument", "said"),
    [
        ({"y": ONE}, "y", "class 'rare' with one example, in row 3'; allowed: at least 2 ex"),
        ({"y": ONE}, "y", "leave this one out, or merge"),
        ({"y": np.zeros(60, int)}, "y", "a single class"),
        ({"y": np.arange(60)}, "y", "60 different labels of 60 examples"),
        ({"y": np.arange(60) / 7}, "y", "no measured number"),
        ({"y": np.arange(60) % 3 * 1.5}, "y", "label 1.5 in row 1, which is no whole number"),
        ({"y": np.arange(60) % 3 * 1.5}, "y", "texts such as 'class 3.5'"),
        ({"y": [f"text {k}" for k in range(60)]}, "y", "each with several examples$"),
        (
            {"y": np.eye(2)[np.arange(60) % 2]},
            "y",
            r"shape \[60, 2\].*one label an example, \[60\]",
        ),
        ({"y": [[1, 0], [0, 1]] * 30}, "y", r"\[\[1, 0\], .*one label an example, \[60\]"),
        ({"y": pd.DataFrame(np.eye(60))}, "y", r"shape \[60, 60\]"),
        ({"y": "target"}, "y", "label='target' where a column is meant"),
        ({"x": "own.csv", "y": "target"}, "y", "label='target' where a column is meant"),
        ({"y": np.arange(59) % 2}, "y", "59 labels"),
        ({"y": None}, "y", "None"),
        ({"y": [None, *"ab" * 29, None]}, "y", r"no label in row 0 \(none in 2 of 60 rows\)"),
        ({"y": [None, *"ab" * 29, "a"], "missing": "fill"}, "y", "='fill' does not fill labels"),
        ({"x": NAN}, "x", "missing or infinite"),
        ({"x": np.nan_to_num(NAN, nan=np.inf)}, "x", "missing or infinite"),
        (
            {"x": MIXED, "y": rows()["target"]},
            "x",
            "column 'kind' with values of the types int, str",
        ),
        ({"x": MANY, "y": rows()["target"]}, "x", "column 'kind' with 60 different texts"),
        ({"x": rows(), "y": None, "label": "goal"}, "label", "goal"),
        ({"x": rows(), "y": None}, "label", "None"),
        ({"label": "target"}, "label", "target"),
        ({"x": pd.DataFrame({"id": range(60)})}, "x", "no column to learn from"),
        ({"x": pd.DataFrame([[1, 2]] * 60, columns=["a", "a"])}, "x", "two columns 'a'"),
        ({"x": rows()[["target"]], "y": None, "label": "target"}, "x", "no other column"),
        (small(n=0), "x", "no rows"),
        ({"x": rows()[:0], "y": None, "label": "target"}, "x", "no rows"),
        (small(n=4), "x", "4 rows'; allowed: at least 10"),
        ({"x": IMAGES[:4], "y": [0, 1, 0, 1]}, "x", "4 rows"),
        (
            {"x": [[np.nan]] * 55 + [[1], [2]] * 2 + [[3]], "missing": "drop"},
            "x",
            "5 complete rows",
        ),
        ({"x": [[1], [1, 2]] * 30}, "x", "list"),
        ({"x": "own.txt", "y": None}, "x", "own.txt"),
        ({"x": np.zeros((60, 4, 4, 5, 6))}, "x", "shape"),
        ({"networks": 0}, "networks", "0"),
        ({"networks": 15}, "networks", "15"),
        ({"share": 1.0}, "share", "1.0"),
        ({"share": 0.75}, "share", "0.75"),
        ({"missing": "mean"}, "missing", "mean"),
        ({"seed": -1}, "seed", "-1"),
        ({"minutes": 0}, "minutes", "0"),
        ({"epochs": 0}, "epochs", "0"),
        ({"dropout": 0.5}, "dropout", "0.5"),
        ({"learning_rate": 1e9}, "learning_rate", "1000000000.0"),
        ({"network": networks.mlp((1, 1, 4), [5], 2)}, "network", ""),
        ({"device": "gpu"}, "device", "gpu"),
    ],
)
@pytest.mark.filterwarnings("ignore:column 'id' looks like an id")
def test_bad_input_is_one_clear_error(changes, argument, said):
    with pytest.raises(ArgumentError) as caught:
        audit(**small(**changes))
    assert caught.value.argument == argument
    assert re.search(said, str(caught.value).replace('"', "'"))


@pytest.mark.parametrize("content", [b"", b"a\n1\n2\n", b"\xff\xfe\x00binary", b'a,b\n"1,2\n'])
def test_a_file_that_is_no_table_is_said_to_be_none(content, tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"own\.csv"):
        audit(path, label="b", **FAST)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,kind\n1,grün\n".encode("latin-1"), "save it as UTF-8$"),
        (b"a,b\n1,2\n\n1,2,3\n", "Expected 2 fields in line 4, saw 3"),
        (b"a,b\n", "no rows below its header"),
        (b"b\n1\n2\n", "no other column than that of the labels"),
        (b"a,b\n" + b"1,x\n2,y\n\n" * 9 + b"3,\n4,\n", r"line 29 \(none in 2 of 20 rows\)"),
        (b"a,b\n" + b"1,x\n2,y\n\n" * 9 + b"2,z\n", "'z' with one example, in line 29"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_by_its_line(content, said, tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises((ArgumentError, DataError), match=said):
        audit(path, label="b", **FAST)


def test_labels_in_a_table_of_one_column_are_taken():
    table = rows()
    found = audit(table.drop(columns="target"), table[["target"]], **FAST)
    assert set(found.table["label"]) == {"yes", "no"}


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no file"):
        audit(tmp_path / "own.csv", label="b", **FAST)


@pytest.mark.parametrize("row", [-1, 60, 1.5, "first"])
def test_influence_on_an_example_that_is_not_there(row):
    with pytest.raises(ArgumentError, match="row"):
        audit(**small()).influence(row)


def test_bad_numbers_of_enough():
    found = audit(**small())
    for changes in ({"k": 0}, {"k": 61}, {"k": 5, "agreement": 2}):
        with pytest.raises(ArgumentError, match=next(reversed(changes))):
            found.enough(**changes)


# The command line


def shell(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "memhelpers.audit", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_one_line_in_an_empty_folder_gives_a_report(tmp_path):
    table = load_breast_cancer(as_frame=True).frame.assign(id=range(569))
    table.to_csv(tmp_path / "data.csv", index=False)
    found = shell(
        tmp_path, "data.csv", "--label", "target", "--networks", "10", "--table", "all.csv"
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr.startswith("note: column 'id' looks like an id")
    assert "report: audit.html" in found.stdout
    assert 10_000 < (tmp_path / "audit.html").stat().st_size < 5_000_000
    assert pd.read_csv(tmp_path / "all.csv")["line"].tolist() == list(range(2, 571))


def test_the_help_names_every_option_and_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for name in ("label", "out", "table", "networks", "missing", "store", "minutes", "seed"):
        assert f"--{name} " in told
    assert "example: python -m memhelpers.audit data.csv --label target" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data.csv", "--label", "goal"], "error: --label: given 'goal'"),
        (["data.csv"], "error: --label: given None"),
        (["other.csv", "--label", "target"], "error: no file other.csv"),
        (["data.csv", "--label", "target", "--networks", "3"], "error: networks: given 3"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    rows().to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    told = capsys.readouterr().err
    assert caught.value.code == 2
    assert told.startswith(said)
    assert told.count("\n") == 1


def test_a_report_that_cannot_be_written_is_known_before_training(tmp_path, monkeypatch, capsys):
    rows().to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("memhelpers.audit.audit", lambda *rest, **more: pytest.fail("trained"))
    with pytest.raises(SystemExit):
        main(["data.csv", "--label", "target", "--out", "nowhere/audit.html"])
    assert "nowhere" in capsys.readouterr().err
