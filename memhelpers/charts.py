"""Charts of tidy tables, in one style: lines with bands, and dots with intervals.

A table goes in, an Altair chart comes out, and `Figure` gives it a title, a caption, alt text and a
picture for readers without JavaScript. Colours belong to conditions, not to positions, so that real
data have one colour in the whole book; dashes and the names at the lines' ends repeat what it says.
"""

import itertools
import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from scipy.optimize import isotonic_regression

from memhelpers.errors import ArgumentError, check_choice, check_instance
from memhelpers.page import figures
from memhelpers.page.figures import Figure, images, table
from memhelpers.stats import readable

__all__ = ["Control", "Figure", "Prediction", "choice", "images", "intervals", "lines", "slider"]
__all__ += ["table"]

RAMP, READER, GREY, INK = figures.RAMP, figures.READER, figures.GREY, figures.INK
BLUE, MAGENTA = RAMP[0], RAMP[-1]
_SOLID, _LONG_DOT = (1, 0), (14, 4, 2, 4)
_READER_DASHES = (_LONG_DOT, (8, 3, 2, 3, 2, 3), (4, 2), (16, 4))

# Names of one condition (the paper's, Zhang et al.'s and the book's) share its colour and dashes.
_STYLES = {
    ("real", "true labels", "clean labels", "right label", "right labels"): (BLUE, _SOLID),
    ("training accuracy", "training images"): (BLUE, _SOLID),
    ("randX", "Gaussian", "random images", "random inputs"): ("#B84C00", (9, 4)),
    ("randY", "random labels", "wrong label", "wrong labels"): (MAGENTA, (6, 3.5)),
    ("shuffled pixels",): ("#00694B", (10, 3, 2, 3)),
    ("shuffled per image", "random pixels"): ("#4A16AE", (1.5, 4)),
    ("partly random labels", "half random labels"): (RAMP[3], _LONG_DOT),
    ("validation", "validation images", "validation accuracy", "new digits"): (INK, _SOLID),
    ("binomial", "reference", "chance", "exponential"): (GREY, (4, 4)),
}
CONDITIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    name: style for names, style in _STYLES.items() for name in names
}

BAND = ("low", "high")
_HEIGHT, _PHONE_HEIGHT = 318, 262  # of the plot in px
_LABEL = 18  # px from label to label
_MOST_LABELS = 12
_SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
_PERCENT = "replace(datum.label, '%', ' %')"


@dataclass(frozen=True)
class Control:
    """A labelled input over a chart that chooses which rows of its table are drawn."""

    column: str
    parameter: alt.Parameter  # bound to the input
    condition: str  # Vega expression, true for the rows that are drawn
    start: Any  # the value that is chosen first
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
    return Control(column, parameter, condition, first, tuple(f"{value:.4g}" for value in shown))


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
    return Control(column, parameter, f"datum[{column!r}] === {parameter.name}", shown[0])


