"""Charts of tidy tables, in one style: lines with bands, dots with intervals, matrices.

A table goes in, an Altair chart comes out, and `Figure` gives it alt text, a caption and a picture
for readers without JavaScript. Colours belong to conditions, not to positions, so that real data
has the same colour in every chapter; dashes repeat what it says.
"""

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
from pandas.api.types import is_numeric_dtype

from memhelpers.errors import ArgumentError, check_choice, check_instance
from memhelpers.page.figures import Figure, Markup, Page, Switch, images, table

# What the page shows is at hand here, too.
__all__ = ["Control", "Figure", "Switch", "choice", "images", "intervals", "lines", "matrices"]
__all__ += ["Markup", "Page", "slider", "table"]

# Each has a contrast of at least 3:1 on a white and on the dark page, and stays apart from the
# others under simulated protanopia, deuteranopia and tritanopia (see tests/test_charts.py).
BLUE, ORANGE, MAGENTA, GREEN = "#2294ec", "#d97315", "#c0259c", "#37825e"
VIOLET, OLIVE, RED, GREY = "#7e4ed7", "#83680b", "#de3951", "#8b9095"
PALETTE = (BLUE, ORANGE, MAGENTA, GREEN, VIOLET, OLIVE, RED, GREY)
RAMP = (BLUE, VIOLET, MAGENTA, RED, ORANGE)

_SOLID, _LONG, _SHORT, _DOTS = (1, 0), (9, 4), (5, 3), (2, 3)
_DASH_DOT, _LONG_DOT, _DASH_TWO_DOTS = (8, 3, 2, 3), (14, 4, 2, 4), (8, 3, 2, 3, 2, 3)
_DASHES = (_SOLID, _LONG, _SHORT, _DASH_DOT, _DOTS, _LONG_DOT, _DASH_TWO_DOTS, _SHORT)

# Names of one condition (the paper's, Zhang et al.'s and the book's) share its colour and dashes.
_STYLES = {
    ("real", "true labels", "clean", "clean labels"): (BLUE, _SOLID),
    ("randX", "Gaussian", "random inputs"): (ORANGE, _LONG),
    ("randY", "random labels"): (MAGENTA, _SHORT),
    ("shuffled pixels",): (GREEN, _DASH_DOT),
    ("shuffled per image", "random pixels"): (VIOLET, _DOTS),
    ("partly random labels", "half random labels"): (OLIVE, _LONG_DOT),
    ("untrained", "direct gradient"): (RED, _DASH_TWO_DOTS),
    ("binomial", "reference", "chance"): (GREY, _SHORT),
}
CONDITIONS: dict[str, tuple[str, tuple[int, ...]]] = {
    name: style for names, style in _STYLES.items() for name in names
}

BAND = ("low", "high")


@dataclass(frozen=True)
class Control:
    """A labelled input under a chart that chooses which rows of its table are drawn."""

    column: str
    parameter: alt.Parameter  # bound to the input
    condition: str  # Vega expression, true for the rows that are drawn
    labels: tuple[str, ...] = ()  # what a slider shows for each position


def slider(
    column: str, values: Sequence[float], *, label: str | None = None, start: float | None = None
) -> Control:
    """A slider over the values of a numeric column; it starts with the last or `start`.

    Raises:
        ArgumentError: no value, values that are no finite numbers, or another start.
    """
    shown = [_rounded(value) for value in check_instance("values", values, Iterable)]
    if not shown or not all(map(_finite, shown)):
        raise ArgumentError("values", list(values), "at least one finite number")
    first = shown[-1] if start is None else _rounded(start)
    if first not in shown:
        raise ArgumentError("start", start, f"one of {shown}")
    bind = alt.binding_range(min=0, max=len(shown) - 1, step=1, name=f"{label or column} ")
    parameter = alt.param(name=_parameter_name(column), value=shown.index(first), bind=bind)
    condition = f"datum[{column!r}] === {shown}[{parameter.name}]"
    return Control(column, parameter, condition, tuple(f"{value:.4g}" for value in shown))


