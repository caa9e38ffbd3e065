"""Build the book: execute what has changed, render, and print the claims and the page to open.

python -m tools.build             the rendered book in _build/html
python -m tools.build --outputs   the notebooks' outputs written back into book/*.ipynb
python -m tools.build --stored    the pages as the stored outputs give them, in _build/stored: for
                                  the checks, which execute each notebook elsewhere
"""

import argparse
import base64
import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from memhelpers import claims
from memhelpers.errors import ClaimError, RecordError
from memhelpers.runs import machine
from tools import (
    crate,
    declared,
    front,
    judging,
    live,
    notebooks,
    recording,
    scoreboard,
    stage,
    story,
    vega_bundle,
)
from tools.execute import Executor, NotebookError

BUILD = notebooks.ROOT / "_build"
STORED = BUILD / "stored"  # a folder with a `_build` of its own: pages of the stored outputs
README_CHAPTER = notebooks.BOOK / "04-loss-sensitivity.ipynb"
README_FIGURE = notebooks.BOOK / "_static" / "loss-sensitivity.png"
AT_ONCE = 2  # notebooks; each computes on one core at the quick preset
RENDER = ("jupyter-book", "sphinx", "sphinx-book-theme", "pydata-sphinx-theme", "myst-nb")


def say(line: str) -> None:
    """Print one line of progress at once, also where the output is a file."""
    print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Build what is asked; 1 where a cell failed or a page does not render without a warning."""
    parser = argparse.ArgumentParser(description="Build the book.")
    which = parser.add_mutually_exclusive_group()
    what = "write the outputs of the notebooks back into book/, and render nothing"
    which.add_argument("--outputs", action="store_true", help=what)
    what = "execute nothing; render the stored outputs into _build/stored"
    which.add_argument("--stored", action="store_true", help=what)
    asked = parser.parse_args(arguments)
    address = stage.source_to_install(configured())
    if asked.stored:
        return int(not render_stored(address))
    return build(address, write_back=asked.outputs)


def configured() -> dict:
    """Return what the book's configuration says."""
    return yaml.safe_load((notebooks.ROOT / "_config.yml").read_text())


def build(address: str, *, write_back: bool) -> int:
    """Execute the notebooks; then render, or write their outputs back; 1 where either failed."""
    started = time.monotonic()
    source = BUILD / "source"
    stage.pages(notebooks.ROOT, source)
    failures = execute(source, address, write_back=write_back)
    if failures:
        say(f"\n{len(failures)} of {len(notebooks.paths())} notebooks failed; nothing rendered.")
        return 1
    kept = machine.data_folder() / claims.KEPT
    before = kept.read_text() if kept.exists() else ""
    board = lay_claims(source, write_back=write_back)
    if write_back and board is not None and kept.read_text() != before:
        say("Verdicts have changed: first screens once more")
        execute(source, address, write_back=True)
    if write_back and README_CHAPTER.exists():
        README_FIGURE.write_bytes(readme_figure())
    if board is None or (not write_back and not render(notebooks.ROOT)):
        return 1
    say(f"\nClaims\n{board}\n")
    if not write_back:
        took = time.monotonic() - started
        say(f"Open _build/html/index.html (or: make serve). {took:.0f} s in all.")
    return 0


def render_stored(address: str) -> bool:
    """Render the pages as the notebooks' stored outputs give them; whether it went well."""
    source = STORED / "_build" / "source"
    stage.pages(notebooks.ROOT, source)
    for path in notebooks.paths():
        stored = stage.notebook(notebooks.read(path), address)
        notebooks.write(stored, source / "book" / path.name)
    return lay_claims(source) is not None and render(STORED)


def lay_claims(source: Path, *, write_back: bool = False) -> scoreboard.Scoreboard | None:
    """Lay the claims of the staged chapters into the staged pages; None where they do not fit."""
    paths = [one for one in notebooks.paths(source / "book") if notebooks.is_chapter(one)]
    try:
        if write_back:
            declared.write(notebooks.ROOT)
        recording.check()
        board = scoreboard.gather(paths, stage.address(configured()))
        scoreboard.write(board, source)
        scoreboard.lay_cards(board, paths)
        front.write(board, source, paths)
        story.write(board, source)
        kept, found = machine.data_folder() / claims.KEPT, board.verdicts()
        found |= judging.of_quick_runs(paths)
        if write_back:
            scoreboard.write_verdicts(found, kept)
            crate.write(machine.data_folder())
        elif kept.exists():
            scoreboard.check_verdicts(found, kept)
    except (ClaimError, RecordError) as error:
        say(f"\nFAILED scoreboard: {error}")
        return None
    return board


def execute(source: Path, address: str, *, write_back: bool) -> list[str]:
    """Execute the notebooks into the staged sources, and return the names of those that failed."""
    executor = Executor(notebooks.ROOT, BUILD / "executed", log=say)

    def failed(path: Path) -> bool:
        try:
            done = executor.outputs(path, source / "book")
        except NotebookError as error:
            say(f"\nFAILED {error}")
            return True
        if write_back:
            notebooks.write(done, path)
        notebooks.write(stage.notebook(done, address), source / "book" / path.name)
        return False

    say("Notebooks")
    paths = notebooks.paths()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [path.stem for path, bad in zip(paths, pool.map(failed, paths), strict=True) if bad]


def readme_figure() -> bytes:
    """The README's figure: the first picture of chapter 04, which its first screen shows."""
    cells = notebooks.code_cells(notebooks.read(README_CHAPTER))
    pages = [output.get("data", {}).get("text/html", "") for c in cells for output in c.outputs]
    found = re.search(r'class="mem-still"[^>]*src="data:image/png;base64,([^"]+)"', "".join(pages))
    return base64.b64decode(found[1])


def render(root: Path) -> bool:
    """Render `_build/source` of `root` from nothing, unless the pages there came from the same.

    A page is never rendered on top of an older one: a warning about a page that did not change
    would go unseen.
    """
    build, html = root / "_build", root / "_build" / "html"
    source = build / "source"
    vega_bundle.write(source / "book" / "_static" / "vega-bundle.js")
    live.write(source / "book" / "_static")
    kept, key = build / "rendered", render_key(source)
    if kept.exists() and kept.read_text() == key and (html / "index.html").exists():
        say("Pages\n  unchanged, not rendered again")
        return True
    say("Pages\n  rendering")
    for stale in (html, build / ".doctrees"):
        shutil.rmtree(stale, ignore_errors=True)
    kept.unlink(missing_ok=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(source), "--path-output", str(root), "-n", "-W", "--keep-going", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        say(f"\nFAILED jupyter-book:\n{done.stdout}{done.stderr}")
        return False
    kept.write_text(key)
    return True


def render_key(source: Path) -> str:
    """Hash everything that the pages depend on: staged sources, docstrings, tools, versions."""
    parts = [notebooks.ROOT / "memhelpers", notebooks.ROOT / "tools"]
    files = [file for file in source.rglob("*") if file.is_file()]
    files += [file for part in parts for file in part.rglob("*.py")]
    digest = hashlib.sha256(repr([importlib.metadata.version(name) for name in RENDER]).encode())
    for file in sorted(files):
        digest.update(file.relative_to(notebooks.ROOT).as_posix().encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
