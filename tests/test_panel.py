"""The live panel: networks that train in the kernel under controls; and the lab as a widget."""

import base64
import gzip
import io
import json
import re
import sys
import threading
import time
import tracemalloc

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch
from browser import launched, serve
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image
from sklearn.datasets import load_digits

from memhelpers import corrupt, live, networks, training
from memhelpers.data import load
from memhelpers.errors import ArgumentError
from memhelpers.runs import machine
from tests.toys import toy_data, toy_mlp
from tools import notebooks as notebooks_of_the_book

SMALL = {"networks": 6, "epochs": 3, "examples": 60}
ACCURACIES = ["right", "wrong", "validation"]


@pytest.fixture(autouse=True)
def _open_notebook(monkeypatch):
    monkeypatch.delenv(machine.STATIC, raising=False)


@pytest.fixture
def panel() -> live.Panel:
    return live.panel(**SMALL)


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def direct(examples: int, share: float, seeds: list[int], epochs: int, **options) -> pd.DataFrame:
    """What `fit` says of the same networks: accuracies after each epoch, one row a network."""
    data = load("digits").subset(examples, seed=seeds[0])
    data = corrupt.random_labels(data, share, seed=seeds[0])
    history = training.fit(
        networks.mlp(data.shape, [64], data.n_classes),
        data,
        seeds=seeds,
        epochs=epochs,
        **{"learning_rate": 0.1, "momentum": 0.9, "batch_size": 30} | options,
        probes={"correct": training.correct_on(torch.arange(examples))},
    )
    correct = history.probes["correct"].stacked().numpy()[1:]  # [epoch, network, example]
    changed = data.changed.numpy()
    shares = {"right": correct[..., ~changed], "wrong": correct[..., changed]}
    table = history.epochs[["member", "epoch", "validation_accuracy"]]
    return table.assign(**{k: v.mean(-1).T.ravel() for k, v in shares.items()})


def test_curves_and_images_move_as_epochs_go(panel, monkeypatch):
    monkeypatch.setattr(live, "DRAW_EVERY", 0)
    seen = []
    panel.picture.observe(lambda change: seen.append(change["new"]), "value")
    panel.run_button.click()
    panel.wait()
    lines = {one.split('class="mem-still"', 1)[1].split(">")[0] for one in seen}
    faded = {one.split("<ul", 1)[1] for one in seen}
    assert len(lines) > 1
    assert len(faded) > 1
    assert all(one.count("<img ") == 1 + live.TILES for one in seen)
    assert "left" in str(seen) or panel.status.value.startswith("Done: 6 networks, 3 epochs")


def test_while_it_trains_the_kernel_is_free_and_the_time_left_is_told(panel, monkeypatch):
    monkeypatch.setattr(live, "DRAW_EVERY", 0)
    started = time.monotonic()
    panel.run(epochs=100_000)
    assert time.monotonic() - started < 2
    until(lambda: " s left" in panel.status.value)
    assert panel.run_button.disabled
    assert not panel.stop_button.disabled
    with pytest.raises(RuntimeError, match="a run is under way"):
        panel.run()
    panel.run_button.click()  # is not heard
    panel.stop()
    panel.wait()
    assert len(panel.runs) == 1
    assert not panel.run_button.disabled
    assert panel.stop_button.disabled


def test_the_numbers_are_those_of_fit(panel):
    panel.run(wait=True, random_labels=0.5)
    expected = direct(60, 0.5, list(range(6)), 3)
    found = panel.curves.query("epoch > 0").reset_index(drop=True)
    assert found["network"].tolist() == expected["member"].tolist()
    assert found["epoch"].tolist() == expected["epoch"].tolist()
    assert np.allclose(found["right"], expected["right"], atol=1e-12)
    assert np.allclose(found["wrong"], expected["wrong"], atol=1e-12)
    assert np.allclose(found["validation"], expected["validation_accuracy"])
    history = panel.runs[0].history
    kept = history.probes["accuracies"].stacked()[1:].transpose(0, 1).flatten(0, 1)
    assert np.array_equal(kept, found[ACCURACIES])
    run = panel.runs[0]
    shares = run.learned[:, ~run.data.changed.numpy()].mean(1)
    assert np.allclose(shares, found.query("epoch == 3")["right"])


