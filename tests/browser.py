"""What the browser tests stand on: the rendered book served locally, and pages that are watched."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
HTML = Path(os.environ.get("MEMHELPERS_HTML", ROOT / "_build" / "html"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def page_names() -> list[str]:
    """The pages of the table of contents, in its order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    entries = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(entry["file"] for entry in entries)]


def absent(reason: str) -> None:
    """Skips with the reason; in CI, where nothing may be left out, fails with it."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def rendered() -> Path:
    """The folder of the rendered book."""
    if not (HTML / "index.html").is_file():
        absent("the book is not rendered: run `make book` first")
    return HTML


def chromium() -> str:
    """The browser's executable: MEMHELPERS_CHROMIUM, or the first one on the path."""
    named = os.environ.get("MEMHELPERS_CHROMIUM", "")
    found = [path for path in map(shutil.which, (named, *BROWSERS)) if path]
    if not found:
        absent(f"no browser: install chromium, or set MEMHELPERS_CHROMIUM ({', '.join(BROWSERS)})")
    return found[0]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keeps requests out of the report."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serves a folder on a free port of this machine; gives the address, with a slash."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Visit:
    """An open page, with what it complained about, asked for and loaded."""

    page: object
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    loaded: dict[str, int] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """Bytes of everything that the page has loaded, as they are without compression."""
        return sum(self.loaded.values())


# A page asks this machine only: any other name is unknown to the browser. (Blocking requests one by
# one would switch the browser's cache off, and the pages share most of what they load.)
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@contextmanager
def launched() -> Iterator[object]:
    """The browser, without a network."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed")
    # A container's root may not use the sandbox; the pages are our own.
    options = {"executable_path": chromium(), "args": ["--no-sandbox", OFFLINE]}
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**options)
        yield running
        running.close()


def complaints(page: object) -> list[str]:
    """What the page's scripts complain about, from now on."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(f"page error: {error}"))
    page.on("console", lambda m: m.type == "error" and found.append(f"console: {m.text}"))
    return found


def watch(page: object, site: str) -> Visit:
    """Notes what the page complains about, asks for and loads from now on."""
    visit = Visit(page, complaints(page))

    def note(request: object) -> None:
        if not request.url.startswith((site, "data:", "blob:")):
            visit.outside.append(request.url)

    def weigh(response: object) -> None:
        if not response.ok and response.status != 304:
            visit.errors.append(f"{response.status}: {response.url}")
        elif response.url.startswith(site):
            name = unquote(urlsplit(response.url).path).lstrip("/")
            visit.loaded[name] = (HTML / name).stat().st_size

    page.on("request", note)
    page.on("response", weigh)
    return visit


def settle(page: object) -> None:
    """Waits until charts are drawn and formulas are set."""
    page.wait_for_function(
        """() => [...document.querySelectorAll(".mem-spec")].every((spec) => {
            const chart = spec.closest("figure").querySelector(".mem-chart");
            return chart.dataset.drawn || chart.clientWidth === 0;
        })"""
    )
    # Formulas come last: their script begins when the browser has nothing else to do.
    page.wait_for_function(
        """() => [...document.querySelectorAll("article .math")]
            .every((formula) => formula.querySelector("mjx-container"))"""
    )
