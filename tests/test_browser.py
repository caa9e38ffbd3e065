"""The rendered book in a browser whose network ends at this machine, page by page.

Opening a page is what takes time, so each is opened twice: wide in light colours, and narrow, as on
a phone, in dark ones. All tests of a page look at these two.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

import pytest
from browser import (
    Visit,
    launched,
    page_names,
    rendered,
    serve,
    settle,
    watch,
)

PAGES = page_names()
CHAPTERS = [name for name in PAGES if re.search(r"/\d\d-", name)]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
MOST_BYTES = 3_000_000
SMALLEST_TEXT = 12  # px; below it a phone's reader must zoom

every_page = pytest.mark.parametrize("name", PAGES, indirect=True)
every_chapter = pytest.mark.parametrize("name", CHAPTERS, indirect=True)


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    with serve(rendered()) as address:
        yield address


@pytest.fixture(scope="session")
def browser(site: str) -> Iterator[object]:
    with launched() as running:
        yield running


@pytest.fixture(scope="session")
def wide(browser: object) -> Iterator[object]:
    """Where the wide, light pages open."""
    context = browser.new_context(viewport=WIDE, color_scheme="light")
    yield context
    context.close()


@pytest.fixture(scope="session")
def narrow(browser: object) -> Iterator[object]:
    """Where the narrow, dark pages open."""
    context = browser.new_context(viewport=NARROW, color_scheme="dark")
    yield context
    context.close()


@contextmanager
def opened(context: object, site: str, name: str) -> Iterator[Visit]:
    """A page of the book, as it stands once all of it is drawn."""
    visit = watch(context.new_page(), site)
    visit.page.goto(f"{site}{name}.html")
    settle(visit.page)
    yield visit
    visit.page.close()


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """A page of the table of contents; with this scope, all tests of a page run in a row."""
    page = request.param
    assert (rendered() / f"{page}.html").is_file(), f"{page}.html was not rendered"
    return page


@pytest.fixture(scope="module")
def visit(name: str, wide: object, site: str) -> Iterator[Visit]:
    """The page, wide and light."""
    with opened(wide, site, name) as visit:
        yield visit


@pytest.fixture
def page(visit: Visit) -> object:
    return visit.page


@pytest.fixture(scope="module")
def dark(name: str, narrow: object, site: str) -> Iterator[object]:
    """The page, narrow and dark."""
    with opened(narrow, site, name) as visit:
        yield visit.page


@every_page
def test_opens_without_errors_and_without_the_network(visit):
    assert not visit.errors
    assert not visit.outside


@every_page
def test_has_one_title(page):
    assert page.locator("article h1").count() == 1


@every_page
def test_a_wide_page_fits(page):
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


@every_page
def test_every_chart_has_marks(page):
    charts = page.locator(".mem-chart")
    for i in range(charts.count()):
        plots = charts.nth(i).locator(".mem-plot")
        if not charts.nth(i).is_visible():
            continue
        assert plots.count() > 0
        for j in range(plots.count()):
            assert plots.nth(j).evaluate(MARKS), f"chart {i}, panel {j}"


MARKS = """plot => [...plot.querySelectorAll("svg .role-mark :is(path, line, text, rect, image)")]
    .filter(mark => mark.getBBox().width + mark.getBBox().height > 0).length"""


@every_chapter
def test_the_first_screen_holds_the_finding_a_verdict_and_the_beginning_of_the_figure(page, dark):
    first = page.evaluate(FIRST)
    assert first["plot"]["top"] + BEGUN <= WIDE["height"]
    assert first["finding"]["bottom"] <= WIDE["height"]
    assert first["verdict"]["bottom"] <= WIDE["height"]
    assert dark.evaluate(FIRST)["plot"]["top"] + BEGUN <= 2 * NARROW["height"]


BEGUN = 100  # px of a plot, from which on it is seen as one
# Where the first ones that show lie on the page.
FIRST = """() => {
    const shown = selector => [...document.querySelectorAll(`article ${selector}`)]
        .find(e => e.checkVisibility() && e.getClientRects().length).getBoundingClientRect();
    const at = box => ({top: box.top + scrollY, bottom: box.bottom + scrollY});
    return {
        finding: at(shown(".mem-finding")),
        plot: at(shown(".mem-plot svg")),
        verdict: at(shown("a.mem-pill")),
    };
}"""


@every_chapter
def test_every_chapter_has_a_chart_that_a_control_changes(page):
    assert page.locator(".mem-chart").count() > 0
    assert page.locator(".vega-bindings :is(input, select)").count() > 0


@every_page
def test_moving_each_control_changes_what_is_drawn(page):
    controls = page.locator(".vega-bindings :is(input, select)")
    for i in range(controls.count()):
        control = controls.nth(i)
        if not control.is_visible():
            continue
        before = control.evaluate(DRAWN)
        control.evaluate(MOVE)
        page.wait_for_function(
            f"([control, before]) => ({DRAWN})(control) !== before",
            arg=[control.element_handle(), before],
            timeout=10_000,
        )
        text = control.evaluate("c => c.type === 'range' && c.nextElementSibling.textContent")
        assert text == (control.get_attribute("aria-valuetext") or False)


DRAWN = """control => [...control.closest("figure").querySelectorAll(".mem-plot .role-mark")]
    .map(marks => marks.innerHTML).join()"""
MOVE = """control => {
    if (control.tagName === "SELECT") {
        control.selectedIndex = (control.selectedIndex + 1) % control.options.length;
    } else {
        control.value = control.value === control.min ? control.max : control.min;
    }
    for (const kind of ["input", "change"]) control.dispatchEvent(new Event(kind));
}"""


@every_page
def test_images_and_charts_have_alt_text(page):
    assert page.locator("article img:not([alt]), article img[alt='']").count() == 0
    labels = page.locator(".mem-chart").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert all(labels)
    captions = page.locator("figure.mem-figure").evaluate_all(
        "all => all.map(figure => figure.querySelector('figcaption')?.textContent)"
    )
    assert all(captions)


@every_chapter
def test_the_keyboard_reaches_and_moves_a_control(page):
    # Those of a figure that waits for a prediction cannot be moved yet.
    controls = page.locator(".vega-bindings :is(input, select):visible:enabled")
    if controls.count() == 0:
        page.locator("button:visible", has_text="Skip").first.click()
    control = controls.first
    control.wait_for()
    page.locator("article h1").evaluate("h1 => { h1.tabIndex = -1; h1.focus(); }")
    for _ in range(200):
        page.keyboard.press("Tab")
        if control.evaluate("control => control === document.activeElement"):
            break
    else:
        pytest.fail("Tab does not reach the control")
    assert page.evaluate(OUTLINED), "the focus is not visible"
    before = control.evaluate("control => control.value")
    forward, back = ("ArrowDown", "ArrowUp") if _is_list(control) else ("ArrowRight", "ArrowLeft")
    page.keyboard.press(back if control.evaluate(AT_ITS_END) else forward)
    assert control.evaluate("control => control.value") != before


def _is_list(control: object) -> bool:
    return control.evaluate("control => control.tagName === 'SELECT'")


AT_ITS_END = """control => control.tagName === "SELECT"
    ? control.selectedIndex === control.options.length - 1
    : control.value === control.max"""

OUTLINED = """() => {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""


@every_page
def test_the_keyboard_shows_where_it_is(page):
    page.evaluate("() => document.activeElement.blur()")
    page.evaluate("() => { document.body.tabIndex = -1; document.body.focus(); }")
    links = 0
    for _ in range(12):
        page.keyboard.press("Tab")
        place = page.evaluate("() => document.activeElement.outerHTML.slice(0, 200)")
        assert page.evaluate(OUTLINED), f"no visible focus on {place}"
        links += place.startswith("<a")
    assert links


@every_page
def test_a_narrow_page_fits_and_is_readable(dark):
    wider = dark.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    assert wider <= 0, f"{wider} px wider than the screen: {dark.evaluate(STICKING_OUT)}"
    small = dark.evaluate(SMALL_TEXT, SMALLEST_TEXT)
    assert not small


STICKING_OUT = """() => [...document.querySelectorAll("article *")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.tagName + "." + e.className).slice(0, 5)"""
# Sub- and superscripts of formulas are small in print, too.
SMALL_TEXT = """least => {
    const walker = document.createTreeWalker(document.querySelector("article"), 4);
    const small = [];
    for (let node; (node = walker.nextNode());) {
        const parent = node.parentElement;
        if (!node.data.trim() || parent.closest("mjx-container, script, style, sup, sub")) continue;
        if (!parent.getClientRects().length) continue;
        const size = parseFloat(getComputedStyle(parent).fontSize);
        if (size < least) small.push([size, node.data.trim().slice(0, 40)]);
    }
    return small;
}"""


@every_page
def test_nothing_on_a_narrow_page_is_cut(dark):
    assert not dark.evaluate(CUT)


# Texts beyond the screen or a box that hides what stands out. What scrolls inside a box of its own
# is not cut; the caption of a table does not scroll with it.
CUT = """() => {
    const cut = [];
    const walker = document.createTreeWalker(document.querySelector("article"), 4);
    const range = document.createRange();
    const unseen = "script, style, .mem-hidden, mjx-container, .headerlink, .copybtn";
    for (let node; (node = walker.nextNode());) {
        const parent = node.parentElement;
        if (!node.data.trim() || parent.closest(unseen) || !parent.checkVisibility()) continue;
        let left = 0, right = innerWidth, scrolls = false;
        for (let box = parent; box !== document.body && !scrolls; box = box.parentElement) {
            const overflow = getComputedStyle(box).overflowX;
            const at = box.getBoundingClientRect();
            if (["hidden", "clip"].includes(overflow) && at.width) {
                [left, right] = [Math.max(left, at.left), Math.min(right, at.right)];
            }
            scrolls = ["auto", "scroll"].includes(overflow) && !parent.closest("svg, caption");
        }
        range.selectNodeContents(node);
        const seen = range.getBoundingClientRect();
        if (!scrolls && seen.width && (seen.left < left - 1 || seen.right > right + 1)) {
            cut.push([node.data.trim().slice(0, 40), left - seen.left, seen.right - right]);
        }
    }
    return cut;
}"""


@pytest.mark.parametrize("colours", ["wide", "narrow"])
def test_the_marks_of_the_scoreboard_lie_within_their_rows(colours, site, request):
    with opened(request.getfixturevalue(colours), site, "book/scoreboard") as visit:
        out = visit.page.locator(".mem-score-row > svg").evaluate_all(
            """all => all.map(row => [row.getBoundingClientRect(), row])
                .flatMap(([box, row]) => [...row.querySelectorAll("circle, svg > path")]
                    .map(mark => mark.getBoundingClientRect())
                    .map(mark => Math.max(box.top - mark.top, mark.bottom - box.bottom)))"""
        )
        assert len(out) > 20
        assert max(out) <= 0.6


def test_the_story_takes_at_most_two_screens(wide, site):
    """Two screens of a laptop, 1280 by 900, from the top of the page to the end of its text."""
    with opened(wide, site, "book/reproduced") as visit:
        text = visit.page.locator("article").bounding_box()
    assert text["y"] + text["height"] <= 2 * 900


def test_the_address_of_a_claim_leads_to_its_row(wide, site):
    with opened(wide, site, "book/scoreboard") as visit:
        visit.page.goto(f"{visit.page.url}#C3.1a")
        row = visit.page.locator("tr:target")
        assert "C3.1a" in row.inner_text()
        assert 0 <= row.bounding_box()["y"] <= 200
        places = row.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    chapter = "04-loss-sensitivity.html"
    assert places == [f"{chapter}#claim-C3.1a", f"{chapter}#how-it-is-judged"]


@every_page
def test_accessibility_checker_finds_nothing_serious(page):
    from axe_playwright_python.sync_playwright import Axe

    # Contrast takes the checker a minute on a long page; the next test looks at it.
    options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": False}}}
    found = Axe().run(page, context={"exclude": [[".mem-plot svg"]]}, options=options)
    serious = [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]][:5])
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert not serious


