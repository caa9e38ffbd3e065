"""What chapter 05 draws and counts by itself: lines of seeds, matrices of classes, signs."""

import itertools

import numpy as np
import pandas as pd
import pytest

from memhelpers import charts
from tools import judging, notebooks

CHAPTER = judging.definitions(notebooks.BOOK / "05-per-class-loss-sensitivity.ipynb")
matrices, sign_test, with_seeds = (
    CHAPTER[name] for name in ("matrices", "sign_test", "with_seeds")
)


def cells() -> pd.DataFrame:
    rows = itertools.product(["real", "randX"], ["b", "a", "c"], ["b", "a", "c"])
    table = pd.DataFrame(rows, columns=["condition", "loss_of", "images_of"])
    return table.assign(value=range(1, len(table) + 1))


def drawn(charts_: list) -> list[dict]:
    """The specifications as a page carries them, with a picture of each."""
    figure = charts.Figure(charts_, alt="a", caption="c")
    assert figure.png()
    return figure.specs


def test_each_seed_has_a_thin_line_on_the_axes_and_in_the_colour_of_its_condition():
    points = itertools.product(["real", "randX"], [1, 10], range(3))
    rows = pd.DataFrame(points, columns=["condition", "update", "seed"])
    rows["mean"] = rows["seed"] / 4
    mean = rows.groupby(["condition", "update"], sort=False)["mean"].mean().reset_index()
    titles = {"x_title": "updates", "y_title": "ratio"}
    chart = charts.lines(mean, "update", "mean", "condition", y_domain=(0, 0.5), **titles)
    (spec,) = drawn([with_seeds(chart, rows)])
    thin, line = [one for one in spec["layer"] if one["mark"]["type"] == "line"]
    assert thin is spec["layer"][0]
    assert thin["mark"]["strokeWidth"] < 1
    assert thin["encoding"]["detail"]["field"] == "seed"
    for channel in ("x", "y", "color"):
        assert thin["encoding"][channel] == line["encoding"][channel]
    seeds = [data for data in spec["datasets"].values() if "seed" in data.partition("\n")[0]]
    assert [len(data.split()) for data in seeds] == [1 + len(rows)]


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
