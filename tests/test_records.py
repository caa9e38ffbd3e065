import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memhelpers import lab
from memhelpers.errors import ArgumentError, RecordError
from memhelpers.runs import files, machine, records
from tools import notebooks, recording

OLD = {"curve": pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25]})}
NEW = {
    "curve": pd.DataFrame({"epoch": [1, 2, 3], "loss": [0.6, 0.3, 0.1]}),
    "summary": pd.DataFrame({"gini": [0.5]}),
}


def save(root: Path, tables: dict = OLD, **changes: object) -> Path:
    arguments = {"chapter": "04-a", "name": "paper", "provenance": {"seeds": 10}, **changes}
    return recording.save(tables=tables, root=root, **arguments)


def load(root: Path, **changes: object) -> records.Record:
    return records.load("04-a", "paper", root=root, **changes)


def everything(root: Path) -> dict[str, bytes]:
    """All files below a folder, and the folders themselves."""
    paths = sorted(root.rglob("*"))
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else b"" for p in paths}


# What goes in comes out


def test_a_record_comes_back_with_its_types(tmp_path):
    table = pd.DataFrame(
        {
            "seed": np.arange(4, dtype=np.int64),
            "small": np.array([0, 1, 255, 7], dtype=np.uint8),
            "changed": [True, False, True, True],
            "condition": ["real", "randX, 100 %", 'a "quoted"\ntext\r', "N\rA"],
            "code": ["01", "", "nan", "1e3"],
            "exact": [0.1, 1 / 3, math.nan, -math.inf],
            "single": np.array([0.1, 1e-30, np.nan, 3], dtype=np.float32),
        }
    )
    folder = save(tmp_path, {"values": table}, provenance={"grid": (0, 1), "lr": 0.1})
    record = load(tmp_path)
    assert folder == tmp_path / "04-a" / "paper"
    pd.testing.assert_frame_equal(record.tables["values"], table)
    assert (record.chapter, record.name) == ("04-a", "paper")
    assert record.provenance["grid"] == [0, 1]
    assert record.provenance["format"] == recording.FORMAT
    described = record.provenance["tables"]["values"]
    assert described["rows"] == 4
    content = (folder / "values.csv").read_bytes()
    assert described["sha256"] == hashlib.sha256(content).hexdigest()


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.lists(st.floats(allow_nan=False), min_size=1), st.sampled_from(["float32", "float64"]))
def test_floats_come_back_exactly(tmp_path_factory, values, kind):
    root = tmp_path_factory.mktemp("records")
    with np.errstate(over="ignore"):
        table = pd.DataFrame({"x": np.array(values).astype(kind)})
    save(root, {"t": table})
    pd.testing.assert_frame_equal(load(root).tables["t"], table, check_exact=True)


def test_texts_that_look_like_nothing_come_back(tmp_path):
    table = pd.DataFrame({"t": ["", "  ", "\n", "nan", "a"]})
    save(tmp_path, {"t": table})
    pd.testing.assert_frame_equal(load(tmp_path).tables["t"], table)


def test_digits_shorten_what_is_written(tmp_path):
    table = pd.DataFrame({"x": [1 / 3, 12345678.9], "seed": [12345678, 2], "t": ["1.23456789", ""]})
    folder = save(tmp_path, {"t": table}, digits=6)
    assert (folder / "t.csv").read_text().splitlines() == [
        "x,seed,t", "0.333333,12345678,1.23456789", "1.23457e+07,2,",
    ]  # fmt: skip