def choice(column: str, options: Sequence[str], *, label: str | None = None) -> Control:
    """A drop-down list over the values of a text column; it starts with the first.

    Raises:
        ArgumentError: no option.
    """
    shown = [str(option) for option in check_instance("options", options, Iterable)]
    if not shown:
        raise ArgumentError("options", list(options), "at least one name")
    bind = alt.binding_select(options=shown, name=f"{label or column} ")
    parameter = alt.param(name=_parameter_name(column), value=shown[0], bind=bind)
    return Control(column, parameter, f"datum[{column!r}] === {parameter.name}")


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    series: str | None = None,
    *,
    x_title: str,
    y_title: str,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    y_domain: tuple[float, float] | None = None,
    points: bool = False,
    controls: Sequence[Control] = (),
    bracket: tuple[str, str, str] | None = None,
    labels: Mapping[Any, str] | None = None,
    notes: Sequence[tuple[float, float, str]] = (),
    format: str | None = None,
) -> alt.LayerChart:
    """One line per series, with its band and tooltips.

    Args:
        table: tidy table, one row per point; its columns low and high, if any, are the band.
        x: numeric column across.
        y: numeric column up.
        series: column that names the line (text: colours of `CONDITIONS`; numbers: a ramp).
        title: what the chart shows.
        x_title: name and unit across.
        y_title: name and unit up.
        log_x: logarithmic axis across.
        log_y: logarithmic axis up.
        y_domain: ends of the axis up (default: from the whole table).
        points: mark the points, too.
        controls: sliders and choices that filter the rows.

    Raises:
        ArgumentError: a missing column, no rows, or values that are not finite.
    """
    ends = BAND if set(BAND) <= set(check_instance("table", table, pd.DataFrame).columns) else ()
    data = _columns(table, [x, y, series, *ends, *(control.column for control in controls)])
    across = alt.X(x, type="quantitative", title=x_title, scale=_scale(data, [x], log_x))
    upward = {"title": y_title, "scale": _scale(data, [y, *ends], log_y, y_domain)}
    up = alt.Y(y, type="quantitative", **upward)
    base = alt.Chart(data).encode(x=across, **_series_encoding(data, series))
    line = base.mark_line(point=points).encode(y=up, **_series_encoding(data, series, dashes=True))
    layers = [line, _hover(base.encode(y=up), data, [series, x, y, *ends], series)]
    if ends:
        lower = alt.Y(ends[0], type="quantitative", **upward)
        layers.insert(0, base.mark_area(opacity=0.2).encode(y=lower, y2=ends[1]))
    chart = alt.layer(*layers).properties(title=title, width="container", height=300)
    return _finish(chart, controls, legend=_names(data, series))


def intervals(
    table: pd.DataFrame,
    category: str,
    *,
    x_title: str,
    title: str = "",
    estimate: str = "estimate",
    series: str | None = None,
    reference: float | None = None,
    log_x: bool = False,
    format: str | None = None,
) -> alt.LayerChart:
    """One row per category: a dot for the estimate, a line for its interval.

    Args:
        table: tidy table, one row per category (and series), with the interval's low and high.
        category: column that names the rows, drawn in the table's order.
        title: what the chart shows.
        x_title: name and unit across.
        estimate: column of the dot.
        series: column that tells several rows of a category apart, by colour.
        reference: a value that is marked by a vertical line, such as a threshold.
        log_x: logarithmic axis across.

    Raises:
        ArgumentError: a missing column, no rows, or values that are not finite.
    """
    drawn = [estimate, *BAND]
    data = _columns(table, [category, series, *drawn])
    scale = _scale(data, drawn, log_x, also=reference)
    across = alt.X(estimate, type="quantitative", title=x_title, scale=scale)
    names = _names(data, category)
    wrapped = {str(name): textwrap.wrap(str(name), 24) for name in names}  # for a narrow page
    axis = alt.Axis(labelExpr=f"{json.dumps(wrapped)}[datum.value]", labelLimit=0)
    row = alt.Y(category, type="nominal", title=None, sort=names, axis=axis)
    colour = series or (category if set(names) & set(CONDITIONS) else None)
    encoding = _series_encoding(data, colour, legend=series is not None)
    if series is not None:
        encoding["yOffset"] = alt.YOffset(series, type="nominal", sort=_names(data, series))
    tooltip = _tooltips(data, [category, series, *drawn])
    base = alt.Chart(data).encode(y=row, tooltip=tooltip, **encoding)
    low = alt.X(BAND[0], type="quantitative", title=x_title, scale=scale)
    rule = base.mark_rule(strokeWidth=2.5, opacity=0.75).encode(x=low, x2=BAND[1])
    layers = [rule, base.mark_point(filled=True, size=90, opacity=1).encode(x=across)]
    if reference is not None:
        marked = alt.Chart(pd.DataFrame({"reference": [reference]})).encode(x="reference:Q")
        layers.insert(0, marked.mark_rule(strokeDash=[4, 4], color=GREY, strokeWidth=1.5))
    height = max(90, 30 * len(names) * max(1, len(_names(data, series))) + 20)
    chart = alt.layer(*layers).properties(title=title, width="container", height=height)
    return _finish(chart, (), legend=_names(data, series))


