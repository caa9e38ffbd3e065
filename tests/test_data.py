"""Loading: what arrives, that it is the same each time, and every way in which it can go wrong."""

import hashlib
import io
import os
import pickle
import struct
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import datasets

from memhelpers.data import Part, load
from memhelpers.errors import ArgumentError, DataError
from memhelpers.inputs import sources

DIGITS_FINGERPRINT = "75b888ee41896c83"
MNIST_FINGERPRINT = "6da7766c29a8ab0b"
THOUSAND_DIGITS_FINGERPRINT = "2f7107038d0f921f"
few_examples = settings(max_examples=25, deadline=None, derandomize=True)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("MEMHELPERS_DATA", str(tmp_path))
    return tmp_path


def own(n: int = 60, classes: int = 3, shape=(8, 8), dtype=np.uint8, part: str = "") -> dict:
    """Arrays as a reader might bring them."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, *shape)).astype(dtype)
    return {f"x{part}": x, f"y{part}": np.arange(n) % classes}


def save(path: Path, arrays: dict) -> Path:
    np.savez(path, **arrays)
    return path


# The embedded digits


def test_digits_come_in_three_parts_of_fixed_size_scaled_to_one(digits):
    assert [len(part) for part in digits.parts.values()] == [1200, 297, 300]
    assert digits.shape == (1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.n_classes == 10
    assert digits.train.x.dtype == torch.float32
    assert digits.train.y.dtype == torch.int64
    assert (digits.train.x.min(), digits.train.x.max()) == (0, 1)
    assert digits.scaling == "pixel / 16"
    assert not digits.replaced.any()
    assert not digits.changed.any()


def test_the_parts_of_the_digits_are_all_of_them_and_share_none(digits):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    every = torch.cat([part.x for part in digits.parts.values()]).flatten(1) * 16
    rows = np.column_stack([every.numpy(), np.concatenate([p.y for p in digits.parts.values()])])
    expected = np.column_stack([images, labels])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, expected))


def test_every_part_of_the_digits_has_all_classes(digits):
    for part in digits.parts.values():
        assert part.y.bincount(minlength=10).min() >= 15


def test_the_fingerprint_of_the_digits_is_the_same_everywhere(digits):
    assert digits.fingerprint == DIGITS_FINGERPRINT
    assert load("digits").fingerprint == DIGITS_FINGERPRINT


def test_a_data_set_describes_itself_in_one_line(digits):
    line = digits.subset(100, balanced=True).describe()
    assert line.startswith(
        "digits: 100 train, 297 validation, 300 test; 1x8x8 images in 10 classes"
    )
    assert "pixel / 16; fingerprint " in line
    assert "subset(n=100, balanced=True, seed=0)" in line
    assert "\n" not in line


# Fingerprint


@few_examples
@given(st.sampled_from(["train", "validation", "test"]), st.integers(0, 296), st.booleans())
def test_the_fingerprint_changes_with_any_pixel_and_any_label(digits, name, example, label):
    part = getattr(digits, name)
    x, y = part.x.clone(), part.y.clone()
    if label:
        y[example] = (y[example] + 1) % 10
    else:
        x[example, 0, 3, 4] = torch.nextafter(x[example, 0, 3, 4], torch.tensor(2.0))
    assert digits.replace(**{name: Part(x, y)}).fingerprint != DIGITS_FINGERPRINT


def test_the_fingerprint_changes_with_the_scaling_and_with_the_roles_of_the_parts(digits):
    swapped = digits.replace(validation=digits.test, test=digits.validation)
    others = [swapped, digits.replace(scaling="as given")]
    assert len({digits.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_the_fingerprint_does_not_depend_on_the_type_in_which_arrays_came():
    arrays = own(dtype=np.float32)
    double = {"x": arrays["x"].astype(np.float64), "y": arrays["y"].astype(np.uint8)}
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    assert load(double).fingerprint == load(arrays).fingerprint == load(tensors).fingerprint


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_fingerprint_does_not_depend_on_the_device(digits):
    there = load("digits", examples=200, side=5, device="cuda")
    assert there.device.type == "cuda"
    assert there.fingerprint == load("digits", examples=200, side=5).fingerprint


# Parts, subsets, sizes


def test_moving_to_a_device_keeps_everything(digits, monkeypatch):
    assert digits.to("cpu").fingerprint == digits.fingerprint
    monkeypatch.setattr("memhelpers.data._check_device", torch.device)
    moved = digits.to("meta")  # the one other device that is everywhere
    tensors = [
        moved.replaced,
        moved.changed,
        *(t for p in moved.parts.values() for t in (p.x, p.y)),
    ]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_a_part_takes_examples_in_the_order_asked_for(digits):
    taken = digits.train.take(torch.tensor([5, 2]))
    assert torch.equal(taken.x[0], digits.train.x[5])
    assert taken.y.tolist() == digits.train.y[[5, 2]].tolist()
    assert len(taken) == 2


def test_the_shapes_and_types_of_a_part_are_checked():
    x, y = torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ArgumentError, match=r"x: given .*float64"):
        Part(x.double(), y)
    with pytest.raises(ArgumentError, match="x: given"):
        Part(x[0], y)
    with pytest.raises(ArgumentError, match=r"y: given .*allowed: int64 \[3\]"):
        Part(x, y[:2])
    with pytest.raises(ArgumentError, match=r"y: given .*int32"):
        Part(x, y.int())


def test_masks_are_of_the_training_examples(digits):
    with pytest.raises(ArgumentError, match=r"replaced: given .*allowed: bool \[1200\]"):
        digits.replace(replaced=torch.zeros(3, dtype=torch.bool))


@few_examples
@given(n=st.integers(1, 1200), seed=st.integers(0, 2**40), balanced=st.booleans())
def test_a_subset_has_exactly_n_examples_balanced_where_asked(digits, n, seed, balanced):
    n = min(max(n, 10), 900) if balanced else n  # the rarest digit has more than 90 examples
    data = digits.subset(n, balanced=balanced, seed=seed)
    assert len(data.train) == len(data.replaced) == len(data.changed) == n
    assert data.test is digits.test
    counts = data.train.y.bincount(minlength=10)
    assert not balanced or counts.max() - counts.min() <= 1


@pytest.mark.parametrize("balanced", [False, True])
def test_a_smaller_subset_of_the_same_seed_lies_within_the_larger(digits, balanced):
    small, large = (digits.subset(n, balanced=balanced, seed=3).train for n in (50, 200))
    rows = set(map(tuple, large.x.flatten(1).tolist()))
    assert all(tuple(row) in rows for row in small.x.flatten(1).tolist())


def test_subsets_differ_by_seed_and_keep_masks_with_their_examples(digits):
    mask = digits.train.y == 3
    data = digits.replace(replaced=mask, changed=mask).subset(100, seed=1)
    assert torch.equal(data.replaced, data.train.y == 3)
    assert torch.equal(data.changed, data.train.y == 3)
    assert data.fingerprint != digits.subset(100, seed=2).fingerprint


def test_a_subset_larger_than_the_data_is_refused(digits):
    with pytest.raises(ArgumentError, match="n: given 1201; allowed: an integer from 1 to 1200"):
        digits.subset(1201)
    with pytest.raises(
        ArgumentError, match="examples: given 5000; allowed: an integer from 1 to 1200"
    ):
        load("digits", examples=5000)


def test_a_balanced_subset_larger_than_a_class_affords_is_refused():
    labels = np.array([0] * 50 + [1] * 10)
    data = load({**own(60), "y": labels})
    most = 2 * int((data.train.y == 1).sum()) + 1  # the first class may have one more
    with pytest.raises(ArgumentError, match=rf"n: given 30; .*each class: '1' has {most // 2}"):
        data.subset(30, balanced=True)
    with pytest.raises(ArgumentError, match=f"examples: given 30; .*'1' has {most // 2}"):
        load({**own(60), "y": labels}, examples=30, balanced=True)
    assert len(data.subset(most, balanced=True).train) == most
    with pytest.raises(ArgumentError, match=f"n: given {most + 1}"):
        data.subset(most + 1, balanced=True)


def test_resizing_28_to_14_is_the_mean_of_two_by_two():
    data = load(own(shape=(28, 28)))
    x = data.train.x
    blocks = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    smaller = data.resize(14)
    assert torch.allclose(smaller.train.x, blocks, atol=1e-6)
    assert smaller.validation.x.shape[1:] == smaller.test.x.shape[1:] == (1, 14, 14)


@few_examples
@given(side=st.integers(1, 8), height=st.integers(8, 13), width=st.integers(8, 13))
def test_resizing_weights_every_pixel_by_its_area(side, height, width):
    data = load(own(20, shape=(height, width, 3)))
    smaller = data.resize(side)
    assert smaller.shape == (3, side, side)
    assert torch.allclose(smaller.train.x.mean((2, 3)), data.train.x.mean((2, 3)), atol=1e-5)
    fine = data.train.x.repeat_interleave(side, 2).repeat_interleave(side, 3)
    expected = torch.nn.functional.avg_pool2d(fine, (height, width))
    assert torch.allclose(smaller.train.x, expected, atol=1e-5)


def test_resizing_to_the_same_side_changes_nothing(digits):
    assert digits.resize(8).fingerprint == digits.fingerprint


@pytest.mark.parametrize("side", [9, 0, -1, 4.0, "4"])
def test_a_side_larger_than_the_image_or_no_size_at_all_is_refused(digits, side):
    with pytest.raises(ArgumentError, match=r"side: given .*allowed: an integer"):
        digits.resize(side)
    with pytest.raises(ArgumentError, match="side: given"):
        load("digits", side=side)


def test_loading_takes_subset_side_and_seed_at_once(digits):
    data = load("digits", examples=100, side=4, balanced=True, seed=2)
    assert data.fingerprint == digits.subset(100, balanced=True, seed=2).resize(4).fingerprint
    assert data.train.y.bincount().tolist() == [10] * 10


@pytest.mark.parametrize(
    "argument", [{"examples": 0}, {"side": 1.5}, {"seed": -1}, {"scale": "max"}, {"balanced": "no"}]
)
def test_sizes_and_seeds_are_checked_before_any_file_is_looked_for(argument, folder):
    with pytest.raises(ArgumentError, match=next(iter(argument))):
        load("mnist", **argument)


def test_balanced_without_a_size_takes_as_many_as_there_can_be(digits):
    counts = load("digits", balanced=True).train.y.bincount()
    assert set(counts.tolist()) == {int(digits.train.y.bincount().min())}


def test_a_balanced_subset_has_every_class(digits):
    with pytest.raises(ArgumentError, match="n: given 9; allowed: an integer of at least 10"):
        digits.subset(9, balanced=True)


def test_a_class_whose_only_example_is_held_out_is_refused():
    for place in range(60):
        y = np.arange(60) % 2
        y[place] = 2
        try:
            assert 2 in load({**own(60), "y": y}).train.y
        except ArgumentError as error:
            assert "class '2' without a training example" in str(error)  # noqa: PT017
            break
    else:
        raise AssertionError("every example trains")


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ArgumentError, match="device: given 'warp:9'"):
        load("digits", device="warp:9")


# The reader's own arrays


def test_own_arrays_are_split_and_scaled():
    data = load(own(60, classes=3, shape=(5, 6)))
    assert [len(part) for part in data.parts.values()] == [40, 10, 10]
    assert data.shape == (1, 5, 6)
    assert data.classes == ("0", "1", "2")
    assert data.scaling == "pixel / 255"
    assert data.train.x.max() <= 1
    assert data.steps == ("validation: 10 split off at random", "test: 10 split off at random")


def test_own_arrays_reach_the_parts_with_their_own_labels():
    n = 60
    x = np.repeat(np.arange(n, dtype=np.float32), 4).reshape(n, 2, 2)
    data = load((x, np.arange(n) % 5))
    seen = []
    for part in data.parts.values():
        number = part.x[:, 0, 0, 0].long()
        assert torch.equal(part.y, number % 5)
        assert torch.equal(number, number.sort().values)  # the order in which they were given
        seen += number.tolist()
    assert sorted(seen) == list(range(n))


def test_parts_that_are_given_stay_as_they_are():
    arrays = own(40, part="_train") | own(9, part="_validation") | own(12, part="_test")
    data = load(arrays)
    assert [len(part) for part in data.parts.values()] == [40, 9, 12]
    assert torch.equal(data.train.x[:, 0], torch.from_numpy(arrays["x_train"]) / 255)
    assert data.steps == ()


def test_a_part_that_is_not_given_is_split_off_the_training_part():
    data = load(own(40, part="_train") | own(12, part="_test"))
    assert [len(part) for part in data.parts.values()] == [32, 8, 12]
    data = load(own(40, part="_train"))
    assert [len(part) for part in data.parts.values()] == [24, 8, 8]


def test_floats_are_kept_as_they_are():
    arrays = own(dtype=np.float64)
    data = load(arrays)
    assert data.scaling == "as given"
    assert data.train.x.max() > 200


def test_a_data_set_does_not_change_with_the_arrays_that_it_was_made_of():
    arrays = own(40, part="_train", dtype=np.float32) | own(9, part="_test", dtype=np.float32)
    data = load(arrays)
    before = data.fingerprint
    arrays["x_test"][:] = 0
    arrays["y_test"][:] = 0
    assert data.replace().fingerprint == before  # reckoned anew


def test_the_fingerprint_sees_what_is_changed_in_place():
    data = load(own())
    before = data.fingerprint
    data.train.x[3] = 0.5
    changed = data.fingerprint
    data.train.y[3] += 1
    assert len({before, changed, data.fingerprint}) == 3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 5), (1, 4, 5)),
        ((4, 5, 3), (3, 4, 5)),
        ((4, 5, 1), (1, 4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((7,), (1, 1, 7)),
    ],
)
def test_the_layout_follows_from_the_shape(shape, expected):
    arrays = own(shape=shape)
    data = load(arrays)
    assert data.shape == expected
    first = torch.from_numpy(arrays["x"]) / 255
    first = first.permute(0, 3, 1, 2) if shape[-1] in (1, 3) else first
    total = sum(part.x.sum() for part in data.parts.values())
    assert total.item() == pytest.approx(first.sum().item(), rel=1e-5)
    kept = data.train.x[0].flatten()
    assert any(torch.equal(kept, image.flatten()) for image in first)


@pytest.mark.parametrize("shape", [(3, 4, 3), (4, 4, 4), (1, 5, 1)])
def test_a_layout_that_is_left_open_must_be_named(shape):
    with pytest.raises(ArgumentError, match="layout: given None; allowed: 'NCHW' or 'NHWC'"):
        load(own(shape=shape))
    assert load(own(shape=shape), layout="NCHW").shape == shape
    assert load(own(shape=shape), layout="NHWC").shape == (shape[2], *shape[:2])


def test_a_layout_that_is_unknown_is_refused():
    with pytest.raises(ArgumentError, match="layout: given 'CHWN'; allowed: one of 'NCHW', 'NHWC'"):
        load(own(), layout="CHWN")


def test_classes_can_be_named():
    data = load({**own(classes=2), "classes": ["cat", "dog", "emu"]})
    assert data.classes == ("cat", "dog", "emu")
    assert data.n_classes == 3


def test_a_file_gives_what_its_arrays_give(tmp_path):
    arrays = {**own(classes=3, shape=(4, 4, 3)), "classes": np.array(["a", "b", "c"])}
    data = load(save(tmp_path / "mine.npz", arrays))
    assert data.name == "mine"
    assert data.fingerprint == load(arrays).fingerprint
    assert data.classes == ("a", "b", "c")


def test_a_file_is_also_looked_for_in_the_data_folder(folder, monkeypatch):
    save(folder / "mine.npz", own())
    assert load("mine.npz").name == "mine"
    monkeypatch.setenv("MEMHELPERS_DATA", str(folder))
    assert load("mine.npz").name == "mine"


def test_the_data_folder_is_that_of_the_variable_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMHELPERS_DATA", str(tmp_path / "variable"))
    assert sources.data_folder() == tmp_path / "variable"
    monkeypatch.delenv("MEMHELPERS_DATA")
    assert sources.data_folder() == Path.home() / ".cache" / "memhelpers"


# Bad input


@pytest.mark.parametrize(
    "source", ["minst", "Digits", "", "data.csv", None, 3, [1, 2], np.zeros(3)]
)
def test_an_unknown_data_set_is_refused_with_the_list_of_those_known(source):
    with pytest.raises(ArgumentError, match=r"data: given .*'digits', 'mnist', 'cifar10', 'svhn'"):
        load(source)


def test_a_missing_file_is_named_with_the_places_searched(folder):
    with pytest.raises(DataError) as caught:
        load("absent.npz")
    assert "absent.npz" in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "MEMHELPERS_DATA" in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path, kept):
    whole = save(tmp_path / "mine.npz", own(500)).read_bytes()
    (tmp_path / "mine.npz").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=r"mine\.npz is not a complete \.npz file"):
        load(tmp_path / "mine.npz")


def test_an_altered_file_is_named(tmp_path):
    content = bytearray(save(tmp_path / "mine.npz", own(500)).read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz is not a complete"):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize("content", [b"no archive at all", b"\x93NUMPY"])
def test_a_file_of_another_kind_is_named(tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz is not a complete .*: it is no archive"):
        load(tmp_path / "mine.npz")


def test_a_file_that_claims_ten_terabytes_is_refused(tmp_path):
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (10**13 // 64, 8, 8)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(100))
    with pytest.raises(DataError, match=r"mine\.npz is not a complete"):
        load(tmp_path / "mine.npz")


def test_a_single_array_under_the_name_of_an_archive_is_refused(tmp_path):
    with (tmp_path / "mine.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"mine\.npz is not a complete"):
        load(tmp_path / "mine.npz")


def test_a_file_of_python_objects_is_never_unpickled(tmp_path):
    touched = tmp_path / "touched"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(touched),)

    objects = np.array([Payload(), Payload()], dtype=object)
    path = save(tmp_path / "mine.npz", {"x": objects, "y": np.arange(2)})
    with pytest.raises(DataError, match="without Python objects") as caught:
        load(path)
    assert "pickle" not in str(caught.value)  # which is no argument of `load`
    assert not touched.exists()


@pytest.mark.parametrize(
    "missing", [{"x"}, {"y"}, {"x", "y"}, {"y_train"}, {"x_train", "y_train"}, {"x_test"}]
)
def test_missing_keys_are_refused_with_the_list_of_those_allowed(missing):
    arrays = own() if missing <= {"x", "y"} else own(part="_train") | own(part="_test")
    kept = {key: value for key, value in arrays.items() if key not in missing}
    with pytest.raises(
        ArgumentError, match=r"data: given 'the keys .*allowed: x and y; or x_train"
    ):
        load(kept)


def test_a_key_that_would_be_ignored_is_refused():
    with pytest.raises(ArgumentError, match="x_valid, y_valid"):
        load(own(part="_train") | own(part="_valid"))


def test_labels_may_be_floats_that_are_whole_numbers():
    whole = load(own())
    assert load(own() | {"y": own()["y"].astype(float)}).fingerprint == whole.fingerprint
    assert load(own() | {"y": own()["y"].astype(np.float32)}).classes == whole.classes


def replaced(**changes) -> dict:
    """Own arrays in which some are wrong."""
    return own() | changes


with_nan, with_infinity = (own(dtype=np.float32)["x"] for _ in range(2))
with_nan[7, 1, 1] = np.nan
with_infinity[9, 1, 1] = -np.inf
labels = own()["y"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (replaced(y=labels[:-1]), "y: given '59 labels'; allowed: 60, one for each example of x"),
        (replaced(y=labels[:0]), "y: given '0 labels'"),
        (replaced(x=with_nan), "x: given 'a value that is NaN or infinite in example 7'"),
        (replaced(x=with_infinity), "x: given 'a value that is NaN or infinite in example 9'"),
        (replaced(x=np.full((60, 2, 2), 1e300)), "x: given .* allowed: finite values"),
        (replaced(x=own()["x"].astype(complex)), "x: given 'values of type complex128'"),
        (replaced(x=own()["x"].astype(str)), "x: given 'values of type str"),
        (replaced(y=[None] * 60), "y: given 'an array of Python objects'; .*or of texts"),
        (replaced(x=[[1, 2], [3]]), "x: given 'list'; allowed: an array"),
        (replaced(x=np.zeros(60, np.uint8)), r"x: given 'an array of shape \[60\]'"),
        (replaced(x=np.zeros((0, 4, 4), np.uint8)), r"x: given 'an array of shape \[0, 4, 4\]'"),
        (replaced(x=np.zeros((60, 0, 4), np.uint8)), r"x: given 'an array of shape \[60, 0, 4\]'"),
        (replaced(x=np.ma.masked_equal(own()["x"], 0)), "x: given 'a masked array'"),
        (replaced(y=labels + 0.5), "y: given 'labels of type float64'; allowed: whole"),
        (replaced(y=np.where(labels, labels, np.nan)), "y: given 'labels of type float64'"),
        (replaced(y=labels > 0, classes=["a"]), "y: given 'label 1 of example 1'.*`classes`: 0"),
        (replaced(y=labels[:, None]), r"y: given 'an array of shape \[60, 1\]'; .*one label an"),
        (replaced(y=labels * 0), "y: given 'a single class, 0'; allowed: at least 2 classes"),
        (replaced(classes=["a", "b"]), "y: given 'label 2 of example 2'; .*`classes`: 0, 1$"),
        (replaced(classes=["a", "b"], y=[*"abc"] * 20), "y: given 'label c of example 2'.*: a, b$"),
        (replaced(classes=[1, 2, 3]), r"classes: given \[1, 2, 3\]; allowed: a list of names"),
        (replaced(classes="abc"), "classes: given"),
        (own(5), "x: given '5 examples'; allowed: at least 6"),
        (own(4, part="_train"), "x_train: given '4 examples'; allowed: at least 5"),
        (
            own(part="_train") | own(classes=4, part="_test"),
            "y_test: given 'label 3 of example 3'; allowed: those of y_train: 0, 1, 2$",
        ),
        (
            own(part="_train") | own(part="_test") | {"y_test": [*"abc"] * 20},
            "y_test: given 'texts'; allowed: whole numbers, as in y_train",
        ),
        (
            own(part="_train") | own(shape=(9, 9), part="_test"),
            "x_test: given '1x9x9 images'; allowed: 1x8x8 images, as in x_train",
        ),
        (
            own(part="_train") | own(dtype=np.float32, part="_test"),
            "x_test: given 'numbers of another type'; allowed: uint8 pixels, as in x_train",
        ),
    ],
)
def test_arrays_that_are_wrong_get_one_clear_error(arrays, message):
    with pytest.raises(ArgumentError, match=message):
        load(arrays)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (labels + 1, ("1", "2", "3")),
        (labels - 1, ("-1", "0", "1")),
        (labels * 10**6, ("0", "1000000", "2000000")),
        (np.array(["cat", "ant", "bee"])[labels], ("ant", "bee", "cat")),
        (np.array(["cat", "ant", "bee"], object)[labels], ("ant", "bee", "cat")),
        (labels == 1, ("0", "1")),
    ],
)
def test_labels_are_numbered_in_ascending_order_whatever_they_are(y, classes):
    data = load(replaced(y=y))
    assert data.classes == classes
    numbered = load(replaced(y=np.unique(y, return_inverse=True)[1]))
    assert data.fingerprint == numbered.fingerprint


def test_large_numbers_are_standardized_before_float32_loses_them():
    x = 1.7e9 + np.random.default_rng(0).normal(size=(600, 4))
    data = load((x, np.arange(600) % 2), scale="standard")
    assert len(data.train.x.unique()) > 1500
    assert data.train.x.std() == pytest.approx(1, abs=1e-3)


def test_columns_of_a_table_are_vectors_with_labels():
    table = pd.DataFrame({"a": np.linspace(0, 1, 60), "b": True, "kind": ["x", "y"] * 30})
    data = load((table[["a", "b"]], table["kind"]))
    assert data.train.x[..., 1].unique().tolist() == [1]
    assert (data.shape, data.classes) == ((1, 1, 2), ("x", "y"))


def test_labels_are_places_among_the_names_or_names():
    given = {"classes": ["z", "b", "q", "a"]}  # the last has no example
    by_place, by_name = (load(replaced(y=y, **given)) for y in (labels, np.array([*"zbq"])[labels]))
    assert by_place.classes == by_name.classes == ("z", "b", "q", "a")
    assert by_place.fingerprint == by_name.fingerprint


@pytest.mark.filterwarnings("ignore:the training part has mean")
@pytest.mark.parametrize("shape", [(8, 8), (4, 4, 3), (5,)])
def test_standardized_training_parts_have_mean_0_and_deviation_1(shape):
    arrays = own(shape=shape, dtype=np.float32)
    arrays["x"][..., 0] = 7  # the same in all images
    data = load(arrays, scale="standard")
    axes = (0,) if len(shape) == 1 else (0, 2, 3)
    deviation, mean = torch.std_mean(data.train.x.double(), axes, correction=0)
    same = torch.full_like(mean, len(shape) > 2 or len(shape) == 1).bool()
    same[..., 1:] = False
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviation, (~same).to(mean), atol=1e-5, rtol=0)
    raw = load(arrays)
    shifts = (raw.test.x - raw.test.x[:1]) / (data.test.x - data.test.x[:1])
    factors = [part[part.isfinite()] for part in shifts.movedim(1, 0)]  # of each channel
    assert len(shape) == 1 or all(f.std() < 1e-3 * f.mean() for f in factors if len(f))
    assert "standardized" in data.describe()


@pytest.mark.parametrize(
    ("x", "options", "warned"),
    [
        (own(dtype=np.float32)["x"], {}, True),
        (own(dtype=np.float32)["x"] / 255, {}, False),
        (own(dtype=np.float32)["x"] / 255 + 50, {}, True),
        (own(dtype=np.float32)["x"] / 1e7, {}, True),
        (own(dtype=np.int16)["x"], {}, True),
        (own()["x"], {}, False),
        (own(dtype=np.float32)["x"], {"scale": "standard"}, False),
        (np.array([[1e-3, 4254.0]] * 60) * labels[:, None], {}, True),
    ],
)
def test_numbers_far_from_0_are_warned_of_with_the_way_out(x, options, warned, recwarn):
    load(replaced(x=x), **options)
    told = [str(warning.message) for warning in recwarn]
    assert len(told) == warned
    assert all('scale="standard"' in one for one in told)


# Data sets that torchvision downloads


@pytest.fixture
def no_network(monkeypatch):
    """Every connection fails, as it does without a network."""

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn"])
def test_no_network_is_said_with_what_was_tried_and_what_to_do(name, folder, no_network):
    with pytest.raises(DataError) as caught:
        load(name)
    message = str(caught.value)
    assert f"{name} cannot be read or downloaded:" in message
    assert "Temporary failure in name resolution" in message
    assert str(folder) in message
    assert "MEMHELPERS_DATA" in message
    assert "Check the network" in message
    assert 'load("digits") needs no file' in message


def test_a_folder_that_cannot_be_written_is_said(folder, no_network, monkeypatch):
    (folder / "file").write_text("not a folder")
    monkeypatch.setenv("MEMHELPERS_DATA", str(folder / "file"))
    with pytest.raises(DataError, match="mnist cannot be read or downloaded"):
        load("mnist")


def test_a_truncated_download_is_said(folder, monkeypatch):
    def partial(url, filename, **kwargs):
        Path(filename).write_bytes(b"half of it")

    monkeypatch.setattr(datasets.utils, "_get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(datasets.utils, "_urlretrieve", partial)
    with pytest.raises(DataError, match="File not found or corrupted"):
        load("svhn")


def fake_mnist(folder: Path, monkeypatch, train: int = 50, test: int = 20) -> None:
    """A small MNIST in idx files."""
    rng = np.random.default_rng(0)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in ("train", train), ("t10k", test):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        head = struct.pack(">4i", 0x803, n, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        labels = (np.arange(n) % 10).astype(np.uint8)
        head = struct.pack(">2i", 0x801, n)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    monkeypatch.setattr(sources, "VALIDATION_SIZE", 10)


def test_mnist_is_read_from_its_raw_files(folder, monkeypatch, no_network):
    fake_mnist(folder, monkeypatch)
    data = load("mnist")
    assert [len(part) for part in data.parts.values()] == [40, 10, 20]
    raw = (folder / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes()
    image = torch.tensor(list(raw[16 : 16 + 784]), dtype=torch.float32) / 255
    assert torch.equal(data.train.x[0].flatten(), image)
    assert data.train.y.tolist() == [i % 10 for i in range(40)]
    assert data.validation.y.tolist() == [i % 10 for i in range(40, 50)]


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_raw_file_of_mnist_that_is_cut_short_is_said(name, folder, monkeypatch, no_network):
    fake_mnist(folder, monkeypatch)
    path = folder / "MNIST" / "raw" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="mnist cannot be read"):
        load("mnist")


def fake_cifar10(folder: Path, monkeypatch, per_batch: int = 20) -> np.ndarray:
    """A small CIFAR-10 in the format of the real one; returns all images, NHWC."""
    rng = np.random.default_rng(0)
    base = folder / "cifar-10-batches-py"
    base.mkdir()

    def write(name: str, content: dict) -> str:
        (base / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((base / name).read_bytes()).hexdigest()

    images, listing = [], []
    for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list:
        rows = rng.integers(0, 256, (per_batch, 3072)).astype(np.uint8)
        images.append(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels = [i % 10 for i in range(per_batch)]
        listing.append([name, write(name, {"data": rows, "labels": labels})])
    names = {"label_names": [f"thing {k}" for k in range(10)]}
    meta = datasets.CIFAR10.meta | {"md5": write("batches.meta", names)}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", listing[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", listing[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    monkeypatch.setattr(sources, "VALIDATION_SIZE", 30)
    return np.concatenate(images)


def test_cifar10_is_read_by_torchvision(folder, monkeypatch, no_network):
    images = fake_cifar10(folder, monkeypatch)
    data = load("cifar10")
    assert [len(part) for part in data.parts.values()] == [70, 30, 20]
    assert data.shape == (3, 32, 32)
    assert data.classes[3] == "thing 3"
    every = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert torch.equal(every, torch.from_numpy(images).permute(0, 3, 1, 2) / 255)


def test_an_altered_file_of_cifar10_is_said(folder, monkeypatch, no_network):
    fake_cifar10(folder, monkeypatch)
    (folder / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"altered")
    with pytest.raises(DataError, match="cifar10 cannot be read or downloaded"):
        load("cifar10")


def fake_svhn(folder: Path, monkeypatch) -> dict[str, np.ndarray]:
    """A small SVHN in .mat files, where the digit 0 has the label 10; returns X of each split."""
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    listing, images = dict(datasets.SVHN.split_list), {}
    for split, n in {"train": 60, "test": 20}.items():
        url, name, _ = listing[split]
        images[split] = rng.integers(0, 256, (32, 32, 3, n)).astype(np.uint8)
        y = (np.arange(n) % 10 + 1).astype(np.uint8)[:, None]
        savemat(folder / name, {"X": images[split], "y": y})
        listing[split] = [url, name, hashlib.md5((folder / name).read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", listing)
    monkeypatch.setattr(sources, "VALIDATION_SIZE", 15)
    return images


def test_svhn_is_read_by_torchvision(folder, monkeypatch, no_network):
    images = fake_svhn(folder, monkeypatch)
    data = load("svhn")
    assert [len(part) for part in data.parts.values()] == [45, 15, 20]
    assert data.shape == (3, 32, 32)
    assert data.classes == tuple("0123456789")
    assert data.train.y[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    expected = torch.from_numpy(images["test"]).permute(3, 2, 0, 1) / 255
    assert torch.equal(data.test.x, expected)


def test_the_table_of_tumours_needs_no_file(folder, no_network):
    data = load("breast_cancer", scale="standard")
    assert [len(part) for part in data.parts.values()] == [381, 94, 94]
    assert data.shape == (1, 1, 30)
    assert data.classes == ("malignant", "benign")
    assert data.train.x.std(0, correction=0).flatten().numpy() == pytest.approx(
        np.ones(30), abs=1e-5
    )
    radius, (malignant, benign) = data.train.x[:, 0, 0, 0], (data.train.y == k for k in (0, 1))
    assert radius[malignant].mean() > radius[benign].mean()  # labels belong to their rows


def test_an_altered_file_of_svhn_is_said(folder, monkeypatch, no_network):
    fake_svhn(folder, monkeypatch)
    (folder / "test_32x32.mat").write_bytes(b"altered")
    with pytest.raises(DataError, match="svhn cannot be read or downloaded"):
        load("svhn")


# Real files, where MEMHELPERS_DATA names their folder


def test_the_real_mnist_has_its_sizes_and_its_fingerprint(real_data):
    data = load("mnist")
    assert [len(part) for part in data.parts.values()] == [50_000, 10_000, 10_000]
    assert data.shape == (1, 28, 28)
    assert data.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.train.x.mean().item() == pytest.approx(0.1307, abs=1e-3)
    assert data.fingerprint == MNIST_FINGERPRINT


def test_the_papers_thousand_digits_are_balanced_and_14_by_14(real_data):
    data = load("mnist", examples=1000, side=14, balanced=True)
    assert data.shape == (1, 14, 14)
    assert data.train.y.bincount().tolist() == [100] * 10
    assert data.fingerprint == THOUSAND_DIGITS_FINGERPRINT


def test_real_cifar10_images_come_as_the_readers_own_arrays(real_data):
    data = load("cifar10-exact-6k.npz", examples=500, balanced=True)
    assert data.shape == (3, 32, 32)
    assert data.n_classes == 10
    assert [len(part) for part in data.parts.values()] == [500, 1017, 1017]
    assert data.train.y.bincount().tolist() == [50] * 10
    assert data.test.y[:4].tolist() == [3, 8, 8, 0]
    with np.load(Path(real_data) / "cifar10-exact-6k.npz", allow_pickle=False) as stored:
        first = torch.from_numpy(stored["x_test"][0]).permute(2, 0, 1) / 255
    assert torch.equal(data.test.x[0], first)


def test_vectors_have_no_side():
    vectors = np.random.default_rng(0).random((60, 12)), np.arange(60) % 3
    with pytest.raises(ArgumentError, match="side: given 1; allowed: None, for vectors"):
        load(vectors, side=1)
