"""Predict, then see: what a figure carries for it, and how a reader draws and marks in the page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browser import complaints, launched, page_names, rendered, serve, settle
from chapters import CHAPTERS, figures

from memhelpers import charts
from memhelpers.charts import Prediction
from memhelpers.errors import ArgumentError
from memhelpers.page.figures import Switch
from tools import notebooks, vega_bundle

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
AXES = {"x_title": "epochs", "y_title": "accuracy", "y_domain": (0, 1), "title": "A panel"}
CURVES = pd.DataFrame(
    {
        "epoch": [1, 2, 3, 4, 5] * 4,
        "y": [1.0] * 5 + [0.0, 0.25, 0.5, 0.75, 1.0] + [1.0] * 5 + [0.1] * 5,
        "line": (["real"] * 5 + ["wrong labels"] * 5) * 2,
        "noise": [0.4] * 10 + [0.8] * 10,
    }
)
ROWS = pd.DataFrame(
    {
        "row": ["all", "all", "few", "few"],
        "kind": ["found", "random"] * 2,
        "estimate": [0.2, 0.3, 0.5, 1.0],
        "low": [0.1, 0.2, 0.4, 0.9],
        "high": [0.3, 0.4, 0.6, 1.1],
    }
)
QUESTION = "Draw the share of the wrong labels that are fitted."
ASKED = Prediction("wrong labels", QUESTION)


def curves(predict: object) -> object:
    slider = charts.slider("noise", [0.4, 0.8], start=0.4)
    return charts.lines(CURVES, "epoch", "y", "line", controls=[slider], predict=predict, **AXES)


def lines(predict: object = ASKED) -> charts.Figure:
    chart = curves(predict)
    told = {"title": "Wrong ones rise", "caption": "They rise to all.", "subtitle": "A share"}
    return charts.Figure(chart, alt="Wrong ones rise from none to all.", **told)


def intervals(predict: object = Prediction(("few", "found"), "Place a mark.")) -> charts.Figure:
    axes = {"series": "kind", "x_title": "gain", "predict": predict}
    chart = charts.intervals(ROWS, "row", **axes)
    return charts.Figure(chart, alt="Half.", title="It gains half", caption="Half of it.")


def note(figure: charts.Figure) -> dict:
    return figure.specs[0]["usermeta"]["memhelpers"]["predict"]


def test_a_figure_says_what_to_hide_and_what_the_answer_is_at_the_start():
    found = note(lines(Prediction("wrong labels", "Draw 5% of it.", hidden=("real",))))
    assert found["answer"] == [[1, 0], [2, 0.25], [3, 0.5], [4, 0.75], [5, 1]]
    assert found["hidden"] == [["wrong labels"], ["real"]]
    assert found["titles"] == ["epochs", "accuracy"]
    assert found["question"] == "Draw 5\N{NO-BREAK SPACE}% of it."
    assert note(intervals())["answer"] == [[0.5, 0.4, 0.6]]
    assert note(intervals())["keys"] == ["row", "kind"]


def test_without_a_prediction_a_figure_is_as_it_was():
    figure = lines(predict=None)
    assert "predict" not in figure.specs[0]["usermeta"]["memhelpers"]
    assert "asked" not in str(figure.specs)


@pytest.mark.parametrize(
    ("figure", "predict", "said"),
    [
        (lines, Prediction("wrong", "Draw."), r"predict: given \['wrong'\].*wrong labels"),
        (lines, Prediction("real", "Draw.", hidden=("rael",)), "predict: given .*rael"),
        (intervals, Prediction("few", "Place."), r"predict: given \['few'\].*'few', 'found'"),
    ],
)
def test_a_prediction_of_what_is_not_there_is_refused(figure, predict, said):
    with pytest.raises(ArgumentError, match=said):
        figure(predict)


def test_a_prediction_needs_lines_with_names():
    one = CURVES[:5]
    with pytest.raises(ArgumentError, match=r"predict: given .*allowed: names from"):
        charts.lines(one, "epoch", "y", x_title="x", y_title="y", predict=ASKED)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:2])
def test_each_chapter_asks_once_and_not_in_its_first_figure(path):
    cells = [cell.source for cell in notebooks.code_cells(notebooks.read(path))]
    (asking,) = [source for source in cells if "charts.Prediction(" in source]
    assert asking.count("charts.Prediction(") == 1
    assert re.search(r"^chapter\.show\((\w+)\)", asking, re.MULTILINE)[1] in figures(path)[1:]
    assert "first_screen" not in asking


HEAD = (
    '<link rel="stylesheet" href="memhelpers.css"><link rel="stylesheet" href="figures.css">'
    "<style>body { background: var(--mem-page); color: var(--mem-ink) }"
    "a { color: var(--mem-accent) }</style>"
    '<script async src="memhelpers.js"></script>'
)
HERE, RECORDED = "This page: digits", "Recorded: MNIST"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[str]:
    """Pages with one figure each, the book's own scripts and styles beside them."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("memhelpers.js", "predict.js", "memhelpers.css", "figures.css"):
        (folder / name).write_bytes((STATIC / name).read_bytes())
    vega_bundle.write(folder / "vega-bundle.js")
    runs = Switch({HERE: lines(), RECORDED: intervals()})
    panels = charts.Figure([curves(None), curves(ASKED)], alt="Two.", caption="Both rise.")
    shown_by_name = {"lines": lines(), "mark": intervals(), "runs": runs, "panels": panels}
    for name, shown in shown_by_name.items():
        (folder / f"{name}.html").write_text(_page(shown.html(), HEAD))
    (folder / "notebook.html").write_text(_page(lines().html(), ""))
    with serve(folder) as address:
        yield address


