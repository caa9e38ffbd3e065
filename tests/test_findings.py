"""What stands around a figure depends on what the run shows.

Each chapter's figures are drawn again from recorded tables that are changed until its findings
fail. No title, caption or finding may still claim them.
"""

import html
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from memhelpers import lab
from memhelpers.page.figures import Figure
from memhelpers.runs import records
from tests import chapters
from tools import judging

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
    return {**tables, "fits": fits, "curves": curves}


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


def the_factor_does_not_grow(tables: Tables) -> Tables:
    """Random labels take three times as long, by half a percent more or less, for every number."""
    numbers = tables["numbers"].copy()
    same = 10.0 + 0.05 * (numbers["seed"] % 2)
    numbers["epochs"] = same.where(numbers["condition"] == "real", 30.0)
    return {**tables, "numbers": numbers}


# Chapter 02


def packed(right: np.ndarray) -> list[str]:
    """The answers of networks to each example, as the chapter keeps them."""
    return [bits.tobytes().hex() for bits in np.packbits(right, axis=0).T]


def coins(tables: Tables, *conditions: str) -> Tables:
    """The answers of these conditions drawn as if all examples were equally hard."""
    examples, generator = tables["examples"].copy(), np.random.default_rng(0)
    for condition in conditions:
        rows = examples["condition"] == condition
        networks = (tables["networks"]["condition"] == condition).sum()
        chance = examples.loc[rows, "right"].mean() / networks
        right = generator.random((networks, rows.sum())) < chance
        examples.loc[rows, "right"] = right.sum(0)
        examples.loc[rows, "by_network"] = packed(right)
    return {**tables, "examples": examples}


def real_images_are_equally_hard(tables: Tables) -> Tables:
    return coins(tables, "real")


def random_images_are_easy_or_hard(tables: Tables) -> Tables:
    """All networks are right on every other random image, whatever its label."""
    examples = tables["examples"].copy()
    networks = (tables["networks"]["condition"] == "randX").sum()
    rows = examples["condition"] == "randX"
    easy = np.arange(rows.sum()) % 2 == 0
    examples.loc[rows, "right"] = networks * easy
    examples.loc[rows, "by_network"] = packed(np.tile(easy, (networks, 1)))
    return {**tables, "examples": examples}


# Chapter 03


def filters_answer_as_shuffled_ones(tables: Tables) -> Tables:
    course = tables["course"]
    return {**tables, "course": course.assign(response=course["shuffled"])}


def filters_stay_as_rough(tables: Tables) -> Tables:
    return {**tables, "course": tables["course"].assign(low=0.3)}


def random_labels_give_no_structure(tables: Tables) -> Tables:
    """The filters of randY stay those of before training, in all that is measured of them."""
    course, profile = tables["course"].copy(), tables["profile"].copy()
    course = course.sort_values(["condition", "seed", "epoch"], ignore_index=True)
    measured = ["low", "low_centred", "response", "shuffled", "spread", "random"]
    first = course.groupby(["condition", "seed"])[measured].transform("first")
    course.loc[course["condition"] == "randY", measured] = first
    initial = profile.loc[profile["condition"] == "initial", "energy"].to_numpy()
    profile.loc[profile["condition"] == "randY", "energy"] = initial
    return {**tables, "course": course, "profile": profile}


def all_start_alike(tables: Tables) -> Tables:
    return {**tables, "transfer": tables["transfer"].assign(train_accuracy=0.5)}


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


# Chapter 06


def noise_calls_for_width(tables: Tables) -> Tables:
    """Clean data do with any width; noisy data get better with every doubling."""
    table = tables["networks"].copy()
    noisy = table["kind"].isin(["inputs", "labels"])
    for column in ("accuracy_best", "accuracy_end"):
        table[column] = np.where(noisy, np.log2(table["width"]) / 10, 0.9)
    return {**tables, "networks": table}


def the_error_peaks_where_labels_are_fitted(tables: Tables) -> Tables:
    table = tables["networks"].copy()
    labels, widths = table["kind"] == "labels", sorted(table["width"].unique())
    table.loc[labels, "train_accuracy"] = np.where(table["width"] >= widths[-3], 1.0, 0.5)[labels]
    table.loc[labels & (table["width"] == widths[-3]), "accuracy_end"] = 0.0
    return {**tables, "networks": table}


