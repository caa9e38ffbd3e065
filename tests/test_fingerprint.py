"""What counts as the same computation, and what does not."""

import functools
import importlib
import itertools
import json
import linecache
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from toys import relabelled, toy_data, weight_norm

from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.perturbations import dropout
from memhelpers.engine.probes import Probe
from memhelpers.errors import ArgumentError
from memhelpers.networks import mlp
from memhelpers.runs import fingerprint
from memhelpers.training import halve_every
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


class Notebook:
    """Executes a source as a notebook's cell; its function `experiment` is what is asked about."""

    numbers = itertools.count()

    def __call__(self, source: str, name: str = "experiment"):
        place = f"<cell {next(self.numbers)}>"
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        namespace = {"__name__": "__main__"}
        exec(compile(source, place, "exec"), namespace)
        return namespace[name]


class Modules:
    """Imports a source as a module of the same name each time."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, source: str, name: str = "experiment", module: str = "reader"):
        path = self.folder / f"{module}.py"
        path.write_text(source)
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        module = module.removesuffix("/__init__")
        sys.modules.pop(module, None)
        return getattr(importlib.import_module(module), name)


@pytest.fixture(params=["notebook", "module"])
def made(request, imported):
    """A function of a notebook's cell, and of a module of the reader's own."""
    return Notebook() if request.param == "notebook" else imported


@pytest.fixture
def imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Modules(tmp_path)
    for module in ("reader", "helper", "helper.inner", "helper.deep"):
        sys.modules.pop(module, None)


def version(function) -> list[str]:
    return fingerprint.lines({"experiment": function})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ('"""A module of the reader\'s own."""', ""),
        ("np.sin(x) * rate ", "( np.sin( x ) *rate)  "),
        ("def helper", "\n\n\ndef helper"),
    ],
)
def test_comments_and_layout_do_not_count(made, old, new):
    assert old in MODULE
    before = version(made(MODULE))
    assert version(made(MODULE.replace(old, new))) == before


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
def test_what_a_function_does_and_uses_counts(made, old, new):
    assert old in MODULE
    before = version(made(MODULE))
    assert version(made(MODULE.replace(old, new))) != before


def test_in_a_notebook_what_is_not_used_does_not_count():
    more = MODULE.replace("def unused(x):\n    return x", "def unused(x):\n    return 2 * x")
    assert version(Notebook()(more)) == version(Notebook()(MODULE))


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of this package that may be edited."""
    shutil.copytree(Path(fingerprint.__file__).parents[1], tmp_path / "memhelpers")
    monkeypatch.setattr(fingerprint, "__file__", tmp_path / "memhelpers/runs/fingerprint.py")
    return tmp_path / "memhelpers"


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        *((name, True) for name in ("training", "seeding", "engine/ensemble", "inputs/arrays")),
        *((name, False) for name in ("runs/store", "runs/fingerprint")),
    ],
)
def test_this_package_counts_but_for_what_stores(package, name, counts):
    before = fingerprint._of_package()
    assert f"memhelpers = source {before}" in version(lambda seed: seed)
    with (package / f"{name}.py").open("a") as file:
        file.write("more = 1\n")
    assert (fingerprint._of_package() != before) == counts


def test_a_dataset_counts_by_its_pixels_and_labels_not_by_its_object():
    def with_data(data):
        return lambda seed: data

    assert version(with_data(toy_data())) == version(with_data(toy_data()))
    assert version(with_data(toy_data())) != version(with_data(relabelled(toy_data(), 1)))


@dataclass
class Config:
    rate: float = 0.1


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
        lambda x: Probe(weight_norm, epochs=[x]),
        lambda x: halve_every(x),
        lambda x: functools.partial(max, x),
        lambda x: functools.cache(lambda: x),
        lambda x: (lambda: x, np.mean, torch.float32, torch.Size([x]), dropout(x / 5)),
    ],
)
def test_values_count_by_what_they_are(make):
    a, same, other = (fingerprint.lines({"value": make(x)}) for x in (3, 3, 4))
    assert a == same
    assert a != other


def test_the_device_does_not_count():
    assert fingerprint.lines({"d": torch.device("cpu")}) == fingerprint.lines(
        {"d": torch.device("cuda", 1)}
    )


def test_a_file_counts_by_its_content(tmp_path):
    found = []
    for name, content in (("a.npz", b"1"), ("b.npz", b"1"), ("b.npz", b"2")):
        (tmp_path / name).write_bytes(content)
        found.append(fingerprint.lines({"path": tmp_path / name}))
    assert found[0] == found[1] != found[2]


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
        lambda: Ensemble.initialize(mlp((1, 2, 2), [2], 2), [0]),
        Weighted,
        lambda: iter([1]),
        lambda: np.random.default_rng(0).random,
    ],
)
def test_what_cannot_be_pinned_down_is_refused_by_name(make):
    culprit = make()

    def uses(seed):
        return culprit

    with pytest.raises(ArgumentError, match=r"(?s)uses: culprit.* as a parameter of the run"):
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


def test_a_chapter_run_without_jupyter_counts_by_the_code_of_its_cells(tmp_path):
    def notebook(source):
        cell = {"cell_type": "code", "id": "a", "metadata": {"tags": ["run"]}, "source": [source]}
        path = tmp_path / "77-x.ipynb"
        path.write_text(json.dumps({"cells": [cell]}))
        return version(chapter.run(path)["f"])

    first = notebook("def f(seed):\n    return seed")
    assert notebook("def f(seed):\n    return seed  # two") == first
    assert notebook("def f(seed):\n    return -seed") != first


def test_recursion_and_decorators_are_followed():
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
    first = version(Notebook()(source))
    assert version(Notebook()(source)) == first
    for old, new in (("+ 1", "+ 2"), ("n != 0", "n > 0"), ("even(seed)", "even(seed + 1)")):
        assert version(Notebook()(source.replace(old, new))) != first


def test_a_function_that_a_library_has_decorated_is_followed():
    source = """
