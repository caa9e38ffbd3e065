"""A reader changes a chapter's parameters, and the chapter still runs to the end."""

import json
import re

import numpy as np
import pytest

from memhelpers import claims
from memhelpers.engine import loop
from memhelpers.errors import ArgumentError, DataError
from memhelpers.runs import records
from tests import chapters, reader
from tests.test_data import fake_svhn
from tools import chapter, notebooks, scoreboard

# Stand for the paths of the files that `own_data` makes.
OWN, VECTORS, FEW = "own images", "vectors of two kinds", "few examples of a class"

# Chapter -> edits of its parameters cell; QUICKER is added to each edit: the smallest
# scale at which every cell still runs.
EDITS: dict[str, list[dict[str, object]]] = {
    "01-fitting-noise": [
        {"hidden": [32]},
        {"examples": 100, "noise_levels": [0.25, 0.75]},
        {"momentum": 0.0, "learning_rate": 0.2, "batch_size": 20},
        {"data": OWN, "examples": 150},
        {"data": VECTORS, "examples": 100},
        {"data": FEW, "examples": 50},
    ],
    "02-easy-examples": [
        {"hidden": [32, 32, 32]},
        {"tracked": 100, "networks": 20},
        {"examples": 200, "balanced": True, "epochs": 2},
        {"data": OWN},
        {"data": VECTORS},
        {"data": FEW, "batch_size": 5},
    ],
    "03-first-layer-filters": [
        {"filters": 4},
        {"examples": 80, "kernel": 4, "dense": 8},
        {"seeds": 2, "halved": 2, "learning_rate": 0.05},
        {"data": OWN, "examples": 90},
        {"data": FEW, "examples": 60},
    ],
    "04-loss-sensitivity": [
        {"hidden": [32]},
        {"examples": 60, "side": 4},
        {"learning_rate": 0.5, "seeds": 6, "evaluations": 3},
        {"data": OWN, "examples": 90},
        {"data": VECTORS, "examples": 100},
        {"data": FEW, "examples": 15, "side": 6},
    ],
    "05-per-class-loss-sensitivity": [
        {"hidden": [8, 8, 8]},
        {"examples": 60, "side": 4},
        {"batch_size": 100, "epochs": 2},
        {"data": OWN, "examples": 90},
        {"data": VECTORS, "examples": 100},
        {"data": FEW, "examples": 15, "side": 6},
    ],
    "06-capacity": [
        {"widths": [4, 16]},
        {"examples": 50, "noise_levels": [0.5], "validation": 20},
        {"momentum": 0.0, "learning_rate": 0.2, "seeds": 2},
        {"data": OWN, "examples": 90},
        {"data": VECTORS, "examples": 80},
        {"data": FEW, "examples": 40, "batch_size": 5},
    ],
    "07-time-to-convergence": [
        {"hidden": [32], "part": 0.2},
        {"widths": [2, 8, 32, 64], "seeds": 2},
        {"thresholds": [0.9], "batch_size": 25},
        {"data": OWN, "examples": 90},
        {"data": VECTORS, "examples": 100},
        {"data": FEW, "examples": 50},
    ],
    "08-critical-samples": [
        {"hidden": [32]},
        {"seeds": 2, "epochs": 1},
        {"images": 5, "radii": [2, 40], "steps": 3, "momentum": 0.0},
        {"data": OWN, "examples": 150},
        {"data": VECTORS, "other_radii": [0.1, 1.0]},
        {"data": FEW, "examples": 50},
    ],
    "09-patterns-first": [
        {"hidden": [32]},
        {"noise_levels": 0.5, "radii": 8, "seeds": 2},
        {"channels": [4, 6], "evaluations": 2, "momentum": 0.0},
        {"data": OWN, "channels": [4, 4]},
        {"data": VECTORS},
        {"data": FEW, "examples": 60},
    ],
    "10-regularizers": [
        {"hidden": [32]},
        {"strengths": {"weight decay": [0.01], "adversarial": [[0.5, 0.2]]}},
        {"seeds": 2, "wrong": 1.0, "evaluations": 2},
        {"data": OWN},
        {"data": VECTORS, "momentum": 0.0},
        {"data": FEW, "batch_size": 10},
    ],
    "11-loss-trajectories": [
        {"hidden": [32]},
        {"noise_levels": [0.5], "seeds": 2, "other_hidden": [24, 16, 8]},
        {"channels": 2, "evaluated": 40, "pictured": 10, "momentum": 0.0},
        {"data": OWN, "channels": 3},
        {"data": VECTORS},
        {"data": FEW, "examples": 60},
    ],
    "12-depth": [
        {"width": 16},
        {"depths": [1, 3], "seeds": 2, "reference": 2},
        {"learning_rates": [0.05, 0.2], "momentum": 0.0, "epochs": 30},
        {"data": OWN},
        {"data": VECTORS},
        {"data": FEW, "examples": 60},
    ],
    "13-data-sets-differ": [
        {"hidden": [32]},
        {"beside": [], "learning_rate": 0.05},
        {"seeds": 2, "noise_level": 0.7, "momentum": 0.0},
        {"data": OWN, "examples": 90},
        {"data": VECTORS, "beside": ["digits"]},
        {"data": FEW, "examples": 15},
    ],
    "14-small-relu-networks": [
        {"widths": [4, 7, 30]},
        {"points": 300, "sizes": [50, 90, 200], "dimensions": 2, "directions": 1},
        {"large": [500, 3], "large_seeds": 6, "momentum": 0.0, "seeds": 2},
        {"data": OWN, "examples": 90},
        {"data": VECTORS, "examples": 100},
        {"data": FEW, "examples": 60, "batch_size": 10},
    ],
    "15-one-way-to-learn": [
        {"hidden": [32]},
        {"copies": 3, "seeds": 2, "momentum": 0.0},
        {"complex_images": "digits", "mixed": 41, "ridge": 1.0},
        {"data": OWN, "complex_images": "digits"},
        {"data": VECTORS, "hidden": [16, 8]},
        {"data": FEW, "held_out": 15},
    ],
    "16-persistent-hidden-states": [
        {"units": 7},
        {"delays": [3, 1, 2], "string": 1, "symbols": 3, "seeds": 2},
        {"window": 9, "alphabet": 5, "learning_rates": [0.05], "reverse": 2},
        {"data": OWN, "batch_size": 7},
        {"data": VECTORS, "tuned_on": 1},
        {"data": FEW, "examples": 30},
    ],
    "17-learning-against-memorizing": [
        {"hidden": [32, 16, 8]},
        {"seeds": 2, "classes": 10, "momentum": 0.0},
        {"strengths": [0.1, 3], "strength": 3, "ridge": 0.5, "permutations": 19},
        {"data": OWN, "classes": 3, "channels": None, "examples": 90},
        {"data": VECTORS, "channels": None},
        {"data": FEW, "examples": 80},
    ],
    "18-throwing-examples-out": [
        {"hidden": [32]},
        {"seeds": 2, "noise_levels": [], "shares": [0.2], "momentum": 0.0},
        {"noise_levels": [0.5], "shares": [], "seen": 0.5, "differentiated": 1, "side": 4},
        {"data": OWN, "examples": 90},
        {"data": VECTORS},
        {"data": FEW, "examples": 80, "evaluated": 10},
    ],
    "19-difficulty-scores": [
        {"hidden": [16, 8]},
        {"share": 0.7, "members": 20, "repetitions": 2, "noise_levels": [0.3]},
        {"momentum": 0.0, "looks": 3, "neighbours": 3, "learning_rate": 0.05},
        {"data": OWN, "examples": 90},
        {"data": VECTORS},
        {"data": FEW, "batch_size": 10},
    ],
    "20-where-memorization-sits": [
        {"hidden": [32, 16, 8]},
        {"seeds": 2, "noise": 0.6, "momentum": 0.5},
        {"asked": 3, "most": 2, "checkpoints": 5},
        {"data": OWN, "examples": 90},
        {"data": VECTORS, "channels": None, "examples": 100},
        {"data": FEW, "hidden": [24, 24]},
    ],
    "21-audit-your-own-data": [
        {"hidden": [32]},
        {"seeds": 2, "members": 20, "wrong": 0.3, "shares": [0.3]},
        {"habits": [0.5, 0.9], "habit": 0.5, "batch_size": 7, "hidden": [24, 12]},
        {"data": OWN},
        {"data": VECTORS},
        {"data": FEW, "examples": 80},
    ],
}
FEWER = {"dropout": [0.5], "input noise": [0.5], "adversarial": [[0.5, 0.2]]}
FEWER |= {"label smoothing": [0.3], "early learning": [3]}
SENSITIVITY = {"epochs": 8, "examples": 100, "batch_size": 20, "evaluations": 5, "seeds": 5}
FILTERS = {"examples": 60, "filters": 6, "dense": 12, "epochs": 3, "fine_tuning": 2, "seeds": 3}
FILTERS |= {"batch_size": 10}
QUICKER: dict[str, dict[str, object]] = {
    "01-fitting-noise": {"examples": 120, "epochs": 25, "noise_levels": [0.2], "seeds": 5},
    "02-easy-examples": {"networks": 12, "batch_size": 20, "controls": 4, "draws": 1}
    | {"widths": [0, 16]},
    "03-first-layer-filters": FILTERS,
    "04-loss-sensitivity": SENSITIVITY,
    "05-per-class-loss-sensitivity": SENSITIVITY,
    "06-capacity": {
        "examples": 60,
        "widths": [2, 8],
        "noise_levels": [0.4, 0.8],
        "epochs": 3,
        "seeds": 5,
        "bit_widths": [2, 3],
        "bit_epochs": 3,
    },
    "07-time-to-convergence": {
        "examples": 80,
        "fewer": [4, 2, 1],
        "hidden": [16, 16],
        "widths": [4, 16],
        "batch_sizes": [10, 20],
        "epochs": 25,
        "seeds": 5,
    },
    "08-critical-samples": {"examples": 100, "epochs": 6, "images": 8, "looks": 2, "seeds": 5}
    | {"hidden": [16, 16], "steps": 4},
    "09-patterns-first": {"examples": 100, "epochs": 6, "searched": 20, "seeds": 5},
    "10-regularizers": {"examples": 60, "epochs": 6, "seeds": 5, "images": 30}
    | {"strengths": FEWER, "evaluations": 3},
    "11-loss-trajectories": {
        "examples": 100,
        "epochs": 6,
        "noise_levels": [0.4],
        "other_hidden": [16],
        "channels": None,
        "seeds": 5,
    },
    "12-depth": {
        "examples": 40,
        "depths": [1, 2],
        "width": 8,
        "epochs": 10,
        "tuned_on": 1,
        "seeds": 5,
        "batch_size": 10,
        "larger_batch": 20,
    },
    "13-data-sets-differ": {"examples": 60, "epochs": 12, "seeds": 5, "evaluated": 40},
    "14-small-relu-networks": {
        "examples": 80,
        "points": 400,
        "large": [400, 4],
        "sizes": [100, 200],
        "widths": [4],
        "directions": 2,
        "epochs": 3,
        "seeds": 5,
        "large_seeds": 5,
    },
    "15-one-way-to-learn": {
        "examples": 60,
        "hidden": [16, 16],
        "copies": 2,
        "mixed": 40,
        "epochs": 8,
        "batch_size": 20,
        "seeds": 5,
    },
    "16-persistent-hidden-states": {
        "examples": 20,
        "units": 5,
        "symbols": 4,
        "delays": [2, 1],
        "recall_updates": 8,
        "characters": 4_000,
        "window": 6,
        "text_updates": 4,
        "reverse": 3,
        "reverse_updates": 5,
        "epochs": 3,
        "batch_size": 8,
        "seeds": 5,
    },
    "17-learning-against-memorizing": {
        "examples": 60,
        "hidden": [16, 16],
        "channels": 2,
        "epochs": [0, 2],
        "strengths": [0, 0.5],
        "permutations": 20,
        "seeds": 5,
        "untrained": 5,
    },
    "18-throwing-examples-out": {
        "examples": 60,
        "hidden": [8],
        "epochs": 2,
        "passes": 2,
        "scorers": 10,
        "differentiated": 1,
        "evaluations": 2,
        "seeds": 5,
    },
    "19-difficulty-scores": {
        "examples": 60,
        "hidden": [16],
        "epochs": 4,
        "early": 1,
        "looks": 2,
        "noise_levels": [0.05, 0.4],
        "repetitions": 5,
    },
    "20-where-memorization-sits": {
        "examples": 60,
        "hidden": [24, 24, 24],
        "channels": 4,
        "epochs": 40,
        "checkpoints": 8,
        "batch_size": 10,
        "asked": 4,
        "most": 5,
        "seeds": 5,
    },
    "21-audit-your-own-data": {
        "examples": 120,
        "shares": [0.1],
        "habits": [0.8],
        "members": 10,
        "epochs": 2,
        "long_epochs": 3,
        "hidden": [16],
        "seeds": 5,
    },
}
# Chapter -> values that its parameters cannot have, each a mistake in the parameter named first.
MISTAKES: dict[str, list[dict[str, object]]] = {
    "03-first-layer-filters": [
        {"data": VECTORS},
        {"kernel": 3},
        {"network": "large"},
        {"filters": 0},
        {"dense": 2.5},
        {"fine_tuning": 0},
        {"learning_rate": -1},
    ],
    "06-capacity": [
        {"noise_levels": [0.2, 1.2]},
        {"noise_levels": [-0.1]},
        {"noise_levels": [1.0]},
        {"noise_levels": []},
        {"widths": [0, 4]},
        {"widths": [2.5, 4]},
        {"widths": [8]},
        {"bit_widths": [3, 3]},
        {"validation": 0},
    ],
    "07-time-to-convergence": [
        {"thresholds": [0.9, 1.2]},
        {"thresholds": [0, 0.9]},
        {"thresholds": 0.9},
        {"part": -0.1},
        {"widths": [8, 0]},
        {"widths": [8, 16.5]},
        {"widths": [8]},
        {"hidden": [64, -1]},
        {"examples": 4},
        {"fewer": [80, 1]},
        {"fixed": 0},
        {"batch_sizes": [0, 20]},
    ],
    "09-patterns-first": [
        {"examples": 2},
        {"noise_levels": None},
        {"noise_levels": []},
        {"noise_levels": [0, 0.2]},
        {"radii": 0},
        {"epochs": 0},
        {"seeds": 0},
    ],
    "10-regularizers": [
        {"strengths": {"maxout": [0.5]}},
        {"strengths": {"dropout": [0.5, 1.0]}},
        {"strengths": {"input dropout": [0]}},
        {"strengths": {"input noise": [-1]}},
        {"strengths": {"weight decay": ["strong"]}},
        {"strengths": {"adversarial": [0.5]}},
        {"strengths": {"adversarial": [[0.5, 1.2]]}},
        {"strengths": {"label smoothing": [0.1]}},
        {"strengths": [0.1]},
        {"wrong": 1.5},
        {"radius": 0},
        {"steps": 0},
        {"images": 0},
        {"evaluations": 1},
        {"seeds": 1},
        {"halve": 0},
        {"network": "large"},
        {"hidden": [64, -1]},
    ],
    "11-loss-trajectories": [
        {"noise_levels": [0.2, 1.2]},
        {"noise_levels": [1.0]},
        {"noise_levels": []},
        {"hidden": [64, 0]},
        {"other_hidden": [64, 2.5]},
        {"other_hidden": 0},
        {"channels": 0},
        {"epochs": 1},
        {"evaluated": 0},
        {"pictured": 0},
    ],
    "12-depth": [
        {"depths": [0, 1, 2]},
        {"depths": 0},
        {"depths": [2]},
        {"depths": [1, 2.5]},
        {"width": 0},
        {"width": 16.5},
        {"reference": 0},
        {"learning_rates": [0.1]},
        {"learning_rates": [0.1, -1]},
        {"batch_size": 0},
        {"batch_size": 1000},
        {"larger_batch": 20},
        {"tuned_on": 0},
        {"seeds": 0},
    ],
    "13-data-sets-differ": [
        {"beside": "mnist"},
        {"beside": ["breast_cancer", "digits"]},
        {"noise_level": 1.2},
        {"noise_level": 1.0},
        {"noise_level": 0},
        {"examples": 4},
        {"examples": 300},
        {"hidden": [64, 0]},
        {"epochs": 0},
        {"evaluated": 5},
        {"seeds": 1},
    ],
    "14-small-relu-networks": [
        {"points": 1},
        {"dimensions": 0},
        {"directions": 2.5},
        {"large": 10_000},
        {"large": [100, 1]},
        {"sizes": [10_000]},
        {"sizes": [100, 0]},
        {"widths": [2.5]},
        {"widths": [64, 128]},
        {"seeds": 0},
        {"large_seeds": 0},
    ],
    "15-one-way-to-learn": [
        {"copies": 1},
        {"copies": 2.5},
        {"seeds": 1},
        {"hidden": [64, 0]},
        {"hidden": [64, 2.5]},
        {"hidden": []},
        {"hidden": 64},
        {"held_out": 5},
        {"ridge": 0},
        {"mixed": 3},
        {"mixed": 10_000},
        {"complex_images": "digits", "data": VECTORS},
        {"complex_images": "photographs"},
        {"epochs": 0},
        {"batch_size": 0},
    ],
    "16-persistent-hidden-states": [
        {"units": 0},
        {"symbols": 1},
        {"string": 0},
        {"delays": [0, 5]},
        {"delays": [5]},
        {"delays": [5, 2.5]},
        {"reverse": 0},
        {"reverse_updates": 3},
        {"window": 0},
        {"text": "nowhere.txt"},
        {"text": str(notebooks.ROOT / "LICENSE")},  # too short for ten stretches of windows
        {"learning_rates": [0.1, -1]},
        {"tuned_on": 0},
        {"seeds": 0},
        {"seeds": 1},
    ],
    "17-learning-against-memorizing": [
        {"channels": 8, "data": VECTORS},
        {"channels": 0},
        {"permutations": 18},
        {"strengths": [0.5, 0.5]},
        {"strengths": [0, -0.5, 0.5]},
        {"strengths": ["weak"]},
        {"strength": 0.3},
        {"classes": 1},
        {"classes": 11},
        {"examples": 3},
        {"ridge": 0},
        {"hidden": [64]},
        {"hidden": [64, 0]},
        {"epochs": [2, 5]},
        {"epochs": [0, 5, 2]},
        {"epochs": [0, 2.5]},
        {"epochs": 5},
        {"strengths": [0, float("inf")]},
        {"seeds": 0},
        {"untrained": 2.5},
    ],
    "18-throwing-examples-out": [
        {"noise_levels": [0.1, 1.5]},
        {"noise_levels": 0.1},
        {"noise_levels": ["many"]},
        {"shares": [0.0, 0.5]},
        {"shares": [50]},
        {"hidden": [64, 0]},
        {"hidden": [3.5]},
        {"seen": 0.75},
        {"scorers": 5},
        {"differentiated": 0},
        {"examples": 9},
        {"epochs": 0},
        {"batch_size": 0},
        {"passes": 0},
        {"step": 0},
        {"learning_rate": -0.1},
        {"momentum": 2},
        {"evaluated": 0},
        {"evaluations": 0},
        {"seeds": 1},
        {"side": 3, "data": VECTORS},
    ],
    "19-difficulty-scores": [
        {"noise_levels": [0.2, 1.2]},
        {"noise_levels": [0, 0.2]},
        {"noise_levels": ["many"]},
        {"members": 15},
        {"share": 0.9},
        {"share": 0.25},
        {"repetitions": 0},
        {"early": 0},
        {"early": 1000},
        {"looks": 0},
        {"step": 0},
        {"neighbours": 500},
        {"hidden": []},
        {"hidden": [64, 0]},
        {"patches": 0},
        {"plain_rate": -1},
        {"natural": None, "published": "scores.npz"},
    ],
    "20-where-memorization-sits": [
        {"channels": 4, "data": VECTORS},
        {"channels": 0},
        {"noise": 0},
        {"noise": 1.0},
        {"noise": 1.2},
        {"noise": 0.001},
        {"hidden": [64]},
        {"hidden": [64] * 7},
        {"hidden": [64, 2.5]},
        {"epochs": 2},
        {"checkpoints": 2},
        {"asked": 0},
        {"most": 0},
        {"examples": 5},
        {"seeds": 0},
    ],
    "21-audit-your-own-data": [
        {"examples": 10},
        {"examples": 35},  # too few of a class
        {"examples": 25},  # fewer than a batch
        {"shares": [0.1, 1.2]},
        {"shares": [0, 0.1]},
        {"shares": [0.1, 1]},
        {"habits": [-0.1, 0.8]},
        {"wrong": 0.3},
        {"habit": 0.1},
        {"members": 15},
        {"members": 0},
        {"hidden": [64, 0]},
        {"hidden": [2.5]},
        {"batch_size": 0},
        {"learning_rate": -1},
        {"epochs": 0},
        {"long_epochs": 2.5},
        {"seeds": 0},
    ],
}