@pytest.mark.parametrize(
    ("kind", "strength", "told"),
    [
        ("dropout", 0.3, {"perturb": training.dropout(0.3)}),
        ("Gaussian noise", 0.4, {"perturb": training.gaussian_noise(0.4)}),
        ("weight decay", 0.02, {"weight_decay": 0.02}),
    ],
)
def test_a_regularizer_is_the_one_of_fit(panel, kind, strength, told):
    panel.run(wait=True, strength=strength, regularizer=kind)
    expected = direct(60, 0.3, list(range(6)), 3, **told)
    assert np.allclose(panel.curves.query("epoch > 0")["right"], expected["right"])
    plain = direct(60, 0.3, list(range(6)), 3)
    assert not np.allclose(expected["right"], plain["right"])


def test_sets_of_networks_that_train_one_after_another_are_one_run(panel, monkeypatch):
    panel.run(wait=True)
    monkeypatch.setattr(training.packing, "networks_per_pass", lambda *_: 4)
    monkeypatch.setattr(training.packing, "passes_side_by_side", lambda *_: 1)
    panel.run(wait=True)
    whole, parted = (table for _, table in panel.curves.groupby("run"))
    assert np.allclose(whole[ACCURACIES], parted[ACCURACIES], atol=0.02)
    assert parted["network"].tolist() == whole["network"].tolist()


def test_stop_ends_within_a_second_or_so_and_keeps_what_was_trained(panel):
    panel.run(epochs=100_000)
    until(lambda: panel.runs and panel.runs[0].curves["epoch"].max() > 2)
    started = time.monotonic()
    panel.stop_button.click()
    until(lambda: panel.stop_button.disabled, seconds=5)
    assert time.monotonic() - started < 2
    panel.wait()
    assert panel.status.value.startswith("Stopped: 6 networks")
    history = panel.runs[0].history
    assert set(history.members["ended"]) == {"stopped"}
    assert history.ensemble.flat_parameters().shape[0] == 6
    assert panel.curves.groupby("network")["epoch"].max().tolist() == list(
        history.members["epochs"]
    )