@every_page
def test_text_stands_out_in_both_themes(page, dark):
    for shown, theme in (page, "light"), (dark, "dark"):
        assert shown.evaluate("() => document.documentElement.dataset.theme") == theme
        faint = {
            (text, *pair)
            for *pair, large, text in shown.evaluate(COLOURS)
            if contrast(*pair) < (3 if large else 4.5)
        }
        assert not faint, theme


# Colours of the text and of what lies behind it, whether it is large (WCAG 2: 24 px, or bold
# and 18.66 px), and one example, for each combination that the page shows.
COLOURS = """() => {
    const parse = colour => {
        const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
        return [r, g, b, a];
    };
    const over = ([r, g, b, a], below) =>
        [r, g, b].map((c, i) => a * c + (1 - a) * below[i]).concat(1);
    const behind = new Map();  // element -> the colour behind its text
    const background = e => {
        if (!e) return [255, 255, 255, 1];
        if (!behind.has(e)) {
            const own = parse(getComputedStyle(e).backgroundColor);
            behind.set(e, own[3] === 1 ? own : over(own, background(e.parentElement)));
        }
        return behind.get(e);
    };
    const found = new Map();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode());) {
        const e = node.parentElement;
        if (!node.data.trim() || e.closest("script, style, noscript")) continue;
        if (!e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
        const style = getComputedStyle(e);
        const colour = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        const below = background(e);
        const pair = [over(parse(colour), below), below].map(c => `rgb(${c.slice(0, 3)})`);
        const key = [...pair, large].join();
        if (!found.has(key)) found.set(key, [...pair, large, node.data.trim().slice(0, 40)]);
    }
    return [...found.values()];
}"""


