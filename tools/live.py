"""The live lab on the first page: what it loads, what stands there without scripts, its record.

    python -m tools.live        trains the network of the first page in a browser, records it, and
                                takes the README's picture of it

The recorded run is what readers see before they press anything, and without scripts as a picture.
"""

import base64
import html
import io
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from memhelpers import charts, live
from tools import notebooks

STATIC = notebooks.BOOK / "_static"
RECORD, PICTURE = STATIC / "live-run.json", STATIC / "live-lab.png"
LINES = {"right": "right labels", "wrong": "wrong labels", "fresh": "new digits"}
LARGEST = 20  # nats: the last step of the recorded losses
# Run by the page: imports, loads, and lets the lab take the place of the picture.
MOUNT = """<script type="module">
import lab from "../_static/live.js";
const load = (name) => fetch(new URL(`../_static/${name}`, document.baseURI));
const [digits, run] = await Promise.all([load("digits.bin"), load("live-run.json")]);
const given = { digits: await digits.arrayBuffer(), run: await run.json(), address: true };
lab.render({ el: document.getElementById("lab"), model: { get: (name) => given[name] } });
</script>"""


def write(static: Path) -> None:
    """Lay what the lab loads into the staged static folder."""
    (static / "live.js").write_text(live.script(), encoding="utf-8")
    (static / "live.css").write_text(live.style(), encoding="utf-8")
    (static / "digits.bin").write_bytes(live.digits())


def write_alone(folder: Path) -> None:
    """Lay a site of the lab alone, `book/intro.html`, as tests and benchmarks open it."""
    static, book = folder / "_static", folder / "book"
    static.mkdir()
    book.mkdir()
    write(static)
    sheets = ("memhelpers.css", "figures.css")
    for name in (*sheets, RECORD.name):
        (static / name).write_bytes((STATIC / name).read_bytes())
    shutil.copytree(STATIC / "fonts", static / "fonts")
    linked = "".join(
        f'<link rel="stylesheet" href="../_static/{name}">' for name in (*sheets, "live.css")
    )
    head = f'<meta charset="utf-8"><title>Lab</title><link rel="icon" href="data:,">{linked}'
    body = f'<body style="margin: 0; background: var(--mem-page)"><main>{page()}</main></body>'
    (book / "intro.html").write_text(
        f'<!doctype html><html lang="en" data-theme="light"><head>{head}</head>{body}</html>'
    )
    (static / "empty.html").write_text("<!doctype html><title>Lab</title><div id=lab></div>")


def page() -> str:
    """The lab's place on a page, with the picture of the recorded run until it is there."""
    figure = still(json.loads(RECORD.read_text(encoding="utf-8")))
    picture = base64.b64encode(figure.png()).decode()
    return (
        f'<div id="lab" class="mem-lab"><p class="mem-lab-title">{html.escape(figure.title)}</p>'
        f'<p class="mem-lab-subtitle">{html.escape(figure.subtitle)}</p>'
        f'<img class="mem-still" alt="{html.escape(figure.alt)}" width="720" '
        f'src="data:image/png;base64,{picture}"></div>\n{MOUNT}'
    )


def still(run: dict) -> charts.Figure:
    """The curves of the recorded run."""
    rows = pd.DataFrame({name: run[key] for key, name in LINES.items()}).rename_axis("epoch")
    rows = rows.reset_index().melt("epoch", var_name="line", value_name="share")
    new = rows[rows["line"] == LINES["fresh"]]["share"]
    chart = charts.lines(
        rows, "epoch", "share", "line", x_title="epochs", y_title="accuracy", y_domain=(0, 1),
        format=".0%",
    )  # fmt: skip
    return charts.Figure(
        chart,
        title="Patterns first, then by heart: accuracy on new digits falls from "
        f"{new.max():.0%} to {new.iloc[-1]:.0%}",
        subtitle=f"One network, {run['examples']} handwritten digits, {run['noise']} % of them "
        "with a random label (about one in ten of these is right by chance)",
        caption="One network.",
        alt="Accuracy on training digits with a right label and with a wrong one, and on new "
        "digits, by epoch.",
    )


def packed(rows: list[dict], settings: dict) -> dict:
    """The record: curves, and for each epoch and example a byte: its loss in steps, and whether it
    is right."""
    loss = np.array([row["loss"] for row in rows])
    level = np.rint(127 * np.log1p(loss) / np.log1p(LARGEST)).clip(max=127).astype(np.uint8)
    codes = 2 * level + np.array([row["right"] for row in rows], dtype=np.uint8)
    shares = {key: [row["shares"][key] for row in rows] for key in LINES}
    facts = {name: settings[name] for name in ("examples", "noise")}
    return {**facts, **shares, "digits": base64.b64encode(codes.tobytes()).decode()}


def trained(page: object, site: str) -> dict:
    """Train the network of the first page in an open browser; `write_alone` has laid the site.

    Returns:
        What `packed` gives.
    """
    page.goto(f"{site}_static/empty.html")
    rows, settings = page.evaluate(
        """async () => {
            const { mathematics, START } = await import("./live.js");
            const zipped = await fetch("digits.bin");
            const stream = zipped.body.pipeThrough(new DecompressionStream("gzip"));
            const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
            const { run, dataOf } = mathematics();
            const { truth, y } = dataOf(bytes, START);
            const rows = [...run(bytes, START)].filter(Boolean).map(({ loss, right, fresh }) => {
                const share = (wrong) => {
                    const some = right.filter((_, i) => (truth[i] !== y[i]) === wrong);
                    return some.reduce((sum, one) => sum + one) / some.length;
                };
                const shares = { right: share(false), wrong: share(true), fresh };
                return { loss: [...loss], right: [...right], shares };
            });
            return [rows, START];
        }"""
    )
    return packed(rows, settings)


def main() -> None:
    """Record the run; then take the picture."""
    from tests import browser

    with tempfile.TemporaryDirectory() as folder, browser.launched() as running:
        write_alone(Path(folder))
        with browser.serve(Path(folder)) as site:
            page = running.new_page(viewport={"width": 752, "height": 900})
            found = trained(page, site)
            text = json.dumps(found, separators=(",", ":")) + "\n"
            RECORD.write_text(text, encoding="utf-8")
            (Path(folder) / "_static" / RECORD.name).write_text(text, encoding="utf-8")
            page.goto(f"{site}book/intro.html")
            page.wait_for_selector("#lab[data-state]")
            page.evaluate("() => document.fonts.ready")
            taken = Image.open(io.BytesIO(page.locator("main").screenshot()))
            taken.convert("RGB").quantize(128).save(PICTURE, optimize=True)
    print(RECORD, RECORD.stat().st_size, PICTURE.stat().st_size, len(found["fresh"]) - 1, "epochs")


if __name__ == "__main__":
    main()
