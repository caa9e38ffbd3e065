"""The book's own pages against what they are about."""

import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from browser import page_names
from docutils import nodes
from PIL import Image

from memhelpers import charts
from tests import minibook
from tools import notebooks, page, stage

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(p.stem for p in (ROOT / "memhelpers").glob("*.py") if p.stem != "__init__")


@pytest.mark.parametrize("module", MODULES)
def test_the_api_page_documents_every_module(module):
    text = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    assert f".. automodule:: memhelpers.{module}\n" in text
    assert f"(api-{module})=" in text
    assert f"[{module}](#api-{module})" in text


def test_the_api_page_documents_what_is_there_and_only_once():
    text = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"automodule:: ([\w.]+)", text)
    assert len(set(named)) == len(named)
    assert [name for name in named if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


def test_every_page_is_in_the_table_of_contents():
    pages = {p.stem for pattern in ("*.md", "*.ipynb") for p in (ROOT / "book").glob(pattern)}
    assert pages <= {Path(name).name for name in page_names()}


def test_each_term_is_linked_once_where_it_is_a_word_of_its_own():
    anchors = {"loss": "g#loss", "loss sensitivity": "g#ls", "SGD": "g#sgd", "epoch": "g#epoch"}
    text = "Glossy loss sensitivity\nof SGD by epochs. Loss, and a loss in an epoch."
    made = list(page.linked(text, anchors))
    assert "".join(node.astext() for node in made) == text
    links = [(n.astext(), n["refuri"]) for n in made if isinstance(n, nodes.reference)]
    assert links[:2] == [("loss sensitivity", "g#ls"), ("SGD", "g#sgd")]
    assert links[2:] == [("epochs", "g#epoch"), ("Loss", "g#loss")]
    assert not anchors
    assert [n.astext() for n in page.linked("the sgd", {"SGD": "g#sgd"})] == ["the sgd"]
    assert [n.astext() for n in page.linked("claim L1.2", {"L1": "g#l1"})] == ["claim L1.2"]
    assert len(list(page.linked("by L1.", {"L1": "g#l1"}))) == 3


def test_names_of_one_entry_are_linked_once():
    anchors = {"ensemble": "g#e", "member": "g#e"}
    links = [n for n in page.linked("A member of an ensemble.", anchors) if n.children]
    assert [n.astext() for n in links] == ["member"]


@pytest.mark.parametrize("kind", [nodes.title, nodes.literal, nodes.reference, nodes.math])
def test_headings_code_links_and_formulas_are_no_prose(kind):
    text = nodes.Text("loss")
    nodes.section("", kind("", "", text))
    assert not page.is_prose(text)
    nodes.section("", nodes.paragraph("", "", word := nodes.Text("loss")))
    assert page.is_prose(word)
    nodes.container("", nodes.paragraph("", "", put := nodes.Text("loss")), classes=["cell"])
    assert not page.is_prose(put)


def head(name: str, body: str, site: str = "") -> dict[str, str]:
    app = SimpleNamespace(config=SimpleNamespace(html_baseurl=site, html_title="The book"))
    context = {"body": body, "title": "4 Loss", "pathto": lambda path, _: f"../{path}"}
    made = page.head(app, name, context)
    base = re.findall(r'<base (href)="(.*?)">', made)
    return dict(base + re.findall(r'(?:name|property)="(\S+)" content="(.*?)"', made))


def test_a_chapter_is_described_by_its_finding_and_another_page_by_the_book():
    body = '<p class="mem-finding">Some <em>images</em>\ncount.</p>'
    made = head("book/04-loss", body, "https://a.github.io/b/")
    assert made["description"] == made["og:description"] == "Some images count."
    assert made["og:title"] == "4 Loss"
    assert made["og:image"] == "https://a.github.io/b/_static/card.png"
    made = head("book/choices", "<p>Words.</p>")
    assert made["description"] == page.DESCRIPTION
    assert made["og:image"] == "../_static/card.png"


def test_a_page_of_the_book_leaves_out_what_draws_a_figure_without_it():
    chart = charts.alt.Chart(pd.DataFrame({"x": [1]})).mark_point().encode(x="x:Q")
    drawn = charts.Figure(chart, alt="One point.", caption="One.").html(still=False)
    body = f"<script>kept()</script>{drawn}{drawn}<script>kept()</script>"
    context = {"body": body, "pathto": lambda path, _: path, "title": "", "script_files": []}
    app = SimpleNamespace(config=SimpleNamespace(html_baseurl="", html_title=""))
    page.dress(app, "book/choices", "", context, None)
    assert "cdn" in body
    assert "cdn" not in context["body"]
    assert len(context["body"]) < len(body) - 2 * 2000
    assert context["body"].count('class="mem-spec"') == 2
    assert context["body"].count("kept()") == 2


def test_a_style_that_stands_on_a_page_twice_is_kept_once():
    style = "<style>p { margin: 0 }</style>"
    other = "<style>p { margin: 1px }</style>"
    assert page.lean(f"{style}a{style}b{other}c") == f"{style}ab{other}c"


def test_of_the_themes_styles_those_stay_that_a_page_can_use():
    sheet = """/* .used */ body, .lost { margin: 0 } .lost > a { color: red }
    @media (min-width: 9px) { .used:not(.lost) { top: 0 } .lost { top: 1px } }
    @font-face { font-family: "A" } :is(.lost, p) { left: 0 } #lost.used { left: 1px }"""
    found = re.sub(r"\s+", " ", page.pruned(sheet, {"used"})).strip()
    assert found == (
        "body{ margin: 0 } @media (min-width: 9px) { .used:not(.lost) { top: 0 } } "
        '@font-face { font-family: "A" } :is(.lost, p) { left: 0 }'
    )


def test_the_links_of_a_missing_page_begin_at_the_root_of_the_site():
    assert head("404", "")["href"] == "/"
    assert head("404", "", "https://a.github.io/b/")["href"] == "https://a.github.io/b/"
    assert "href" not in head("book/choices", "")


def test_the_card_has_the_size_that_is_asked_for():
    path = ROOT / "book" / page.CARD
    assert Image.open(path).size == (1200, 630)
    assert path.stat().st_size <= 200_000


def test_a_number_before_a_title_is_set_apart_in_the_navigation():
    made = page.NUMBERED.sub(r"\1[\2] ", '<a href="4.html">4 Loss</a><a href="t.html">Terms 2 </a>')
    assert made == '<a href="4.html">[4] Loss</a><a href="t.html">Terms 2 </a>'


def test_folded_code_that_shows_nothing_joins_the_folded_code_that_does():
    plain, folded = ("code", [], "a"), ("code", ["hide-input"], "b")
    notebook = minibook.notebook([plain, folded, folded, folded, plain, folded, plain])
    stream = {"output_type": "stream", "name": "stdout", "text": "shown"}
    notebook.cells[3].outputs = [stream]
    made = stage.notebook(notebook, "").cells
    assert [cell.source.split() for cell in made] == [["a"], ["b"] * 3, ["a"], ["b"], ["a"]]
    assert made[1].outputs == [stream]


def test_code_that_the_page_folds_is_folded_in_jupyter_and_colab_and_named_by_what_it_made():
    cells = [("code", ["hide-input"], "1"), ("code", ["hide-input"], "2"), ("code", [], "3")]
    notebook = notebooks.normalize(minibook.notebook(cells), "01-first")
    folded = [cell.metadata.get("cellView") for cell in notebook.cells]
    assert folded == ["form", "form", None]
    assert notebook.cells[0].metadata.jupyter.source_hidden is True
    figure = {"output_type": "display_data", "data": {"text/html": "<figure>"}, "metadata": {}}
    notebook.cells[0].outputs = [figure]
    staged = stage.notebook(notebook, "").cells
    names = [cell.metadata.get("mystnb", {}).get("code_prompt_show") for cell in staged]
    assert names == ["Code of this figure", "Code of this text", None]
