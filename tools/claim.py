"""Run the one experiment behind a claim, judge it, and compare it with its record.

    python -m tools.claim C3.1a --preset quick

The experiment is run anew with the parameters of the recorded run, by the cells of the chapter's
notebook. The exit status is 0 where the verdict is that of the record, and 1 where it is not.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from memhelpers import claims, lab
from memhelpers.claims import Claim, Verdict
from memhelpers.errors import ArgumentError, ClaimError, DataError, RecordError, check_choice
from memhelpers.runs.records import Record
from tools import cards, chapter, declared, judging, notebooks


def choose(slug: str, preset: str, name: str | None) -> Record:
    """Return the record to run again: the one of a name, else the largest at a preset.

    Raises:
        ArgumentError: No record has this name, or nothing is recorded at this preset.
    """
    found = lab.recorded(slug)
    if name:
        return found[check_choice("run", name, list(found))]
    small = [one for one in found.values() if one.provenance["preset"] == "quick"]
    known = [*lab.Chapter(slug).recorded.values(), *small]  # the largest first
    presets = [one.provenance["preset"] for one in known]
    if preset not in presets:
        allowed = f"{' or '.join(dict.fromkeys(presets))}, which {slug} is recorded at"
        raise ArgumentError("preset", preset, allowed)
    return known[presets.index(preset)]


def judge(path: Path, id: str, tables: lab.Tables) -> Verdict | None:
    """Return the verdict of a chapter on a claim; None where these tables do not measure it."""
    found = judging.definitions(path)[judging.VERDICTS](tables)
    return next((one for one in found if one.claim.id == id), None)


def again(path: Path, id: str, record: Record) -> Verdict | None:
    """Run the experiment with the parameters of a record, and judge."""
    ran = record.provenance
    return judge(
        path, id, chapter.run(path, ran["overrides"], preset=ran["preset"])["chapter"].tables
    )


def agree(here: Verdict | None, before: Verdict | None) -> bool:
    """Return whether two runs say the same; a verdict that is close may differ on a machine."""
    if here is None or before is None:
        return here is before
    overlap = (
        here.interval.low <= before.interval.high and before.interval.low <= here.interval.high
    )
    return here.verdict == before.verdict or (overlap and (here.close or before.close))


def head(claim: Claim, path: Path) -> list[str]:
    """Return what a claim says, what decides it, where, and since when."""
    since = declared.kept(notebooks.ROOT).get(claim.id)
    fixed = f"in {since['commit'][:12]} of {since['date'][:10]}" if since else "in no commit yet"
    return [
        f"{claim.id}  {claim.sentence}",
        f"source     {claim.source}",
        f"statistic  {claim.statistic}: {judging.statistics(path)[claim.id]}",
        f"supported  if the interval over at least {claim.seeds} seeds is {claim.criterion}",
        f"fixed      {fixed}" + f"; {claim.late}" * bool(claim.late),
    ]


def told(name: str, verdict: Verdict | None, about: str = "") -> str:
    """Return one line for a run."""
    said = f"{verdict.verdict}, {verdict.interval}" if verdict else cards.NOT_IN_RUN
    return f"{name:<10} {said}" + f"  ({about})" * bool(about)


def described(record: Record) -> str:
    """Return name, machine and commit of a record."""
    ran = record.provenance
    return f"{record.name}, {ran['device']}, commit {str(ran['commit'])[:12]}"


def report(id: str, preset: str, name: str | None = None) -> bool:
    """Run, judge, compare and print; returns whether the run says what the record says.

    Raises:
        ArgumentError: No record is of this preset, or of this name.
        ClaimError: The id is not declared.
        DataError: A data set is not here.
    """
    claim = claims.get(id)
    path = chapter.find(claim.chapter)
    record = choose(path.stem, preset, name)
    for line in head(claim, path):
        print(textwrap.fill(line, 100, subsequent_indent=" " * 11))
    spent = record.provenance.get("cpu_seconds")
    took = f"{spent or record.provenance['wall_seconds']:.0f} s"
    took += (" of processor time" if spent else " by the clock") + " when it was recorded"
    print(f"running    {path.stem}: {record.name} ({took})", flush=True)
    here, before = again(path, id, record), judge(path, id, record.tables)
    print(told("here", here))
    print(told("recorded", before, described(record)))
    same = agree(here, before)
    if here and before:
        apart = abs(here.interval.estimate - before.interval.estimate)
        print(f"compare    estimates differ by {apart:.2g}; ", end="")
    print("the verdict is " + ("that of the record" if same else "NOT that of the record"))
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.claim", description=report.__doc__)
    parser.add_argument("id", help="of the claim, such as C3.1a")
    parser.add_argument("--preset", default="quick", choices=lab.PRESETS, help="scale")
    parser.add_argument("--run", help="name of a recorded run (default: the largest of the preset)")
    given = parser.parse_args(arguments)
    try:
        return int(not report(given.id, given.preset, given.run))
    except (ArgumentError, ClaimError, DataError, RecordError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