def test_run_again_keeps_the_earlier_ones_each_with_its_settings(panel):
    assert panel.curves.empty
    panel.run(wait=True)
    first = panel.curves
    panel.controls["regularizer"].value = "dropout"
    panel.controls["units"].value = 16
    panel.run_button.click()
    panel.wait()
    assert [one.settings["units"] for one in panel.runs] == [64, 16]
    assert panel.curves.query("run == 0").equals(first)
    second = panel.curves.query("run == 1")
    assert second[["regularizer", "strength"]].drop_duplicates().to_numpy().tolist() == [
        ["dropout", 0.5]
    ]
    assert list(panel.curves) == ["run", *panel.controls, "network", "epoch", *ACCURACIES]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"units": 0}, "units: given 0; allowed: an integer of at least 1"),
        ({"networks": -5}, "networks: given -5; allowed: an integer of at least 1"),
        ({"epochs": 0}, "epochs: given 0; allowed: an integer of at least 1"),
        (
            {"regularizer": "dropout", "strength": 1.0},
            "strength: given 1.0; allowed: for dropout, a number from 0 to below 1",
        ),
        (
            {"regularizer": "dropout", "layers": 0},
            "layers: given 0; allowed: an integer of at least 1",
        ),
        (
            {"regularizer": "weight decay", "strength": -1.0},
            "strength: given -1.0; allowed: for weight decay, a number from 0 to below inf",
        ),
    ],
)
def test_a_bad_choice_is_one_sentence_in_the_panel_and_nothing_is_lost(panel, settings, said):
    panel.run(wait=True)
    before = panel.picture.value
    for name, value in settings.items():
        panel.controls[name].value = value
    panel.run_button.click()
    with pytest.raises(ArgumentError, match=said):
        panel.wait()
    assert panel.status.value == f'<b role="alert">This does not run.</b> {said}'
    assert panel.picture.value == before
    assert len(panel.runs) == 1
    for name, value in {"units": 8, "layers": 1, "regularizer": "none", **SMALL}.items():
        if name in panel.controls:
            panel.controls[name].value = value
    panel.controls["strength"].value = 0.0
    panel.run(wait=True)
    assert len(panel.runs) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 3}, "settings: given 'width'; allowed: one of 'data', 'random_labels'"),
        ({"layers": 9}, "layers: given 9; allowed: an integer from 0 to 5$"),
        ({"random_labels": 1.5}, "random_labels: given 1.5; allowed: a fraction between 0 and 1$"),
        ({"regularizer": "drop"}, "regularizer: given 'drop'; allowed: one of 'none', 'dropout'"),
        ({"data": (np.zeros(99), 0)}, r"data: given \(ndarray of shape \[99\], float64, 0\)"),
        ({"units": 3.5}, "units: given 3.5; allowed: an integer of at least 1$"),
        ({"units": "many"}, "units: given 'many'; allowed: an integer of at least 1$"),
        ({"strength": "much"}, "strength: given 'much'; allowed: for none, a number from 0"),
        ({"epochs": 9, "units": 0}, "units: given 0; allowed: an integer of at least 1"),
        (
            {"regularizer": "dropout", "strength": 1.5, "networks": 7},
            "strength: given 1.5; allowed: for dropout, a number from 0 to below 1",
        ),
    ],
)
def test_a_control_takes_no_other_value_in_silence(panel, settings, said):
    before = {name: control.value for name, control in panel.controls.items()}
    with pytest.raises(ArgumentError, match=said):
        panel.run(**settings)
    assert {name: control.value for name, control in panel.controls.items()} == before
    assert not panel.runs


