"""Gather every claim with every verdict that the chapters show: a page, a text, and JSON.

A chapter's `claims.Ledger` leaves its verdicts as data beside its cards, in the outputs of the
notebook. The build reads them there, once the chapters are executed.
"""

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from memhelpers import claims, lab
from memhelpers.claims import Claim, Ledger, Verdict
from memhelpers.errors import ClaimError
from tools import cards, judging, notebooks, stated, trail

PAGE = "book/scoreboard.md"
PLACES = COUNTS, PICTURE, TABLE = "<!-- counts -->", "<!-- picture -->", "<!-- table -->"
DATA = "claims.json"  # at the root of the rendered book
NOT_MEASURED = "not measured yet"
HERE, RECORDED = "This page", "Recorded"
# Percent of a strip's width: where the threshold stands, and how far either side reaches.
THRESHOLD, REACH = 48, 46
MARK = 13  # px that a mark is high


@dataclass(frozen=True)
class Scoreboard:
    """Every declared claim, and the cards in which the chapters show them."""

    claims: Mapping[str, Claim]  # by id
    chapters: Mapping[str, tuple[str, str]]  # stem of the file and title, by the two digits
    ledgers: Mapping[str, Ledger]  # by the id of each claim that stands in them
    code: Mapping[str, str] = field(default_factory=dict)  # of the statistic, by id
    repository: str = ""  # its address, where it is known

    def __str__(self) -> str:
        """Return all of it as plain text."""
        lines = [self.counts()]
        for claim, *runs in (row for rows in self.groups().values() for row in rows):
            told = "; ".join(f"{v.verdict}, {v.interval} ({run})" for run, v in cards.judged(*runs))
            lines.append(f"{claim.id} {claim.short}: {told or NOT_MEASURED}")
        return "\n".join(lines)

    def groups(self) -> dict[str, list[cards.Row]]:
        """Return the row of each claim, by the two digits of its chapter."""
        groups: dict[str, list[cards.Row]] = {}
        for claim in sorted(self.claims.values(), key=lambda claim: claim.chapter):
            row = (claim, [("", NOT_MEASURED)], [("", cards.NOT_RECORDED)])
            if claim.id in self.ledgers:
                rows = cards.rows_of(self.ledgers[claim.id])
                (row,) = [row for row in rows if row[0].id == claim.id]
            groups.setdefault(claim.chapter, []).append(row)
        return groups

    def counts(self) -> str:
        """Return in words how many claims have which verdict, and how many are at full scale."""
        rows = [row for group in self.groups().values() for row in group]
        recorded = _tally([cards.judged([], runs) for *_, runs in rows], "have no recorded run")
        here = _tally([cards.judged(runs, []) for _, runs, _ in rows], f"are {NOT_MEASURED}")
        full = self.at_paper_scale()
        numbers = sorted({str(int(self.claims[id].chapter)) for id in full})
        chapters = f": chapter{'s' * (len(numbers) > 1)} {_and(numbers)}" if numbers else ""
        scale = f"{len(full) or 'None'} {'is' if len(full) == 1 else 'are'}"
        return (
            f"{len(rows)} claims{_controls(self.claims.values())}. In the largest recorded run of "
            f"each, {recorded}; in the runs of these pages, {here}. {scale} recorded at the "
            f"paper's own scale{chapters}."
        )

    def at_paper_scale(self) -> set[str]:
        """Return the ids of claims with a run whose record has the paper's sizes and grids.

        Raises:
            ClaimError: A chapter does not judge such a record.
        """
        full = {
            (stem, label)
            for stem, _ in self.chapters.values()
            for label, record in lab.Chapter(stem).recorded.items()
            if lab.at_paper_scale(record)
        }
        for stem, run in full - {key[:2] for key in self.verdicts()}:
            raise ClaimError(f"{stem}: no verdict on the run {run!r}; execute the chapter again")
        return {id for stem, run, id in self.verdicts() if (stem, run) in full}

    def picture(self) -> str:
        """Return a line for each claim, with its runs beside the threshold, as HTML."""
        rows = [row for group in self.groups().values() for row in group]
        found = dict.fromkeys(column for row in rows for column in _by_data(row))
        columns = sorted(found, key=lambda column: column[0] != HERE)
        heads = "".join(
            f'<span>{column[0]}<br><b><svg aria-hidden="true" width="14" height="10" viewBox="-7 '
            f'-5 14 10">{_dot(column, columns)}</svg> {html.escape(column[1])}</b></span>'
            for column in columns
        )
        sides = "".join(
            f'<b style="{cards.paint(word)}">{told}</b>'
            for word, told in (("contradicted", "← contradicted"), ("supported", "supported →"))
        )
        shown = (
            '<div class="mem-score-head"><span class="mem-score-if">supported if</span>'
            f'<span class="mem-sides"><b>threshold</b>{sides}</span>'
            f'<span class="mem-score-values">{heads}</span></div>\n'
        )
        for number, group in self.groups().items():
            source = cards.text(group[0][0].source.split(", Sec.")[0])
            shown += (
                f'<p class="mem-score-chapter"><span>{int(number)}</span> '
                f"<b>{self._link(number)}</b> <small>{source}</small> {_strip('', False)}</p>\n"
            )
            shown += "".join(_line(row, columns, self.link(row[0])) for row in group)
        return f'<div class="mem-score mem-wide" style="--runs:{len(columns)}">\n{shown}</div>'

    def table(self) -> str:
        """Return all of it with the full sentences, as an HTML table."""
        names = ("Claim", "Sentence", "Verdicts")
        columns = "".join(f'<th scope="col">{name}</th>' for name in names)
        body = ""
        for number, rows in self.groups().items():
            stem = self.chapters.get(number, ("",))[0]
            head = f"{self._link(number)}<small>{trail.record_links(stem, self.repository)}</small>"
            body += f'<tbody>\n<tr><th scope="rowgroup" colspan="3">{head}</th></tr>\n'
            body += "".join(map(self._row, rows)) + "</tbody>\n"
        return f'<table class="mem-scores">\n<thead><tr>{columns}</tr></thead>\n{body}</table>'

    def _row(self, row: cards.Row) -> str:
        claim, here, recorded = row
        late = f" {claim.late[:1].upper()}{claim.late[1:]}." if claim.late else ""
        late += " A control of the measurement." * claim.control
        rule = f"{claim.statistic}: supported if {claim.criterion}. {claim.source}.{late}"
        return (
            f'<tr id="{claim.id}"><th scope="row"><a{self.link(claim)}>{claim.id}</a></th>'
            f"<td>{cards.text(claim.sentence)}<small>{cards.text(rule)}</small></td>"
            f"<td>{''.join(_cell(*run) for run in [*here, *recorded])}"
            f"<small>{trail.links(*self._rests_on(claim), self.repository)}</small></td></tr>\n"
        )

    def _rests_on(self, claim: Claim) -> tuple[Claim, str, str | None]:
        return claim, self.chapters.get(claim.chapter, ("",))[0], self.code.get(claim.id)

    def link(self, claim: Claim) -> str:
        """Return the link to the card of a claim, as an attribute; empty where there is none."""
        if claim.id not in self.ledgers:
            return ""
        return f' href="{self.chapters[claim.chapter][0]}.html#claim-{claim.id}"'

    def _link(self, number: str) -> str:
        stem, title = self.chapters.get(number, ("", "not written yet"))
        return f'<a href="{stem}.html">{html.escape(title)}</a>' if stem else title

    def data(self) -> dict[str, object]:
        """Return all of it ready for JSON; `low` and `high` are None where they are infinite."""
        return {"format": 1, "claims": [self._entry(claim) for claim in self.claims.values()]}

    def _entry(self, claim: Claim) -> dict[str, object]:
        found = self.ledgers.get(claim.id)
        told = found.data() if found else {"rows": [], "missing": []}
        rows = [row for row in told["rows"] if row.pop("id") == claim.id]
        about = asdict(claim) | trail.trail(*self._rests_on(claim))
        return {**about, "verdicts": rows, "not_recorded": told["missing"]}

    def verdicts(self) -> dict[tuple[str, str, str], Verdict]:
        """Return every verdict by chapter, title of the run and id."""
        return {
            (self.chapters[number][0], run, claim.id): verdict
            for number, rows in self.groups().items()
            for claim, *runs in rows
            for run, verdict in cards.judged(*runs)
        }


