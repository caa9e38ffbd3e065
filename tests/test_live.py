"""The live lab: the same numbers as the package, and what a reader does with it in a browser."""

import gzip
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from browser import launched, serve
from sklearn.datasets import load_digits

from memhelpers import corrupt, live, networks
from memhelpers.data import load
from memhelpers.engine.ensemble import predict
from memhelpers.training import Probe, fit, parameters
from tests import browser
from tools import live as page_tools
from tools import notebooks

FINISHED = "#lab[data-state=finished]"
BAD = [
    ("noise=400", "noise=400"),
    ("noise=15", "noise=15"),
    ("noise=", "noise="),
    ("units=128&depth=3", "depth=3"),
    ("constructor", "constructor"),
    ("epoch=-1", "epoch=-1"),
    ("noise=10&noise=20", "noise=20"),
    ("%F0%9F", "%F0%9F"),
    ("<img src=x onerror=alert(1)>", "%3Cimg"),
]


@pytest.fixture(scope="module")
def running() -> Iterator[object]:
    with launched() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[str]:
    """The first page's lab, alone."""
    folder = tmp_path_factory.mktemp("site")
    page_tools.write_alone(folder)
    with serve(folder) as address:
        yield address


@pytest.fixture
def visit(running, site, monkeypatch) -> Iterator[browser.Visit]:
    """A page of which nothing is open yet."""
    page = running.new_page(viewport={"width": 1000, "height": 900})
    visit = browser.Visit(page, browser.complaints(page))
    local = (site, "data:", "blob:")
    page.on("request", lambda r: r.url.startswith(local) or visit.outside.append(r.url))
    yield visit
    page.close()
    assert not visit.errors
    assert not visit.outside


@pytest.fixture
def lab(visit, site) -> object:
    """The lab as a reader finds it."""
    return opened(visit.page, site)


def opened(page: object, site: str, hash: str = "") -> object:
    page.goto("about:blank")
    page.goto(f"{site}book/intro.html{hash}")
    page.wait_for_selector("#lab[data-state]")
    return page


def said(page: object, part: str) -> str:
    return page.inner_text(f".mem-lab-{part}").replace("\u00a0", " ")


def epoch(page: object) -> int:
    return int(page.get_attribute(".mem-lab-chart", "aria-valuenow"))


def set_slider(page: object, name: str, place: int) -> None:
    move = "(one, place) => { one.value = place; one.oninput(); one.onchange(); }"
    page.get_by_label(name, exact=True).evaluate(move, place)


def fields(page: object) -> dict[str, str]:
    pairs = """labels => labels.map((label) => [
        label.querySelector("input").ariaLabel, label.querySelector("output").textContent])"""
    return dict(page.locator(".mem-lab-fields label").evaluate_all(pairs))


def at_epoch(page: object, condition: str) -> None:
    """Waits until the epoch that is seen is such."""
    now = "+document.querySelector('.mem-lab-chart').ariaValueNow"
    page.wait_for_function(f"() => {now} {condition}")


def hash_of(page: object) -> str:
    """The address's state, once the lab has written it; the link has the same."""
    page.wait_for_timeout(500)
    found = page.evaluate("() => location.hash")
    assert page.get_attribute(".mem-lab-link", "href") == found
    return found


# ---- what it loads ----


def test_the_module_is_small_and_complete():
    script = live.script()
    assert len(script.encode()) <= 25_000
    assert "export default { render };" in script
    assert len(live.digits()) <= 45_000


def test_the_digits_are_those_of_scikit_learn():
    raw = np.frombuffer(gzip.decompress(live.digits()), np.uint8)
    images, labels = load_digits(return_X_y=True)
    assert np.array_equal(raw[:1797], labels)
    assert np.array_equal(raw[1797:].reshape(1797, 64), images)


# ---- is it right? ----

TRAINING = {"learning_rate": 0.04, "momentum": 0.9, "weight_decay": 0.001}
LOOKS = (1, 10, 100)


