"""Draw the claims of a page as cards, from the data beside the table that a notebook shows.

A row is the tuple (claim, here, recorded): the claim, and what the page's own run and the recorded
runs say of it, each a list of pairs (title of the run, verdict, or the words that stand in for it).
"""

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from memhelpers.claims import SIGNS, Ledger, Verdict
from memhelpers.errors import ClaimError
from memhelpers.stats import BCA_FROM

Runs = Sequence[tuple[str, Any]]
Row = tuple[Any, Runs, Runs]

NOT_RECORDED = "not recorded at paper scale"
NOT_IN_RUN = "not measured in this run"
METHODS = {"networks": "jackknife, leaving out each in turn", "cases": "exact binomial interval"}
# In how many of 100 simulations `interval` covers the mean, by the number of seeds, for values from
# a normal, an exponential and a log-normal (long-tailed, sigma 1) distribution.
COVERAGE = {3: (95, 88, 84), 5: (95, 88, 82), 10: (96, 93, 88), 20: (95, 95, 92)}
CLOSE = (
    "A verdict is called close where an end of its interval lies within half the interval's width "
    "of a threshold: computed on another processor, it may be another."
)


class Strip:
    """Where the values of a claim's statistic stand on a strip, in percent of its width."""

    def __init__(self, claim: Any, intervals: Iterable[Any]) -> None:
        self.claim = claim
        values = [value for one in intervals for value in (one.low, one.estimate, one.high)]
        shown = [*filter(math.isfinite, values), *claim.limits]
        # Twice as much and half as much are equally far from 1.
        self.log = claim.unit.startswith(("ratio", "multiple")) and min(shown) > 0
        low, high = self.level(min(shown)), self.level(max(shown))
        margin = (high - low) / 8 or 1.0
        self.low, self.high = low - margin, high + margin

    def level(self, value: float) -> float:
        """The value, or its logarithm where the strip has a logarithmic scale."""
        return (math.log10(value) if value > 0 else -math.inf) if self.log else value

    def place(self, value: float) -> float:
        """In percent of the width; an infinite value stands at the edge."""
        share = (self.level(value) - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0), 1), 2)

    def zone(self) -> tuple[float, float]:
        """Both ends of the part in which an interval supports the claim."""
        low, high = map(self.place, (self.claim.limits[0], self.claim.limits[-1]))
        return {"above": (low, 100.0), "below": (0.0, high)}.get(self.claim.direction, (low, high))

    def ticks(self) -> list[float]:
        """About five round values."""
        span = self.high - self.low
        if self.log and span > 0.5:
            decades = range(math.floor(self.low), math.ceil(self.high))
            found = [k * 10.0**one for one in decades for k in ((1, 2, 5) if span < 2 else (1,))]
            return [value for value in found if self.low <= self.level(value) <= self.high]
        low, high = (10**end if self.log else end for end in (self.low, self.high))
        step = 10.0 ** math.floor(math.log10((high - low) / 4))
        step *= next(k for k in (1, 2, 5, 10) if (high - low) / (k * step) <= 6)
        return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def paint(verdict: str) -> str:
    """The style of what has a verdict's colour."""
    return f"color:var(--mem-{verdict})"


def ground(zone: tuple[float, float], limits: Iterable[float]) -> str:
    """The supported zone and a line at each threshold, in percent, as the first parts of an SVG."""
    lines = "".join(f'<line x1="{x}%" x2="{x}%" y2="100%" stroke="currentColor"/>' for x in limits)
    return (
        f'<rect x="{zone[0]}%" width="{zone[1] - zone[0]:.2f}%" height="100%" '
        f'style="fill:var(--mem-zone,#EEF6F6)"/>{lines}'
    )


