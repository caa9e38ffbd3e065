"""Charts, pictures and tables: what the reader sees, and what is refused."""

import base64
import io
import itertools
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from memhelpers import charts
from memhelpers.errors import ArgumentError
from memhelpers.page import figures
from tools import notebooks

PAGE_AND_PANEL = {"light": ("#FFFFFF", "#F5F7F8"), "dark": ("#14181E", "#1C222A")}
TEXT = {"alt": "A line that rises.", "caption": "It rises, in each of 3 seeds."}
AXES = {"title": "A title", "x_title": "epochs", "y_title": "accuracy"}

# Severe colour blindness as linear maps of linear RGB (Machado, Oliveira & Fernandes 2009).
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def linear(colour: str) -> np.ndarray:
    """Linear RGB of a colour such as #2294ec."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of linear RGB."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.clip(np.array(to_xyz) @ rgb, 0, None) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def curves(conditions=("real", "randX"), noises=(0.0, 0.5)) -> pd.DataFrame:
    rows = itertools.product(conditions, noises, range(1, 6))
    table = pd.DataFrame(rows, columns=["condition", "noise", "epoch"])
    table["accuracy"] = 1 - 1 / (table["epoch"] + table["noise"])
    return table.assign(low=table["accuracy"] - 0.1, high=table["accuracy"] + 0.1)


def chart(**options):
    return charts.lines(curves(), "epoch", "accuracy", "condition", **AXES, **options)


def figure(**options) -> charts.Figure:
    return charts.Figure(chart(**options), **TEXT)


def rows_of(spec: dict) -> pd.DataFrame:
    """The data of a specification as the browser reads it."""
    data = next(data for data in spec["datasets"].values() if "end_text" not in data)
    return pd.read_csv(io.StringIO(data))


def picture(displayed: figures.Display) -> Image.Image:
    (shown,) = re.findall('src="data:image/png;base64,(.*?)"', displayed.html())
    return Image.open(io.BytesIO(base64.b64decode(shown)))


SCRIPT = (notebooks.ROOT / "book/_static/memhelpers.js").read_text(encoding="utf-8")
DARK = dict(re.findall('"(#[0-9A-F]{6})": "(#[0-9A-F]{6})"', SCRIPT))
THEMES = {"light": lambda colour: colour, "dark": DARK.get}
DRAWN = [colour for colour in DARK if colour not in (figures.WHITE, figures.GRID)]
# Shares of random labels lie between real and random ones, and labels tell them apart.
APART = [colour for colour in DRAWN if colour not in (*figures.RAMP[1:-1], figures.MUTED)]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("colour", DRAWN)
def test_lines_and_texts_stand_out_on_page_and_panel(colour, theme):
    shown = THEMES[theme](colour)
    assert min(contrast(shown, ground) for ground in PAGE_AND_PANEL[theme]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_stay_apart_for_colour_blind_readers(blindness, theme):
    seen = {c: lab(BLINDNESS[blindness] @ linear(THEMES[theme](c))) for c in APART}
    distances = {
        pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]])
        for pair in itertools.combinations(APART, 2)
    }
    # Four times a just noticeable difference (2.3), and dashes and names tell the lines apart.
    assert min(distances.values()) > 10, min(distances, key=distances.get)


def test_every_colour_of_a_condition_has_its_dark_one():
    used = {colour for colour, _ in charts.CONDITIONS.values()} | {*charts.RAMP, *charts.READER}
    assert used <= set(DARK)


@pytest.mark.parametrize(
    ("names", "other"),
    [
        (["true labels", "right label", "right labels", "training accuracy"], "real"),
        (["random labels", "wrong label", "wrong labels"], "randY"),
        (["Gaussian", "random images"], "randX"),
        (["validation images", "new digits", "validation accuracy"], "validation"),
        (["chance", "reference"], "binomial"),
    ],
)
def test_the_names_of_one_condition_look_alike(names, other):
    assert {charts.CONDITIONS[name] for name in names} == {charts.CONDITIONS[other]}


def test_conditions_that_are_drawn_together_differ_in_colour_and_in_dashes():
    names = ["real", "randX", "randY", "shuffled pixels", "shuffled per image", "binomial"]
    styles = [charts.CONDITIONS[name] for name in names]
    assert len({colour for colour, _ in styles}) == len(names)
    assert len({dashes for _, dashes in styles[:-1]}) == len(names) - 1


def test_a_condition_has_its_colour_and_dashes_whatever_stands_beside_it():
    for conditions in (("real", "randX"), ("something else", "randX", "real")):
        table = curves(conditions)
        spec = charts.lines(table, "epoch", "accuracy", "condition", **AXES).to_dict()
        line = line_of(spec)["encoding"]
        scales = [line[channel]["scale"] for channel in ("color", "strokeDash")]
        colours, dashes = (dict(zip(s["domain"], s["range"], strict=True)) for s in scales)
        for name in ("real", "randX"):
            assert (colours[name], tuple(dashes[name])) == charts.CONDITIONS[name]
        assert len(set(colours.values())) == len(conditions)


def test_names_not_known_take_the_readers_colours_in_turn():
    names = [f"series {i}" for i in range(len(charts.READER) + 1)]
    spec = charts.lines(curves(names), "epoch", "accuracy", "condition", **AXES).to_dict()
    colours = line_of(spec)["encoding"]["color"]["scale"]["range"]
    assert colours == [*charts.READER, charts.READER[0]]


def test_real_data_have_the_widest_line_and_a_reference_the_thinnest():
    table = curves(["real", "randX", "chance"])
    spec = charts.lines(table, "epoch", "accuracy", "condition", **AXES).to_dict()
    assert line_of(spec)["encoding"]["strokeWidth"]["scale"]["range"] == [2.8, 2.2, 1.5]


def test_numeric_series_have_an_ordered_ramp():
    table = curves(noises=(0.0, 0.5, 1.0))
    spec = charts.lines(table, "epoch", "accuracy", "noise", **AXES).to_dict()
    scale = line_of(spec)["encoding"]["color"]["scale"]
    assert scale["domain"] == [0.0, 0.5, 1.0]
    ends = [charts.CONDITIONS[name][0] for name in ("real", "half random labels", "randY")]
    assert scale["range"] == ends


def line_of(spec: dict) -> dict:
    (line,) = [layer for layer in spec["layer"] if layer["mark"]["type"] == "line"]
    return line


def labels_of(drawn) -> pd.DataFrame:
    """The labels at the lines' ends, lowest first, with their places in px of the lower plot."""
    (spec,) = charts.Figure(drawn, **TEXT).specs
    tables = [pd.read_csv(io.StringIO(data)) for data in spec["datasets"].values()]
    (found,) = [table for table in tables if "end_text" in table]
    scale = line_of(spec)["encoding"]["y"]["scale"]
    place = (lambda v: np.log(v)) if scale.get("type") == "log" else (lambda v: v)
    low, high = map(place, scale["domain"])
    px = (place(found["end_place"]) - low) / (high - low) * 262
    return found.assign(px=px).sort_values("px", ignore_index=True)