import torch

@torch.no_grad()
def experiment(seed):
    return seed + 1
"""
    first = version(Notebook()(source))
    assert version(Notebook()(source)) == first
    assert version(Notebook()(source.replace("+ 1", "+ 2"))) != first


def test_a_class_of_a_notebook_counts_by_its_methods_and_values():
    source = """
import torch
from dataclasses import dataclass, field

class Net(torch.nn.Module):
    power = 2

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(9, 3)

    def forward(self, x):
        return self.inner(x) ** self.power

@dataclass
class Config:
    rates: list = field(default_factory=lambda: [0.1])

    @property
    def first(self):
        return self.rates[0]

def experiment(seed):
    return Net(), Config()
"""
    first = version(Notebook()(source))
    assert version(Notebook()(source.replace("return", "return  "))) == first
    for old, new in (
        ("power = 2", "power = 3"),
        ("(x) **", "(x) *"),
        ("[0.1]", "[1]"),
        ("[0]", "[1]"),
    ):
        assert version(Notebook()(source.replace(old, new))) != first, old


@pytest.mark.parametrize("edit", [("return x", "return -x"), ("rate = 1", "rate = 2")])
def test_an_imported_module_counts_as_it_is_loaded_whatever_its_file_says(imported, edit):
    helper = "rate = 1\n\ndef f(x):\n    return x * rate\n"
    imported(helper, "f", "helper")
    uses = imported("from helper import f\ndef experiment(seed): return f(seed)\n")
    before = version(uses)
    (imported.folder / "helper.py").write_text(helper.replace(*edit))
    assert version(uses) == before  # that is what runs
    shutil.rmtree(imported.folder / "__pycache__", ignore_errors=True)
    importlib.reload(sys.modules["helper"])
    assert version(importlib.reload(sys.modules["reader"]).experiment) != before


@pytest.mark.parametrize(
    "source",
    [
        "import helper\ndef experiment(seed): return helper.f(seed)",
        "def experiment(seed):\n    from helper import f\n    return f(seed)",
        "import helper\ndef of(x, seed): return x.f(seed)\n"
        "def experiment(seed): return of(helper, seed)",
        "import helper\ndef experiment(name): return getattr(helper, name)",
    ],
)
def test_a_module_that_is_used_in_other_ways_counts_too(imported, source):
    found = []
    for code in ("return x", "return x", "return -x"):
        imported(f"def f(x):\n    {code}\n", "f", "helper")
        found.append(version(Notebook()(source)))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("used", ["helper.f", "helper.inner.g"])
def test_what_a_package_of_the_readers_own_imports_relatively_counts(imported, used):
    experiment = f"import helper\ndef experiment(seed): return {used}(seed)"
    found = []
    for code in ("return x", "return x", "return -x"):
        for module in [name for name in sys.modules if name.startswith("helper")]:
            del sys.modules[module]
        (imported.folder / "helper").mkdir(exist_ok=True)
        (imported.folder / "helper" / "deep.py").write_text(f"def f(x):\n    {code}\n")
        (imported.folder / "helper" / "inner.py").write_text("from .deep import f as g\n")
        imported("from . import inner\nfrom .deep import f\n", "f", "helper/__init__")
        found.append(version(Notebook()(experiment)))
    assert found[0] == found[1] != found[2]


def test_a_script_edited_since_it_was_started_counts_as_what_runs(tmp_path):
    script = tmp_path / "script.py"

    def started(source):
        script.write_text(source)
        namespace = {"__name__": "__main__"}
        exec(compile(source, str(script), "exec"), namespace)
        return namespace["experiment"]

    source = "def experiment(seed):\n    return seed * 1917\n"  # of no other test
    runs = started(source)
    assert version(started(source.replace("return", "return -"))) != version(runs)


def architecture(network):
    return fingerprint.architecture(network, fingerprint.Walk())


def test_networks_of_one_architecture_are_told_from_others():
    a, same = mlp((1, 3, 3), [4], 2), mlp((1, 3, 3), [4], 2)
    assert architecture(a) == architecture(same)
    for other in (mlp((1, 3, 3), [5], 2), nn.Sequential(*a, nn.ReLU())):
        assert architecture(other) != architecture(a)


def test_a_setting_that_a_layer_does_not_show_counts_in_its_architecture():
    class Scaled(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = by

    assert repr(Scaled(1)) == repr(Scaled(2))
    assert architecture(Scaled(1)) != architecture(Scaled(2))


def test_a_class_that_is_made_anew_with_another_value_is_another_architecture():
    def made(power):
        class Net(nn.Identity):
            def forward(self, x):
                return x**power

        return Net()

    assert architecture(made(2)) != architecture(made(3))