CASES = [
    pytest.param(chapter, edit, id=f"{chapter}-{'-'.join(edit)}")
    for chapter, edits in EDITS.items()
    for edit in edits
]


@pytest.fixture(scope="module")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths of a reader's own data.

    Small colour images in three classes, where the bright channel tells which; vectors of 30
    numbers, some negative, with texts as labels; and 10 x 12 grey images as floats, with labels
    from 1 on, of which one class has few examples.
    """
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("own")
    labels = np.arange(360) % 3
    images = generator.integers(0, 130, size=(360, 8, 8, 3))
    images[np.arange(360), :, :, labels] += 60
    kinds = np.array(["benign", "malignant"])[np.arange(240) % 2]
    vectors = generator.normal(size=(240, 30)) + (kinds == "malignant")[:, None]
    uneven = np.array([1] * 60 + [2] * 60 + [4] * 12)
    grey = generator.random((132, 10, 12)) / 2 + uneven[:, None, None] / 8
    made = {OWN: (images.astype(np.uint8), labels), VECTORS: (vectors, kinds), FEW: (grey, uneven)}
    for name, (x, y) in made.items():
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return {name: str(folder / f"{name}.npz") for name in made}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A reader's empty folder, and the preset of a CPU."""
    for variable, value in chapters.QUICK.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def unrecorded(elsewhere, monkeypatch):
    """The same, where nothing is recorded.

    Drawing and judging the recorded runs costs more than a small run, and does not depend on the
    parameters.
    """
    monkeypatch.setattr(records, "available", lambda chapter, root=None: [])