def ending(values: dict[str, float], **columns) -> pd.DataFrame:
    rows = [{"name": k, "x": x, "y": y} for k, v in values.items() for x, y in ((1, 1.0), (2, v))]
    return pd.DataFrame(rows).assign(**columns)


XY = {"x_title": "x", "y_title": "y"}


@pytest.mark.parametrize("log_y", [False, True])
def test_the_labels_at_the_ends_do_not_overlap_and_stay_in_the_plot(log_y):
    ends = {"real": 0.21, "randX": 0.2, "randY": 0.205, "high": 90.0, "higher": 100.0}
    found = labels_of(charts.lines(ending(ends), "x", "y", "name", log_y=log_y, **XY))
    assert np.diff(found["px"]).min() >= 17.9
    assert found["px"].between(-0.1, 262.1).all()
    order = [text.rpartition(" ")[0] for text in found["end_text"]]
    assert order == ["randX", "randY", "real", "high", "higher"]
    assert found["end_moved"].tolist()[:3] == [0, 1, 1]


@pytest.mark.parametrize("log_y", [False, True])
def test_a_label_that_has_room_stands_at_its_line(log_y):
    table = ending({"real": 0.1, "randX": 0.9})
    found = labels_of(charts.lines(table, "x", "y", "name", log_y=log_y, **XY))
    assert found["end_place"].tolist() == pytest.approx([0.1, 0.9])
    assert found["end_text"].tolist() == ["real 0.10", "randX 0.90"]
    assert not found["end_moved"].any()