def mark(verdict: Any, places: Sequence[float], dot: str = '<circle r="5"/>', y: float = 50) -> str:
    """An interval as a part of an SVG, with low, estimate and high at `places`, in percent.

    Hollow where the verdict is inconclusive; an arrow where the interval has no end.
    """
    (low, middle, high), interval = places, verdict.interval
    ends = ""
    for place, value in ((low, interval.low), (high, interval.high)):
        inward = 6 if place < middle else -6
        end = "M0,-4V4" if math.isfinite(value) else f"M{inward},-5L0,0L{inward},5"
        ends += f'<svg x="{place}%" overflow="visible"><path d="{end}" fill="none"/></svg>'
    fill = "var(--mem-page,#FFFFFF)" if verdict.verdict == "inconclusive" else "currentColor"
    return (
        f'<svg y="{y:g}%" overflow="visible" stroke="currentColor" stroke-width="2" '
        f'style="{paint(verdict.verdict)}"><line x1="{low}%" x2="{high}%"/>{ends}'
        f'<svg x="{middle}%" overflow="visible" style="fill:{fill}">{dot}</svg></svg>'
    )


def judged(here: Runs, recorded: Runs) -> list[tuple[str, Any]]:
    """The runs with a verdict, the one that counts first: the largest recorded, else the page's.

    What is largest the glossary says, and `memhelpers.lab` puts in order.
    """
    return [(run, one) for run, one in [*recorded, *here] if not isinstance(one, str)]


def text(value: object) -> str:
    """A text as HTML, with minus signs before numbers."""
    return re.sub(r"(?<![\w.])-(?=[\d.]|inf)", "−", html.escape(str(value), quote=False))


def rows_of(shown: Ledger) -> list[Row]:
    """Each claim with what the runs say of it; a `ClaimError` if one says it twice."""
    claims = {one.claim.id: one.claim for found in shown.runs.values() for one in found or ()}
    rows = []
    for claim in claims.values():
        told = []
        for run, verdicts in shown.runs.items():
            own = [one for one in verdicts or () if one.claim.id == claim.id]
            if len(own) > 1:
                raise ClaimError(f"claim {claim.id} is judged twice in the run {run!r}")
            missing = NOT_RECORDED if verdicts is None else NOT_IN_RUN
            told.append((run, own[0] if own else missing))
        rows.append((claim, told[:1], told[1:] or [("", NOT_RECORDED)]))
    return rows


def cards(shown: Ledger) -> str:
    """A card for each claim, under lines that say how to read them and how intervals are made."""
    rows = rows_of(shown)
    verdicts = [one for _, *runs in rows for _, one in judged(*runs)]
    levels = " and ".join(sorted({f"{100 * one.interval.level:g} %" for one in verdicts}))
    note = f"Bars and brackets: {levels} intervals. Supported: all of the bar lies in the shade."
    note = " ".join([note, *_methods(verdicts), *[CLOSE] * any(one.close for one in verdicts)])
    return (
        f'<div class="mem-claims">\n<p class="mem-claims-note">{note}</p>\n'
        + "\n".join(_card(*row) for row in rows)
        + "\n</div>"
    )


def _methods(verdicts: Iterable[Verdict]) -> list[str]:
    """How the intervals of each kind are made."""
    counts = {(one.interval.unit, one.interval.n) for one in verdicts}
    told = [f"{n} seeds: {coverage(n)}." for unit, n in sorted(counts) if unit == "seeds"]
    units = {unit for unit, _ in counts}
    return told + [f"Over {unit}: {how}." for unit, how in METHODS.items() if unit in units]


def _card(claim: Any, here: Runs, recorded: Runs) -> str:
    found = judged(here, recorded)
    strip = Strip(claim, [verdict.interval for _, verdict in found])
    late = f"; {claim.late}" if claim.late else ""
    late += "; a control of the measurement" * claim.control
    runs = "".join(_run(strip, *run) for run in [*here, *recorded])
    return (
        f'<section class="mem-card" id="claim-{claim.id}" aria-label="Claim {claim.id}">\n'
        f'<p class="mem-card-head"><span><b>{claim.id}</b> {text(claim.source)}{late}</span> '
        f'{_badge(claim, found)}</p>\n<p class="mem-sentence"><b>{text(claim.sentence)}</b></p>\n'
        f'<div class="mem-strip">\n{_rule(strip)}{runs}{_axis(strip)}</div>\n'
        f"{_fold(claim, found)}\n</section>"
    )


