"""From a claim to all that it rests on: its chapter, its code, its records, and its commit."""

import html
from functools import cache

from memhelpers.claims import Claim
from memhelpers.runs import machine, records
from tools import declared


def trail(claim: Claim, stem: str, code: str | None) -> dict[str, object]:
    """Return what a claim rests on, ready for JSON; None or empty where something is not there.

    Args:
        claim: A declared claim.
        stem: Of its chapter's file; empty where the chapter is not written yet.
        code: The expression that gives its statistic.
    """
    names = records.available(stem) if stem else []
    return {
        "address": f"book/scoreboard.html#{claim.id}",
        "notebook": f"book/{stem}.ipynb" if stem else None,
        "code": code,
        "records": [f"data/{stem}/{name}" for name in names],
        "fixed": _fixed().get(claim.id),
    }


def links(claim: Claim, stem: str, code: str | None, repository: str) -> str:
    """Return code and commit of a claim as HTML; with links into the repository if known."""
    parts = []
    if code:
        place = f"{stem}.html#how-it-is-judged"
        parts.append(f'<a href="{place}">code</a> <code>{html.escape(code)}</code>')
    if fixed := _fixed().get(claim.id):
        commit = _link(repository, "commit", fixed["commit"], fixed["commit"][:10])
        parts.append(f"test fixed in {commit} on {fixed['date'][:10]}")
    return "; ".join(parts)


def record_links(stem: str, repository: str) -> str:
    """Return the recorded runs of a chapter, on which all of its claims are judged, as HTML."""
    names = records.available(stem) if stem else []
    shown = [_link(repository, "tree/HEAD", f"data/{stem}/{name}", name) for name in names]
    return f"records {', '.join(shown)}" if shown else ""


def _link(repository: str, kind: str, place: str, name: str) -> str:
    shown = f"<code>{name}</code>"
    return f'<a href="{repository}/{kind}/{place}">{shown}</a>' if repository else shown


@cache
def _fixed() -> dict[str, dict[str, str]]:
    return declared.kept(machine.data_folder().parent)