def test_labels_say_short_names_percents_and_true_minus_signs():
    options = {"labels": {"shuffled per image": "per image"}, "format": ".0%"}
    table = ending({"shuffled per image": 0.5, "real": -0.25})
    found = labels_of(charts.lines(table, "x", "y", "name", **options, **XY))
    assert found["end_text"].tolist() == ["real −25 %", "shuffled per image 50 %"]
    assert found["end_short"].tolist() == ["real −25 %", "per image 50 %"]


@pytest.mark.parametrize(
    ("end", "text"), [(0.634, "0.63"), (4.06, "4.1"), (40.6, "41"), (4060.4, "4,060")]
)
def test_a_value_has_two_digits_of_its_axis(end, text):
    table = ending({"real": end}).assign(y=[0.0, end])
    assert labels_of(charts.lines(table, "x", "y", "name", **XY))["end_text"][0] == f"real {text}"


def test_labels_follow_the_controls():
    table = pd.concat([ending({"real": 0.1}, k=1), ending({"real": 0.9}, k=2)])
    drawn = charts.lines(table, "x", "y", "name", controls=[charts.slider("k", [1, 2])], **XY)
    found = labels_of(drawn)
    assert found[["end_text", "k"]].to_numpy().tolist() == [["real 0.10", 1], ["real 0.90", 2]]
    layers = drawn.to_dict()["layer"]
    assert all("choose_k" in json.dumps(layer["transform"]) for layer in layers)


def test_many_lines_have_labels_as_far_as_they_fit():
    table = ending({f"{i}": i / 30 for i in range(31)}).astype({"name": float})
    found = labels_of(charts.lines(table, "x", "y", "name", **XY))
    assert len(found) == 12
    assert {found["end_text"].iloc[0], found["end_text"].iloc[-1]} == {"0 0.00", "30 1.00"}


def test_a_line_that_ends_early_is_led_on_to_its_label():
    def opacities(table):
        layers = charts.lines(table, "x", "y", "name", **XY).to_dict()["layer"]
        return [layer["mark"].get("opacity") for layer in layers if layer["mark"]["type"] == "rule"]

    table = ending({"real": 0.5, "randX": 0.2})
    assert opacities(table) == [None]
    assert opacities(table[:3]) == [None, 0.5]


def test_an_axis_up_begins_at_a_round_value_and_has_four_at_most():
    table = ending({"real": 0.65}).assign(y=[0.16, 0.65])
    up = line_of(charts.lines(table, "x", "y", "name", **XY).to_dict())["encoding"]["y"]
    assert up["scale"]["domain"] == [0, 0.65]
    assert up["axis"]["values"] == [0, 0.2, 0.4, 0.6]
    assert up["title"] is None


def test_tooltips_stand_at_the_nearest_point_and_say_words():
    spec = chart().to_dict()
    (near,) = [one for one in spec["params"] if one["name"] == "nearest"]
    assert near["select"]["nearest"] is True
    assert near["views"] == ["points"]
    (points,) = [layer for layer in spec["layer"] if layer.get("name") == "points"]
    said = points["mark"]["tooltip"]["expr"]
    assert re.findall(r'"([^"]*)": ', said) == ["title", "accuracy", "95 % band", "epochs"]


