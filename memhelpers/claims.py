"""The claims, stated in `claims.yml` before they are measured, and the verdicts on them.

An interval over seeds meets the threshold that was declared for it, a chapter shows its verdicts in
a `Ledger`, and the `scoreboard` gathers the ledgers of all chapters from their stored outputs.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml

from memhelpers.errors import ArgumentError, ClaimError, check_choice
from memhelpers.page import ledger
from memhelpers.runs import machine
from memhelpers.stats import LEVEL, Interval

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE)
DIRECTIONS = ("above", "below", "within")
NOT_RECORDED = "not recorded at paper scale"
NOT_IN_RUN = "not measured in this run"
NOT_MEASURED = "not measured yet"
# What counts independent runs: examples, or time steps of one run, share its weights.
UNITS = ("seeds", "networks")
# A bootstrap interval of n seeds stays within their range, which holds the median with probability
# 1 - 2^(1 - n): .94 for 5 seeds, but .88 for 4 and .75 for 3.
MIN_SEEDS = 5
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
    seeds: int  # independent units (seeds, networks) below which no verdict is given

    @property
    def criterion(self) -> str:
        """Where the whole interval has to lie for support, in words."""
        if self.direction == "within":
            return "between {:g} and {:g}".format(*self.threshold)
        return f"{self.direction} {self.threshold:g}"


@dataclass(frozen=True)
class Verdict:
    """What an interval says of a claim, one of `VERDICTS`, and why, in words."""

    claim: Claim
    interval: Interval
    verdict: str
    reason: str


def load(path: str | Path | None = None) -> dict[str, Claim]:
    """Reads and checks the declared claims.

    Args:
        path: a YAML file with a list of claims (default: the book's `claims.yml`).

    Returns:
        The claims by id, in the file's order.

    Raises:
        ClaimError: the file is missing or no list of claims; an id is declared twice; a field is
            missing, unknown or of the wrong kind.
    """
    path = Path(path or machine.book_file("claims.yml"))
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path.name} cannot be read as YAML: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ClaimError(f"{path.name}: given {type(entries).__name__}; allowed: a list of claims")
    claims: dict[str, Claim] = {}
    for position, entry in enumerate(entries, start=1):
        named = entry["id"] if isinstance(entry, dict) and "id" in entry else f"number {position}"
        claim = _claim(entry, f"{path.name}: claim {named}")
        if claim.id in claims:
            raise ClaimError(f"{path.name}: claim {claim.id}, field id: declared twice")
        claims[claim.id] = claim
    return claims


def get(id: str, claims: Mapping[str, Claim] | None = None) -> Claim:
    """The claim of this id, among the declared ones or those given.

    Raises:
        ClaimError: there is none; the message lists the declared ids.
    """
    claims = load() if claims is None else claims
    if id not in claims:
        raise ClaimError(f"claim {id!r} is not declared; declared: {', '.join(claims)}")
    return claims[id]


def judge(claim: str | Claim, interval: Interval) -> Verdict:
    """Holds an interval against a claim's threshold.

    Supported if the whole interval lies where the claim has it (above the threshold, below it, or
    within two), contradicted if it wholly lies elsewhere. Everything else is inconclusive: an
    interval that only touches a threshold, and one of fewer units than the claim demands.

    Args:
        claim: a declared id, or a claim of your own.
        interval: over independent units (`UNITS`), of a level of at least 95 %.

    Raises:
        ClaimError: the id is not declared.
        ArgumentError: the interval is a bare number, counts other units, or is of a lower level.
    """
    claim = get(claim) if not isinstance(claim, Claim) else claim
    if not isinstance(interval, Interval):
        raise ArgumentError("interval", interval, "an Interval over seeds, not a point estimate")
    check_choice("interval.unit", interval.unit, UNITS)
    if interval.level < LEVEL:
        raise ArgumentError("interval.level", interval.level, f"{LEVEL:g} or higher")
    if interval.n < claim.seeds:
        reason = f"the claim demands at least {claim.seeds} {interval.unit}"
        return Verdict(claim, interval, INCONCLUSIVE, reason)
    inside, outside = _place(interval, claim)
    if inside:
        verdict, reason = SUPPORTED, f"the whole interval is {claim.criterion}"
    elif outside:
        verdict, reason = CONTRADICTED, f"no part of the interval is {claim.criterion}"
    else:
        verdict, reason = INCONCLUSIVE, f"only a part of the interval is {claim.criterion}"
    if interval.low == interval.high:
        reason += f"; all {interval.n} {interval.unit} agree exactly"
    return Verdict(claim, interval, verdict, reason)


@dataclass(frozen=True, repr=False)
class Ledger(ledger.Shown):
    """A chapter's claims: the verdicts of this page's run beside those of recorded runs.

    Its output carries an HTML table, plain text, and the rows as data, which `scoreboard` reads.

    Args:
        here: the verdicts of the run of this page.
        recorded: verdicts of recorded runs by title, such as "paper, mnist"; None where that run
            has not been recorded.
        title: preset and data of this page's run, such as "quick, digits".

    Raises:
        ArgumentError: verdicts are no list of `Verdict`, or a recorded run has this run's title.
        ClaimError: a claim is judged twice in one run, or no claim is judged at all.
    """

    here: Sequence[Verdict]
    recorded: Mapping[str, Sequence[Verdict] | None] = field(default_factory=dict)
    title: str = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.title in self.recorded:
            raise ArgumentError("title", self.title, "another title than the recorded runs have")
        for title, verdicts in self._runs.items():
            # Not an iterator, which would be empty when the table is drawn.
            listed = isinstance(verdicts, list | tuple | None)
            if not listed or not all(isinstance(one, Verdict) for one in verdicts or ()):
                raise ArgumentError(title, verdicts, "a list of verdicts, as judge returns them")
            ids = [verdict.claim.id for verdict in verdicts or ()]
            twice = [id for id in ids if ids.count(id) > 1]
            if twice:
                raise ClaimError(f"claim {twice[0]} is judged twice in the run {title!r}")
        if not self.rows():
            raise ClaimError("a ledger needs at least one verdict, and none was given")

    @property
    def _runs(self) -> dict[str, Sequence[Verdict] | None]:
        return {self.title: self.here, **self.recorded}

    def lines(self) -> str:
        """Ids and verdict words of this page's run, for a cell whose output is compared."""
        return "\n".join(f"{verdict.claim.id} {verdict.verdict}" for verdict in self.here)

    def rows(self) -> list[dict[str, object]]:
        """One row for each verdict, JSON-ready: what the scoreboard reads."""
        runs = self._runs.items()
        return [_row(one, run, run != self.title) for run, judged in runs for one in judged or ()]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        missing = [title for title, verdicts in self.recorded.items() if verdicts is None]
        data = {"format": 1, "rows": self.rows(), "missing": missing}
        return {**super()._repr_mimebundle_(), MIME: data}

    def parts(self) -> tuple[str, ledger.Table, Mapping[str, str]]:
        """Caption, rows by heading, and where the headings lead."""
        claims = {v.claim.id: v.claim for run in self._runs.values() for v in run or ()}
        rows = []
        for claim in claims.values():
            here, *recorded = [(title, _find(run, claim)) for title, run in self._runs.items()]
            rows.append((claim, [here], recorded or [("", NOT_RECORDED)]))
        return "Claims of this chapter", {"": rows}, {}


@dataclass(frozen=True, repr=False)
class Scoreboard(ledger.Shown):
    """Every declared claim with every verdict that the chapters show. Made by `scoreboard`."""

    claims: Mapping[str, Claim]  # by id
    chapters: Mapping[str, tuple[str, str]]  # stem of the file and title, by the two digits
    here: Mapping[str, Sequence[tuple[str, Verdict]]]  # title and verdict of a run, by claim id
    recorded: Mapping[str, Sequence[tuple[str, Verdict | str]]]

    def lines(self) -> str:
        """Ids and the verdict words of the pages' runs, for a cell whose output is compared."""
        words = {id: run[0][1].verdict if run else NOT_MEASURED for id, run in self.here.items()}
        return "\n".join(f"{id} {word}" for id, word in words.items())

    def parts(self) -> tuple[str, ledger.Table, Mapping[str, str]]:
        """Caption, rows by heading, and where the headings lead."""
        here, recorded = _counts(self.here, NOT_MEASURED), _counts(self.recorded, NOT_RECORDED)
        caption = (
            f"{len(self.claims)} claims. The pages' own runs: {here}. Recorded runs: {recorded}"
        )
        table: dict[str, list] = {}
        links: dict[str, str] = {}
        for claim in sorted(self.claims.values(), key=lambda claim: claim.chapter):
            stem, title = self.chapters.get(claim.chapter, ("", "not written yet"))
            heading = f"Chapter {claim.chapter}: {title}"
            links |= {heading: f"{stem}.html"} if stem else {}
            here = self.here[claim.id] or [("", NOT_MEASURED)]
            recorded = self.recorded[claim.id] or [("", NOT_RECORDED)]
            table.setdefault(heading, []).append((claim, here, recorded))
        return caption, table, links


def scoreboard(folder: str | Path = ".") -> Scoreboard:
    """Gathers the verdicts of all chapters, `NN-*.ipynb`, from the outputs stored in them.

    Each stored interval is judged again against the declared threshold, so a ledger that is older
    than the claims file cannot pass for a current one. Claims not shown are listed, too.

    Raises:
        ClaimError: no chapter or an unreadable one; an id that is not declared, or stands in two
            ledgers, or in a chapter that it was not declared for; a stored verdict that differs
            from what the claims file gives now.
    """
    paths = sorted(Path(folder).glob("[0-9][0-9]-*.ipynb"))
    if not paths:
        raise ClaimError(f"no chapter: the folder {Path(folder).name!r} holds no NN-*.ipynb")
    claims, chapters, shown_in = load(), {}, {}
    here: dict[str, list] = {id: [] for id in claims}
    recorded: dict[str, list] = {id: [] for id in claims}
    for path in paths:
        title, ledgers = _read(path)
        chapters[path.name[:2]] = (path.stem, title)
        for stored in ledgers:
            ids = dict.fromkeys(row["id"] for row in stored["rows"])
            for id in ids:
                if id in shown_in:
                    both = f"{shown_in[id]} and {path.name}"
                    raise ClaimError(f"claim {id} stands in two tables: {both}")
                shown_in[id] = path.name
            for row in stored["rows"]:
                side = recorded if row["recorded"] else here
                verdict = _verdict(row, get(row["id"], claims), path.name)
                side[row["id"]].append((row["run"], verdict))
            for id in ids:
                recorded[id] += [(run, NOT_RECORDED) for run in stored["missing"]]
    return Scoreboard(claims, chapters, here, recorded)


def _text(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value, re.DOTALL))