def _page(shown: str, head: str) -> str:
    head = f'<meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">{head}'
    asked = '<div class="admonition mem-predict"><p>Before you read on</p></div>'
    body = f'<section id="before"><h2>Before</h2>{asked}</section>'
    body += f'<section id="the-figure"><h2>A figure</h2>{shown}</section>'
    body = f"<main><h1>A page</h1><article>{body}</article></main>"
    return f'<!doctype html><html lang="en" data-theme="light"><head>{head}</head><body>{body}'


@pytest.fixture
def open_page(browser, site):
    """Opens a page, waits for its chart, and fails at the end if it complained."""
    opened = []

    def open_page(name: str, wait: str = ".mem-chart[data-drawn]", **options: object) -> object:
        page = browser.new_page(viewport={"width": 900, "height": 800}, **options)
        opened.append((page, complaints(page)))
        page.goto(site + name)
        page.locator(wait).first.wait_for()
        return page

    yield open_page
    for page, _ in opened:
        page.close()
    assert not any(found for _, found in opened)


def pad(page: object) -> object:
    return page.locator(".mem-pad:visible")


def button(page: object, name: str) -> object:
    return page.get_by_role("button", name=name, exact=True)


def drawn(page: object, share: float = 0.5) -> None:
    """A level line by mouse, at this share of the height, from left to right."""
    pad(page).scroll_into_view_if_needed()
    box = pad(page).bounding_box()
    y = box["y"] + box["height"] * (1 - share)
    page.mouse.move(box["x"] + 1, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, y)
    page.mouse.up()


