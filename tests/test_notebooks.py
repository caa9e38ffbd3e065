"""Every notebook: executed from top to bottom, complete, and honest about its numbers."""

import ast
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from memhelpers import claims
from tests import chapters, minibook, prose
from tools import build, judging, notebooks, scoreboard

PATHS = notebooks.paths()
CHAPTERS = chapters.CHAPTERS
PAGES = [*PATHS, *sorted(notebooks.BOOK.glob("*.md"))]
ALLOWED = yaml.safe_load((Path(__file__).parent / "paper_numbers.yml").read_text())

ANATOMY = [
    "The idea",
    "Predict first",
    "The experiment",
    "Claims",
    "What did not reproduce",
    "Exercises",
    "Summary",
]
KNOWN_TAGS = {
    "bootstrap",
    "parameters",
    "run",
    "hide-input",
    "hide-cell",
    "remove-cell",
    "remove-input",
    "nbval-check-output",
    "nbval-ignore-output",
}
CLAIM_ID = re.compile(r"[A-Z]\d+\.\d+[a-z]?")
HOME = re.compile(r"/(home|Users|root|tmp|work)/\w|site-packages")

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def headings(path: Path) -> list[str]:
    """The chapter's headings below its title, in order."""
    cells = notebooks.read(path).cells
    lines = [line for c in cells if c.cell_type == "markdown" for line in c.source.splitlines()]
    return [line.lstrip("# ") for line in lines if re.match(r"##+ ", line)]


def displays(cell: notebooks.NotebookNode) -> bool:
    """Whether a cell ends in an expression whose value Jupyter shows.

    It shows none before a semicolon, and `run` cells show nothing.
    """
    body, silent = ast.parse(cell.source).body, cell.source.endswith(";")
    expression = bool(body) and isinstance(body[-1], ast.Expr)
    return expression and not silent and "run" not in notebooks.tags(cell)


@every_notebook
def test_was_executed_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in notebooks.code_cells(notebooks.read(path))]
    assert counts == list(range(1, len(counts) + 1)), "run: make outputs"


@every_notebook
def test_is_stored_in_the_normal_form(path):
    stored = notebooks.read(path)
    normal = notebooks.refresh_bootstrap(notebooks.normalize(deepcopy(stored), path.stem))
    assert stored == normal, "run: make outputs"


@every_notebook
def test_stores_no_error_no_warning_and_no_path_of_a_machine(path):
    for cell in notebooks.code_cells(notebooks.read(path)):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output
            text = [
                output.get("text", ""),
                *(v for k, v in output.get("data", {}).items() if "text" in k),
            ]
            assert not HOME.search(str(text)), cell.source


@every_notebook
def test_shows_what_its_cells_display(path):
    for cell in notebooks.code_cells(notebooks.read(path)):
        if displays(cell):
            assert cell.outputs, f"no output: {cell.source}"


@every_notebook
def test_is_smaller_than_500_kb(path):
    assert path.stat().st_size < 500_000


@every_notebook
def test_has_short_cells(path):
    for cell in notebooks.code_cells(notebooks.read(path)):
        tags, lines = notebooks.tags(cell), len(cell.source.splitlines())
        experiment = "run" in tags and "parameters" not in tags
        if "hide-input" not in tags:
            assert lines <= (20 if experiment else 30), cell.source
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 50, node.name


@every_chapter
def test_the_statistics_and_the_judging_are_visible_and_short(path):
    """A reader sees what decides a claim; what the first figure needs as well stands with it."""
    cells = notebooks.code_cells(notebooks.read(path))
    (judging,) = [cell for cell in cells if "def verdicts(" in cell.source]
    before = cells[: cells.index(judging) + 1]
    functions = {
        node.name: (node, cell)
        for cell in before
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef)
    }
    needed, met = ["verdicts"], set()
    while needed:
        name = needed.pop()
        node, cell = functions[name]
        met.add(name)
        told = (ast.get_docstring(node) or "").splitlines()
        lines = node.end_lineno - node.lineno - len(told)
        assert lines <= 8 or name == "verdicts", f"{name}: {lines} lines"
        assert "hide-input" not in notebooks.tags(cell) or cell is cells[1], f"{name} is folded"
        names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        needed += (names & set(functions)) - met
    assert "hide-input" not in notebooks.tags(judging)


@every_notebook
def test_begins_with_the_one_bootstrap_cell(path):
    notebook = notebooks.read(path)
    (cell,) = notebooks.tagged(notebook, "bootstrap")
    assert cell is notebooks.code_cells(notebook)[0]
    assert cell.source == notebooks.BOOTSTRAP, "run: make outputs"
    assert not cell.outputs


