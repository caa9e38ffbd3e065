"""What stands around a figure depends on what the run shows.

Each chapter's figures are drawn again from recorded tables that are changed until its findings
fail. No title, caption or finding may still claim them.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest

from memhelpers import lab
from memhelpers.page.figures import Figure
from memhelpers.runs import records
from tests import chapters

Tables = Mapping[str, pd.DataFrame]


def renamed(tables: Tables, **names: str) -> Tables:
    """The same tables with other names of conditions."""
    return {
        key: table.assign(condition=table["condition"].replace(names))
        for key, table in tables.items()
    }


def real_is_noise(tables: Tables) -> Tables:
    """What was measured on real images stands under randX, and the other way round."""
    return renamed(tables, real="randX", randX="real")


# Chapter 01


def random_labels_are_not_fitted(tables: Tables) -> Tables:
    fits, curves = tables["fits"].copy(), tables["curves"].copy()
    hard, limit = fits["condition"] == "randY", fits["epochs"].max()
    fits.loc[hard, ["fitted", "epochs", "train_accuracy"]] = [False, limit, 0.5]
    hard = curves["condition"] == "randY"
    curves.loc[hard, "train_accuracy"] = curves["train_accuracy"].clip(upper=0.5)
    return {"fits": fits, "curves": curves}


def random_labels_are_fitted_first(tables: Tables) -> Tables:
    return renamed(tables, real="randY", randY="real")


def the_gap_falls(tables: Tables) -> Tables:
    fits = tables["fits"].assign(noise=1 - tables["fits"]["noise"])
    return {**tables, "fits": fits}


def wrong_labels_are_learned_first(tables: Tables) -> Tables:
    swapped = {"right_label": "wrong_label", "wrong_label": "right_label"}
    return {**tables, "curves": tables["curves"].rename(columns=swapped)}


def wrong_labels_are_not_learned(tables: Tables) -> Tables:
    curves = tables["curves"]
    return {**tables, "curves": curves.assign(wrong_label=curves["wrong_label"].clip(upper=0.1))}


# Chapter 02


def coins(tables: Tables, *conditions: str) -> Tables:
    """The answers of these conditions drawn as if all examples were equally hard."""
    examples, generator = tables["examples"].copy(), np.random.default_rng(0)
    for condition in conditions:
        rows = examples["condition"] == condition
        networks = (tables["networks"]["condition"] == condition).sum()
        chance = examples.loc[rows, "right"].mean() / networks
        right = generator.random((networks, rows.sum())) < chance
        examples.loc[rows, "right"] = right.sum(0)
        examples.loc[rows, "by_network"] = lab.pack_answers(right)
    return {**tables, "examples": examples}


def real_images_are_equally_hard(tables: Tables) -> Tables:
    return coins(tables, "real")


def random_images_are_equally_hard(tables: Tables) -> Tables:
    return coins(tables, "randX")


# Chapter 04


def noise_grows_unequal_too(tables: Tables) -> Tables:
    gini = tables["gini"].copy()
    noise = gini["condition"] == "randX"
    gini.loc[noise, "gini"] += 0.3 * gini["update"] / gini["update"].max()
    return {**tables, "gini": gini}


def noise_depends_on_few(tables: Tables) -> Tables:
    spread = tables["spread"]
    return {**tables, "spread": spread.assign(high=spread["high"].clip(upper=0.3))}


# Chapter 05


def others_matter_most(tables: Tables) -> Tables:
    own, others = tables["course"]["own"], tables["course"]["others"]
    course = tables["course"].assign(own=others, own_indirect=others, others=own)
    return {**tables, "course": course}


# Chapter 09


def course_with(tables: Tables, kind: str, network: str = "MLP", **columns: str) -> Tables:
    """The course of one kind of noise with columns that are others' (or 0 for no column)."""
    course = tables["course"].copy()
    rows = (course["kind"] == kind) & (course["network"] == network)
    for column, other in columns.items():
        course.loc[rows, column] = tables["course"].loc[rows, other] if other else 0.0
    return {**tables, "course": course}


def wrong_labels_come_with_the_right_ones(tables: Tables) -> Tables:
    return course_with(tables, "random labels", corrupted="clean")


def accuracy_never_falls(tables: Tables) -> Tables:
    course = tables["course"]
    best = course.groupby(["network", "kind", "level", "seed"])["validation"].cummax()
    return {**tables, "course": course.assign(validation=best)}


def noise_makes_nothing_critical(tables: Tables) -> Tables:
    return {**tables, "course": tables["course"].assign(critical=0.5)}


def the_linear_model_never_knows_the_true_class(tables: Tables) -> Tables:
    return course_with(tables, "random labels", "logistic regression", as_true="")


def the_linear_model_explains_half(tables: Tables) -> Tables:
    course = tables["course"]
    return {**tables, "course": course.assign(explained=course["explained"] / 2)}


