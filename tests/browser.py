"""What the browser tests stand on: the rendered book served locally, and pages that are watched."""

import functools
import gzip
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
        """Compressed bytes of everything that the page has loaded."""
        return sum(self.loaded.values())


_sizes: dict[str, int] = {}


def _compressed(url: str, response: object) -> int:
    """Bytes of the response, compressed as a web server would; most pages load the same files."""
    if url not in _sizes:
        _sizes[url] = len(gzip.compress(response.body(), 6))
    return _sizes[url]


def watch(page: object, site: str) -> Visit:
    """Cuts the network beyond `site` and notes what the page does from now on."""
    visit = Visit(page)

    def only_local(route: object) -> None:
        url = route.request.url
        if url.startswith((site, "data:", "blob:")):
            route.continue_()
            return
        visit.outside.append(url)
        route.abort()

    def weigh(response: object) -> None:
        if response.url.startswith(site) and response.ok:
            visit.loaded[response.url] = _compressed(response.url, response)

    page.route("**/*", only_local)
    page.on("pageerror", lambda error: visit.errors.append(f"page error: {error}"))
    page.on("requestfinished", lambda request: weigh(request.response()))
    page.on("response", lambda r: None if r.ok else visit.errors.append(f"{r.status}: {r.url}"))
    page.on(
        "console",
        lambda m: visit.errors.append(f"console: {m.text}") if m.type == "error" else None,
    )
    return visit


def settle(page: object) -> None:
    """Waits until charts are drawn and formulas are set."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function(
        """() => [...document.querySelectorAll(".mem-spec")].every((spec) => {
            const chart = spec.closest("figure").querySelector(".mem-chart");
            return chart.dataset.drawn || chart.clientWidth === 0;
        })"""
    )
    page.wait_for_function("() => !window.MathJax?.startup || window.MathJax.startup.promise")
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")