def _badge(claim: Any, found: Runs) -> str:
    """The verdict that counts, the choice that it hangs on, and the runs that say otherwise."""
    first = found[0][1]
    note = f" {claim.under}" if claim.under else ""
    note += ", close" if first.close else ""
    for run, other in found:
        name = run.partition(": ")[2] or run
        note += f"; {name}: {other.verdict}" if other.verdict != first.verdict else ""
    close = f' title="{CLOSE}"' if first.close else ""
    shown = f"<b>{SIGNS[first.verdict]} {first.verdict}</b>{html.escape(note)}"
    return f'<span class="mem-pill mem-{first.verdict}"{close}>{shown}</span>'


def _rule(strip: Strip) -> str:
    """What supports the claim, beside the threshold as far as the strip has room for it."""
    start, end = strip.zone()
    words = f"supported if {text(strip.claim.criterion)}"
    words, style = {
        "above": (f"{words} →", f"padding-left:{min(start, 50)}%"),
        "below": (f"← {words}", f"padding-right:{min(100 - end, 50)}%;text-align:right"),
        "within": (words, "text-align:center"),
    }[strip.claim.direction]
    return f'<p class="mem-rule"><b style="display:block;{style}">{words}</b></p>\n'


def _run(strip: Strip, run: str, said: Any) -> str:
    drawn = ground(strip.zone(), map(strip.place, strip.claim.limits))
    told = f'<span class="mem-missing">{said}</span>'
    if not isinstance(said, str):
        one = said.interval
        drawn += mark(said, [strip.place(value) for value in (one.low, one.estimate, one.high)])
        value, units = text(one).rsplit(", ", 1)
        close = f', <abbr title="{CLOSE}">close</abbr>' if said.close else ""
        told = (
            f'<span class="mem-value"><b>{value.replace(" ", "</b> ", 1)}</span> '
            f'<span class="mem-units">{units}{close}<span class="mem-hidden">: {said.verdict}'
            "</span></span>"
        )
    return (
        f'<div class="mem-strip-run"><span class="mem-run">{text(run)}</span> {told}'
        f'<svg aria-hidden="true" width="100%" height="34">{drawn}</svg></div>\n'
    )


def _axis(strip: Strip) -> str:
    ticks = "".join(
        f'<line x1="{x}%" x2="{x}%" y2="5" stroke="currentColor"/><text x="{x}%" y="18" '
        f'text-anchor="middle" font-size="13" fill="currentColor">{text(f"{value:.6g}")}</text>'
        for value, x in ((value, strip.place(value)) for value in strip.ticks())
    )
    scale = " (log scale)" if strip.log else ""
    return (
        '<div class="mem-axis"><svg aria-hidden="true" width="100%" height="24" overflow="visible">'
        f'<line x2="100%" stroke="currentColor"/>{ticks}</svg>'
        f"{text(strip.claim.statistic)}{scale}</div>\n"
    )


def _fold(claim: Any, found: Runs) -> str:
    rule = f"the whole interval, of at least {claim.seeds} {found[0][1].interval.unit}, is "
    rule += f"{claim.criterion}; contradicted if no part of it is"
    facts = {"Statistic": f"{claim.statistic} ({claim.unit})", "Supported if": rule}
    facts |= {run: f"{one.verdict}, {one.interval}: {one.reason}" for run, one in found}
    shown = "".join(f"<dt>{text(name)}</dt><dd>{text(fact)}</dd>" for name, fact in facts.items())
    title = "Statistic, source and provenance"
    return f'<details class="mem-fold"><summary>{title}</summary><dl>{shown}</dl></details>'


def coverage(n: int) -> str:
    """What a caption says of an `interval` over n seeds: the method, and how often it covers."""
    if n == 1:
        return "one seed has no interval"
    normal, exponential, tailed = COVERAGE[max({3} | {size for size in COVERAGE if size <= n})]
    method = "Student's t" if n < BCA_FROM else "the wider of Student's t and BCa"
    covers = f"{normal} % for normal values, {exponential} % for exponential, {tailed} %"
    return f"95 % interval ({method}; covers {covers} for log-normal ones)"
