"""The build: what is executed again and what is not, what a failure says, what gets published."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from jupyter_book.config import get_final_config

from tests import minibook
from tools import execute, notebooks, stage, stamp

ADDRESS = "https://github.com/some-one/a.book"


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> execute.Executor:
    """An executor whose notebooks are not run: each run is noted and puts out its number."""
    book = tmp_path / "book"
    book.mkdir()
    (tmp_path / "memhelpers").mkdir()
    (tmp_path / "memhelpers" / "stats.py").write_text("one = 1\n")
    (book / "claims.yml").write_text(minibook.CLAIM)
    for chapter in ("01-first", "02-second"):
        record = tmp_path / "data" / chapter / "paper" / "accuracy.csv"
        record.parent.mkdir(parents=True)
        record.write_text("seed,accuracy\n0,1\n")
    notebooks.write(minibook.notebook(minibook.CHAPTER), book / "01-first.ipynb")
    monkeypatch.delenv("MEMHELPERS_PRESET", raising=False)
    runs: list[str] = []

    def run(notebook, folder, *, title, root, bar):
        runs.append(title)
        output = {"output_type": "stream", "name": "stdout", "text": f"run {len(runs)}"}
        for cell in notebooks.code_cells(notebook):
            cell.outputs = [output]
        return notebook

    monkeypatch.setattr(execute, "run", run)
    made = execute.Executor(tmp_path, tmp_path / "cache", log=lambda line: None, bars=False)
    made.runs = runs
    return made


def outputs(executor: execute.Executor) -> notebooks.NotebookNode:
    return executor.outputs(executor.root / "book" / "01-first.ipynb", executor.root)


def edit_cell(executor: execute.Executor, index: int, text: str) -> None:
    path = executor.root / "book" / "01-first.ipynb"
    notebook = notebooks.read(path)
    notebook.cells[index].source += text
    notebooks.write(notebook, path)


def test_an_unchanged_notebook_is_executed_once(executor):
    first, second = outputs(executor), outputs(executor)
    assert executor.runs == ["01-first"]
    assert first == second
    assert [cell.execution_count for cell in notebooks.code_cells(first)] == [1, 2, 3]


def test_an_edited_sentence_appears_without_a_new_run(executor):
    outputs(executor)
    edit_cell(executor, 0, "\n\nAnother sentence.")
    assert "Another sentence." in outputs(executor).cells[0].source
    assert executor.runs == ["01-first"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("memhelpers/stats.py", "two = 2\n"),
        ("memhelpers/new.py", "three = 3\n"),
        ("book/claims.yml", "# stricter\n"),
        ("data/01-first/paper/accuracy.csv", "1,1\n"),
        ("data/01-first/paper/provenance.json", "{}"),
    ],
)
def test_a_changed_helper_claim_or_record_executes_the_notebook_again(executor, file, text):
    outputs(executor)
    with (executor.root / file).open("a") as changed:
        changed.write(text)
    assert "run 2" in str(outputs(executor))


def test_a_changed_cell_executes_the_notebook_again(executor):
    outputs(executor)
    edit_cell(executor, 2, "\nmore = 1")
    outputs(executor)
    assert len(executor.runs) == 2


def test_another_preset_executes_the_notebook_again(executor, monkeypatch):
    outputs(executor)
    monkeypatch.setenv("MEMHELPERS_PRESET", "colab")
    outputs(executor)
    assert len(executor.runs) == 2


def test_other_versions_execute_the_notebook_again(executor, monkeypatch):
    outputs(executor)
    monkeypatch.setattr(execute, "settings", lambda: {"torch": "another"})
    outputs(executor)
    assert len(executor.runs) == 2


def test_a_record_of_another_chapter_does_not_count(executor):
    outputs(executor)
    (executor.root / "data/02-second/paper/accuracy.csv").write_text("changed")
    outputs(executor)
    assert len(executor.runs) == 1


def test_a_record_of_another_chapter_counts_where_the_code_names_it(executor):
    edit_cell(executor, 2, '\nother = "02-second"')
    outputs(executor)
    (executor.root / "data/02-second/paper/accuracy.csv").write_text("changed")
    outputs(executor)
    assert len(executor.runs) == 2


def test_a_garbled_cache_means_a_new_run(executor):
    outputs(executor)
    (executor.cache / "01-first.json").write_text('{"key": "')
    assert "run 2" in str(outputs(executor))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small book, built once, whose address is unset."""
    root = minibook.make(tmp_path_factory.mktemp("book"))
    subprocess.run(["git", "init", "--quiet", root], check=True)
    (root / ".gitignore").write_text("_build/\n__pycache__/\n")
    subprocess.run(["git", "-C", root, "add", "--all"], check=True)
    status, said = minibook.run(root, "tools.build")
    assert status == 0, said
    assert "C9.1" in said
    assert "supported, 3.25" in said
    assert "Open _build/html/index.html" in said
    return root