def contrast(one: str, other: str) -> float:
    """Contrast of two CSS colours (WCAG 2)."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@every_chapter
def test_charts_follow_the_theme_switch_and_keep_what_was_chosen(page):
    control = page.locator(".vega-bindings :is(input, select):visible").first
    control.evaluate(MOVE)
    chosen = control.evaluate("control => control.value")
    before = page.locator(LABEL).first.evaluate(FILL)
    _switch(page, "dark")
    after = page.locator(LABEL).first.evaluate(FILL)
    kept = control.evaluate("control => control.value")
    _switch(page, "light")
    assert after != before
    assert kept == chosen


LABEL = ".mem-plot svg .role-axis-label text"
FILL = "text => getComputedStyle(text).fill"


def _switch(page: object, theme: str) -> None:
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.wait_for_function(
        "theme => [...document.querySelectorAll('.mem-chart[data-drawn]')]"
        ".every(chart => chart.dataset.drawn === theme || chart.clientWidth === 0)",
        arg=theme,
    )


@every_page
def test_formulas_are_set_without_the_network(page):
    assert page.locator("mjx-merror").count() == 0
    unset = page.locator("article .math").evaluate_all(
        "all => all.filter(e => !e.querySelector('mjx-container')).map(e => e.textContent)"
    )
    assert not unset


@every_page
def test_weighs_at_most_three_megabytes(visit):
    heaviest = sorted(visit.loaded.items(), key=lambda item: -item[1])[:5]
    assert 0 < visit.weight <= MOST_BYTES, heaviest


@every_page
def test_text_waits_for_no_script_and_charts_for_no_formula(visit):
    order = list(visit.loaded)
    assert [name for name in order if name.endswith(".css")] == ["_static/book.css"]
    scripts = visit.page.locator("script[src]").evaluate_all(
        "all => all.filter(s => s.getAttributeNode('src') && !s.defer && !s.async).map(s => s.src)"
    )
    assert not scripts
    assert not [name for name in order if "fontawesome" in name or "searchindex" in name]
    formulas = [i for i, name in enumerate(order) if "/mathjax/" in name]
    assert bool(formulas) == (visit.page.locator("article .math").count() > 0)
    if formulas and "_static/vega-bundle.js" in order:
        assert order.index("_static/vega-bundle.js") < formulas[0]


@every_page
def test_the_book_brings_its_letters_and_its_signs(visit):
    for letters in "Source Sans 3", "Source Serif 4":
        assert visit.page.evaluate("name => document.fonts.check(`600 17px '${name}'`)", letters)
    assert [name for name in visit.loaded if name.endswith(".woff2")]
    unsigned = visit.page.locator("i[class*=fa-], span[class*=fa-]").evaluate_all(
        "all => all.filter(e => getComputedStyle(e).maskImage === 'none').map(e => e.className)"
    )
    assert not unsigned


@every_page
def test_the_frame_keeps_its_measures(page):
    inner = """article => article.clientWidth - parseFloat(getComputedStyle(article).paddingLeft)
        - parseFloat(getComputedStyle(article).paddingRight)"""
    shown = page.locator("article.bd-article").evaluate(inner)
    assert shown == (944 if page.locator(".mem-wide").count() else 720)
    assert page.locator("#pst-primary-sidebar").evaluate("e => e.offsetWidth") == 264


@every_page
def test_no_code_scrolls_sideways(page):
    assert not page.evaluate(SCROLLING)


# Code that is folded is unfolded to be measured.
SCROLLING = """() => {
    const closed = [...document.querySelectorAll("article details:not([open])")];
    for (const details of closed) details.open = true;
    const found = [...document.querySelectorAll("article .highlight pre")]
        .filter(pre => pre.clientWidth && pre.scrollWidth > pre.clientWidth)
        .map(pre => [pre.scrollWidth - pre.clientWidth, pre.textContent.slice(0, 60)]);
    for (const details of closed) details.open = false;
    return found;
}"""


@every_page
def test_no_two_lines_that_unfold_code_in_a_row(page):
    rows = page.locator(".cell:has(> details.hide) + .cell:has(> details.hide)").evaluate_all(
        """all => all.filter(cell => !cell.querySelector(".cell_output"))
            .map(cell => cell.querySelector("pre").textContent.slice(0, 60))"""
    )
    assert not rows


def test_some_page_has_formulas():
    texts = [(rendered() / f"{page}.html").read_text(encoding="utf-8") for page in PAGES]
    assert any('class="math' in text for text in texts)


def test_the_search_finds_a_page_without_the_network(wide, site):
    with opened(wide, site, PAGES[0]) as visit:
        visit.page.keyboard.press("Control+k")
        visit.page.keyboard.type("memorize")
        visit.page.keyboard.press("Enter")
        found = visit.page.locator("#search-results li a")
        found.first.wait_for()
        assert any("book/" in link for link in found.evaluate_all("all => all.map(a => a.href)"))
        visit.page.wait_for_load_state("networkidle")
        quoted = visit.page.locator("#search-results .context").all_inner_texts()
        assert len(quoted) > 3
        assert not [text for text in quoted if re.search(r"import |def |= |\.pdf|Contents", text)]
        assert not visit.errors
        assert not visit.outside


@pytest.mark.parametrize("colours", ["wide", "narrow"])
def test_a_missing_page_leads_back_into_the_book(colours, site, request):
    with opened(request.getfixturevalue(colours), site, "404") as visit:
        links = visit.page.locator("article a").evaluate_all("all => all.map(a => a.href)")
        assert f"{site}book/scoreboard.html" in links
        assert visit.page.evaluate("() => document.baseURI") == site
        assert visit.page.locator("nav.bd-links a").first.get_attribute("href") == "book/intro.html"
        assert not visit.errors


@pytest.fixture(scope="session")
def lone_figure() -> str:
    """A page like a notebook's output: one figure with a slider, without the book's script."""
    import pandas as pd

    from memhelpers import charts

    table = pd.DataFrame({"x": [1, 2] * 2, "y": [1.0, 2.0, 2.0, 1.0], "k": [0.1, 0.1, 5, 5]})
    control = charts.slider("k", [0.1, 5], start=5)
    axes = {"title": "A title", "x_title": "x", "y_title": "y"}
    chart = charts.lines(table, "x", "y", controls=[control], **axes)
    figure = charts.Figure(chart, alt="Two points.", caption="They are joined.")
    return f"<!doctype html><title>A notebook</title>{figure.html()}"


def _open_notebook(browser: object, content: str, answer) -> tuple[object, list[str]]:
    """Opens the content in an empty page; `answer` handles what it loads from elsewhere."""
    page = browser.new_context(viewport=WIDE).new_page()
    asked: list[str] = []

    def note(route: object) -> None:
        asked.append(route.request.url)
        answer(route)

    page.route(re.compile("^https?:"), note)
    page.set_content(content)
    return page, asked


def test_in_a_notebook_vega_comes_from_a_cdn_even_beside_an_amd_loader(browser, lone_figure):
    bundle = (rendered() / "_static" / "vega-bundle.js").read_text(encoding="utf-8")

    def answer(route: object) -> None:
        last = "vega-embed" in route.request.url
        body = f"if (window.define) throw 'AMD'; {bundle}" if last else "// part of the bundle"
        route.fulfill(body=body, content_type="text/javascript")

    loader = "<script>define = () => {}; define.amd = {};</script>"
    page, asked = _open_notebook(browser, loader + lone_figure, answer)
    page.locator(".mem-chart svg .role-mark path").first.wait_for(state="attached")
    slider = page.locator("input[type=range]")
    assert len(asked) == 3
    assert slider.evaluate("input => input.nextElementSibling.textContent") == "5"
    slider.press("ArrowLeft")
    assert slider.evaluate("input => input.nextElementSibling.textContent") == "0.1"
    assert page.locator(".mem-still").count() == 0
    assert page.evaluate("() => typeof define") == "function"
    page.context.close()


def test_in_a_notebook_without_network_the_picture_stays(browser, lone_figure):
    page, asked = _open_notebook(browser, lone_figure, lambda route: route.abort())
    page.wait_for_function("() => window.memhelpersVega.then(() => false, () => true)")
    assert len(asked) == 1
    assert page.locator(".mem-still").is_visible()
    assert page.locator("svg").count() == 0
    page.context.close()


class _Loads(HTMLParser):
    """Collects what a page loads by itself: not its links, which the reader follows."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [values[key] or "" for key in ("src", "srcset") if key in values]
        if tag == "link" and values.get("rel") not in ("canonical", "author"):
            self.addresses.append(values.get("href") or "")


def test_no_page_names_a_script_font_or_style_elsewhere():
    elsewhere = {}
    for path in sorted(rendered().rglob("*.html")):
        loads = _Loads()
        loads.feed(path.read_text(encoding="utf-8"))
        outside = [a for a in loads.addresses if re.match(r"(https?:)?//", a)]
        if outside and "_static" not in path.parts:
            elsewhere[path.name] = outside
    assert not elsewhere


def test_no_style_sheet_of_the_site_imports_from_elsewhere():
    pattern = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")
    sheets = rendered().glob("_static/**/*.css")
    assert not [sheet.name for sheet in sheets if pattern.search(sheet.read_text("utf-8"))]