def test_an_error_of_an_earlier_run_is_not_told_again(panel):
    panel.controls["units"].value = 0
    panel.run()
    with pytest.raises(ArgumentError, match="units: given 0"):
        panel.wait()
    panel.controls["units"].value = 8
    with pytest.raises(ArgumentError, match="layers: given 9"):
        panel.run(layers=9)
    panel.wait()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"data": "nowhere"}, "data: given 'nowhere'; allowed: 'digits'"),
        ({"data": "my.csv"}, r"data: given 'my.csv'; allowed: .* \.npz, a dict .* or a tuple"),
        ({"data": pd.DataFrame({"a": range(20)})}, r"data: given DataFrame of shape \[20, 1\];"),
        ({"networks": 0}, "networks: given 0"),
        ({"epochs": 1.5}, "epochs: given 1.5"),
        ({"examples": -1}, "examples: given -1"),
    ],
)
def test_a_bad_argument_is_refused_at_once(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        live.panel(**arguments)


def test_what_the_engine_refuses_is_said_in_the_panel(panel, monkeypatch):
    monkeypatch.setitem(live.RATES, "learning_rate", -1.0)
    with pytest.raises(ArgumentError):
        panel.run(wait=True)
    assert "learning_rate: given -1.0" in panel.status.value
    assert panel.curves.empty


def test_the_readers_own_data_come_first(tmp_path):
    data = toy_data(n=30)
    panel = live.panel(data, **SMALL)
    assert panel.controls["data"].value == "toy"
    assert set(live.DATA) < set(panel.controls["data"].options)
    panel.run(wait=True)
    assert len(panel.runs[0].data.train) == 30  # fewer than `examples`
    panel.run(wait=True, data="digits")
    assert panel.curves["data"].unique().tolist() == ["toy", "digits"]
    x, y = np.random.default_rng(0).normal(size=(40, 7)), np.arange(40) % 2
    vectors = live.panel((x, y), **SMALL)
    vectors.run(wait=True)
    assert vectors.picture.value.count("<img ") == 1 + len(vectors.runs[0].data.train)


def test_names_of_classes_are_text():
    data = toy_data().replace(name="<b>own", classes=("<i>one", "two", "three"))
    panel = live.panel(data, **SMALL)
    panel.run(wait=True)
    shown = panel.picture.value + panel.status.value
    assert "<i>" not in shown
    assert "<b>" not in shown
    assert "&lt;i&gt;one" in shown


@pytest.mark.parametrize(("share", "there"), [(0.0, ["right", "validation"]), (0.3, ACCURACIES)])
def test_a_line_is_drawn_for_what_there_is(panel, share, there):
    panel.run(wait=True, random_labels=share)
    (spec,) = panel.runs[0].figure().specs
    for column, name in live.LINES.items():
        assert (name in json.dumps(spec["datasets"])) == (column in there)
    assert ("wrong labels" in panel.runs[0].images().html()) == (share > 0)


def test_the_picture_shows_means_and_what_most_networks_do(panel):
    panel.run(wait=True)
    last, run = panel.curves.query("epoch == 3"), panel.runs[0]
    told = run.figure().alt
    for column, name in live.LINES.items():
        assert f"{name} {100 * last[column].mean():.0f}" in told
    (spec,) = run.figure().specs
    rows = pd.concat(
        pd.read_csv(io.StringIO(one)) for one in spec["datasets"].values() if "low" in one
    )
    at = rows[(rows["epoch"] == 3) & (rows["line"] == "validation")].iloc[0]
    assert at["low"] == pytest.approx(last["validation"].quantile(0.05), rel=1e-3)
    assert at["high"] == pytest.approx(last["validation"].quantile(0.95), rel=1e-3)


def test_an_image_is_the_greyer_the_fewer_networks_have_learned_it(panel):
    panel.run(wait=True)
    run = panel.runs[0]
    shown = [Image.open(io.BytesIO(base64.b64decode(one.split('"')[0])))
             for one in run.images().html().split("base64,")[1:]]  # fmt: skip
    contrast = [np.ptp(np.asarray(one, dtype=float)) for one in shown]
    learned = run.learned[:, run._shown.numpy()].mean(0)
    wrong = run.data.changed[run._shown].numpy()
    expected = np.concatenate([np.sort(learned[~wrong])[::-1], np.sort(learned[wrong])[::-1]])
    assert np.corrcoef(contrast, expected)[0, 1] > 0.95


def test_networks_that_diverge_are_told(panel, monkeypatch):
    monkeypatch.setitem(live.RATES, "learning_rate", 1e12)
    panel.run(wait=True)
    assert "6 of them diverged" in panel.status.value


def test_two_hundred_networks_take_seconds():
    panel = live.panel(networks=200)
    started = time.process_time()
    panel.run(wait=True)
    assert time.process_time() - started < 20
    assert len(panel.curves) == 200 * 31
    last = panel.curves.query("epoch == 30")[ACCURACIES].mean()
    assert last["right"] > 0.9
    assert last["wrong"] > 0.5
    best = panel.curves.groupby("epoch")["validation"].mean().max()
    assert best > last["validation"] + 0.05


def test_ten_runs_leave_no_widgets_and_no_memory_behind(panel):
    panel.run(wait=True)
    panel.runs.clear()
    widgets = len(ipywidgets.widgets.widget._instances)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            panel.run(wait=True)
        held = tracemalloc.get_traced_memory()[0]
        panel.runs.clear()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(ipywidgets.widgets.widget._instances) == widgets
    assert after - before < 0.5e6
    assert held - before < 5e6


def displayed(thing: object) -> dict:
    """What Jupyter shows of it, by type."""
    shell = InteractiveShell.instance()
    with capture_output() as shown:
        shell.display_formatter.format(thing)
    (output,) = shown.outputs
    return output.data


def test_a_notebook_shows_widgets_and_a_page_the_picture(panel, monkeypatch):
    assert "application/vnd.jupyter.widget-view+json" in displayed(panel)
    panel.run()
    monkeypatch.setenv(machine.STATIC, "1")
    shown = displayed(panel)  # waits for the end
    assert sorted(shown) == ["text/html", "text/plain"]
    assert "6 networks, 3 epochs" in shown["text/html"]
    assert shown["text/html"].count("<figure") == 2


def test_the_page_keeps_a_picture_and_no_widget():
    """For the state of widgets, a page would load scripts from elsewhere."""
    page = notebooks_of_the_book.read(notebooks_of_the_book.BOOK / "live.ipynb")
    outputs = [one for c in notebooks_of_the_book.code_cells(page) for one in c.outputs]
    kinds = {kind for one in outputs for kind in one.data}
    assert "widgets" not in page.metadata
    assert kinds <= {"text/html", "text/plain", "text/markdown"}
    assert any("mem-still" in "".join(one.data.get("text/html", "")) for one in outputs)


def test_fit_ends_with_the_epoch_when_it_is_to_stop():
    stop = threading.Event()
    data = toy_data()

    def second(now: object) -> torch.Tensor:
        if now.epoch == 2:
            stop.set()
        return torch.zeros(len(now.members))

    how = {"seeds": range(3), "epochs": 9, "workers": 1, "together": 3}
    history = training.fit(toy_mlp(data), data, **how, stop=stop, probes={"second": second})
    assert history.members["ended"].tolist() == ["stopped"] * 3
    assert history.members["epochs"].tolist() == [3] * 3
    short = training.fit(toy_mlp(data), data, **how | {"epochs": 3})
    assert torch.equal(history.ensemble.flat_parameters(), short.ensemble.flat_parameters())
    with pytest.raises(ArgumentError, match="stop: given 'now'; allowed: a Event"):
        training.fit(toy_mlp(data), data, **how, stop="now")


def test_the_widget_is_the_module_with_the_digits_of_scikit_learn():
    lab = live.lab()
    assert lab._esm == live.script()
    assert "export default { render };" in lab._esm
    assert lab._css == live.style()
    raw = np.frombuffer(gzip.decompress(lab.digits), np.uint8)
    images, labels = load_digits(return_X_y=True)
    assert np.array_equal(raw[: len(labels)], labels)
    assert np.array_equal(raw[len(labels) :].reshape(images.shape), images)


def test_without_anywidget_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"^live.lab\(\) needs anywidget: pip install anywidget$"):
        live.lab()