@every_notebook
def test_formulas_have_kept_their_backslashes(path):
    """Where a program wrote the text, "\\t" of "\\top" may have become a tab."""
    for cell in notebooks.read(path).cells:
        assert not re.search(r"[\x00-\x09\x0b-\x1f]", cell.source), cell.source
        if cell.cell_type == "markdown":
            assert not re.search(r"\\\\[a-zA-Z]", cell.source), cell.source


@every_notebook
def test_has_known_tags_only(path):
    used = {tag for cell in notebooks.read(path).cells for tag in notebooks.tags(cell)}
    assert used <= KNOWN_TAGS


@every_chapter
def test_a_chapter_has_one_parameters_cell_of_plain_assignments(path):
    names = chapters.parameters(path)
    (cell,) = notebooks.tagged(notebooks.read(path), "parameters")
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign), ast.unparse(statement)
        read = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)} & names
        late = read - judging.assigned(statement) - {"pick"}
        assert not late, f"a changed parameter would not reach: {ast.unparse(statement)}"


@every_chapter
def test_a_chapter_has_at_most_22_lines_of_boilerplate_outside_folded_cells(path):
    lines = boilerplate(notebooks.read(path))
    assert len(lines) <= 22, "\n".join([f"{len(lines)} lines:", *lines])


def boilerplate(notebook: notebooks.NotebookNode) -> list[str]:
    """The lines that a chapter needs around its experiment, without blank ones and comments.

    Counted are all lines of the bootstrap cell, of each import wherever it stands, and of each
    statement outside of functions that is, or assigns, something that begins with `lab` or with
    what came from it: by an import (`from memhelpers.lab import Chapter`) or by an assignment
    (`chapter = lab.Chapter(...)`, `chapter.record(...)`, `shown = chapter.show`). The parameters
    cell is the experiment's and not counted, nor are the call that runs it (`.sweep(...)`) and a
    chapter's figures, sentences and live controls (`.show`, `.say`, `.explore`), which it tells.
    Folded cells are not counted either: a reader of the experiment does not meet them.
    """
    house, lines = {"lab"}, []
    visible = [c for c in notebooks.code_cells(notebook) if "hide-input" not in notebooks.tags(c)]
    for cell in visible:
        source, tree = cell.source.splitlines(), ast.parse(cell.source)
        counted = set(range(len(source))) if "bootstrap" in notebooks.tags(cell) else set()
        for node in [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]:
            counted |= set(range(node.lineno - 1, node.end_lineno))
            if getattr(node, "module", "") == "memhelpers.lab":
                house |= {alias.asname or alias.name for alias in node.names}
        for node in [] if "parameters" in notebooks.tags(cell) else outside_functions(tree.body):
            begins, *attributes = chain(getattr(node, "value", None))
            if begins in house and not {"sweep", "show", "say", "explore"} & set(attributes):
                house |= judging.assigned(node)
                counted |= set(range(node.lineno - 1, node.end_lineno))
        lines += [source[i] for i in sorted(counted) if re.match(r"\s*[^\s#]", source[i])]
    return lines