def matrices(
    table: pd.DataFrame,
    by: str,
    row: str,
    column: str,
    *,
    value: str,
    row_title: str,
    column_title: str,
    value_title: str,
    controls: Sequence[Control] = (),
) -> list[alt.Chart]:
    """Square matrices of coloured cells on one logarithmic colour scale, for one `Figure`.

    Args:
        table: tidy table, one row per cell of each matrix.
        by: column that tells the matrices apart; its values become their titles.
        row: column that names the rows (downwards).
        column: column that names the columns.
        value: numeric column that sets the colour.
        row_title: name of the rows.
        column_title: name of the columns.
        value_title: name and unit of the value.
        controls: as of `lines`.

    Raises:
        ArgumentError: a missing column, no rows, or values that are not finite.
    """
    data = _columns(table, [by, row, column, value, *(control.column for control in controls)])
    scale = _scale(data, [value], log=True, scheme="viridis")
    size = {"gradientLength": 200, "gradientThickness": 10, "tickCount": 4, "format": "~g"}
    place = {"orient": "bottom", "direction": "horizontal"}
    legend = alt.Legend(title=value_title, **place, **size)
    across = {"type": "ordinal", "title": column_title, "sort": _names(data, column)}
    down = {"type": "ordinal", "title": row_title, "sort": _names(data, row)}
    encoding = {
        "x": alt.X(column, axis=alt.Axis(labelAngle=0, grid=False), **across),
        "y": alt.Y(row, axis=alt.Axis(grid=False), **down),
        "color": alt.Color(value, type="quantitative", scale=scale, legend=legend),
        "tooltip": _tooltips(data, [row, column, value]),
    }
    charts = []
    for name in _names(data, by):
        cells = data[data[by] == name].drop(columns=by).reset_index(drop=True)
        chart = alt.Chart(cells).mark_rect().encode(**encoding)
        chart = chart.properties(title=str(name), width="container", height=300)
        charts.append(_finish(chart, controls, aspect="square"))
    return charts


def _rounded(value: Any) -> Any:
    """As Python's own number or string, floats cut to 4 significant digits like a chart's data."""
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _parameter_name(column: str) -> str:
    return "choose_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in column)


def _columns(table: pd.DataFrame, wanted: Sequence[str | None]) -> pd.DataFrame:
    """The columns that are drawn, once each."""
    names = list(dict.fromkeys(name for name in wanted if name is not None))
    check_instance("table", table, pd.DataFrame)
    for name in names:
        check_choice("column", name, table.columns)
    if table.empty:
        raise ArgumentError("table", "no rows", "at least one row")
    return table[names].reset_index(drop=True)


def _names(data: pd.DataFrame, column: str | None) -> list[Any]:
    """The distinct values of a column: names as they come, numbers in order."""
    if column is None:
        return []
    names = data[column].dropna().unique().tolist()
    return sorted(names) if is_numeric_dtype(data[column]) else names


