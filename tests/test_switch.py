"""The switch between runs: what it carries, and how it works in a browser, without any script."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browser import launched, serve

from memhelpers import charts
from memhelpers.page import figures
from tools import vega_bundle

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
HERE, RECORDED = "This page: digits", "Recorded: MNIST"
BOOK = (
    '<link rel="stylesheet" href="memhelpers.css"><link rel="stylesheet" href="figures.css">'
    '<script async src="memhelpers.js"></script>'
)


def figure(y: float) -> charts.Figure:
    table = pd.DataFrame({"x": [1, 2] * 2, "y": [1.0, y, y, 1.0], "k": [1, 1, 2, 2]})
    control = charts.slider("k", [1, 2])
    axes = {"title": "A title", "x_title": "x", "y_title": "y"}
    chart = charts.lines(table, "x", "y", controls=[control], **axes)
    return charts.Figure(chart, alt=f"Up to {y}.", caption=f"Rises to {y}.")


def switch() -> figures.Switch:
    return figures.Switch({HERE: figure(2), RECORDED: figure(3)}, start=RECORDED)


def test_every_run_is_there_and_only_the_one_seen_first_has_a_picture():
    page = switch()._repr_html_()
    assert page.count("<img") == 1
    assert page.index("Rises to 2") < page.index("<img") < page.index("Rises to 3")
    assert repr(switch()) == f"{HERE}: Figure: Rises to 2.\n{RECORDED}: Figure: Rises to 3."


def test_the_same_switch_has_the_same_html_in_each_run():
    assert switch().html() == switch().html()
    other = figures.Switch({HERE: figure(2), RECORDED: figure(3)})
    assert (
        re.findall('class="mem-switch" id="(.*?)"', other.html() + switch().html())[0]
        != (re.findall('class="mem-switch" id="(.*?)"', switch().html())[0])
    )


def test_a_single_run_needs_no_switch():
    alone = figure(2)
    assert figures.Switch({HERE: alone}).html() == alone.html()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[str]:
    """A folder with the book's own script and style."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("memhelpers.js", "memhelpers.css", "figures.css"):
        (folder / name).write_bytes((STATIC / name).read_bytes())
    vega_bundle.write(folder / "vega-bundle.js")
    (folder / "notebook.html").write_text(_page(switch()))
    (folder / "book.html").write_text(_page(switch(), BOOK))
    others = {HERE: figure(4), "Recorded: CIFAR-10": figure(5), RECORDED: figure(6)}
    other = figures.Switch(others, start=RECORDED)
    quick = figures.Switch({"Quick run: digits": figure(7), RECORDED: figure(8)}, start=RECORDED)
    (folder / "linked.html").write_text(_page(figures.Page(quick, switch(), other), BOOK))
    frames = [pd.DataFrame({"run": ["a"], "value": [value]}) for value in (1, 2)]
    tables = [charts.table(frame, caption="A table") for frame in frames]
    shown = figures.Switch(dict(zip((HERE, RECORDED), tables, strict=True)))
    (folder / "table.html").write_text(_page(shown))
    with serve(folder) as address:
        yield address


def _page(shown: figures.Display, head: str = "") -> str:
    head = f'<meta charset="utf-8"><title>A page</title>{head}'
    body = f"<main><h1>A page</h1>{shown.html()}</main>"
    return f'<!doctype html><html lang="en" data-theme="light"><head>{head}</head><body>{body}'


@pytest.fixture
def open_page(browser, site):
    """Opens a page of the site; what it asks for elsewhere comes from the site's own bundle."""
    opened = []

    def open_page(name: str, **options: object) -> object:
        page = browser.new_page(viewport={"width": 900, "height": 800}, **options)
        opened.append(page)
        bundle = (site + "vega-bundle.js") if options.get("java_script_enabled", True) else ""

        def answer(route: object) -> None:
            embed = "vega-embed" in route.request.url
            route.fulfill(body=route.fetch(url=bundle).text() if embed else "")

        page.route(re.compile("^https:"), answer)
        page.goto(site + name)
        return page

    yield open_page
    for page in opened:
        page.close()


@pytest.mark.parametrize("name", ["notebook.html", "book.html", "table.html"])
def test_a_click_changes_the_run_without_any_script(open_page, name):
    page = open_page(name, java_script_enabled=False)
    panels = page.locator(".mem-switched > div")
    first = 0 if name == "table.html" else 1
    assert [panels.nth(k).is_visible() for k in (0, 1)] == [first == 0, first == 1]
    page.get_by_label(RECORDED if first == 0 else HERE).check()
    assert [panels.nth(k).is_visible() for k in (0, 1)] == [first == 1, first == 0]
    boxes = [panels.nth(k).bounding_box() for k in (0, 1)]
    assert boxes[first] is None
    assert boxes[1 - first]["height"] > 0