def each_size_holds_as_much(tables: Tables) -> Tables:
    table = tables["bits"]
    return {**tables, "bits": table.assign(bits=1.5 * table["parameters"])}


def width_gains_nothing(tables: Tables) -> Tables:
    table = tables["networks"].copy()
    table[["accuracy_best", "accuracy_end"]] = 0.5
    return {**tables, "networks": table}


# Chapter 07


def slowed(tables: Tables, factor: float, conditions: list[str]) -> Tables:
    """The networks of these conditions take longer by a factor."""
    times = tables["times"]
    slow = times["condition"].isin(conditions)
    times = times.assign(epochs=times["epochs"].where(~slow, factor * times["epochs"]))
    return {**tables, "times": times}


def noise_is_always_slower(tables: Tables) -> Tables:
    return slowed(tables, 4, ["partly randX", "randX", "randY"])


def random_labels_are_fitted_soon(tables: Tables) -> Tables:
    return slowed(tables, 0.05, ["randY"])


def memorizing_takes_no_longer(tables: Tables) -> Tables:
    """The more images there are, the sooner all of them are fitted."""
    rows = tables["label_noise"]
    return {**tables, "label_noise": rows.assign(updates=rows["update"].max() / rows["value"])}


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


# Chapter 10


def dropout_prevents_memorization_for_nothing(tables: Tables) -> Tables:
    """Real data are learned as without it, and random labels not at all."""
    course = tables["course"].copy()
    own = course["regularizer"] == "dropout"
    keys = ["data", "rate", "seed", "epoch"]
    none = course[course["regularizer"] == "none"].set_index(keys)
    same = ["loss", "accuracy", "met", "validation", "test"]
    course.loc[own, same] = none.loc[
        list(course.loc[own, keys].itertuples(index=False)), same
    ].values
    course.loc[own & (course["data"] == "random labels"), ["accuracy", "met"]] = 0.1
    return {**tables, "course": course}


def regularizers_do_nothing(tables: Tables) -> Tables:
    course = tables["course"].copy()
    course.loc[course["data"] == "random labels", ["accuracy", "met"]] = 1.0
    return {**tables, "course": course}


def one_order_is_the_other_turned(tables: Tables) -> Tables:
    course = tables["course"].copy()
    course.loc[course["data"] == "random labels", "loss"] *= -1
    return {**tables, "course": course}


# Chapter 11


def learned_with(tables: Tables, change: Callable[[list[str]], Sequence[str]]) -> Tables:
    """The epochs at which each network's images are learned for good, changed."""
    networks = tables["networks"]
    learned = [" ".join(change(text.split())) for text in networks["learned"]]
    return {**tables, "networks": networks.assign(learned=learned)}


def each_network_has_its_own_order(tables: Tables) -> Tables:
    """When an image is learned says nothing of when another network learns it."""
    generator = np.random.default_rng(0)

    return learned_with(tables, lambda texts: generator.permutation(texts))


def random_labels_have_no_order(tables: Tables) -> Tables:
    shuffled = each_network_has_its_own_order(tables)["networks"]
    networks = tables["networks"]
    return {**tables, "networks": shuffled.where(networks["level"] == 1, networks)}


def wrong_labels_are_learned_as_soon(tables: Tables) -> Tables:
    """All images are learned in the third epoch, give or take one."""
    return learned_with(tables, lambda texts: [str(2 + k % 3) for k in range(len(texts))])


def accuracy_does_not_fall(tables: Tables) -> Tables:
    course = tables["course"]
    best = course.groupby(["level", "seed"])["test"].cummax()
    return {**tables, "course": course.assign(test=best)}


# Chapter 12


def updates_by(tables: Tables, change: Callable[[pd.DataFrame], pd.Series]) -> Tables:
    """Networks that all fit in time, after a number of updates of their own."""
    networks = tables["networks"].assign(fitted=True)
    return {**tables, "networks": networks.assign(updates=change(networks))}


def deeper_is_faster(tables: Tables) -> Tables:
    return updates_by(tables, lambda rows: (400 + rows["seed"]) / rows["depth"])


def depth_changes_nothing(tables: Tables) -> Tables:
    """Times that differ by seed and depth, but not from depth to depth."""
    return updates_by(tables, lambda rows: 400 + 9 * ((rows["seed"] + rows["depth"]) % 2))