def gather(paths: Iterable[Path], repository: str = "") -> Scoreboard:
    """Read the verdicts of chapters from the outputs that are stored in them.

    Each stored interval is judged again against the declared threshold, and each card drawn again
    from the stored data: a card that is older than the claims file, or was edited, does not pass.

    Raises:
        ClaimError: An id that is not declared, or stands in two outputs, or in a chapter that it
            was not declared for; a stored verdict or card that differs from what the claims give.
    """
    stated.check()
    known = claims.load()
    chapters, ledgers, shown_in, code = {}, {}, {}, {}
    for path in paths:
        notebook = notebooks.read(path)
        chapters[path.name[:2]] = (path.stem, title(notebook))
        code |= judging.statistics(path)
        for output in tables(notebook):
            found = _restored(output, known, path.name)
            for claim, *_ in cards.rows_of(found):
                if claim.id in ledgers:
                    both = f"{shown_in[claim.id]} and {path.name}"
                    raise ClaimError(f"claim {claim.id} stands in two outputs: {both}")
                ledgers[claim.id], shown_in[claim.id] = found, path.name
    return Scoreboard(known, chapters, ledgers, code, repository)


def tables(notebook: notebooks.NotebookNode) -> list[Mapping]:
    """List what the outputs that show claims hold, by MIME type."""
    cells = notebooks.code_cells(notebook)
    held = [output.get("data", {}) for cell in cells for output in cell.outputs]
    return [data for data in held if claims.MIME in data]


