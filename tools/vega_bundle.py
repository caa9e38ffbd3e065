"""Writes the JavaScript that draws the charts of the rendered book, from the installed vl-convert.

A step of the book's build: the file goes into the staged book's static folder and is not
committed, so that it always fits the installed Altair.
"""

import argparse
from pathlib import Path

import vl_convert


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `window.vegaEmbed` only.

    The bundle declares names such as `_` at its top level, which Sphinx's scripts declare, too;
    inside a function they stay to themselves.
    """
    code = vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")
    return f"(() => {{\n{code}\n}})();\n"


def write(path: Path) -> Path:
    """Writes the bundle to `path`, and the folders that it needs; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bundle(), encoding="utf-8")
    return path


def main() -> None:
    """Writes the bundle to the file named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("path", type=Path, help="vega-bundle.js in the staged static folder")
    print(write(parser.parse_args().path))


if __name__ == "__main__":
    main()