def deeper_generalizes_better(tables: Tables) -> Tables:
    networks = tables["networks"]
    test = 0.7 + 0.02 * np.log2(networks["depth"]) + 0.001 * networks["seed"]
    return {**tables, "networks": networks.assign(train=1.0, test=test)}


# Chapter 13


def with_epochs_of(tables: Tables, condition: str, other: str) -> Tables:
    """One condition takes as long as another, network by network."""
    fits = tables["fits"].copy()
    for _, rows in fits.groupby(["data", "seed"]):
        (same,) = rows.loc[rows["condition"] == other, "epochs"]
        fits.loc[rows.index[rows["condition"] == condition], "epochs"] = same
    return {**tables, "fits": fits}


def random_labels_take_no_longer(tables: Tables) -> Tables:
    return with_epochs_of(tables, "randY", "real")


def right_labels_are_learned_last(tables: Tables) -> Tables:
    swapped = {"right": "wrong", "wrong": "right"}
    return {**tables, "curves": tables["curves"].rename(columns=swapped)}


def shuffled_inputs_tell_nothing(tables: Tables) -> Tables:
    classes = tables["fits"]["data"].map(tables["sets"].set_index("data")["classes"])
    shuffled = tables["fits"]["condition"] == "shuffled per image"
    test = tables["fits"]["test"].mask(shuffled, 1 / classes)
    return {**tables, "fits": tables["fits"].assign(test=test)}


def the_table_is_noise_by_every_measurement(tables: Tables) -> Tables:
    fits, curves = tables["fits"].copy(), tables["curves"].copy()
    fits.loc[fits["data"] == "breast_cancer", "test"] = 0.5
    curves.loc[curves["data"] == "breast_cancer", "wrong"] = curves["right"]
    return {**tables, "fits": fits, "curves": curves}


# Chapter 08


def real_data_are_most_critical(tables: Tables) -> Tables:
    exact = tables["exact"].assign(condition="real")
    return renamed({**tables, "exact": exact}, real="randY", randY="real")


def one_radius_turns_the_order(tables: Tables) -> Tables:
    course = tables["course"].copy()
    course.loc[(course["condition"] == "real") & (course["radius"] == 16), "ratio"] = 1.0
    return {**tables, "course": course}


def large_boxes_hold_another_class(tables: Tables) -> Tables:
    """From the second largest radius on, all images are critical in every condition."""
    course = tables["course"].copy()
    course.loc[course["radius"] >= 8, "ratio"] = 1.0
    return {**tables, "course": course}


def real_data_rise_too(tables: Tables) -> Tables:
    course = tables["course"].copy()
    course.loc[(course["condition"] == "real") & (course["epoch"] == 1), "ratio"] = 0.0
    return {**tables, "course": course}


def one_search_turns_the_order(tables: Tables) -> Tables:
    searches = tables["searches"].copy()
    some = (searches["condition"] == "real") & (searches["search"] == "four searches")
    searches.loc[some, "ratio"] = 0.9
    return {**tables, "searches": searches}


# Chapter 14


def sgd_fits_the_points_on_a_line(tables: Tables) -> Tables:
    binary = tables["binary"].copy()
    binary.loc[binary["network"] == "SGD, on a line", "accuracy"] = 1.0
    return {**tables, "binary": binary}


def single_precision_is_enough(tables: Tables) -> Tables:
    real = tables["real"]
    return {**tables, "real": real.assign(float32=real["float64"])}


def some_points_are_wrong(tables: Tables) -> Tables:
    return {**tables, "classes": tables["classes"].assign(wrong=3)}


# Chapter 15


def memorizers_agree_as_learners_do(tables: Tables) -> Tables:
    pairs = tables["pairs"].copy()
    learners, memorizers = (pairs["kind"] == kind for kind in ("true labels", "random labels"))
    pairs.loc[memorizers, "kappa"] = pairs.loc[learners, "kappa"].to_numpy()
    return {**tables, "pairs": pairs}


def the_same_labels_leave_nothing(tables: Tables) -> Tables:
    pairs = tables["pairs"].copy()
    pairs.loc[pairs["kind"] == "random labels", "kappa"] = 0.001
    pairs.loc[pairs["kind"] == "different random labels", "kappa"] = 0.001
    return {**tables, "pairs": pairs}


