"""Whatever ends a sweep, the same call goes on from there and ends with the same table.

The faults are real: processes are killed, a disk is full, files are cut. What they befall runs in
children that are forked off one helper process: it has imported torch once, and has no threads that
a fork could leave behind.
"""

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest
import torch
from toys import complete, relabelled, toy_data

from memhelpers.engine import packing
from memhelpers.networks import mlp
from memhelpers.runs import files, store
from memhelpers.sweep import Training, grid, sweep

DATA = toy_data()
CALLS = "SWEEP_CALLS"  # names the folder in which the experiments say that they were called
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


# Experiments


def note(**run) -> int:
    """Write down that a run is executed; returns how often it has been before."""
    folder = os.environ.get(CALLS)
    if not folder:
        return 0
    path = Path(folder, "-".join(map(str, run.values())))
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(path.read_text().splitlines()) - 1


def network_of(width, seed):
    data = relabelled(DATA, seed)
    network = mlp(DATA.shape, [width], DATA.n_classes)
    return Training(network, data, seed, epochs=2, batch_size=8, learning_rate=0.1)


def value_of(a, b):
    note(a=a, b=b)
    return pd.DataFrame({"value": [a / (b + 3)], "text": [f"{a}, {b}"]})


def slow_value_of(a, b):
    note(a=a, b=b)
    time.sleep(0.02)
    return pd.DataFrame({"value": [a / (b + 3)]})


