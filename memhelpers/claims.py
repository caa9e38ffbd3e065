"""The claims, stated in `claims.yml` before they are measured, and the verdicts on them."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

import pandas as pd
import yaml

from memhelpers.errors import ArgumentError, ClaimError, check_choice
from memhelpers.runs import machine
from memhelpers.stats import LEVEL, Interval

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE)
SIGNS = dict(zip(VERDICTS, "✓✗?", strict=True))
# What counts independent runs: examples, or time steps of one run, share its weights.
UNITS = ("seeds", "networks", "cases")
CLOSE = 1 / 2  # of an interval's width: as far as another processor has moved an end
KEPT = "verdicts.json"  # in the folder of the recorded runs, for the first screens
MIME = "application/vnd.memhelpers.claims+json"


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, with the test that decides it."""

    id: str  # such as "C3.1" or "C1.1a"
    chapter: str  # the two digits that the chapter's file name begins with
    source: str  # paper, section and figure
    sentence: str
    statistic: str  # the number that is measured
    unit: str  # of that number
    direction: str  # "above" or "below" the threshold, or "within" two of them
    threshold: float | tuple[float, float]
    seeds: int  # independent units (`UNITS`) below which no verdict is given
    short: str  # the sentence for a list, at most 52 characters; "…" carries on the one above
    under: str = ""  # the choice that the verdict hangs on, such as "under this cut"
    range: tuple[float, float] | None = None  # what values the statistic can take
    control: bool = False  # whether it checks the measurement, and should hardly come out otherwise
    added_after_data: bool = False  # whether its data had been seen when it was declared
    revised_after_data: str = ""  # what of its measurement was changed when they had been seen

    @property
    def limits(self) -> tuple[float, ...]:
        """The threshold, or both."""
        return self.threshold if isinstance(self.threshold, tuple) else (self.threshold,)

    @property
    def criterion(self) -> str:
        """Where the whole interval has to lie for support, in words."""
        if self.direction == "within":
            return "between {:g} and {:g}".format(*self.threshold)
        return f"{self.direction} {self.threshold:g}"

    @property
    def late(self) -> str:
        """What was decided only after data had been seen, in words."""
        if self.added_after_data:
            return "declared after the data were seen"
        revised = self.revised_after_data
        return f"revised after data were seen: {revised}" if revised else ""


@dataclass(frozen=True)
class Verdict:
    """What an interval says of a claim, one of `VERDICTS`, and why, in words."""

    claim: Claim
    interval: Interval
    verdict: str
    reason: str

    @property
    def close(self) -> bool:
        """Whether rounding could flip it, with an end within `CLOSE` widths of a threshold."""
        low, high = self.interval.low, self.interval.high
        nearest = min(abs(end - limit) for end in (low, high) for limit in self.claim.limits)
        decided = self.interval.n >= self.claim.seeds  # or too few, whatever the numbers are
        return decided and nearest <= CLOSE * (high - low) < math.inf


def load() -> dict[str, Claim]:
    """The claims that the book's `claims.yml` declares, by id; `tools.stated` checks that file."""
    return _parsed(machine.book_file("claims.yml").read_text("utf-8"))


@lru_cache(maxsize=1)  # a chapter asks for each of its claims
def _parsed(text: str) -> dict[str, Claim]:
    claims = {}
    for entry in yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        fields = {k: " ".join(v.split()) if isinstance(v, str) else v for k, v in entry.items()}
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        claims[fields["id"]] = Claim(**fields)
    return claims


def get(id: str, claims: Mapping[str, Claim] | None = None) -> Claim:
    """The claim of this id, among those declared or given; a `ClaimError` if there is none."""
    claims = load() if claims is None else claims
    if id not in claims:
        declared = textwrap.shorten(", ".join(claims), 300, placeholder=" …")
        raise ClaimError(f"claim {id!r} is not declared; declared: {declared}")
    return claims[id]


def judge(claim: str | Claim, interval: Interval) -> Verdict:
    """Holds an interval against a claim's threshold.

    Supported if the whole interval lies where the claim has it (above the threshold, below it, or
    within two), contradicted if it wholly lies elsewhere. Everything else is inconclusive: an
    interval that only touches a threshold, and one of fewer units than the claim demands. Ends
    beyond the claim's `range`, which no measurement reaches, are cut to it first.

    Args:
        claim: a declared id, or a claim of your own.
        interval: over independent units (`UNITS`), of a level of at least 95 %.

    Raises:
        ClaimError: the id is not declared.
        ArgumentError: the interval is not as above, or its estimate lies beyond the range.
    """
    claim = get(claim) if not isinstance(claim, Claim) else claim
    if not isinstance(interval, Interval):
        raise ArgumentError("interval", interval, "an Interval over seeds, not a point estimate")
    check_choice("interval.unit", interval.unit, UNITS)
    if interval.level < LEVEL:
        raise ArgumentError("interval.level", interval.level, f"{LEVEL:g} or higher")
    interval = _possible(interval, claim)
    if interval.n < claim.seeds:
        reason = f"the claim demands at least {claim.seeds} {interval.unit}"
        return Verdict(claim, interval, INCONCLUSIVE, reason)
    low, high, first, last = interval.low, interval.high, claim.limits[0], claim.limits[-1]
    inside = {"above": low > first, "below": high < last, "within": first < low and high < last}
    outside = {"above": high < first, "below": low > last, "within": high < first or low > last}
    if inside[claim.direction]:
        verdict, reason = SUPPORTED, f"the whole interval is {claim.criterion}"
    elif outside[claim.direction]:
        verdict, reason = CONTRADICTED, f"no part of the interval is {claim.criterion}"
    else:
        verdict, reason = INCONCLUSIVE, f"only a part of the interval is {claim.criterion}"
    if interval.low == interval.high:
        reason += f"; all {interval.n} {interval.unit} agree exactly"
    return Verdict(claim, interval, verdict, reason)