def tree(root: Path) -> str:
    command = ["git", "-C", root, "status", "--porcelain", "--untracked-files=all"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return "\n".join(line for line in lines if not line.startswith("A  "))


def test_a_build_leaves_the_sources_as_they_are(book):
    assert tree(book) == ""


def test_a_second_build_executes_and_renders_nothing(book):
    status, said = minibook.run(book, "tools.build")
    assert status == 0, said
    assert "executing" not in said
    assert "rendering" not in said


def test_the_claims_are_on_their_page_and_as_data_at_the_root_of_the_site(book):
    page = (book / "_build/html/book/scoreboard.html").read_text()
    assert '<a href="01-first.html">First</a>' in page
    (claim,) = json.loads((book / "_build/html/claims.json").read_text())["claims"]
    assert (claim["id"], claim["threshold"], claim["seeds"]) == ("C9.1", 1.0, 5)
    (verdict,) = claim["verdicts"]
    assert (verdict["run"], verdict["verdict"], verdict["n"]) == ("quick", "supported", 6)
    assert 3 < verdict["low"] < verdict["estimate"] < verdict["high"] < 3.5
    assert verdict["estimate"] == pytest.approx(3.25)


def test_no_button_is_shown_while_the_address_is_unset(book):
    page = (book / "_build/html/book/01-first.html").read_text()
    assert "colab.research" not in page
    assert "source-repository-button" not in page


def test_a_failing_cell_is_named_and_keeps_nothing_and_the_others_still_run(book):
    notebook = minibook.notebook(
        [("code", ["bootstrap"], notebooks.BOOTSTRAP), ("code", [], "ok = 1\n1 / 0")]
    )
    path = book / "book" / "00-broken.ipynb"
    notebooks.write(notebook, path)
    minibook.edit(book, "book/01-first.ipynb", "scale = 3.0", "scale = 4.0")
    status, said = minibook.run(book, "tools.build")
    path.unlink()
    assert status == 1
    assert "FAILED 00-broken, code cell 2 ('ok = 1'): ZeroDivisionError: division by zero" in said
    assert "01-first: done" in said
    assert "1 of 2 notebooks failed; nothing rendered" in said
    assert not (book / "_build/executed/00-broken.json").exists()
    minibook.edit(book, "book/01-first.ipynb", "scale = 4.0", "scale = 3.0")


def test_a_page_with_a_warning_fails_the_build_and_says_why(book):
    minibook.edit(book, "book/intro.md", "Words.", "Words and a [link](nowhere.md).")
    status, said = minibook.run(book, "tools.build")
    minibook.edit(book, "book/intro.md", "Words and a [link](nowhere.md).", "Words.")
    assert status == 1
    assert "nowhere.md" in said


def test_a_stamped_book_opens_in_colab_what_is_published(book, tmp_path):
    status, said = minibook.run(book, "tools.stamp", ADDRESS)
    assert status == 0, said
    status, said = minibook.run(book, "tools.build", GITHUB_SHA="c0ffee")
    minibook.edit(book, "_config.yml", f'url: "{ADDRESS}"', 'url: ""')
    assert status == 0, said
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    publish = ["bash", notebooks.ROOT / "tools" / "publish.sh", remote, book / "_build/html"]
    subprocess.run(publish, check=True, capture_output=True)

    page = (book / "_build/html/book/01-first.html").read_text()
    place = "_sources/book/01-first.ipynb"
    colab = ADDRESS.replace("https://github.com", "https://colab.research.google.com/github")
    assert f'href="{colab}/blob/gh-pages/{place}"' in page
    assert colab not in (book / "_build/html/book/scoreboard.html").read_text()
    command = ["git", "--git-dir", remote, "show", f"gh-pages:{place}"]
    published = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first = notebooks.code_cells(notebooks.nbformat.reads(published, as_version=4))[0]
    assert f' or "git+{ADDRESS}@c0ffee"' in first.source
    listed = ["git", "--git-dir", remote, "ls-tree", "--name-only", "gh-pages"]
    assert ".nojekyll" in subprocess.run(listed, capture_output=True, text=True).stdout


def test_outputs_are_written_back_in_the_normal_form_and_rendered_without_a_run(book):
    status, said = minibook.run(book, "tools.build", "--outputs")
    assert status == 0, said
    path = book / "book/01-first.ipynb"
    written = notebooks.read(path)
    assert written == notebooks.normalize(notebooks.read(path), path.stem)
    cells = notebooks.code_cells(written)
    assert [cell.execution_count for cell in cells] == [1, 2, 3]
    assert "mystnb" not in str(written)
    assert cells[2].outputs[0].execution_count == 3

    minibook.edit(book, "book/01-first.ipynb", "quick", "changed")
    status, said = minibook.run(book, "tools.build", "--stored")
    assert status == 1
    assert "FAILED scoreboard: verdicts.json differs from the chapters" in said
    minibook.edit(book, "data/verdicts.json", "quick", "changed")
    status, said = minibook.run(book, "tools.build", "--stored")
    for name in ("book/01-first.ipynb", "data/verdicts.json"):
        minibook.edit(book, name, "changed", "quick")
    assert status == 0, said
    assert "executing" not in said
    stored = book / "_build/stored/_build/html"
    assert "changed" in (stored / "book/01-first.html").read_text()
    assert "changed" in (stored / "book/scoreboard.html").read_text()
    assert "changed" in (stored / "claims.json").read_text()

    minibook.edit(book, "book/01-first.ipynb", '"low": 3', '"low": 2')
    status, said = minibook.run(book, "tools.build", "--stored")
    minibook.edit(book, "book/01-first.ipynb", '"low": 2', '"low": 3')
    assert status == 1
    assert "FAILED scoreboard: 01-first.ipynb: the cards of its claims are not what" in said


def test_the_books_own_configuration_shows_buttons_only_with_an_address(tmp_path):
    config = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text())
    assert stage.address(config) == "" or stamp.cleaned(stage.address(config))
    config["repository"]["url"] = ADDRESS
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(stage.configuration(config)))
    made, _ = get_final_config(
        user_yaml=tmp_path / "_config.yml", cli_config={"latex_individualpages": False}
    )
    theme = made["html_theme_options"]
    assert theme["launch_buttons"]["colab_url"] == stage.COLAB
    assert theme["repository_url"] == ADDRESS
    assert theme["repository_branch"] == "gh-pages"
    assert theme["path_to_docs"] == "_sources"
    assert theme["use_repository_button"] is True
    assert made["html_baseurl"] == "https://some-one.github.io/a.book/"
    assert stage.site({}) == ""


def test_the_address_is_stamped_into_one_line_of_the_configuration():
    before = (notebooks.ROOT / "_config.yml").read_text()
    after = stamp.stamped(before, ADDRESS + ".git")
    changed = set(after.splitlines()) - set(before.splitlines())
    assert len(changed) == 1
    assert yaml.safe_load(after)["repository"]["url"] == ADDRESS
    assert stamp.stamped(after, ADDRESS) == after


@pytest.mark.parametrize(
    "address", ["", "some-one/a.book", "http://github.com/a/b", "https://github.com/a", "x\ny: 1"]
)
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(ValueError, match=r"allowed: https://github\.com/OWNER/NAME"):
        stamp.stamped((notebooks.ROOT / "_config.yml").read_text(), address)
