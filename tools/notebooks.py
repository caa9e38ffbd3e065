"""Read and write the book's notebooks in one normal form: first step of building the book.

The form is stable: a committed notebook changes only where its text, code or results change.
"""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"

BOOTSTRAP = (Path(__file__).parent / "bootstrap_cell.py").read_text().rstrip()
UNSTAMPED = 'os.environ.get("MEMHELPERS_SOURCE") or ""'

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}

# Code that the page folds is folded in Jupyter and in Colab, too.
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}


def paths(book: Path = BOOK) -> list[Path]:
    """List the notebooks: chapters by number, then the others."""
    return sorted(book.glob("*.ipynb"))


def is_chapter(path: Path) -> bool:
    """Tell a chapter (`NN-slug.ipynb`) from another notebook."""
    return path.name[:2].isdigit()


def read(path: Path) -> NotebookNode:
    """Read one notebook as format 4."""
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write one notebook; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """List the code cells from top to bottom."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    """List the tags of a cell; a cell without any gives an empty list."""
    return list(cell.metadata.get("tags", []))


def tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    """List the code cells that carry a tag."""
    return [cell for cell in code_cells(notebook) if tag in tags(cell)]


def normalize(notebook: NotebookNode, stem: str) -> NotebookNode:
    """Give the notebook the book's metadata, plain cell metadata and cell ids by position."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{stem[:40]}-{number:02d}"
        keep = {name: value for name, value in cell.metadata.items() if name in ("tags", "mystnb")}
        if "hide-input" in tags(cell):
            keep |= FOLDED
        cell.metadata = nbformat.from_dict(keep)
    return notebook


def refresh_bootstrap(notebook: NotebookNode) -> NotebookNode:
    """Write the one bootstrap cell over the notebook's, where it has one."""
    for cell in tagged(notebook, "bootstrap"):
        cell.source = BOOTSTRAP
    return notebook


def stamp(notebook: NotebookNode, address: str) -> NotebookNode:
    """Write the repository's address into the bootstrap cell; no address leaves it as it is."""
    for cell in tagged(notebook, "bootstrap") if address else []:
        cell.source = cell.source.replace(UNSTAMPED, f'{UNSTAMPED[:-2]}"git+{address}"')
    return notebook