def killing_value_of(a, b):
    """Kills its own process the first time, at one place of the grid."""
    if note(a=a, b=b) == 0 and (a, b) == (2, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return pd.DataFrame({"value": [a / (b + 3)]})


def held_value_of(a, b):
    """Takes as long as a file is there."""
    first = note(a=a, b=b) == 0
    while first and Path(os.environ.get(CALLS, ""), "hold").exists():
        time.sleep(0.01)
    return pd.DataFrame({"value": [a / (b + 3)]})


NETWORKS = grid(width=[3, 4], seed=range(4))
VALUES = grid(a=[1, 2, 3], b=range(4))


# What the children do


def swept(name: str, folder: str, out: str | None = None, **settings) -> None:
    """Sweep in a child, and put the table where the parent finds it."""
    runs = NETWORKS if name == "network_of" else VALUES
    found = sweep(globals()[name], runs, store=folder, **settings)
    assert complete(found)
    if out:
        Path(out).write_bytes(store.encode(store.to_entry("table", found.table)))


def table_in(out: Path) -> pd.DataFrame:
    return store.join([store.decode(out.read_bytes())])


def killed_at(call: int, write: int, folder: str, out: str) -> None:
    """Sweep until a certain call of a function, or within a certain write, and die there."""
    calls = {"all": 0, "writes": 0}

    def count(frame, event, argument):
        calls["all"] += 1
        if calls["all"] == call:
            os.kill(os.getpid(), signal.SIGKILL)

    def halves(path, content, real=files.write):
        calls["writes"] += 1
        if calls["writes"] == write:
            with path.open("wb") as file:
                file.write(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, content)

    files.write = halves
    sys.setprofile(count)
    swept("network_of", folder, together=2)
    sys.setprofile(None)
    Path(out).write_text(json.dumps(calls))


def interrupted(folder: str, workers: int) -> None:
    """Sweep until Ctrl-C, which comes with the sixth run, and say how that ended."""

    def stop(done, total):
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    pool = ThreadPoolExecutor(workers) if workers else None
    with contextlib.suppress(KeyboardInterrupt):
        sweep(slow_value_of, VALUES, store=folder, executor=pool, progress=stop)
        os._exit(0)
    os._exit(130)


def interrupted_passes(folder: str) -> None:
    """Train networks in passes side by side until Ctrl-C, which comes within the second unit."""
    torch.set_num_threads(2)
    packing.networks_per_pass = lambda *a, **b: 1
    sent = []

    def stop(done, total):
        if 2 < done < 4 and not sent:
            sent.append(done)
            os.kill(os.getpid(), signal.SIGINT)

    with contextlib.suppress(KeyboardInterrupt):
        sweep(network_of, NETWORKS, store=folder, together=2, progress=stop)
        os._exit(0)
    os._exit(130)


class Nursery:
    """The helper process: forks children on demand."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", "import test_sweep_faults as faults; faults.serve()"]
        paths = os.pathsep.join(map(str, Path(__file__).parents[:2]))  # as pytest has them
        environment = {**os.environ, "MEMHELPERS_STATIC": "1", "PYTHONPATH": paths}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def _ask(self, *request) -> int:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, function: str, calls: Path | None = None, **arguments) -> int:
        """Begin one of the functions above; returns the number of the process."""
        return self._ask("start", function, str(calls or ""), arguments)

    def wait(self, pid: int) -> int:
        """Its exit status; negative: the signal that ended it."""
        return self._ask("wait", pid)

    def run(self, function: str, **arguments) -> int:
        return self.wait(self.start(function, **arguments))


def serve() -> None:
    torch.set_num_threads(1)
    sweep(network_of, NETWORKS)  # what is done once in a process, the children need not do
    for line in sys.stdin:
        what, *rest = json.loads(line)
        if what == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1])
        elif (answer := os.fork()) == 0:
            child(*rest)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def child(name: str, calls: str, arguments: dict) -> None:
    os.environ[CALLS] = calls
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    sys.stdin.close()
    try:
        globals()[name](**arguments)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.process.communicate()


@pytest.fixture
def calls(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    monkeypatch.setenv(CALLS, str(folder))
    return folder


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("MEMHELPERS_STATIC", "1")


def executions(calls: Path) -> Counter:
    """How often each run was executed, by its parameters."""
    return Counter({p.name: len(p.read_text().splitlines()) for p in calls.glob("*-*")})


def once_each(calls: Path) -> bool:
    return executions(calls) == Counter([f"{run['a']}-{run['b']}" for run in VALUES])


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def sizes(folder: Path) -> set[int]:
    """With how many the stored networks were trained, which rounding alone may not show."""
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return {len(run["trained_with"]) for run in found}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, pd.DataFrame]:
    """The tables of sweeps that nothing befell."""
    experiments = (network_of, value_of, slow_value_of, killing_value_of, held_value_of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMHELPERS_STATIC", "1")
        patch.setattr(os, "kill", lambda *a: None)
        return {
            f.__name__: sweep(f, NETWORKS if f is network_of else VALUES, together=2).table
            for f in experiments
        }


# kill -9


@pytest.fixture(scope="module")
def length(nursery, tmp_path_factory) -> dict[str, int]:
    """How many calls of functions, and how many writes, a sweep that is not killed makes."""
    folder = tmp_path_factory.mktemp("length")
    out = folder / "calls.json"
    assert nursery.run("killed_at", call=-1, write=-1, folder=str(folder), out=str(out)) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize("point", range(20))
def test_kill_9_at_a_random_point(nursery, length, undisturbed, tmp_path, point):
    draw = random.Random(point)
    within_write = point % 3 == 0
    call = -1 if within_write else draw.randrange(length["all"] // 20, length["all"])
    write = draw.randint(1, length["writes"]) if within_write else -1
    out = tmp_path / "out"
    ended = nursery.run(
        "killed_at", call=call, write=write, folder=str(tmp_path / "s"), out=str(out)
    )
    assert ended == -signal.SIGKILL
    assert not out.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sweep(network_of, NETWORKS, store=tmp_path / "s", together=2)
    assert complete(found)
    same(found.table, undisturbed["network_of"])
    assert sizes(tmp_path / "s") == {2}


def test_kill_9_again_and_again(nursery, length, undisturbed, tmp_path):
    folder, draw, kills, before = tmp_path / "s", random.Random(7), 0, []
    for _ in range(12):
        call = draw.randrange(length["all"] // 4, length["all"] // 2)
        ended = nursery.run(
            "killed_at", call=call, write=-1, folder=str(folder), out=str(folder / "o")
        )
        kills += ended == -signal.SIGKILL
        before.append(len(list(folder.glob("*.json"))))
    assert kills > 1
    assert before == sorted(before)  # nothing that was there is lost
    same(sweep(network_of, NETWORKS, store=folder, together=2).table, undisturbed["network_of"])
    assert sizes(folder) == {2}


# Several processes on one store


def test_of_two_processes_with_the_same_sweep_one_waits(nursery, undisturbed, tmp_path, calls):
    sweep_it = {"name": "slow_value_of", "folder": str(tmp_path / "s")}
    outs = [tmp_path / "a", tmp_path / "b"]
    started = [nursery.start("swept", calls, **sweep_it, out=str(out)) for out in outs]
    assert [nursery.wait(pid) for pid in started] == [0, 0]
    assert once_each(calls)
    assert len({line for path in calls.iterdir() for line in path.read_text().split()}) == 1
    for out in outs:
        same(table_in(out), undisturbed["slow_value_of"])


def test_two_processes_with_other_sweeps_share_a_store(nursery, undisturbed, tmp_path, calls):
    hold = calls / "hold"
    hold.touch()
    first = nursery.start("swept", calls, name="held_value_of", folder=str(tmp_path / "s"))
    until(lambda: executions(calls).total() == 1)
    second = nursery.start("swept", name="slow_value_of", folder=str(tmp_path / "s"))
    try:
        assert nursery.wait(second) == 0
    finally:
        hold.unlink()
    assert nursery.wait(first) == 0


def test_what_a_killed_process_was_doing_is_taken_over_at_once(
    nursery, undisturbed, tmp_path, calls
):
    folder, hold, out = tmp_path / "s", calls / "hold", tmp_path / "out"
    hold.touch()
    sweep_it = {"name": "held_value_of", "folder": str(folder)}
    first = nursery.start("swept", calls, **sweep_it)
    until(lambda: executions(calls).total() == 1)
    second = nursery.start("swept", calls, **sweep_it, out=str(out))
    os.kill(first, signal.SIGKILL)
    assert nursery.wait(first) == -signal.SIGKILL
    hold.unlink()
    assert nursery.wait(second) == 0
    same(table_in(out), undisturbed["held_value_of"])
    counted = executions(calls)
    assert counted.pop("1-0") == 2  # what was in flight, and nothing else, is done again
    assert set(counted.values()) == {1}


def until(happened, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Workers that die


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes that are forked off a server that has imported torch."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["memhelpers.sweep", "toys"])
    return ProcessPoolExecutor(workers, context)


def test_after_a_worker_of_a_pool_was_killed_the_next_call_goes_on(undisturbed, tmp_path, calls):
    with pool(2) as workers, pytest.raises(RuntimeError, match=r"finished runs are stored: call"):
        sweep(killing_value_of, VALUES, store=tmp_path / "s", executor=workers)
    before = executions(calls)
    with pool(2) as workers:
        found = sweep(killing_value_of, VALUES, store=tmp_path / "s", executor=workers)
    assert complete(found)
    assert found.done_before > 0
    same(found.table, undisturbed["killing_value_of"])
    again = executions(calls) - before
    assert again.total() == len(VALUES) - found.done_before


class Breaking(Executor):
    """Does everything at once, but for its last task: there is Ctrl-C, or a worker has died."""

    _max_workers = 20

    def __init__(self, last: int, error: BaseException):
        self.left, self.error = last, error

    def submit(self, function, *arguments):
        self.left -= 1
        if not self.left and isinstance(self.error, KeyboardInterrupt):
            raise self.error
        future = Future()
        if self.left:
            future.set_result(function(*arguments))
        else:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (BrokenExecutor("died"), RuntimeError)],
)
def test_what_workers_had_finished_when_all_ended_is_stored(tmp_path, error, raised):
    with pytest.raises(raised):
        sweep(value_of, VALUES, store=tmp_path, executor=Breaking(len(VALUES), error))
    assert sweep(value_of, VALUES, store=tmp_path).done_before == len(VALUES) - 1


def test_a_worker_of_dask_that_is_killed_costs_nothing(undisturbed, tmp_path, calls):
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    quietly = {"silence_logs": "CRITICAL", "local_directory": str(tmp_path)}
    with (
        distributed.LocalCluster(**settings, **quietly) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = sweep(killing_value_of, VALUES, store=tmp_path / "s", executor=client)
        networks = sweep(network_of, NETWORKS, executor=client.get_executor(), together=2)
    assert complete(found)
    same(found.table, undisturbed["killing_value_of"])
    same(networks.table, undisturbed["network_of"])
    assert executions(calls)["2-1"] == 2


# Damaged files


def test_a_truncated_and_a_garbled_record_are_done_again(undisturbed, tmp_path, calls):
    sweep(value_of, VALUES, store=tmp_path / "s")
    paths = sorted((tmp_path / "s").glob("*.json"))
    content = paths[3].read_bytes()
    paths[0].write_bytes(paths[0].read_bytes()[:100])
    paths[1].write_bytes(random.Random(0).randbytes(300))
    paths[2].write_bytes(b"")
    paths[3].write_bytes(content.replace(b"text", b"tent"))
    with pytest.warns(RuntimeWarning) as warned:
        found = sweep(value_of, VALUES, store=tmp_path / "s")
    told = {str(warning.message) for warning in warned}  # one each
    assert len(told) == 4
    assert all(any(path.name in message for message in told) for path in paths[:4])
    assert found.done_before == len(VALUES) - 4
    assert executions(calls).total() == len(VALUES) + 4
    same(found.table, undisturbed["value_of"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sweep(value_of, VALUES, store=tmp_path / "s").done_before == len(VALUES)


def test_a_damaged_network_is_trained_again_with_those_that_it_was_trained_with(
    undisturbed, tmp_path
):
    sweep(network_of, NETWORKS, store=tmp_path, together=2)
    path = next(path for path in tmp_path.glob("*.json") if '"seed": 1' in path.read_text())
    path.write_bytes(path.read_bytes()[:-20])
    told = []
    with pytest.warns(RuntimeWarning, match="done again"):
        found = sweep(
            network_of,
            NETWORKS,
            store=tmp_path,
            together=2,
            progress=lambda *seen: told.append(seen),
        )
    same(found.table, undisturbed["network_of"])
    assert sizes(tmp_path) == {2}
    assert max(told) == (len(NETWORKS), len(NETWORKS))


# No space left


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own that holds a few runs only, and a way to enlarge it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    with contextlib.suppress(OSError):
        if subprocess.run(mount, capture_output=True).returncode == 0:
            yield folder, ["mount", "-o", "remount,size=10m", str(folder)]
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
            return
    pytest.skip("this user may mount nothing; a full disk is simulated in the next test")


def test_on_a_full_disk_the_table_is_complete_and_the_next_call_stores_the_rest(
    small_disk, undisturbed, calls
):
    folder, enlarge = small_disk
    with pytest.warns(RuntimeWarning) as warned:
        found = sweep(value_of, VALUES, store=folder)
    (told,) = {str(warning.message) for warning in warned}  # Python shows each text once
    assert "No space left" in told
    assert "could not be stored" in told
    assert complete(found)
    same(found.table, undisturbed["value_of"])
    subprocess.run(enlarge, check=True)
    again = sweep(value_of, VALUES, store=folder)
    assert 0 < again.done_before < len(VALUES)
    assert executions(calls).total() == 2 * len(VALUES) - again.done_before
    same(again.table, undisturbed["value_of"])
    assert sweep(value_of, VALUES, store=folder).done_before == len(VALUES)


@pytest.mark.parametrize("name", ["value_of", "network_of"])
def test_what_could_not_be_stored_is_done_again_by_the_next_call(
    undisturbed, tmp_path, monkeypatch, name
):
    attempts, real = [], files.write

    def write(path, content):
        attempts.append(path)
        if 3 <= len(attempts) < 6:
            path.write_bytes(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    monkeypatch.setattr(files, "write", write)
    runs = NETWORKS if name == "network_of" else VALUES
    with pytest.warns(RuntimeWarning, match="could not be stored"):
        found = sweep(globals()[name], runs, store=tmp_path, together=2)
    same(found.table, undisturbed[name])
    again = sweep(globals()[name], runs, store=tmp_path, together=2)
    lost = 4 if name == "network_of" else 3  # a network goes with the one it was trained with
    assert again.done_before == len(runs) - lost
    same(again.table, undisturbed[name])
    assert sweep(globals()[name], runs, store=tmp_path).done_before == len(runs)


# Ctrl-C


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_stores_what_is_finished_and_starts_nothing_more(
    nursery, undisturbed, tmp_path, calls, workers
):
    pid = nursery.start("interrupted", calls, folder=str(tmp_path / "s"), workers=workers)
    assert nursery.wait(pid) == 130
    executed = executions(calls).total()
    assert 5 <= executed <= 5 + workers + 1
    found = sweep(slow_value_of, VALUES, store=tmp_path / "s")
    assert 5 <= found.done_before <= executed
    assert executions(calls).total() == executed + len(VALUES) - found.done_before
    same(found.table, undisturbed["slow_value_of"])


def test_ctrl_c_ends_passes_side_by_side(nursery, tmp_path, monkeypatch):
    pid = nursery.start("interrupted_passes", folder=str(tmp_path / "s"))
    assert nursery.wait(pid) == 130
    monkeypatch.setattr(packing, "networks_per_pass", lambda *a, **b: 1)
    found = sweep(network_of, NETWORKS, store=tmp_path / "s", together=2)
    assert found.done_before == 2
    same(found.table, sweep(network_of, NETWORKS, together=2).table)


def test_ctrl_c_in_a_run_ends_all_and_is_no_failure(tmp_path):
    def experiment(a, b):
        if (a, b) == (2, 1):
            raise KeyboardInterrupt
        return value_of(a, b)

    for workers in (None, ThreadPoolExecutor(1)):
        with pytest.raises(KeyboardInterrupt):
            sweep(experiment, VALUES, store=tmp_path / "s", executor=workers)
    assert len(list((tmp_path / "s").glob("*.json"))) in (5, 6)  # a pool had one more to do


def test_ctrl_c_in_a_measure_is_not_tried_again_in_halves(tmp_path):
    measured = []

    def measure(history):
        measured.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(network_of, NETWORKS, measure=measure, store=tmp_path, together=4)
    assert measured == [1]


def test_after_ctrl_c_at_any_time_the_next_call_does_not_wait_for_the_last(tmp_path, monkeypatch):
    real = store.Store.find

    def find(self, keys):
        real(self, keys)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "find", find)
        with pytest.raises(KeyboardInterrupt) as error:
            sweep(value_of, VALUES, store=tmp_path)
    assert error.tb is not None  # kept, as in a notebook, with all that its frames hold
    assert complete(sweep(value_of, VALUES, store=tmp_path))


def test_ctrl_c_while_networks_train_is_not_tried_again_in_halves():
    told = []

    def stop(done, total):
        if isinstance(done, float):  # within a unit
            told.append(done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(network_of, NETWORKS, together=4, progress=stop)
    assert len(told) == 1