@dataclass(frozen=True)
class Prediction:
    """What a reader of the book's page draws or marks before the figure shows it (predict.js).

    Of several panels with one, the first is drawn in; each hides what its own names.
    """

    name: Any  # of a series, or of a row of `intervals`: its category, or (category, series)
    question: str  # what to draw, or where to place a mark; one or two sentences
    hidden: tuple[Any, ...] = ()  # names of others that would give the answer away

    def note(
        self, rows: pd.DataFrame, keys: list[str], drawn: list[str], **told: Any
    ) -> dict[str, Any]:
        """For the page: what `keys` name is hidden until the reader has answered, and the answer.

        Raises:
            ArgumentError: no such name.
        """
        names = [[*one] if isinstance(one, tuple) else [one] for one in (self.name, *self.hidden)]
        found = [rows[(rows[keys[: len(one)]] == one[: len(keys)]).all(axis=1)] for one in names]
        if any(part.empty for part in found) or len(names[0]) != len(keys):
            known = list(dict.fromkeys(rows[keys].itertuples(index=False, name=None)))
            raise ArgumentError("predict", [self.name, *self.hidden], f"names from {known}")
        values = found[0][drawn].astype(float).to_numpy().tolist()
        answer = [[_rounded(one) if _finite(one) else None for one in row] for row in values]
        told |= {"question": figures.spaced(self.question), "answer": answer}
        return told | {"keys": keys, "hidden": [list(map(_rounded, n)) for n in names]}


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
    labels: Mapping[Any, str] | None = None,
    format: str = "",
    predict: Prediction | None = None,
) -> alt.LayerChart:
    """One line per series, with its band, and its name and last value at its end.

    Args:
        table: tidy table, one row per point; its columns low and high, if any, are the 95 % band.
        x: numeric column across.
        y: numeric column up.
        series: column that names the line (text: colours of `CONDITIONS`; numbers: a ramp).
        x_title: name and unit across.
        y_title: name of what is drawn, for the tooltips; the figure's subtitle says it to all.
        title: name of the panel, where a figure has several.
        log_x: logarithmic axis across.
        log_y: logarithmic axis up.
        y_domain: ends of the axis up (default: from the whole table).
        points: mark the points, too.
        controls: sliders and choices that filter the rows.
        labels: shorter names of series, for narrow pages.
        format: of the values, such as ".0%" (default: two digits of the axis's length).
        predict: the series that the page's reader draws first, as the controls stand at the start.

    Raises:
        ArgumentError: a missing column, no rows, values that are not finite, or a prediction of
            a series that is not there.
    """
    ends = BAND if set(BAND) <= set(check_instance("table", table, pd.DataFrame).columns) else ()
    data = _columns(table, [x, y, series, *ends, *(control.column for control in controls)])
    across = _Axis.over(data, [x], log_x, title=x_title)
    up = _Axis.over(data, [y, *ends], log_y, y_domain, format=format)
    if not up.log and y_domain is None:
        up = replace(up, low=up.ticks(4)[0])
    base = _filtered(alt.Chart(data), controls)
    base = base.encode(across.channel(alt.X, x), *_channels(data, series))
    line = base.encode(up.channel(alt.Y, y), *_channels(data, series, line=True))
    hidden = (predict.name, *predict.hidden) if predict else ()
    layers, said = _ends(data, (x, y, series), (across, up), controls, labels or {}, hidden)
    layers.append(line.mark_line(point=points))
    if ends:
        band = base.encode(up.channel(alt.Y, ends[0])).encode(y2=ends[1])
        layers.insert(0, band.mark_area(opacity=0.13))
    if up.log:
        corner = {"x": 0, "y": -12, "align": "left", "fontSize": 13, "color": figures.MUTED}
        layers.append(alt.Chart(data[:1]).mark_text(text=up.log, **corner))
    layers.append(_nearest(base, data, (x, y, series), (x_title, y_title), up, ends))
    chart = alt.layer(*layers).properties(title=title, width="container", height=_HEIGHT)
    notes: dict[str, Any] = {"said": f"{title or 'At the end'}: {said}."}
    if predict:
        begins = [data[one.column].map(_rounded) == one.start for one in controls]
        rows = data[np.logical_and.reduce([np.isfinite(data[y].astype(float)), *begins])]
        told = {"titles": [x_title, y_title], "format": format}
        keys = [] if series is None else [series]
        notes["predict"] = predict.note(rows.sort_values(x, kind="stable"), keys, [x, y], **told)
    return _finish(chart, controls, phone=_PHONE_HEIGHT, **notes)


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
    predict: Prediction | None = None,
) -> alt.LayerChart:
    """One row per category: a dot for the estimate, a line for its interval, and both as text.

    Args:
        table: tidy table, one row per category (and series), with the interval's low and high.
        category: column that names the rows, drawn in the table's order.
        x_title: name and unit across.
        title: name of the panel, where a figure has several.
        estimate: column of the dot.
        series: column that tells several rows of a category apart, by shape and in the text.
        reference: a value that is marked by a vertical line, such as a threshold.
        log_x: logarithmic axis across.
        predict: the row in which the page's reader places a mark first.

    Raises:
        ArgumentError: a missing column, no rows, values that are not finite, or a prediction of
            a row that is not there.
    """
    drawn = [estimate, *BAND]
    data = _columns(table, [category, series, *drawn])
    marked = data[:0] if reference is None else pd.DataFrame({estimate: [reference]})
    across = _Axis.over(pd.concat([data, marked]), drawn, log_x, title=x_title)
    low, high = (_rounded(across.value(share)) for share in (-0.03, 1.03))
    across = replace(across, low=low, high=high)  # an interval is seen to end
    names, kinds = _names(data, category), _names(data, series)
    data["interval"] = [readable(*row) for row in data[drawn].to_numpy(float)]
    data["right"] = across.high
    if series is not None:
        data["interval"] = data[series].astype(str) + "\n" + data["interval"]
    wrapped = [{str(n): textwrap.wrap(str(n), width) for n in names} for width in (20, 26)]
    label = "(narrow ? {} : {})[datum.value]".format(*map(json.dumps, wrapped))
    axis, said = alt.Axis(labelExpr=label, labelLimit=0), alt.Tooltip("interval:N", title=x_title)
    base = alt.Chart(data).encode(
        alt.Y(category, type="nominal", title=None, sort=names, axis=axis),
        *_channels(data, category if set(names) & set(CONDITIONS) else series),
        tooltip=[alt.Tooltip(category, type="nominal", title="title"), said],
    )
    if series is not None:
        base = base.encode(yOffset=alt.YOffset(series, type="nominal", sort=kinds))
    dot = base.encode(across.channel(alt.X, estimate)).mark_point(filled=True, size=90, opacity=1)
    if series is not None:
        shapes = alt.Scale(domain=kinds, range=list(_SHAPES))
        dot = dot.encode(shape=alt.Shape(series, type="nominal", scale=shapes, legend=None))
    rule = base.encode(across.channel(alt.X, BAND[0]), x2=BAND[1]).mark_rule(strokeWidth=2.2)
    text = base.encode(across.channel(alt.X, "right"), text="interval:N")
    place = {"align": "left", "dx": 14, "dy": -8 if series else 0}
    layers = [rule, dot, text.mark_text(**place, lineBreak="\n", lineHeight=16)]
    if reference is not None:
        threshold = alt.Chart(marked).encode(across.channel(alt.X, estimate))
        layers.insert(0, threshold.mark_rule(strokeDash=[4, 4], color=GREY, strokeWidth=1.5))
    height = 20 + (40 if series else 34) * len(names) * max(1, len(kinds))
    chart = alt.layer(*layers).properties(title=title, width="container", height=height)
    rows = (data[category].astype(str) + " " + data["interval"]).str.replace("\n", " ")
    notes: dict[str, Any] = {"said": f"{'; '.join(rows)}."}
    if predict:
        keys = [category] if series is None else [category, series]
        notes["predict"] = predict.note(data, keys, drawn, titles=[x_title])
    return _finish(chart, (), **notes)