def outside_functions(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, and those in their blocks, but none of a function or class."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node
            for part in ("body", "orelse", "finalbody"):
                yield from outside_functions(getattr(node, part, []))


def chain(value: ast.expr | None) -> list[str]:
    """The names of an expression such as `lab.Chapter("04").judge(x)`: lab, Chapter, judge."""
    attributes: list[str] = []
    while isinstance(value, ast.Attribute | ast.Call):
        attributes += [value.attr] if isinstance(value, ast.Attribute) else []
        value = value.value if isinstance(value, ast.Attribute) else value.func
    return [getattr(value, "id", ""), *reversed(attributes)]


def test_boilerplate_is_counted_line_by_line():
    sources = {
        "import os\n\nif os.sep:\n    pass  # bootstrap": ["bootstrap"],  # 3
        "# imports\nimport numpy as np\nfrom memhelpers import lab": [],  # 2
        "chapter = lab.Chapter(\n    '04',\n)": [],  # 3
        "pick = chapter.pick\nx = pick(\n    quick=1)": ["parameters"],  # 0
        "def draw():\n    import math\n    lab.cost('a')\n    return math": [],  # 1
        "for run in [1]:\n    chapter.record(run)\n    y = draw()": [],  # 1
        "other = chapter.show\nother('a')\nchapter.say('b')": [],  # 0
        "w = draw(chapter.device)\nlab.explore(w)": [],  # 0
        "import math\nchapter.first_screen(draw)": ["hide-input"],  # 0
    }
    cells = [("code", tags, source) for source, tags in sources.items()]
    assert len(boilerplate(minibook.notebook(cells))) == 10


@every_chapter
def test_a_chapter_opens_with_its_number_title_finding_and_figure_then_asks_its_question(path):
    title, bootstrap, screen, question = notebooks.read(path).cells[:4]
    number = int(path.name[:2])
    assert re.match(rf'# <span class="mem-number">{number}</span> \S.*$', title.source)
    assert "remove-cell" in notebooks.tags(bootstrap)
    assert "hide-input" in notebooks.tags(screen)
    (shown,) = [output["data"]["text/html"] for output in screen.outputs]
    parts = ['class="mem-finding"', 'class="mem-spec"', 'class="mem-pill', 'class="mem-cost"']
    places = [shown.find(part) for part in parts]
    assert -1 < places[0] < places[1] < places[2] < places[3]
    assert question.source.startswith("## The question\n")
    assert "{cite" in question.source


@every_chapter
def test_a_chapter_has_the_full_anatomy_in_order(path):
    found = [h for h in headings(path) if h in ANATOMY]
    assert found == ANATOMY


@every_chapter
def test_a_chapter_has_three_exercises_with_collapsed_solutions(path):
    cells = notebooks.read(path).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    exercises = re.split(r"^## ", text.partition("\n## Exercises")[2], flags=re.MULTILINE)[0]
    assert exercises.count("<details>") == exercises.count("</details>") >= 3
    assert exercises.count("<summary>") == exercises.count("<details>")


@every_chapter
def test_a_chapter_shows_exactly_the_claims_declared_for_it(path):
    notebook, declared = notebooks.read(path), claims.load()
    tables = [output[claims.MIME] for output in scoreboard.tables(notebook)]
    rows = [row for table in tables for row in table["rows"] if not row["recorded"]]
    assert sorted(row["id"] for row in rows) == sorted(
        claim.id for claim in declared.values() if claim.chapter == path.name[:2]
    )
    named = {
        node.value
        for cell in notebooks.code_cells(notebook)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {name for name in named if CLAIM_ID.fullmatch(name)} <= set(declared)


@every_chapter
def test_a_chapter_compares_its_verdicts_when_it_is_executed_again(path):
    compared = notebooks.tagged(notebooks.read(path), "nbval-check-output")
    assert any("lines()" in cell.source for cell in compared)


def test_every_claim_belongs_to_a_chapter_that_exists():
    written = {path.name[:2] for path in CHAPTERS}
    assert {claim.chapter for claim in claims.load().values()} <= written


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_text_is_left_to_be_written(path):
    assert not re.search(r"^[A-Z ]{4,}$|PLACEHOLDER", prose.text(path), re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_number_of_a_run_is_typed_into_the_prose(path):
    allowed = {entry["number"] for entry in ALLOWED.get(path.stem, [])}
    found = prose.numbers(prose.text(path))
    assert sorted(found - allowed) == [], (
        "take it from a record, or give a reason in paper_numbers.yml"
    )


def test_every_typed_number_has_a_reason_and_is_still_there():
    pages = {path.stem: path for path in PAGES}
    for page, entries in ALLOWED.items():
        assert all(entry["reason"].strip() for entry in entries)
        typed = {entry["number"] for entry in entries}
        assert typed <= prose.numbers(prose.text(pages[page])), page


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("accuracy is 0.93 or 93 %", {"0.93", "93 %"}),
        ("a Gini of .51, 1e-3", {".51", "1e-3"}),
        ("it rises by 3.5% and more.", {"3.5 %"}),
        ("`lr = 0.1` and $\\eta = 0.1$ and $$x = 0.1$$", set()),
        ("## 4.1 Heading\nas in Sec. 3.1, Fig. 1.2 and claim C3.1a", set()),
        ("[a page](https://example.org/1.5) arXiv 1706.05394", set()),
        ("```python\nlr = 0.1\n```", set()),
        (":::{note}\nGini 0.5\n:::", {"0.5"}),
        ("1,797 digits of 8x8, 10 seeds, chapter 01.", set()),
    ],
)
def test_typed_numbers_are_found_in_prose_and_not_in_code(text, found):
    assert prose.numbers(text) == found


def test_the_figure_of_the_readme_is_that_of_its_chapter():
    assert build.README_FIGURE.read_bytes() == build.readme_figure(), "run: make outputs"
    shown = build.README_FIGURE.relative_to(notebooks.ROOT).as_posix()
    assert f"]({shown})" in (notebooks.ROOT / "README.md").read_text()
