"""What counts as the same computation, and what does not."""

import builtins
import functools
import importlib
import itertools
import json
import linecache
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from toys import relabelled, toy_data, toy_mlp

from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.probes import Probe
from memhelpers.errors import ArgumentError
from memhelpers.networks import mlp
from memhelpers.runs import fingerprint
from memhelpers.training import fit, halve_every
from tools import chapter

MODULE = '''
"""A module of the reader's own."""
import numpy as np
from memhelpers import corrupt

rate = 0.1

def helper(x):
    """What it does."""
    return np.sin(x) * rate  # a comment

class Scale:
    by = 2

    def apply(self, x):
        return x * self.by

def experiment(seed, scale=Scale):
    """One run."""
    return helper(seed) + scale().apply(seed)

def unused(x):
    return x
'''


class Modules:
    """Imports a source as a new module; its function `experiment` is what is asked about."""

    numbers = itertools.count()

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, source: str, name: str = "experiment"):
        module = f"version_{next(self.numbers)}"
        (self.folder / f"{module}.py").write_text(source)
        importlib.invalidate_caches()
        return getattr(importlib.import_module(module), name)


@pytest.fixture
def imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return Modules(tmp_path)


def version(function) -> list[str]:
    return fingerprint.of({"experiment": function})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ("What it does.", "What it does, in other words."),
        ('"""A module of the reader\'s own."""', ""),
        ("np.sin(x) * rate ", "( np.sin( x ) *rate)  "),
        ("def unused(x):\n    return x", "def unused(x):\n    return 2 * x"),
        ("def helper", "\n\n\nfirst = 1\n\ndef helper"),
    ],
)
def test_comments_docstrings_layout_and_what_is_not_used_do_not_count(imported, old, new):
    assert old in MODULE
    assert version(imported(MODULE.replace(old, new))) == version(imported(MODULE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.sin", "np.cos"),
        ("rate = 0.1", "rate = 0.2"),
        ("rate = 0.1", "rate = '0.1'"),
        ("by = 2", "by = 3"),
        ("return x * self.by", "return x + self.by"),
        ("helper(seed) +", "helper(seed) -"),
        ("scale=Scale", "scale=None"),
        ("import numpy as np", "import torch as np"),
    ],
)
def test_what_a_function_does_and_uses_counts(imported, old, new):
    assert old in MODULE
    assert version(imported(MODULE.replace(old, new))) != version(imported(MODULE))


def edited(monkeypatch, name: str, change) -> None:
    """Let a module of the package read as if it had been edited."""
    real = fingerprint._source
    file = sys.modules[f"memhelpers.{name}"].__file__
    monkeypatch.setattr(fingerprint, "_source", lambda f: change(real(f)) if f == file else real(f))


def experiment(seed: int):
    return fit(toy_mlp(DATA), DATA, seeds=[seed], epochs=1)


DATA = toy_data()


@pytest.mark.parametrize("name", ["training", "ensemble", "networks", "seeding"])
def test_an_edit_of_the_engine_counts_whether_or_not_it_is_named(monkeypatch, name):
    for function in (experiment, lambda seed: seed):
        with monkeypatch.context() as patch:
            before = version(function)
            edited(patch, name, lambda source: source + "\nmore = 1\n")
            assert version(function) != before


@pytest.mark.parametrize("name", ["charts", "figures", "lab", "sweep", "store", "packing", "stats"])
def test_an_edit_of_what_draws_stores_packs_or_is_not_used_does_not_count(monkeypatch, name):
    importlib.import_module(f"memhelpers.{name}")
    before = version(experiment)
    edited(monkeypatch, name, lambda source: source + "\nmore = 1\n")
    assert version(experiment) == before


def test_a_docstring_of_the_engine_does_not_count(monkeypatch):
    before = version(experiment)
    edited(monkeypatch, "training", lambda s: s.replace('"""The one training loop', '"""A loop'))
    assert version(experiment) == before


def test_a_module_that_is_referred_to_counts_with_those_that_it_imports(monkeypatch):
    from memhelpers import sensitivity

    def measure(seed):
        return sensitivity.gini(seed)

    before = version(measure)
    assert any(line.startswith("module memhelpers.engine.curvature = ") for line in before)
    edited(monkeypatch, "curvature", lambda source: source + "\nmore = 1\n")
    assert version(measure) != before


