"""Scores of examples: each against its definition, written out once more in loops."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from memhelpers import scores
from memhelpers.errors import ArgumentError

rng = np.random.default_rng(0)
INSIDE = scores.balanced_subsets(23, 20, 0.7, seed=1).numpy()
CORRECT = rng.random(INSIDE.shape) < 0.6


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.9])
def test_of_ten_networks_in_a_row_each_example_is_seen_by_its_share(share):
    masks = scores.balanced_subsets(37, 40, share, seed=3).numpy()
    for start in range(0, 40, 10):
        assert (masks[start : start + 10].sum(0) == round(10 * share)).all()
    assert abs(masks.sum(1) - 37 * share).max() <= 4


def test_more_members_and_another_seed():
    few, many = scores.balanced_subsets(37, 7, 0.5), scores.balanced_subsets(37, 30, 0.5)
    assert (many[:7] == few).all()
    assert not (scores.balanced_subsets(37, 30, 0.5, seed=1) == many).all()


def test_who_is_together_with_whom_is_drawn_anew():
    masks = scores.balanced_subsets(60, 400, 0.5).double()
    together = np.corrcoef(masks.T.numpy())
    assert abs(together[np.triu_indices(60, 1)]).max() < 0.35
    assert abs(np.corrcoef(masks.numpy())[:10, 10:].mean()) < 0.05


def test_consistency_and_memorization_are_means_over_two_groups_of_networks():
    for example in range(23):
        seen = INSIDE[:, example]
        out, within = CORRECT[~seen, example].mean(), CORRECT[seen, example].mean()
        assert scores.consistency(CORRECT, INSIDE)[example] == pytest.approx(out)
        assert scores.memorization(CORRECT, INSIDE)[example] == pytest.approx(within - out)


def test_influence_compares_networks_that_never_saw_the_example():
    p = rng.random(20)
    found = scores.influence(p, INSIDE, 4).set_index("example")
    unseen = [m for m in range(20) if not INSIDE[m, 4]]
    for other, row in found.iterrows():
        sides = [[p[m] for m in unseen if INSIDE[m, other] == side] for side in (True, False)]
        assert row["effect"] == pytest.approx(np.mean(sides[0]) - np.mean(sides[1]))
        test = stats.ttest_ind(*sides).confidence_interval(1 - 0.05 / len(found))
        assert (row["low"], row["high"]) == pytest.approx(tuple(test), abs=1e-6)
    assert 4 not in found.index
    assert (abs(found["effect"]) / (found["high"] - found["low"])).is_monotonic_decreasing


def test_wilson_is_that_of_scipy():
    for right, count in ((0, 3), (2, 3), (12, 12), (45, 90)):
        exact = stats.binomtest(right, count).proportion_ci(method="wilson")
        ends = scores.wilson(np.array([right / count]), np.array([count]))
        assert np.concatenate(ends) == pytest.approx(tuple(exact), abs=1e-9)


def test_membership_is_the_area_under_the_curve_of_each_example():
    confidence = rng.normal(size=INSIDE.shape).round(1)
    found = scores.membership(confidence, INSIDE)
    for example in range(23):
        area = roc_auc_score(INSIDE[:, example], confidence[:, example])
        assert found[example] == pytest.approx(area)


@pytest.mark.parametrize("concentration", [0.05, 0.3])
def test_wrong_labels_drawn_at_random_are_counted(concentration):
    p = rng.dirichlet(np.full(10, concentration), 4000)
    true = np.array([rng.choice(10, p=one) for one in p])
    labels = np.where(rng.random(4000) < 0.2, (true + rng.integers(1, 10, 4000)) % 10, true)
    share, low, high = scores.wrong_share(p, labels)
    precision = scores.expected_precision(p, labels)
    assert low < share < high < share + 0.05
    assert share == pytest.approx((labels != true).mean(), abs=0.3 * concentration + 0.05)
    first = np.argsort(-scores.suspicion(p, labels))
    for k in (100, 400, 800, 2000):
        assert precision[k - 1] == pytest.approx((labels != true)[first[:k]].mean(), abs=0.15)
    assert (np.diff(precision) <= 0).all()


def test_where_no_label_is_the_one_suggested_all_look_wrong():
    p = np.tile([0.8, 0.1, 0.1], (30, 1))
    labels = np.arange(30) % 2 + 1
    share = scores.wrong_share(p, labels)[0]
    precision = scores.expected_precision(p, labels)
    assert share == precision[0] == 1
    assert np.isfinite(precision).all()


def test_networks_until_stable_grow_with_the_noise():
    inside = scores.balanced_subsets(200, 20, 0.5).numpy()
    level = np.linspace(0, 1, 200)
    factors = []
    for noise in (0.0, 0.1, 0.3):
        p = level + noise * rng.normal(size=inside.shape)
        factors.append(scores.networks_until_stable(p, inside, 20))
    assert factors[0] == 1
    assert factors[0] < factors[1] < factors[2]
    tied = np.tile(rng.normal(size=(20, 1)), (1, 200)) + 1e3 * rng.normal(size=(20, 200))
    assert scores.networks_until_stable(tied, inside, 20) == np.inf


def test_an_example_that_every_network_saw_has_no_number():
    always = np.ones((3, 12), bool)
    assert np.isnan(scores.consistency(always, always)).all()
    assert np.isnan(scores.memorization(always, always)).all()


def test_forgetting_counts_the_steps_from_right_to_wrong():
    one = np.array([[0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1] * 6, [-1] * 6]).T[None]
    assert scores.forgetting_events(one)[0, :3].tolist() == [2, np.inf, 0]
    assert np.isnan(scores.forgetting_events(one)[0, 3])


def test_the_area_under_the_margin_is_its_mean_over_the_epochs_that_saw_it():
    margin = rng.normal(size=(2, 5, 3))
    margin[1, :, 2] = np.nan
    area = scores.area_under_margin(margin)
    np.testing.assert_allclose(area[0], margin[0].mean(0))
    assert np.isnan(area[1, 2])
    assert not np.isnan(area[1, :2]).any()


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: scores.balanced_subsets(9, 1, 0.5), "examples"),
        (lambda: scores.balanced_subsets(20, 0, 0.5), "members"),
        (lambda: scores.balanced_subsets(20, 1, 0.75), "share"),
        (lambda: scores.balanced_subsets(20, 1, 1.0), "share"),
        (lambda: scores.consistency(CORRECT, INSIDE.astype(int)), "inside"),
        (lambda: scores.memorization(CORRECT[:, 1:], INSIDE), "correct"),
    ],
)
def test_bad_input_is_named(call, argument):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.argument == argument
