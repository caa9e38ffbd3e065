"""The report of an audit: one page with its data inside, which loads nothing."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LIMIT = 5_000_000  # bytes of a page
PICTURES = 300  # of the most suspicious examples
DETAILS = 1_000  # rows of a table that are shown with all their columns
SIDE = 64  # pixels of a picture's longer side, at most
CELL = 80  # characters of a value that are shown
TEMPLATE = Path(__file__).with_name("report.html")


def page(
    table: pd.DataFrame,
    told: Mapping[str, Any],
    images: np.ndarray | None,
    given: pd.DataFrame | None,
) -> bytes:
    """The page as UTF-8.

    Args:
        table: see `audit.Audit.table`; the index names the rows of `given`.
        told: numbers of `networks`, `examples` and `classes`, `wrong` labels estimated, and `more`
            networks until the first fifty are stable.
        images: [n, C, H, W] in the order of the table, where the examples are images.
        given: the reader's table, where they are its rows.
    """
    order = np.argsort(table["rank"].to_numpy())
    kept = len(order)
    while True:
        first = order[:kept]
        content = _filled(
            table.iloc[first], told, _pictures(images, first), _details(table, given, first)
        )
        if len(content) <= LIMIT or kept < 20:
            return content
        kept = kept * 3 // 4


def _filled(
    rows: pd.DataFrame, told: Mapping[str, Any], pictures: list[str], details: list[dict[str, str]]
) -> bytes:
    numbers = rows.select_dtypes("number").round(3)
    columns = {name: numbers[name].tolist() for name in numbers}
    columns |= {name: rows[name].astype(str).tolist() for name in ("label", "suggested")}
    columns["row"] = rows.index.tolist()
    more = told["more"] if np.isfinite(told["more"]) else None  # JSON has no infinity
    data = {**told, "more": more, "columns": columns, "pictures": pictures, "details": details}
    # What stands in the data must not end the script that holds it; the page writes it as text.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", text).encode()


def _details(
    table: pd.DataFrame, given: pd.DataFrame | None, first: np.ndarray
) -> list[dict[str, str]]:
    if given is None:
        return []
    rows = given.iloc[table.index[first[:DETAILS]]].to_dict("records")
    return [{str(name): str(value)[:CELL] for name, value in row.items()} for row in rows]


def _pictures(images: np.ndarray | None, first: np.ndarray) -> list[str]:
    """Data addresses of PNG pictures, on the scale from the darkest to the brightest of all."""
    if images is None:
        return []
    from PIL import Image

    low, high = images.min((0, 2, 3)), images.max((0, 2, 3))
    scaled = (images[first[:PICTURES]] - low[:, None, None]) / np.maximum(high - low, 1e-9)[
        :, None, None
    ]
    pictures = []
    for pixels in (255 * scaled).round().astype(np.uint8).transpose(0, 2, 3, 1):
        picture, out = Image.fromarray(pixels.squeeze()), io.BytesIO()
        picture.thumbnail((SIDE, SIDE))
        picture.save(out, "PNG", optimize=True)
        pictures.append("data:image/png;base64," + base64.b64encode(out.getvalue()).decode())
    return pictures