@dataclass(frozen=True)
class _Axis:
    """An axis over all rows, so that it stands still while a control changes what is drawn.

    What is not above 0 stands at the lower end of a logarithmic axis, which says so.
    """

    low: float
    high: float
    log: str = ""  # what is to say of a logarithmic axis
    title: str = ""
    format: str = ""

    @classmethod
    def over(
        cls,
        data: pd.DataFrame,
        columns: Sequence[str],
        log: bool,
        domain: tuple[float, float] | None = None,
        **shown: str,
    ) -> "_Axis":
        """From the least to the largest value."""
        if domain and not (len(domain) == 2 and domain[0] < domain[1]):
            raise ArgumentError("y_domain", domain, "(low, high) with low < high")
        for name in columns:
            if not is_numeric_dtype(data[name]):
                raise ArgumentError(name, data[name].dtype, "a column of numbers")
        values = pd.concat([data[name].astype(float) for name in columns])
        values = values[np.isfinite(values)]  # an interval may have no ends
        if values.empty:
            raise ArgumentError(columns[0], "no finite value", "finite values")
        said = ""
        if log and (values > 0).any():  # linear where nothing is above 0
            said = "log scale" + ", 0 or less at the low end" * bool((values <= 0).any())
            values = values[values > 0]
        low, high = map(_rounded, domain or (values.min(), values.max()))
        if low == high:  # a single value stands in the middle
            low, high = (low / 2, high * 2) if said else (low - 0.5, high + 0.5)
        return cls(low, high, said, **shown)

    def ticks(self, most: int) -> list[float]:
        """At most so many round values; on a linear axis the first may lie below its lower end."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for parts in ((1, 2, 5), (1, 3), (1,)):
                values = [part * 10.0**k for k in powers for part in parts]
                values = [value for value in values if self.low <= value <= self.high]
                if len(values) <= most:
                    return values
            return values[:: math.ceil(len(values) / most)]
        size = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        for step in (part * size for part in (1, 2, 2.5, 5, 10, 20)):
            first, last = (math.floor(end / step + 1e-9) for end in (self.low, self.high))
            if last - first < most:
                break
        return [round(k * step, 12) for k in range(first, last + 1)]

    def channel(self, kind: type, column: str) -> Any:
        """A column along this axis; up there is no title, as the figure's subtitle says it."""
        ticks = [value for value in self.ticks(6 if kind is alt.X else 4) if value >= self.low]
        axis = alt.Axis(values=ticks, format=self.format or ",.6~g", labelExpr=_PERCENT)
        title = None
        if kind is alt.X:  # in lines, for a phone
            title = textwrap.wrap(", ".join(filter(None, [self.title, self.log])), 38)
        form = {"type": "log", "clamp": True} if self.log else {"zero": False}
        scale = alt.Scale(domain=[self.low, self.high], nice=False, **form)
        return kind(column, type="quantitative", title=title, scale=scale, axis=axis)

    def text(self, value: float) -> str:
        """A value to two digits of the axis's length; on a logarithmic axis, of its own."""
        size = abs(value) if self.log else 0.99 * (self.high - self.low)
        digits = max(0, 1 - math.floor(math.log10(size))) if 0 < size < math.inf else 0
        text = f"{value:{self.format or f',.{digits}f'}}"
        return text.replace("-", "−").replace("%", " %").replace("inf", "∞")

    def share(self, value: float) -> float:
        """The place of a value, 0 at the lower and 1 at the upper end."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        return math.log(at / low, high / low) if self.log else (at - low) / (high - low)

    def value(self, share: float) -> float:
        """The value at a place."""
        low, high = self.low, self.high
        return low * (high / low) ** share if self.log else low + share * (high - low)


def _ends(
    data: pd.DataFrame,
    columns: tuple[str, str, str | None],
    axes: tuple[_Axis, _Axis],
    controls: Sequence[Control],
    labels: Mapping[Any, str],
    hidden: Sequence[Any],
) -> tuple[list[alt.Chart], str]:
    """Names and last values beside the lines' ends, for each state of the controls; and in words.

    The words are those of the state at the start. Where lines are hidden at first, the rows say
    which, and where the other names stand meanwhile.
    """
    (x, y, series), (across, up) = columns, axes
    keys, styles = [control.column for control in controls], _styles(data, series)
    start, texts, said = [control.start for control in controls], [], ""
    for key, group in data.groupby(keys, sort=False) if keys else [((), data)]:
        drawn = group[np.isfinite(group[y].astype(float))].sort_values(x, kind="stable")
        last = drawn.groupby(series, sort=False).tail(1) if series else drawn.tail(1)
        if last.empty:
            continue
        fitting = np.linspace(0, len(last) - 1, min(len(last), _MOST_LABELS)).round()
        last = last.sort_values(y, kind="stable").iloc[fitting.astype(int)]
        names = last[series].tolist() if series else [""]
        words = pd.Series([_named(name) for name in names])
        shorter = pd.Series([labels.get(name, _named(name)) for name in names])
        rows = pd.DataFrame(last[[x, y]].to_numpy(), columns=["x", "y"])
        values = rows["y"].map(up.text)
        rows["text"] = (words + " " + values).str.strip()
        rows["short"] = (shorter + " " + values).str.strip()
        rows["colour"] = [styles[name][0] if series else BLUE for name in names]
        if list(map(_rounded, key)) == start:
            said = ", ".join(reversed(rows["text"].tolist()))
        rows["place"], rows["moved"] = _apart(rows["y"], up)
        if hidden:
            seen = np.array([name not in hidden for name in names])
            apart, moved = _apart(rows["y"][seen], up)
            rows["asked"], rows["before"] = ~seen, rows["y"]
            rows.loc[seen, "before"] = np.where(moved, apart, rows["y"][seen])
        texts.append(rows.add_prefix("end_").assign(**dict(zip(keys, key, strict=True))))
    table = pd.concat(texts, ignore_index=True).assign(end_right=across.high)
    at = _filtered(alt.Chart(table), controls).encode(color=alt.Color("end_colour:N", scale=None))
    at = at.encode(across.channel(alt.X, "end_right"))
    shown = {"expr": "narrow ? datum.end_short : datum.end_text"}
    style = {"align": "left", "fontSize": 14, "fontWeight": 600}
    text = at.mark_text(text=shown, dx=18, **style).encode(up.channel(alt.Y, "end_place"))
    leader = at.encode(up.channel(alt.Y, "end_y"), x2="end_right", y2="end_place")
    leader = leader.transform_filter("datum.end_moved")
    layers = [text, leader.mark_rule(xOffset=3, x2Offset=15)]
    if (table["end_x"] < across.high).any():  # the line ends early: a thin one leads on to its name
        early = at.encode(up.channel(alt.Y, "end_y"), x2="end_x")
        layers.append(early.mark_rule(opacity=0.5))
    return layers, said


def _apart(values: pd.Series, up: _Axis) -> tuple[list[float], np.ndarray]:
    """Where labels of these ascending values do not overlap, and which have moved for it."""
    wanted = np.array([_PHONE_HEIGHT * up.share(value) for value in values])
    offset = _LABEL * np.arange(len(wanted))
    places = isotonic_regression(wanted - offset).x
    places = np.clip(places, 0, max(0, _PHONE_HEIGHT - offset.max(initial=0))) + offset
    return [up.value(place / _PHONE_HEIGHT) for place in places], abs(places - wanted) > 2


def _nearest(
    base: alt.Chart,
    data: pd.DataFrame,
    columns: tuple[str, str, str | None],
    titles: tuple[str, str],
    up: _Axis,
    ends: Sequence[str],
) -> alt.Chart:
    """The point next to the pointer or finger, with its tooltip; of long lines, about a hundred."""
    (x, y, series), (x_title, y_title) = columns, titles
    # Each point lies in a cell of its own, whose datum has the point's; "title" is set in bold.
    cell = {name: f"(datum.datum || datum)[{json.dumps(name)}]" for name in data.columns}
    number = {name: f"format({cell[name]}, '{up.format or ',.3~r'}')" for name in (y, *ends)}
    said = {"title": f"'' + {cell[series]}"} if series else {}
    said[y_title] = number[y]
    if ends:
        said["95 % band"] = " + ' to ' + ".join(number[end] for end in ends)
    said[x_title] = f"format({cell[x]}, ',.6~r')"
    tooltip = ", ".join(f"{json.dumps(word)}: {value}" for word, value in said.items())
    longest = int(data.groupby(series).size().max()) if series else len(data)
    if longest > 100:
        groups = [series] if series else []
        base = base.transform_window(place="row_number()", groupby=groups)
        base = base.transform_filter(f"datum.place % {longest // 100} === 0")
    near = alt.selection_point(name="nearest", nearest=True, on="pointerover", empty=False)
    seen = alt.condition(near, alt.value(1), alt.value(0))
    base = base.encode(up.channel(alt.Y, y), opacity=seen)
    points = base.mark_point(filled=True, size=70, tooltip={"expr": f"{{{tooltip}}}"})
    return points.properties(name="points").add_params(near)


def _rounded(value: Any) -> Any:
    """As Python's own number or string, floats cut to 4 significant digits like a chart's data."""
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _named(name: Any) -> str:
    return name if isinstance(name, str) else f"{name:.4g}"


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


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


def _styles(data: pd.DataFrame, series: str | None) -> dict[Any, tuple[str, tuple[float, ...]]]:
    """Colour and dashes of each name: of numbers, a ramp; others take a reader's, in turn."""
    names = _names(data, series)
    if series is not None and is_numeric_dtype(data[series]):
        step = (len(RAMP) - 1) / max(1, len(names) - 1)
        return {name: (RAMP[round(i * step)], _SOLID) for i, name in enumerate(names)}
    rounds = itertools.product(range(4), range(4))  # the next colour; then again, dashed otherwise
    spare = itertools.cycle((READER[i], _READER_DASHES[(i + shift) % 4]) for shift, i in rounds)
    return {name: CONDITIONS[name] if name in CONDITIONS else next(spare) for name in names}