def test_a_module_that_is_imported_inside_a_function_counts(monkeypatch):
    def measure(seed):
        from memhelpers.stats import bootstrap

        return bootstrap

    before = version(measure)
    assert any(line.startswith("module memhelpers.stats = ") for line in before)


def test_a_dataset_counts_by_its_pixels_and_labels_not_by_its_object():
    def with_data(data):
        return lambda seed: data

    assert version(with_data(toy_data())) == version(with_data(toy_data()))
    assert version(with_data(toy_data())) != version(with_data(relabelled(toy_data(), 1)))


@dataclass
class Config:
    rate: float = 0.1


class Plain:
    def __init__(self, rate):
        self.rate = rate


def nested():
    looped = [1]
    looped.append(looped)
    return looped


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x,
        lambda x: -float(x),
        str,
        lambda x: "long " * 50 + str(x),
        lambda x: [1, (2, {"three": x})],
        lambda x: {x, 10, 20},
        lambda x: range(x),
        lambda x: np.arange(x),
        lambda x: np.array(["a", x], dtype=object),
        lambda x: np.float32(x),
        lambda x: torch.arange(x),
        lambda x: torch.tensor(float(x), dtype=torch.bfloat16),
        lambda x: pd.DataFrame({"a": [x, 1], "b": ["x", "y"]}),
        lambda x: pd.Series([x]),
        lambda x: Config(x),
        lambda x: Plain(x),
        lambda x: Probe("weight_norm", epochs=[x]),
        lambda x: halve_every(x),
        lambda x: functools.partial(max, x),
        lambda x: functools.cache(lambda: x),
        lambda x: Plain(x).__init__,
        lambda x: Ensemble.initialize(mlp((1, 2, 2), [2], 2), [x]),
        lambda x: [nested(), x],
        lambda x: (lambda: x, np.mean, torch.float32, torch.Size([x])),
    ],
)
def test_values_count_by_what_they_are(make):
    a, same, other = (fingerprint.of({"value": make(x)}) for x in (3, 3, 4))
    assert a == same
    assert a != other


def test_the_device_does_not_count():
    assert fingerprint.of({"d": torch.device("cpu")}) == fingerprint.of(
        {"d": torch.device("cuda", 1)}
    )


def test_a_file_counts_by_its_content(tmp_path):
    found = []
    for name, content in (("a.npz", b"1"), ("b.npz", b"1"), ("b.npz", b"2")):
        (tmp_path / name).write_bytes(content)
        found.append(fingerprint.of({"path": tmp_path / name}))
    assert found[0] == found[1] != found[2]
    assert fingerprint.of({"path": str(tmp_path / "b.npz")}) != found[2]


class Weighted(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    "make",
    [
        lambda: open(__file__),  # noqa: SIM115
        lambda: random.Random(0),
        lambda: np.random.default_rng(0),
        lambda: torch.Generator(),
        lambda: nn.Linear(1, 1),
        Weighted,
        lambda: iter([1]),
        lambda: np.random.default_rng(0).random,
    ],
)
def test_what_cannot_be_pinned_down_is_refused_by_name(make):
    culprit = make()

    def uses(seed):
        return culprit

    with pytest.raises(ArgumentError, match=r"uses: culprit.* as a parameter of the run"):
        version(uses)


def test_lambdas_count_by_their_instructions():
    first, second, third = [lambda x: x + 1, lambda x: x + 1, lambda x: x + 2]
    assert version(first) == version(second) != version(third)


def test_a_function_without_source_counts_by_its_instructions():
    made = []
    for text in ("x + 1", "x + 1", "x in {'a', 'b'}"):
        namespace = {"__name__": "nowhere"}
        exec(f"def f(x): return {text}", namespace)
        made.append(version(namespace["f"]))
    assert made[0] == made[1] != made[2]


