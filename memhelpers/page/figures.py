"""How charts, pictures and tables reach the reader: HTML with alt text and caption, and a PNG.

The last step of the data flow. In the book's pages a script of the site (`memhelpers.js`) draws the
charts, without any network; in Jupyter and Colab, which have no such script, a few lines load Vega
from a CDN; where no script runs at all (a repository's web view) the PNG is shown.
"""

import base64
import csv
import hashlib
import html
import io
import json
import math
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from memhelpers.errors import ArgumentError, check_positive_int

_PNG_WIDTH = 720
_PNG_LIMIT = 20_000
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# The look without the page's style sheet: Jupyter, Colab and the PNG. In the book the page's
# script lays the colours of the light or dark page over it.
_CONFIG = {
    "background": "white",
    "font": _FONT,
    "padding": 4,
    "view": {"stroke": None},
    "title": {
        "anchor": "start",
        "frame": "group",
        "fontSize": 14,
        "offset": 10,
        "color": "#1f2933",
    },
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "#e3e7ec",
        "domainColor": "#9aa5b1",
        "tickColor": "#9aa5b1",
        "labelColor": "#3e4c59",
        "titleColor": "#1f2933",
        "titlePadding": 8,
        "labelOverlap": "greedy",
    },
    "axisX": {"grid": False, "tickCount": 6},
    "axisY": {"tickCount": 6, "domain": False, "ticks": False},
    "legend": {
        "orient": "top",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 0,
        "titleFontWeight": "normal",
        "labelColor": "#1f2933",
        "titleColor": "#1f2933",
        "symbolType": "stroke",
        "symbolOpacity": 1,
        "symbolSize": 400,
        "symbolStrokeWidth": 2.5,
        "columnPadding": 18,
        "rowPadding": 3,
        "offset": 28,
    },
    "line": {"strokeWidth": 2.25},
    "axisYQuantitative": {
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "end",
        "titleBaseline": "bottom",
        "titleY": -8,
        "titleX": 0,
    },
}

# Runs where the book's own script is absent. Vega's files must not see an AMD loader (classic
# notebooks have one): they would register themselves there and leave `vegaEmbed` undefined.
_DRAW_FROM_CDN = """
(() => {
  if (document.querySelector('script[src*="memhelpers.js"]')) return;
  const figure = document.getElementById("%(id)s");
  const load = (url) => new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), {src: url});
    script.onload = resolve;
    script.onerror = () => reject(new Error("cannot load " + url));
    document.head.append(script);
  });
  const vega = () => {
    if (window.vegaEmbed) return Promise.resolve();
    const define = window.define;
    window.define = undefined;
    return %(urls)s.reduce((before, url) => before.then(() => load(url)), Promise.resolve())
      .finally(() => { window.define = define; });
  };
  const label = (panel, labels) => Object.entries(labels).forEach(([name, texts]) => {
    const input = panel.querySelector(`input[name="${name}"]`);
    const show = () => { input.nextElementSibling.textContent = texts[input.value]; };
    ["input", "change"].forEach((event) => input.addEventListener(event, show));
    show();
  });
  window.memhelpersVega = window.memhelpersVega || vega();
  window.memhelpersVega.then(async () => {
    const panels = [];
    for (const spec of JSON.parse(figure.querySelector(".mem-spec").textContent)) {
      const panel = document.createElement("div");
      const title = document.createElement("p");
      title.style.fontWeight = "bold";
      title.textContent = spec.title || "";
      delete spec.title;
      panel.style.width = "100%%";
      figure.querySelector(".mem-chart").append(title, panel);
      await window.vegaEmbed(panel, spec, {actions: false, renderer: "svg", mode: "vega-lite"});
      label(panel, ((spec.usermeta || {}).memhelpers || {}).labels || {});
      panels.push(panel);
    }
    if (panels.length) figure.querySelector(".mem-still")?.remove();
  }).catch((error) => console.warn("the chart stays a picture:", error.message));
})();
"""


