"""How claims and their verdicts look, as text and as HTML; nothing is computed here.

A table is a mapping of headings to rows, a row the tuple (claim, here, recorded): the claim, and
what the page's own run and the recorded runs say of it, each a list of pairs (title of the run,
verdict, or the words that stand in for it).
"""

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

Runs = list[tuple[str, Any]]
Table = Mapping[str, Sequence[tuple[Any, Runs, Runs]]]

_HEAD = ("Claim", "Sentence", "Statistic", "Supported if", "This page's run", "Recorded runs")
_SYMBOLS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}


class Shown:
    """What a ledger and the scoreboard share: how Jupyter and the book show them."""

    def parts(self) -> tuple[str, Table, Mapping[str, str]]:
        """Caption, rows by heading, and where the headings lead."""
        raise NotImplementedError

    def __repr__(self) -> str:
        caption, table, _ = self.parts()
        lines = [_with_levels(caption, table)]
        for heading, rows in table.items():
            lines += [f"\n{heading}"] if heading else []
            lines += [line for row in rows for line in _lines(*row)]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        caption, table, links = self.parts()
        shown = html.escape(_with_levels(caption, table))
        head = "".join(f'<th scope="col">{name}</th>' for name in _HEAD)
        body = ""
        for heading, rows in table.items():
            first = _heading(heading, links.get(heading))
            body += f"<tbody>\n{first}{''.join(_row(*row) for row in rows)}</tbody>\n"
        page = (
            # A wide table scrolls by itself on a narrow page; focus lets the keyboard scroll it.
            '<div class="mem-ledger-scroll" role="region" tabindex="0" aria-label="Claims">\n'
            f'<table class="mem-ledger">\n<caption>{shown}</caption>\n'
            f"<thead>\n<tr>{head}</tr>\n</thead>\n{body}</table>\n</div>"
        )
        return {"text/plain": repr(self), "text/html": page}


def _with_levels(caption: str, table: Table) -> str:
    runs = [run for rows in table.values() for _, *both in rows for side in both for run in side]
    levels = sorted({said.interval.level for _, said in runs if not isinstance(said, str)})
    shown = " and ".join(f"{100 * level:g} %" for level in levels)
    return f"{caption}. In brackets: {shown} intervals." if levels else f"{caption}."


def _reason(verdict: Any) -> str:
    return verdict.reason if verdict.verdict == "inconclusive" else ""


def _lines(claim: Any, here: Runs, recorded: Runs) -> list[str]:
    lines = textwrap.wrap(f"{claim.id}: {claim.sentence}", 96, subsequent_indent="    ")
    lines.append(f"    {claim.statistic} ({claim.unit}); supported if {claim.criterion}")
    lines += [_line("Here", *run) for run in here]
    return lines + [_line("Recorded", *run) for run in recorded]


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
