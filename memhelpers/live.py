"""The live lab: train small networks, watch them memorize.

`lab` is one network in the reader's browser: the same module of JavaScript (`page/live.js`) stands
on the book's first page and, by `lab`, in Jupyter and Colab. `panel` is hundreds of networks that
train in the kernel, by `fit`.
"""

import gzip
import html
import os
import threading
import time
from functools import partial
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from memhelpers import charts, errors, training
from memhelpers.corrupt import random_labels
from memhelpers.data import Dataset, load
from memhelpers.engine.ensemble import predict
from memhelpers.engine.probes import Snapshot
from memhelpers.errors import ArgumentError
from memhelpers.lab import say
from memhelpers.networks import mlp
from memhelpers.page.figures import Markup, Page
from memhelpers.runs import machine

_PAGE = Path(__file__).parent / "page"


def lab() -> Any:
    """The lab of the book's first page as a widget; it needs no kernel once it is shown.

    While a page is made, where no widget shows, a sentence in its place.

    Raises:
        ImportError: anywidget, which no chapter needs, is not installed.
    """
    if os.environ.get(machine.STATIC):
        return say("*Open this page in Jupyter or Colab to have the lab here.*")
    anywidget = _optional("anywidget", "live.lab()")
    import traitlets

    class Lab(anywidget.AnyWidget):
        _esm, _css = script(), style()
        digits = traitlets.Bytes(digits()).tag(sync=True)
        run = traitlets.Dict(None, allow_none=True).tag(sync=True)
        address = traitlets.Bool(False).tag(sync=True)
        worker = traitlets.Bool(True).tag(sync=True)

    return Lab()


def _optional(package: str, asks: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"{asks} needs {package}: pip install {package}") from error


