"""The cards of the claims on the book's pages."""

import math

import numpy as np
import pytest

from memhelpers import stats
from memhelpers.claims import Claim, Ledger, judge
from memhelpers.errors import ClaimError
from memhelpers.stats import Interval
from tests.toy_claims import ENTRY, Page, interval
from tools import cards as page

NO_ENDS = Interval(0.3, -math.inf, math.inf, 0.95, 1)
SAMPLES = {  # draws of a shape, and their mean
    "normal": (lambda rng, shape: rng.normal(size=shape), 0.0),
    "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "log-normal": (lambda rng, shape: rng.lognormal(size=shape), math.exp(0.5)),
}


def test_cards_name_the_method_of_each_kind_of_interval(declare):
    judged = [judge("C3.1", interval(0.5, 0.6, n=10, unit="cases"))]
    shown = page.cards(Ledger(judged, title="here"))
    assert "Over cases: exact binomial interval." in shown
    assert "jackknife" not in shown
    judged = [judge("C3.1", interval(0.5, 0.6, unit="networks"))]
    shown = page.cards(Ledger(judged, title="here"))
    assert "Over networks: jackknife, leaving out each in turn." in shown


def cards(ledger):
    return Page(page.cards(ledger))


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


def test_a_card_tells_a_control_and_what_was_revised(declare):
    declare({**ENTRY, "control": True, "revised_after_data": "the grid"})
    shown = Page(page.cards(Ledger([judge("C3.1", interval(0.2, 0.3))], title="here")))
    told = "; revised after data were seen: the grid; a control of the measurement"
    assert told in shown.texts["mem-card-head"][0]


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


def test_numbers_get_minus_signs_and_words_keep_their_hyphens():
    assert page.text("-0.1 [-0.2, -.1] l-1 & x-y 2-3") == "−0.1 [−0.2, −.1] l-1 &amp; x-y 2-3"


@pytest.mark.parametrize("n", page.COVERAGE)
@pytest.mark.parametrize("position", range(3))
def test_the_interval_covers_the_mean_as_often_as_its_caption_says(n, position):
    draw, mean = list(SAMPLES.values())[position]
    values = draw(np.random.default_rng(n), (3000, n))
    influence = values - values.mean(1, keepdims=True)
    low, high = stats._ends(influence, lambda weights: influence @ weights)
    error = mean - values.mean(1)
    covered = 100 * ((low <= error) & (error <= high)).mean()
    assert covered == pytest.approx(page.COVERAGE[n][position], abs=2)  # 3 standard errors


def test_the_caption_tells_method_and_coverage():
    assert page.coverage(7) == (
        "95 % interval (Student's t; covers 95 % for normal values, 88 % for exponential, "
        "82 % for log-normal ones)"
    )
    assert page.coverage(2) == page.coverage(3) != page.coverage(7)
    assert "wider of Student's t and BCa; covers 96 %" in page.coverage(19)
    assert page.coverage(1) == "one seed has no interval"


def test_a_claim_that_is_judged_twice_in_a_run_is_refused(declare):
    verdict = judge("C3.1", interval(0.2, 0.3))
    with pytest.raises(ClaimError, match=r"C3.1 is judged twice in the run 'quick'"):
        page.cards(Ledger([verdict, verdict], title="quick"))