@pytest.mark.parametrize("empty", ["", "   ", None])
@pytest.mark.parametrize("argument", ["alt", "caption"])
def test_alt_text_and_caption_are_required(argument, empty):
    with pytest.raises(ArgumentError, match=argument):
        charts.Figure(chart(), **{**TEXT, argument: empty})


def test_only_charts_make_a_figure():
    for wrong in ([], "a chart", [chart(), 3]):
        with pytest.raises(ArgumentError, match="chart"):
            charts.Figure(wrong, **TEXT)


def test_a_missing_column_is_named():
    with pytest.raises(ArgumentError, match="accurracy"):
        charts.lines(curves(), "epoch", "accurracy", **AXES)
    with pytest.raises(ArgumentError, match="nose"):
        chart(controls=[charts.slider("nose", [0, 0.5])])


def test_an_empty_table_is_refused():
    with pytest.raises(ArgumentError, match="at least one row"):
        charts.lines(curves()[:0], "epoch", "accuracy", **AXES)


def test_what_is_not_above_0_stands_at_the_end_of_a_logarithmic_axis():
    table = curves().assign(accuracy=0.5, low=-0.1, high=0.9)
    table.loc[0, "accuracy"] = 0.0
    spec = charts.lines(table, "epoch", "accuracy", "condition", **AXES, log_y=True).to_dict()
    scale = line_of(spec)["encoding"]["y"]["scale"]
    assert (scale["type"], scale["clamp"], scale["domain"]) == ("log", True, [0.5, 0.9])
    said = [layer["mark"].get("text") for layer in spec["layer"]]
    assert "log scale, 0 or less at the low end" in said


@pytest.mark.parametrize("axis", ["log_x", "log_y"])
def test_an_axis_on_which_nothing_is_above_0_is_linear(axis):
    table = curves().assign(epoch=0, accuracy=0.0, low=0.0, high=0.0)
    spec = charts.lines(table, "epoch", "accuracy", **AXES, **{axis: True}).to_dict()
    scale = line_of(spec)["encoding"][axis[-1]]["scale"]
    assert "type" not in scale
    assert scale["domain"] in ([-0.5, 0.5], [-0.6, 0.5])


def test_an_interval_without_ends_is_a_dot():
    table = pd.DataFrame({"pair": ["a", "b"], "estimate": [1.0, 2.0], "low": -math.inf})
    table["high"] = math.inf
    spec = charts.intervals(table, "pair", title="t", x_title="x").to_dict()
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0.97, 2.03]
    assert "nfinity" not in json.dumps(spec)


@pytest.mark.parametrize("domain", [(1, 0), (0, math.nan), (0,), (1, 1)])
def test_the_ends_of_an_axis_are_two_in_order(domain):
    with pytest.raises(ArgumentError, match=r"y_domain: given .*; allowed: \(low, high\)"):
        charts.lines(curves(), "epoch", "accuracy", **AXES, y_domain=domain)


@pytest.mark.parametrize(("log", "domain"), [(False, [1.5, 2.5]), (True, [1, 4])])
def test_a_single_value_stands_in_the_middle_of_its_axis(log, domain):
    table = curves()[:1].assign(accuracy=2.0, low=2.0, high=2.0)
    spec = charts.lines(table, "epoch", "accuracy", **AXES, log_y=log).to_dict()
    assert line_of(spec)["encoding"]["y"]["scale"]["domain"] == domain


def test_the_band_is_drawn_where_the_table_has_one():
    def marks(table):
        spec = charts.lines(table, "epoch", "accuracy", "condition", **AXES).to_dict()
        return [layer["mark"]["type"] for layer in spec["layer"]]

    assert "area" in marks(curves())
    assert "area" not in marks(curves().drop(columns="low"))