def _channels(data: pd.DataFrame, series: str | None, *, line: bool = False) -> list[Any]:
    """The colour of each name and, of a line, its dashes and width."""
    if series is None:
        return [alt.ColorValue(BLUE)]
    styles = _styles(data, series)
    widths = {(BLUE, _SOLID): 2.8, CONDITIONS["chance"]: 1.5}
    ranges = {alt.Color: [colour for colour, _ in styles.values()]}
    if line:
        ranges[alt.StrokeDash] = [list(dashes) for _, dashes in styles.values()]
        ranges[alt.StrokeWidth] = [widths.get(style, 2.2) for style in styles.values()]
    scales = {kind: alt.Scale(domain=list(styles), range=ends) for kind, ends in ranges.items()}
    return [kind(series, type="ordinal", scale=s, legend=None) for kind, s in scales.items()]


def _filtered(chart: Any, controls: Sequence[Control]) -> Any:
    for control in controls:
        chart = chart.transform_filter(control.condition)
    return chart


def _finish(chart: Any, controls: Sequence[Control], **notes: Any) -> Any:
    """Adds the controls, and the notes that the page's script reads (see memhelpers.js)."""
    chart = chart.add_params(alt.param(name="narrow", value=False))
    chart = chart.add_params(*(control.parameter for control in controls))
    labels = {c.parameter.name: list(c.labels) for c in controls if c.labels}
    notes |= {"labels": labels} if labels else {}
    return chart.properties(usermeta={"memhelpers": notes})
