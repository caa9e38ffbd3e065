"""Lay the verdicts into the page that tells what reproduced: its picture, and those in its prose.

The prose names the verdict that it was written for. Where the largest recorded run says otherwise,
the build stops: a story is edited by hand, never by a number that moved under it.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from memhelpers import claims
from memhelpers.claims import Claim, Verdict
from memhelpers.errors import ClaimError
from tools import cards, scoreboard

PAGE = "book/reproduced.md"
PLACES = COUNTS, PICTURE = "<!-- paper counts -->", "<!-- paper picture -->"
TOLD = re.compile(rf"<!-- (\S+) ({'|'.join(claims.VERDICTS)}) -->")
PAPER = "Arpit et al. 2017"
OPPOSITE = dict(zip(claims.VERDICTS[:2], claims.VERDICTS[1::-1], strict=True))
OWN_DATA = ("14", "16")  # chapters whose main tasks are not on the images that name their runs
COLUMNS = (claims.SUPPORTED, claims.INCONCLUSIVE, claims.CONTRADICTED)


@dataclass(frozen=True)
class Told:
    """What the runs say of one claim."""

    claim: Claim
    verdict: Verdict  # of the largest recorded run, or of the page's where none is recorded
    data: str  # of that run
    opposed: tuple[str, ...]  # the data of runs that say the opposite


def write(board: scoreboard.Scoreboard, source: Path) -> None:
    """Fill the staged page.

    Raises:
        ClaimError: A place is not there once, or the prose says other than the largest run.
    """
    page = source / PAGE
    if not page.exists():
        return  # another book's
    known = {one.claim.id: one for one in told(board)}
    text = TOLD.sub(lambda found: pill(board, known, *found.groups()), page.read_text("utf-8"))
    page.write_text(text, encoding="utf-8")
    of_paper = [one for one in known.values() if is_of_paper(one.claim)]
    scoreboard.fill(page, {COUNTS: counts(of_paper), PICTURE: picture(board, of_paper)})


def is_of_paper(claim: Claim) -> bool:
    """Return whether the paper says so itself; some claims read its sentences in another way."""
    own = claim.source.startswith(PAPER)
    return own and not re.search(r"\(read here|, as (this|a) ", claim.source)


def told(board: scoreboard.Scoreboard) -> Iterator[Told]:
    """Go through the claims that a run judges, in the order of the chapters."""
    for claim, *runs in (row for rows in board.groups().values() for row in rows):
        found = cards.judged(*runs)
        if found:
            (first, verdict), *others = found
            opposite = OPPOSITE.get(verdict.verdict)
            opposed = [run for run, one in others if one.verdict == opposite]
            data, *against = map(scoreboard.data_of, (first, *opposed))
            yield Told(claim, verdict, data, tuple(against))


def pill(board: scoreboard.Scoreboard, known: Mapping[str, Told], id: str, word: str) -> str:
    """Return a claim's verdict for a sentence: id, sign and interval, linked to its card.

    Raises:
        ClaimError: The claim is not judged, or its verdict is another than the prose says.
    """
    one = known.get(id)
    if one is None:
        raise ClaimError(f"{PAGE}: claim {id!r} is not judged in any run")
    if one.verdict.verdict != word:
        raise ClaimError(
            f"{PAGE} calls {id} {word}; on {one.data} it is {one.verdict.verdict}, "
            f"{one.verdict.interval}: edit the page"
        )
    sign = f'<b style="{cards.paint(word)}">{claims.SIGNS[word]}</b>'
    heard = f'<span class="mem-hidden">{word}</span>'
    shown = f"{id} {sign}{heard} {cards.text(one.verdict.interval.short)}"
    shown += f", {html.escape(one.data)}" * (one.claim.chapter not in OWN_DATA)
    return f'<a class="mem-pill"{board.link(one.claim)}>{shown}</a>'


def counts(found: list[Told]) -> str:
    """Return in words how the paper's claims came out."""
    words = [one.verdict.verdict for one in found]
    opposed = sum(bool(one.opposed) for one in found)
    number = [f"{words.count(word)} {word}" for word in COLUMNS]
    turned = f" {opposed} of them {'is' if opposed == 1 else 'are'} supported in one run and "
    turned += "contradicted in another."
    return (
        f"<p>{len(found)} claims of the paper, each in its largest recorded run: "
        f"{', '.join(number)}.{turned * bool(opposed)}</p>"
    )


def picture(board: scoreboard.Scoreboard, found: list[Told]) -> str:
    """Return a row for each chapter and a column for each verdict, with the claims' ids."""
    head = "".join(
        f'<th scope="col" style="{cards.paint(word)}">{claims.SIGNS[word]} {word}'
        f" <small>{sum(one.verdict.verdict == word for one in found)}</small></th>"
        for word in COLUMNS
    )
    rows = ""
    for number in dict.fromkeys(one.claim.chapter for one in found):
        stem, title = board.chapters[number]
        cells = "".join(
            f"<td>{' '.join(_mark(board, one) for one in found if _here(one, number, word))}</td>"
            for word in COLUMNS
        )
        link = f'<a href="{stem}.html">{html.escape(title)}</a>'
        rows += f'<tr><th scope="row"><span>{int(number)}</span> {link}</th>{cells}</tr>\n'
    head = f'<thead><tr><th scope="col">Chapter</th>{head}</tr></thead>'
    return f'<table class="mem-story">\n{head}\n<tbody>\n{rows}</tbody></table>'


def _here(one: Told, number: str, word: str) -> bool:
    return (one.claim.chapter, one.verdict.verdict) == (number, word)


def _mark(board: scoreboard.Scoreboard, one: Told) -> str:
    """The id as a link, signed where another run says the opposite, and where data came first."""
    title = f"{one.claim.short}: {one.verdict.verdict} on {one.data}"
    sign = ""
    if one.opposed:
        title += f"; otherwise on {' and '.join(one.opposed)}"
        sign = '<span aria-hidden="true">≠</span>'
    if one.claim.late:
        title += f"; {one.claim.late}"
        sign += '<span aria-hidden="true">†</span>'
    shown = f"{one.claim.id}{sign}"
    style = cards.paint(one.verdict.verdict)
    return f'<a{board.link(one.claim)} title="{html.escape(title)}" style="{style}">{shown}</a>'