@pytest.fixture(scope="module")
def ours() -> dict:
    """One network of the package: its first weights, its order, its losses and its answers."""
    data = corrupt.random_labels(load("digits", examples=600), 0.4)

    def losses(snapshot):
        logits, labels = snapshot.train_logits(torch.arange(600))
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())[None]

    probes = {
        "weights": Probe(parameters, updates=[0]),
        "batches": Probe(lambda snapshot: snapshot.batch, updates="all"),
        "loss": Probe(losses, updates=LOOKS),
    }
    made = fit(
        networks.mlp(data.shape, [32, 16], 10),
        data,
        seeds=[3],
        epochs=40,
        batch_size=30,
        probes=probes,
        precision="fp64",
        **TRAINING,
    )
    x = torch.cat([data.train.x, data.validation.x])
    y = torch.cat([data.train.y, data.validation.y])
    return {
        "weights": made.probes["weights"].at(0)[0].tolist(),
        "batches": made.probes["batches"].stacked()[:, 0].tolist(),
        "losses": [made.probes["loss"].at(time).item() for time in LOOKS],
        "right": (predict(made.ensemble, x)[0].argmax(-1) == y).numpy(),
        "x": x.double().flatten().tolist(),
        "y": y.tolist(),
    }


THEIRS = """async ({ weights, batches, looks, x, y, training }) => {
    const { Network } = (await import("./live.js")).mathematics();
    let at = 0;
    const widths = [64, 32, 16, 10];
    const layers = widths.slice(1).map((outputs, l) => {
        const inputs = widths[l], w = new Float64Array(inputs * outputs);
        for (let o = 0; o < outputs; o++) {
            for (let i = 0; i < inputs; i++) w[i * outputs + o] = weights[at++];
        }
        const b = weights.slice(at, at + outputs);
        at += outputs;
        return { w, b };
    });
    const { learning_rate: rate, momentum, weight_decay: decay } = training;
    const network = new Network(layers, { rate, momentum, decay });
    const mean = (values) => values.reduce((a, b) => a + b) / values.length;
    const losses = [];
    batches.forEach((batch, update) => {
        if (looks.includes(update)) losses.push(mean(network.look(x, y, 0, 600).loss));
        network.update(x, y, batch);
    });
    return { losses, right: [...network.look(x, y, 0, y.length).right] };
}"""


def theirs(running, site, ours, **changes) -> dict:
    page = running.new_page()
    page.goto(f"{site}_static/empty.html")
    given = {key: ours[key] for key in ("weights", "batches", "x", "y")}
    given |= {"looks": LOOKS, "training": TRAINING} | changes
    found = page.evaluate(THEIRS, given)
    page.close()
    return found


def test_losses_and_answers_are_those_of_the_package(running, site, ours):
    found = theirs(running, site, ours)
    assert found["losses"] == pytest.approx(ours["losses"], rel=1e-4)
    right = np.array(found["right"], dtype=bool)
    assert right[:600].mean() == pytest.approx(ours["right"][:600].mean(), abs=1e-4)
    assert right[600:].mean() == pytest.approx(ours["right"][600:].mean(), abs=1e-4)


def test_other_hyperparameters_give_other_losses(running, site, ours):
    for name, value in {"momentum": 0.89, "weight_decay": 0.002, "learning_rate": 0.041}.items():
        found = theirs(running, site, ours, training={**TRAINING, name: value})
        assert found["losses"][-1] != pytest.approx(ours["losses"][-1], rel=1e-4)


def test_dropout_leaves_the_mean_of_an_activation_as_it_is(running, site):
    """Kept ones are divided by the share that is kept."""
    page = running.new_page()
    page.goto(f"{site}_static/empty.html")
    mean = page.evaluate(
        """async () => {
            const { Network } = (await import("./live.js")).mathematics();
            const layers = [{ w: Array(200).fill(1), b: Array(200).fill(0) }];
            layers.push({ w: Array(2000).fill(1), b: Array(10).fill(0) });
            const network = new Network(layers, { rate: 0, dropout: 0.3 });
            let sum = 0;
            for (let k = 0; k < 500; k++) sum += network.show([1], [0], true)[0];
            return sum / 500;
        }"""
    )
    page.close()
    assert mean == pytest.approx(200, abs=2)  # its standard error is .4


