"""The book's own pages against what they are about."""

import re
from pathlib import Path

import pytest
from browser import page_names

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