def test_without_ipywidgets_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"^live.panel\(\) needs ipywidgets: pip install ipyw"):
        live.panel()


def test_a_page_says_where_the_lab_can_be_had(monkeypatch):
    monkeypatch.setenv(machine.STATIC, "1")
    monkeypatch.setitem(sys.modules, "anywidget", None)
    assert "Jupyter or Colab" in live.lab().data


# What anywidget does with the module: it gives `render` a model, of which `get` reads a trait.
HOST = """<!doctype html><meta charset="utf-8"><style>%s</style><div id="lab"></div>
<script type="module">
import widget from "./widget.js";
const data = await (await fetch("digits.bin")).arrayBuffer();
const traits = { digits: new DataView(data), run: null, address: false, worker: true };
const model = { get: (name) => traits[name], set() {}, on() {}, off() {}, save_changes() {} };
window.end = await widget.render({ model, el: document.querySelector("#lab") });
</script>"""


def test_in_a_notebook_the_lab_trains_to_its_accuracies_without_the_network(tmp_path):
    lab = live.lab()
    (tmp_path / "widget.js").write_text(lab._esm, encoding="utf-8")
    (tmp_path / "digits.bin").write_bytes(lab.digits)
    (tmp_path / "index.html").write_text(HOST % lab._css, encoding="utf-8")
    with launched() as chromium, serve(tmp_path) as site:
        page = chromium.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site)
        page.wait_for_selector("#lab[data-state=finished]", timeout=120_000)
        labels = page.locator("#lab svg text[class]").all_text_contents()
        ended = page.evaluate("() => typeof window.end")
    assert not errors
    assert ended == "function"
    found = (re.fullmatch(r"(.*) (\d+)\s?%", label) for label in labels)
    shown = {one[1]: int(one[2]) for one in found if one}
    assert shown["right labels"] > 95
    assert shown["wrong labels"] > 80
    assert 40 < shown["new digits"] < 95
