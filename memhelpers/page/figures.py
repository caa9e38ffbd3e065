"""How charts, pictures and tables reach the reader: HTML with alt text and caption, and a PNG.

In the book's pages a script of the site (`memhelpers.js`) draws the charts, without any network; in
Jupyter and Colab `figure.js` loads Vega from a CDN; where no script runs the PNG is shown.
"""

import hashlib
import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from PIL import Image

from memhelpers.errors import ArgumentError, check_instance
from memhelpers.page import report

_WIDTH = 720
_FIT = {"type": "fit-x", "contains": "padding"}

# The colours of a light page; memhelpers.js has for each the one that a dark page has instead. Each
# has a contrast of at least 4.5:1, and conditions stay apart under simulated protanopia,
# deuteranopia and tritanopia (see tests/test_charts.py).
INK, MUTED, GREY, GRID, WHITE = "#1C2530", "#51606F", "#68737E", "#E6EAEE", "#FFFFFF"
RAMP = ("#1D67D8", "#4C5CC3", "#6450AF", "#6D49A5", "#76419B", "#832E87", "#8F0A74")  # real, noise
READER = ("#574C00", "#6E1F2A", "#CC0055", "#007A99")
_TEXT = {"labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal"}
_CONFIG = {
    "background": WHITE,
    "font": "'Source Sans 3', system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
    "padding": 4,
    "view": {"stroke": None},
    "title": {"anchor": "start", "frame": "group", "fontSize": 15, "color": INK},
    "text": {"fontSize": 13, "color": INK},
    "axis": {**_TEXT, "gridColor": GRID, "domainColor": GREY, "tickColor": GREY}
    | {"labelColor": MUTED, "titleColor": MUTED, "labelOverlap": "greedy", "titlePadding": 6}
    | {"labelSeparation": 5, "labelFlush": False},
    "axisX": {"grid": False, "titleAnchor": "end"},
    "axisY": {"domain": False, "ticks": False, "labelPadding": 8},
    "legend": {**_TEXT, "labelColor": MUTED, "titleColor": MUTED, "titleLimit": 0},
    "line": {"strokeWidth": 2.2, "strokeJoin": "round"},
}


@alt.theme.register("memhelpers", enable=False)
def _theme() -> alt.theme.ThemeConfig:
    return {"config": _CONFIG}


def _as_csv(data: Any) -> Any:
    """Rows as CSV text, a third of JSON's size."""
    kinds = dict.fromkeys(data, "string")
    kinds |= dict.fromkeys(data.select_dtypes("number"), "number")
    kinds |= dict.fromkeys(data.select_dtypes("bool"), "boolean")
    text = data.replace([math.inf, -math.inf], math.nan)
    text = text.astype({name: int for name, kind in kinds.items() if kind == "boolean"})
    values = text.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    return {"values": values, "format": {"type": "csv", "parse": kinds}}


alt.data_transformers.register("memhelpers", _as_csv)
_PACKAGES = {"vega": alt.VEGA_VERSION, "vega-lite": alt.VEGALITE_VERSION}
_PACKAGES["vega-embed"] = alt.VEGAEMBED_VERSION
# The major versions that this Altair writes for.
_CDN = [f"https://cdn.jsdelivr.net/npm/{k}@{v.split('.')[0]}" for k, v in _PACKAGES.items()]
# Runs where the book's own script is absent. Vega's files must not see an AMD loader (classic
# notebooks have one): they would register there and leave no `vegaEmbed`.
_DRAWING = (Path(__file__).parent / "figure.js").read_text(encoding="utf-8")
_DRAWING = "\n".join(map(str.strip, _DRAWING.replace("URLS", json.dumps(_CDN)).split("\n")))
_DRAWING = f"<script>\n{_DRAWING}</script>\n"  # at the end of what is displayed at once


# Where the book's style sheet is absent; weaker than anything in it.
_STYLE = (
    "<style>:where(.mem-figure, .mem-figure p) { margin: 0 } "
    ":where(.mem-figure-title) { font-size: 18.5px; font-weight: 600 }</style>\n"
)


