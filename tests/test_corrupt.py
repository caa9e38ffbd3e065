"""What the corruptions replace, what they leave, and how their noise is distributed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memhelpers.corrupt import (
    random_inputs,
    random_labels,
    shuffle_pixels,
)
from memhelpers.data import Dataset, Part
from memhelpers.errors import ArgumentError
from memhelpers.seeding import generator

few_examples = settings(max_examples=25, deadline=None, derandomize=True)
fractions = st.floats(0, 1)
seeds = st.integers(0, 2**63 - 1)

ALL_PARTS = ("train", "validation", "test")
FRACTIONAL = [random_labels, random_inputs, shuffle_pixels]


def noise_part(n: int, classes: int, seed: int, shape=(2, 3, 3)) -> Part:
    """Images of distinct pixels, and labels of all classes."""
    draws = generator(seed, "test")
    x = torch.rand(n, *shape, generator=draws)
    return Part(x, torch.arange(n) % classes)


def small(n: int = 200, classes: int = 5, shape=(2, 3, 3)) -> Dataset:
    names = tuple(map(str, range(classes)))
    parts = (noise_part(m, classes, seed, shape) for seed, m in enumerate((n, 40, 30)))
    return Dataset("small", *parts, classes=names, scaling="as given")


def same(a: Part, b: Part) -> bool:
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


@few_examples
@given(fraction=fractions, seed=seeds, n=st.integers(1, 60), classes=st.integers(2, 7))
def test_exactly_the_rounded_fraction_is_replaced_and_nothing_else_differs(
    fraction, seed, n, classes
):
    data = small(n, classes)
    for corrupt in FRACTIONAL:
        noisy = corrupt(data, fraction, seed=seed)
        assert noisy.replaced.sum() == round(fraction * n)
        untouched = ~noisy.replaced
        assert same(noisy.train.take(untouched), data.train.take(untouched))
        assert not (noisy.changed & untouched).any()


@few_examples
@given(low=fractions, high=fractions, seed=seeds)
def test_a_smaller_fraction_replaces_some_of_the_same_examples_by_the_same(low, high, seed):
    low, high = sorted((low, high))
    data = small(50)
    for corrupt in FRACTIONAL:
        few, many = corrupt(data, low, seed=seed), corrupt(data, high, seed=seed)
        assert not (few.replaced & ~many.replaced).any()
        assert same(few.train.take(few.replaced), many.train.take(few.replaced))


@few_examples
@given(fraction=fractions, seed=seeds)
def test_changed_marks_the_examples_that_differ(fraction, seed):
    data = small(50)
    for corrupt in FRACTIONAL:
        noisy = corrupt(data, fraction, seed=seed)
        differs = (noisy.train.y != data.train.y) | (noisy.train.x != data.train.x).flatten(1).any(
            1
        )
        assert torch.equal(noisy.changed, differs)


@pytest.mark.parametrize("corrupt", FRACTIONAL)
def test_validation_and_test_parts_stay_clean(corrupt):
    data = small()
    noisy = corrupt(data)
    assert not same(noisy.train, data.train)
    assert noisy.validation is data.validation
    assert noisy.test is data.test


@pytest.mark.parametrize("corrupt", [random_labels, random_inputs, shuffle_pixels])
def test_parts_that_are_asked_for_are_corrupted_and_no_others(corrupt):
    data = small()
    noisy = corrupt(data, parts=("validation", "test"))
    assert noisy.train is data.train
    assert not noisy.replaced.any()
    assert not same(noisy.validation, data.validation)
    assert not same(noisy.test, data.test)


@pytest.mark.parametrize("corrupt", FRACTIONAL)
def test_a_corruption_leaves_its_argument_as_it_was_and_names_itself(corrupt):
    data = small()
    before = data.fingerprint
    noisy = corrupt(data, 0.5, seed=3)
    assert data.replace().fingerprint == before  # reckoned anew
    assert not data.replaced.any()
    assert noisy.fingerprint != before
    assert noisy.steps[-1].startswith(f"{corrupt.__name__}(fraction=0.5, seed=3")


@pytest.mark.parametrize("corrupt", FRACTIONAL)
def test_the_seed_alone_decides_what_is_drawn(corrupt):
    data = small()
    assert same(corrupt(data, 0.5, seed=4).train, corrupt(data, 0.5, seed=4).train)
    assert not same(corrupt(data, seed=4).train, corrupt(data, seed=5).train)
    assert not torch.equal(corrupt(data, 0.5, seed=4).replaced, corrupt(data, 0.5, seed=5).replaced)


def test_the_draws_do_not_drift_between_versions():
    data = random_labels(small(12), 0.5, seed=7)
    assert data.train.y.tolist() == [0, 1, 2, 1, 0, 2, 1, 0, 1, 4, 1, 1]


def test_masks_of_two_corruptions_add_up():
    data = small()
    once = random_labels(data, 0.3, seed=1)
    twice = random_inputs(once, 0.3, seed=2)
    of_inputs = random_inputs(data, 0.3, seed=2).replaced
    assert torch.equal(twice.replaced, once.replaced | of_inputs)
    assert torch.equal(twice.changed, once.changed | of_inputs)
    assert len(twice.steps) == 2


def test_which_examples_get_labels_is_independent_of_which_get_inputs():
    labels = random_labels(small(2000), 0.5, seed=0).replaced
    inputs = random_inputs(small(2000), 0.5, seed=0).replaced
    assert 400 < (labels & inputs).sum() < 600  # 500 +- 4.5 standard deviations


# Random labels


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_a_uniform_random_label_is_the_true_one_once_in_k(classes):
    data = random_labels(small(20_000, classes), 0.5, seed=1)
    share = data.changed.sum() / data.replaced.sum()
    assert share.item() == pytest.approx((classes - 1) / classes, abs=0.02)
    counts = data.train.y[data.replaced].bincount(minlength=classes)
    assert torch.allclose(counts / 10_000, torch.full((classes,), 1 / classes), atol=0.02)


def test_random_labels_leave_the_images_alone():
    data = small()
    assert random_labels(data).train.x is data.train.x


# Random inputs


def test_gaussian_inputs_have_the_mean_and_deviation_of_the_training_pixels(digits):
    noisy = random_inputs(digits, seed=1)
    clean = digits.train.x
    assert noisy.train.x.mean().item() == pytest.approx(clean.mean().item(), abs=0.01)
    assert noisy.train.x.std().item() == pytest.approx(clean.std().item(), rel=0.02)
    assert noisy.train.x[:, 0, 0, 0].std() > 0.3  # a corner, which is black in all real digits
    assert noisy.changed.all()


def test_gaussian_inputs_have_the_deviation_of_the_pixels_that_are_there_and_no_estimate_of_it():
    two = Part(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.arange(2))
    noise = random_inputs(Dataset("two", two, two, two, ("a", "b"), "as given"), seed=3).train.x
    drawn = torch.randn(two.x.shape, generator=generator(3, "random inputs of train"))
    assert torch.equal(noise, 0.5 + 0.5 * drawn)


def test_gaussian_inputs_are_not_clipped(digits):
    noise = random_inputs(digits).train.x
    assert noise.min() < 0
    assert noise.max() > 1


def test_gaussian_inputs_of_the_test_part_use_the_statistics_of_the_training_part():
    data = small(500)
    shifted = data.replace(test=Part(data.test.x + 100, data.test.y))
    assert random_inputs(shifted, parts=("test",)).test.x.mean().abs() < 1


def test_an_image_that_noise_does_not_change_is_not_marked_as_changed():
    data = small(20)
    constant = data.replace(train=Part(torch.ones_like(data.train.x), data.train.y))
    noisy = random_inputs(constant)
    assert noisy.replaced.all()
    assert not noisy.changed.any()


# Shuffled pixels


def test_pixels_move_with_all_their_channels():
    data = small(20, shape=(3, 4, 5))
    for per_image in (False, True):
        moved = shuffle_pixels(data, per_image=per_image).train.x.flatten(2)
        before = data.train.x.flatten(2)
        places = (moved[:, 0, :, None] == before[:, 0, None, :]).int().argmax(2)
        assert torch.equal(moved, before.gather(2, places[:, None].expand(-1, 3, -1)))
        assert torch.equal(places.sort(1).values, torch.arange(20).expand(20, -1))


def permutations(data: Dataset, noisy: Dataset, part: str) -> torch.Tensor:
    """Where each pixel came from, [n, pixels]."""
    before, after = (getattr(d, part).x[:, 0].flatten(1) for d in (data, noisy))
    return (after[:, :, None] == before[:, None, :]).int().argmax(2)


def test_the_fixed_shuffle_is_one_permutation_for_all_images_and_parts():
    data = small(20, shape=(1, 4, 4))
    noisy = shuffle_pixels(data, parts=ALL_PARTS)
    every = torch.cat([permutations(data, noisy, part) for part in ALL_PARTS])
    assert (every == every[0]).all()
    assert not torch.equal(every[0], torch.arange(16))


def test_a_shuffle_per_image_is_another_permutation_for_each():
    data = small(30, shape=(1, 4, 4))
    noisy = shuffle_pixels(data, per_image=True, parts=ALL_PARTS)
    every = torch.cat([permutations(data, noisy, part) for part in ALL_PARTS])
    assert len(every.unique(dim=0)) == 100
    assert noisy.changed.all()


def test_a_pixel_is_equally_likely_to_go_anywhere():
    data = small(20_000, shape=(1, 2, 2))
    places = permutations(data, shuffle_pixels(data, per_image=True), "train")
    for pixel in places.T:
        assert torch.allclose(pixel.bincount() / 20_000, torch.full((4,), 0.25), atol=0.02)


# Bad input


@pytest.mark.parametrize("corrupt", FRACTIONAL)
@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), "half", None])
def test_a_fraction_outside_0_and_1_is_refused(corrupt, fraction):
    with pytest.raises(ArgumentError, match=r"fraction: given .* between 0 and 1"):
        corrupt(small(), fraction)


@pytest.mark.parametrize("corrupt", FRACTIONAL)
@pytest.mark.parametrize("seed", [-1, 0.5, "0", None])
def test_a_seed_is_a_non_negative_integer(corrupt, seed):
    with pytest.raises(ArgumentError, match="seed: given"):
        corrupt(small(), seed=seed)


@pytest.mark.parametrize("parts", [("training",), "test", (), ("train", None)])
def test_an_unknown_part_is_refused(parts):
    with pytest.raises(ArgumentError, match=r"parts: given .*'train', 'validation', 'test'"):
        random_labels(small(), parts=parts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_corruption_is_the_same_on_every_device():
    for corrupt in FRACTIONAL:
        there = corrupt(small().to("cuda"), 0.5, seed=1)
        assert there.device.type == "cuda"
        assert there.replaced.device.type == "cuda"
        assert there.fingerprint == corrupt(small(), 0.5, seed=1).fingerprint
