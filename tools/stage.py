"""Lay out the sources that jupyter-book renders: the build's first and third step.

The rendered sources are a copy, so that executed and stamped notebooks never lie in the checkout.
Where the book knows its repository's address (one place: `repository.url` in `_config.yml`), the
copy gets it in each bootstrap cell, a Colab button on each chapter and a link to the repository.
"""

import os
import shutil
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import yaml
from nbformat import NotebookNode

from tools import notebooks, scoreboard

COLAB = "https://colab.research.google.com"


def pages(root: Path, target: Path) -> None:
    """Copy everything but the notebooks into an emptied `target`, and write the configuration.

    Args:
        root: The checkout.
        target: Folder for the sources to render; what it held before is removed.
    """
    shutil.rmtree(target, ignore_errors=True)
    ignore = shutil.ignore_patterns("*.ipynb", ".ipynb_checkpoints", "__pycache__")
    shutil.copytree(root / "book", target / "book", ignore=ignore)
    shutil.copy(root / "_toc.yml", target / "_toc.yml")
    config = configuration(yaml.safe_load((root / "_config.yml").read_text()))
    (target / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def notebook(stored: NotebookNode, address: str) -> NotebookNode:
    """Stamp a notebook, and name each line that unfolds code by what the code has made.

    Folded code that shows nothing joins the folded code after it: two such lines in a row say less.
    """
    joined = []
    for cell, after in pairwise(stored.cells):
        folded = all("hide-input" in notebooks.tags(one) for one in (cell, after))
        if folded and not cell.outputs:
            after.source = f"{cell.source}\n\n\n{after.source}"
            joined.append(cell.id)
    stored.cells = [cell for cell in stored.cells if cell.id not in joined]
    for cell in notebooks.tagged(stored, "hide-input"):
        drawn = any(tag in str(cell.outputs) for tag in ("<figure", "<svg"))
        made = "figure" if drawn else "text"
        prompts = {f"code_prompt_{action}": f"Code of this {made}" for action in ("show", "hide")}
        cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **prompts}
    return notebooks.stamp(stored, address)


def configuration(config: dict) -> dict:
    """Add `claims.json`, and the buttons that need the repository's address once it is set.

    The published notebooks lie where `repository.branch` and `repository.path_to_book` say, so the
    Colab button opens the stamped copy and not the one in the checkout. Theme options that the
    configuration hands to Sphinx itself replace Jupyter Book's own, so these go there, too.
    """
    config = deepcopy(config)
    theme = ((config.get("sphinx") or {}).get("config") or {}).get("html_theme_options")
    for place in (config.setdefault("html", {}), *([] if theme is None else [theme])):
        place["use_repository_button"] = bool(address(config))
    # The data of the scoreboard, which the build lays beside the configuration: served at the root.
    sphinx = config.setdefault("sphinx", {}).setdefault("config", {})
    sphinx |= {"html_extra_path": [scoreboard.DATA], "html_baseurl": site(config)}
    config["launch_buttons"] = {"colab_url": COLAB} if address(config) else {}
    if theme is not None and address(config):
        place = config["repository"]
        theme |= {
            "launch_buttons": config["launch_buttons"],
            "repository_url": place["url"],
            "repository_branch": place["branch"],
            "path_to_docs": place["path_to_book"],
        }
    return config


def address(config: dict) -> str:
    """Return the repository's address, or an empty string while none is stamped."""
    return (config.get("repository") or {}).get("url") or ""


def site(config: dict) -> str:
    """Return the address at which GitHub shows the pages, or an empty string while unknown."""
    owner, name = (address(config) or "/").rsplit("/", 2)[-2:]
    return f"https://{owner.lower()}.github.io/{name}/" if name else ""


def source_to_install(config: dict) -> str:
    """Return the address that a bootstrap cell installs from, at the published commit if known.

    With the commit, a chapter saved by a reader keeps the helpers that it was written against.
    """
    commit = os.environ.get("GITHUB_SHA", "")
    return f"{address(config)}@{commit}" if address(config) and commit else address(config)