def lay_cards(board: Scoreboard, paths: Iterable[Path]) -> None:
    """Put cards in the place of the tables that staged notebooks show."""
    for path in paths:
        notebook = notebooks.read(path)
        for output in tables(notebook):
            (first, *_) = output[claims.MIME]["rows"]
            output["text/html"] = cards.cards(board.ledgers[first["id"]])
        notebooks.write(notebook, path)


def title(notebook: notebooks.NotebookNode) -> str:
    """Return a chapter's title without its number and marks."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return re.sub(r"<[^>]*class=[^>]*>.*?</\w+>", "", heading[1]).strip() if heading else "untitled"


def write(board: Scoreboard, source: Path) -> None:
    """Lay counts, picture and table into the staged page, and the data beside it.

    Raises:
        ClaimError: The page has no single place for one of them.
    """
    parts = {COUNTS: f"<p>{board.counts()}</p>", PICTURE: board.picture(), TABLE: board.table()}
    fill(source / PAGE, parts)
    told = json.dumps(board.data(), indent=1, ensure_ascii=False, allow_nan=False)
    (source / DATA).write_text(f"{told}\n", encoding="utf-8")


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Put HTML in the place of comments on a page of Markdown.

    Raises:
        ClaimError: A comment does not stand there once.
    """
    text = page.read_text(encoding="utf-8")
    for place, part in parts.items():
        if text.count(place) != 1:
            raise ClaimError(f"{page.name}: given {text.count(place)} lines {place}; allowed: one")
        # As a directive, since a blank line ends a block of HTML in Markdown.
        text = text.replace(place, f"`````{{raw}} html\n{part}\n`````")
    page.write_text(text, encoding="utf-8")


