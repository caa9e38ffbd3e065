"""The live lab: train a small network, watch it memorize.

The same module of JavaScript (`page/live.js`) stands on the book's first page and, by `lab`, in
Jupyter and Colab, where it trains in the reader's browser.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

_PAGE = Path(__file__).parent / "page"


def lab() -> Any:
    """The lab of the book's first page as a widget; it needs no kernel once it is shown.

    Raises:
        ImportError: anywidget, which no chapter needs, is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError("live.lab() needs anywidget: pip install anywidget") from error

    class Lab(anywidget.AnyWidget):
        _esm, _css = script(), style()
        digits = traitlets.Bytes(digits()).tag(sync=True)
        run = traitlets.Dict(None, allow_none=True).tag(sync=True)
        address = traitlets.Bool(False).tag(sync=True)
        worker = traitlets.Bool(True).tag(sync=True)

    return Lab()


def script() -> str:
    """The module as pages load it: without comments and indentation, at most 25 kB."""
    lines = map(str.strip, (_PAGE / "live.js").read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def style() -> str:
    """Its style sheet."""
    return (_PAGE / "live.css").read_text(encoding="utf-8")


def digits() -> bytes:
    """The 1,797 digits of scikit-learn: all labels, then all pixels from 0 to 16; gzip, 44 kB."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    raw = labels.astype(np.uint8).tobytes() + images.astype(np.uint8).tobytes()
    return gzip.compress(raw, mtime=0)
