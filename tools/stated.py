"""Check the file of claims: each entry has its fields, of the right kind, and an id of its own."""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from memhelpers.claims import Claim
from memhelpers.errors import ArgumentError, ClaimError, check_choice, check_integer
from memhelpers.runs import machine

DIRECTIONS = ("above", "below", "within")
MIN_SEEDS = 5  # their range holds the median with probability .94; that of 4 with .88
NAMES = [one.name for one in fields(Claim)]
NEEDED = [one.name for one in fields(Claim) if one.default is MISSING]
SOME = r"(?s).*\S.*", "a text"
TEXTS = dict.fromkeys(("source", "sentence", "statistic", "unit"), SOME) | {
    "id": (r"[A-Z]+\d+(\.\d+)?[a-z]?", 'such as "C3.1" or "C1.1a"'),
    "chapter": (r"\d\d", 'two digits in quotes, such as "04"'),
    "short": (r"\S.{0,51}", "1 to 52 characters"),
    "under": (r".{0,24}", "at most 24 characters"),
    "revised_after_data": (r".{0,60}", "at most 60 characters"),
}


def check(path: Path | None = None) -> None:
    """Look through a file of claims (default: the book's).

    Raises:
        ClaimError: The file, or the named field of a claim, is not as it should be.
    """
    path = path or machine.book_file("claims.yml")
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClaimError(f"{path.name} cannot be read as YAML: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ClaimError(f"{path.name}: given {type(entries).__name__}; allowed: a list of claims")
    known: set[str] = set()
    for position, entry in enumerate(entries, start=1):
        named = entry.get("id") if isinstance(entry, dict) else None
        try:
            check_entry(entry)
            if named in known:
                raise ArgumentError("id", named, "an id that is not declared twice")
        except ArgumentError as error:
            where = f"{path.name}: claim {named or f'number {position}'}"
            raise ClaimError(f"{where}, field {error}") from None
        known.add(named)


def check_entry(entry: Any) -> None:
    """Look at one entry; a missing field counts as None. An `ArgumentError` names the field."""
    if not isinstance(entry, dict):
        raise ArgumentError("names", entry, f"a mapping of {', '.join(NAMES)}")
    for unknown in (name for name in entry if name not in NAMES):
        raise ArgumentError(unknown, entry[unknown], f"only {', '.join(NAMES)}")
    for name, (pattern, allowed) in TEXTS.items():
        value = entry.get(name, None if name in NEEDED else "")
        if not isinstance(value, str) or not re.fullmatch(pattern, " ".join(value.split())):
            raise ArgumentError(name, value, allowed)
    for name in ("added_after_data", "control"):
        check_choice(name, entry.get(name, False), (True, False))
    check_choice("direction", entry.get("direction"), DIRECTIONS)
    _check_threshold(entry)
    _check_range(entry)
    check_integer("seeds", entry.get("seeds"), MIN_SEEDS)


def _check_threshold(entry: Mapping[str, Any]) -> None:
    given, pair = entry.get("threshold"), entry["direction"] == "within"
    if not _rising(given if isinstance(given, list) else [given], 1 + pair):
        allowed = "two numbers, low < high" if pair else "a number"
        raise ArgumentError("threshold", given, f"{allowed}, for {entry['direction']}")


def _check_range(entry: Mapping[str, Any]) -> None:
    """The thresholds lie in it: otherwise no data could decide."""
    if "range" not in entry:
        return
    given, limits = entry["range"], entry["threshold"]
    if not isinstance(given, list) or not _rising(given, 2):
        raise ArgumentError("range", given, "two numbers, low < high")
    for limit in limits if isinstance(limits, list) else [limits]:
        if not given[0] <= limit <= given[1]:
            raise ArgumentError("range", given, f"a range that holds the threshold {limit:g}")


def _rising(numbers: list, count: int) -> bool:
    """Whether these are so many finite numbers, each above the one before."""
    finite = {type(one) for one in numbers} <= {int, float} and all(map(math.isfinite, numbers))
    return finite and len(numbers) == count and numbers == sorted(set(numbers))