def test_the_recorded_run_is_what_the_module_computes(running, site):
    """The first epochs exactly; rounding of a later browser may grow from there."""
    page = running.new_page()
    found = page_tools.trained(page, site)
    page.close()
    stored = json.loads(page_tools.RECORD.read_text())
    for line in page_tools.LINES:
        assert found[line][:6] == pytest.approx(stored[line][:6], abs=0.005)
        assert found[line][-1] == pytest.approx(stored[line][-1], abs=0.05)
    assert found["examples"] == stored["examples"] == 600


# ---- the reader ----


def test_it_tells_its_story_without_a_click(lab):
    assert lab.get_attribute("#lab", "data-state") == "finished"
    stored = json.loads(page_tools.RECORD.read_text())
    assert epoch(lab) == int(np.argmax(stored["fresh"]))  # it rests where new digits fare best
    title = page_tools.still(stored).title.replace("\u00a0", " ")
    assert title.startswith("Patterns first, then by heart: accuracy on new digits falls")
    assert said(lab, "title") == title
    right, wrong = (stored[line][epoch(lab)] for line in ("right", "wrong"))
    counted = re.findall(r"(\d+) of (\d+) ", said(lab, "moment"))
    assert [int(some) / int(all) for some, all in counted] == pytest.approx([right, wrong])
    assert lab.locator(".mem-still").count() == 0
    assert lab.url.endswith("intro.html")


def test_without_scripts_there_is_the_picture(running, site):
    page = running.new_context(java_script_enabled=False).new_page()
    page.goto(f"{site}book/intro.html")
    assert page.locator("img.mem-still").bounding_box()["height"] > 200
    assert "falls from" in page.inner_text("#lab")
    page.close()


def test_random_labels_are_memorized_at_the_press_of_a_button(lab):
    lab.click("text=only noise")
    lab.wait_for_selector("#lab[data-state=training]")
    lab.wait_for_selector(FINISHED, timeout=120_000)
    assert said(lab, "title").startswith("Only noise: 100 % of the wrong labels learned")
    new = float(said(lab, "moment").rpartition(";")[2].split("%")[0])
    assert new < 25
    assert hash_of(lab) == f"#lab:noise=100&epoch={epoch(lab)}"


def test_it_trains_where_workers_are_refused(visit, site):
    visit.page.add_init_script("delete window.Worker")
    visit.page.goto(f"{site}book/intro.html#lab:examples=100&units=32&noise=100")
    visit.page.wait_for_selector(FINISHED, timeout=120_000)
    assert "100 %" in said(visit.page, "title")


def test_pause_step_and_scrub(lab):
    lab.click(".mem-lab-train")
    lab.wait_for_function("() => +document.querySelector('.mem-lab-chart').ariaValueMax > 3")
    lab.click(".mem-lab-train")
    lab.wait_for_selector("#lab[data-state=paused]")
    lab.wait_for_timeout(300)
    at = int(lab.get_attribute(".mem-lab-chart", "aria-valuemax"))
    lab.wait_for_timeout(300)
    assert int(lab.get_attribute(".mem-lab-chart", "aria-valuemax")) == at
    lab.click(".mem-lab-step")
    last = "+document.querySelector('.mem-lab-chart').ariaValueMax"
    lab.wait_for_function(f"() => {last} === {at + 1}")
    lab.wait_for_timeout(300)
    assert int(lab.get_attribute(".mem-lab-chart", "aria-valuemax")) == at + 1
    lab.focus(".mem-lab-chart")
    for key, expected in {"Home": 0, "ArrowRight": 1, "End": at + 1, "ArrowLeft": at}.items():
        lab.keyboard.press(key)
        at_epoch(lab, f"=== {expected}")
    assert said(lab, "moment").startswith(f"Epoch {at}:")
    lab.click(".mem-lab-train")  # goes on
    lab.wait_for_selector(FINISHED, timeout=120_000)