def rounded(value: Any) -> Any:
    """The value with floats cut to 4 significant digits; NaN and infinities become None."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


class Display:
    """Something that Jupyter and the book show: HTML, plain text and perhaps a PNG."""

    def html(self) -> str:
        """The HTML that is put into the page."""
        raise NotImplementedError

    def png(self) -> bytes | None:
        """The picture for places where no HTML is drawn; None where there is none."""
        return None

    def __repr__(self) -> str:
        return type(self).__name__

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle = {"text/html": self.html(), "text/plain": repr(self)}
        picture = self.png()
        if picture is not None:
            bundle["image/png"] = base64.b64encode(picture).decode()
        return bundle


class Figure(Display):
    """A chart, or several side by side, with alt text and a caption.

    Args:
        chart: an Altair chart, or a sequence of charts that share their controls and stand
            side by side where the page is wide enough.
        alt: what the chart shows, for readers who do not see it.
        caption: the finding, in a sentence or two, with the seeds behind it.

    Raises:
        ArgumentError: no chart, or an empty alt text or caption.
    """

    def __init__(self, chart: Any, *, alt: str, caption: str) -> None:
        charts = list(chart) if isinstance(chart, list | tuple) else [chart]
        if not charts or not all(hasattr(one, "to_dict") for one in charts):
            raise ArgumentError("chart", chart, "an Altair chart or a sequence of them")
        self.alt = _text("alt", alt)
        self.caption = _text("caption", caption)
        self.specs = [_spec(one, self.alt) for one in charts]

    @property
    def id(self) -> str:
        """The identifier in the page, a hash of the content and so the same in each run."""
        content = json.dumps([self.specs, self.alt, self.caption], sort_keys=True)
        return "mem-" + hashlib.sha256(content.encode()).hexdigest()[:12]

    def html(self) -> str:
        """A `figure` element with the specifications, the picture until drawn, and the caption."""
        specs = json.dumps(self.specs, separators=(",", ":")).replace("<", "\\u003c")
        script = _DRAW_FROM_CDN % {"id": self.id, "urls": json.dumps(_cdn())}
        alt = html.escape(self.alt)
        return (
            f'<figure class="mem-figure" id="{self.id}">\n'
            f'<div class="mem-chart" role="img" aria-label="{alt}">{self._still(alt)}</div>\n'
            f'<script type="application/json" class="mem-spec">{specs}</script>\n'
            f"<figcaption>{html.escape(self.caption)}</figcaption>\n"
            f"<script>{script}</script>\n</figure>"
        )

    def _still(self, alt: str) -> str:
        picture = self.png()
        if picture is None:
            return ""
        data = base64.b64encode(picture).decode()
        shape = f'class="mem-still" alt="{alt}" width="{_PNG_WIDTH}"'
        return f'<img {shape} src="data:image/png;base64,{data}">'

    def png(self) -> bytes | None:
        """The chart on white, about 720 px wide; None without vl-convert."""
        try:
            import vl_convert
        except ImportError:
            return None
        spec = _static(self.specs)
        for scale in (1.25, 1.0):
            picture = _fewer_colours(vl_convert.vegalite_to_png(json.dumps(spec), scale=scale))
            if len(picture) <= _PNG_LIMIT:
                break
        return picture

    def __repr__(self) -> str:
        return f"Figure: {self.caption}"


class Images(Display):
    """A gallery of small images, each with its label; made by `images`."""

    def __init__(self, pixels: np.ndarray, labels: list[str], groups: list[str], **text: str):
        self.pixels, self.labels, self.groups = pixels, labels, groups
        self.title, self.alt, self.caption = text["title"], text["alt"], text["caption"]

    def html(self) -> str:
        """A `figure` element with one list of images per group."""
        rows = "".join(self._row(group) for group in dict.fromkeys(self.groups))
        return (
            f'<figure class="mem-figure mem-gallery" aria-label="{html.escape(self.alt)}">\n'
            f'<p class="mem-chart-title">{html.escape(self.title)}</p>\n{rows}'
            f"<figcaption>{html.escape(self.caption)}</figcaption>\n</figure>"
        )

    def _row(self, group: str) -> str:
        name = f'<p class="mem-group">{html.escape(group)}</p>' if group else ""
        chosen = [i for i, other in enumerate(self.groups) if other == group]
        items = "".join(_image_item(self.pixels[i], self.labels[i]) for i in chosen)
        return f'{name}<ul class="mem-images" style="list-style:none;padding:0">{items}</ul>\n'

    def png(self) -> bytes | None:
        """The images with their labels on white; None without Pillow."""
        try:
            from PIL import Image, ImageDraw, ImageFont
        except ImportError:
            return None
        places = _places(self.groups, columns=10)
        height = max(top for _, top in places) + 96
        sheet = Image.new("RGB", (_PNG_WIDTH, height), "white")
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
        for pixels, label, (left, top) in zip(self.pixels, self.labels, places, strict=True):
            tile = Image.fromarray(pixels.squeeze())
            sheet.paste(tile.convert("RGB").resize((62, 62), Image.Resampling.NEAREST), (left, top))
            draw.text((left, top + 66), label[:11], fill="#1f2933", font=font)
        out = io.BytesIO()
        sheet.save(out, "PNG", optimize=True)
        return _fewer_colours(out.getvalue())

    def __repr__(self) -> str:
        return f"Images: {self.caption}"


class Table(Display):
    """A small table of results; made by `table`."""

    def __init__(self, frame: pd.DataFrame, caption: str, digits: int):
        self.frame, self.caption, self.digits = frame, caption, digits

    def html(self) -> str:
        """A `table` element with a caption, and headings for columns and rows."""
        head = "".join(f'<th scope="col">{html.escape(str(c))}</th>' for c in self.frame.columns)
        rows = "".join(self._row(values) for values in self.frame.itertuples(index=False))
        return (
            '<div class="mem-scroll" tabindex="0" role="region" '
            f'aria-label="{html.escape(self.caption)}">\n<table class="mem-table">\n'
            f"<caption>{html.escape(self.caption)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody>\n</table>\n</div>"
        )

    def _row(self, values: tuple[Any, ...]) -> str:
        first, *rest = [html.escape(self._cell(value)) for value in values]
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        return f'<tr><th scope="row">{first}</th>{cells}</tr>\n'

    def _cell(self, value: Any) -> str:
        if isinstance(value, float | np.floating):
            return f"{value:,.{self.digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"
        return f"{value:,}" if isinstance(value, int | np.integer) else str(value)

    def __repr__(self) -> str:
        cells = [[self._cell(v) for v in row] for row in self.frame.itertuples(index=False)]
        return pd.DataFrame(cells, columns=self.frame.columns).to_string(index=False)


def images(
    x: Any,
    labels: Sequence[object],
    *,
    title: str,
    alt: str,
    caption: str,
    groups: Sequence[str] = (),
) -> Images:
    """Shows small images with their labels.

    Values in [0, 1] are shown as they are; others are stretched, all alike, to that range.

    Args:
        x: grey or colour images, [n, C, H, W] with C of 1 or 3; a tensor or an array.
        labels: one text per image, which is also its alt text; [n].
        title: what the images are.
        alt: what the reader would see in them, taken together.
        caption: the finding.
        groups: the name of the row that each image belongs to; [n], or empty for one row.

    Raises:
        ArgumentError: another shape, another number of labels or groups, or an empty text.
    """
    pixels = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=np.float32)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or not len(pixels):
        raise ArgumentError("x", pixels.shape, "images [n, 1 or 3, H, W]")
    for argument, values in (("labels", labels), ("groups", groups or labels)):
        if len(values) != len(pixels):
            raise ArgumentError(argument, len(values), f"{len(pixels)} entries, one per image")
    texts = {"title": title, "alt": alt, "caption": caption}
    texts = {argument: _text(argument, text) for argument, text in texts.items()}
    rows = [str(group) for group in groups] or [""] * len(pixels)
    return Images(_to_bytes(pixels), [str(label) for label in labels], rows, **texts)


def table(frame: pd.DataFrame, *, caption: str, digits: int = 3) -> Table:
    """Shows a table of results; the first column heads the rows.

    Args:
        frame: the rows and columns as shown; the index is left out.
        caption: what the table says.
        digits: significant digits of floats.

    Raises:
        ArgumentError: an empty table or caption, or fewer than one digit.
    """
    if frame.empty:
        raise ArgumentError("frame", frame.shape, "at least one row and one column")
    return Table(frame, _text("caption", caption), check_positive_int("digits", digits))


def _text(argument: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ArgumentError(argument, value, "a text that is not empty")
    return " ".join(value.split())


def _cdn() -> list[str]:
    """Where Jupyter loads Vega from: the major versions that this Altair writes for."""
    import altair

    packages = (
        ("vega", altair.VEGA_VERSION),
        ("vega-lite", altair.VEGALITE_VERSION),
        ("vega-embed", altair.VEGAEMBED_VERSION),
    )
    return [
        f"https://cdn.jsdelivr.net/npm/{name}@{str(version).split('.')[0]}"
        for name, version in packages
    ]


def _spec(chart: Any, alt: str) -> dict[str, Any]:
    """The chart's Vega-Lite specification: compact data, stable names, alt text, the one style."""
    import altair

    with altair.data_transformers.enable("default", max_rows=None):
        spec = chart.to_dict()
    spec = _stable_names(spec)
    datasets = spec.get("datasets", {})
    formats = {name: _pack(datasets, name) for name in list(datasets)}
    _describe_data(spec, formats)
    spec.setdefault("description", alt)
    spec["config"] = _config(_columns(spec, _PNG_WIDTH - 60))
    return spec