class Display:
    """Something that Jupyter and the book show: HTML and plain text."""

    def html(self, still: bool = True) -> str:
        """What stands in the page; with `still`, a chart's picture until the chart is drawn."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self.html()


class Figure(Display):
    """A chart, or several side by side, with a title over it, a caption under it and alt text.

    Args:
        chart: an Altair chart, or a sequence of charts that share their controls and stand
            side by side where the page is wide enough.
        title: what to see.
        subtitle: the measured quantity, its unit, and what its ends mean.
        caption: what is averaged, over how many seeds, and which band is drawn.
        alt: what the chart shows, for readers who do not see it; the values that stand as text
            in it follow by themselves.

    Raises:
        ArgumentError: no chart, or an empty alt text or caption.
    """

    def __init__(
        self, chart: Any, *, alt: str, caption: str, title: str = "", subtitle: str = ""
    ) -> None:
        charts = list(chart) if isinstance(chart, list | tuple) else [chart]
        if not charts or not all(hasattr(one, "to_dict") for one in charts):
            raise ArgumentError("chart", chart, "an Altair chart or a sequence of them")
        self.caption = _text("caption", caption)
        self.title, self.subtitle = spaced(title), spaced(subtitle)
        self.specs = [_spec(one) for one in charts]
        said = [spec["usermeta"]["memhelpers"].pop("said", "") for spec in self.specs]
        self.alt = " ".join(filter(None, [_text("alt", alt), *said]))
        for spec in self.specs:
            spec.setdefault("description", self.alt)
        self.id = _id(json.dumps([self.specs, title, subtitle, alt, caption], sort_keys=True))

    def html(self, still: bool = True) -> str:
        """A `figure` element: title, specifications, the picture until drawn, and the caption."""
        specs = json.dumps(self.specs, separators=(",", ":")).replace("<", "\\u003c")
        text = html.escape(self.alt)
        shown = self.still() if still else f'<p class="mem-still">{text}</p>'
        return (
            f'<figure class="mem-figure" id="{self.id}">\n{_heading(self.title, self.subtitle)}'
            f'<div class="mem-chart" role="img" aria-label="{text}">{shown}</div>\n'
            f'<script type="application/json" class="mem-spec">{specs}</script>\n'
            f"<figcaption>{html.escape(self.caption)}</figcaption>\n</figure>\n{_DRAWING}"
        )

    def still(self) -> str:
        """The picture, which needs no script; without vl-convert the alt text."""
        text, picture = html.escape(self.alt), self.png()
        if picture is None:
            return f'<p class="mem-still">{text}</p>'
        shape = f'class="mem-still" alt="{text}" width="{_WIDTH}"'
        return f'<img {shape} src="{report.address(picture)}">'

    def png(self) -> bytes | None:
        """The chart on white, 720 px wide; None without vl-convert."""
        try:
            import vl_convert
        except ImportError:
            return None
        columns = min(len(self.specs), 2)
        specs = [json.dumps(_static(spec, _WIDTH // columns)) for spec in self.specs]
        pictures = [vl_convert.vegalite_to_png(spec, scale=1.25) for spec in specs]
        parts = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
        rows = [parts[k : k + columns] for k in range(0, len(parts), columns)]
        heights = [max(part.height for part in row) for row in rows]
        joined = Image.new("RGB", (int(1.25 * _WIDTH), sum(heights)), "white")
        for y, row in zip(np.cumsum([0, *heights]), rows, strict=False):
            for k, part in enumerate(row):
                joined.paste(part, (k * joined.width // columns, int(y)))
        return report.png(joined.quantize(128))  # with 64 colours thin lines get their neighbours'

    def __repr__(self) -> str:
        return f"Figure: {self.title or self.caption}"


@dataclass(frozen=True, repr=False)
class Markup(Display):
    """Images or a table: the same HTML everywhere, and what stands for it as plain text."""

    page: str
    text: str

    def html(self, still: bool = True) -> str:
        """The same in every place."""
        return self.page

    def __repr__(self) -> str:
        return self.text


class Page(Display):
    """Displays and HTML, one below the other."""

    def __init__(self, *parts: Display | str) -> None:
        if not parts or not all(isinstance(part, Display | str) for part in parts):
            raise ArgumentError("parts", parts, "displays and HTML")
        self.parts = [Markup(part, "") if isinstance(part, str) else part for part in parts]

    def html(self, still: bool = True) -> str:
        """The parts' HTML, in their order."""
        return _drawn_at_once("\n".join(part.html(still) for part in self.parts))

    def __repr__(self) -> str:
        return "\n".join(filter(None, map(repr, self.parts)))


