"""Build the book: execute what has changed, render, and print the claims and the page to open.

python -m tools.build             the rendered book in _build/html
python -m tools.build --outputs   the notebooks' outputs written back into book/*.ipynb
"""

import argparse
import base64
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from memhelpers import claims
from tools import notebooks, stage, vega_bundle
from tools.execute import Executor, NotebookError

BUILD = notebooks.ROOT / "_build"
SOURCE = BUILD / "source"
HTML = BUILD / "html"
README_CHAPTER = notebooks.BOOK / "04-loss-sensitivity.ipynb"
README_FIGURE = notebooks.BOOK / "_static" / "loss-sensitivity.png"
SHOWS_README_FIGURE = "lab.show_recorded(recorded, fig3)"
AT_ONCE = 2  # notebooks; each computes on one core at the quick preset
RENDER = ("jupyter-book", "sphinx", "sphinx-book-theme", "pydata-sphinx-theme", "myst-nb")


def say(line: str) -> None:
    """Print one line of progress at once, also where the output is a file."""
    print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Build what is asked; 1 where a cell failed or a page does not render without a warning."""
    parser = argparse.ArgumentParser(description="Build the book.")
    what = "write the outputs of the notebooks back into book/, and render nothing"
    parser.add_argument("--outputs", action="store_true", help=what)
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    config = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text())
    stage.pages(notebooks.ROOT, SOURCE)
    failures = execute(stage.source_to_install(config), write_back=asked.outputs)
    if failures:
        say(f"\n{len(failures)} of {len(notebooks.paths())} notebooks failed; nothing rendered.")
        return 1
    if asked.outputs and README_CHAPTER.exists():
        README_FIGURE.write_bytes(readme_figure())
    if not asked.outputs and not render():
        return 1
    say(claims_table(SOURCE / "book"))
    if not asked.outputs:
        page = (HTML / "index.html").relative_to(notebooks.ROOT)
        say(f"Open {page} (or: make serve). {time.monotonic() - started:.0f} s in all.")
    return 0


def execute(address: str, *, write_back: bool) -> list[str]:
    """Execute the notebooks into the staged sources, and return the names of those that failed."""
    executor = Executor(notebooks.ROOT, BUILD / "executed", log=say)
    failures: list[str] = []

    def staged(path: Path, siblings: Sequence[Path] = ()) -> Path:
        target = SOURCE / "book" / path.name
        try:
            done = executor.outputs(path, SOURCE / "book", siblings)
        except NotebookError as error:
            say(f"\nFAILED {error}")
            failures.append(path.stem)
            return target
        if write_back:
            notebooks.write(done, path)
        notebooks.write(notebooks.stamp(done, address), target)
        return target

    say("Notebooks")
    *chapters, last = notebooks.paths()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(staged, chapters))
    if failures:
        say(f"  {last.stem}: left out, it reads the outputs of every chapter")
    else:
        staged(last, done)
    return failures


def readme_figure() -> bytes:
    """The README's figure: the last picture of the recorded Fig. 3 in chapter 04's outputs."""
    chapter = notebooks.read(README_CHAPTER)
    (cell,) = [c for c in notebooks.code_cells(chapter) if c.source == SHOWS_README_FIGURE]
    return base64.b64decode(cell.outputs[-1]["data"]["image/png"])


def render() -> bool:
    """Render the staged sources from nothing, unless the page that is there came from the same.

    A page is never rendered on top of an older one: a warning about a page that did not change
    would go unseen.
    """
    vega_bundle.write(SOURCE / "book" / "_static" / "vega-bundle.js")
    kept, key = BUILD / "rendered", render_key()
    if kept.exists() and kept.read_text() == key and (HTML / "index.html").exists():
        say("Pages\n  unchanged, not rendered again")
        return True
    say("Pages\n  rendering")
    for stale in (HTML, BUILD / ".doctrees"):
        shutil.rmtree(stale, ignore_errors=True)
    kept.unlink(missing_ok=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(SOURCE), "--path-output", str(notebooks.ROOT), "-n", "-W", "--keep-going", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        say(f"\nFAILED jupyter-book:\n{done.stdout}{done.stderr}")
        return False
    kept.write_text(key)
    return True


def render_key() -> str:
    """Hash everything that the pages depend on: staged sources, docstrings, tools, versions."""
    parts = [notebooks.ROOT / "memhelpers", notebooks.ROOT / "tools"]
    files = [file for file in SOURCE.rglob("*") if file.is_file()]
    files += [file for part in parts for file in part.rglob("*.py")]
    digest = hashlib.sha256(repr([importlib.metadata.version(name) for name in RENDER]).encode())
    for file in sorted(files):
        digest.update(file.relative_to(notebooks.ROOT).as_posix().encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()


def claims_table(folder: Path) -> str:
    """Return every claim with the verdicts that the executed chapters have put out, as text."""
    return f"\nClaims\n{claims.scoreboard(folder)!r}\n"


if __name__ == "__main__":
    sys.exit(main())