def memorizers_stay_alike_in_the_last_layer(tables: Tables) -> Tables:
    pairs = tables["pairs"].copy()
    pairs.loc[pairs["kind"].str.endswith("random labels"), "cka 3"] = 0.95
    return {**tables, "pairs": pairs}


def both_halves_are_fitted_alike(tables: Tables) -> Tables:
    return {**tables, "mixtures": tables["mixtures"].assign(accuracy=0.5)}


# Chapter 16


def swapped_cells(tables: Tables, *names: str) -> Tables:
    """What PRU did stands under LSTM in these tables, and the other way round."""
    other = {"LSTM": "PRU", "PRU": "LSTM"}
    return tables | {name: tables[name].replace({"cell": other}) for name in names}


def lstm_recalls_and_predicts_better(tables: Tables) -> Tables:
    # In the quick run LSTM recalls better already.
    return swapped_cells(tables, "text")


def pru_reverses_more_strings(tables: Tables) -> Tables:
    reverse = tables["reverse"].copy()
    value = reverse["value"].where(reverse["cell"] != "LSTM", reverse["value"] / 2)
    return {**tables, "reverse": reverse.assign(value=value)}


def each_network_finds_other_sequences_hard(tables: Tables) -> Tables:
    orders, generator = tables["orders"].copy(), np.random.default_rng(0)
    for _, rows in orders.groupby("seed"):
        for name in set(orders) - {"seed", "sequence"}:
            orders.loc[rows.index, name] = generator.permutation(rows[name])
    return {**tables, "orders": orders}


# Chapter 17


def with_tests(tables: Tables, which: str, **values: float) -> Tables:
    """The tests of these rows with other results."""
    tests = tables["tests"].copy()
    tests.loc[tests.eval(which), list(values)] = list(values.values())
    return {**tables, "tests": tests}


def noise_leaves_no_trace(tables: Tables) -> Tables:
    return with_tests(tables, "inputs == 'randX' and epoch > 0", p=0.5)


def noise_leaves_a_trace_nearby_alone(tables: Tables) -> Tables:
    return with_tests(tables, "inputs == 'randX' and epoch > 0 and strength > 0.5", p=0.5)


def raw_pixels_hold_no_labels(tables: Tables) -> Tables:
    return with_tests(tables, "network == 'pixels'", null=0.0)


def with_accuracy(tables: Tables, where: str, to: str, better: float = 0.0) -> Tables:
    """Networks of one kind get the accuracies of another kind, and so much more."""
    rows = tables["accuracy"].copy()
    keys = ["noise", "share", "seed", "reading"]
    other = rows.query(to).set_index(keys)["accuracy"]
    chosen = rows.query(where)
    found = other.reindex(pd.MultiIndex.from_frame(chosen[keys])).to_numpy()
    rows.loc[chosen.index, "accuracy"] = found + better
    return {**tables, "accuracy": rows}


LOT = "score == 'random' and end == 'hard'"
SENSITIVE = "score in ['sensitivity', 'in class'] and end == 'hard'"


def sensitive_images_teach_as_a_lot_does(tables: Tables) -> Tables:
    return with_accuracy(tables, f"{SENSITIVE} and noise == 0", LOT)


def sensitive_images_teach_less(tables: Tables) -> Tables:
    return with_accuracy(tables, f"{SENSITIVE} and noise == 0", LOT, -0.05)


def wrong_labels_do_no_harm(tables: Tables) -> Tables:
    return with_accuracy(tables, "score == 'sensitivity' and noise > 0", LOT, 0.01)


def ranks_within_class_teach_less(tables: Tables) -> Tables:
    return with_accuracy(tables, "score == 'in class' and noise == 0", LOT, -0.05)


def random_labels_leave_no_trace(tables: Tables) -> Tables:
    return with_tests(tables, "inputs == 'randY'", p=0.5)


def p_is_ten_times_too_small(tables: Tables) -> Tables:
    untrained = tables["untrained"]
    return {**tables, "untrained": untrained.assign(p=untrained["p"] / 10)}