class Switch(Display):
    """The same display for several runs, of which the reader chooses one; works without a script.

    Args:
        panels: figures, images or tables by the name of their run, in the order of the switch.
        start: the name of the one that is seen first (default: the first).
    """

    def __init__(self, panels: Mapping[str, Display], start: str | None = None) -> None:
        self.panels, self.start = dict(panels), next(iter(panels)) if start is None else start

    def html(self, still: bool = True) -> str:
        """A group of radio buttons above the panels, of which only the first seen has a picture."""
        if len(self.panels) == 1:
            return self.panels[self.start].html(still)
        shown = [one.html(still and name == self.start) for name, one in self.panels.items()]
        id = _id("".join(self.panels) + self.start + "".join(shown))
        choices = "".join(
            f'<label><input type="radio" name="{id}"{" checked" * (name == self.start)}>'
            f"<span>{html.escape(name)}</span></label>\n"
            for name in self.panels
        )
        panels = "".join(f"<div>{panel}</div>\n" for panel in shown)
        return _drawn_at_once(
            f'<div class="mem-switch" id="{id}">\n<style>{_switching(len(shown))}</style>\n'
            f'<fieldset role="radiogroup" aria-label="Run">\n{choices}</fieldset>\n'
            f'<div class="mem-switched">\n{panels}</div>\n</div>'
        )

    def __repr__(self) -> str:
        alone = len(self.panels) == 1
        shown = [repr(one) if alone else f"{name}: {one!r}" for name, one in self.panels.items()]
        return "\n".join(shown)


def _switching(panels: int) -> str:
    """Hides the panels that are not chosen, without a script."""
    chosen = ":not(:has(> fieldset > :nth-child({0}) > :checked)) > div > :nth-child({0})"
    hidden = ", ".join(f".mem-switch{chosen.format(k)}" for k in range(1, panels + 1))
    return f"@supports selector(:has(*)) {{ {hidden} {{ display: none }} }}"


def _drawn_at_once(shown: str) -> str:
    """One script for all the figures in it, in place of one for each."""
    return shown.replace(_DRAWING, "") + _DRAWING * (_DRAWING in shown)


def images(
    x: Any,
    labels: Sequence[object],
    *,
    title: str,
    alt: str,
    caption: str,
    groups: Sequence[str] = (),
) -> Markup:
    """Shows small images with their labels; values beyond [0, 1] are stretched, all alike, to it.

    Args:
        x: grey or colour images, [n, C, H, W] with C of 1 or 3; a tensor or an array.
        labels: one text per image, which is also its alt text; [n].
        title: what the images are.
        alt: what the reader would see in them, taken together.
        caption: the finding.
        groups: the name of the row of each image; [n], or empty for one row.

    Raises:
        ArgumentError: another shape, another number of labels or groups, or an empty text.
    """
    pixels = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=np.float32)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or not len(pixels):
        raise ArgumentError("x", pixels.shape, "images [n, 1 or 3, H, W]")
    for argument, values in (("labels", labels), ("groups", groups or labels)):
        if len(values) != len(pixels):
            raise ArgumentError(argument, len(values), f"{len(pixels)} entries, one per image")
    given = {"title": title, "alt": alt, "caption": caption}
    title, alt, caption = (_text(argument, text) for argument, text in given.items())
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / max(high - low, 1e-12)
    shown = np.rint(pixels.transpose(0, 2, 3, 1) * 255).astype(np.uint8)  # [n, H, W, C]
    rows: dict[str, str] = {}
    for one, label, group in zip(shown, labels, groups or [""] * len(shown), strict=True):
        rows[str(group)] = rows.get(str(group), "") + _image_item(one, str(label))
    page = (
        f'<figure class="mem-figure mem-gallery" aria-label="{html.escape(alt)}">\n'
        f"{_heading(title)}{''.join(map(_image_row, rows, rows.values()))}"
        f"<figcaption>{html.escape(caption)}</figcaption>\n</figure>"
    )
    return Markup(page, f"Images: {caption}")


