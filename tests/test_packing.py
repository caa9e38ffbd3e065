"""How members are packed: passes, threads, and what happens when memory runs out."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from memhelpers.engine import packing
from memhelpers.engine.packing import networks_per_pass, passes_side_by_side
from memhelpers.networks import mlp, paper_cnn
from memhelpers.training import fit
from tests.toys import toy_data, toy_mlp

DATA = toy_data()


def run(groups, train, together=2, workers=2):
    stopped = threading.Event()
    return packing.run(groups, train, together=together, workers=workers, stop=stopped.set)


def test_small_networks_are_trained_many_at_once_and_large_ones_few():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    tiny, shape = mlp((1, 14, 14), [16, 16], 10), (1, 14, 14)
    assert networks_per_pass(tiny, shape, 100, cpu) >= 10
    assert networks_per_pass(tiny, shape, 100, gpu) > networks_per_pass(tiny, shape, 100, cpu)
    assert networks_per_pass(tiny, shape, 10_000, cpu) < networks_per_pass(tiny, shape, 100, cpu)
    large = mlp((1, 14, 14), [2048, 2048], 10)
    assert networks_per_pass(large, shape, 100, cpu) == 1


def test_the_maps_of_a_convolution_count_when_memory_is_shared_out():
    shape, batch_size = (3, 32, 32), 128
    together = networks_per_pass(paper_cnn(shape, 10), shape, batch_size, torch.device("cuda"))
    first_maps = 3 * 200 * 28 * 28 * batch_size * 4  # bytes: convolution, batch norm, ReLU
    assert 1 < together < 15e9 / first_maps


def test_a_cpu_trains_one_pass_a_core_and_a_gpu_one():
    assert passes_side_by_side(torch.device("cpu")) == torch.get_num_threads()
    assert passes_side_by_side(torch.device("cuda")) == 1


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_member_is_trained_once_and_only_with_its_group(workers):
    groups = [[0, 1, 2, 3, 4], [5], [6, 7, 8]]
    passes = run(groups, lambda members: members, workers=workers)
    assert sorted(passes) == [[0, 1], [2, 3], [4], [5], [6, 7], [8]]


def test_passes_run_side_by_side_on_one_core_each_and_the_cores_come_back():
    before, seen, both = torch.get_num_threads(), [], threading.Barrier(2, timeout=20)
    torch.set_num_threads(2)
    try:

        def train(members):
            both.wait()  # goes on only when the other pass is under way, too
            seen.append(torch.get_num_threads())

        run([[0], [1]], train)
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_stops_the_others_and_is_the_one_that_is_raised():
    stopped, started = threading.Event(), []

    def train(members):
        started.append(members)
        if members == [1]:  # of the second worker, when the first is waited for
            time.sleep(0.05)
            raise ZeroDivisionError("wrong")
        if not stopped.wait(20):
            raise AssertionError("was not stopped")
        raise packing.Stopped

    with pytest.raises(ZeroDivisionError, match="wrong"):
        packing.run([[k] for k in range(6)], train, together=1, workers=2, stop=stopped.set)
    assert len(started) <= 3


def test_an_interrupted_fit_ends_its_threads():
    alive = threading.active_count()

    def interrupt(done, total):
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            toy_mlp(DATA), DATA, seeds=range(4), epochs=10**6, workers=2, together=1,
            evaluate=(), progress=interrupt,
        )  # fmt: skip
    assert threading.active_count() == alive


@pytest.mark.parametrize(("workers", "slow"), [(1, 0), (2, 0), (2, 0.5)])
def test_ctrl_c_ends_all_passes_at_once_and_stays_a_keyboard_interrupt(monkeypatch, workers, slow):
    """A true signal, which reaches the caller's thread while it waits, or while it submits."""
    alive, pressed = threading.active_count(), []
    submit = ThreadPoolExecutor.submit

    def slowly(*given):
        future = submit(*given)
        time.sleep(slow)
        return future

    monkeypatch.setattr(ThreadPoolExecutor, "submit", slowly)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it

    def press(done, total):
        if done > 3 and not pressed:
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            fit(
                toy_mlp(DATA), DATA, seeds=range(4), epochs=10**4, workers=workers, together=1,
                evaluate=(), progress=press, keep_networks=False,
            )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - pressed[0] < 5
    while threading.active_count() > alive and time.monotonic() - pressed[0] < 5:
        time.sleep(0.01)  # a thread that was just being started is not waited for
    assert threading.active_count() == alive


def test_threads_and_stacks_change_results_by_rounding_at_most():
    def curves(**packed):
        history = fit(
            toy_mlp(DATA), DATA, seeds=range(5), epochs=3, batch_size=4, learning_rate=0.2,
            momentum=0.5, record=["loss"], **packed,
        )  # fmt: skip
        return history.epochs, history.trajectories.loss

    alone, losses = curves(workers=1, together=1)
    for packed in ({"workers": 2, "together": 1}, {"workers": 3, "together": 2}, {"together": 5}):
        again, others = curves(**packed)
        np.testing.assert_allclose(again.to_numpy(float), alone.to_numpy(float), rtol=2e-5)
        np.testing.assert_allclose(others, losses, rtol=2e-4, atol=2e-6)
    # Threads alone change nothing: a network's own arithmetic is the same.
    again, others = curves(workers=2, together=1)
    assert again.equals(alone)
    assert np.array_equal(others, losses)


def test_threads_to_come_have_as_many_cores_as_before():
    cores, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        run([[0, 1]], lambda members: members, together=1, workers=2)
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(cores)
    assert seen == [3]


def test_when_memory_runs_out_all_passes_are_halved():
    sizes = []

    def train(members):
        if len(members) > 2:
            raise MemoryError
        sizes.append(len(members))
        return members

    with pytest.warns(RuntimeWarning, match="4 networks together; going on with 2"):
        passes = run([list(range(8)), [8, 9, 10, 11]], train, together=4, workers=1)
    assert sorted(m for some in passes for m in some) == list(range(12))
    assert set(sizes) == {2}
