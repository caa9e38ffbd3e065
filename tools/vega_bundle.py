"""Writes the JavaScript that draws the charts of the rendered book, from the installed vl-convert.

A step of the book's build: the file goes into the staged book's static folder and is not
committed, so that it always fits the installed Altair.
"""

import argparse
from pathlib import Path

import vl_convert

NAME = "vega-bundle.js"


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `window.vegaEmbed` only.

    The bundle declares names such as `_` at its top level, which Sphinx's scripts declare, too;
    inside a function they stay to themselves.
    """
    code = vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")
    return f"(() => {{\n{code}\n}})();\n"


def write(folder: Path) -> Path:
    """Writes the bundle into `folder`, which is made where it is missing; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.write_text(bundle(), encoding="utf-8")
    return path


def main() -> None:
    """Writes the bundle into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="static folder of the staged book")
    print(write(parser.parse_args().folder))


if __name__ == "__main__":
    main()
