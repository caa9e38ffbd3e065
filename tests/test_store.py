"""The store of finished runs: what goes in comes out, and a run belongs to one sweep at a time."""

import contextlib
import errno
import json
import os
import shutil
import signal
import time
import warnings
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhelpers.errors import ArgumentError
from memhelpers.runs import files, store
from memhelpers.runs.store import Claims, Store, decode, encode, join, key_of

TABLE = pd.DataFrame({"loss": [0.1, 1 / 3], "ended": ["fitted", "epochs"], "epochs": [3, 4]})
KEYS = [key_of(number) for number in range(6)]


def contents(*keys: str) -> dict[str, bytes]:
    return {key: encode(key, TABLE.assign(which=key[:4]), {"seconds": 1.5}) for key in keys}


# What goes in comes out

KINDS = ["bool", "int8", "int64", "uint8", "uint64", "float16", "float32", "float64"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


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
    entry = decode(encode(KEYS[0], table, {}))
    pd.testing.assert_frame_equal(entry.table, table, check_exact=True)
    for name in table.columns:
        if table[name].dtype.kind == "f":
            old, new = table[name].to_numpy(), entry.table[name].to_numpy()
            number = ~np.isnan(old)
            assert old[number].tobytes() == new[number].tobytes()  # the sign of zero, too


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(tables(), min_size=1, max_size=3))
def test_tables_are_joined_as_pandas_would(several):
    entries = [decode(encode(KEYS[0], table, {})) for table in several]
    expected = pd.concat(several, ignore_index=True)
    pd.testing.assert_frame_equal(join(entries), expected, check_exact=True)


def test_a_stored_run_can_be_read_without_this_package(tmp_path):
    Store(tmp_path).put(contents(KEYS[0]))
    run = json.loads((tmp_path / f"{KEYS[0]}.json").read_text())
    with (tmp_path / "table.csv").open("w", newline="") as file:
        file.write(run["table"]["csv"])
    read = pd.read_csv(tmp_path / "table.csv")
    assert read["loss"].tolist() == TABLE["loss"].tolist()
    assert run["seconds"] == 1.5
    assert run["table"]["columns"]["loss"] == "float64"


@pytest.mark.parametrize(
    "table", [{"a": [1]}, pd.DataFrame(), pd.DataFrame({"a": [[1]]}), TABLE.set_index("ended")]
)
def test_a_table_that_cannot_be_kept_is_refused(table):
    with pytest.raises(ArgumentError):
        encode(KEYS[0], table, {})


def test_keys_tell_types_apart_and_do_not_depend_on_the_order_of_names():
    assert len({key_of({"a": value}) for value in (1, 1.0, True, "1", None)}) == 5
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


# Finding and storing


def test_runs_are_found_by_their_keys(tmp_path):
    folder = tmp_path / "sweeps" / "deep"
    Store(folder).put(contents(*KEYS[:3]))
    found = Store(folder).find(KEYS[1:5])
    assert list(found) == KEYS[1:3]
    assert found[KEYS[1]].table["which"].tolist() == [KEYS[1][:4]] * 2
    assert found[KEYS[1]].about == {"seconds": 1.5}


def test_two_stores_become_one_by_copying_files(tmp_path):
    Store(tmp_path / "a").put(contents(*KEYS[:2]))
    Store(tmp_path / "b").put(contents(*KEYS[2:4]))
    for path in (tmp_path / "a").glob("*.json"):
        shutil.copy(path, tmp_path / "b")
    assert list(Store(tmp_path / "b").find(KEYS)) == KEYS[:4]


def test_thousands_of_runs_are_read_within_a_second(tmp_path):
    keys = [key_of(["many", number]) for number in range(2000)]
    held = Store(tmp_path)
    for key in keys:  # without waiting for the disk
        held.path(key).write_bytes(encode(key, TABLE, {"determined_by": ["x" * 60] * 30}))
    started = time.process_time()
    table = join(list(held.find(keys).values()))
    assert time.process_time() - started < 1
    assert len(table) == 4000


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"store: given .*file"):
        Store(tmp_path / "file")


# Damage


def damaged(tmp_path: Path, content: bytes) -> str:
    """The one warning that comes with a damaged run, which then counts as missing."""
    held = Store(tmp_path)
    held.path(KEYS[0]).write_bytes(content)
    with pytest.warns(RuntimeWarning) as warned:
        assert held.find(KEYS[:1]) == {}
    (one,) = warned
    return str(one.message)


def test_a_run_that_is_cut_off_anywhere_is_done_again_with_a_warning_that_names_it(tmp_path):
    content = contents(KEYS[0])[KEYS[0]]
    for end in range(0, len(content) - 1, 37):
        message = damaged(tmp_path, content[:end])
        assert "done again" in message
        assert f"{KEYS[0]}.json" in message


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    content = contents(KEYS[0])[KEYS[0]]
    whole = decode(content)
    for place in range(0, len(content), 11):
        for bit in (1, 32):
            flipped = bytearray(content)
            flipped[place] ^= bit
            with contextlib.suppress(ValueError, KeyError, TypeError):
                pd.testing.assert_frame_equal(decode(bytes(flipped)).table, whole.table)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "truncated or garbled"),
        (b"\xff\x00garbage", "truncated or garbled"),
        (b"[1]", "no run"),
        (b"{}", "format None"),
        (contents(KEYS[0])[KEYS[0]].replace(b'"format": 1', b'"format": 2'), "format 2, not 1"),
        (contents(KEYS[1])[KEYS[1]], "holds another run"),
        (contents(KEYS[0])[KEYS[0]].replace(b"fitted", b"fatted"), "altered"),
        (b'{"format": 1, "key": 1, "table": 1}', "altered"),
    ],
)
def test_damage_is_told_apart(tmp_path, content, said):
    assert said in damaged(tmp_path, content)


