"""The store of finished runs: what goes in comes out, and a run belongs to one sweep at a time."""

import contextlib
import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhelpers.errors import ArgumentError
from memhelpers.runs import store
from memhelpers.runs.store import Entry, Store, decode, encode, join, key_of, to_entry

pytestmark = pytest.mark.filterwarnings("error")

TABLE = pd.DataFrame({"loss": [0.1, 1 / 3], "ended": ["fitted", "epochs"], "epochs": [3, 4]})
KEYS = [key_of(number) for number in range(6)]


def entry(key: str) -> Entry:
    return to_entry("table", TABLE.assign(which=key[:4]), seconds=1.5)


def content(key: str) -> bytes:
    return encode(entry(key))


def put(folder: Path, *keys: str) -> Store:
    held = Store(folder)
    for key in keys:
        held.put(key, entry(key))
    return held


def there_and_back(table: pd.DataFrame) -> Entry:
    return decode(encode(to_entry("table", table)))


# What goes in comes out

KINDS = ["bool", "int8", "int64", "uint8", "uint64", "float32", "float64"]
TEXTS = st.text()


@st.composite
def tables(draw) -> pd.DataFrame:
    """Columns of every kind, of any bits."""
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(TEXTS, min_size=1, max_size=4, unique=True))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from([*KINDS, "text"]))
        if kind == "text":
            values = draw(st.lists(TEXTS, min_size=rows, max_size=rows))
            columns[name] = pd.Series(values, dtype=str)
        elif kind == "bool":
            columns[name] = np.array(
                draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), bool
            )
        else:
            size = np.dtype(kind).itemsize * rows
            bits = draw(st.binary(min_size=size, max_size=size))
            columns[name] = np.frombuffer(bits, kind)
    return pd.DataFrame(columns)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(tables())
def test_a_table_comes_back_to_the_last_bit(table):
    again = join([there_and_back(table)])
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    for name in table.columns:
        if table[name].dtype.kind == "f":
            old, new = table[name].to_numpy(), again[name].to_numpy()
            number = ~np.isnan(old)
            assert old[number].tobytes() == new[number].tobytes()  # the sign of zero, too


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(tables(), min_size=1, max_size=3))
def test_tables_are_joined_as_pandas_would(several):
    expected = pd.concat(several, ignore_index=True)
    for entries in (
        [there_and_back(table) for table in several],
        [to_entry("table", table) for table in several],  # of runs that were done just now
    ):
        pd.testing.assert_frame_equal(join(entries), expected, check_exact=True)


def test_a_stored_run_can_be_read_without_this_package(tmp_path):
    put(tmp_path, KEYS[0])
    run = json.loads((tmp_path / f"{KEYS[0]}.json").read_text())
    assert run["columns"]["loss"] == ["float64", TABLE["loss"].tolist()]
    assert run["seconds"] == 1.5


@pytest.mark.parametrize(
    "table", [{"a": [1]}, pd.DataFrame(), pd.DataFrame({"a": [[1]]}), TABLE.set_index("ended")]
)
def test_a_table_that_cannot_be_kept_is_refused(table):
    with pytest.raises(ArgumentError, match=r"measure|column"):
        to_entry("measure", table)


def test_keys_tell_types_apart_and_do_not_depend_on_the_order_of_names():
    assert len({key_of({"a": value}) for value in (1, 1.0, True, "1", None)}) == 5
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_runs_of_another_format_are_not_found(monkeypatch):
    before = key_of("run")
    monkeypatch.setattr(store, "FORMAT", store.FORMAT + 1)
    assert key_of("run") != before


# Finding and storing


def test_runs_are_found_by_their_keys(tmp_path):
    folder = tmp_path / "sweeps" / "deep"
    put(folder, *KEYS[:3])
    found = Store(folder).find(KEYS[1:5])
    assert list(found) == KEYS[1:3]
    assert join([found[KEYS[1]]])["which"].tolist() == [KEYS[1][:4]] * 2
    assert found[KEYS[1]] == {**entry(KEYS[1]), "sha256": found[KEYS[1]]["sha256"]}
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(f"{key}.json" for key in KEYS[:3]), "locks"]
    )


def test_two_stores_become_one_by_copying_files(tmp_path):
    put(tmp_path / "a", *KEYS[:2])
    put(tmp_path / "b", *KEYS[2:4])
    for path in (tmp_path / "a").glob("*.json"):
        shutil.copy(path, tmp_path / "b")
    assert list(Store(tmp_path / "b").find(KEYS)) == KEYS[:4]