def _scale(
    data: pd.DataFrame,
    columns: Sequence[str],
    log: bool,
    domain: tuple[float, float] | None = None,
    also: float | None = None,
    **options: Any,
) -> alt.Scale:
    """A scale over all rows, so that axes stand still while a control changes what is drawn.

    What is not above 0 stands at the lower end of a logarithmic scale, which is linear where
    nothing is.
    """
    for name in columns:
        if not is_numeric_dtype(data[name]):
            raise ArgumentError(name, data[name].dtype, "a column of numbers")
    values = pd.concat([data[name].astype(float) for name in columns]).dropna()
    values = values[values.abs() < math.inf]  # an interval may have no ends
    log = log and bool((values > 0).any())
    values = values[values > 0] if log else values
    shown = [float(values.min()), float(values.max()), *([] if also is None else [also])]
    if domain is not None and not (isinstance(domain, Sequence) and len(domain) == 2):
        raise ArgumentError("y_domain", domain, "(low, high)")
    low, high = map(_rounded, domain or (min(shown), max(shown)))
    if domain is not None and not low < high:
        raise ArgumentError("y_domain", domain, "(low, high) with low < high")
    if not _finite(low) or not _finite(high):
        raise ArgumentError(columns[0], [low, high], "finite values")
    if low == high:  # a single value stands in the middle
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    kind = {"type": "log", "clamp": True} if log else {"zero": False}
    return alt.Scale(domain=[low, high], nice=domain is None and not log, **kind, **options)


def _styles(names: list[Any]) -> list[tuple[str, tuple[int, ...]]]:
    """Colour and dashes of each name; unknown names take what the known ones leave."""
    taken = {CONDITIONS[name][0] for name in names if name in CONDITIONS}
    spare = [style for style in zip(PALETTE, _DASHES, strict=True) if style[0] not in taken]
    if len([name for name in names if name not in CONDITIONS]) > len(spare):
        raise ArgumentError("series", names, f"at most {len(PALETTE)} names")
    return [CONDITIONS[name] if name in CONDITIONS else spare.pop(0) for name in names]


def _series_encoding(
    data: pd.DataFrame, series: str | None, *, legend: bool = True, dashes: bool = False
) -> dict[str, Any]:
    """The colour of each name and, of a line, its dashes; of numbers, a ramp of colours."""
    if series is None:
        return {"color": alt.value(BLUE)}
    names, numeric = _names(data, series), is_numeric_dtype(data[series])
    # Names speak for themselves; numbers need the name of their column. All layers lend the legend
    # their looks: the opacity must not be the band's.
    key = alt.Legend(title=series if numeric else None, symbolOpacity=1) if legend else None
    if numeric:
        ramp = alt.Scale(domain=names, range=list(RAMP), interpolate="lab")
        return {"color": alt.Color(series, type="ordinal", scale=ramp, legend=key)}
    styles = _styles(names)
    scale = alt.Scale(domain=names, range=[colour for colour, _ in styles])
    encoding = {"color": alt.Color(series, type="nominal", scale=scale, legend=key)}
    if dashes:
        scale = alt.Scale(domain=names, range=[list(pattern) for _, pattern in styles])
        encoding["strokeDash"] = alt.StrokeDash(series, type="nominal", scale=scale, legend=key)
    return encoding


def _tooltips(data: pd.DataFrame, columns: Sequence[str | None]) -> list[alt.Tooltip]:
    number, text = {"type": "quantitative", "format": ".4~g"}, {"type": "nominal"}
    names = [name for name in dict.fromkeys(columns) if name is not None]
    return [alt.Tooltip(n, **(number if is_numeric_dtype(data[n]) else text)) for n in names]


def _hover(
    base: alt.Chart, data: pd.DataFrame, columns: Sequence[str | None], series: str | None
) -> alt.Chart:
    """Unseen points that carry the tooltips; of long lines, about a hundred each."""
    groups = [series] if series else []
    longest = int(data.groupby(groups).size().max()) if groups else len(data)
    every = max(1, longest // 100)
    hover = base.mark_point(size=120, opacity=0, filled=True)
    hover = hover.encode(tooltip=_tooltips(data, columns))
    if every > 1:
        hover = hover.transform_window(place="row_number()", groupby=groups)
        hover = hover.transform_filter(f"datum.place % {every} === 1")
    return hover


def _finish(
    chart: Any, controls: Sequence[Control], legend: Sequence[Any] = (), aspect: str = ""
) -> Any:
    """Adds the controls, and the notes that the page's script reads (see memhelpers.js)."""
    for control in controls:
        chart = chart.transform_filter(control.condition).add_params(control.parameter)
    notes: dict[str, Any] = {
        "labels": {c.parameter.name: list(c.labels) for c in controls if c.labels},
        "legend": [len(str(name)) for name in legend],
        "aspect": aspect,
    }
    return chart.properties(usermeta={"memhelpers": {k: v for k, v in notes.items() if v}})
