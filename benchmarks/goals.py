"""The table of ratios: what each benchmark found, with its interval, against its goal."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks import clock, cscores, fig1, looking, stacking
from memhelpers.stats import Interval

COLUMNS = ("question", "value", "low", "high", "rounds", "goal", "met")


def row(question: str, found: Interval, low: float | None = None, high: float | None = None):
    """One line: a goal is a value that the estimate must reach (`low`) or not exceed (`high`)."""
    goal, met = "", ""
    if low is not None:
        goal, met = f"at least {low:g}", "yes" if found.estimate >= low else "no"
    if high is not None:
        goal, met = f"at most {high:g}", "yes" if found.estimate <= high else "no"
    values = (question, found.estimate, found.low, found.high, found.n, goal, met)
    return dict(zip(COLUMNS, values, strict=True))


def fig1_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """Speed against the other ways of the same precision, and whether the networks are as good."""
    times, seconds = tables["times"], tables["times"].groupby("way")["seconds"].mean()
    rows = []
    for precision, own in reversed(fig1.OWN.items()):
        goal = (50 if device == "cuda" else 4) if precision == "bf16" else None
        jax = seconds[seconds.index.isin([fig1.VMAP[precision], fig1.SCAN[precision]])]
        others = {"the better JAX way": (jax.idxmin(), 1)} if len(jax) else {}
        if precision == "bf16":
            others[fig1.AUTOCAST] = (fig1.AUTOCAST, 1)
        others[fig1.DATALOADER] = (fig1.DATALOADER, goal)
        for name, (way, least) in others.items():
            rows.append(row(f"{own}: times as fast as {name}", clock.ratio(times, way, own), least))
    rows += [row(f"{way}: GFLOP/s", _rate(tables, way)) for way in seconds.index]
    accuracy = "test accuracy apart from the first way's, over its 95 % half-width"
    return rows + [
        row(f"{own}: {accuracy}", _apart(tables, own), high=1) for own in fig1.OWN.values()
    ]


def _rate(tables: dict[str, pd.DataFrame], way: str) -> Interval:
    times = tables["times"].query("way == @way")["seconds"].to_numpy()
    return clock.summary(tables["work"]["flops"].iloc[0] / times / 1e9)


def _apart(tables: dict[str, pd.DataFrame], way: str) -> Interval:
    """How far the mean accuracy is from the base's, in half-widths of the difference's interval."""
    accuracies = tables["accuracies"].groupby("way")["accuracy"]
    mean, error = accuracies.mean(), accuracies.sem()
    half = 1.96 * float(np.hypot(error[way], error[fig1.DATALOADER]))
    value = abs(float(mean[way] - mean[fig1.DATALOADER])) / half
    return Interval(value, value, value, 0.95, int(accuracies.count()[way]), "networks")


def stacking_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """At the largest M that both reached: stacking, and the choice, against a loop."""
    rows = []
    for network, rates in tables["rates"].groupby("network", sort=False):
        for way in (stacking.STACKED, stacking.CHOSEN):
            by = rates.pivot_table(
                index=["members", "round"], columns="way", values="updates_per_second"
            )
            both = (by[way] / by[stacking.ONE_BY_ONE]).dropna()
            members = both.index.get_level_values("members").max()
            goal = 0.9 if way == stacking.CHOSEN else None
            question = f"{network}, {members} networks: {way} over one after another"
            rows.append(row(question, clock.summary(both[members]), goal))
    return rows


def looking_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """What records add, and the loss sensitivity against a loop."""
    adds = clock.ratio(tables["records"], looking.WITH, looking.WITHOUT)
    sensitivity = tables["sensitivity"]
    loop = clock.summary(sensitivity["loop_seconds"] / sensitivity["seconds"])
    return [
        row("training with per-example records over training without", adds, high=1.05),
        row("loss sensitivity: times as fast as a per-example loop (projected)", loop, 50),
    ]


def scale_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """Slopes of time on size, both in logarithms, and peak memory over what is needed."""
    rows = []
    for size, times in tables["growth"].groupby("size", sort=False):
        slopes = [_slope(t["factor"], t["seconds"]) for _, t in times.groupby("round")]
        rows.append(row(f"growth with {size}: slope of log time", clock.summary(slopes), high=1.05))
    for found in tables["memory"].itertuples():
        value = found.peak_bytes / found.needed_bytes
        question = (
            f"width {found.width}, {found.networks} together: peak memory over what is needed"
        )
        rows.append(row(question, Interval(value, value, value, 0.95, 1, "rounds"), high=1.3))
    return rows


def _slope(factors: Sequence[float], seconds: Sequence[float]) -> float:
    return float(np.polyfit(np.log(factors), np.log(seconds), 1)[0])


def limit_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """The share of the roofline that training reaches."""
    groups = tables["limit"].groupby(["width", "precision"], sort=False)
    return [
        row(
            f"width {width}, {precision}: share of the roofline", clock.summary(found["share"]), 0.6
        )
        for (width, precision), found in groups
    ]


def cscores_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """Hours that all 1,800 networks take, at the rate of those that were trained."""
    times = tables["time"]
    hours = float((times["seconds"] / times["runs"]).sum() * cscores.RUNS / 3600)
    found = Interval(hours, hours, hours, 0.95, int(times["runs"].sum()), "networks")
    return [
        row(
            "C-scores of MNIST, 1,800 networks: hours",
            found,
            high=1 / 60 if device == "cuda" else 2,
        )
    ]


def critical_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """How many times faster the search for critical samples is than a loop."""
    found = clock.summary(tables["search"]["loop_seconds"] / tables["search"]["seconds"])
    return [row("critical samples: times as fast as a per-image loop (projected)", found, 50)]


def audit_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """Wrong labels found, less those that cleanlab finds, and the minutes of two workloads."""
    rows = []
    for (data, share), apart in tables["apart"].groupby(["data", "share"], sort=False):
        question = f"{data}, {share:.0%} wrong labels: AUROC less cleanlab's"
        found = clock.summary(apart["difference"])
        if len(apart) == 1:  # people's labels: the interval is over the examples
            one = apart.iloc[0]
            found = Interval(one["difference"], one["low"], one["high"], 0.95, 1, "labels")
        behind = "no" if found.high < 0 else "yes"
        rows.append(row(question, found) | {"goal": "not behind", "met": behind})
    for one in tables["time"].itertuples():
        goal = 3 if one.workload == "embeddings" else 15
        question = f"{one.workload}, {one.whole:,} networks: minutes"
        for said, seconds, asked in (
            (question, one.seconds, {"high": goal}),
            (f"{question} of all cores together", one.processor, {}),
            (f"{question} that matrix products alone need here", one.products, {}),
        ):
            if np.isnan(seconds):  # not counted for this workload
                continue
            minutes = seconds / one.networks * one.whole / 60
            found = Interval(minutes, minutes, minutes, 0.95, one.networks, "networks")
            rows.append(row(said, found, **asked))
    return rows


def live_ratios(tables: dict[str, pd.DataFrame], device: str) -> list[dict]:
    """Seconds until 600 random labels are memorized in a browser."""
    times = tables["memorized"].groupby("way", sort=False)["seconds"]
    goals = {"plain": 5}
    return [
        row(
            f"live lab, {way}: seconds to memorize", clock.summary(seconds), high=goals.get(way, 15)
        )
        for way, seconds in times
    ]


RATIOS = {
    "fig1": fig1_ratios,
    "stacking": stacking_ratios,
    "looking": looking_ratios,
    "limit": limit_ratios,
    "scale": scale_ratios,
    "cscores": cscores_ratios,
    "critical": critical_ratios,
    "audit": audit_ratios,
    "live": live_ratios,
}
