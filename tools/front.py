"""Lay the introduction's live lab, list of chapters and counts into its page, from recorded runs.

Nothing is trained here: lines come from the recorded tables, findings and verdicts from the
outputs of the chapters.
"""

import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from memhelpers import lab
from memhelpers.claims import SIGNS
from tools import cards, live, notebooks, scoreboard

PAGE = "book/intro.md"
PLACES = LAB, CHAPTERS, COUNTS = "<!-- live lab -->", "<!-- chapters -->", "<!-- counts -->"
ACCURACIES = ("train_accuracy", "validation_accuracy", "right_label", "wrong_label")
COLOURS = {  # with the dashes that repeat what they say
    "real": ("var(--mem-real)", "none"),
    "randX": ("var(--mem-randx)", "9 4"),
    "randY": ("var(--mem-randy)", "6 3.5"),
}
WIDE, HIGH = 184, 46  # of a spark line

Tables = Mapping[str, pd.DataFrame]


def write(board: scoreboard.Scoreboard, source: Path, paths: Iterable[Path]) -> None:
    """Fill the places of the staged introduction.

    Args:
        board: The claims of the chapters.
        source: The folder of the staged sources.
        paths: The executed chapters.

    Raises:
        ClaimError: The page has no single place for a part.
    """
    if LAB not in (source / PAGE).read_text(encoding="utf-8"):
        return  # another book's
    shown = "".join(_item(board, path) for path in paths)
    parts = {
        LAB: live.page(),
        CHAPTERS: f'{_key()}\n<ol class="mem-chapters">\n{shown}</ol>',
        COUNTS: f"<p>{board.counts()}</p>",
    }
    scoreboard.fill(source / PAGE, parts)


def largest(chapter: str) -> lab.Record:
    """Return the largest recorded run of a chapter; the one of this page where it is alone."""
    found = lab.Chapter(chapter).recorded or lab.recorded(chapter)
    return next(iter(found.values()))


def carried(curves: pd.DataFrame) -> pd.DataFrame:
    """Let a network that has stopped keep its values until the last one of its condition stops."""
    keys = ["condition", "noise", "seed"]
    wide = curves.pivot(index="epoch", columns=keys, values=list(ACCURACIES)).ffill()
    rows = wide.stack(keys, future_stack=True).reset_index()
    end = curves.groupby(keys[:2])["epoch"].max().rename("end")
    return rows.join(end, on=keys[:2]).query("epoch <= end")


def finding(notebook: notebooks.NotebookNode) -> str:
    """Return the first sentence with a number of a chapter's finding; empty if it says none."""
    outputs = [output for cell in notebooks.code_cells(notebook) for output in cell.outputs]
    pages = "".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)
    found = re.search(r'<p class="mem-finding"[^>]*>(.*?)</p>', pages, re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", "", found[1])) if found else ""
    text = re.sub(r"[ \n]+", " ", text.strip())  # a number keeps its no-break space before a %
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
    return next((one for one in sentences if re.search(r"\d", one)), sentences[0])


def spark(lines: pd.DataFrame, log: bool, label: str) -> str:
    """Draw lines of conditions without axes, as an SVG."""
    x = np.log(lines["x"]) if log else lines["x"].astype(float)
    across = 2 + (WIDE - 4) * (x - x.min()) / ((x.max() - x.min()) or 1)
    up = HIGH - 3 - (HIGH - 6) * lines["y"] / (lines["y"].max() or 1)
    drawn = ""
    for condition, (colour, dash) in COLOURS.items():
        at = lines["condition"] == condition
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across[at], up[at], strict=True))
        drawn += f'<polyline points="{points}" style="stroke:{colour};stroke-dasharray:{dash}"/>'
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}" role="img" '
        f'aria-label="{label}" fill="none" stroke-width="1.8">{drawn}</svg>'
    )