def _possible(interval: Interval, claim: Claim) -> Interval:
    """The interval without what the statistic cannot be."""
    if claim.range is None:
        return interval
    low, high = claim.range
    if not low - 1e-9 <= interval.estimate <= high + 1e-9:  # but for rounding
        allowed = f"{low:g} to {high:g}, the range of {claim.id}"
        raise ArgumentError("interval.estimate", interval.estimate, allowed)
    ends = {name: getattr(interval, name) for name in ("estimate", "low", "high")}
    return replace(interval, **{name: min(max(end, low), high) for name, end in ends.items()})


def stored(interval: Interval) -> dict[str, object]:
    """An interval ready for JSON, which knows no infinity: an open end is None."""
    ends = (-math.inf, math.inf)
    return {name: None if value in ends else value for name, value in asdict(interval).items()}


def restored(claim: str | Claim, row: Mapping[str, Any]) -> Verdict:
    """The verdict of an interval that was `stored`, judged again."""
    numbers = {one.name: row[one.name] for one in fields(Interval)}
    low = -math.inf if row["low"] is None else row["low"]
    high = math.inf if row["high"] is None else row["high"]
    return judge(claim, Interval(**numbers | {"low": low, "high": high}))


@dataclass(frozen=True, repr=False)
class Ledger:
    """A chapter's claims: the verdicts of this page's run beside those of recorded runs.

    Its output is a table, and as `MIME` the verdicts as data, from which the book's pages have a
    card for each claim.

    Raises:
        ArgumentError: verdicts are no list of `Verdict`.
    """

    here: Sequence[Verdict]
    # By title, such as "Recorded: MNIST", the largest first; None where that is not recorded.
    recorded: Mapping[str, Sequence[Verdict] | None] = field(default_factory=dict)
    title: str = field(kw_only=True)  # of this page's run, such as "This page: digits"
    kept: Mapping[str, Verdict] = field(default_factory=dict)  # those kept of this run, by claim

    def __post_init__(self) -> None:
        for title, verdicts in self.runs.items():
            # Not an iterator, which would be empty when the cards are drawn.
            listed = isinstance(verdicts, list | tuple | None)
            if not listed or not all(isinstance(one, Verdict) for one in verdicts or ()):
                raise ArgumentError(title, verdicts, "a list of verdicts, as judge returns them")

    @property
    def runs(self) -> dict[str, Sequence[Verdict] | None]:
        """The verdicts by title of their run, this page's first; None where that is missing."""
        return {self.title: self.here, **self.recorded}

    def lines(self) -> str:
        """Ids and verdict words of this page's run, for a cell whose output is compared.

        A verdict that is `close` is not compared: on another processor it may be another. Whether
        it is may hang on the processor, too, so the one that is `kept` is told where both agree.
        """
        words = []
        for one in self.here:
            before = self.kept.get(one.claim.id, one)
            agree = one.verdict == before.verdict or one.close or before.close
            told = before if agree else one
            words.append(f"{one.claim.id} {'(close)' if told.close else told.verdict}")
        return "\n".join(words)

    def data(self) -> dict[str, object]:
        """The verdicts, one row each, and the titles of runs that are missing, ready for JSON."""
        rows = []
        for run, verdicts in self.runs.items():
            for one in verdicts or ():
                row = {"id": one.claim.id, "run": run, "recorded": run != self.title}
                row |= {"verdict": one.verdict, "reason": one.reason}
                rows.append(row | stored(one.interval))
        missing = [title for title, verdicts in self.recorded.items() if verdicts is None]
        return {"format": 1, "rows": rows, "missing": missing}

    def __repr__(self) -> str:
        return self.lines()

    def table(self) -> pd.DataFrame:
        """What each run says of each claim, in words."""
        rows = []
        for run, verdicts in self.runs.items():
            for one in verdicts or ():
                row = {"claim": one.claim.id, "sentence": one.claim.sentence, "run": run}
                row |= {"verdict": f"{SIGNS[one.verdict]} {one.verdict}"}
                rows.append(row | {"interval": str(one.interval), "why": one.reason})
        return pd.DataFrame(rows).sort_values("claim", kind="stable")

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        from memhelpers.page import figures

        missing = ", ".join(self.data()["missing"])
        told = "What each run says of the claims." + f" Not recorded: {missing}." * bool(missing)
        shown = figures.table(self.table(), caption=told)
        return {"text/plain": repr(self), "text/html": shown.html(), MIME: self.data()}