def _stable_names(spec: dict[str, Any]) -> dict[str, Any]:
    """Renumbers the names that Altair counts up over a session, by first appearance."""
    text = json.dumps(spec)
    counted = dict.fromkeys(re.findall(r"\b(?:param|view)_\d+\b", text))
    numbers = {name: f"{name.split('_')[0]}_{i + 1}" for i, name in enumerate(counted)}
    return json.loads(re.sub(r"\b(?:param|view)_\d+\b", lambda m: numbers[m.group()], text))


def _pack(datasets: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Replaces a list of rows by CSV text, a third of the size; returns how to read it."""
    rows = [{key: rounded(value) for key, value in row.items()} for row in datasets[name]]
    datasets[name] = rows
    if not rows or any(row.keys() != rows[0].keys() for row in rows):
        return None
    kinds = {key: _kind([row[key] for row in rows]) for key in rows[0]}
    if None in kinds.values():
        return None
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_csv_cell(value) for value in row.values()] for row in rows)
    datasets[name] = out.getvalue()
    return {"type": "csv", "parse": kinds}


def _kind(values: list[Any]) -> str | None:
    """How Vega must read a column back from CSV; None where CSV would change it."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in present):
        return "boolean"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return "number"
    texts = len(present) == len(values) and all(isinstance(value, str) for value in present)
    return "string" if texts else None


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else value


def _describe_data(node: Any, formats: dict[str, dict[str, Any] | None]) -> None:
    """Writes the format beside every reference to a packed data set, in place."""
    if isinstance(node, dict):
        name = node.get("data", {}).get("name") if isinstance(node.get("data"), dict) else None
        if formats.get(name):
            node["data"]["format"] = formats[name]
        for key, value in node.items():
            if key != "datasets":
                _describe_data(value, formats)
    elif isinstance(node, list):
        for value in node:
            _describe_data(value, formats)


def _columns(spec: dict[str, Any], width: int) -> int:
    """Columns of the legend that fit the width (the page's script does the same sum)."""
    lengths = spec.get("usermeta", {}).get("memhelpers", {}).get("legend", [])
    for columns in range(len(lengths), 1, -1):
        widest = [max(lengths[column::columns]) for column in range(columns)]
        if sum(6 * length + 50 for length in widest) <= width:
            return columns
    return 1 if lengths else 0


def _config(columns: int) -> dict[str, Any]:
    return {**_CONFIG, "legend": {**_CONFIG["legend"], "columns": columns}}


def _static(specs: list[dict[str, Any]]) -> dict[str, Any]:
    """One specification without inputs and with fixed widths, for the picture."""
    panels = [json.loads(json.dumps(spec)) for spec in specs]
    params: dict[str, Any] = {}
    datasets: dict[str, Any] = {}
    columns = min(len(panels), 2)
    width = (_PNG_WIDTH - 70 * columns) // columns
    legend = min(_columns(spec, width + 20) for spec in specs)
    for panel in panels:
        for parameter in panel.pop("params", []):
            parameter.pop("bind", None)
            params[parameter["name"]] = parameter
        datasets.update(panel.pop("datasets", {}))
        _fix_width(panel, width)
        for key in ("config", "$schema", "usermeta", "description"):
            panel.pop(key, None)
    # The title of one chart stands above its legend only as the outer title.
    title = {"title": panels[0].pop("title", "")} if len(panels) == 1 else {}
    return {
        "$schema": specs[0]["$schema"],
        "config": _config(legend),
        "datasets": datasets,
        "params": list(params.values()),
        "concat": panels,
        "columns": columns,
        "spacing": 30,
        # Shared scales would give the series of one panel the colours of another's.
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
        **title,
    }


def _fix_width(panel: dict[str, Any], width: int) -> None:
    if panel.get("width") == "container":
        panel["width"] = width
    if panel.get("usermeta", {}).get("memhelpers", {}).get("aspect") == "square":
        panel["width"] = panel["height"] = min(width, 300)


def _fewer_colours(picture: bytes) -> bytes:
    """The picture with a palette of 128 colours, where Pillow is there and that is smaller."""
    try:
        from PIL import Image
    except ImportError:
        return picture
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        # With half as many, thin lines get the colours of their neighbours.
        few = image.convert("RGB").quantize(128)
        few.save(out, "PNG", optimize=True)
    return min(picture, out.getvalue(), key=len)


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Images as uint8 [n, H, W, C]."""
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / max(high - low, 1e-12)
    return np.rint(pixels.transpose(0, 2, 3, 1) * 255).astype(np.uint8)


def _image_item(pixels: np.ndarray, label: str) -> str:
    text, data = html.escape(label), base64.b64encode(_png(pixels)).decode()
    return (
        '<li style="display:inline-block;margin:0 .5rem .5rem 0">'
        f'<img alt="{text}" width="64" height="64" style="image-rendering:pixelated" '
        f'src="data:image/png;base64,{data}"><span style="display:block">{text}</span></li>'
    )


def _png(pixels: np.ndarray) -> bytes:
    """One image [H, W, 1 or 3] of bytes as a PNG file, without any library."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(lines, 9)),
            chunk(b"IEND", b""),
        )
    )


def _places(groups: list[str], columns: int) -> list[tuple[int, int]]:
    """Left and top of each tile of the sheet, each group starting a row of its own."""
    places: list[tuple[int, int]] = [(0, 0)] * len(groups)
    top = 8
    for group in dict.fromkeys(groups):
        chosen = [i for i, other in enumerate(groups) if other == group]
        for number, i in enumerate(chosen):
            places[i] = (8 + 70 * (number % columns), top + 88 * (number // columns))
        top += 88 * math.ceil(len(chosen) / columns)
    return places
