import json
import math

import pytest

from memhelpers import claims
from memhelpers.claims import Claim, Ledger, judge
from memhelpers.errors import ArgumentError, ClaimError
from memhelpers.page import ledger as page
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


def test_cards_name_the_method_of_each_kind_of_interval(declare):
    judged = [judge("C3.1", interval(0.5, 0.6, n=10, unit="cases"))]
    shown = Ledger(judged, title="here")._repr_mimebundle_()["text/html"]
    assert "Over cases: exact binomial interval." in shown
    assert "jackknife" not in shown
    judged = [judge("C3.1", interval(0.5, 0.6, unit="networks"))]
    shown = Ledger(judged, title="here")._repr_mimebundle_()["text/html"]
    assert "Over networks: jackknife, leaving out each in turn." in shown


def test_fewer_seeds_than_declared_give_no_verdict(declare):
    found = judge("C3.1", interval(0.5, 0.6, n=4))
    assert found.verdict == "inconclusive"
    assert found.reason == "the claim demands at least 5 seeds"
    assert judge("C3.1", interval(0.5, 0.6, n=5)).verdict == "supported"


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


def cards(ledger):
    return Page(ledger._repr_mimebundle_()["text/html"])


def test_a_card_says_everything_in_words(ledger):
    shown = cards(ledger)
    assert shown.values("section", "id") == ["claim-C3.1", "claim-C3.2"]
    first, second = shown.texts["mem-card"]
    head = " ".join(shown.texts["mem-card-head"][0].split())
    assert head == "C3.1 Paper 2017, Fig. 3 ✗ contradicted; digits: supported"
    assert shown.texts["mem-sentence"][0] == "Real digits are less equal than <noise>."
    assert shown.texts["mem-rule"] == ["supported if above 0.1 →", "supported if between 0.5 and 2"]
    assert [" ".join(one.split()) for one in shown.texts["mem-strip-run"]] == [
        "This page: digits 0.33 [0.30, 0.36] 5 seeds: supported",
        "Recorded: MNIST, 2 x 16 units 0.030 [0.010, 0.050] 10 seeds: contradicted",
        "Recorded: CIFAR-10 not recorded at paper scale",
        "This page: digits 3.5 [3.0, 4.0] 2 seeds: inconclusive",
        "Recorded: MNIST, 2 x 16 units not measured in this run",
        "Recorded: CIFAR-10 not recorded at paper scale",
    ]
    assert "95 % intervals" in shown.texts["mem-claims-note"][0]
    assert "? inconclusive under this cut" in second
    assert "declared after the data were seen" in second
    assert "declared after" not in first
    told = shown.texts["mem-fold"][1]
    assert "Gini, real minus randX (Gini)" in told
    assert "the claim demands at least 5 seeds" in told


def test_a_drawing_is_hidden_from_those_who_hear_the_page(ledger):
    drawings = [given for tag, given in cards(ledger).tags if tag == "svg" and "width" in given]
    assert drawings
    assert {given.get("aria-hidden") for given in drawings} == {"true"}


def test_the_largest_recorded_run_gives_the_badge_and_others_that_differ_are_named(declare):
    far, near = interval(0.3, 0.36), interval(-0.3, -0.2)
    recorded = {"Recorded: MNIST": None, "Recorded: CIFAR-10, 8 units": [judge("C3.1", near)]}
    recorded["Recorded: MNIST, 4 units"] = [judge("C3.1", near)]
    one = Ledger([judge("C3.1", far)], recorded, title="This page: digits")
    assert cards(one).texts["mem-pill"] == ["✗ contradicted; digits: supported"]
    alone = Ledger([judge("C3.1", far)], title="This page: digits")
    assert cards(alone).texts["mem-pill"] == ["✓ supported"]


def test_a_close_verdict_says_so_and_the_page_says_what_that_means(declare, ledger):
    near = Ledger([judge("C3.1", interval(0.11, 0.21))], title="This page: digits")
    shown = cards(near)
    assert shown.texts["mem-pill"] == ["✓ supported, close"]
    assert shown.texts["abbr"] == ["close"]
    assert page.CLOSE in shown.texts["mem-claims-note"][0]
    assert shown.values("span", "title") == shown.values("abbr", "title") == [page.CLOSE]
    assert page.CLOSE not in cards(ledger).texts["mem-claims-note"][0]


