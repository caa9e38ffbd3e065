import json
import math
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml

from memhelpers import claims
from memhelpers.claims import Claim, Ledger, judge
from memhelpers.errors import ArgumentError, ClaimError
from memhelpers.runs import machine
from memhelpers.stats import Interval, bootstrap

ENTRY = {
    "id": "C3.1",
    "chapter": "04",
    "source": "Paper 2017, Fig. 3",
    "sentence": "Real digits are\n  less equal than <noise>.",
    "statistic": "Gini, real minus randX",
    "unit": "Gini",
    "direction": "above",
    "threshold": 0.1,
    "seeds": 5,
}
SECOND = {**ENTRY, "id": "C3.2", "direction": "within", "threshold": [0.5, 2]}
OTHER = {**ENTRY, "id": "C1.1a", "chapter": "02", "direction": "below"}


def interval(low: float, high: float, n: int = 5, **changes: object) -> Interval:
    usual = {"estimate": (low + high) / 2, "low": low, "high": high, "level": 0.95, "n": n}
    return Interval(**{**usual, **changes})


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Makes the given entries the declared claims."""

    def write(*entries: object) -> Path:
        path = tmp_path / "claims.yml"
        path.write_text(yaml.safe_dump(list(entries)), encoding="utf-8")
        monkeypatch.setattr(machine, "book_file", lambda name: path)
        return path

    write(ENTRY, SECOND, OTHER)
    return write


# The file


def test_the_books_own_claims_are_valid():
    declared = claims.load()
    assert {"Z1.1", "C1.2", "C3.2", "C4.2"} <= set(declared)
    assert all(claim.seeds >= claims.MIN_SEEDS for claim in declared.values())


def test_claims_keep_their_order_and_their_text_in_one_line(declare):
    declared = claims.load()
    assert list(declared) == ["C3.1", "C3.2", "C1.1a"]
    assert declared["C3.1"].sentence == "Real digits are less equal than <noise>."
    assert declared["C3.2"].threshold == (0.5, 2.0)
    assert claims.get("C1.1a") == declared["C1.1a"]


def test_a_claim_that_is_not_declared_is_answered_with_those_that_are(declare):
    with pytest.raises(ClaimError, match=r"'C9.9' is not declared; declared: C3.1, C3.2, C1.1a"):
        claims.get("C9.9")
    with pytest.raises(ClaimError, match=r"'C9.9' is not declared"):
        judge("C9.9", interval(0, 1))


@pytest.mark.parametrize("name", list(ENTRY))
def test_a_missing_field_is_named_with_its_claim(declare, name):
    declare({key: value for key, value in ENTRY.items() if key != name})
    where = "claim number 1" if name == "id" else "claim C3.1"
    with pytest.raises(
        ClaimError, match=f"claims.yml: {where}, field {name}: given nothing; allowed: "
    ):
        claims.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "3.1"),
        ("id", 3),
        ("chapter", 4),
        ("chapter", "4"),
        ("source", ""),
        ("sentence", None),
        ("statistic", 7),
        ("unit", " "),
        ("direction", "over"),
        ("direction", ["above"]),
        ("threshold", None),
        ("threshold", "0.1"),
        ("threshold", [0, 1]),
        ("threshold", True),
        ("threshold", math.nan),
        ("threshold", math.inf),
        ("seeds", 4),
        ("seeds", 10.0),
        ("seeds", True),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_with_its_claim(declare, name, value):
    declare(OTHER, {**ENTRY, name: value})
    with pytest.raises(ClaimError, match=f"claim .*, field {name}: given .*; allowed") as error:
        claims.load()
    assert name == "id" or "claim C3.1" in str(error.value)


@pytest.mark.parametrize("threshold", [0.5, [1], [2, 1], [1, 1], [0, "1"], [0, 1, 2], [0, None]])
def test_within_takes_two_numbers_in_order(declare, threshold):
    declare({**SECOND, "threshold": threshold})
    with pytest.raises(ClaimError, match=r"C3.2, field threshold: .* low < high"):
        claims.load()


def test_an_id_declared_twice_and_an_unknown_field_are_refused(declare):
    declare(ENTRY, OTHER, ENTRY)
    with pytest.raises(ClaimError, match=r"claim C3.1, field id: declared twice"):
        claims.load()
    declare({**ENTRY, "treshold": 1})
    with pytest.raises(
        ClaimError, match=r"claim C3.1, field treshold: given 1; allowed: only id, "
    ):
        claims.load()


@pytest.mark.parametrize("text", ["", "[]", "a: b", "- just text", "- {a: [}"])
def test_a_file_that_is_no_list_of_claims_is_refused(tmp_path, text):
    path = tmp_path / "own.yml"
    path.write_text(text)
    with pytest.raises(ClaimError, match=r"own\.yml"):
        claims.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ClaimError, match=r"none\.yml cannot be read"):
        claims.load(tmp_path / "none.yml")


# Verdicts


@pytest.mark.parametrize(
    ("direction", "threshold", "low", "high", "verdict"),
    [
        ("above", 0.1, 0.11, 0.3, "supported"),
        ("above", 0.1, 0.05, 0.3, "inconclusive"),
        ("above", 0.1, -0.3, 0.09, "contradicted"),
        ("below", 0.1, -0.3, 0.09, "supported"),
        ("below", 0.1, 0.05, 0.3, "inconclusive"),
        ("below", 0.1, 0.11, 0.3, "contradicted"),
        ("within", (0.5, 2.0), 0.6, 1.9, "supported"),
        ("within", (0.5, 2.0), 0.4, 1.0, "inconclusive"),
        ("within", (0.5, 2.0), 1.0, 2.1, "inconclusive"),
        ("within", (0.5, 2.0), 0.1, 9.0, "inconclusive"),
        ("within", (0.5, 2.0), 0.1, 0.4, "contradicted"),
        ("within", (0.5, 2.0), 2.1, 3.0, "contradicted"),
        ("above", 0.1, -math.inf, math.inf, "inconclusive"),
        ("above", 0.1, 0.2, math.inf, "supported"),
        ("below", 0.1, 0.2, math.inf, "contradicted"),
        ("below", 0.1, -math.inf, 0.05, "supported"),
        ("within", (0.5, 2.0), -math.inf, math.inf, "inconclusive"),
    ],
)
def test_the_whole_interval_decides(direction, threshold, low, high, verdict):
    claim = Claim(**{**ENTRY, "direction": direction, "threshold": threshold})
    ends = [end for end in (low, high) if math.isfinite(end)]
    estimate = sum(ends) / len(ends) if ends else 0.2
    found = judge(claim, interval(low, high, estimate=estimate))
    assert found.verdict == verdict
    assert claim.criterion in found.reason


@pytest.mark.parametrize(
    ("direction", "threshold", "low", "high"),
    [
        ("above", 0.1, 0.1, 0.3),
        ("above", 0.1, -0.3, 0.1),
        ("below", 0.1, -0.3, 0.1),
        ("below", 0.1, 0.1, 0.3),
        ("within", (0.5, 2.0), 0.5, 1.0),
        ("within", (0.5, 2.0), 1.0, 2.0),
        ("within", (0.5, 2.0), 0.1, 0.5),
        ("within", (0.5, 2.0), 2.0, 3.0),
    ],
)
def test_an_interval_that_touches_its_threshold_is_inconclusive(direction, threshold, low, high):
    claim = Claim(**{**ENTRY, "direction": direction, "threshold": threshold})
    assert judge(claim, interval(low, high)).verdict == "inconclusive"


@pytest.mark.parametrize("unit", ["examples", "epochs", ""])
def test_an_interval_over_anything_but_independent_runs_is_not_judged(declare, unit):
    with pytest.raises(ArgumentError, match=r"interval.unit: given .* one of 'seeds', 'networks'"):
        judge("C3.1", interval(0.5, 0.6, n=50, unit=unit))
    assert judge("C3.1", interval(0.5, 0.6, unit="networks")).verdict == "supported"


def test_fewer_seeds_than_declared_give_no_verdict(declare):
    found = judge("C3.1", interval(0.5, 0.6, n=4))
    assert found.verdict == "inconclusive"
    assert found.reason == "the claim demands at least 5 seeds"
    assert judge("C3.1", interval(0.5, 0.6, n=5)).verdict == "supported"


def test_seeds_that_agree_exactly_are_pointed_out(declare):
    found = judge("C3.1", bootstrap([0.5] * 5))
    assert found.verdict == "supported"
    assert "all 5 seeds agree exactly" in found.reason


def test_a_point_estimate_or_a_lenient_interval_is_not_judged(declare):
    with pytest.raises(ArgumentError, match="not a point estimate"):
        judge("C3.1", 0.5)
    with pytest.raises(ArgumentError, match=r"interval.level: given 0.5"):
        judge("C3.1", interval(0.4, 0.6, level=0.5))


# The ledger


class Table(HTMLParser):
    """The cells of a table, row by row, with their tags' attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.scopes: list[str | None] = []
        self.classes: set[str] = set()
        self.caption = ""
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.classes |= set((values.get("class") or "").split())
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "th":
            self.scopes.append(values.get("scope"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "caption" in self.open:
            self.caption += data
        elif {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture
def ledger(declare) -> Ledger:
    here = [judge("C3.1", interval(0.3, 0.36)), judge("C3.2", interval(3, 4, n=2))]
    recorded = {"paper, mnist": [judge("C3.1", interval(0.01, 0.05, n=10))], "paper, cifar10": None}
    return Ledger(here, recorded, title="quick, digits")


def test_the_ledger_is_a_table_with_caption_scopes_and_verdicts_in_words(ledger):
    table = Table(ledger._repr_mimebundle_()["text/html"])
    assert table.caption == "Claims of this chapter. In brackets: 95 % intervals."
    assert table.rows[0] == [
        "Claim", "Sentence", "Statistic", "Supported if", "This page's run", "Recorded runs",
    ]  # fmt: skip
    assert table.scopes == ["col"] * 6 + ["row"] * 2
    first, second = table.rows[1:]
    assert first[0] == "C3.1"
    assert first[1] == "Real digits are less equal than <noise>. Paper 2017, Fig. 3"
    assert first[3:] == [
        "above 0.1",
        "quick, digits: ✓ supported0.33 [0.30, 0.36], 5 seeds",
        "paper, mnist: ✗ contradicted0.030 [0.010, 0.050], 10 seeds"
        "paper, cifar10: not recorded at paper scale",
    ]
    assert second[3] == "between 0.5 and 2"
    assert second[4].startswith("quick, digits: ? inconclusive3.5 [3.0, 4.0], 2 seeds")
    assert second[4].endswith("the claim demands at least 5 seeds")
    assert second[5].startswith("paper, mnist: not measured in this run")
    verdict_classes = {f"verdict-{word}" for word in claims.VERDICTS}
    assert verdict_classes | {"mem-ledger"} <= table.classes


def test_the_plain_text_tells_the_same(ledger):
    text = ledger._repr_mimebundle_()["text/plain"]
    assert "Here: quick, digits: ✓ supported, 0.33 [0.30, 0.36], 5 seeds\n" in text
    assert "Recorded: paper, mnist: ✗ contradicted, 0.030 [0.010, 0.050], 10 seeds\n" in text
    assert text.count("not recorded at paper scale") == 2
    assert max(map(len, text.splitlines())) < 120


def test_without_any_record_the_ledger_says_so(declare):
    table = Table(
        Ledger([judge("C3.1", interval(0, 1))], title="quick")._repr_mimebundle_()["text/html"]
    )
    assert table.rows[1][-1] == "not recorded at paper scale"


def test_the_compared_lines_hold_ids_and_verdicts_only(ledger):
    assert ledger.lines() == "C3.1 supported\nC3.2 inconclusive"


def test_the_rows_are_json_without_infinity(declare):
    ledger = Ledger([judge("C3.1", bootstrap([0.3]))], title="quick")
    data = ledger._repr_mimebundle_()[claims.MIME]
    json.dumps(data, allow_nan=False)
    assert (data["rows"][0]["low"], data["rows"][0]["high"]) == (None, None)


def test_a_ledger_without_sense_is_refused(declare):
    verdict = judge("C3.1", interval(0.2, 0.3))
    with pytest.raises(ClaimError, match=r"C3.1 is judged twice in the run 'quick'"):
        Ledger([verdict, verdict], title="quick")
    with pytest.raises(ClaimError, match="at least one verdict"):
        Ledger([], {"paper": None}, title="quick")
    with pytest.raises(ArgumentError, match="title"):
        Ledger([verdict], {"quick": [verdict]}, title="quick")
    with pytest.raises(ArgumentError, match="quick"):
        Ledger((v for v in [verdict]), title="quick")
    with pytest.raises(ArgumentError, match="paper"):
        Ledger([verdict], {"paper": ["supported"]}, title="quick")


# The scoreboard


def chapter(folder: Path, name: str, *ledgers: Ledger, title: str = "A chapter") -> Path:
    """A notebook whose stored outputs are these ledgers."""
    cells = [nbformat.v4.new_markdown_cell(f"{'# ' + title}\n\ntext")]
    for ledger in ledgers:
        output = nbformat.v4.new_output("display_data", data=ledger._repr_mimebundle_())
        cells.append(nbformat.v4.new_code_cell("# a comment\nledger", outputs=[output]))
    path = folder / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def book(tmp_path) -> Path:
    folder = tmp_path / "book"
    folder.mkdir()
    return folder


def test_the_scoreboard_joins_stored_outputs_with_the_declared_claims(ledger, book):
    chapter(book, "04-loss-sensitivity.ipynb", ledger, title="Loss sensitivity")
    chapter(book, "02-easy.ipynb", title="Easy examples")
    (book / "scoreboard.ipynb").write_text("not read")
    board = claims.scoreboard(book)
    assert board.lines() == "C3.1 supported\nC3.2 inconclusive\nC1.1a not measured yet"


def test_the_scoreboard_shows_effect_sizes_and_intervals_by_chapter(ledger, book):
    chapter(book, "04-loss-sensitivity.ipynb", ledger, title="Loss sensitivity")
    bundle = claims.scoreboard(book)._repr_mimebundle_()
    table = Table(bundle["text/html"])
    assert table.caption.startswith(
        "3 claims. The pages' own runs: 1 supported, 0 contradicted, 1 inconclusive, "
        "1 not measured yet. Recorded runs: 0 supported, 1 contradicted, 0 inconclusive, "
        "3 not recorded at paper scale."  # one of the two runs of C3.1 is missing
    )
    assert [row[0] for row in table.rows] == [
        "Claim", "Chapter 02: not written yet", "C1.1a",
        "Chapter 04: Loss sensitivity", "C3.1", "C3.2",
    ]  # fmt: skip
    assert table.scopes.count("rowgroup") == 2
    assert '<a href="04-loss-sensitivity.html">' in bundle["text/html"]
    assert table.rows[2][4:] == ["not measured yet", "not recorded at paper scale"]
    assert table.rows[4][4] == "quick, digits: ✓ supported0.33 [0.30, 0.36], 5 seeds"
    assert "paper, mnist: ✗ contradicted0.030 [0.010, 0.050]" in table.rows[4][5]
    assert "paper, cifar10: not recorded at paper scale" in table.rows[4][5]
    assert "Here: quick, digits: ✓ supported, 0.33 [0.30, 0.36], 5 seeds" in bundle["text/plain"]
    assert "Here: not measured yet" in bundle["text/plain"]


def test_an_interval_without_ends_survives_the_way_through_the_notebook(declare, book):
    chapter(book, "04-a.ipynb", Ledger([judge("C3.1", bootstrap([0.3]))], title="quick"))
    ((_, verdict),) = claims.scoreboard(book).here["C3.1"]
    assert verdict.interval == bootstrap([0.3])


def test_a_claim_in_two_tables_is_refused(ledger, book):
    one = Ledger(ledger.here[:1], title="again")
    path = chapter(book, "04-a.ipynb", ledger, one)
    with pytest.raises(ClaimError, match=r"C3.1 stands in two tables: 04-a.ipynb and 04-a.ipynb"):
        claims.scoreboard(book)
    path.unlink()
    chapter(book, "04-a.ipynb", one)
    chapter(book, "04-b.ipynb", ledger)
    with pytest.raises(ClaimError, match=r"C3.1 stands in two tables: 04-a.ipynb and 04-b.ipynb"):
        claims.scoreboard(book)


def test_a_claim_in_another_chapter_than_declared_is_refused(ledger, book):
    chapter(book, "05-a.ipynb", ledger)
    with pytest.raises(ClaimError, match=r"C3.1 of chapter 04 is shown in 05-a.ipynb"):
        claims.scoreboard(book)


def test_a_claim_that_is_no_longer_declared_is_refused(ledger, book, declare):
    chapter(book, "04-a.ipynb", ledger)
    declare(SECOND, OTHER)
    with pytest.raises(ClaimError, match=r"'C3.1' is not declared; declared: C3.2"):
        claims.scoreboard(book)


def test_a_stored_verdict_older_than_the_claims_file_is_refused(ledger, book, declare):
    chapter(book, "04-a.ipynb", ledger)
    declare({**ENTRY, "threshold": 0.5}, SECOND, OTHER)
    with pytest.raises(ClaimError, match=r"C3.1 is stored as supported, .* execute the chapter"):
        claims.scoreboard(book)


def test_an_edited_verdict_is_refused(ledger, book):
    path = chapter(book, "04-a.ipynb", ledger)
    path.write_text(path.read_text().replace('"verdict": "contradicted"', '"verdict": "supported"'))
    with pytest.raises(ClaimError, match=r"04-a.ipynb: claim C3.1 is stored as supported"):
        claims.scoreboard(book)


def test_an_empty_folder_and_an_unreadable_chapter_are_refused(declare, book):
    with pytest.raises(ClaimError, match="'book' holds no NN-"):
        claims.scoreboard(book)
    (book / "04-a.ipynb").write_text("{")
    with pytest.raises(ClaimError, match=r"04-a.ipynb cannot be read as a notebook"):
        claims.scoreboard(book)