def test_a_damaged_run_is_replaced(tmp_path):
    damaged(tmp_path, b"half")
    Store(tmp_path).put(contents(KEYS[0]))
    assert list(Store(tmp_path).find(KEYS)) == KEYS[:1]


class Crash(BaseException):
    """The process is gone."""


def test_runs_trained_together_are_there_together_whenever_the_process_dies(tmp_path):
    real = (files.write, Path.replace, Path.unlink)
    for place in range(40):
        held, steps = Store(tmp_path / str(place)), iter(range(100))

        def step(steps=steps, place=place):
            if next(steps) >= place:
                raise Crash

        def write(path, content, step=step):
            try:
                step()
            except Crash:
                path.write_bytes(content[: len(content) // 2])
                raise
            real[0](path, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "write", write)
            patch.setattr(Path, "replace", lambda *a, step=step: (step(), real[1](*a))[1])
            patch.setattr(Path, "unlink", lambda *a, step=step, **b: (step(), real[2](*a, **b))[1])
            with contextlib.suppress(Crash):
                held.put(contents(*KEYS[:3]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = Store(tmp_path / str(place)).find(KEYS)
        assert len(found) in (0, 3)
        if next(steps) < place:
            assert len(found) == 3
            return
    pytest.fail("it never came to its end")


def test_an_error_of_the_disk_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.replace(path, b"former")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, b"new")
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_old_leftovers_of_a_crash_are_cleared_and_fresh_ones_left(tmp_path):
    Store(tmp_path)
    old, fresh = tmp_path / ".a.json.1.tmp", tmp_path / "units" / ".b.json.2.tmp"
    for path in (old, fresh):
        path.write_text("half")
    os.utime(old, (0, 0))
    assert Store(tmp_path).keys() == set()
    assert not old.exists()
    assert fresh.exists()


# Claims


def test_a_run_is_claimed_by_one_sweep_at_a_time(tmp_path):
    held = Store(tmp_path)
    with Claims(held) as one, Claims(held) as two:
        assert one.take(KEYS[:3]) == KEYS[:3]
        assert two.take(KEYS[2:4]) == KEYS[3:4]
        one.release(KEYS[2:3])
        assert two.take(KEYS[2:4]) == KEYS[2:4]
        assert one.take(KEYS[:3]) == KEYS[:2]
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["all.lock"]


def test_a_run_that_another_sweep_has_finished_meanwhile_is_not_claimed(tmp_path):
    held = Store(tmp_path)
    with Claims(held) as one, Claims(held) as two:
        one.take(KEYS[:1])
        held.put(contents(KEYS[0]))
        assert two.take(KEYS[:2]) == KEYS[1:2]
        one.release(KEYS[:1])
        assert two.take(KEYS[:2]) == KEYS[1:2]


def test_a_damaged_run_may_be_claimed_until_another_sweep_has_replaced_it(tmp_path):
    damaged(tmp_path, b"half")
    one, two = Store(tmp_path), Store(tmp_path)
    for held in (one, two):
        with pytest.warns(RuntimeWarning):
            held.find(KEYS)
    with Claims(one) as first, Claims(two) as second:
        assert first.take(KEYS[:1]) == KEYS[:1]
        one.put(contents(KEYS[0]))
        first.release(KEYS[:1])
        assert second.take(KEYS[:1]) == []


def test_without_a_store_everything_is_free():
    with Claims(None) as claims:
        assert claims.take(KEYS) == KEYS
        claims.release(KEYS)


def claim_and_wait(held: Store, tell: int) -> None:
    """In a child: claim all, with a child of its own that lives on."""
    with Claims(held) as claims:
        claims.take(KEYS)
        grandchild = os.fork()
        if grandchild:
            os.write(tell, str(grandchild).encode())
        time.sleep(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_killed_process_claims_nothing_even_if_its_children_live(tmp_path):
    held = Store(tmp_path)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            claim_and_wait(held, tell)
        finally:
            os._exit(1)
    grandchild = int(os.read(told, 20))
    with Claims(held) as claims:
        assert claims.take(KEYS) == []
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.kill(grandchild, 0)  # lives
        assert claims.take(KEYS) == KEYS
    os.kill(grandchild, signal.SIGKILL)


@pytest.mark.parametrize("error", [OSError(errno.ENOTSUP, "Not supported"), NotImplementedError()])
def test_where_locks_do_not_work_sweeps_go_on_and_say_so(tmp_path, monkeypatch, error):
    def acquire(self, *arguments, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    claims = Claims(Store(tmp_path))
    with pytest.warns(RuntimeWarning, match="only one sweep at a time"):
        claims.__enter__()
    assert claims.take(KEYS) == KEYS
    claims.release(KEYS)
    claims.__exit__()


def test_locks_that_keep_nobody_out_are_noticed(tmp_path, monkeypatch):
    class Open:
        def __init__(self, *a, **b): ...
        def acquire(self, *a, **b): ...
        def release(self): ...

    monkeypatch.setattr(store, "_lock", Open)
    with pytest.warns(RuntimeWarning, match="keep nobody out"), Claims(Store(tmp_path)):
        pass


def test_locks_that_fail_later_do_not_end_the_sweep(tmp_path, monkeypatch):
    with Claims(Store(tmp_path)) as claims:
        claims.take(KEYS[:1])
        monkeypatch.setattr(claims, "_all", lambda: (_ for _ in ()).throw(OSError("gone")))
        with pytest.warns(RuntimeWarning, match="gone"):
            assert claims.take(KEYS) == KEYS