def write_verdicts(found: Mapping[tuple[str, str, str], Verdict], path: Path) -> None:
    """Write the intervals behind verdicts, by chapter, title of the run and id."""
    told: dict[str, dict[str, dict[str, object]]] = {}
    for (chapter, run, id), verdict in found.items():
        told.setdefault(chapter, {}).setdefault(run, {})[id] = claims.stored(verdict.interval)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{json.dumps(told, indent=1, ensure_ascii=False)}\n", encoding="utf-8")


def check_verdicts(found: Mapping[tuple[str, str, str], Verdict], path: Path) -> None:
    """Compare what is stored with the verdicts; one that is close may be another.

    Raises:
        ClaimError: The file is missing, or says otherwise.
    """
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = {
        (chapter, run, id): claims.restored(id, row).verdict
        for chapter, runs in stored.items()
        for run, rows in runs.items()
        for id, row in rows.items()
    }
    wrong = {key for key, v in found.items() if not v.close and told.get(key) != v.verdict}
    wrong |= found.keys() ^ told.keys()
    if wrong:
        chapter, run, id = min(wrong)
        what = f"{id} of {chapter} in the run {run!r}"
        raise ClaimError(f"{path.name} differs from the chapters, such as {what}: run make outputs")


def _restored(output: Mapping, known: Mapping[str, Claim], name: str) -> Ledger:
    """The claims that an output shows, from the data beside them."""
    stored = output[claims.MIME]
    title, here, recorded = "", [], {}
    for row in stored["rows"]:
        verdict = _verdict(row, claims.get(row["id"], known), name)
        if row["recorded"]:
            recorded.setdefault(row["run"], []).append(verdict)
        else:
            title = row["run"]
            here.append(verdict)
    found = Ledger(here, recorded | dict.fromkeys(stored["missing"]), title=title)
    if output.get("text/html") != found._repr_mimebundle_()["text/html"]:
        told = "the cards of its claims are not what the data beside them give"
        raise ClaimError(f"{name}: {told}; execute the chapter again")
    return found


def _verdict(row: Mapping, claim: Claim, name: str) -> Verdict:
    if claim.chapter != name[:2]:
        raise ClaimError(f"claim {claim.id} of chapter {claim.chapter} is shown in {name}")
    verdict = claims.restored(claim, row)
    if verdict.verdict != row["verdict"]:
        raise ClaimError(
            f"{name}: claim {claim.id} is stored as {row['verdict']}, but the claims file gives "
            f"{verdict.verdict} for {verdict.interval}; execute the chapter again"
        )
    return verdict


def _tally(runs: Sequence[cards.Runs], missing: str) -> str:
    """How many claims have which verdict in the run that counts, and how many lack one."""
    words = [found[0][1].verdict for found in runs if found]
    told = [f"{words.count(word)} {word}" for word in claims.VERDICTS]
    told[0] = told[0].replace(" ", " is " if words.count(claims.SUPPORTED) == 1 else " are ")
    lacking = f" ({len(runs) - len(words)} {missing})" if len(words) < len(runs) else ""
    return _and(told) + lacking


def _controls(known: Iterable[Claim]) -> str:
    """How many claims are there to check the measurement, if any are."""
    number = sum(claim.control for claim in known)
    return f", {number} of them controls of a measurement" * bool(number)


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if words[1:] else words[0]


def _by_data(row: cards.Row) -> dict[tuple[str, str], Verdict]:
    """The verdicts of a claim by place and data set, of each the first: twins come after."""
    found: dict[tuple[str, str], Verdict] = {}
    for place, runs in zip((HERE, RECORDED), row[1:], strict=True):
        for run, verdict in cards.judged([], runs):
            found.setdefault((place, data_of(run)), verdict)
    return found


def data_of(run: str) -> str:
    """Return the data of a run by its title, such as "Recorded: MNIST, bf16"."""
    return (run.partition(": ")[2] or run).split(",")[0]