@pytest.mark.parametrize("name", ["notebook.html", "book.html"])
def test_a_chart_that_is_not_seen_yet_is_drawn_in_full_width_when_it_is(open_page, name):
    page = open_page(name)
    plots = page.locator(".mem-chart svg.marks, .mem-chart .vega-embed > svg")
    plots.first.wait_for()
    page.wait_for_timeout(300)
    assert plots.count() == 1
    page.get_by_label(HERE).check(force=True)
    page.wait_for_function("() => document.querySelectorAll('.mem-chart svg').length === 2")
    page.get_by_label(RECORDED).check(force=True)
    assert 500 < plots.nth(1).bounding_box()["width"] <= 900
    page.get_by_label(HERE).check(force=True)
    assert 500 < plots.nth(0).bounding_box()["width"] <= 900


DRAWN = """() => [...document.querySelectorAll(".mem-chart")]
    .every(chart => chart.dataset.drawn || !chart.clientWidth)"""


def test_a_run_chosen_in_one_figure_is_chosen_in_all_that_have_it(open_page):
    page = open_page("linked.html")
    page.wait_for_function(DRAWN)
    chosen = "() => [...document.querySelectorAll(':checked')].map(e => e.parentElement.innerText)"
    here = page.get_by_label(HERE)
    here.nth(1).scroll_into_view_if_needed()
    before = here.nth(1).bounding_box()["y"]
    assert page.evaluate("scrollY") > 100
    here.nth(1).check(force=True)
    assert page.evaluate(chosen) == ["Quick run: digits", HERE, HERE]
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(300)
    assert here.nth(1).bounding_box()["y"] == pytest.approx(before, abs=2)
    for text in "Rises to 7.", "Rises to 2.", "Rises to 4.":
        assert page.get_by_text(text).is_visible()
    # What another figure has not stays there as it is.
    page.get_by_label("Recorded: CIFAR-10").check(force=True)
    assert page.evaluate(chosen) == ["Quick run: digits", HERE, "Recorded: CIFAR-10"]


def test_each_chart_is_seen_before_the_next_is_drawn_the_nearest_first(open_page):
    page = open_page("linked.html")
    page.wait_for_function(DRAWN)
    page.evaluate("""() => {
        window.frames_seen = 0;
        window.drawn_at = [];
        const count = () => { frames_seen += 1; requestAnimationFrame(count); };
        count();
        const charts = [...document.querySelectorAll(".mem-chart")].filter(one => one.clientWidth);
        new MutationObserver(all => all.forEach(one =>
            drawn_at.push([charts.indexOf(one.target), frames_seen])))
            .observe(document.body, {subtree: true, attributeFilter: ["data-drawn"]});
        scrollTo(0, document.body.scrollHeight);
        document.documentElement.dataset.theme = "dark";
    }""")
    page.wait_for_function("() => drawn_at.length === 3")
    order, frames = zip(*page.evaluate("drawn_at"), strict=True)
    assert order[-1] == 0  # the one above the screen
    assert frames[0] < frames[1] < frames[2]


def test_charts_have_dark_colours_on_a_dark_page(open_page):
    page = open_page("book.html")
    light, dark = (f"css=.mem-chart svg path[stroke='{c}']" for c in ("#1D67D8", "#3894FF"))
    page.locator(light).first.wait_for(state="attached")
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
    page.locator(dark).first.wait_for(state="attached")
    assert page.locator(light).count() == 0


@pytest.mark.parametrize("touch", [False, True])
def test_a_pointer_and_a_finger_see_the_nearest_point(open_page, touch):
    page = open_page("book.html", has_touch=touch)
    plot = page.locator(".mem-chart svg")
    plot.wait_for()
    box = plot.bounding_box()
    place = box["x"] + box["width"] * 0.6, box["y"] + 100
    (page.touchscreen.tap if touch else page.mouse.move)(*place)
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert tooltip.inner_text().split() == ["y", "1", "x", "2"]
    left = tooltip.bounding_box()
    assert touch or left["x"] + left["width"] < place[0]


def test_the_keyboard_changes_the_run_and_skips_what_is_hidden(open_page):
    page = open_page("book.html")
    slider = "() => document.querySelectorAll('input[type=range]').length === "
    page.wait_for_function(slider + "1")
    page.keyboard.press("Tab")
    focus = "() => document.activeElement.closest('label')?.innerText.trim()"
    assert page.evaluate(focus) == RECORDED
    outline = "() => getComputedStyle(document.activeElement.closest('label')).outlineWidth"
    assert page.evaluate(outline) == "3px"
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(slider + "2")
    assert page.evaluate(focus) == HERE
    assert page.get_by_text("Rises to 2.").is_visible()
    assert not page.get_by_text("Rises to 3.").is_visible()
    page.keyboard.press("Tab")
    inside = "() => document.activeElement.closest('.mem-switched > div')?.innerText"
    assert "Rises to 2." in page.evaluate(inside)


@pytest.mark.parametrize("name", ["table.html", "book.html"])
def test_each_input_has_its_name_and_the_checker_finds_nothing_serious(open_page, name):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(name)
    group = page.get_by_role("radiogroup", name="Run")
    assert [group.get_by_role("radio", name=run).count() for run in (HERE, RECORDED)] == [1, 1]
    found = Axe().run(page).response["violations"]
    assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]