def test_the_tooltips_of_long_lines_stay_few():
    long = pd.DataFrame({"rank": range(1000), "p": np.linspace(0, 1, 1000)})
    spec = charts.lines(long, "rank", "p", **AXES).to_dict()
    (thinned,) = [layer for layer in spec["layer"] if layer.get("name") == "points"]
    assert "% 10" in json.dumps(thinned["transform"])


def test_axes_stand_still_while_a_control_changes_what_is_drawn():
    spec = chart(controls=[charts.slider("noise", [0, 0.5])]).to_dict()
    low, high = line_of(spec)["encoding"]["y"]["scale"]["domain"]
    table = curves()
    assert low <= table["low"].min()
    assert high == pytest.approx(table["high"].max(), rel=1e-3)


def test_a_slider_walks_over_values_that_are_not_evenly_spaced():
    control = charts.slider("noise", [0, 1 / 3, 10], label="Noise", start=1 / 3)
    parameter = control.parameter.param.to_dict()
    assert parameter["value"] == 1
    assert (parameter["bind"]["min"], parameter["bind"]["max"]) == (0, 2)
    assert control.labels == ("0", "0.3333", "10")
    # The data are rounded as the slider's values are, so that both are the same number.
    table = pd.DataFrame({"epoch": [1], "accuracy": [0.5], "noise": [1 / 3]})
    drawn = charts.lines(table, "epoch", "accuracy", controls=[control], **AXES)
    spec = charts.Figure(drawn, **TEXT).specs[0]
    assert f"[0, {rows_of(spec)['noise'][0]}, 10]" in control.condition
    assert spec["usermeta"]["memhelpers"]["labels"] == {parameter["name"]: list(control.labels)}


def test_a_choice_filters_by_name():
    control = charts.choice("condition", ["randX", "real"])
    parameter = control.parameter.param.to_dict()
    assert parameter["value"] == "randX"
    assert parameter["bind"]["options"] == ["randX", "real"]
    spec = chart(controls=[control]).to_dict()
    assert control.condition in json.dumps(spec, ensure_ascii=False)


def test_controls_need_a_value_and_a_start_among_them():
    for make in (charts.slider, charts.choice):
        assert make("noise", [1]).parameter.value in (0, "1")
        with pytest.raises(ArgumentError, match="at least one"):
            make("noise", [])
    with pytest.raises(ArgumentError, match="start"):
        charts.slider("noise", [1, 2], start=3)


def test_a_slider_takes_finite_numbers_only():
    for wrong in ([0, math.nan], ["a", "b"]):
        with pytest.raises(ArgumentError, match=r"values: given .* finite number"):
            charts.slider("noise", wrong)


def test_a_figure_has_the_same_identifier_in_each_run():
    first, second = figure(), figure()
    assert first.id == second.id
    assert first.html() == second.html()
    assert figure(points=True).id != first.id


def test_data_have_four_significant_digits():
    table = pd.DataFrame({"epoch": [100_001, 2], "accuracy": [0.123456789, 98765.4321]})
    (spec,) = charts.Figure(charts.lines(table, "epoch", "accuracy", **AXES), **TEXT).specs
    drawn = rows_of(spec)
    assert list(drawn["epoch"]) == [100_001, 2]
    assert list(drawn["accuracy"]) == [0.1235, 98770.0]


def test_missing_values_stay_missing():
    table = curves().assign(accuracy=[np.nan, *curves()["accuracy"][1:]])
    (spec,) = charts.Figure(charts.lines(table, "epoch", "accuracy", **AXES), **TEXT).specs
    assert rows_of(spec)["accuracy"].isna().tolist() == [True] + [False] * (len(table) - 1)


def test_columns_keep_their_kind_on_the_way_to_the_browser():
    rows = [{"name": "1e3", "n": 1, "ok": True}, {"name": "a,b", "n": math.inf, "ok": False}]
    packed = figures._as_csv(pd.DataFrame(rows))
    assert packed["format"]["parse"] == {"name": "string", "n": "number", "ok": "boolean"}
    # Vega takes every text but "", "0" and "false" for true.
    assert packed["values"] == 'name,n,ok\n1e3,1,1\n"a,b",,0\n'