def test_thousands_of_runs_are_read_within_a_second(tmp_path):
    keys = [key_of(["many", number]) for number in range(5000)]
    held = Store(tmp_path)
    for key in keys:  # without waiting for the disk
        run = to_entry("table", TABLE, determined_by=["x" * 60] * 15)
        held.path(key).write_bytes(encode(run))
    started = time.process_time()
    table = join(list(held.find(keys).values()))
    assert time.process_time() - started < 1
    assert len(table) == 10_000


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"store: given .*file"):
        Store(tmp_path / "file")


# Damage


def damaged(tmp_path: Path, content: bytes) -> str:
    """The warning that comes with a damaged run, which then counts as missing."""
    held = Store(tmp_path)
    held.path(KEYS[0]).write_bytes(content)
    with pytest.warns(RuntimeWarning) as warned:
        assert held.find(KEYS[:1]) == {}
    (one,) = warned
    return str(one.message)


def test_a_run_that_is_cut_off_anywhere_is_done_again_with_a_warning_that_names_it(tmp_path):
    whole = content(KEYS[0])
    for end in range(0, len(whole), 17):
        message = damaged(tmp_path, whole[:end])
        assert "done again" in message
        assert f"{KEYS[0]}.json" in message


def test_no_flipped_bit_goes_unnoticed():
    whole = content(KEYS[0])
    table = join([decode(whole)])
    for place in range(0, len(whole), 3):
        for bit in (1, 32):
            flipped = bytearray(whole)
            flipped[place] ^= bit
            with contextlib.suppress(ValueError):
                pd.testing.assert_frame_equal(join([decode(bytes(flipped))]), table)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00garbage",
        b'{"rows": 2}',
        content(KEYS[0]).replace(b"fitted", b"fatted"),
    ],
)
def test_damage_is_told(tmp_path, content):
    assert "truncated or altered" in damaged(tmp_path, content)


def test_what_cannot_be_read_is_told_apart_from_damage(tmp_path):
    held = Store(tmp_path)
    held.path(KEYS[0]).mkdir()
    with pytest.warns(RuntimeWarning, match="Is a directory"):
        assert held.find(KEYS[:1]) == {}


def test_a_damaged_run_is_replaced(tmp_path):
    damaged(tmp_path, b"half")
    put(tmp_path, KEYS[0])
    assert list(Store(tmp_path).find(KEYS)) == KEYS[:1]


def test_an_error_of_the_disk_leaves_the_former_file(tmp_path, monkeypatch):
    held = put(tmp_path, KEYS[0])

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        held.put(KEYS[0], entry(KEYS[1]))
    assert held.path(KEYS[0]).read_bytes() == content(KEYS[0])
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [f"{KEYS[0]}.json"]


# Locks


def test_a_sweep_keeps_out_the_same_one_as_long_as_that_has_time(tmp_path):
    started = time.monotonic()
    with Store(tmp_path).alone("a"):
        with Store(tmp_path).alone("b"):
            pass
        with (
            pytest.warns(RuntimeWarning, match="waiting for its runs"),
            Store(tmp_path).alone("a", seconds=0.1),
        ):
            assert 0.1 < time.monotonic() - started < 5
    with Store(tmp_path).alone("a"):
        pass


def hold_and_wait(folder: Path, tell: int) -> None:
    with Store(folder).alone("a"):
        os.write(tell, b"held")
        time.sleep(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_killed_process_holds_no_lock(tmp_path):
    held = Store(tmp_path)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            hold_and_wait(tmp_path, tell)
        finally:
            os._exit(1)
    os.read(told, 20)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with held.alone("a"):  # without a warning
        pass


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOTSUP, "Not supported"), NotImplementedError("no flock")]
)
def test_where_locks_do_not_work_one_warning_says_so(tmp_path, monkeypatch, error):
    def acquire(self, *arguments, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    held = Store(tmp_path)
    with pytest.warns(RuntimeWarning, match="only one sweep at a time"), held.alone("a"):
        pass


def test_a_lock_that_would_outlive_its_process_is_not_used(tmp_path, monkeypatch):
    def acquire(self, *arguments, **options):  # as where the system knows no `flock`
        self.__class__ = filelock.SoftFileLock

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.warns(RuntimeWarning, match="the folder has none"), Store(tmp_path).alone("a"):
        pass