@pytest.mark.parametrize(("chapter", "edit"), CASES)
def test_a_chapter_runs_to_the_end_with_other_parameters(chapter, edit, own_data, request):
    path = notebooks.BOOK / f"{chapter}.ipynb"
    chosen = {**QUICKER.get(chapter, {}), **edit}
    assert set(chosen) <= chapters.parameters(path), "an edit names something that is no parameter"
    chosen = {k: own_data.get(v, v) if isinstance(v, str) else v for k, v in chosen.items()}
    # Each chapter once with its recorded runs, and else where there are none.
    request.getfixturevalue("elsewhere" if edit is EDITS[chapter][0] else "unrecorded")
    shown = [data[claims.MIME] for data in reader.run_all(path, chosen) if claims.MIME in data]
    assert shown, "no verdicts"
    if edit is EDITS[chapter][0]:
        stored = [output[claims.MIME] for output in scoreboard.tables(notebooks.read(path))]
        assert recorded(shown) == pytest.approx(recorded(stored)), "edited: run make outputs"


def recorded(tables: list[dict]) -> dict[str, float]:
    """The numbers behind each verdict on a recorded run, which no parameter of a page changes."""
    rows = [row for table in tables for row in table["rows"] if row["recorded"]]
    numbers = ("estimate", "low", "high", "n")
    return {
        f"{row['id']}, {row['run']}: {row['verdict']}, {name}": row[name]
        for row in rows
        for name in numbers
    }


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_is_tinkered_with(path):
    edits = EDITS.get(path.stem, [])
    assert len(edits) >= 3, "add three edits of its parameters to the table above"
    tried = [*edits, *MISTAKES.get(path.stem, [])]  # vectors where images are needed
    assert {OWN, VECTORS, FEW} <= {edit.get("data") for edit in tried}


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("own", [OWN, VECTORS, FEW])
def test_data_too_small_for_a_parameter_ends_before_training_with_its_name_and_limit(
    path, own, own_data, unrecorded, monkeypatch
):
    known = chapters.parameters(path)
    chosen = {"data": own_data[own], "examples": 10**4}
    if "balanced" in known:
        chosen["balanced"] = True
    monkeypatch.setattr(loop, "train", None)
    with pytest.raises(ArgumentError, match=r"^examples: given 10000; .* (to|at most) \d+"):
        reader.run_all(path, chosen)
    if "side" in known:
        chosen |= {"examples": 9, "side": 14}
        with pytest.raises(ArgumentError, match=r"^side: given 14; .* (None, for|to \d+)"):
            reader.run_all(path, chosen)