def test_every_reference_to_packed_data_says_how_to_read_it():
    (spec,) = figure().specs
    references = re.findall(r'"data": ({"name"[^}]*})', json.dumps(spec))
    assert references
    assert all('"format"' in reference for reference in references)


def test_the_html_carries_alt_text_caption_and_specification_safely():
    text = {"alt": 'A "line" <rises>.', "caption": "5 < 6 & </script>"}
    shown = charts.Figure(chart(), **text).html()
    assert 'aria-label="A &quot;line&quot; &lt;rises&gt;. A title: ' in shown
    assert "<figcaption>5 &lt; 6 &amp; &lt;/script&gt;</figcaption>" in shown
    specification = re.search(r'class="mem-spec">(.*?)</script>', shown, re.DOTALL)[1]
    (spec,) = json.loads(specification)
    assert spec["description"].startswith(text["alt"])
    assert spec["width"] == "container"


def test_every_figure_carries_a_picture_of_moderate_size():
    for shown in (figure(), figure(controls=[charts.slider("noise", [0, 0.5])])):
        image = picture(shown)
        assert 700 <= image.width <= 1000
        assert len(shown.png()) < 40_000
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        assert 'class="mem-still" alt="A line that rises. A title: ' in shown.html()


def test_charts_side_by_side_share_one_picture():
    control = charts.slider("noise", [0, 0.5])
    pair = charts.Figure([chart(controls=[control]), chart(controls=[control])], **TEXT)
    assert len(pair.specs) == 2
    assert picture(pair).width >= 700


def test_a_title_and_a_subtitle_stand_over_the_chart():
    shown = charts.Figure(chart(), title="Real < noise", subtitle="Accuracy", **TEXT).html()
    title, subtitle = "mem-figure-title", "mem-figure-subtitle"
    assert f'<p class="{title}">Real &lt; noise</p>\n<p class="{subtitle}">Accuracy</p>' in shown
    assert shown.index(f'"{subtitle}"') < shown.index('class="mem-chart"')
    assert f'<p class="{title}"' not in figure().html()


def test_a_page_stacks_displays_and_html():
    page = figures.Page("<p>First</p>", figure(), figures.Markup("<p>Last</p>", "last words"))
    shown = page.html()
    assert shown.index("First") < shown.index("mem-chart") < shown.index("Last")
    assert picture(page) == picture(figure())
    assert repr(page).splitlines() == [repr(figure()), "last words"]
    assert "<img" not in page.html(still=False)
    with pytest.raises(ArgumentError, match="parts"):
        figures.Page(3)


