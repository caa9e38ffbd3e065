"""The house: words on top, folders below; imports run downward and never in a circle.

Everything here is derived from the files and their imports: no list names a module.
"""

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tools import notebooks

ROOT = notebooks.ROOT
PACKAGE = ROOT / "memhelpers"
GROUND = {"memhelpers.errors", "memhelpers.seeding"}
# What draws, reads YAML or computes statistics: a machine that only trains need not have it.
NOT_FOR_TRAINING = ("yaml", "scipy", "altair", "IPython", "ipywidgets", "tqdm", "sklearn")


def dotted(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
FOLDERS = {name for name, path in MODULES.items() if path.name == "__init__.py"} - {"memhelpers"}
WORDS = {name for name in MODULES if name.count(".") == 1} - FOLDERS
# What a page says as code; the reference, which lists every module, does not count.
CODE = re.compile(r"^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
each_module = pytest.mark.parametrize("module", sorted(MODULES))


def imported(tree: ast.AST) -> set[str]:
    """The modules of this package that code imports, inside functions, too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` imports the module; `from module import name`, itself.
            found |= (inside & set(MODULES)) or {node.module}
    return found & set(MODULES)


IMPORTS = {name: imported(tree) - {name} for name, tree in TREES.items()}


def folder(module: str) -> str:
    """The folder that a module lies in; for a module at the top, itself."""
    return ".".join(module.split(".")[:2])


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle in a graph, from a name back to itself; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_modules_import_each_other_in_no_circle():
    assert not circle(IMPORTS)


def test_folders_import_each_other_in_no_circle():
    graph: dict[str, set[str]] = {name: set() for name in FOLDERS}
    for module, others in IMPORTS.items():
        if folder(module) in FOLDERS:
            graph[folder(module)] |= {folder(other) for other in others} & FOLDERS
        graph.get(folder(module), set()).discard(folder(module))
    assert not circle(graph)


@each_module
def test_what_lies_in_a_folder_imports_no_word_but_the_ground(module):
    if folder(module) in FOLDERS:
        assert IMPORTS[module] & WORDS <= GROUND


@each_module
def test_the_ground_imports_nothing_above_it(module):
    if module in GROUND:
        assert IMPORTS[module] <= GROUND


def test_each_word_at_the_top_is_said_by_a_chapter_or_a_page():
    said = set(GROUND)
    for path in notebooks.paths():
        for cell in notebooks.code_cells(notebooks.read(path)):
            said |= imported(ast.parse(cell.source))
    for path in (ROOT / "book").glob("*.md"):
        for block in CODE.findall(path.read_text(encoding="utf-8")):
            said |= imported(ast.parse(textwrap.dedent(block)))
    assert sorted(WORDS - said) == []


@each_module
def test_no_collection_names_modules_by_string(module):
    names = {name.removeprefix("memhelpers.") for name in MODULES} | set(MODULES)
    names |= {name.rpartition(".")[2] for name in MODULES}
    for node in ast.walk(TREES[module]):
        elements = list(getattr(node, "elts", [])) + list(getattr(node, "keys", []))
        texts = {e.value for e in elements if isinstance(e, ast.Constant)}
        listed = {text for text in texts if isinstance(text, str)} & names
        assert len(listed) < 2, f"line {node.lineno}: {sorted(listed)}"


BLOCKED = """
import importlib, json, sys
blocked, modules = map(json.loads, sys.argv[1:])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
failed = {}
for name in modules:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed[name] = str(error)
print(json.dumps(failed))
"""


def trains() -> set[str]:
    """What a fit and a sweep import, directly or not: all that a machine needs that only trains."""
    waiting, found = ["memhelpers.training", "memhelpers.sweep", "memhelpers.sensitivity"], set()
    waiting += ["memhelpers.corrupt", "memhelpers.networks"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += IMPORTS[name]
    return found


def test_what_trains_imports_neither_what_draws_nor_what_computes_statistics():
    command = [sys.executable, "-c", BLOCKED, json.dumps(NOT_FOR_TRAINING)]
    done = subprocess.run(
        [*command, json.dumps(sorted(trains()))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