def test_a_step_in_a_finished_run_looks_one_epoch_on(lab):
    rest, title = epoch(lab), said(lab, "title")
    lab.click(".mem-lab-step")
    at_epoch(lab, f"=== {rest + 1}")
    assert lab.get_attribute("#lab", "data-state") == "finished"
    assert said(lab, "title") == title
    assert hash_of(lab) == f"#lab:epoch={rest + 1}"
    lab.focus(".mem-lab-chart")
    lab.keyboard.press("End")
    lab.wait_for_selector(".mem-lab-step:disabled")


def test_the_address_says_what_is_seen(lab):
    lab.click("text=Train another")
    lab.wait_for_selector("#lab[data-state=training]")
    at_epoch(lab, "> 3")
    lab.click(".mem-lab-train")
    lab.wait_for_selector("#lab[data-state=paused]")
    assert hash_of(lab) == f"#lab:seed=1&epoch={epoch(lab)}"
    lab.focus(".mem-lab-chart")
    lab.keyboard.press("Home")
    assert hash_of(lab) == "#lab:seed=1&epoch=0"
    lab.click(".mem-lab-train")
    lab.wait_for_selector("#lab[data-state=training]")
    assert hash_of(lab) == "#lab:seed=1"
    lab.focus(".mem-lab-chart")
    lab.keyboard.press("Home")
    set_slider(lab, "Examples", 0)
    lab.wait_for_selector(FINISHED, timeout=120_000)
    assert hash_of(lab) == f"#lab:examples=100&seed=1&epoch={epoch(lab)}"


def test_a_link_to_the_recorded_run_ends_what_trains(lab):
    lab.click("text=Train another")
    at_epoch(lab, "< 4")
    lab.evaluate("() => { location.hash = '#lab:epoch=40'; }")
    at_epoch(lab, "=== 40")
    assert lab.get_attribute("#lab", "data-state") == "finished"
    assert said(lab, "title").startswith("Patterns first")


def test_a_pointer_looks_and_a_press_stays(lab):
    rest, box = epoch(lab), lab.locator(".mem-lab-chart").bounding_box()
    lab.mouse.move(box["x"] + 60, box["y"] + 100)
    at_epoch(lab, f"< {rest}")
    lab.mouse.move(box["x"] + 60, box["y"] - 30)
    at_epoch(lab, f"=== {rest}")
    lab.mouse.move(box["x"] + 200, box["y"] + 100)
    lab.mouse.down()
    lab.mouse.move(box["x"] + 300, box["y"] + 100)
    lab.mouse.up()
    lab.mouse.move(box["x"] + 300, box["y"] - 30)
    lab.wait_for_timeout(500)
    assert epoch(lab) > rest
    assert f"epoch={epoch(lab)}" in hash_of(lab)


def test_a_digit_tells_its_loss_over_time(lab):
    assert lab.locator("polyline.loss").count() == 0
    box = lab.locator(".mem-lab-digits canvas").bounding_box()
    lab.mouse.move(box["x"] + box["width"] - 10, box["y"] + box["height"] - 10)
    lab.wait_for_selector("polyline.loss", state="attached")
    highest = said(lab, "digit")
    lab.mouse.move(box["x"] + 10, box["y"] + 10)
    lab.wait_for_function(
        "(before) => document.querySelector('.mem-lab-digit').innerText !== before", arg=highest
    )
    loss = [float(text.split("loss ")[1].split()[0]) for text in (highest, said(lab, "digit"))]
    assert loss[0] > loss[1]
    lab.mouse.move(5, 5)
    lab.wait_for_selector("polyline.loss", state="detached")
    lab.focus(".mem-lab-digits")
    lab.keyboard.press("End")
    lab.wait_for_selector("polyline.loss", state="attached")
    assert said(lab, "digit") == highest
    assert lab.get_attribute(".mem-lab-digits", "aria-valuetext") == highest
    assert lab.get_attribute(".mem-lab-digits", "aria-valuenow") == lab.get_attribute(
        ".mem-lab-digits", "aria-valuemax"
    )


