import json
import math

import pytest

from memhelpers import claims, lab
from memhelpers.claims import Claim, Ledger, judge
from memhelpers.errors import ArgumentError, ClaimError
from memhelpers.stats import Interval
from tests.toy_claims import ENTRY, Page, interval

NO_ENDS = Interval(0.3, -math.inf, math.inf, 0.95, 1)

# The file


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


def test_an_interval_is_cut_where_its_statistic_cannot_go(declare):
    declare({**ENTRY, "range": [-1, 1]})
    verdict = judge("C3.1", interval(0.8, 1.1))
    assert (verdict.interval.low, verdict.interval.high) == (0.8, 1)
    assert judge("C3.1", interval(-1.2, -0.8)).interval.low == -1
    assert judge("C3.1", interval(1, 1 + 1e-12)).interval.estimate == 1
    assert judge("C3.1", interval(0.2, 0.3)).interval == interval(0.2, 0.3)
    with pytest.raises(ArgumentError, match=r"estimate: given 1\.2.*-1 to 1, the range of C3\.1"):
        judge("C3.1", interval(1.1, 1.3))


def test_seeds_that_agree_exactly_are_pointed_out(declare):
    found = judge("C3.1", interval(0.5, 0.5))
    assert found.verdict == "supported"
    assert "all 5 seeds agree exactly" in found.reason


def test_a_point_estimate_or_a_lenient_interval_is_not_judged(declare):
    with pytest.raises(ArgumentError, match="not a point estimate"):
        judge("C3.1", 0.5)
    with pytest.raises(ArgumentError, match=r"interval.level: given 0.5"):
        judge("C3.1", interval(0.4, 0.6, level=0.5))


# The ledger


def test_badges_link_to_cards_and_carry_the_choice_where_not_supported(declare):
    words = ["supported", "contradicted", "inconclusive"]
    judged = [
        claims.Verdict(c, None, w, "") for c, w in zip(claims.load().values(), words, strict=False)
    ]
    shown = Page(lab._pills(judged))
    assert shown.values("a", "href") == ["#claim-C3.1", "#claim-C3.2", "#claim-C1.1a"]
    assert shown.texts["mem-pill"] == ["C3.1 ✓", "C3.2 ✗ under this cut", "C1.1a ?"]
    assert shown.values("a", "aria-label")[1] == "C3.2: contradicted under this cut"
    assert shown.values("a", "class") == [f"mem-pill mem-{word}" for word in words]


def test_the_plain_text_is_short(ledger):
    assert ledger._repr_mimebundle_()["text/plain"] == ledger.lines() == repr(ledger)


def test_the_compared_lines_hold_ids_and_verdicts_only(ledger):
    assert ledger.lines() == "C3.1 supported\nC3.2 inconclusive"


@pytest.mark.parametrize(
    ("id", "low", "high", "n", "close"),
    [
        ("C3.1", 0.11, 0.21, 5, True),
        ("C3.1", 0.09, 0.19, 5, True),
        ("C3.1", -0.01, 0.09, 5, True),
        ("C3.1", 0.16, 0.26, 5, False),
        ("C3.1", 0.05, 0.15, 5, True),
        ("C3.1", 0.11, 0.21, 4, False),  # too few seeds on every processor
        ("C3.1", -math.inf, math.inf, 5, False),
        ("C3.1", 0.2, 0.2, 5, False),
        ("C3.2", 1.9, 2.9, 5, True),
        ("C3.2", -0.4, 0.6, 5, True),
        ("C3.2", 1.1, 1.6, 5, False),
    ],
)
def test_a_verdict_that_rounding_could_flip_is_not_compared(declare, id, low, high, n, close):
    verdict = judge(id, Interval(0.15, low, high, 0.95, n))
    assert verdict.close is close
    word = "(close)" if close else verdict.verdict
    assert Ledger([verdict], title="quick").lines() == f"{id} {word}"


def test_where_the_kept_verdict_agrees_it_is_told_as_another_processor_may_find_it_close(declare):
    supported, close = (judge("C3.1", interval(low, low + 0.1)) for low in (0.16, 0.11))
    against = judge("C3.1", interval(-0.2, -0.1))
    told = {
        (supported, close): "(close)",
        (close, supported): "supported",
        (supported, against): "supported",
        (against, supported): "contradicted",
    }
    for (here, kept), word in told.items():
        ledger = Ledger([here], title="quick", kept={"C3.1": kept})
        assert ledger.lines() == f"C3.1 {word}"


def test_the_rows_are_json_without_infinity(declare):
    ledger = Ledger([judge("C3.1", NO_ENDS)], title="quick")
    data = ledger._repr_mimebundle_()[claims.MIME]
    json.dumps(data, allow_nan=False)
    assert (data["rows"][0]["low"], data["rows"][0]["high"]) == (None, None)


def test_a_ledger_without_sense_is_refused(declare):
    verdict = judge("C3.1", interval(0.2, 0.3))
    with pytest.raises(ArgumentError, match="quick"):
        Ledger((v for v in [verdict]), title="quick")
    with pytest.raises(ArgumentError, match="paper"):
        Ledger([verdict], {"paper": ["supported"]}, title="quick")


def test_a_notebook_shows_a_table_of_the_verdicts_in_each_run(ledger):
    shown = Page(ledger._repr_mimebundle_()["text/html"])
    assert shown.texts["th"] == [
        *["claim", "sentence", "run", "verdict", "interval", "why"],
        *["C3.1", "C3.1", "C3.2"],
    ]
    assert shown.texts["td"][:10] == [
        *["Real digits are less equal than <noise>.", "This page: digits", "✓ supported"],
        *["0.33 [0.30, 0.36], 5 seeds", "the whole interval is above 0.1"],
        *["Real digits are less equal than <noise>.", "Recorded: MNIST, 2 x 16 units"],
        *["✗ contradicted", "0.030 [0.010, 0.050], 10 seeds"],
        "no part of the interval is above 0.1",
    ]
