"""A reader changes a chapter's parameters, and the chapter still runs to the end."""

import ast
from pathlib import Path

import numpy as np
import papermill
import pytest

from memhelpers import claims
from tools import notebooks

OWN = "own images"  # stands for the path of the file that `own_images` makes

# Chapter -> edits of its parameters cell; QUICKER is added to each edit to keep the test short.
EDITS: dict[str, list[dict[str, object]]] = {
    "04-loss-sensitivity": [
        {"hidden": [32]},
        {"examples": 60, "side": 4},
        {"learning_rate": 0.5, "seeds": 6, "evaluations": 3},
        {"data": OWN, "examples": 90},
    ],
}
QUICKER: dict[str, dict[str, object]] = {
    "04-loss-sensitivity": {
        "epochs": 8,
        "examples": 100,
        "batch_size": 20,
        "evaluations": 5,
        "seeds": 5,
    },
}

CHAPTERS = [path for path in notebooks.paths() if notebooks.is_chapter(path)]
CASES = [
    pytest.param(chapter, edit, id=f"{chapter}-{'-'.join(edit)}")
    for chapter, edits in EDITS.items()
    for edit in edits
]


@pytest.fixture(scope="module")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of 360 small colour images in three classes: which channel is bright tells which."""
    generator = np.random.default_rng(0)
    labels = np.arange(360) % 3
    images = generator.integers(0, 130, size=(360, 8, 8, 3))
    images[np.arange(360), :, :, labels] += 60
    path = tmp_path_factory.mktemp("own") / "colours.npz"
    np.savez(path, x=images.astype(np.uint8), y=labels)
    return str(path)


def parameters(path: Path) -> set[str]:
    (cell,) = notebooks.tagged(notebooks.read(path), "parameters")
    nodes = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
    return {target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize(("chapter", "edit"), CASES)
def test_a_chapter_runs_to_the_end_with_other_parameters(
    chapter, edit, own_images, tmp_path, monkeypatch
):
    path = notebooks.BOOK / f"{chapter}.ipynb"
    chosen = {**QUICKER.get(chapter, {}), **edit}
    assert set(chosen) <= parameters(path), "an edit names something that is no parameter"
    chosen = {name: own_images if value == OWN else value for name, value in chosen.items()}
    monkeypatch.setenv("MEMHELPERS_PRESET", "quick")
    monkeypatch.setenv("MEMHELPERS_STATIC", "1")
    ran = papermill.execute_notebook(
        path,
        tmp_path / "ran.ipynb",
        chosen,
        cwd=tmp_path,
        kernel_name="python3",
        progress_bar=False,
    )
    judged = [output for cell in ran.cells for output in cell.get("outputs", [])]
    assert any(claims.MIME in output.get("data", {}) for output in judged), "no verdicts"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_is_tinkered_with(path):
    edits = EDITS.get(path.stem, [])
    assert len(edits) >= 3, "add three edits of its parameters to the table above"
    assert any(OWN in edit.values() for edit in edits)