def _key() -> str:
    """What colours and marks mean."""
    names = zip(COLOURS.values(), ("real", "random images", "random labels"), strict=True)
    lines = ", ".join(f'<b style="color:{colour}">{name}</b>' for (colour, _), name in names)
    marks = " ".join(
        f'<span><b style="{cards.paint(word)}">{mark}</b> {word}</span>'
        for word, mark in SIGNS.items()
    )
    return f'<p class="mem-key">{lines}. Each mark is one claim: {marks}</p>'


def _item(board: scoreboard.Scoreboard, path: Path) -> str:
    number, notebook = path.name[:2], notebooks.read(path)
    rows = board.groups().get(number, [])
    words = [found[0][1].verdict for _, *runs in rows if (found := cards.judged(*runs))]
    dots = "".join(f'<span style="{cards.paint(word)}">{SIGNS[word]}</span>' for word in words)
    told = ", ".join(f"{words.count(word)} {word}" for word in SIGNS if word in words)
    question, axes, lines, log = ENTRIES[number]
    svg = spark(lines(largest(path.stem).tables), log, axes)
    return (
        f'<li><span class="mem-number">{int(number)}</span><div>'
        f'<p class="mem-chapter-title"><a href="{path.stem}.html">'
        f"{html.escape(scoreboard.title(notebook))}</a></p>"
        f'<p class="mem-question">{question}</p><p>{cards.text(finding(notebook))}</p>'
        f'<p class="mem-dots" role="img" aria-label="{told}">{dots}</p></div>'
        f"<figure>{svg}<figcaption>{axes}</figcaption></figure></li>\n"
    )


def _fitting(tables: Tables) -> pd.DataFrame:
    rows = carried(tables["curves"].query("condition in @COLOURS"))
    return _mean(rows, "epoch", "train_accuracy")


def _easiness(tables: Tables) -> pd.DataFrame:
    """P(correct) of the examples in order, at even ranks."""
    networks = tables["networks"].groupby("condition")["seed"].nunique()
    right = tables["examples"].groupby("condition")["right"]
    ranks = np.linspace(0, 1, 60)
    shares = right.quantile(ranks).div(networks, level="condition").rename("y")
    return shares.rename_axis(["condition", "x"]).reset_index()


def _smoothness(tables: Tables) -> pd.DataFrame:
    return _mean(tables["course"].query("condition in @COLOURS"), "epoch", "low")


def _gini(tables: Tables) -> pd.DataFrame:
    kept = "task == 'classes of the data' and derivative == 'total' and norm == 'l1'"
    return _mean(tables["gini"].query(kept), "update", "gini")


def _own_over_others(tables: Tables) -> pd.DataFrame:
    """How much more a class depends on its own images than on those of another class."""
    table = tables["moments"]
    own = table["loss_of"] == table["images_of"]
    means = [_mean(part, "update", "value") for part in (table[own], table[~own])]
    return means[0].assign(y=np.log(means[0]["y"] / means[1]["y"]).clip(0))


def _accuracy_by_width(tables: Tables) -> pd.DataFrame:
    """At the best epoch, on clean data and with the highest share of noise."""
    table = tables["networks"]
    names = {"clean": "real", "inputs": "randX", "labels": "randY"}
    top = table["noise"].isin([0, table["noise"].max()])
    rows = table[top & table["kind"].isin(names)]
    return _mean(rows.assign(condition=rows["kind"].map(names)), "width", "accuracy_best")


def _epochs(tables: Tables) -> pd.DataFrame:
    """Epochs to the highest training accuracy by the number of training images."""
    times = tables["times"]
    converged = times["threshold"] == times["threshold"].max()
    return _mean(times[converged & (times["axis"] == "images")], "value", "epochs")


def _critical(tables: Tables) -> pd.DataFrame:
    return _mean(tables["course"].query("images == 'validation' and epoch > 0"), "epoch", "ratio")


def _new_images(tables: Tables) -> pd.DataFrame:
    """Validation accuracy on clean data, and where two fifths are noise."""
    names = {"clean": "real", "random inputs": "randX", "random labels": "randY"}
    rows = tables["course"].query("network == 'MLP' and level in [0, 0.4]")
    rows = rows.assign(condition=rows["kind"].map(names))
    return _mean(rows, "epoch", "validation")


