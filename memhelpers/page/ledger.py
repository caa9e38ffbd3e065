"""How claims and their verdicts look, as text and as HTML; nothing is computed here.

A table is a mapping of headings to rows, a row the tuple (claim, here, recorded): the claim, and
what the page's own run and the recorded runs say of it, each a list of pairs (title of the run,
verdict, or the words that stand in for it).
"""

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

Table = Mapping[str, Sequence[tuple[Any, Sequence[tuple[str, Any]], Sequence[tuple[str, Any]]]]]

_HEAD = ("Claim", "Sentence", "Statistic", "Supported if", "This page's run", "Recorded runs")
_SYMBOLS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}


def text(caption: str, table: Table) -> str:
    """The table as plain text: under each claim one line for each run."""
    lines = [_with_levels(caption, table)]
    for heading, rows in table.items():
        lines += [f"\n{heading}"] if heading else []
        for claim, here, recorded in rows:
            sentence = f"{claim.id}: {claim.sentence}"
            lines += textwrap.wrap(sentence, 96, subsequent_indent="    ")
            lines.append(f"    {claim.statistic} ({claim.unit}); supported if {claim.criterion}")
            lines += [_line("Here", *run) for run in here]
            lines += [_line("Recorded", *run) for run in recorded]
    return "\n".join(lines)


def page(caption: str, table: Table, links: Mapping[str, str]) -> str:
    """The table as HTML; `links` says where headings lead."""
    shown = html.escape(_with_levels(caption, table))
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEAD)
    body = ""
    for heading, rows in table.items():
        first = _heading(heading, links.get(heading))
        body += f"<tbody>\n{first}{''.join(map(_row, rows))}</tbody>\n"
    return (
        # A wide table scrolls by itself on a narrow page; focus lets the keyboard scroll it.
        '<div class="mem-ledger-scroll" role="region" tabindex="0" aria-label="Claims">\n'
        f'<table class="mem-ledger">\n<caption>{shown}</caption>\n'
        f"<thead>\n<tr>{head}</tr>\n</thead>\n{body}</table>\n</div>"
    )


def _with_levels(caption: str, table: Table) -> str:
    cells = [
        cell for rows in table.values() for _, *sides in rows for side in sides for cell in side
    ]
    levels = sorted({said.interval.level for _, said in cells if not isinstance(said, str)})
    shown = " and ".join(f"{100 * level:g} %" for level in levels)
    return f"{caption}. In brackets: {shown} intervals." if levels else f"{caption}."


def _reason(verdict: Any) -> str:
    return verdict.reason if verdict.verdict == "inconclusive" else ""


def _line(place: str, run: str, said: Any) -> str:
    if not isinstance(said, str):
        reason = f" ({said.reason})" if _reason(said) else ""
        said = f"{_SYMBOLS[said.verdict]} {said.verdict}, {said.interval}{reason}"
    return "    " + ": ".join(part for part in (place, run, said) if part)


def _heading(heading: str, link: str | None) -> str:
    if not heading:
        return ""
    shown = html.escape(heading)
    shown = f'<a href="{html.escape(link)}">{shown}</a>' if link else shown
    return f'<tr><th scope="rowgroup" colspan="{len(_HEAD)}">{shown}</th></tr>\n'


def _row(row: tuple[Any, Sequence[tuple[str, Any]], Sequence[tuple[str, Any]]]) -> str:
    claim, here, recorded = row
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
