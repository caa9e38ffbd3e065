"""The report of an audit: one page with its data and pictures inside, which loads nothing."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

LIMIT = 5_000_000  # bytes of a page
PICTURES = 300  # of the most suspicious examples
DETAILS = 1_000  # rows of a table that are shown with all their columns
SIDE = 64  # pixels of a picture's longer side, at most
CELL = 80  # characters of a value that are shown
TEMPLATE = Path(__file__).with_name("report.html")


def page(
    table: pd.DataFrame,
    names: pd.Index,
    told: Mapping[str, Any],
    images: np.ndarray | None,
    given: pd.DataFrame | None,
) -> bytes:
    """The page as UTF-8.

    Args:
        table: see `audit.Audit.table`; the index names the rows of `given`.
        names: what the reader calls each example, in the order of the table.
        told: `title` and `notes`; numbers of `networks`, `examples` and `classes`; the `accuracy`
            on unseen examples, the share of the most `frequent` class, and whether anything was
            `learned`; `wrong` labels estimated with both ends of the interval; and `more` networks
            until the first fifty are stable.
        images: [n, C, H, W] in the order of the table, where the examples are images.
        given: the reader's table, where they are its rows.
    """
    order = np.argsort(table["rank"].to_numpy())
    more = told["more"] if np.isfinite(told["more"]) else None  # JSON has no infinity
    while True:
        rows = table.iloc[order].round(3).astype({"label": str, "suggested": str})
        called = names[order] if types.is_integer_dtype(names) else names[order].map(str)
        data = {
            **told,
            "more": more,
            "called": str(names.name or "row"),
            "columns": rows.to_dict("list") | {"row": called.tolist()},
            "pictures": _pictures(images, order[:PICTURES]),
            "details": _details(given, rows.index[:DETAILS]),
        }
        # What stands in the data must not end the script that holds it; the page writes it as text.
        text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
        content = TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", text).encode()
        if len(content) <= LIMIT or len(order) < 20:
            return content
        order = order[: len(order) * 3 // 4]


def _details(given: pd.DataFrame | None, places: pd.Index) -> list[dict[str, str]]:
    rows = [] if given is None else given.iloc[places].to_dict("records")
    return [{str(name): str(value)[:CELL] for name, value in row.items()} for row in rows]


def _pictures(images: np.ndarray | None, first: np.ndarray) -> list[str]:
    """Data addresses of PNG pictures, on the scale from the darkest to the brightest of all."""
    if images is None:
        return []
    from PIL import Image

    low, high = images.min((0, 2, 3)), images.max((0, 2, 3))
    width = np.maximum(high - low, 1e-9)
    scaled = (images[first] - low[:, None, None]) / width[:, None, None]
    pictures = []
    for pixels in (255 * scaled).round().astype(np.uint8).transpose(0, 2, 3, 1):
        picture = Image.fromarray(pixels.squeeze())
        picture.thumbnail((SIDE, SIDE))
        pictures.append(address(png(picture)))
    return pictures


def png(image: Any) -> bytes:
    """A picture of pillow's as PNG."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def address(picture: bytes) -> str:
    """A PNG as the address of an image in a page."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