def _line(row: cards.Row, columns: Sequence[tuple[str, str]], link: str) -> str:
    claim, found = row[0], _by_data(row)
    values = " ".join(
        f"<span>{_value(column[1], found[column]) if column in found else ''}</span>"
        for column in columns
    )
    under = f" <small>{claim.under}</small>" if claim.under else ""
    return (
        f'<a class="mem-score-row"{link}><span>{claim.id}</span> '
        f'<span class="mem-score-short">{cards.text(claim.short)}{under}</span> '
        f'<span class="mem-score-if"><span class="mem-hidden">supported if </span>'
        f"{_criterion(claim)}</span> {_strip(_marks(claim, found, columns), True, len(found))} "
        f'<span class="mem-score-values">{values}</span></a>\n'
    )


def _strip(marks: str, zone: bool, runs: int = 1) -> str:
    inside = cards.ground((THRESHOLD, 100 if zone else THRESHOLD), [THRESHOLD])
    high = max(23, MARK * runs)  # the next row would cover what stands out
    style = f'style="min-height:{high}px"'
    return f'<svg aria-hidden="true" width="100%" height="{high}" {style}>{inside}{marks}</svg>'


def _marks(claim: Claim, found: Mapping, columns: Sequence[tuple[str, str]]) -> str:
    """The runs of a claim, each as far from the threshold as its share of the furthest end.

    Of two thresholds the nearer one counts.
    """
    intervals = [verdict.interval for verdict in found.values()]
    strip = cards.Strip(claim, intervals)
    limits = [strip.level(limit) for limit in claim.limits]

    def support(value: float) -> float:
        above, below = strip.level(value) - limits[0], limits[-1] - strip.level(value)
        return {"above": above, "below": below}.get(claim.direction, min(above, below))

    reached = [[support(end) for end in (one.low, one.estimate, one.high)] for one in intervals]
    furthest = max([abs(end) for ends in reached for end in ends if math.isfinite(end)], default=1)
    marks = ""
    for k, (column, verdict) in enumerate(found.items()):
        if claim.direction == "within":
            reached[k][::2] = min(reached[k]), max(reached[k])
        shares = [min(max(end / furthest, -1), 1) if furthest else 0 for end in reached[k]]
        places = [round(THRESHOLD + REACH * share, 2) for share in shares]
        y = 100 * (k + 0.5) / len(found)
        marks += cards.mark(verdict, places, _dot(column, columns), y)
    return marks


def _dot(column: tuple[str, str], columns: Sequence[tuple[str, str]]) -> str:
    """Small for the runs of these pages, a diamond from the second recorded data set on."""
    recorded = [one for one in columns if one[0] == RECORDED]
    if column in recorded[1:]:
        return '<path d="M0,-5.5L5.5,0L0,5.5L-5.5,0Z"/>'
    return f'<circle r="{5 if column in recorded else 3.5}"/>'


def _criterion(claim: Claim) -> str:
    if claim.direction == "within":
        low, high = claim.limits
        return f"± {high:g}" if low == -high else f"{low:g} to {high:g}"
    return f"{'&gt;' if claim.direction == 'above' else '&lt;'} {claim.threshold:g}"


def _value(name: str, verdict: Verdict) -> str:
    """Sign and estimate, with the data set and the word for those who hear the page."""
    estimate = cards.text(f"{verdict.interval} ".split(" [")[0])
    word = verdict.verdict
    sign = f'<b aria-hidden="true" style="{cards.paint(word)}">{claims.SIGNS[word]}</b>'
    heard = f'<span class="mem-hidden">{html.escape(name)} {word}: </span>'
    if word != claims.SUPPORTED:
        estimate = f'<b style="{cards.paint(word)}">{estimate}</b>'
    return f"{sign} {heard}{estimate}"


def _cell(run: str, said: Verdict | str) -> str:
    name = f"{cards.text(run)}: " if run else ""
    if isinstance(said, str):
        return f"<p>{name}{said}</p>"
    word = f"{claims.SIGNS[said.verdict]} {said.verdict}"
    style = cards.paint(said.verdict)
    return f'<p>{name}<b style="{style}">{word}</b> {cards.text(said.interval)}</p>'
