"""The live lab: seconds until a network has memorized 600 random labels in a browser.

Plain, in a worker, as readers have it; and beside the page's own work with the processor slowed
down four times, as a phone's is, since Chromium slows down pages but not their workers.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tests import browser
from tools import live

SLOWER = 4
WAYS = {"plain": (1, True), f"{SLOWER} times slower": (SLOWER, False)}
BEGIN = """async (worker) => {
    const lab = (await import("./live.js")).default;
    const digits = await (await fetch("digits.bin")).arrayBuffer();
    const given = { digits, address: true, worker };
    lab.render({ el: document.getElementById("lab"), model: { get: (name) => given[name] } });
}"""


def measure(device: str, small: bool, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """Time both ways.

    Returns:
        `memorized`: way, round, seconds, epochs.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder, browser.launched() as running:
        live.write_alone(Path(folder))
        with browser.serve(Path(folder)) as site:
            for number in range(1 if small else 5):
                for way, (slower, worker) in WAYS.items():
                    rows.append(
                        {"way": way, "round": number} | _timed(running, site, slower, worker)
                    )
                    say(f"  {way}: {rows[-1]['epochs']} epochs in {rows[-1]['seconds']:.1f} s")
    return {"memorized": pd.DataFrame(rows)}


def _timed(running: object, site: str, slower: int, worker: bool) -> dict[str, float]:
    page = running.new_page()
    page.goto(f"{site}_static/empty.html#lab:only-noise")
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    started = time.perf_counter()
    page.evaluate(BEGIN, worker)
    page.wait_for_selector("#lab[data-state=finished]", timeout=300_000)
    took = time.perf_counter() - started
    epochs = int(page.get_attribute(".mem-lab-chart", "aria-valuemax"))
    page.close()
    return {"seconds": took, "epochs": epochs}