def _with_dropout(tables: Tables) -> pd.DataFrame:
    """Training accuracy on real data and random labels with dropout of medium strength."""
    rows = tables["course"].query("regularizer == 'dropout' and rate == 'halved'")
    settings = rows["setting"].unique()  # in the order of the parameters, from weak to strong
    medium = rows["setting"] == settings[len(settings) // 2]
    rows = rows[medium].replace({"data": {"random labels": "randY"}})
    rows = rows[rows["data"].isin(COLOURS)].rename(columns={"data": "condition"})
    return _mean(rows, "epoch", "accuracy")


def _last_fifth(tables: Tables) -> pd.DataFrame:
    """The images that another network on the same data learned last."""
    names = {"clean labels": "real", "random labels": "randY"}
    rows = tables["losses"].query("fifth == 5")
    return _mean(rows.assign(condition=rows["labels"].map(names)), "epoch", "loss")


def _epochs_by_depth(tables: Tables) -> pd.DataFrame:
    """Tuned networks of equal width."""
    names = {"equal width, real labels": "real", "equal width": "randY"}
    rows = tables["networks"].query("arm in @names")
    return _mean(rows.assign(condition=rows["arm"].map(names)), "depth", "epochs")


def _by_data_set(tables: Tables) -> pd.DataFrame:
    """Epochs to fit over those of real, the data sets in the order of randY."""
    mean = tables["fits"].groupby(["data", "condition"])["epochs"].mean().unstack()
    ratios = mean.div(mean["real"], axis=0)[list(COLOURS)].sort_values("randY")
    rows = ratios.reset_index(drop=True).rename_axis("x").reset_index()
    return rows.melt("x", var_name="condition", value_name="y")


def _labels_held(tables: Tables) -> pd.DataFrame:
    """The share of random labels that the construction holds."""
    rows = tables["binary"].query("network == 'construction'")
    return _mean(rows.assign(condition="randY"), "width", "accuracy")


def _likeness(tables: Tables) -> pd.DataFrame:
    """Linear CKA of two networks, layer by layer; random labels are the same for both."""
    names = {"true labels": "real", "random labels": "randY"}
    rows = tables["pairs"].assign(condition=tables["pairs"]["kind"].map(names))
    layers = {name: int(name[4:]) for name in rows if name.startswith("cka ")}
    rows = rows.rename(columns=layers).melt("condition", list(layers.values()), "layer", "cka")
    return _mean(rows.dropna(), "layer", "cka")


def _sequences(tables: Tables) -> pd.DataFrame:
    """Training accuracy of LSTM on true and on random labels."""
    return _mean(tables["curves"].query("cell == 'LSTM'"), "epoch", "accuracy")


def _on_nearby_images(tables: Tables) -> pd.DataFrame:
    """The score on the shared-structure set, of the MLP's last layer."""
    kept = "network == 'MLP' and layer == 'last' and scored == 'shared' and strength == main"
    rows = tables["tests"].query(kept).rename(columns={"inputs": "condition"})
    return _mean(rows, "epoch", "observed")


def _most_sensitive(tables: Tables) -> pd.DataFrame:
    """Test accuracy by the share kept of the most sensitive images: true labels, and most wrong."""
    rows = tables["accuracy"].query("score == 'sensitivity' and end == 'hard'")
    rows = rows[(rows["reading"] == "updates") & rows["noise"].isin([0, rows["noise"].max()])]
    condition = (rows["noise"] == 0).map({True: "real", False: "randY"})
    return _mean(rows.assign(condition=condition), "share", "accuracy")


def _members_hit(tables: Tables) -> pd.DataFrame:
    """Members that the likelihood-ratio attack hits, of all and of those with wrong labels."""
    names = {"all examples": "real", "wrong labels": "randY"}
    rows = tables["hits"].query("attack == 'LiRA' and whom in @names and level > 0")
    return _mean(rows.assign(condition=rows["whom"].map(names)), "level", "hit")


def _right_and_wrong(tables: Tables) -> pd.DataFrame:
    """Accuracy of the MLP on the two kinds of labels, after each checkpoint."""
    rows = tables["course"].query("network == 'MLP' and labels == 'noisy' and epoch > 0")
    names = {"right": "real", "wrong": "randY"}
    parts = [_mean(rows.assign(condition=name), "epoch", key) for key, name in names.items()]
    return pd.concat(parts, ignore_index=True)


def _checked(tables: Tables) -> pd.DataFrame:
    """Labels wrong among the first k: where they are so by accident, and where by a habit."""
    names = {"random": "randY", "systematic": "real"}
    main = tables["audits"].query("decides and kind in @names")[["kind", "share"]]
    rows = tables["ranking"].merge(main.drop_duplicates())
    return _mean(rows.assign(condition=rows["kind"].map(names)), "k", "actual")


def _mean(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    mean = rows.groupby(["condition", x])[y].mean().reset_index()
    return mean.rename(columns={x: "x", y: "y"})


# The question of a chapter, and its spark line: what it shows, its table, whether x is logarithmic.
ENTRIES = {
    "01": ("Can a network fit data in which there is nothing to learn?",
           "training accuracy by epoch", _fitting, False),
    "02": ("Are some examples easy for every network, and does noise have such examples?",
           "share of networks right, sorted", _easiness, False),
    "03": ("What do a network's filters learn when the labels say nothing?",
           "smoothness of the filters by epoch", _smoothness, False),
    "04": ("Does the loss depend on a few images or on all of them?",
           "Gini by update", _gini, True),
    "05": ("Do classes learn from each other's examples?",
           "own over other classes by update (log)", _own_over_others, True),
    "06": ("Does a network have to be larger when its data are noisy?",
           "validation accuracy by width, most noise", _accuracy_by_width, True),
    "07": ("Does noise take longer to fit, and what do more units and more images change?",
           "epochs to fit by number of images", _epochs, True),
    "08": ("From how many images does a small change lead to another class?",
           "critical sample ratio by epoch", _critical, True),
    "09": ("Does a network learn patterns before it learns exceptions by heart?",
           "accuracy on new images by epoch, 40 % noise", _new_images, True),
    "10": ("Can memorization be prevented, and at what cost?",
           "training accuracy with dropout by epoch", _with_dropout, True),
    "11": ("When is each image learned, and when is it forgotten again?",
           "loss by epoch, what another network learned last", _last_fifth, True),
    "12": ("Does a deeper network memorize faster, and does it generalize better?",
           "epochs to fit by hidden layers", _epochs_by_depth, True),
    "13": ("Do all data sets differ from noise in the same way?",
           "time to fit over that of real, by data set", _by_data_set, False),
    "14": ("How small can a network be that knows every label by heart?",
           "random labels held by the construction, by width", _labels_held, True),
    "15": ("Do networks that memorize the same labels become alike?",
           "likeness of two networks by hidden layer", _likeness, False),
    "16": ("Does a recurrent network learn by heart faster when each unit keeps its meaning?",
           "training accuracy of LSTM by epoch, sequences", _sequences, True),
    "17": ("Can a network learn from pure noise, and which test could tell?",
           "score near the training images by epoch", _on_nearby_images, False),
    "18": ("Can examples be thrown out by how much the loss depends on them?",
           "accuracy by share kept, most sensitive first", _most_sensitive, False),
    "19": ("Which of eleven scores finds wrong labels, and which tells what is memorized?",
           "members given away, by share of wrong labels", _members_hit, False),
    "20": ("In which layers, and in how many units, are wrong labels kept?",
           "accuracy on right and wrong labels by epoch (log)", _right_and_wrong, True),
    "21": ("Which of my labels are wrong, and how sure is that?",
           "share of wrong labels among those checked", _checked, True),
}  # fmt: skip