def _is_threshold(value: object) -> bool:
    ends = value if isinstance(value, list) else [value]
    finite = all(type(end) in (int, float) and math.isfinite(end) for end in ends)
    return finite and len(ends) == 1 + isinstance(value, list) and ends == sorted(set(ends))


_ANY = (_text(r".*\S.*"), "a text")
_FIELDS = {
    "id": (_text(r"[A-Z]+\d+(\.\d+)?[a-z]?"), 'letters and numbers, such as "C3.1" or "C1.1a"'),
    "chapter": (_text(r"\d\d"), 'two digits in quotes, such as "04"'),
    **dict.fromkeys(("source", "sentence", "statistic", "unit"), _ANY),
    "direction": (_text("|".join(DIRECTIONS)), "one of " + ", ".join(DIRECTIONS)),
    "threshold": (_is_threshold, "a number, or for within [low, high] with low < high"),
    "seeds": (lambda n: type(n) is int and n >= MIN_SEEDS, f"an integer of at least {MIN_SEEDS}"),
}
_UNKNOWN = (lambda value: False, "only " + ", ".join(_FIELDS))


def _claim(entry: object, where: str) -> Claim:
    if not isinstance(entry, dict):
        raise ClaimError(f"{where}: given {entry!r}; allowed: a mapping of {', '.join(_FIELDS)}")
    pair = isinstance(entry.get("threshold"), list)
    for name in dict.fromkeys((*_FIELDS, *entry)):
        is_allowed, allowed = _FIELDS.get(name, _UNKNOWN)
        mixed = name == "threshold" and pair != (entry["direction"] == "within")
        if mixed or not is_allowed(entry.get(name)):
            given = repr(entry[name]) if name in entry else "nothing"
            raise ClaimError(f"{where}, field {name}: given {given}; allowed: {allowed}")
    texts = {k: " ".join(v.split()) if isinstance(v, str) else v for k, v in entry.items()}
    threshold = tuple(map(float, texts["threshold"])) if pair else float(texts["threshold"])
    return Claim(**{**texts, "threshold": threshold})


