"""What counts as the same computation, and what does not."""

import copy
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
from toys import relabelled, toy_data, toy_mlp

from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.perturbations import dropout
from memhelpers.engine.probes import Probe, weight_norm
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
    for module in ("reader", "helper", "helper.inner"):
        sys.modules.pop(module, None)


def version(function) -> list[str]:
    return fingerprint.lines({"experiment": function})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment"),
        ("What it does.", "What it does, in other words."),
        ('"""A module of the reader\'s own."""', ""),
        ("np.sin(x) * rate ", "( np.sin( x ) *rate)  "),
        ("def helper", "\n\n\ndef helper"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(made, old, new):
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


def edited(monkeypatch, name: str, change=lambda source: source + "\nmore = 1\n") -> None:
    """Let a module of the package read as if it had been edited before Python was started."""
    real, module = fingerprint._source, importlib.import_module(f"memhelpers.{name}")
    spec, file = copy.copy(module.__spec__), module.__file__
    vars(spec).pop("_code_when_first_seen", None)
    monkeypatch.setattr(module, "__spec__", spec)
    monkeypatch.setattr(fingerprint, "_source", lambda f: change(real(f)) if f == file else real(f))


def plain(seed: int):
    return fit(toy_mlp(DATA), DATA, seeds=[seed], epochs=1)


DATA = toy_data()


@pytest.mark.parametrize("name", ["engine.ensemble", "engine.curvature", "seeding"])
def test_an_edit_of_the_engine_counts_whether_or_not_it_is_named(monkeypatch, name):
    experiment = Notebook()("def experiment(seed):\n    return seed")
    before = version(experiment)
    edited(monkeypatch, name)
    assert version(experiment) != before


def test_an_edit_of_what_trains_is_another_run(monkeypatch):
    asked = {"experiment": Notebook()("def experiment(seed):\n    return seed"), "fit": fit}
    before = fingerprint.lines(asked)
    edited(monkeypatch, "training")
    assert fingerprint.lines(asked) != before


@pytest.mark.parametrize("name", ["charts", "runs.store", "runs.machine", "page.figures"])
def test_an_edit_of_what_draws_or_stores_does_not_count(monkeypatch, name):
    source = "from memhelpers.sweep import Training\nfrom memhelpers.runs import machine, store\n"
    source += "def experiment(s): return Training(s, machine.device(), store.join)"
    before = version(Notebook()(source))
    edited(monkeypatch, name)
    assert version(Notebook()(source)) == before


@pytest.mark.parametrize(
    "source",
    [
        "from memhelpers import stats\ndef experiment(s): return stats.interval(s)",
        "from memhelpers.stats import interval\ndef experiment(s): return interval(s)",
        "def experiment(s):\n    from memhelpers.stats import interval\n    return interval(s)",
        "import memhelpers.stats\ndef experiment(s): return memhelpers.stats.interval(s)",
        "import memhelpers.stats\ndef experiment(s):\n"
        "    return [memhelpers.stats.interval(x) for x in s]",
        "def experiment(s):\n    import memhelpers.stats as s\n    return s.interval()",
        "import functools\nfrom memhelpers.stats import interval\n"
        "experiment = functools.partial(interval, 1)",
        "from memhelpers import sensitivity, claims\ndef experiment(s): return claims.judge(s)",
    ],
)
def test_a_module_that_is_used_counts_with_those_that_it_imports(monkeypatch, source):
    experiment = Notebook()(source)
    before = version(experiment)
    edited(monkeypatch, "stats")
    assert version(experiment) != before


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


def test_a_chapter_run_without_jupyter_has_the_source_of_its_cells(tmp_path):
    def notebook(source):
        cell = {"cell_type": "code", "id": "a", "metadata": {"tags": ["run"]}, "source": [source]}
        path = tmp_path / "77-x.ipynb"
        path.write_text(json.dumps({"cells": [cell]}))
        return version(chapter.run(path)["f"])

    first = notebook("def f(seed):\n    'One.'\n    return seed")
    assert notebook("def f(seed):\n    'Two.'\n    return seed  # two") == first
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


def test_an_imported_module_of_the_readers_own_counts_as_a_whole_with_those_it_imports(imported):
    helper = "def f(x):\n    'One.'\n    return x\n"
    imported(helper, "f", "helper")
    uses = imported("from helper import f\ndef experiment(seed): return f(seed)\n")
    before = version(uses)
    path = imported.folder / "helper.py"
    path.write_text(helper + "# One more line.")
    assert version(uses) == before
    path.write_text(helper.replace("return x", "return -x"))
    with pytest.raises(ArgumentError, match=r"f, edited since .*restart"):  # -x is not what runs
        version(uses)
    imported(helper.replace("return x", "return -x"), "f", "helper")
    assert (
        version(imported("from helper import f\ndef experiment(seed): return f(seed)\n")) != before
    )


def test_what_a_package_of_the_readers_own_imports_relatively_counts(imported):
    experiment = "import helper\ndef experiment(seed): return helper.f(seed)"
    found = []
    for code in ("return x", "return x", "return -x"):
        for module in [name for name in sys.modules if name.startswith("helper")]:
            del sys.modules[module]
        (imported.folder / "helper").mkdir(exist_ok=True)
        (imported.folder / "helper" / "inner.py").write_text(f"def f(x):\n    {code}\n")
        imported("from .inner import f\n", "f", "helper/__init__")
        found.append(version(Notebook()(experiment)))
    assert found[0] == found[1] != found[2]


def test_a_method_that_was_edited_since_it_was_imported_is_refused(imported):
    source = "class A:\n    def f(self):\n        return 1\n\ndef experiment(seed): return A()\n"
    uses = imported(source)
    version(uses)
    (imported.folder / "reader.py").write_text(source.replace("return 1", "return 2"))
    with pytest.raises(ArgumentError, match=r"A.f, edited since .*restart"):
        version(uses)


def test_a_value_that_was_edited_since_the_last_sweep_is_refused_until_it_is_reloaded(imported):
    source = "rate = 0.1\n\ndef experiment(seed): return rate\n"
    before = version(imported(source))
    path = imported.folder / "reader.py"
    path.write_text(source + "# One more line.")
    reader = sys.modules["reader"]
    assert version(reader.experiment) == before
    path.write_text(source.replace("0.1", "0.2"))
    with pytest.raises(ArgumentError, match=r"given 'reader, edited since .*restart"):
        version(reader.experiment)
    shutil.rmtree(imported.folder / "__pycache__", ignore_errors=True)
    importlib.reload(reader)
    assert version(reader.experiment) != before


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


def test_the_package_as_it_is_on_disk_is_what_runs():
    for name in ("training", "sensitivity", "engine.curvature", "corrupt", "stats", "claims"):
        module = importlib.import_module(f"memhelpers.{name}")
        source = fingerprint._source(module.__file__)
        code = fingerprint._of_source(source, "memhelpers")[0]
        fingerprint._check_unedited(module, source, code)
        last = [line for line in source.splitlines() if line.startswith("    return ")][-1]
        with pytest.raises(ArgumentError, match="edited since"):
            fingerprint._check_unedited(module, source.replace(last, "    return 99"), code)


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