def test_no_epoch_hides_the_name_of_a_loss(lab):
    covered = """() => {
        const [name, tag] = ["text.loss", "rect"].map(
            (one) => document.querySelector(`.mem-lab-chart ${one}`).getBoundingClientRect());
        return name.left < tag.right && tag.left < name.right && name.top < tag.bottom;
    }"""
    lab.focus(".mem-lab-digits")
    lab.keyboard.press("End")
    lab.wait_for_selector("text.loss")
    assert "at most" in said(lab, "digit")
    lab.focus(".mem-lab-chart")
    for width in (1000, 400):
        lab.set_viewport_size({"width": width, "height": 900})
        for key, place in {"Home": "=== 0", "ArrowRight": "=== 1", "End": "> 50"}.items():
            lab.keyboard.press(key)
            at_epoch(lab, place)
            lab.wait_for_timeout(100)
            assert not lab.evaluate(covered)


def test_words_tell_what_is_drawn_and_what_to_do(lab):
    assert lab.locator(".mem-lab-chart text", has_text="epochs").is_visible()
    assert "tap" in said(lab, "digit")
    assert "one in ten of these is right by chance" in said(lab, "subtitle")
    subtitle = page_tools.still(json.loads(page_tools.RECORD.read_text())).subtitle
    assert subtitle.replace("\u00a0", " ") in said(lab, "subtitle")


def test_an_address_restores_a_state(visit, site):
    state = "#lab:noise=100&units=32&layers=1&examples=200&decay=0.001&dropout=0.1&seed=7&epoch=5"
    page = opened(visit.page, site, state)
    page.wait_for_selector(FINISHED, timeout=120_000)
    assert list(fields(page).values()) == ["100", "32", "1", "200", "0.001", "0.1"]
    assert epoch(page) == 5
    assert page.get_attribute(".mem-lab-link", "href") == state
    first = said(page, "moment")
    page.evaluate("() => { location.hash = '#lab:dropout'; }")  # a link within the page
    page.wait_for_function(
        "() => document.querySelector('.mem-lab-fields').innerText.includes('0.5')"
    )
    page.evaluate("(state) => { location.hash = state; }", state)
    page.wait_for_function(
        "() => document.querySelector('.mem-lab-fields').innerText.includes('200')"
    )
    page.wait_for_selector(FINISHED, timeout=120_000)
    page.wait_for_timeout(200)
    assert said(page, "moment") == first  # the same network again


@pytest.mark.parametrize(("hash", "named"), BAD)
def test_a_bad_address_gives_the_default_with_a_note(visit, site, hash, named):
    page = opened(visit.page, site, f"#lab:{hash}")
    page.wait_for_selector(FINISHED)
    assert named in said(page, "note").replace("%20", " ")
    assert "This is the default" in said(page, "note")
    assert fields(page)["Random labels, %"] == "40"


@pytest.mark.parametrize("hash", ["#the-chapters", "#lab", "#labour", "#", "#other:noise=400"])
def test_an_address_that_asks_for_nothing_gets_the_default(visit, site, hash):
    page = opened(visit.page, site, hash)
    page.wait_for_selector(FINISHED)
    assert said(page, "note") == ""


def test_a_slider_begins_another_network(lab):
    set_slider(lab, "Random labels, %", 0)
    set_slider(lab, "Examples", 1)
    lab.wait_for_selector("#lab[data-state=training]")
    lab.wait_for_selector(FINISHED, timeout=120_000)
    assert said(lab, "title").startswith("True labels:")
    assert "200 of 200 right labels learned" in said(lab, "moment")
    assert "one in ten" not in said(lab, "subtitle")
    assert hash_of(lab) == f"#lab:noise=0&examples=200&epoch={epoch(lab)}"