def answered(page: object) -> str:
    """The sentence, once the answer is drawn."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.mem-plot')].some(plot =>"
        " plot.clientWidth && plot.textContent.includes('wrong labels 1'))"
    )
    return page.get_by_role("status").inner_text()


HIDDEN = ("Wrong ones rise", "They rise to all", "wrong labels 1", "from none to all")


def test_before_the_answer_nothing_tells_it(open_page):
    page = open_page("lines.html")
    figure = page.locator("figure.mem-figure")
    seen = figure.inner_text() + figure.aria_snapshot()
    assert not [text for text in HIDDEN if text in seen]
    assert QUESTION in seen
    assert "real 1" in seen
    colour = "() => document.querySelectorAll('.mem-plot [stroke=\"#8F0A74\"]').length"
    assert page.evaluate(colour) == 0
    assert button(page, "Show the answer").is_disabled()
    assert page.locator(".vega-bindings input").is_disabled()
    drawn(page)
    assert "wrong labels" not in page.locator(".mem-plot").text_content()
    assert "you" not in page.locator(".mem-plot").text_content()
    button(page, "Show the answer").click()
    answered(page)
    assert page.evaluate(colour) > 0
    seen = figure.inner_text() + figure.aria_snapshot()
    assert not [text for text in HIDDEN if text not in seen]
    assert page.locator(".vega-bindings input").is_enabled()


def test_a_line_by_mouse_and_its_distance_in_words(open_page):
    page = open_page("lines.html")
    drawn(page)
    button(page, "Show the answer").click()
    said = answered(page)
    assert said == (
        "On average you were off by 0.30 (accuracy), mostly too high up to 2 epochs, mostly "
        "too low beyond. Furthest off at 1 epoch: you drew 0.50, it is 0.00."
    )
    assert page.locator(".mem-pad text").text_content() == "you"
    # Both belong to the curves at the start; with others, they would stand beside the wrong one.
    page.locator(".vega-bindings input").press("ArrowRight")
    assert page.locator(".mem-pad path").count() == 0
    assert not page.get_by_text(said).is_visible()
    page.locator(".vega-bindings input").press("ArrowLeft")
    assert page.locator(".mem-pad path.mem-you").count() == 1
    assert page.get_by_text(said).is_visible()


def test_the_button_says_what_is_missing_and_what_is_drawn_can_be_cleared(open_page):
    page = open_page("lines.html")
    assert button(page, "Clear").is_disabled()
    pad(page).click()
    assert page.get_by_text("Go on until your line covers most of the width").is_visible()
    assert button(page, "Show the answer").is_disabled()
    button(page, "Clear").click()
    assert page.locator(".mem-pad path.mem-you").count() == 0
    assert page.get_by_text("Draw in the figure with the mouse or a finger").is_visible()
    assert pad(page).evaluate("pad => pad === document.activeElement")


def test_a_panel_without_a_prediction_stays_as_it_is(open_page):
    page = open_page("panels.html")
    told = page.locator(".mem-plot").all_text_contents()
    assert ["wrong labels 1" in text for text in told] == [True, False]
    assert ["real 1" in text for text in told] == [True, True]
    assert page.locator(".mem-plot").nth(1).locator(".mem-pad").count() == 1


def test_what_is_drawn_again_replaces_the_part_before(open_page):
    page = open_page("lines.html")
    drawn(page, 0.2)
    box = pad(page).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], box["y"])
    page.mouse.up()
    button(page, "Show the answer").click()
    assert answered(page).startswith("On average you were off by 0.2")


def test_a_line_by_keyboard_is_said_in_the_words_of_the_axes(open_page):
    page = open_page("lines.html")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.getAttribute('role') === 'slider'"):
            break
    slider = page.get_by_role("slider", name=QUESTION)
    assert slider.get_attribute("aria-valuetext") == "1 epoch: nothing drawn yet"
    for key, said in {
        "ArrowDown": "1 epoch: accuracy 0.48",
        "PageDown": "1 epoch: accuracy 0.38",
        "ArrowRight": "2 epochs: accuracy 0.38",
        "End": "5 epochs: accuracy 0.38",
        "PageUp": "5 epochs: accuracy 0.48",
        "Home": "1 epoch: accuracy 0.38",
    }.items():
        page.keyboard.press(key)
        assert slider.get_attribute("aria-valuetext") == said
        assert page.locator(".mem-pad text.mem-at").text_content() == said.split()[-1]
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Show the answer"
    page.keyboard.press("Enter")
    assert "it is 1" in answered(page)
    assert page.evaluate("() => document.activeElement.textContent") == "Try again"
    page.keyboard.press("Enter")
    slider.wait_for()
    assert slider.evaluate("slider => slider === document.activeElement")
    assert slider.get_attribute("aria-valuetext") == "1 epoch: nothing drawn yet"
    assert "Wrong ones rise" not in page.locator("figure").inner_text()


def test_a_finger_draws_by_taps_and_scrolls_beside_the_plot(open_page):
    page = open_page("lines.html", has_touch=True)
    box = pad(page).bounding_box()
    for share in (0.01, 0.99):
        page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + box["height"] * share)
    action = "e => getComputedStyle(e).touchAction"
    assert pad(page).evaluate(action) == "none"
    assert page.locator(".mem-chart").evaluate(action) == "auto"
    button(page, "Show the answer").tap()
    assert "mostly too high up to 2 epochs, mostly too low beyond" in answered(page)


@pytest.mark.parametrize("name", ["lines.html", "mark.html"])
def test_a_finger_that_scrolls_the_page_takes_back_what_it_drew(open_page, name):
    page = open_page(name)
    send = """(pad, [kind, clientX, clientY]) => {
        pad.setPointerCapture = () => {};  // there is no such pointer
        pad.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX, clientY }));
    }"""
    box = pad(page).bounding_box()
    at = [box["x"] + box["width"] / 3, box["y"] + box["height"] / 3]
    for kind, count in {"pointerdown": 1, "pointercancel": 0}.items():
        pad(page).evaluate(send, [kind, *at])
        assert page.locator(".mem-pad path.mem-you").count() == count


def test_a_row_of_many_takes_its_own_clicks_only(open_page):
    page = open_page("mark.html")
    row, plot = pad(page).bounding_box(), page.locator(".mem-plot").bounding_box()
    assert 24 <= row["height"] < plot["height"] / 2
    named = page.locator(".mem-plot").get_by_text("few", exact=True).first.bounding_box()
    assert row["y"] < named["y"] + named["height"] / 2 < row["y"] + row["height"] * 2
    page.mouse.click(row["x"] + 50, plot["y"] + plot["height"] - 60)
    assert button(page, "Show the answer").is_disabled()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (0.43 / 1.06, "You placed 0.500, it is 0.500 (gain): right on it, inside its interval."),
        (0.53 / 1.06, "You placed 0.600, it is 0.500 (gain): 0.100 too high, inside its interval."),
        (0.13 / 1.06, "You placed 0.200, it is 0.500 (gain): 0.300 too low, outside its interval."),
    ],
)
def test_a_mark_by_mouse(open_page, place, said):
    page = open_page("mark.html")
    assert "It gains half" not in page.locator("figure").inner_text()
    text = page.locator(".mem-plot").text_content()
    assert "few" in text
    assert "0.50 [0.40, 0.60]" not in text
    assert "1.00 [0.90, 1.10]" in text
    box = pad(page).bounding_box()
    page.mouse.click(box["x"] + place * box["width"], box["y"] + 5)
    button(page, "Show the answer").click()
    assert page.get_by_role("status").inner_text() == said
    page.get_by_text("0.50 [0.40, 0.60]").first.wait_for(state="attached")


def test_a_mark_by_keyboard(open_page):
    page = open_page("mark.html")
    slider = page.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == "no mark yet"
    slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "gain 0.58"
    slider.press("Home")
    assert slider.get_attribute("aria-valuetext") == "gain 0.07"


def test_skipping_and_following_a_link_show_the_figure(open_page):
    page = open_page("lines.html")
    button(page, "Skip").click()
    assert answered(page) == ""
    assert page.get_by_text("Wrong ones rise", exact=True).is_visible()
    identity = page.locator("figure").get_attribute("id")
    for fragment in (identity, "the-figure"):
        arrived = open_page(f"lines.html#{fragment}")
        assert arrived.get_by_text("Wrong ones rise", exact=True).is_visible()
        button(arrived, "Hide and predict").click()
        pad(arrived).wait_for()
        assert not arrived.get_by_text("Wrong ones rise", exact=True).is_visible()
    elsewhere = open_page("lines.html#before")
    assert not elsewhere.get_by_text("Wrong ones rise", exact=True).is_visible()
    # The line that the script adds to the questions leads there, and asks.
    elsewhere.get_by_role("link", name=QUESTION).click()
    assert pad(elsewhere).evaluate("pad => pad === document.activeElement")


def test_the_same_visit_remembers_what_was_drawn(open_page):
    page = open_page("lines.html")
    drawn(page)
    button(page, "Show the answer").click()
    said = answered(page)
    page.reload()
    assert answered(page) == said
    assert page.locator(".mem-pad path.mem-you").count() == 1


def test_an_answer_for_one_run_is_one_for_the_others(open_page):
    page = open_page("runs.html")
    assert pad(page).get_attribute("role") == "slider"
    page.get_by_label(RECORDED).check(force=True)
    page.get_by_text("Place a mark.", exact=True).wait_for()
    page.get_by_label(HERE).check(force=True)
    drawn(page)
    button(page, "Show the answer").click()
    answered(page)
    page.get_by_label(RECORDED).check(force=True)
    page.get_by_text("It gains half").wait_for()
    page.get_by_text("0.50 [0.40, 0.60]").first.wait_for(state="attached")
    assert page.locator(".mem-pad[role]").count() == 0
    # What was drawn for one run is not lost where another is asked again.
    page.locator("button:visible", has_text="Hide and predict").click()
    page.get_by_label(HERE).check(force=True)
    assert button(page, "Show the answer").is_enabled()


def test_the_line_survives_another_theme_and_another_width(open_page):
    page = open_page("lines.html")
    drawn(page)
    button(page, "Show the answer").click()
    said, line = answered(page), page.locator(".mem-pad path.mem-you")
    wide = line.bounding_box()["width"]
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
    page.locator(".mem-chart[data-drawn=dark]").wait_for()
    assert line.bounding_box()["width"] == pytest.approx(wide, abs=1)
    assert line.evaluate("e => getComputedStyle(e).stroke") == "rgb(230, 234, 238)"
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function(
        "wide => document.querySelector('.mem-you').getBoundingClientRect().width < 0.7 * wide",
        arg=wide,
    )
    plot = page.locator(".mem-plot svg .background").first.bounding_box()
    assert page.locator(".mem-pad").bounding_box()["x"] == pytest.approx(plot["x"], abs=1)
    assert page.locator(".mem-pad").bounding_box()["width"] == pytest.approx(plot["width"], abs=1)
    assert page.get_by_role("status").inner_text() == said


@pytest.mark.parametrize("name", ["lines.html", "mark.html"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_checker_finds_nothing_serious(open_page, name, theme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(name)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.locator(f".mem-chart[data-drawn={theme}]").wait_for()
    for _ in range(2):
        found = Axe().run(page).response["violations"]
        assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        if button(page, "Skip").is_visible():
            pad(page).click()
            button(page, "Skip").click()


def test_without_scripts_on_paper_and_in_a_notebook_the_figure_is_there(open_page, site):
    plain = open_page("lines.html", wait="img.mem-still", java_script_enabled=False)
    assert plain.get_by_text("Wrong ones rise", exact=True).is_visible()
    assert plain.get_by_role("button").count() == 0
    paper = open_page("lines.html")
    paper.emulate_media(media="print")
    assert paper.get_by_text("Wrong ones rise", exact=True).is_visible()
    assert paper.locator("img.mem-still").is_visible()
    assert not button(paper, "Skip").is_visible()
    notebook = plain.context.browser.new_page()
    bundle = site + "vega-bundle.js"
    answer = lambda route: route.fulfill(response=route.fetch(url=bundle))  # noqa: E731
    notebook.route(re.compile("^https:"), answer)
    notebook.goto(site + "notebook.html")
    notebook.get_by_text("wrong labels 1").first.wait_for(state="attached")
    assert notebook.get_by_text("Wrong ones rise", exact=True).is_visible()
    notebook.close()


def test_if_the_script_is_missing_the_figure_is_there(browser, site):
    page = browser.new_page()
    page.route("**/predict.js", lambda route: route.abort())
    page.goto(site + "lines.html")
    answered_without = page.get_by_text("wrong labels 1").first
    answered_without.wait_for(state="attached")
    assert page.get_by_text("Wrong ones rise", exact=True).is_visible()
    page.close()


@pytest.mark.parametrize("name", [n for n in page_names() if re.search(r"/\d\d-", n)])
def test_each_chapters_page_asks_and_does_not_tell(browser, name):
    with serve(rendered()) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}{name}.html")
        settle(page)
        assert page.locator(".mem-asked .mem-pad:visible").count() == 1
        asked = page.locator("figure.mem-asked:visible")
        hidden = asked.locator("> .mem-figure-title, > figcaption").all_text_contents()
        seen = asked.inner_text()
        assert hidden
        assert not [text for text in hidden if text in seen]
        button(page, "Skip").click()
        page.wait_for_function("() => !document.querySelector('.mem-asked')")
        settle(page)
        page.close()