def script() -> str:
    """The module as pages load it: without comments and indentation, at most 25 kB."""
    lines = map(str.strip, (_PAGE / "live.js").read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def style() -> str:
    """Its style sheet."""
    return (_PAGE / "live.css").read_text(encoding="utf-8")


def digits() -> bytes:
    """The 1,797 digits of scikit-learn: all labels, then all pixels from 0 to 16; gzip, 44 kB."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    raw = labels.astype(np.uint8).tobytes() + images.astype(np.uint8).tobytes()
    return gzip.compress(raw, mtime=0)


DATA = ("digits", "mnist", "cifar10", "svhn")  # that the panel offers beside the reader's own
# Of each regularizer the usual strength, below which number it stays, and what `fit` is told.
REGULARIZERS = {
    "none": (0.0, np.inf, lambda given: {}),
    "dropout": (0.5, 1, lambda given: {"perturb": training.dropout(given)}),
    "weight decay": (0.003, np.inf, lambda given: {"weight_decay": given}),
    "Gaussian noise": (0.5, np.inf, lambda given: {"perturb": training.gaussian_noise(given)}),
}
RATES = {"learning_rate": 0.1, "momentum": 0.9, "batch_size": 30}  # see `fit`
SEED = 0  # of the first network, of the random labels and of the choice of examples
LINES = {"right": "right labels", "wrong": "wrong labels", "validation": "validation"}
MOST_LAYERS = 5
TILES = 48  # examples shown, half of them with wrong labels where there are as many
NEW = 1000  # validation examples that accuracy is measured on, at most
BAND = 0.9  # share of the networks within it
DRAW_EVERY = 0.25  # seconds, at least


class Panel:
    """Controls that train networks in the background; Jupyter shows it.

    Args:
        data: what is chosen at first: a `Dataset`, or a name, a path or arrays as `load` takes.
        networks: how many, at first; they differ in initial weights and order of the data.
        epochs: passes over the data, at first.
        examples: training examples at most; None takes all.

    Attributes:
        controls: widgets by name, whose values `run` takes, too.
        runs: a `Run` for each press of Run, with the networks as far as they came.

    Raises:
        ArgumentError: an argument is not as above; what is chosen later, the panel itself refuses.
        DataError: see `load`.
    """

    def __init__(
        self,
        data: Any = "digits",
        *,
        networks: int = 100,
        epochs: int = 30,
        examples: int | None = 300,
    ) -> None:
        own = data if isinstance(data, Dataset) else load(data, device=machine.device())
        self._data: dict[str, Any] = {name: name for name in DATA} | {own.name: own}
        sizes = {"networks": networks, "epochs": epochs}
        for name, size in (sizes | {"examples": examples or 1}).items():
            errors.check_positive_int(name, size)
        self._examples = examples
        self.runs: list[Run] = []
        self._thread, self._stop = threading.Thread(), threading.Event()
        self._error: Exception | None = None
        self._next = 0.0  # when to draw
        self._make_widgets(sizes, own.name)

    def _make_widgets(self, sizes: dict[str, int], data: str) -> None:
        ipywidgets = _optional("ipywidgets", "live.panel()")
        self.controls = {
            "data": ipywidgets.Dropdown(options=list(self._data), value=data),
            "random_labels": ipywidgets.FloatSlider(0.3, min=0, max=1, step=0.05),
            "units": ipywidgets.IntText(64),
            "layers": ipywidgets.IntSlider(1, min=0, max=MOST_LAYERS),
            "regularizer": ipywidgets.Dropdown(options=list(REGULARIZERS)),
            "strength": ipywidgets.FloatText(),
            **{name: ipywidgets.IntText(size) for name, size in sizes.items()},
        }
        for name, control in self.controls.items():
            control.description, control.layout.width = name.replace("_", " "), "290px"
            control.style.description_width = "100px"
        self.controls["regularizer"].observe(self._usual_strength, "value")
        self.run_button = ipywidgets.Button(description="Run", button_style="primary")
        self.stop_button = ipywidgets.Button(description="Stop", disabled=True)
        self.run_button.on_click(lambda _: self.run())
        self.stop_button.on_click(lambda _: self.stop())
        self.status, self.picture = ipywidgets.HTML(), ipywidgets.HTML(layout={"width": "100%"})
        rows = [*self.controls.values()], [self.run_button, self.stop_button, self.status]
        rows = [ipywidgets.Box(row, layout={"flex_flow": "row wrap"}) for row in rows]
        self._box = ipywidgets.VBox([*rows, self.picture])

    def run(self, *, wait: bool = False, **settings: Any) -> None:
        """What the button does: train in the background; `settings` are put into the controls.

        A regularizer without a `strength` comes with its usual one.

        Raises:
            ArgumentError: of `settings`, which the controls then do not keep; with `wait`, whatever
                ends the run.
            RuntimeError: a run is under way.
        """
        if self._thread.is_alive():
            raise RuntimeError("a run is under way: stop() it, or wait() for its end")
        self._stop, self._error = threading.Event(), None
        for name in settings:
            errors.check_choice("settings", name, self.controls)
        now = {name: control.value for name, control in self.controls.items()}
        if "regularizer" in settings:
            kind = errors.check_choice("regularizer", settings["regularizer"], REGULARIZERS)
            now["strength"] = REGULARIZERS[kind][0]
        chosen = now | settings
        if settings:  # what the reader typed into the controls is refused in the panel
            self._check(chosen)
        for name, value in chosen.items():
            self.controls[name].value = value
        self._thread = threading.Thread(target=self._work, args=(chosen,), daemon=True)
        self.run_button.disabled, self.stop_button.disabled = True, False
        self._thread.start()
        if wait:
            self.wait()

    def stop(self) -> None:
        """End the run with the epoch under way, or the first of a network that has not begun.

        What was trained is kept.
        """
        self._stop.set()

    def wait(self) -> None:
        """Wait for the end of the run, and raise what ended it, if that was an error."""
        try:
            while self._thread.is_alive():
                self._thread.join(0.1)
        except KeyboardInterrupt:
            self.stop()
            raise
        if self._error:
            raise self._error

    @property
    def curves(self) -> pd.DataFrame:
        """One row a run, network and epoch from 0 on, with the settings and three accuracies.

        These are the shares after the epoch, without noise, of the `right` and of the `wrong`
        labels that are given back, and of the right answers on new examples (`validation`). Runs
        that were stopped, or are under way, have the rows that they came to.
        """
        tables = [one.curves.assign(run=k, **one.settings) for k, one in enumerate(self.runs)]
        columns = ["run", *self.controls, "network", "epoch", *LINES]
        tables = tables or [pd.DataFrame(columns=columns)]
        return pd.concat(tables, ignore_index=True)[columns]

    def _usual_strength(self, change: Any) -> None:
        self.controls["strength"].value = REGULARIZERS[change["new"]][0]

    def _work(self, chosen: dict[str, Any]) -> None:
        """A run from its beginning to its end, in its own thread."""
        started = time.monotonic()
        try:
            run = self._prepared(chosen)
            self._train(run)
            said = f"{'Stopped' if self._stop.is_set() else 'Done'}: {run}"
            said = html.escape(f"{said}, in {time.monotonic() - started:.0f} s.")
        except Exception as error:  # no one else would see it
            self._error = error
            told = html.escape(str(error) or repr(error))
            said = f'<b role="alert">This does not run.</b> {told}'
        finally:
            self.status.value = said
            self.run_button.disabled, self.stop_button.disabled = False, True

    def _prepared(self, chosen: dict[str, Any]) -> "Run":
        self._check(chosen)
        own = self._data[chosen["data"]]
        if isinstance(own, str):
            self.status.value = f"Loading {own}"
            own = self._data[own] = load(own, device=machine.device())
        most = self._examples
        if most is not None and most < len(own.train):
            own = own.subset(most, seed=SEED)
        return Run(chosen, own)

    def _check(self, chosen: dict[str, Any]) -> None:
        """Refuses what the networks do not take."""
        errors.check_choice("data", chosen["data"], self._data)
        errors.check_fraction("random_labels", chosen["random_labels"])
        for name in ("units", "networks", "epochs"):
            errors.check_positive_int(name, chosen[name])
        kind, strength = chosen["regularizer"], chosen["strength"]
        below = REGULARIZERS[kind][1]
        if not isinstance(strength, Real) or not 0 <= strength < below:
            allowed = f"for {kind}, a number from 0 to below {below}"
            raise ArgumentError("strength", strength, allowed)
        errors.check_integer("layers", chosen["layers"], 0, MOST_LAYERS)
        if kind in ("dropout", "Gaussian noise"):
            errors.check_integer("layers", chosen["layers"], 1)

    def _train(self, run: "Run") -> None:
        chosen, here = run.settings, run.data
        self.runs.append(run)
        run.history = training.fit(
            mlp(here.shape, [chosen["units"]] * chosen["layers"], here.n_classes),
            here,
            seeds=range(SEED, SEED + chosen["networks"]),
            epochs=chosen["epochs"],
            evaluate=(),
            probes={"accuracies": run.read},
            progress=partial(self._show, run, time.monotonic()),
            stop=self._stop,
            **REGULARIZERS[chosen["regularizer"]][2](chosen["strength"]),
            **RATES,
        )
        self.picture.value = run.picture()

    def _show(self, run: "Run", begun: float, done: float, total: float) -> None:
        """How far it is, and the picture, for which a third of the time may go."""
        now = time.monotonic()
        if now < self._next:
            return
        left = (now - begun) * (total / done - 1)
        bar = f'<progress value="{done / total:.3f}" aria-label="trained"></progress>'
        self.status.value = f"{bar} {100 * done / total:.0f} %, about {left:.0f} s left"
        self.picture.value = run.picture()
        self._next = time.monotonic() + max(DRAW_EVERY, 2 * (time.monotonic() - now))

    def _ipython_display_(self) -> None:
        """The widgets; in a page, where nothing can move them, the picture of the last run."""
        from IPython.display import display

        if not os.environ.get(machine.STATIC):
            return display(self._box)
        self.wait()
        shown = [part for run in self.runs[-1:] for part in (run.figure(), run.images())]
        display({"text/html": Page(*shown).html(), "text/plain": repr(self)}, raw=True)

    def __repr__(self) -> str:
        return "\n".join(["Panel", *map(str, self.runs)])


panel = Panel  # as a chapter says it


class Run:
    """The networks of one press of the button, as far as they came.

    Attributes:
        settings: what was chosen, by the names of the controls.
        data: what they trained on; `data.changed` marks its wrong labels.
        learned: whether a network gives an example its label at last, [network, example].
        history: what `fit` gave, with `accuracies` as in `Panel.curves` among its probes; None
            until it has ended.
    """

    def __init__(self, settings: dict[str, Any], own: Dataset) -> None:
        self.settings: dict[str, Any] = settings
        self.history: training.History | None = None
        self.data = here = random_labels(own, settings["random_labels"], seed=SEED)
        self.learned = np.zeros((settings["networks"], len(here.train)), bool)
        new = own.validation
        self._new = new.take(torch.arange(min(len(new), NEW)))
        self._rows = [np.empty((0, 2 + len(LINES)))]
        wrong, right = (mask.nonzero()[:, 0] for mask in (here.changed, ~here.changed))
        wrong = wrong[: max(TILES // 2, TILES - len(right))]
        self._shown = torch.cat([wrong, right[: TILES - len(wrong)]])
        said, true = (
            [here.classes[k] for k in y[self._shown]] for y in (here.train.y, own.train.y)
        )
        self._labels = [a if a == b else f"{b} as {a}" for a, b in zip(said, true, strict=True)]
        self._kinds = [
            "wrong labels" if one else "right labels" for one in here.changed[self._shown]
        ]

    def read(self, now: Snapshot) -> Tensor:
        """Probe: accuracies [m, 3], in the order of `LINES`."""
        parts, wrong = (self.data.train, self._new), self.data.changed
        correct, new = (predict(now.ensemble, part.x).argmax(-1) == part.y for part in parts)
        parts = correct[:, ~wrong], correct[:, wrong], new
        found = torch.stack([part.double().mean(1) for part in parts], 1).cpu()
        members = now.members.numpy()
        self.learned[members] = correct.cpu().numpy()
        epochs = np.full(len(members), now.epoch)
        self._rows.append(np.column_stack([members, epochs, found.numpy()]))
        return found

    @property
    def curves(self) -> pd.DataFrame:
        """One row a network and epoch, from 0 on; see `Panel.curves`."""
        table = pd.DataFrame(np.concatenate(self._rows[:]), columns=["network", "epoch", *LINES])
        table = table.astype({"network": int, "epoch": int})
        return table.sort_values(["network", "epoch"], ignore_index=True)

    def figure(self) -> charts.Figure:
        """Accuracy by epoch: the mean over the networks, and where most of them are."""
        rows = self.curves.rename(columns=LINES).melt(["network", "epoch"], var_name="line")
        by = rows.dropna().groupby(["line", "epoch"], sort=False)["value"]
        ends = {"low": by.quantile(0.5 - BAND / 2), "high": by.quantile(0.5 + BAND / 2)}
        chart = charts.lines(
            pd.DataFrame({"mean": by.mean(), **ends}).reset_index(),
            "epoch", "mean", "line",
            x_title="epochs", y_title="accuracy", y_domain=(0, 1), format=".0%",
        )  # fmt: skip
        caption = f"{self}. Lines: means; bands: {100 * BAND:.0f} % of the networks."
        told = "Accuracy on right labels, on wrong labels and on new images, by epoch."
        return charts.Figure(chart, alt=told, caption=caption)

    def images(self) -> Markup:
        """Examples, the most learned first, the greyer the fewer networks have learned them."""
        reached = self.learned[self.curves["network"].unique()][:, self._shown.cpu()].mean(0)
        order = sorted(range(len(reached)), key=lambda k: (self._kinds[k], -reached[k]))
        share = torch.from_numpy(reached[order])[:, None, None, None]
        shown = self.data.train.x[self._shown][order].cpu()
        middle = (shown.amin() + shown.amax()) / 2
        return charts.images(
            middle + (shown - middle) * share,
            [self._labels[k] for k in order],
            groups=[self._kinds[k] for k in order],
            title="Examples, the most learned first",
            alt="Training images with right labels and with wrong ones.",
            caption="The fewer networks give an image its label, the greyer it is.",
        )

    def picture(self) -> str:
        """Both side by side, below each other where that is too wide; needs no script."""
        parts = self.figure().still(), self.images().html()
        boxes = "".join(f'<div style="flex:1 1 320px">{part}</div>' for part in parts)
        fitted = "<style>.mem-still { max-width: 100%; height: auto }</style>"
        return f'{fitted}<div style="display:flex;flex-wrap:wrap;gap:24px">{boxes}</div>'

    def __str__(self) -> str:
        one, table = self.settings, self.curves
        kind = f"{one['regularizer']} {one['strength']:g}"
        facts = [
            f"{table['network'].nunique()} networks, {table['epoch'].max()} epochs",
            f"{len(self.data.train):,} examples of {self.data.name}",
            f"{100 * one['random_labels']:.0f} % random labels",
            f"{one['layers']} x {one['units']} units" if one["layers"] else "no hidden layer",
            "no regularizer" if one["regularizer"] == "none" else kind,
        ]
        ended = [] if self.history is None else self.history.members["ended"].tolist()
        if diverged := ended.count("diverged"):
            facts.append(f"{diverged} of them diverged")
        return ", ".join(facts)