def test_the_strip_holds_thresholds_and_every_end_in_order():
    claim = Claim(**ENTRY)
    strip = page.Strip(claim, [interval(-0.2, 0.3), Interval(0.4, -math.inf, math.inf, 0.95, 1)])
    places = [strip.place(value) for value in (-math.inf, -0.2, 0.1, 0.4, math.inf)]
    assert places[0] == 0 < places[1] < places[2] < places[3] < 100 == places[4]
    assert strip.zone() == (strip.place(0.1), 100)
    assert strip.ticks() == pytest.approx([-0.2, 0, 0.2, 0.4])


@pytest.mark.parametrize(("direction", "ends"), [("below", (0, 50)), ("within", (50, 75))])
def test_the_zone_lies_where_the_claim_is_supported(direction, ends):
    threshold = (0.0, 1.0) if direction == "within" else 0.0
    claim = Claim(**{**ENTRY, "direction": direction, "threshold": threshold})
    strip = page.Strip(claim, [interval(-1.5, 1.5)])
    strip.low, strip.high = -2, 2
    assert strip.zone() == ends


def test_ratios_stand_on_a_log_scale_as_long_as_they_are_above_0():
    claim = Claim(**{**ENTRY, "unit": "ratio", "threshold": 1.0})
    strip = page.Strip(claim, [interval(0.5, 2)])
    assert strip.place(1.0) == pytest.approx(50)
    assert strip.ticks() == pytest.approx([0.5, 1, 2])
    assert not page.Strip(claim, [interval(-0.1, 10)]).log
    assert not page.Strip(Claim(**ENTRY), [interval(0.2, 10)]).log
    wide = page.Strip(claim, [interval(0.01, 100)])
    assert wide.ticks() == pytest.approx([0.01, 0.1, 1, 10, 100])
    narrow = page.Strip(claim, [interval(0.9, 1.1)])
    assert narrow.ticks() == pytest.approx([0.9, 0.95, 1, 1.05, 1.1])


def test_open_ends_are_arrows_and_an_open_question_is_hollow(declare):
    places = [0.0, 50.0, 100.0]
    ended, open_ends = judge("C3.1", interval(0.2, 0.3)), judge("C3.1", NO_ENDS)
    assert page.mark(ended, places).count("M0,-4V4") == 2
    assert "M6,-5L0,0L6,5" in page.mark(open_ends, places)
    assert "M-6,-5L0,0L-6,5" in page.mark(open_ends, places)
    assert "fill:currentColor" in page.mark(ended, places)
    assert "fill:var(--mem-page" in page.mark(open_ends, places)


def test_badges_link_to_cards_and_carry_the_choice_where_not_supported(declare):
    first, second, third = claims.load().values()
    shown = Page(page.pills({first: "supported", second: "contradicted", third: "inconclusive"}))
    assert shown.values("a", "href") == ["#claim-C3.1", "#claim-C3.2", "#claim-C1.1a"]
    assert shown.texts["mem-pill"] == ["C3.1 ✓", "C3.2 ✗ under this cut", "C1.1a ?"]
    assert shown.values("a", "aria-label")[1] == "C3.2: contradicted under this cut"
    assert Page(page.pills({second: "supported"})).texts["mem-pill"] == ["C3.2 ✓"]


def test_the_plain_text_is_short(ledger):
    assert ledger._repr_mimebundle_()["text/plain"] == ledger.lines() == repr(ledger)


def test_numbers_get_minus_signs_and_words_keep_their_hyphens():
    assert page.text("-0.1 [-0.2, -.1] l-1 & x-y 2-3") == "−0.1 [−0.2, −.1] l-1 &amp; x-y 2-3"


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


def test_the_rows_are_json_without_infinity(declare):
    ledger = Ledger([judge("C3.1", NO_ENDS)], title="quick")
    data = ledger._repr_mimebundle_()[claims.MIME]
    json.dumps(data, allow_nan=False)
    assert (data["rows"][0]["low"], data["rows"][0]["high"]) == (None, None)


def test_a_ledger_without_sense_is_refused(declare):
    verdict = judge("C3.1", interval(0.2, 0.3))
    with pytest.raises(ClaimError, match=r"C3.1 is judged twice in the run 'quick'"):
        Ledger([verdict, verdict], title="quick")
    with pytest.raises(ArgumentError, match="quick"):
        Ledger((v for v in [verdict]), title="quick")
    with pytest.raises(ArgumentError, match="paper"):
        Ledger([verdict], {"paper": ["supported"]}, title="quick")