def test_the_head_of_a_provenance_is_the_record_s_own(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    told = {
        "format": 9,
        "chapter": "else",
        "name": "else",
        "created": "",
        "tables": {},
        "sha256": "",
    }
    save(tmp_path, provenance={**told, "seeds": 10})
    ran = load(tmp_path).provenance
    assert (ran["format"], ran["chapter"], ran["name"]) == (recording.FORMAT, "04-a", "paper")
    assert before <= datetime.fromisoformat(ran["created"]) <= datetime.now(UTC)
    assert ran["seeds"] == 10


def test_a_file_is_on_the_disk_when_it_counts_as_written(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    files.write(tmp_path / "table.csv", b"x\n1\n")
    assert synced == [4]


def test_the_same_tables_give_the_same_bytes(tmp_path):
    one, two = save(tmp_path, NEW), save(tmp_path, NEW, name="again")
    for table in NEW:
        assert (one / f"{table}.csv").read_bytes() == (two / f"{table}.csv").read_bytes()


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    table = pd.DataFrame({"a": np.array([], dtype=np.float64), "b": np.array([], dtype=np.int64)})
    save(tmp_path, {"t": table})
    pd.testing.assert_frame_equal(load(tmp_path).tables["t"], table, check_index_type=False)


def test_saving_again_replaces_all_of_the_former_record(tmp_path):
    save(tmp_path, NEW)
    save(tmp_path, OLD)
    assert list(load(tmp_path).tables) == ["curve"]
    assert sorted(everything(tmp_path)) == [
        "04-a", "04-a/paper", "04-a/paper/curve.csv", "04-a/paper/provenance.json",
    ]  # fmt: skip


def test_the_recorded_runs_of_a_chapter_are_listed(tmp_path):
    assert records.available("04-a", tmp_path) == []
    for name in ("paper-mnist", "colab.new", "paper-width=1024"):
        save(tmp_path, name=name)
    (tmp_path / "04-a" / "not-a-record").mkdir()
    assert records.available("04-a", tmp_path) == ["colab.new", "paper-mnist", "paper-width=1024"]


def test_the_book_s_records_are_named_by_what_they_are():
    for chapter in lab.recorded_chapters():
        for name, record in lab.recorded(chapter).items():
            ran = record.provenance
            data = ran["dataset"]
            assert (ran["chapter"], ran["name"]) == (chapter, name)
            assert name == recording.record_name(ran["preset"], data["name"], ran["overrides"])
            assert ran["overrides"].items() <= ran["parameters"].items()
            assert re.fullmatch("[0-9a-f]{16}", data["fingerprint"])
            assert data["fingerprint"] in data["is"]


# What cannot be kept


@pytest.mark.parametrize(
    "tables",
    [
        {},
        [1],
        {"t": [1, 2]},
        {"t": pd.DataFrame()},
        {"t": pd.DataFrame({1: [2]})},
        {"t": pd.DataFrame([[1, 2]], columns=["a", "a"])},
        {"t": pd.DataFrame({"a": [1]}, index=[5])},
        {"t": pd.DataFrame({"a": [1, "b"]})},
        {"t": pd.DataFrame({"a": ["b", None]})},
        {"t": pd.DataFrame({"a": [1j]})},
        {"t": pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})},
    ],
)
def test_a_table_that_would_not_come_back_is_refused(tmp_path, tables):
    with pytest.raises(ArgumentError):
        save(tmp_path, tables)
    assert everything(tmp_path) == {}


@pytest.mark.parametrize(
    "provenance",
    [{"loss": math.nan}, {"device": torch.device("cpu")}, {"grid": np.arange(2)}],
)
def test_a_provenance_that_is_no_json_is_refused(tmp_path, provenance):
    with pytest.raises(ArgumentError, match=r"provenance: .* allowed: JSON values, no NaN"):
        save(tmp_path, provenance=provenance)
    assert everything(tmp_path) == {}


BAD_NAMES = ["", ".", "..", "../x", "a/b", "a\\b", "/etc", ".hidden", "a.", "a b", "é", "x" * 101]


@pytest.mark.parametrize("name", [*BAD_NAMES, None, 4])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    root = tmp_path / "root"
    for call in (
        lambda: save(root, chapter=name),
        lambda: save(root, name=name),
        lambda: save(root, {name: OLD["curve"]}),
    ):
        with pytest.raises(RecordError, match=r"given .*; allowed: letters"):
            call()
    assert everything(tmp_path) == {}


