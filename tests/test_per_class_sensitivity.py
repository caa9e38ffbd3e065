"""What chapter 05 draws and counts by itself: matrices of classes, and signs."""

import itertools

import numpy as np
import pandas as pd
import pytest

from memhelpers import charts
from tests import chapters
from tools import notebooks

CHAPTER = chapters.definitions(notebooks.BOOK / "05-per-class-loss-sensitivity.ipynb")
matrices, sign_test = CHAPTER["matrices"], CHAPTER["sign_test"]


def cells() -> pd.DataFrame:
    rows = itertools.product(["real", "randX"], ["b", "a", "c"], ["b", "a", "c"])
    table = pd.DataFrame(rows, columns=["condition", "loss_of", "images_of"])
    return table.assign(value=range(1, len(table) + 1))


def drawn(charts_: list) -> list[dict]:
    """The specifications as a page carries them, with a picture of each."""
    figure = charts.Figure(charts_, alt="a", caption="c")
    assert figure.png()
    return figure.specs


def test_matrices_share_one_logarithmic_colour_scale():
    specs = drawn(matrices(cells()))
    assert [spec["title"] for spec in specs] == ["real", "randX"]
    for spec in specs:
        scale = spec["encoding"]["color"]["scale"]
        assert scale["domain"] == [1, 18]
        assert scale["type"] == "log"
        assert spec["usermeta"]["memhelpers"]["aspect"] == "square"
        sorts = {spec["encoding"][axis].get("sort", "ascending") for axis in "xy"}
        assert sorts == {None}  # the order of the table


@pytest.mark.parametrize("values", [0.0, [0.0] * 17 + [3.0]])
def test_zeros_are_drawn(values):
    for spec in drawn(matrices(cells().assign(value=values))):
        low, high = spec["encoding"]["color"]["scale"]["domain"]
        assert 0 < low <= high


def test_a_slider_chooses_the_cells_of_all_matrices():
    table = pd.concat([cells().assign(update=t) for t in (1, 5)])
    slider = charts.slider("update", [1, 5])
    for spec in drawn(matrices(table, slider)):
        assert spec["transform"] == [{"filter": slider.condition}]
        assert spec["usermeta"]["memhelpers"]["labels"] == {slider.parameter.name: ["1", "5"]}
        assert [p["bind"]["max"] for p in spec["params"]] == [1]


def test_signs_are_counted_and_a_coin_would_rarely_give_as_many():
    assert sign_test(np.arange(1, 21)) == "20 of 20 seeds above, p < 0.001"
    assert sign_test(np.arange(1, 7)) == "6 of 6 seeds above, p = 0.031"  # 2 / 2**6
    assert sign_test(pd.Series([1, 2, 3, -1, 0, 0])) == "3 of 6 seeds above, p = 0.62"
    assert sign_test(np.zeros(2)) == "0 of 2 seeds above, p = 1"