def test_charts_side_by_side_keep_their_own_colours_in_the_picture():
    one = charts.lines(curves(["real"]), "epoch", "accuracy", "condition", **AXES)
    other = charts.lines(curves(["randX"]), "epoch", "accuracy", "condition", **AXES)
    image = picture(charts.Figure([one, other], **TEXT)).convert("RGB")
    left = image.crop((0, 0, image.width // 2, image.height))
    right = image.crop((image.width // 2, 0, image.width, image.height))
    for half, present, absent in ((left, "real", "randX"), (right, "randX", "real")):
        assert pixels_like(half, charts.CONDITIONS[present][0]) > 50
        assert pixels_like(half, charts.CONDITIONS[absent][0]) == 0


def test_the_picture_keeps_the_colours_of_all_conditions():
    names = ["real", "randX", "randY", "shuffled pixels", "shuffled per image", "binomial"]
    table = curves(names)
    for column in ("accuracy", "low", "high"):
        table[column] += table["condition"].map(names.index)
    drawn = charts.lines(table, "epoch", "accuracy", "condition", **AXES)
    image = picture(charts.Figure(drawn, **TEXT)).convert("RGB")
    assert all(pixels_like(image, charts.CONDITIONS[name][0]) > 50 for name in names)


def pixels_like(image: Image.Image, colour: str) -> int:
    """Number of pixels close to the colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(np.asarray(image, dtype=int) - wanted).max(-1) < 12).sum())


def test_without_vl_convert_there_is_no_picture_and_no_error(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    assert "<img" not in figure()._repr_html_()
    assert repr(figure()) == "Figure: It rises, in each of 3 seeds."


def test_jupyter_loads_the_major_versions_that_altair_writes_for():
    import altair as alt

    shown = figure().html()
    for package, version in (
        ("vega", alt.VEGA_VERSION),
        ("vega-lite", alt.VEGALITE_VERSION),
        ("vega-embed", alt.VEGAEMBED_VERSION),
    ):
        assert f'npm/{package}@{version.split(".")[0]}"' in shown


def test_percent_signs_stand_apart_whatever_format_gave_them():
    chart = charts.lines(ending({"real": 0.1}), "x", "y", "name", **XY)
    text = {"title": "10% of [5%, 15%]", "caption": "A 95 % band: 0.5%.", "alt": "10%."}
    shown = charts.Figure(chart, **text)
    assert shown.title == "10_% of [5_%, 15_%]".replace("_", "\u00a0")
    assert shown.caption == "A 95_% band: 0.5_%.".replace("_", "\u00a0")
    assert shown.alt.startswith("10\u00a0%. ")


def test_the_alt_text_ends_with_the_values_that_stand_in_the_chart():
    table = pd.concat([ending({"real": 0.1}, k=1), ending({"real": 0.9, "randX": 0.5}, k=2)])
    options = {"controls": [charts.slider("k", [1, 2])], **XY}
    drawn = [charts.lines(table, "x", "y", "name", title=t, **options) for t in ("", "Second")]
    rows = pd.DataFrame({"name": ["a", "b"], "estimate": 2.0, "low": 1.0, "high": 3.0})
    dots = charts.intervals(rows, "name", series="name", x_title="x")
    shown = charts.Figure([*drawn, dots], **TEXT)
    first, second = "At the end: real 0.90, randX 0.50.", "Second: real 0.90, randX 0.50."
    dots = "a a 2.0 [1.0, 3.0]; b b 2.0 [1.0, 3.0]."
    assert shown.alt == f"A line that rises. {first} {second} {dots}"
    assert "said" not in json.dumps(shown.specs)


def test_intervals_are_drawn_in_the_order_of_the_table_with_their_reference():
    table = pd.DataFrame(
        {"name": ["b", "a rather long name of a row"], "estimate": [1.0, 2.0]}
    ).assign(low=[0.5, 1.5], high=[1.5, 2.5])
    spec = charts.intervals(table, "name", title="t", x_title="x", reference=3).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["rule", "rule", "point", "text"]
    across = spec["layer"][2]["encoding"]
    assert across["y"]["sort"] == ["b", "a rather long name of a row"]
    assert across["x"]["scale"]["domain"] == [0.425, 3.075]  # with room at both ends
    assert '["a rather long name", "of a row"]' in across["y"]["axis"]["labelExpr"]  # on a phone
    (spec,) = charts.Figure(
        charts.intervals(table.assign(estimate=-1.0), "name", x_title="x"), **TEXT
    ).specs
    assert rows_of(spec)["interval"].tolist() == ["−1.0 [0.5, 1.5]", "−1.0 [1.5, 2.5]"]


def test_rows_have_the_colours_of_their_conditions_or_all_one():
    def colour(names):
        table = pd.DataFrame({"name": names, "estimate": 1.0, "low": 0.5, "high": 1.5})
        spec = charts.intervals(table, "name", title="t", x_title="x").to_dict()
        return spec["layer"][0]["encoding"]["color"]

    conditions = colour(["randX", "real"])
    assert conditions["scale"]["range"] == [charts.CONDITIONS[c][0] for c in ("randX", "real")]
    assert colour(["real - randX", "real - randY"]) == {"value": charts.BLUE}


def test_intervals_of_several_series_stand_apart():
    table = curves()[["condition", "noise", "accuracy", "low", "high"]]
    table = table.assign(noise=table["noise"].astype(str))
    drawn = charts.intervals(
        table, "noise", series="condition", estimate="accuracy", title="t", x_title="x"
    )
    rule, dot, text = drawn.to_dict()["layer"]
    assert {layer["encoding"]["yOffset"]["field"] for layer in (rule, dot, text)} == {"condition"}
    assert dot["encoding"]["shape"]["scale"]["range"][:2] == ["circle", "square"]
    assert drawn.data["interval"][0].startswith("real\n")
    assert picture(charts.Figure(drawn, **TEXT))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_shown_as_they_are(channels):
    x = torch.rand(4, channels, 5, 6, generator=torch.Generator().manual_seed(0))
    shown = charts.images(x, ["a", "b", "c<", "d"], title="Images", **TEXT)
    labels, seen = pixels_of(shown)
    assert labels == ["a", "b", "c&lt;", "d"]
    expected = x.permute(0, 2, 3, 1).numpy().reshape(seen.shape)
    assert np.abs(seen / 255 - expected).max() < 0.003


def pixels_of(shown: figures.Markup) -> tuple[list[str], np.ndarray]:
    """The labels of images, and the images themselves as the page carries them."""
    items = re.findall(r'<img alt="([^"]*)"[^>]*base64,([^"]*)"', shown.html())
    opened = [Image.open(io.BytesIO(base64.b64decode(source))) for _, source in items]
    return [label for label, _ in items], np.stack([np.asarray(image) for image in opened])


def test_noise_images_are_stretched_all_alike():
    x = np.zeros((2, 1, 2, 2), dtype=np.float32)
    x[0, 0, 0, 0], x[1, 0, 0, 0] = -1, 3
    _, seen = pixels_of(charts.images(x, ["a", "b"], title="Noise", **TEXT))
    assert (seen.min(), seen.max()) == (0, 255)
    assert seen[0, 1, 1] == seen[1, 1, 1] == 64


def test_images_stand_in_named_rows():
    x = np.zeros((3, 1, 2, 2), dtype=np.float32)
    text = {"title": "t", **TEXT}
    shown = charts.images(x, [1, 2, 3], groups=["easy", "hard", "easy"], **text).html()
    assert shown.count("<ul") == 2
    assert shown.index("easy") < shown.index("hard")


def test_wrong_images_are_refused():
    x = np.zeros((2, 1, 4, 4), dtype=np.float32)
    text = {"title": "t", **TEXT}
    for wrong in (x[0], np.zeros((2, 2, 4, 4)), x[:0]):
        with pytest.raises(ArgumentError, match="images"):
            charts.images(wrong, ["a", "b"], **text)
    with pytest.raises(ArgumentError, match="labels"):
        charts.images(x, ["a"], **text)
    with pytest.raises(ArgumentError, match="groups"):
        charts.images(x, ["a", "b"], groups=["one"], **text)
    with pytest.raises(ArgumentError, match="alt"):
        charts.images(x, ["a", "b"], **{**text, "alt": " "})


def test_a_table_has_a_caption_headings_and_few_digits():
    frame = pd.DataFrame({"data": ["a<b"], "accuracy": [0.123456], "examples": [12_000]})
    shown = charts.table(frame, caption="What it says")
    for part in (
        "<caption>What it says</caption>",
        '<th scope="col">accuracy</th>',
        '<th scope="row">a&lt;b</th>',
        "<td>0.123</td><td>12,000</td>",
    ):
        assert part in shown.html()
    assert "0.123" in repr(shown)
    with pytest.raises(ArgumentError, match="frame"):
        charts.table(frame[:0], caption="c")
    with pytest.raises(ArgumentError, match="caption"):
        charts.table(frame, caption="")