@pytest.mark.parametrize(
    ("chapter", "mistake"),
    [pytest.param(stem, m, id=f"{stem[:2]}-{m}") for stem, some in MISTAKES.items() for m in some],
)
def test_a_value_that_a_parameter_cannot_have_ends_before_training_with_its_name(
    chapter, mistake, own_data, unrecorded, monkeypatch
):
    wrong = mistake | ({"data": own_data[VECTORS], "examples": 100} if "data" in mistake else {})
    monkeypatch.setattr(loop, "train", None)
    with pytest.raises(ArgumentError, match=rf"^{next(iter(mistake))}: given "):
        reader.run_all(notebooks.BOOK / f"{chapter}.ipynb", wrong)


@pytest.mark.parametrize(
    ("stem", "mistake", "said"),
    [
        ("09-patterns-first", {"noise_levels": 1.5}, "given 1.5; allowed: shares above 0, bel"),
        ("09-patterns-first", {"noise_levels": [0.2, 1]}, "given 1; allowed: shares above 0, bel"),
        ("09-patterns-first", {"radii": [3, 300]}, "given 300; allowed: at most .* pixels, 255$"),
        ("09-patterns-first", {"noise_levels": [0.2, 0.2]}, "given .*; allowed: each share once$"),
        ("09-patterns-first", {"radii": [3, 3, 8]}, "given .*; allowed: each radius once$"),
        ("08-critical-samples", {"radii": (3, 3, 8)}, "given .*; allowed: each radius once$"),
        ("09-patterns-first", {"hidden": "64"}, "given '64'; allowed: a width for each"),
        ("17-learning-against-memorizing", {"strengths": ()}, r"given \(\); allowed: at least one"),
        (
            "17-learning-against-memorizing",
            {"permutations": 0},
            "given 0; allowed: an integer of at least 19, so that p can be 0.05$",
        ),
    ],
)
def test_what_is_allowed_is_said_in_the_readers_own_numbers(stem, mistake, said, monkeypatch):
    monkeypatch.setattr(loop, "train", None)
    with pytest.raises(ArgumentError, match=f"^{next(iter(mistake))}: {said}"):
        chapter.run(notebooks.BOOK / f"{stem}.ipynb", mistake, preset="quick")