FITTED = {"Noise is fitted, too": "Training accuracy by epoch"}
EXACT = {"without an error": "which ones it fits is in the figure"}
LONGER = {"as long as true ones": "the time for random labels is"}
FACTOR = {"The factor grows with": "The factor is nearly the same"}
ORDER = {"Right labels are learned first": "Accuracy on right and on wrong labels, by epoch"}
AGREE = {
    "Networks agree on which real": "P(correct) of the examples, in ascending order",
    "networks agree on which real images are easy": "How much do networks agree",
    "networks agree far less": "As measured",
}
PATTERN = {"though labels say nothing": "cannot be told from no pattern at all"}
TRACE = {"Random labels, too, leave a trace": "First-layer filters, before training and after it"}
STRUCTURE = {
    "Random labels give filters structure": "Structure of the filters by epoch",
    "as alike as those of two seeds": "do not share one energy profile",
}
START = {"learns the training images faster": "learns neither faster nor more slowly"}
UNEQUAL = {"real images grow unequal; noise stays near": "Gini coefficient by update"}
ALIKE = {"on all of them about alike": "How unequally does the loss depend on the images?"}
SHARED = {
    "Real digits share more at first": "How much classes share, by update",
    "depends on how training is averaged": "Do classes share more in real data?",
}
FALLS = {"gets worse on new images": "is not shown at each share"}
BY_HEART = {"Right labels first; the wrong": "Right and wrong labels, new images and critical"}
CRITICAL = {"and more critical ones": "Accuracy and critical samples by epoch and share"}

SAME_ORDER = {
    "What one network learns early": "Loss of the images by epoch, in the order of another",
    "in a similar order": "in orders that are not surely similar",
}
STOPPING = {
    "more early stopping gains": "Test accuracy at the end and with early stopping",
    "and early stopping gains": "Early stopping does not gain at each share",
}
SOON = {"Random labels take longer": "Time on noise over time on real data, by what counts"}
WINDOW = {"the time to memorize outgrows the time to generalize": "The two times, by the number of"}
TURNS = {
    "Noise images are slower to 90 %, and faster": "Epochs to a training accuracy, on real data",
    "depends on what counts as fitted": "Do noise images take longer to fit than real ones?",
}
CLOSE = {
    "or random labels, many more images are critical": "Share of critical images while",
    "leave far more images close to": "How often does a small change lead to another class?",
}
EVERY_RADIUS = {"more critical images at every radius": "Share of critical images at the end"}
FULL = {"more critical images at every radius": "From a radius of 8, all images are critical"}
RISES = {
    "the share falls on real data": "the share rises in all three",
    "ratio falls with real": "ratio rises in all three",
}
EVERY_SEARCH = {"Whichever search is used": "The ratio at the end, by search"}

FASTER = {
    "Deeper networks memorize more slowly": "Deeper networks memorize random labels in fewer",
    "A deeper network does not memorize faster": "A deeper network memorizes faster, if tuned",
}
TUNING = {
    "gain from their own rate and He's": "Updates by initialization and tuning, by depth",
}
NO_DEPTH = {
    "Deeper networks memorize more slowly": "Updates until random labels are memorized, by",
    "A deeper network does not memorize faster": "Does a deeper network memorize faster?",
}
NEW_IMAGES = {
    "Deeper networks generalize worse": "Deeper networks generalize better",
    "the deeper ones generalize worse": "the deeper ones generalize better",
}

DOUBLED = {
    "nor at the last is a doubling sure": "Both are more than a doubling",
    "in 0 of 4 readings": "in 4 of 4 readings",
    "clean data need, noisy data gain more": "Noisy inputs and labels call for twice the width",
}
GAINED = {
    "Beyond that width, noisy data gain more": "What is gained beyond the width that clean",
    "clean data need, noisy data gain more": "Validation accuracy by width and share of noise",
}

# Chapter -> a change of its tables -> each sentence that must go, with the one that must come.
# Chapter 19


def exchanged(tables: Tables, table: str, column: str, one: str, two: str) -> Tables:
    """The same tables in which two names of a column have each other's values."""
    rows = tables[table]
    return {**tables, table: rows.assign(**{column: rows[column].replace({one: two, two: one})})}


def forgetting_finds_more_than_the_margin(tables: Tables) -> Tables:
    return exchanged(tables, "areas", "score", "AUM", "forgetting")


def memorization_finds_more_than_the_c_score(tables: Tables) -> Tables:
    return exchanged(tables, "areas", "score", "C-score", "memorization")


def the_memorized_are_hit_least(tables: Tables) -> Tables:
    return exchanged(tables, "hits", "whom", "most memorized tenth", "all examples")