FITTED = {"Noise is fitted, too": "Training accuracy by epoch"}
EXACT = {"without an error": "which ones it fits is in the figure"}
LONGER = {"as long as true ones": "the time for random labels is"}
ORDER = {"Right labels are learned first": "Accuracy on right and on wrong labels, by epoch"}
AGREE = {
    "Networks agree on which real": "P(correct) of the examples, in ascending order",
    "networks agree on which real images are easy": "How much do networks agree",
    "networks agree far less": "As measured",
}
UNEQUAL = {"real images grow unequal; noise stays near": "Gini coefficient by update"}
ALIKE = {"on all of them about alike": "How unequally does the loss depend on the images?"}
SHARED = {
    "Real digits share more at first": "How much classes share, by update",
    "depends on how training is averaged": "Do classes share more in real data?",
}
FALLS = {"gets worse on new images": "does not get worse at each share"}
BY_HEART = {"Right labels first; the wrong": "Right and wrong labels, new images and critical"}
CRITICAL = {"and more critical ones": "Accuracy and critical samples by epoch and share"}

# Chapter -> a change of its tables -> each sentence that must go, with the one that must come.
FAILING: dict[str, list[tuple[Callable[[Tables], Tables], dict[str, str]]]] = {
    "01-fitting-noise": [
        (random_labels_are_not_fitted, FITTED | EXACT),
        (random_labels_are_fitted_first, FITTED | LONGER),
        (the_gap_falls, {"The gap grows with": "Accuracy and gap by the share of random labels"}),
        (wrong_labels_are_learned_first, ORDER),
        (wrong_labels_are_not_learned, ORDER),
    ],
    "02-easy-examples": [
        (real_images_are_equally_hard, AGREE),
        (real_is_noise, AGREE),
        (
            random_images_are_equally_hard,
            {"Even within a label, randX varies": "randX cannot be told from chance"},
        ),
    ],
    "04-loss-sensitivity": [
        (
            real_is_noise,
            {
                "real images end more unequal": "Gini coefficient by update, with few classes",
                "real images stay more unequal": "Not every objection",
            }
            | UNEQUAL
            | ALIKE,
        ),
        (noise_grows_unequal_too, UNEQUAL),
        (noise_depends_on_few, ALIKE),
    ],
    "05-per-class-loss-sensitivity": [
        (real_is_noise, SHARED),
        (
            others_matter_most,
            {"depends most on its own images": "Sensitivity of each class to the images of each"},
        ),
    ],
    "09-patterns-first": [
        (wrong_labels_come_with_the_right_ones, BY_HEART),
        (accuracy_never_falls, BY_HEART | FALLS),
        (noise_makes_nothing_critical, CRITICAL),
        (
            the_linear_model_never_knows_the_true_class,
            {"A linear model, too,": "Right and wrong labels by epoch, for each network"},
        ),
        (
            the_linear_model_explains_half,
            {"that the network knows early": "How much of the network's answers"},
        ),
    ],
}
CASES = [
    pytest.param(stem, change, sentences, id=f"{stem[:2]}-{change.__name__}")
    for stem, changes in FAILING.items()
    for change, sentences in changes
]


def told(stem: str, name: str, change: Callable[[Tables], Tables], digits) -> str:
    """All that a chapter says around its figures of one recorded run with changed tables."""
    (path,) = (path for path in chapters.CHAPTERS if path.stem == stem)
    space = chapters.definitions(path)
    chapter = space["chapter"]
    chapter.recorded = {}  # not judged here
    chapter.record(change(records.load(stem, name).tables), data=digits)
    chapter.judge(space["verdicts"])
    (run,) = chapter.runs
    parts = [space["finding"](run)]
    for figure in chapters.figures(path):
        shown = space[figure](run)
        titled = isinstance(shown, Figure)
        parts += [shown.title, shown.subtitle, shown.caption] if titled else [repr(shown)]
    return "\n".join(parts)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for variable, value in chapters.QUICK.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture(scope="module")
def usual(digits) -> dict[str, str]:
    """What each chapter says of its largest recorded run, by its file name."""
    largest = {path.stem: lab.Chapter(path.stem).recorded for path in chapters.CHAPTERS}
    names = {stem: next(iter(found.values())).name for stem, found in largest.items()}
    return {stem: told(stem, name, lambda tables: tables, digits) for stem, name in names.items()}


@pytest.mark.parametrize(("stem", "change", "sentences"), CASES)
def test_no_sentence_near_a_figure_claims_what_the_run_does_not_show(
    stem, change, sentences, digits, usual
):
    said = told(stem, "quick-digits", change, digits)
    for claimed, neutral in sentences.items():
        assert claimed in usual[stem], "no chapter says so: bring the table above up to date"
        assert claimed not in said, said
        assert neutral in said
        assert neutral not in usual[stem]


def test_each_chapter_has_data_on_which_its_finding_fails():
    assert set(FAILING) == {path.stem for path in chapters.CHAPTERS}