@pytest.mark.parametrize("stem", ["09-patterns-first", "17-learning-against-memorizing"])
def test_where_networks_diverge_the_chapter_names_the_learning_rate(stem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = QUICKER[stem] | {"learning_rate": 1e9}
    chosen |= {"epochs": [0, 80]} if stem[:2] == "17" else {}
    with pytest.raises(ArgumentError, match=r"^learning_rate: given 1000000000.0; .* diverged"):
        chapter.run(notebooks.BOOK / f"{stem}.ipynb", chosen, preset="quick")


# Chapter 13 takes several data sets, of which one may lie nowhere.
SIDE_BY_SIDE = notebooks.BOOK / "13-data-sets-differ.ipynb"


def test_street_view_numbers_stand_beside_the_digits(tmp_path, monkeypatch):
    fake_svhn(tmp_path, monkeypatch)
    monkeypatch.setenv("MEMHELPERS_DATA", str(tmp_path))
    small = {"beside": ["svhn"], "examples": 20, "epochs": 3, "seeds": 2, "evaluated": 10}
    tables = chapter.run(SIDE_BY_SIDE, small, preset="quick")["chapter"].tables
    assert tables["sets"]["data"].tolist() == ["digits", "svhn"]
    assert tables["sets"]["numbers"].tolist() == [64, 3072]
    assert tables["fits"].groupby("data").size().tolist() == [12, 12]


@pytest.mark.parametrize("nowhere", ["svhn", "own.npz"])
def test_a_data_set_that_lies_nowhere_is_never_replaced(nowhere, tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setenv("MEMHELPERS_DATA", str(tmp_path))
    monkeypatch.setattr(loop, "train", None)
    with pytest.raises(DataError, match=rf"{nowhere}.*{re.escape(str(tmp_path))}"):
        chapter.run(SIDE_BY_SIDE, {"beside": ["breast_cancer", nowhere]}, preset="quick")


@pytest.fixture
def small_notebook(tmp_path):
    """A notebook that displays twice its parameter, and a value that a former run left behind."""
    sources = [
        ("x = 1", ["parameters"]),
        ("def twice():\n    return 2 * x\nleft = globals().get('left', 0) + 1", []),
        ("from IPython.display import display\ndisplay(left)\ntwice()", []),
    ]
    cells = [
        {"cell_type": "code", "source": source, "metadata": {"tags": tags}}
        for source, tags in sources
    ]
    path = tmp_path / "small.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_a_run_takes_the_changed_parameter_and_nothing_of_the_run_before(small_notebook):
    for changed, doubled in ({}, "2"), ({"x": 5}, "10"), ({}, "2"):
        shown = reader.run_all(small_notebook, changed)
        assert [data["text/plain"] for data in shown] == ["1", doubled]


def test_a_run_ends_with_the_error_of_its_first_failing_cell(small_notebook):
    with pytest.raises(TypeError, match="unsupported operand"):
        reader.run_all(small_notebook, {"x": None})
