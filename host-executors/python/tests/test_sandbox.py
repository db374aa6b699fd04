"""The executor over the real program: tasks of built-in apps, in their sandboxes.

Skipped where there is no `taps-wasm`: `TAPS_WASM_BIN` names one, the wheel brings one.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

import taps_wasm

try:
    PROGRAM = taps_wasm.binary()
except taps_wasm.StartError:
    pytest.skip("there is no taps-wasm here", allow_module_level=True)


@pytest.fixture(scope="module")
def mapreduce():
    """An executor for tasks of mapreduce."""
    with taps_wasm.Executor("mapreduce", workers=2, seed=1, binary=PROGRAM) as executor:
        yield executor


def test_numbers_go_in_and_bytes_come_out(mapreduce):
    text = mapreduce.submit("generate_task", 7, 200).result(60)
    assert isinstance(text, bytes) and len(text.split()) == 200
    assert mapreduce.submit("generate_task", 7, 200).result(60) == text
    assert mapreduce.submit("generate_task", 8, 200).result(60) != text


def test_tasks_of_an_app_are_chained(mapreduce):
    texts = [mapreduce.submit("generate_task", seed, 100) for seed in range(4)]
    counts = [mapreduce.submit("map_task", text) for text in texts]
    total = mapreduce.submit("reduce_task", *counts)
    summary = mapreduce.submit("summary_task", total, 5, True)
    made, table = summary.result(60)
    assert isinstance(made, bytes) and isinstance(table, bytes) and table
    words = b" ".join(text.result(60) for text in texts).split()
    most = max(set(words), key=words.count)
    assert str(words.count(most)).encode() in table
    assert summary.stats.peak_memory_bytes > 0 and summary.stats.wall_s > 0


def test_arrays_go_through_a_sandbox():
    numpy = pytest.importorskip("numpy")
    generator = numpy.random.default_rng(3)
    half = generator.standard_normal((64, 64))
    matrix = half @ half.T + 64 * numpy.eye(64)
    for kernels in ("host", "guest"):
        with taps_wasm.Executor("cholesky", workers=1, kernels=kernels, binary=PROGRAM) as executor:
            lower = executor.submit("potrf", matrix).result(60)
            product = executor.submit("gemm", matrix, half, half).result(60)
        # Tiles are stored by columns: NumPy sees them transposed.
        assert numpy.allclose(lower.T, numpy.linalg.cholesky(matrix))
        assert numpy.allclose(product.T, matrix - half.T @ half)


def test_large_arguments_and_outputs_travel():
    data = os.urandom(1 << 20) * 8
    numpy = pytest.importorskip("numpy")
    with taps_wasm.Executor("cholesky", workers=1, binary=PROGRAM) as executor:
        tile = numpy.frombuffer(data, dtype="u1").astype("f8").reshape(1024, -1)[:, :1024]
        zero = numpy.zeros((1024, 1024))
        assert (executor.submit("gemm", tile, zero, zero).result(120) == tile).all()


def test_a_task_that_fails_says_how(mapreduce):
    numpy = pytest.importorskip("numpy")
    with taps_wasm.Executor("cholesky", workers=1, binary=PROGRAM) as executor:
        with pytest.raises(taps_wasm.TaskFailed) as caught:
            executor.submit("potrf", -numpy.eye(8)).result(60)
        assert isinstance(caught.value, (taps_wasm.TaskError, taps_wasm.Trap))
        assert caught.value.task == "potrf" and caught.value.message
        with pytest.raises(taps_wasm.TaskFailed):
            executor.submit("potrf", b"no array at all").result(60)


def test_limits_hold(mapreduce):
    started = time.monotonic()
    with pytest.raises(taps_wasm.Timeout):
        mapreduce.submit("generate_task", 1, 2**32 - 1, timeout=0.2).result(60)
    assert time.monotonic() - started < 30
    with pytest.raises(taps_wasm.OutOfMemory):
        mapreduce.submit("generate_task", 1, 10, memory="1 MiB").result(60)


def test_a_running_task_is_cancelled(mapreduce):
    future = mapreduce.submit("generate_task", 1, 2**32 - 1)
    while not future.running():
        time.sleep(0.001)
    threading.Timer(0.05, future.cancel).start()
    with pytest.raises(taps_wasm.Cancelled):
        future.result(60)
    assert mapreduce.submit("generate_task", 7, 3).result(60)


def test_a_killed_worker_is_lost_and_replaced():
    with taps_wasm.Executor("mapreduce", workers=1, binary=PROGRAM) as executor:
        executor.submit("generate_task", 7, 3).result(60)
        (child,) = list(executor._children)
        future = executor.submit("generate_task", 1, 2**32 - 1)
        while not future.running():
            time.sleep(0.001)
        time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(taps_wasm.WorkerLost, match="SIGKILL"):
            future.result(60)
        assert executor.submit("generate_task", 7, 3).result(60)


def test_an_app_that_does_not_exist_is_known_at_once():
    with pytest.raises(taps_wasm.StartError, match="no-such-app"):
        taps_wasm.Executor("no-such-app", binary=PROGRAM)
    with pytest.raises(taps_wasm.StartError, match="no-such-app"):
        taps_wasm.tasks("no-such-app", binary=PROGRAM)