def table(frame: pd.DataFrame, *, caption: str) -> Markup:
    """Shows a table of results without its index, with 3 significant digits of floats.

    Raises:
        ArgumentError: an empty table or caption.
    """
    if check_instance("frame", frame, pd.DataFrame).empty:
        raise ArgumentError("frame", frame.shape, "at least one row and one column")
    caption = html.escape(_text("caption", caption))
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    head = "".join(f'<th scope="col">{html.escape(str(c))}</th>' for c in frame.columns)
    rows = ""
    for first, *rest in cells:
        others = "".join(f"<td>{html.escape(cell)}</td>" for cell in rest)
        rows += f'<tr><th scope="row">{html.escape(first)}</th>{others}</tr>\n'
    page = (
        f'<div class="mem-scroll" tabindex="0" role="region" aria-label="{caption}">\n'
        f'<table class="mem-table">\n<caption>{caption}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody>\n</table>\n</div>"
    )
    return Markup(page, pd.DataFrame(cells, columns=frame.columns).to_string(index=False))


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:,.3g}".replace("-", "−") if abs(value) < 1e3 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def _text(argument: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ArgumentError(argument, value, "a text that is not empty")
    return spaced(" ".join(value.split()))


def spaced(text: str) -> str:
    """The text with "93 %" for the "93%" that Python's formats give; no line breaks within."""
    return re.sub(r"(?<=\d) ?%", "\u00a0%", text)


def _id(content: str) -> str:
    return "mem-" + hashlib.sha256(content.encode()).hexdigest()[:12]


def _heading(title: str, subtitle: str = "") -> str:
    """Title and subtitle as paragraphs, where there are such."""
    texts = {"title": title, "subtitle": subtitle}
    return _STYLE + "".join(
        f'<p class="mem-figure-{k}">{html.escape(text)}</p>\n' for k, text in texts.items() if text
    )


def _spec(chart: Any) -> dict[str, Any]:
    """The chart's Vega-Lite specification: compact data, the one style."""
    with alt.theme.enable("memhelpers"), alt.data_transformers.enable("memhelpers"):
        spec = chart.to_dict()
    spec.setdefault("usermeta", {}).setdefault("memhelpers", {})
    return spec


def _static(spec: dict[str, Any], width: int) -> dict[str, Any]:
    """A specification for the picture: of fixed width, without what follows the pointer."""
    chosen = {"narrow": width < _WIDTH}
    parameters = [
        {**one, "value": chosen.get(one["name"], one.get("value"))}
        for one in spec.get("params", [])
        if one["name"] != "nearest"
    ]
    fixed = {**spec, "params": parameters, "width": width, "autosize": _FIT}
    if "layer" in spec:
        fixed["layer"] = [one for one in spec["layer"] if one.get("name") != "points"]
    square = spec["usermeta"]["memhelpers"].get("aspect") == "square"
    return fixed | ({"height": width - 60} if square else {})


def _image_item(pixels: np.ndarray, label: str) -> str:
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels  # grey
    text, source = html.escape(label), report.address(report.png(Image.fromarray(shown)))
    return (
        '<li style="display:inline-block;margin:0 .5rem .5rem 0">'
        f'<img alt="{text}" width="60" height="60" style="image-rendering:pixelated" '
        f'src="{source}"><span style="display:block">{text}</span></li>'
    )


def _image_row(name: str, items: str) -> str:
    heading = f'<p class="mem-group">{html.escape(name)}</p>' if name else ""
    return f'{heading}<ul class="mem-images" style="list-style:none;padding:0">{items}</ul>\n'