def memorization_is_steadier(tables: Tables) -> Tables:
    return exchanged(tables, "repeats", "score", "AUM", "memorization")


def sum_and_end_tell_the_same(tables: Tables) -> Tables:
    """Each time the one or the other agrees a little better with memorization."""
    rows = tables["agreement"].copy()
    losses = rows["other"].isin(["cumulative loss", "final loss"])
    ends = losses & (rows["score"] == "memorization")
    assert ends.sum() == 2 * rows["seed"].nunique()
    last = rows["other"] == "final loss"
    rows.loc[ends, "rho"] = 0.7 + 0.01 * ((rows["seed"] % 2 == 0) == last)
    return {**tables, "agreement": rows}


# Chapter 20


def with_codes(tables: Tables, change: Callable[[int, int], int]) -> Tables:
    """The sets of layers under other codes, given code and number of layers."""
    rows = tables["rewinds"].copy()
    depth = rows.groupby("network")["count"].transform("max")
    rows["code"] = [change(code, n) for code, n in zip(rows["code"], depth, strict=True)]
    return {**tables, "rewinds": rows}


def the_last_layers_hold_them(tables: Tables) -> Tables:
    """The layers count from the other end."""
    return with_codes(tables, lambda code, n: int(f"{code:0{n}b}"[::-1], 2))


def wrong_labels_are_known_at_the_peak(tables: Tables) -> Tables:
    rows = tables["rewinds"]
    return {**tables, "rewinds": rows.assign(wrong=rows["wrong"].clip(lower=0.95))}


def a_random_move_forgets_as_much(tables: Tables) -> Tables:
    rows = tables["rewinds"].copy()
    rows.loc[rows["to"] == "random move", "wrong"] = 0.0
    return {**tables, "rewinds": rows}


def a_label_hangs_on_many_units(tables: Tables) -> Tables:
    return {**tables, "units": tables["units"].assign(zeroed=20)}


# Chapter 21


def the_list_is_no_better_than_chance(tables: Tables) -> Tables:
    return {**tables, "audits": tables["audits"].assign(precision=0.1)}


def a_habit_is_found_as_well_as_an_accident(tables: Tables) -> Tables:
    return {**tables, "audits": tables["audits"].assign(auroc=0.99)}


def memorization_finds_them_as_well(tables: Tables) -> Tables:
    audits = tables["audits"]
    return {**tables, "audits": audits.assign(memorization=audits["auroc"])}


def the_found_ones_were_worth_keeping(tables: Tables) -> Tables:
    swapped = {"random ones left out": "found ones left out"}
    swapped |= {name: other for other, name in swapped.items()}
    accuracy = tables["accuracy"].replace({"choice": swapped})
    return {**tables, "accuracy": accuracy}


