"""The report of an audit: one page that holds its data, escapes it, and works without a network."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import launched
from sklearn.datasets import load_digits
from test_audit import FAST, IMAGES, QUIET, rows

from memhelpers.audit import Audit, audit

MARKUP = "<img src=x onerror=alert(1)>"
LABEL = "</script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def digits() -> Audit:
    return audit(IMAGES, load_digits().target, **FAST)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """The report of a table with markup in labels, texts and names of columns."""
    table = rows().rename(columns={"target": LABEL, "size": "<b>size</b>"})
    table = table.replace({"yes": MARKUP, "red": "</script><script>alert(3)</script>"})
    path = tmp_path_factory.mktemp("report") / "audit.html"
    return audit(table, label=LABEL, **FAST).report(path)


def data_of(path: Path) -> dict:
    return json.loads(path.read_text().partition('id="data">')[2].partition("</script>")[0])


def test_it_holds_the_most_suspicious_first(digits, tmp_path):
    data = data_of(digits.report(tmp_path / "audit.html"))
    ordered = digits.table.sort_values("rank")
    assert data["columns"]["row"] == ordered.index.tolist()
    assert data["columns"]["suspicion"] == ordered["suspicion"].round(3).tolist()
    assert data["examples"] == 1797
    assert len(data["pictures"]) == 300
    assert data["pictures"][0].startswith("data:image/png;base64,")


def test_what_does_not_fit_is_left_out_from_the_least_suspicious_on(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("memhelpers.page.report.LIMIT", 200_000)
    path = digits.report(tmp_path / "audit.html")
    assert path.stat().st_size <= 200_000
    kept = data_of(path)["columns"]["row"]
    assert kept == digits.table.sort_values("rank").index[: len(kept)].tolist()
    assert 20 <= len(kept) < 1797


def test_it_says_how_many_labels_are_wrong_with_the_interval(digits, tmp_path):
    assert data_of(digits.report(tmp_path / "audit.html"))["wrong"] == list(digits.wrong_labels)


def test_rows_are_named_as_the_reader_names_them(tmp_path):
    table = rows().set_index(pd.Index(np.arange(90) + 0.5, name="<i>"))
    data = data_of(audit(table, label="target", **FAST).report(tmp_path / "a.html"))
    assert data["called"] == "<i>"
    first = audit(table, label="target", **FAST).table.sort_values("rank").index[0]
    assert data["columns"]["row"][0] == f"{first}.5"
    assert data["details"][0]["size"] == str(table["size"].iloc[first])


def test_large_images_and_many_examples_fit(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (600, 96, 128, 3), np.uint8)
    path = audit(images, np.arange(600) % 2, networks=10, epochs=1).report(tmp_path / "a.html")
    assert path.stat().st_size <= 5_000_000


def test_markup_in_the_data_stays_text(hostile):
    text = hostile.read_text()
    assert text.count("<script") == text.count("</script>") == 2
    assert MARKUP not in text
    assert set(data_of(hostile)["columns"]["label"]) == {MARKUP, "no"}


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with launched() as running:
        yield running


@pytest.fixture
def page(browser, request) -> Iterator[object]:
    page = browser.new_page(viewport={"width": 400, "height": 800})
    complaints = []
    for event in ("pageerror", "dialog", "console"):
        page.on(event, lambda told: complaints.append(str(told)))
    page.on("request", lambda asked: complaints.append(asked.url))
    page.set_content(request.getfixturevalue("hostile").read_text())
    yield page
    page.close()
    assert [told for told in complaints if not told.startswith("data:")] == []


def cells(page, place: int) -> list[str]:
    return page.locator(f"tbody td:nth-child({place})").all_inner_texts()


def test_markup_is_shown_as_what_it_is(page):
    assert MARKUP in cells(page, 2)
    page.locator("tbody summary").first.click()
    told = page.locator("tbody dl").first.inner_text()
    assert "<b>size</b>" in told
    assert LABEL in told
    assert page.locator("img").count() == 0


def shown(page) -> list[str]:
    return page.locator("thead th:visible").all_inner_texts()


def test_a_phone_shows_the_first_columns_and_on_request_all(page):
    assert shown(page) == ["row", "label", "suggested", "suspicion", "precision"]
    assert page.locator("tbody tr").first.locator("td:visible").count() == 5
    table = page.locator(".table")
    assert table.evaluate("node => node.scrollWidth <= node.clientWidth")
    page.get_by_label("all columns").check()
    assert len(shown(page)) == 11
    table.evaluate("node => node.scrollLeft = 200")
    assert page.locator("tbody td").first.bounding_box()["x"] == table.bounding_box()["x"]
    page.get_by_label("all columns").uncheck()
    page.set_viewport_size({"width": 1280, "height": 800})
    assert len(shown(page)) == 11
    assert not page.get_by_label("all columns").is_visible()


def test_a_file_says_its_lines_and_how_many_labels_look_wrong(browser, tmp_path, monkeypatch):
    table = rows()
    table.loc[:7, "target"] = table.loc[:7, "target"].map({"yes": "no", "no": "yes"})
    table.to_csv(tmp_path / "own.csv", index=False)
    found = audit(tmp_path / "own.csv", label="target", networks=10, **QUIET)
    monkeypatch.setattr(Audit, "enough", lambda own, k: 70)
    path = found.report(tmp_path / "a.html")
    monkeypatch.setattr("memhelpers.page.report.LIMIT", path.stat().st_size - 1)
    lines = data_of(found.report(path))["columns"]["row"]
    assert len(lines) == 67
    page = browser.new_page()
    page.goto(path.as_uri())
    frequent = table["target"].value_counts(normalize=True).max()
    assert page.locator("#how").inner_text() == (
        "10 networks, 90 examples in 2 classes. On examples that they never saw, they are right "
        f"about {100 * found.accuracy:.0f}\u00a0%; the most frequent label would be about "
        f"{100 * frequent:.0f}\u00a0%. "
        "About 70 more networks would make the first 50 stable."
        " The 23 least suspicious examples are left out of this page."
    )
    ranked = found.table.sort_values("rank").head(50)
    assert page.locator("td.differs").count() == (ranked["label"] != ranked["suggested"]).sum() > 0
    one = ranked.iloc[0]
    assert cells(page, 6)[0] == "{p_correct:.2f} [{p_low:.2f}, {p_high:.2f}]".format(**one)
    assert f"{100 * round(one['suspicion'], 3):.1f}%" in page.locator(
        "td.suspicion"
    ).first.evaluate(
        "cell => Number.parseFloat(cell.style.getPropertyValue('--share')).toFixed(1) + '%'"
    )
    wrong, low, high = map(round, found.wrong_labels)
    told = f"About {wrong} of 90 labels look wrong (95\u00a0% interval: {low} to {high}), provided"
    assert page.locator("#found").inner_text().startswith(told)
    page.get_by_role("button", name="line").click()
    assert cells(page, 1) == [str(line) for line in sorted(lines)[:50]]
    page.get_by_text("What the columns mean").click()
    assert page.locator("li:visible").first.inner_text().startswith("line: the row in the file")
    page.close()


def test_a_page_of_labels_that_nothing_explains_says_so_first(browser, tmp_path):
    rng = np.random.default_rng(0)
    with pytest.warns(RuntimeWarning, match="unrelated to the labels"):
        found = audit(rng.normal(size=(200, 3)), rng.integers(0, 2, 200), **FAST)
    page = browser.new_page()
    page.goto(found.report(tmp_path / "a.html").as_uri())
    assert "unrelated to the labels" in page.locator("#found").inner_text()
    page.get_by_label("find a text").fill("nowhere")
    assert page.get_by_role("status").inner_text() == "No example fits."
    page.close()


def test_a_heading_sorts_and_turns_round(page):
    page.get_by_label("all columns").check()
    heading = page.get_by_role("button", name="difficulty")
    heading.click()
    first = [float(text) for text in cells(page, 7)]
    assert first == sorted(first, reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    heading.click()
    turned = [float(text) for text in cells(page, 7)]
    assert turned == sorted(turned)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_filters_leave_what_fits(page):
    page.get_by_label("suggested", exact=True).select_option("no")
    assert set(cells(page, 3)) == {"no"}
    page.get_by_label("suggested", exact=True).select_option("")
    page.get_by_label("label", exact=True).select_option("no")
    assert set(cells(page, 2)) == {"no"}
    page.get_by_label("only where the suggested label differs").check()
    assert set(cells(page, 3)) <= {MARKUP}
    page.get_by_label("find a text").fill("no such text")
    assert page.get_by_role("status").inner_text() == "No example fits."


def test_fifty_at_first_and_more_on_request(page):
    assert len(cells(page, 1)) == 50
    page.get_by_role("button", name="Show 50 more").click()
    assert len(cells(page, 1)) == 90
    assert not page.get_by_role("button", name="Show 50 more").is_visible()
    page.get_by_label("find a text").fill("whole")  # the name of a column
    page.get_by_label("find a text").press("Enter")  # which sends no form
    assert page.get_by_role("status").inner_text() == "50 of 90 examples shown"


def test_the_page_does_not_scroll_sideways_on_a_phone(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_accessibility_checker_finds_nothing_serious(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]
