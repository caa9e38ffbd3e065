"""The claims, stated in `claims.yml` before they are measured, and the verdicts on them.

The last step of the data flow: an interval over seeds meets the threshold that was declared for it,
a chapter shows its verdicts in a `Ledger`, and the `scoreboard` gathers the ledgers of all chapters
from their stored outputs. A verdict never comes from a point estimate, nor from fewer seeds than
the claim demands.
"""

import html
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from memhelpers.errors import ArgumentError, ClaimError, check_choice
from memhelpers.runs import machine
from memhelpers.stats import LEVEL, Interval

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE)
DIRECTIONS = ("above", "below", "within")
NOT_RECORDED = "not recorded at paper scale"
NOT_IN_RUN = "not measured in this run"
NOT_MEASURED = "not measured yet"
# A bootstrap interval of n seeds stays within their range, which holds the median with probability
# 1 - 2^(1 - n): .94 for 5 seeds, but .88 for 4 and .75 for 3.
MIN_SEEDS = 5
MIME = "application/vnd.memhelpers.claims+json"

_ROWS_FORMAT = 1
_HEAD = ("Claim", "Sentence", "Statistic", "Supported if")
_SYMBOLS = {SUPPORTED: "✓", CONTRADICTED: "✗", INCONCLUSIVE: "?"}


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, with the test that decides it.

    Args:
        id: such as "C3.1" or "C1.1a".
        chapter: the two digits that the chapter's file name begins with.
        source: paper, section and figure.
        sentence: what is claimed, in one sentence.
        statistic: the number that is measured.
        unit: the unit of that number.
        direction: "above" or "below" the threshold, or "within" two of them.
        threshold: a number, or for "within" the pair (low, high).
        seeds: the independent units (seeds, networks) below which no verdict is given.
    """

    id: str
    chapter: str
    source: str
    sentence: str
    statistic: str
    unit: str
    direction: str
    threshold: float | tuple[float, float]
    seeds: int

    @property
    def criterion(self) -> str:
        """Where the whole interval has to lie for support, in words."""
        if self.direction == "within":
            return "between {:g} and {:g}".format(*self.threshold)
        return f"{self.direction} {self.threshold:g}"


@dataclass(frozen=True)
class Verdict:
    """What an interval says of a claim.

    Args:
        claim: the claim.
        interval: the statistic's interval.
        verdict: "supported", "contradicted" or "inconclusive".
        reason: why, in words.
    """

    claim: Claim
    interval: Interval
    verdict: str
    reason: str

    def __post_init__(self) -> None:
        check_choice("verdict", self.verdict, VERDICTS)


def load(path: str | Path | None = None) -> dict[str, Claim]:
    """Reads and checks the declared claims.

    Args:
        path: a YAML file with a list of claims (default: the book's `claims.yml`).

    Returns:
        The claims by id, in the file's order.

    Raises:
        ClaimError: the file is missing or no list of claims; an id is declared twice; a field is
            missing, unknown or of the wrong kind (the message names claim and field).
    """
    path = Path(path) if path is not None else machine.book_file("claims.yml")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClaimError(f"{path.name} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path.name} is not valid YAML: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ClaimError(f"{path.name}: given {type(entries).__name__}; allowed: a list of claims")
    claims: dict[str, Claim] = {}
    for position, entry in enumerate(entries, start=1):
        claim = _claim(entry, f"{path.name}: claim number {position}")
        if claim.id in claims:
            raise ClaimError(f"{path.name}: claim {claim.id}, field id: declared twice")
        claims[claim.id] = claim
    return claims


def get(id: str) -> Claim:
    """The declared claim of this id.

    Raises:
        ClaimError: there is none; the message lists the declared ids.
    """
    return _declared(load(), id)


def judge(claim: str | Claim, interval: Interval) -> Verdict:
    """Holds an interval against a claim's threshold.

    "above": supported if the whole interval lies above the threshold, contradicted if it lies
    below; "below": the other way round; "within": supported if it lies between the two thresholds,
    contradicted if wholly outside. Everything else, and an interval of fewer units than the claim
    demands, is inconclusive.

    Args:
        claim: a declared id, or a claim of your own.
        interval: over independent units, of a level of at least 95 %.

    Returns:
        The verdict with its reason.

    Raises:
        ClaimError: the id is not declared.
        ArgumentError: the interval is a bare number, or of a lower level.
    """
    claim = get(claim) if not isinstance(claim, Claim) else claim
    if not isinstance(interval, Interval):
        raise ArgumentError("interval", interval, "an Interval over seeds, not a point estimate")
    if interval.level < LEVEL:
        raise ArgumentError("interval.level", interval.level, f"{LEVEL:g} or higher")
    if interval.n < claim.seeds:
        reason = f"the claim demands at least {claim.seeds} {interval.unit}"
        return Verdict(claim, interval, INCONCLUSIVE, reason)
    low, high = _region(claim)
    if _inside(interval, low, high, claim.direction):
        verdict, reason = SUPPORTED, f"the whole interval is {claim.criterion}"
    elif interval.high < low or interval.low > high:
        verdict, reason = CONTRADICTED, f"no part of the interval is {claim.criterion}"
    else:
        verdict, reason = INCONCLUSIVE, f"only a part of the interval is {claim.criterion}"
    if interval.low == interval.high:
        reason += f"; all {interval.n} {interval.unit} agree exactly"
    return Verdict(claim, interval, verdict, reason)


@dataclass(frozen=True, repr=False)
class Ledger:
    """A chapter's claims: the verdicts of this page's run beside those of recorded runs.

    Show it as the last value of a cell. The output carries an HTML table, plain text, and the rows
    as data, which `scoreboard` reads back.

    Args:
        here: the verdicts of the run of this page.
        recorded: verdicts of recorded runs by title, such as "paper, mnist"; None in place of the
            verdicts where that run has not been recorded.
        title: preset and data of this page's run, such as "quick, digits".
        caption: of the table.

    Raises:
        ClaimError: a claim is judged twice in one run, or no claim is judged at all.
    """

    here: Sequence[Verdict]
    recorded: Mapping[str, Sequence[Verdict] | None] = field(default_factory=dict)
    title: str = field(kw_only=True)
    caption: str = field(default="Claims of this chapter", kw_only=True)

    def __post_init__(self) -> None:
        for name, verdicts in (("here", self.here), *self.recorded.items()):
            if verdicts is not None and not all(isinstance(v, Verdict) for v in _listed(verdicts)):
                raise ArgumentError(name, verdicts, "a list of verdicts, as judge returns them")
        if self.title in self.recorded:
            raise ArgumentError("title", self.title, "another title than the recorded runs have")
        if not any(self._runs().values()):
            raise ClaimError("a ledger needs at least one verdict, and none was given")
        for title, verdicts in self._runs().items():
            _check_once((v.claim.id for v in verdicts or ()), f"the run {title!r}")

    def lines(self, title: str | None = None) -> str:
        """Ids and verdict words only, for a cell whose output is compared.

        Args:
            title: of a recorded run (default: the run of this page).

        Raises:
            ArgumentError: no run has this title.
        """
        runs = self._runs()
        title = self.title if title is None else check_choice("title", title, runs)
        return "\n".join(f"{v.claim.id} {v.verdict}" for v in runs[title] or ())

    def rows(self) -> list[dict[str, object]]:
        """One row for each verdict, JSON-ready: what the scoreboard reads."""
        return [
            _row(verdict, title, recorded=title != self.title)
            for title, verdicts in self._runs().items()
            for verdict in verdicts or ()
        ]

    def __repr__(self) -> str:
        lines = [f"{self.caption}. {_explanation(self._verdicts())}"]
        for claim in self._claims():
            lines += _claim_text(claim)
            lines += [_run_text(name, cell) for name, cell in self._cells(claim)]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        missing = [title for title, verdicts in self.recorded.items() if verdicts is None]
        rows = {"format": _ROWS_FORMAT, "rows": self.rows(), "missing": missing}
        return {"text/plain": repr(self), "text/html": self._html(), MIME: rows}

    def _html(self) -> str:
        claims = self._claims()
        head = [*_HEAD, *(name for name, _ in self._cells(claims[0]))]
        body = "".join(
            f"<tr>{_claim_html(claim)}"
            + "".join(f"<td>{_cell_html(cell)}</td>" for _, cell in self._cells(claim))
            + "</tr>\n"
            for claim in claims
        )
        caption = f"{self.caption}. {_explanation(self._verdicts())}"
        return _table_html(self.caption, caption, head, f"<tbody>\n{body}</tbody>\n")

    def _runs(self) -> dict[str, Sequence[Verdict] | None]:
        return {self.title: self.here, **self.recorded}

    def _verdicts(self) -> list[Verdict]:
        return [verdict for verdicts in self._runs().values() for verdict in verdicts or ()]

    def _claims(self) -> list[Claim]:
        return list({verdict.claim.id: verdict.claim for verdict in self._verdicts()}.values())

    def _cells(self, claim: Claim) -> list[tuple[str, Verdict | str]]:
        """For each run its heading, and the verdict or the words that stand in for it."""
        cells = [(f"Here: {self.title}", _find(self.here, claim))]
        for title, verdicts in self.recorded.items():
            cell = NOT_RECORDED if verdicts is None else _find(verdicts, claim)
            cells.append((f"Recorded: {title}", cell))
        return cells if self.recorded else [*cells, ("Recorded", NOT_RECORDED)]


@dataclass(frozen=True, repr=False)
class Scoreboard:
    """Every declared claim with every verdict that the chapters show. Made by `scoreboard`.

    Args:
        claims: the declared claims by id.
        chapters: for each chapter's two digits, the stem of its file name and its title.
        here: the verdict of the pages' own runs with its run's title, by claim id.
        recorded: for each claim id, the recorded runs' titles and verdicts.
    """

    claims: Mapping[str, Claim]
    chapters: Mapping[str, tuple[str, str]]
    here: Mapping[str, tuple[str, Verdict]]
    recorded: Mapping[str, Sequence[tuple[str, Verdict | str]]]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many claims have which verdict: {"here": {...}, "recorded": {...}}.

        A claim with several recorded runs counts once for each; the claims without one at the
        paper's scale are also under "not recorded at paper scale".
        """
        here = [v.verdict for _, v in self.here.values()]
        recorded = [v for id in self.claims for _, v in self.recorded[id]]
        words = [v.verdict for v in recorded if isinstance(v, Verdict)]
        runs = [[v for _, v in self.recorded[id]] for id in self.claims]
        bare = sum(not verdicts or NOT_RECORDED in verdicts for verdicts in runs)
        return {
            "here": {**_tally(here), NOT_MEASURED: len(self.claims) - len(here)},
            "recorded": {**_tally(words), NOT_RECORDED: bare},
        }

    def lines(self) -> str:
        """Ids and the verdict words of the pages' runs, for a cell whose output is compared."""
        words = {id: verdict.verdict for id, (_, verdict) in self.here.items()}
        return "\n".join(f"{id} {words.get(id, NOT_MEASURED)}" for id in self.claims)

    def __repr__(self) -> str:
        lines = [self._caption()]
        for chapter, claims in self._by_chapter().items():
            lines.append(f"\nChapter {chapter}: {self._heading(chapter)[1]}")
            for claim in claims:
                lines += _claim_text(claim)
                lines += [_run_text(f"Here: {name}", cell) for name, cell in self._here(claim)]
                lines += [_run_text(f"Recorded: {n}", c) for n, c in self._recorded(claim)]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        return {"text/plain": repr(self), "text/html": self._html()}

    def _html(self) -> str:
        head = [*_HEAD, "This page's run", "Recorded runs"]
        body = "".join(
            f"<tbody>\n{self._chapter_html(chapter, len(head))}"
            + "".join(self._claim_html(claim) for claim in claims)
            + "</tbody>\n"
            for chapter, claims in self._by_chapter().items()
        )
        return _table_html("All claims of the book", self._caption(), head, body)

    def _chapter_html(self, chapter: str, width: int) -> str:
        stem, title = self._heading(chapter)
        text = html.escape(f"Chapter {chapter}: {title}")
        link = f'<a href="{html.escape(stem)}.html">{text}</a>' if stem else text
        return f'<tr><th scope="rowgroup" colspan="{width}">{link}</th></tr>\n'

    def _claim_html(self, claim: Claim) -> str:
        here, recorded = (
            "".join(f"<div>{_named_html(name, cell)}</div>" for name, cell in runs)
            for runs in (self._here(claim), self._recorded(claim))
        )
        return f"<tr>{_claim_html(claim)}<td>{here}</td><td>{recorded}</td></tr>\n"

    def _caption(self) -> str:
        counts = self.counts()
        here, recorded = (
            ", ".join(f"{n} {word}" for word, n in counts[run].items()) for run in counts
        )
        shown = [verdict for _, verdict in self.here.values()]
        return (
            f"{len(self.claims)} claims. The pages' own runs: {here}. Recorded runs: {recorded}. "
            + _explanation(shown)
        )

    def _by_chapter(self) -> dict[str, list[Claim]]:
        grouped: dict[str, list[Claim]] = {}
        for claim in sorted(self.claims.values(), key=lambda claim: claim.chapter):
            grouped.setdefault(claim.chapter, []).append(claim)
        return grouped

    def _heading(self, chapter: str) -> tuple[str, str]:
        return self.chapters.get(chapter, ("", "not written yet"))

    def _here(self, claim: Claim) -> list[tuple[str, Verdict | str]]:
        return [self.here.get(claim.id, ("", NOT_MEASURED))]

    def _recorded(self, claim: Claim) -> Sequence[tuple[str, Verdict | str]]:
        return self.recorded[claim.id] or [("", NOT_RECORDED)]


def scoreboard(folder: str | Path = ".") -> Scoreboard:
    """Gathers the verdicts of all chapters from the outputs stored in their notebooks.

    Nothing is executed. Each stored interval is judged again against the declared threshold, so a
    ledger that is older than the claims file cannot pass for a current one.

    Args:
        folder: holds the chapters, `NN-*.ipynb`.

    Returns:
        The table for display; declared claims that no chapter shows are in it as not measured yet.

    Raises:
        ClaimError: no chapter or an unreadable one; an id that is not declared, or stands in two
            ledgers, or in a chapter that it was not declared for; a stored verdict that differs
            from what the claims file gives now.
    """
    paths = sorted(Path(folder).glob("[0-9][0-9]-*.ipynb"))
    if not paths:
        raise ClaimError(f"no chapter: the folder {Path(folder).name!r} holds no NN-*.ipynb")
    claims = load()
    here: dict[str, tuple[str, Verdict]] = {}
    recorded: dict[str, list[tuple[str, Verdict | str]]] = {id: [] for id in claims}
    chapters, shown_in = {}, {}
    for path in paths:
        notebook = _notebook(path)
        chapters[path.name[:2]] = (path.stem, _title(notebook))
        for ledger in _ledgers(notebook, path.name):
            ids = list(dict.fromkeys(row["id"] for row in ledger["rows"]))
            for id in ids:
                _check_place(_declared(claims, id), path.name, shown_in)
            for row in ledger["rows"]:
                verdict = _verdict(row, claims[row["id"]], path.name)
                if row["recorded"]:
                    recorded[row["id"]].append((row["run"], verdict))
                else:
                    here[row["id"]] = (row["run"], verdict)
            for id in ids:
                recorded[id] += [(title, NOT_RECORDED) for title in ledger["missing"]]
    return Scoreboard(claims, chapters, here, recorded)


# Reading the claims file


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _matches(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


_TEXT = (_is_text, "a text")
_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "id": (_matches(r"[A-Z]+\d+(\.\d+)?[a-z]?"), 'a letter and numbers, such as "C3.1" or "C1.1a"'),
    "chapter": (_matches(r"\d\d"), 'two digits in quotes, such as "04"'),
    "source": _TEXT,
    "sentence": _TEXT,
    "statistic": _TEXT,
    "unit": _TEXT,
    "direction": (lambda value: value in DIRECTIONS, "one of " + ", ".join(DIRECTIONS)),
    "threshold": (lambda value: value is not None, "a number, or two numbers [low, high]"),
    "seeds": (
        lambda value: type(value) is int and value >= MIN_SEEDS,
        f"a whole number of at least {MIN_SEEDS}",
    ),
}


def _claim(entry: object, where: str) -> Claim:
    if not isinstance(entry, dict):
        raise ClaimError(f"{where}: given {entry!r}; allowed: a mapping of " + ", ".join(_FIELDS))
    if _is_text(entry.get("id")):
        where = f"{where.split(':')[0]}: claim {entry['id']}"
    for name in entry:
        if name not in _FIELDS:
            allowed = ", ".join(_FIELDS)
            raise ClaimError(f"{where}, field {name}: is unknown; allowed: {allowed}")
    for name, (is_allowed, allowed) in _FIELDS.items():
        if name not in entry:
            raise ClaimError(f"{where}, field {name}: is missing; allowed: {allowed}")
        if not is_allowed(entry[name]):
            raise ClaimError(f"{where}, field {name}: given {entry[name]!r}; allowed: {allowed}")
    texts = {name: " ".join(v.split()) for name, v in entry.items() if isinstance(v, str)}
    return Claim(**{**entry, **texts, "threshold": _threshold(entry, where)})


def _threshold(entry: Mapping[str, object], where: str) -> float | tuple[float, float]:
    value, direction = entry["threshold"], entry["direction"]
    if direction == "within":
        pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        if pair and value[0] < value[1]:
            return float(value[0]), float(value[1])
        allowed = "two numbers [low, high], low < high"
    else:
        if _is_number(value):
            return float(value)
        allowed = "a number"
    message = f"given {value!r}; allowed for {direction!r}: {allowed}"
    raise ClaimError(f"{where}, field threshold: {message}")


def _declared(claims: Mapping[str, Claim], id: object) -> Claim:
    if id not in claims:
        raise ClaimError(f"claim {id!r} is not declared; declared: {', '.join(claims)}")
    return claims[id]


# Judging


def _region(claim: Claim) -> tuple[float, float]:
    if claim.direction == "within":
        return claim.threshold
    above = claim.direction == "above"
    return (claim.threshold, math.inf) if above else (-math.inf, claim.threshold)


def _inside(interval: Interval, low: float, high: float, direction: str) -> bool:
    if direction == "within":
        return low <= interval.low and interval.high <= high
    # The far end may be open, as it is where some runs were stopped before they had finished.
    return interval.low > low if direction == "above" else interval.high < high


# Rows between a ledger and the scoreboard


def _row(verdict: Verdict, run: str, recorded: bool) -> dict[str, object]:
    interval = verdict.interval
    return {
        "id": verdict.claim.id,
        "run": run,
        "recorded": recorded,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "estimate": interval.estimate,
        # JSON knows no infinity.
        "low": interval.low if math.isfinite(interval.low) else None,
        "high": interval.high if math.isfinite(interval.high) else None,
        "level": interval.level,
        "n": interval.n,
        "unit": interval.unit,
    }


def _verdict(row: Mapping[str, object], claim: Claim, name: str) -> Verdict:
    low = -math.inf if row["low"] is None else row["low"]
    high = math.inf if row["high"] is None else row["high"]
    interval = Interval(row["estimate"], low, high, row["level"], row["n"], row["unit"])
    verdict = judge(claim, interval)
    if verdict.verdict != row["verdict"]:
        raise ClaimError(
            f"{name}: claim {claim.id} is stored as {row['verdict']}, but the claims file gives "
            f"{verdict.verdict} for {interval}; execute the chapter again"
        )
    return verdict


def _notebook(path: Path) -> dict:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        return {"cells": [dict(cell) for cell in notebook["cells"]]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClaimError(f"{path.name} cannot be read as a notebook: {error!r}") from None


def _title(notebook: dict) -> str:
    for cell in notebook["cells"]:
        heading = re.search(r"^# +(.+)$", "".join(cell.get("source", "")), re.MULTILINE)
        if cell.get("cell_type") == "markdown" and heading:
            return heading.group(1).strip()
    return "untitled"


def _ledgers(notebook: dict, name: str) -> list[dict]:
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    ledgers = [output["data"][MIME] for output in outputs if MIME in output.get("data", ())]
    for ledger in ledgers:
        if ledger.get("format") != _ROWS_FORMAT:
            given = f"format {ledger.get('format')!r}; allowed: {_ROWS_FORMAT}"
            raise ClaimError(f"{name}: its claims table has {given}; execute the chapter again")
    return ledgers


def _check_place(claim: Claim, name: str, shown_in: dict[str, str]) -> None:
    if claim.id in shown_in:
        raise ClaimError(f"claim {claim.id} stands in two tables: {shown_in[claim.id]} and {name}")
    if claim.chapter != name[:2]:
        raise ClaimError(f"claim {claim.id} of chapter {claim.chapter} is shown in {name}")
    shown_in[claim.id] = name


def _check_once(ids: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise ClaimError(f"claim {id} is judged twice in {where}")
        seen.add(id)


def _tally(words: Sequence[str]) -> dict[str, int]:
    return {word: words.count(word) for word in VERDICTS}


def _listed(verdicts: object) -> list | tuple:
    # An iterator would be empty when the table is drawn.
    return verdicts if isinstance(verdicts, list | tuple) else [None]


def _find(verdicts: Iterable[Verdict], claim: Claim) -> Verdict | str:
    return next((v for v in verdicts if v.claim.id == claim.id), NOT_IN_RUN)


# Rendering: a verdict is told by its word and a symbol, never by colour alone


def _explanation(verdicts: Iterable[Verdict]) -> str:
    levels = sorted({verdict.interval.level for verdict in verdicts})
    shown = " and ".join(f"{100 * level:g} %" for level in levels or [LEVEL])
    return f"In brackets: {shown} intervals."


def _claim_text(claim: Claim) -> list[str]:
    sentence = textwrap.wrap(f"{claim.id}: {claim.sentence}", 96, subsequent_indent="    ")
    test = f"    {claim.statistic} ({claim.unit}); supported if {claim.criterion}"
    return [*sentence, test]


def _run_text(name: str, cell: Verdict | str) -> str:
    if isinstance(cell, str):
        return f"    {name.removesuffix(': ')}: {cell}"
    symbol, reason = _SYMBOLS[cell.verdict], _shown_reason(cell)
    return f"    {name}: {symbol} {cell.verdict}, {cell.interval}{reason and f' ({reason})'}"


def _shown_reason(verdict: Verdict) -> str:
    return verdict.reason if verdict.verdict == INCONCLUSIVE else ""


def _claim_html(claim: Claim) -> str:
    statistic = html.escape(f"{claim.statistic} ({claim.unit})")
    return (
        f'<th scope="row">{html.escape(claim.id)}</th>'
        f"<td>{html.escape(claim.sentence)} <cite>{html.escape(claim.source)}</cite></td>"
        f"<td>{statistic}</td><td>{html.escape(claim.criterion)}</td>"
    )


def _cell_html(cell: Verdict | str) -> str:
    if isinstance(cell, str):
        return f'<span class="mem-missing">{html.escape(cell)}</span>'
    reason = html.escape(_shown_reason(cell))
    return (
        f'<strong class="verdict-{cell.verdict}"><span aria-hidden="true">'
        f"{_SYMBOLS[cell.verdict]}</span> {cell.verdict}</strong>"
        f'<br><span class="mem-interval">{html.escape(str(cell.interval))}</span>'
        + (f'<br><small class="mem-reason">{reason}</small>' if reason else "")
    )


def _named_html(name: str, cell: Verdict | str) -> str:
    label = f'<span class="mem-run">{html.escape(name)}:</span> ' if name else ""
    return label + _cell_html(cell)


def _table_html(label: str, caption: str, head: Sequence[str], body: str) -> str:
    columns = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    return (
        # A wide table scrolls by itself on a narrow page; focus lets the keyboard scroll it.
        '<div class="mem-ledger-scroll" role="region" tabindex="0" '
        f'aria-label="{html.escape(label)}">\n'
        f'<table class="mem-ledger">\n<caption>{html.escape(caption)}</caption>\n'
        f"<thead>\n<tr>{columns}</tr>\n</thead>\n{body}</table>\n</div>"
    )