def _place(interval: Interval, claim: Claim) -> tuple[bool, bool]:
    """Whether the interval lies wholly where the claim has it, and wholly elsewhere."""
    low, high, threshold = interval.low, interval.high, claim.threshold
    if claim.direction == "above":
        return low > threshold, high < threshold
    if claim.direction == "below":
        return high < threshold, low > threshold
    return threshold[0] < low and high < threshold[1], high < threshold[0] or low > threshold[1]


def _find(verdicts: Sequence[Verdict] | None, claim: Claim) -> Verdict | str:
    missing = NOT_RECORDED if verdicts is None else NOT_IN_RUN
    return next((v for v in verdicts or () if v.claim.id == claim.id), missing)


def _counts(runs: Mapping[str, Sequence[tuple[str, Verdict | str]]], missing: str) -> str:
    """How many runs reach which verdict, and how many claims lack one, in words."""
    told = [[said for _, said in run] for run in runs.values()]
    words = [one.verdict for run in told for one in run if isinstance(one, Verdict)]
    numbers = [f"{words.count(word)} {word}" for word in VERDICTS]
    return ", ".join([*numbers, f"{sum(not run or missing in run for run in told)} {missing}"])


def _row(verdict: Verdict, run: str, recorded: bool) -> dict[str, object]:
    # JSON knows no infinity.
    numbers = asdict(verdict.interval).items()
    return {
        "id": verdict.claim.id,
        "run": run,
        "recorded": recorded,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        **{name: None if value in (-math.inf, math.inf) else value for name, value in numbers},
    }


def _verdict(row: Mapping[str, object], claim: Claim, name: str) -> Verdict:
    if claim.chapter != name[:2]:
        raise ClaimError(f"claim {claim.id} of chapter {claim.chapter} is shown in {name}")
    numbers = {one.name: row[one.name] for one in fields(Interval)}
    ends = {"low": -math.inf, "high": math.inf}
    interval = Interval(**numbers | {end: ends[end] for end in ends if row[end] is None})
    verdict = judge(claim, interval)
    if verdict.verdict != row["verdict"]:
        raise ClaimError(
            f"{name}: claim {claim.id} is stored as {row['verdict']}, but the claims file gives "
            f"{verdict.verdict} for {interval}; execute the chapter again"
        )
    return verdict


def _read(path: Path) -> tuple[str, list[dict]]:
    """A chapter's title and the rows of the ledgers among its stored outputs."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        outputs = [output.get("data", {}) for c in cells for output in c.get("outputs", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClaimError(f"{path.name} cannot be read as a notebook: {error!r}") from None
    ledgers = [data[MIME] for data in outputs if MIME in data]
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return heading.group(1).strip() if heading else "untitled", ledgers
