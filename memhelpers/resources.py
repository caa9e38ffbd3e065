"""Where the book's own files lie: the declared claims and the recorded runs.

In a checkout they lie in `book/` and `data/`, where readers look for them; a wheel carries copies
inside the package, so that a chapter opened alone (in Colab) still finds them.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def repository_root() -> Path | None:
    """The checkout that this package is imported from.

    Returns:
        The folder that holds `pyproject.toml` and `book/`, or None in an installed wheel.
    """
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "book").is_dir() else None


def book_file(name: str) -> Path:
    """The path of a file of the book, whether or not it exists.

    Args:
        name: its name in `book/`. A wheel carries `claims.yml` only.

    Returns:
        `<checkout>/book/<name>`, or the copy inside the installed package.
    """
    root = repository_root()
    return (root / "book" if root else _PACKAGE / "_book") / name


def data_folder() -> Path:
    """The folder of the recorded runs, `<chapter>/<name>` below it.

    Returns:
        `<checkout>/data`, or the read-only copy inside the installed package.
    """
    root = repository_root()
    return root / "data" if root else _PACKAGE / "_data"
