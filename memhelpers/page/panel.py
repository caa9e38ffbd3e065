"""The picture of the live panel: curves and images, in HTML that needs no script and no package."""

import html
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from memhelpers.page.figures import GRID, INK, MUTED, WHITE

WIDTH, HEIGHT = 400, 250  # of the drawing, in units of its own
LEFT, RIGHT, TOP, BOTTOM = 52, 264, 12, 204  # of the plot in it
LABEL = 18  # from label to label
FAINTEST = 0.1  # opacity of an image that no network has learned
INK, MUTED, GRID, PAGE = (
    f"var(--mem-{name}, {colour})"
    for name, colour in {"ink": INK, "muted": MUTED, "grid": GRID, "page": WHITE}.items()
)


Style = tuple[str, tuple[float, ...]]  # colour of a condition, in CSS, and its dashes


class Tile(NamedTuple):
    """An example: the address of its picture, what stands below it, and how it fares."""

    address: str
    label: str
    style: Style  # of its border
    learned: float  # share of the networks that give it the label it was trained with


def picture(
    curves: Mapping[str, pd.DataFrame],
    tiles: Iterable[Tile],
    *,
    styles: Mapping[str, Style],
    epochs: int,
    caption: str,
) -> str:
    """Curves beside images, which come below where the page is narrow.

    Args:
        curves: by the name of the line, its columns epoch, mean, low and high (from 0 to 1).
        tiles: the examples; those that most networks have learned come first.
        styles: of each line, by name.
        epochs: the end of the axis.
        caption: what is drawn.
    """
    drawn = sorted(tiles, key=lambda tile: -tile.learned)
    shown = "".join(map(_item, drawn))
    return (
        f'<figure class="mem-figure" style="margin:0;padding:8px;background:{PAGE};color:{INK}">'
        '<div style="display:flex;flex-wrap:wrap;gap:8px 24px">'
        '<div style="flex:1 1 280px;max-width:520px">'
        f"{_heading('Accuracy, by epoch')}{_plot(curves, styles, epochs)}</div>"
        f'<div style="flex:1 1 280px">{_heading("Examples, the most learned first")}'
        f'<ul style="display:flex;flex-wrap:wrap;gap:4px;margin:0;padding:0">{shown}</ul></div>'
        f'</div><figcaption style="margin-top:8px;font-size:14px;line-height:20px;color:{MUTED}">'
        f"{html.escape(caption)}</figcaption></figure>"
    )


def _heading(text: str) -> str:
    return f'<p style="margin:0 0 6px;font-size:15px;font-weight:600">{text}</p>'


def _item(tile: Tile) -> str:
    colour, dashes = tile.style
    line, label = "dashed" if dashes[1] else "solid", html.escape(tile.label)
    told = f"{label}, learned by {100 * tile.learned:.0f} %"
    size = "display:block;width:36px;height:36px;image-rendering:pixelated;margin:0"
    inside = f'<img alt="{told}" style="{size};opacity:{max(tile.learned, FAINTEST):.2f}"'
    return (
        f'<li title="{told}" style="list-style:none;margin:0;font-size:13px;line-height:16px;'
        f'text-align:center;color:{MUTED}"><div style="border:2px {line} {colour};width:36px">'
        f'{inside} src="{tile.address}"></div>{label}</li>'
    )


def _plot(curves: Mapping[str, pd.DataFrame], styles: Mapping[str, Style], epochs: int) -> str:
    """The curves with their bands; names and last values stand at the right."""

    def x(epoch: float) -> float:
        return LEFT + (RIGHT - LEFT) * epoch / epochs

    def y(share: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * share

    def points(epoch: pd.Series, share: pd.Series) -> str:
        return " ".join(f"{x(e):.1f},{y(s):.1f}" for e, s in zip(epoch, share, strict=True))

    parts = [_axes(x, y, epochs)]
    ends = {name: y(rows["mean"].iloc[-1]) for name, rows in curves.items()}
    for name, rows in curves.items():
        colour, dashes = styles[name]
        band = f"{points(rows['epoch'], rows['low'])} "
        band += points(rows["epoch"][::-1], rows["high"][::-1])
        mean = points(rows["epoch"], rows["mean"])
        broken = " ".join(map(str, dashes)) if dashes[1] else "none"
        last = f"{name} {100 * rows['mean'].iloc[-1]:.0f} %"
        parts += [
            f'<polygon points="{band}" style="fill:{colour};fill-opacity:.15"/>',
            f'<polyline points="{mean}" style="fill:none;stroke:{colour};stroke-width:2.2;'
            f'stroke-dasharray:{broken}"/>',
            _text(RIGHT + 8, _apart(ends)[name] + 5, last, colour),
        ]
    told = "; ".join(f"{k} {100 * v['mean'].iloc[-1]:.0f} %" for k, v in curves.items())
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Accuracy: {told}" '
        f'style="display:block;width:100%">{"".join(parts)}</svg>'
    )


def _axes(x: Callable[[float], float], y: Callable[[float], float], epochs: int) -> str:
    parts = [_text((LEFT + RIGHT) / 2, BOTTOM + 40, "epoch", MUTED, "middle")]
    for share in (0, 0.5, 1):
        parts.append(f'<path d="M{LEFT} {y(share)}H{RIGHT}" style="stroke:{GRID}"/>')
        parts.append(_text(LEFT - 6, y(share) + 5, f"{100 * share:.0f} %", MUTED, "end"))
    ticks = sorted({0, epochs // 2, epochs})
    return "".join([*parts, *(_text(x(e), BOTTOM + 20, str(e), MUTED, "middle") for e in ticks)])


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    style = f"font-size:14px;fill:{colour};text-anchor:{anchor}"
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{html.escape(text)}</text>'


def _apart(places: Mapping[str, float]) -> dict[str, float]:
    """The places of labels, moved so that none covers another or lies below the plot."""
    moved: dict[str, float] = {}
    below = BOTTOM + LABEL
    for name in sorted(places, key=places.__getitem__, reverse=True):
        below = moved[name] = min(places[name], below - LABEL)
    return moved
