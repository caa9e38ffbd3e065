"""Gather every claim with every verdict that the chapters show: a page, a text, and `claims.json`.

A chapter's `claims.Ledger` leaves its verdicts as data beside its table, in the outputs of the
notebook. The build reads them there, once the chapters are executed.
"""

import html
import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from memhelpers import claims
from memhelpers.claims import Claim, Ledger, Verdict
from memhelpers.errors import ClaimError
from memhelpers.page import ledger
from memhelpers.stats import Interval
from tools import notebooks

PAGE = "book/scoreboard.md"
PLACE = "<!-- scoreboard -->"  # the line of the page where the table goes
DATA = "claims.json"  # at the root of the rendered book
NOT_MEASURED = "not measured yet"


@dataclass(frozen=True)
class Scoreboard:
    """Every declared claim, and the tables in which the chapters show them."""

    claims: Mapping[str, Claim]  # by id
    chapters: Mapping[str, tuple[str, str]]  # stem of the file and title, by the two digits
    ledgers: Mapping[str, Ledger]  # by the id of each claim that stands in them

    def __str__(self) -> str:
        """Return all of it as plain text."""
        groups = self._groups()
        every = [row for rows in groups.values() for row in rows]
        lines = [ledger.with_levels(self._caption(), every)]
        for number, rows in groups.items():
            lines.append(f"\n{self._heading(number)}")
            lines += [line for row in rows for line in _lines(*row)]
        return "\n".join(lines)

    def table(self) -> str:
        """Return all of it as an HTML table, without a blank line: one block of Markdown."""
        groups = {self._link(number): rows for number, rows in self._groups().items()}
        return ledger.table(self._caption(), groups, here="The chapter's own run")

    def data(self) -> dict[str, object]:
        """Return all of it ready for JSON; `low` and `high` are None where they are infinite."""
        return {"format": 1, "claims": [self._entry(claim) for claim in self.claims.values()]}

    def _entry(self, claim: Claim) -> dict[str, object]:
        found = self.ledgers.get(claim.id)
        told = found.data() if found else {"rows": [], "missing": []}
        rows = [row for row in told["rows"] if row.pop("id") == claim.id]
        return {**asdict(claim), "verdicts": rows, "not_recorded": told["missing"]}

    def _groups(self) -> dict[str, list[ledger.Row]]:
        """The row of each claim, by chapter."""
        groups: dict[str, list[ledger.Row]] = {}
        for claim in sorted(self.claims.values(), key=lambda claim: claim.chapter):
            row = (claim, [("", NOT_MEASURED)], [("", claims.NOT_RECORDED)])
            if claim.id in self.ledgers:
                (row,) = [row for row in self.ledgers[claim.id].rows() if row[0].id == claim.id]
            groups.setdefault(claim.chapter, []).append(row)
        return groups

    def _heading(self, number: str) -> str:
        return f"Chapter {number}: {self.chapters.get(number, ('', 'not written yet'))[1]}"

    def _link(self, number: str) -> str:
        heading = html.escape(self._heading(number))
        if number not in self.chapters:
            return heading
        return f'<a href="{self.chapters[number][0]}.html">{heading}</a>'

    def _caption(self) -> str:
        rows = [row for group in self._groups().values() for row in group]
        here = _counts([[said for _, said in runs] for _, runs, _ in rows], NOT_MEASURED)
        recorded = _counts([[said for _, said in runs] for *_, runs in rows], claims.NOT_RECORDED)
        return f"{len(rows)} claims. The chapters' own runs: {here}. Recorded runs: {recorded}"


def gather(paths: Iterable[Path]) -> Scoreboard:
    """Read the verdicts of chapters from the outputs that are stored in them.

    Each stored interval is judged again against the declared threshold, and each table drawn again
    from the stored data: a table that is older than the claims file, or was edited, does not pass.

    Raises:
        ClaimError: An id that is not declared, or stands in two tables, or in a chapter that it was
            not declared for; a stored verdict or table that differs from what the claims give now.
    """
    declared = claims.load()
    chapters, ledgers, shown_in = {}, {}, {}
    for path in paths:
        notebook = notebooks.read(path)
        chapters[path.name[:2]] = (path.stem, _title(notebook))
        for output in tables(notebook):
            found = _restored(output, declared, path.name)
            for claim, *_ in found.rows():
                if claim.id in ledgers:
                    both = f"{shown_in[claim.id]} and {path.name}"
                    raise ClaimError(f"claim {claim.id} stands in two tables: {both}")
                ledgers[claim.id], shown_in[claim.id] = found, path.name
    return Scoreboard(declared, chapters, ledgers)