# What does not load


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(RecordError, match="04-a/paper cannot be read: FileNotFoundError"):
        load(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "FORMAT", 1)
    save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(RecordError, match=r"04-a/paper: .* format version 1; allowed: 2"):
        recording.check(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content.replace(b"0.25", b"0.24"),
        lambda content: content + b"3,0.1\n",
        lambda content: content.replace(b"\n", b"\r\n"),
    ],
)
def test_a_truncated_or_altered_table_is_refused(tmp_path, damage):
    path = save(tmp_path) / "curve.csv"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordError, match=r"curve.csv is truncated or altered"):
        load(tmp_path)


def test_a_table_that_is_gone_is_named(tmp_path):
    (save(tmp_path) / "curve.csv").unlink()
    with pytest.raises(RecordError, match=r"FileNotFoundError.*curve.csv"):
        load(tmp_path)


# What a reader or a program has changed, each in what `everything_in_it` saves
CHANGES = {
    "a value": lambda found: found | {"seeds": 11},
    "a value inside": lambda found: found | {"parameters": {"width": 4}},
    "a key more": lambda found: found | {"more": 1},
    "a key less": lambda found: {k: v for k, v in found.items() if k != "overrides"},
    "a table's rows": lambda found: (
        found | {"tables": {"curve": found["tables"]["curve"] | {"rows": 3}}}
    ),
    "no table": lambda found: found | {"tables": {}},
    "no checksum": lambda found: {k: v for k, v in found.items() if k != "sha256"},
    "another checksum": lambda found: found | {"sha256": "0" * 64},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_provenance_in_which_anything_was_changed_is_refused(tmp_path, change):
    about = {"seeds": 10, "parameters": {"width": 3}, "overrides": {"width": 3}}
    path = save(tmp_path, provenance=about) / "provenance.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(RecordError, match=r"04-a/paper: provenance.json is altered"):
        recording.check(tmp_path)


def test_the_checksum_does_not_depend_on_how_the_same_values_are_written(tmp_path):
    path = (
        save(tmp_path, provenance={"name": "größer", "step": 0.1, "n": {2: 1, 10: 2}})
        / "provenance.json"
    )
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    found = dict(load(tmp_path).provenance)
    assert (found["step"], found["n"]) == (0.1, {"2": 1, "10": 2})
    told = found.pop("sha256")
    text = json.dumps(found, sort_keys=True, separators=(",", ":"))
    assert told == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"format"'])
def test_a_garbled_provenance_is_refused(tmp_path, text):
    (save(tmp_path) / "provenance.json").write_text(text)
    with pytest.raises(RecordError, match=r"04-a/paper cannot be read"):
        load(tmp_path)


# A full disk, and a kill


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", [0, 2])
def test_whatever_stops_the_writing_leaves_the_former_record(tmp_path, monkeypatch, error, place):
    before = everything(save(tmp_path).parent)
    written = []

    def write(path, content, real=files.write):
        real(path, content)
        written.append(path)
        if len(written) > place:
            raise error

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(type(error)):
        save(tmp_path, NEW)
    assert everything(tmp_path / "04-a") == before


def test_what_a_killed_run_left_is_no_record_and_gone_after_the_next(tmp_path):
    save(tmp_path).rename(tmp_path / "04-a" / ".paper.new")
    (tmp_path / "04-a" / ".paper.new" / "more.csv").touch()
    assert records.available("04-a", tmp_path) == []
    save(tmp_path, OLD)
    assert sorted(everything(tmp_path / "04-a")) == [
        "paper", "paper/curve.csv", "paper/provenance.json",
    ]  # fmt: skip


LARGE = {"t": pd.DataFrame({"x": np.random.default_rng(0).random(20_000)})}


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 KiB; skips where mounting one is not permitted."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if not mount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system of 256 KiB cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_former_record(tiny_disk):
    save(tiny_disk)
    before = everything(tiny_disk)
    with pytest.raises(OSError, match="No space left on device"):
        save(tiny_disk, LARGE)
    assert everything(tiny_disk) == before
    assert load(tiny_disk).tables["curve"].equals(OLD["curve"])


@pytest.mark.skipif(os.name != "posix", reason="file size limits exist on POSIX systems only")
def test_a_file_that_may_not_grow_leaves_the_former_record(tmp_path):
    import resource

    save(tmp_path)
    before = everything(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(tmp_path, LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert everything(tmp_path) == before


# Provenance


def test_the_environment_names_versions_and_device_but_no_host_user_or_folder():
    found = recording.environment("cpu", "float32")
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert found["threads"] == torch.get_num_threads()
    assert found["precision"] == "float32"
    assert isinstance(found["device"], str)
    assert found["device"]
    text = json.dumps(found)
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(Path(__file__).parents[1]) not in text


def test_a_gpu_is_named_by_its_model(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    assert recording.environment("cuda:1", "bfloat16")["device"] == "Card 1"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout with one commit."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    root = (tmp_path / "checkout").resolve()
    (root / "data").mkdir(parents=True)
    (root / "code.py").write_text("a = 1\n")
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", "-c",
           "commit.gpgsign=false"]  # fmt: skip
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    monkeypatch.setattr(machine, "repository_root", lambda: root)
    return root


def test_the_commit_is_dirty_when_code_differs_but_not_by_a_new_record(checkout):
    clean = recording.environment("cpu", "float32")
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    save(checkout / "data")
    assert recording.environment("cpu", "float32")["dirty"] is False
    (checkout / "code.py").write_text("a = 2\n")
    assert recording.environment("cpu", "float32")["dirty"] is True


def test_outside_of_its_own_checkout_there_is_no_commit(checkout, monkeypatch):
    for root in (None, checkout / "data"):
        monkeypatch.setattr(machine, "repository_root", lambda root=root: root)
        found = recording.environment("cpu", "float32")
        assert (found["commit"], found["dirty"]) == (None, None)


# Where the book's files lie


def test_a_checkout_and_an_installed_package_find_the_same_files(tmp_path, monkeypatch):
    root = Path(__file__).resolve().parents[1]
    assert machine.repository_root() == root
    assert machine.book_file("claims.yml") == root / "book" / "claims.yml"
    assert machine.data_folder() == root / "data"
    package = tmp_path / "site-packages" / "memhelpers"
    monkeypatch.setattr(machine, "_PACKAGE", package)
    assert machine.repository_root() is None
    assert machine.book_file("claims.yml") == package / "_book" / "claims.yml"
    assert machine.data_folder() == package / "_data"


def test_records_need_neither_scipy_nor_yaml():
    code = "import sys, memhelpers.runs.records as r; print({'scipy', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_run_tells_which_versions_were_pinned_and_on_a_gpu_its_driver(monkeypatch):
    pinned = (notebooks.ROOT / "constraints.txt").read_bytes()
    here = recording.environment("cpu", "fp32")
    assert here["constraints"] == hashlib.sha256(pinned).hexdigest()
    assert here["driver"] is None
    monkeypatch.setattr(machine, "environment", lambda device, precision: {})
    told = SimpleNamespace(stdout="570.86.15\n570.86.15\n")
    monkeypatch.setattr(recording.subprocess, "run", lambda *_, **__: told)
    assert recording.environment("cuda:0", "fp32")["driver"] == "570.86.15"

    def missing(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(recording.subprocess, "run", missing)
    assert recording.environment("cuda", "fp32")["driver"] is None
    monkeypatch.setattr(machine, "repository_root", lambda: None)
    assert recording.environment("cpu", "fp32")["constraints"] is None


def test_the_books_own_records_are_as_they_were_written():
    recording.check()
