"""How verdicts look as HTML: their signs and colours, and the badges of a first screen.

Colours are the page's variables, with values for Jupyter and Colab, which have no style sheet. The
cards of the book's pages are drawn by `tools/cards.py`.
"""

import html
from collections.abc import Mapping
from typing import Any

SIGNS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}
_INK = {"supported": "#006A6E", "contradicted": "#B42318", "inconclusive": "#5B6670"}
_GROUND = {"supported": "#E3F2F1", "contradicted": "#FDECEA", "inconclusive": "#EEF1F3"}


def paint(verdict: str) -> str:
    """The style of what has a verdict's colour."""
    return f"color:var(--mem-{verdict},{_INK[verdict]})"


def pills(verdicts: Mapping[Any, str]) -> str:
    """The badges of claims, each a link to its card on the page."""
    shown = ""
    for claim, word in verdicts.items():
        note = f" {claim.under}" if claim.under and word != "supported" else ""
        link = f'a href="#claim-{claim.id}" aria-label="{claim.id}: {word}{note}"'
        shown += f" {pill(word, f'{claim.id} {SIGNS[word]}', note, link)}"
    return f'<p class="mem-pills">Claims{shown}</p>'


def pill(verdict: str, text: str, note: str, tag: str = "span") -> str:
    """A badge in the colour of a verdict, with a note beside its text."""
    style = f"{paint(verdict)};background:var(--mem-{verdict}-ground,{_GROUND[verdict]})"
    shown = f"<b>{text}</b>{html.escape(note)}"
    return f'<{tag} class="mem-pill" style="{style}">{shown}</{tag.split()[0]}>'