def tables(notebook: notebooks.NotebookNode) -> list[Mapping]:
    """List what the outputs that show a table of claims hold, by MIME type."""
    cells = notebooks.code_cells(notebook)
    held = [output.get("data", {}) for cell in cells for output in cell.outputs]
    return [data for data in held if claims.MIME in data]


def write(board: Scoreboard, source: Path) -> None:
    """Lay the table into the staged page, and the data beside it.

    Raises:
        ClaimError: The page has no single place for the table.
    """
    page = source / PAGE
    before = page.read_text(encoding="utf-8")
    if before.count(PLACE) != 1:
        raise ClaimError(f"{PAGE}: given {before.count(PLACE)} lines {PLACE}; allowed: one")
    table = f'<div class="mem-wide">\n{board.table()}\n</div>'
    page.write_text(before.replace(PLACE, table), encoding="utf-8")
    told = json.dumps(board.data(), indent=1, ensure_ascii=False, allow_nan=False)
    (source / DATA).write_text(f"{told}\n", encoding="utf-8")


def _restored(output: Mapping, declared: Mapping[str, Claim], name: str) -> Ledger:
    """The table of claims that an output shows, from the data beside it."""
    stored = output[claims.MIME]
    title, here, recorded = "", [], {}
    for row in stored["rows"]:
        verdict = _verdict(row, claims.get(row["id"], declared), name)
        if row["recorded"]:
            recorded.setdefault(row["run"], []).append(verdict)
        else:
            title = row["run"]
            here.append(verdict)
    found = Ledger(here, recorded | dict.fromkeys(stored["missing"]), title=title)
    if output.get("text/html") != found._repr_mimebundle_()["text/html"]:
        told = "the table of its claims is not what the data beside it give"
        raise ClaimError(f"{name}: {told}; execute the chapter again")
    return found


def _verdict(row: Mapping, claim: Claim, name: str) -> Verdict:
    if claim.chapter != name[:2]:
        raise ClaimError(f"claim {claim.id} of chapter {claim.chapter} is shown in {name}")
    numbers = {one.name: row[one.name] for one in fields(Interval)}
    ends = {"low": -math.inf, "high": math.inf}
    interval = Interval(**numbers | {end: ends[end] for end in ends if row[end] is None})
    verdict = claims.judge(claim, interval)
    if verdict.verdict != row["verdict"]:
        raise ClaimError(
            f"{name}: claim {claim.id} is stored as {row['verdict']}, but the claims file gives "
            f"{verdict.verdict} for {interval}; execute the chapter again"
        )
    return verdict


def _title(notebook: notebooks.NotebookNode) -> str:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return heading[1].strip() if heading else "untitled"


def _counts(told: list[list[Verdict | str]], missing: str) -> str:
    """How many runs reach which verdict, and how many claims lack one, in words."""
    words = [said.verdict for runs in told for said in runs if isinstance(said, Verdict)]
    numbers = [f"{words.count(word)} {word}" for word in claims.VERDICTS]
    return ", ".join([*numbers, f"{sum(missing in runs for runs in told)} {missing}"])


def _lines(claim: Claim, here: ledger.Runs, recorded: ledger.Runs) -> list[str]:
    lines = textwrap.wrap(f"{claim.id}: {claim.sentence}", 96, subsequent_indent="    ")
    lines.append(f"    {claim.statistic} ({claim.unit}); supported if {claim.criterion}")
    for place, runs in (("Here", here), ("Recorded", recorded)):
        for run, said in runs:
            told = said if isinstance(said, str) else f"{said.verdict}, {said.interval}"
            if getattr(said, "verdict", "") == claims.INCONCLUSIVE:
                told += f" ({said.reason})"
            lines.append("    " + ": ".join(part for part in (place, run, told) if part))
    return lines