def test_functions_of_a_notebook_count_by_their_source():
    made = []
    for place, comment in (("<cell-1>", "# one"), ("<cell-2>", "# two")):
        source = f"def f(x):\n    return g(x)  {comment}\n\ndef g(x):\n    return x\n"
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        namespace = {"__name__": "__main__"}
        exec(compile(source, place, "exec"), namespace)
        made.append(version(namespace["f"]))
        assert linecache.getlines(place)
    assert made[0] == made[1]


def test_a_chapter_run_without_jupyter_has_the_source_of_its_cells(tmp_path):
    def notebook(source):
        cell = {"cell_type": "code", "id": "a", "metadata": {"tags": ["run"]}, "source": [source]}
        path = tmp_path / "77-x.ipynb"
        path.write_text(json.dumps({"cells": [cell]}))
        return version(chapter.run(path)["f"])

    first = notebook("def f(seed):\n    'One.'\n    return seed")
    assert notebook("def f(seed):\n    'Two.'\n    return seed  # two") == first
    assert notebook("def f(seed):\n    return -seed") != first


def test_recursion_and_decorators_are_followed(imported):
    source = """
import functools

def noisy(function):
    @functools.wraps(function)
    def inside(*a):
        return function(*a) + 1
    return inside

@functools.lru_cache
def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

@noisy
def experiment(seed):
    return even(seed)
"""
    first = version(imported(source))
    assert version(imported(source)) == first
    for old, new in (("+ 1", "+ 2"), ("n != 0", "n > 0"), ("even(seed)", "even(seed + 1)")):
        assert version(imported(source.replace(old, new))) != first


def test_an_imported_helper_module_of_the_readers_own_counts_as_a_whole(imported):
    helper = imported("def f(x):\n    'One.'\n    return x\n", "f").__module__
    uses = imported(f"import {helper} as h\ndef experiment(seed): return h.f(seed)\n")
    before = version(uses)
    path = imported.folder / f"{helper}.py"
    path.write_text("# One more line.\n\ndef f(x):\n    'Another.'\n    return x\n")
    assert version(uses) == before
    path.write_text("def f(x):\n    'One.'\n    return -x\n")
    with pytest.raises(ArgumentError, match=r"f, edited since .*restart"):  # -x is not what runs
        version(uses)
    del sys.modules[helper]
    uses.__globals__["h"] = importlib.import_module(helper)
    assert version(uses) != before


def test_a_function_edited_since_counts_as_what_runs(imported):
    source = "def experiment(seed):\n    return seed\n"
    runs = imported(source)
    (imported.folder / f"{runs.__module__}.py").write_text(source.replace("return", "return -"))
    assert version(runs) != version(imported(source.replace("return", "return -")))


def test_the_engine_as_it_is_on_disk_is_what_runs():
    for name in ("training", "sensitivity", "curvature", "corrupt", "stats", "claims"):
        module = importlib.import_module(f"memhelpers.{name}")
        functions = list(fingerprint._functions_of(module))
        known = fingerprint._compiled(fingerprint._source(module.__file__))
        assert len(functions) > 3
        assert all(f.__code__.co_qualname in known for f in functions)
        fingerprint._check_loaded(module.__name__, fingerprint._source(module.__file__))


def test_the_same_function_of_another_module_or_a_script_is_the_same(imported):
    assert version(imported(MODULE)) == version(imported(MODULE))


def test_networks_of_one_architecture_are_told_from_others():
    a, same = mlp((1, 3, 3), [4], 2), mlp((1, 3, 3), [4], 2)
    assert fingerprint.architecture(a) == fingerprint.architecture(same)
    for other in (mlp((1, 3, 3), [5], 2), nn.Sequential(*a, nn.ReLU())):
        assert fingerprint.architecture(other) != fingerprint.architecture(a)


def test_a_setting_that_a_layer_does_not_show_counts_in_its_architecture():
    from memhelpers.networks import Crop

    assert repr(Crop(1)) == repr(Crop(2))
    assert fingerprint.architecture(Crop(1)) != fingerprint.architecture(Crop(2))


def test_builtins_are_no_dependency():
    def count(seed):
        return len(range(seed))

    assert not [line for line in version(count) if "len" in line]
    assert hasattr(builtins, "len")
