"""How claims and their verdicts look, as HTML; nothing is computed here.

A row is the tuple (claim, here, recorded): the claim, and what the page's own run and the recorded
runs say of it, each a list of pairs (title of the run, verdict, or the words that stand in for it).
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

Runs = Sequence[tuple[str, Any]]
Row = tuple[Any, Runs, Runs]

_SYMBOLS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}


def table(
    caption: str, groups: Mapping[str, Sequence[Row]], *, here: str = "This page's run"
) -> str:
    """The rows as an HTML table: each group under its heading (HTML, or empty for none).

    `here` heads the column of the pages' own runs.
    """
    names = ("Claim", "Sentence", "Statistic", "Supported if", here, "Recorded runs")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = ""
    for heading, rows in groups.items():
        first = f'<tr><th scope="rowgroup" colspan="{len(names)}">{heading}</th></tr>\n'
        shown = "".join(_row(*row) for row in rows)
        body += f"<tbody>\n{first if heading else ''}{shown}</tbody>\n"
    caption = with_levels(caption, [row for rows in groups.values() for row in rows])
    return (
        # A wide table scrolls by itself on a narrow page; focus lets the keyboard scroll it.
        '<div class="mem-ledger-scroll" role="region" tabindex="0" aria-label="Claims">\n'
        f'<table class="mem-ledger">\n<caption>{html.escape(caption)}</caption>\n'
        f"<thead>\n<tr>{head}</tr>\n</thead>\n{body}</table>\n</div>"
    )


def with_levels(caption: str, rows: Sequence[Row]) -> str:
    """The caption, and of which level the intervals in the rows are."""
    said = [one for _, here, recorded in rows for _, one in [*here, *recorded]]
    levels = sorted({one.interval.level for one in said if not isinstance(one, str)})
    shown = " and ".join(f"{100 * level:g} %" for level in levels)
    return f"{caption}. In brackets: {shown} intervals." if levels else f"{caption}."


def _reason(verdict: Any) -> str:
    return verdict.reason if verdict.verdict == "inconclusive" else ""


def _row(claim: Any, here: Runs, recorded: Runs) -> str:
    return (
        f'<tr><th scope="row">{html.escape(claim.id)}</th>'
        f"<td>{html.escape(claim.sentence)} <cite>{html.escape(claim.source)}</cite></td>"
        f"<td>{html.escape(f'{claim.statistic} ({claim.unit})')}</td>"
        f"<td>{html.escape(claim.criterion)}</td>"
        f"<td>{''.join(_cell(*run) for run in here)}</td>"
        f"<td>{''.join(_cell(*run) for run in recorded)}</td></tr>\n"
    )


def _cell(run: str, said: Any) -> str:
    name = f'<span class="mem-run">{html.escape(run)}:</span> ' if run else ""
    if isinstance(said, str):
        return f'<div>{name}<span class="mem-missing">{html.escape(said)}</span></div>'
    reason = html.escape(_reason(said))
    return (
        f'<div>{name}<strong class="verdict-{said.verdict}"><span aria-hidden="true">'
        f"{_SYMBOLS[said.verdict]}</span> {said.verdict}</strong>"
        f'<br><span class="mem-interval">{html.escape(str(said.interval))}</span>'
        + (f'<br><small class="mem-reason">{reason}</small>' if reason else "")
        + "</div>"
    )