def test_another_network_has_other_digits_wrong(lab):
    before = said(lab, "moment")
    lab.click("text=Train another")
    lab.wait_for_selector("#lab[data-state=training]")
    lab.wait_for_selector(FINISHED, timeout=120_000)
    assert said(lab, "title").startswith("Patterns first")
    assert said(lab, "moment") != before
    assert hash_of(lab) == f"#lab:seed=1&epoch={epoch(lab)}"


def test_who_wants_no_motion_sees_digits_move_only_in_the_end(running, site):
    page = running.new_page(reduced_motion="reduce")
    opened(page, site)
    page.evaluate(
        """() => {
            window.drawn = [];
            const draw = CanvasRenderingContext2D.prototype.drawImage;
            CanvasRenderingContext2D.prototype.drawImage = function (...given) {
                drawn.push(document.querySelector(".mem-lab-chart").ariaValueMax);
                return draw.apply(this, given);
            };
        }"""
    )
    set_slider(page, "Examples", 1)
    page.wait_for_selector("#lab[data-state=training]")
    page.wait_for_selector(FINISHED, timeout=120_000)
    # What `dataset` says while the last epoch is drawn is still the one before.
    assert len(set(page.evaluate("() => drawn"))) <= 2
    page.close()


def test_memory_does_not_grow_over_ten_runs(lab):
    session = lab.context.new_cdp_session(lab)

    def used() -> int:
        session.send("HeapProfiler.collectGarbage")
        found = session.send("Runtime.getHeapUsage")
        return found["usedSize"] + found["backingStorageSize"]

    # On a busy machine a short run has ended before anyone who asks again and again sees it begin.
    watch = """() => {
        const lab = document.querySelector("#lab");
        window.begun = new Promise((yes, no) => {
            setTimeout(no, 30000, "no training began");
            new MutationObserver(() => lab.dataset.state === "training" && yes())
                .observe(lab, { attributeFilter: ["data-state"] });
        });
    }"""
    sizes = []
    for run in range(11):
        lab.evaluate(watch)
        set_slider(lab, "Examples", run % 2)
        lab.evaluate("() => begun")
        lab.wait_for_selector(FINISHED, timeout=120_000)
        sizes.append(used())
    assert sizes[-1] - sizes[1] < 300_000  # ten runs that are kept take half a million bytes


def test_the_page_answers_while_a_worker_trains(lab):
    """No task of the page takes long: training is elsewhere, and drawing is light."""
    lab.evaluate(
        """() => {
            window.gaps = [];
            let last = performance.now();
            setInterval(() => {
                gaps.push(performance.now() - last);
                last = performance.now();
            }, 10);
        }"""
    )
    lab.click("text=only noise")
    lab.wait_for_selector(FINISHED, timeout=120_000)
    gaps = lab.evaluate("() => gaps")
    assert np.median(gaps) < 60


def test_nothing_serious_for_who_uses_assistive_technology(lab):
    from axe_playwright_python.sync_playwright import Axe

    for theme in ("light", "dark"):
        lab.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        found = Axe().run(lab, context={"include": [["#lab"]]})
        assert [
            (one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in found.response["violations"]
        ] == []


def test_it_fits_a_phone(running, site):
    page = running.new_page(viewport={"width": 400, "height": 800})
    opened(page, site)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
    assert page.locator(".mem-lab-digits canvas").bounding_box()["width"] <= 400
    ends = ("lowest loss", "highest loss")
    lowest, highest = (page.get_by_text(end).bounding_box() for end in ends)
    assert lowest["y"] == highest["y"]
    assert lowest["height"] == highest["height"] < 30
    page.close()


def test_the_page_of_the_panel_leads_to_the_lab_first():
    page = notebooks.read(notebooks.BOOK / "live.ipynb")
    text = page.cells[0].source
    assert "no kernel" in text.split("\n\n")[1].split(".")[0]
    assert 0 < text.index('href="intro.html#lab"') < text.index("Jupyter")