FAILING: dict[str, list[tuple[Callable[[Tables], Tables], dict[str, str]]]] = {
    "01-fitting-noise": [
        (random_labels_are_not_fitted, FITTED | EXACT),
        (random_labels_are_fitted_first, FITTED | LONGER),
        (the_gap_falls, {"The gap grows with": "Accuracy and gap by the share of random labels"}),
        (wrong_labels_are_learned_first, ORDER),
        (wrong_labels_are_not_learned, ORDER),
        (the_factor_does_not_grow, FACTOR),
    ],
    "02-easy-examples": [
        (real_images_are_equally_hard, AGREE),
        (real_is_noise, AGREE),
        (
            random_images_are_easy_or_hard,
            {"randX cannot be told from chance": "Even within a label, randX varies"},
        ),
    ],
    "03-first-layer-filters": [
        (filters_answer_as_shuffled_ones, PATTERN),
        (filters_stay_as_rough, TRACE),
        (random_labels_give_no_structure, STRUCTURE),
        (all_start_alike, START),
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
    "06-capacity": [
        (noise_calls_for_width, DOUBLED),
        (width_gains_nothing, GAINED),
        (
            the_error_peaks_where_labels_are_fitted,
            {"error does not rise up to": "rises and falls again: double descent"},
        ),
        (
            each_size_holds_as_much,
            {"The smallest network holds fewer": "Networks of every size hold about as many bits"},
        ),
    ],
    "07-time-to-convergence": [
        (noise_is_always_slower, TURNS),
        (random_labels_are_fitted_soon, SOON),
        (memorizing_takes_no_longer, WINDOW),
    ],
    "08-critical-samples": [
        (real_data_are_most_critical, CLOSE | EVERY_RADIUS),
        (one_radius_turns_the_order, EVERY_RADIUS),
        (large_boxes_hold_another_class, FULL),
        (real_data_rise_too, RISES),
        (one_search_turns_the_order, EVERY_SEARCH),
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
    "10-regularizers": [
        (
            dropout_prevents_memorization_for_nothing,
            {
                "for one point of validation": "Three tenths of the random labels stay",
                "Dropout is not the best": "Of the single ones, dropout is the best.",
                "Whether test images cost as little": "On test images a cut of three tenths",
            },
        ),
        (
            regularizers_do_nothing,
            {
                "Dropout is not the best": "dropout is the best of the single ones stays open",
                "for one point of validation": "What regularizers cut of memorization",
            },
        ),
        (
            one_order_is_the_other_turned,
            {"Training loss by epoch, with each": "memorization in another order than learning"},
        ),
    ],
    "11-loss-trajectories": [
        (each_network_has_its_own_order, SAME_ORDER),
        (
            random_labels_have_no_order,
            {"too, even with random labels": "too; not so with random labels"}
            | {"random labels have an order, too": "random labels share no order"},
        ),
        (
            wrong_labels_are_learned_as_soon,
            {"Right labels are learned first": "Right and wrong labels learned for good, by"}
            | {"Wrong labels are learned later": ". Early stopping gains"},
        ),
        (accuracy_does_not_fall, STOPPING),
    ],
    "12-depth": [
        (deeper_is_faster, FASTER | TUNING),
        (depth_changes_nothing, NO_DEPTH),
        (deeper_generalizes_better, NEW_IMAGES),
    ],
    "13-data-sets-differ": [
        (
            random_labels_take_no_longer,
            {
                "In every data set random labels take longer": "Time for random and for wrong",
                "take longer to fit than true ones": "random labels take:",
            },
        ),
        (
            right_labels_are_learned_last,
            {"Right labels are ahead of wrong ones least": "Accuracy on right and on wrong labels"},
        ),
        (
            shuffled_inputs_tell_nothing,
            {"still tell the class on": "inputs keep no pattern in any data set"},
        ),
        (
            the_table_is_noise_by_every_measurement,
            {"do not surely agree on which data": "Three measurements agree on which data"},
        ),
    ],
    "14-small-relu-networks": [
        (
            sgd_fits_the_points_on_a_line,
            {"SGD on a line fewer": "Random labels memorized, by construction and by SGD"},
        ),
        (
            single_precision_is_enough,
            {"real targets, float32 does not": "Largest error over all points, by N and"},
        ),
        (some_points_are_wrong, {"classes exactly": "classes with 3 wrong in the mean"}),
    ],
    "15-one-way-to-learn": [
        (
            memorizers_agree_as_learners_do,
            {
                "Networks that learn lie close together": "Networks as points, by what they",
                "Networks that learn have more in common": "How alike are networks that",
                "leave agreement, but far less": "Agreement on new images, by what two",
            },
        ),
        (
            the_same_labels_leave_nothing,
            {"leave agreement, but far less": "Memorizers agree on new images far less"},
        ),
        (
            memorizers_stay_alike_in_the_last_layer,
            {"Learners stay alike in deep layers": "Likeness of two networks by hidden layer"},
        ),
        (
            both_halves_are_fitted_alike,
            {"are memorized first depends on": "accuracy on simple and on complex images"},
        ),
    ],
    "16-persistent-hidden-states": [
        (
            lstm_recalls_and_predicts_better,
            {
                "without mixing between units learn": "Delayed recall, by cell and update",
                "PRU masters longer delays": "PRU masters shorter delays",
                "predicts text better than": "predicts text worse than",
            },
        ),
        (pru_reverses_more_strings, {"PRU reverses fewer strings": "PRU reverses more strings"}),
        (
            each_network_finds_other_sequences_hard,
            {
                "LSTM and PRU agree on which random": "Agreement on which sequences are learned",
            },
        ),
    ],
    "17-learning-against-memorizing": [
        (
            noise_leaves_no_trace,
            {
                "the test finds learning in pure noise": "Observed score against its null, by",
                "which guess on new noise": "on new noise the score is",
                "small at every strength that was tried": "Scores and p by the strength",
            },
        ),
        (
            noise_leaves_a_trace_nearby_alone,
            {"small at every strength that was tried": "Scores and p by the strength"},
        ),
        (
            raw_pixels_hold_no_labels,
            {
                "Raw pixels have a higher null": "Training lifts the null above that of raw",
            },
        ),
        (
            random_labels_leave_no_trace,
            {"a trace of the labels, not a rule": "With random labels on images p is small in"},
        ),
        (
            p_is_ten_times_too_small,
            {"Without training p is small as often": "How often p is at most u, without"},
        ),
    ],
    "18-throwing-examples-out": [
        (
            sensitive_images_teach_as_a_lot_does,
            {
                "beats a random half, until labels are wrong": "With wrong labels the sensitive",
                "better** than on a random half": "neither better nor worse (0.0 points",
            },
        ),
        (
            sensitive_images_teach_less,
            {"better** than on a random half": "moves the loss most are **5.0 points worse**"},
        ),
        (
            wrong_labels_do_no_harm,
            {
                "beats a random half, until labels are wrong": "With true labels the sensitive",
                "What moves the loss most is then what is wrong": "they are **1.0 points better**",
                "the less sensitive half is the better one": "What each end gains on random",
            },
        ),
        (
            ranks_within_class_teach_less,
            {"half against a random half, under each": "wins depends on the reading"},
        ),
    ],
    "19-difficulty-scores": [
        (
            forgetting_finds_more_than_the_margin,
            {
                "The area under the margin finds wrong labels": "Which score finds wrong labels",
            },
        ),
        (
            memorization_finds_more_than_the_c_score,
            {"What is memorized is another question": "C-score minus memorization: "},
        ),
        (
            the_memorized_are_hit_least,
            {"Membership shows most where": "Members hit, by attack and group"},
        ),
        (
            memorization_is_steadier,
            {"AUM is steadier than memorization": "How much two budgets agree, by score"},
        ),
        (
            sum_and_end_tell_the_same,
            {"The cumulative loss is closer": "What stands in for memorization: "},
        ),
    ],
    "20-where-memorization-sits": [
        (
            the_last_layers_hold_them,
            {
                "In the MLP the first layers, rewound": "In the MLP the last layers, rewound",
                "The first half, rewound, forgets": "The last half, rewound, forgets",
            },
        ),
        (
            wrong_labels_are_known_at_the_peak,
            {
                "Most wrong labels are learned after": "Accuracy on right labels, wrong labels and",
                "In the MLP the first layers, rewound": "What is left of wrong labels as layers",
            },
        ),
        (
            a_random_move_forgets_as_much,
            {"the first half forgets more than a random": "Rewinding against a random move"},
        ),
        (
            a_label_hangs_on_many_units,
            {"Zeroing a few units, or one, flips": "How many units have to go until the"},
        ),
    ],
    "21-audit-your-own-data": [
        (
            the_list_is_no_better_than_chance,
            {"Most of the most suspicious labels are wrong": "most suspicious labels, how many"},
        ),
        (
            a_habit_is_found_as_well_as_an_accident,
            {
                "that follow a rule are harder to find": "Wrong labels that follow a rule: AUROC",
                "takes the rule for the truth": "Systematic wrong labels: what the audit finds",
            },
        ),
        (
            memorization_finds_them_as_well,
            {"Suspicion finds wrong labels better": "How well suspicion and memorization find"},
        ),
        (
            the_found_ones_were_worth_keeping,
            {"Leaving out the found labels makes": "Test accuracy without the found labels, and"},
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
    space = judging.definitions(path)
    chapter = space["chapter"]
    chapter.recorded = {}  # not judged here
    chapter.record(change(records.load(stem, name).tables), data=digits)
    chapter.judge(space["verdicts"])
    (run,) = chapter.runs
    parts = [space["finding"](run)]
    for figure in chapters.figures(path):
        shown = space[figure](run)
        titled = isinstance(shown, Figure)
        around = html.unescape(re.sub("<[^>]+>", " ", shown.html())) if not titled else ""
        parts += [shown.title, shown.subtitle, shown.caption] if titled else [around]
    return "\n".join(parts).replace("\u00a0", " ")


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
