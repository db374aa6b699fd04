"""The executor, over a worker played by ``fake_app.py``."""

from __future__ import annotations

import gc
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent import futures
from concurrent.futures import Future

import fake_app
import pytest

import taps_wasm
from taps_wasm import _tasks
from taps_wasm._calls import task_seed


@pytest.fixture
def program(tmp_path):
    """Path of a program that behaves as ``taps-wasm`` does."""
    return fake_app.install(tmp_path)


@pytest.fixture
def executor(program):
    """An executor with two workers."""
    with taps_wasm.Executor("fake", workers=2, binary=program) as executor:
        yield executor


def until(condition, within_s=20.0):
    """Waits until something is so."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.005)


def gone(pid):
    """Whether a process has ended (and is not just waiting to be collected)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# Values in and out


def test_a_task_takes_and_gives_values(executor):
    future = executor.submit("add", 2, 3)
    assert future.result(30) == 5
    assert executor.submit("echo", bytearray(b"abc")).result(30) == b"abc"
    assert executor.submit("note", {"a": [1, None, "é"]}).result(30) == {"a": [1, None, "é"]}
    assert executor.submit("join", b"a", b"b", b"c").result(30) == b"a+b+c"
    assert executor.submit("join").result(30) == b""


def test_outputs_are_none_a_value_or_a_tuple(executor):
    assert executor.submit("nothing").result(30) is None
    assert executor.submit("pid").result(30) > 1
    assert executor.submit("both").result(30) == (7, "seven")


def test_arrays_travel(executor):
    numpy = pytest.importorskip("numpy")
    given = numpy.arange(12.0).reshape(3, 4)
    got = executor.submit("keep", given[:, ::2]).result(30)
    assert got.dtype == numpy.float64
    assert (got == given[:, ::2]).all()
    with pytest.raises(ValueError):
        got[0, 0] = 1.0
    tile = executor.submit("tile")
    assert tile.result(30).tolist() == [1.5, 2.5]
    assert len(executor.submit("untile", tile).result(30)) == 64 + 16


def test_an_argument_is_the_value_at_submission(executor):
    data = bytearray(b"before")
    gate = Future()
    future = executor.submit("join", gate, data)
    data[:] = b"after!"
    gate.set_result(b"x")
    assert future.result(30) == b"x+before"


def test_what_a_task_took_is_known(executor):
    future = executor.submit("nothing")
    future.result(30)
    assert future.stats.wall_s == 0.002
    assert future.stats.peak_memory_bytes == 4096
    assert future.stats.worker.startswith("here/")


def test_an_output_that_is_not_what_was_declared_is_a_payload_error(executor):
    with pytest.raises(taps_wasm.PayloadError, match="task `lie`.*no archive of u32"):
        executor.submit("lie").result(30)


# Dataflow


def test_futures_are_arguments(executor):
    gate = Future()
    first = executor.submit("add", gate, 1)
    second = executor.submit("add", first, first)
    assert not second.done()
    gate.set_result(20)
    assert second.result(30) == 42
    assert executor.submit("widen", second).result(30) == 42


def test_one_of_several_outputs_is_an_argument(executor):
    both = executor.submit("both")
    assert executor.submit("add", both.output(0), 1).result(30) == 8
    with pytest.raises(IndexError, match="2 outputs"):
        both.output(2)
    with pytest.raises(TypeError, match="task `add`, parameter `a`.*got tuple"):
        executor.submit("add", both, 1).result(30)


def test_types_of_the_app_pass_between_tasks(executor):
    place = executor.submit("place")
    assert executor.submit("look", place).result(30) == b"\x01opaque"
    assert executor.submit("look", place.result()).result(30) == b"\x01opaque"


def test_a_failed_argument_fails_the_task_with_its_cause(executor):
    failing = executor.submit("fail", b"trap", b"unreachable")
    after = executor.submit("look", failing)
    then = executor.submit("look", after)
    with pytest.raises(taps_wasm.UpstreamFailed, match="`place`") as caught:
        after.result(30)
    assert isinstance(caught.value.__cause__, taps_wasm.Trap)
    with pytest.raises(taps_wasm.UpstreamFailed):
        then.result(30)


def test_two_failing_arguments_fail_the_task_once(executor):
    failing = [executor.submit("fail", b"timeout", b"") for _ in range(2)]
    with pytest.raises(taps_wasm.UpstreamFailed):
        executor.submit("join", *failing).result(30)
    assert executor.submit("add", 1, 1).result(30) == 2


def test_a_chain_longer_than_the_stack_fails_to_its_end(executor):
    gate = Future()
    last = executor.submit("look", gate)
    for _ in range(3 * sys.getrecursionlimit()):
        last = executor.submit("look", last)
    gate.set_exception(KeyError("no"))
    with pytest.raises(taps_wasm.UpstreamFailed):
        last.result(30)


def test_a_value_that_does_not_fit_is_found_when_its_future_is_done(executor):
    gate = Future()
    future = executor.submit("add", gate, 1)
    gate.set_result("text")
    with pytest.raises(TypeError, match="task `add`, parameter `a` of type `u32`"):
        future.result(30)


# What is wrong at submission


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("ad", 1), ValueError, "`fake` has no task `ad`; its tasks are: add, both"),
        ((len, 1), TypeError, "Python functions do not run in the sandbox"),
        (("add", 1), TypeError, r"task `add` takes 2 arguments, got 1: add\(a: u32, b: u32\) -> u32"),
        (("add", 1, -1), ValueError, "task `add`, parameter `b` of type `u32`: expected an integer from 0 to 4294967295"),
        (("echo", "text"), TypeError, "task `echo`, parameter `data` of type `Bytes`: expected bytes.*got str"),
        (("join", b"", 7), TypeError, r"parameter `parts\[1\]`"),
        (("note", float("nan")), ValueError, "JSON"),
        (("look", {}), TypeError, "expected a future of a task that gives a `Place`, its bytes"),
    ],
)
def test_a_wrong_submission_says_what_was_expected(executor, arguments, error, says):
    with pytest.raises(error, match=says):
        executor.submit(*arguments)


def test_limits_are_checked(executor, program):
    for wrong, says in [({"timeout": 0}, "more than 0"), ({"memory": "512"}, "512 MiB"), ({"seed": -1}, "seed")]:
        with pytest.raises(ValueError, match=says):
            executor.submit("nothing", **wrong)
    with pytest.raises(ValueError, match="`workers` is 0"):
        taps_wasm.Executor("fake", workers=0, binary=program)
    with pytest.raises(ValueError, match="`kernels`"):
        taps_wasm.Executor("fake", kernels="gpu", binary=program)


def test_limits_and_seeds_reach_the_worker(program):
    with taps_wasm.Executor("fake", 1, timeout=2.5, memory="1 MiB", seed=7, binary=program) as executor:
        header = executor.submit("header").result(30)
        assert (header["timeout_ms"], header["memory_bytes"], header["kernels"]) == (2500, 1 << 20, "host")
        assert header["seed"] == task_seed(7, "header", 0)
        assert executor.submit("header").result(30)["seed"] == task_seed(7, "header", 1)
        task = taps_wasm.Task("header", timeout=1, memory=100, seed=3)
        header = executor.submit(task).result(30)
        assert (header["timeout_ms"], header["memory_bytes"], header["seed"]) == (1000, 100, 3)
        assert executor.submit(task, timeout=math.inf).result(30)["timeout_ms"] is None


def test_seeds_are_those_of_a_run():
    # Pinned in the engine, too.
    assert task_seed(7, "noop", 0) == 0xC5E67B9401C822A3
    assert task_seed(7, "noop", 1) == 0x3347F5E59B77372F


# Outcomes


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ("task-error", taps_wasm.TaskError),
        ("trap", taps_wasm.Trap),
        ("out-of-memory", taps_wasm.OutOfMemory),
        ("timeout", taps_wasm.Timeout),
        ("program-error", taps_wasm.ProgramError),
        ("payload-error", taps_wasm.PayloadError),
        ("engine-error", taps_wasm.EngineError),
        ("something-new", taps_wasm.EngineError),
    ],
)
def test_every_outcome_is_an_exception(executor, outcome, error):
    with pytest.raises(error) as caught:
        executor.submit("fail", outcome.encode(), b"a-kind").result(30)
    failure = caught.value
    assert type(failure) is error and isinstance(failure, taps_wasm.TaskFailed)
    assert (failure.outcome, failure.kind, failure.task, failure.detail) == (outcome, "a-kind", "fail", {"depth": 1})
    assert str(failure) == f"task `fail`: {outcome} (a-kind): as asked: {outcome}"
    copy = pickle.loads(pickle.dumps(failure))
    assert (type(copy), str(copy), copy.detail) == (error, str(failure), failure.detail)


def test_an_outcome_without_kinds_has_none(executor):
    failure = executor.submit("fail", b"timeout", b"").exception(30)
    assert failure.kind is None
    assert str(failure) == "task `fail`: timeout: as asked: timeout"


def test_a_worker_that_dies_is_a_lost_worker_and_replaced(program):
    with taps_wasm.Executor("fake", workers=1, binary=program) as executor:
        before = executor.submit("pid").result(30)
        with pytest.raises(taps_wasm.WorkerLost, match="SIGKILL"):
            executor.submit("die", int(signal.SIGKILL)).result(30)
        after = executor.submit("pid").result(30)
        assert before != after


def test_a_worker_that_cannot_be_replaced_fails_the_call(program, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_STARTS_ONCE", str(tmp_path / "started"))
    with taps_wasm.Executor("fake", workers=1, binary=program) as executor:
        with pytest.raises(taps_wasm.WorkerLost):
            executor.submit("die", int(signal.SIGKILL)).result(30)
        with pytest.raises(taps_wasm.EngineError, match="the bundle is gone"):
            executor.submit("pid").result(30)


def test_a_bundle_that_cannot_be_used_is_known_at_once(program):
    with pytest.raises(taps_wasm.StartError, match="no app `missing`") as caught:
        taps_wasm.Executor("missing", binary=program)
    assert caught.value.kind == "bundle"
    with pytest.raises(taps_wasm.StartError, match="SIGABRT"):
        taps_wasm.Executor("dies", binary=program)


# Cancelling


def test_a_running_task_can_be_cancelled(executor):
    future = executor.submit("sleep", 60.0)
    until(future.running)
    assert executor.cancel(future)
    with pytest.raises(taps_wasm.Cancelled):
        future.result(30)
    assert future.cancelled() and future.done()
    assert isinstance(future.exception(), futures.CancelledError)
    assert not future.cancel()


def test_a_cancelled_task_leaves_its_worker_alive(program):
    with taps_wasm.Executor("fake", workers=1, binary=program) as executor:
        pid = executor.submit("pid").result(30)
        future = executor.submit("sleep", 60.0)
        until(future.running)
        future.cancel()
        assert executor.submit("pid").result(30) == pid


def test_a_task_that_does_not_heed_a_cancel_loses_its_worker(program, monkeypatch):
    monkeypatch.setattr("taps_wasm.executor.CANCEL_WITHIN_S", 0.2)
    with taps_wasm.Executor("fake", workers=1, binary=program) as executor:
        future = executor.submit("stubborn", 60.0)
        until(future.running)
        future.cancel()
        with pytest.raises(taps_wasm.Cancelled, match="SIGKILL"):
            future.result(30)
        assert executor.submit("add", 1, 2).result(30) == 3


def test_a_waiting_task_is_cancelled_at_once(executor):
    gate = Future()
    future = executor.submit("add", gate, 1)
    after = executor.submit("add", future, 1)
    assert future.cancel() and future.cancelled()
    assert futures.wait([future], timeout=30).done == {future}
    with pytest.raises(taps_wasm.UpstreamFailed):
        after.result(30)
    gate.set_result(1)


def test_a_queued_task_is_cancelled_at_once(program):
    with taps_wasm.Executor("fake", workers=1, binary=program) as executor:
        running = executor.submit("sleep", 60.0)
        until(running.running)
        queued = executor.submit("add", 1, 1)
        assert queued.cancel()
        assert futures.wait([queued], timeout=30).done == {queued}
        running.cancel()
        assert executor.submit("add", 1, 1).result(30) == 2


# As an executor of the standard library


def test_map_gives_results_in_order(executor):
    assert list(executor.map("add", range(50), range(50))) == [2 * n for n in range(50)]


def test_workers_run_side_by_side_and_are_started_when_needed(program):
    with taps_wasm.Executor("fake", workers=3, binary=program) as executor:
        assert len(executor._children) == 1
        holding = [executor.submit("sleep", 60.0) for _ in range(6)]
        until(lambda: len(executor._children) == 3 and sum(future.running() for future in holding) == 3)
        for future in holding:
            future.cancel()


def test_as_completed_and_wait_work(executor):
    submitted = [executor.submit("add", n, n) for n in range(20)]
    assert sorted(done.result() for done in futures.as_completed(submitted, timeout=30)) == list(range(0, 40, 2))


def test_many_threads_submit(executor):
    results = []

    def submit():
        results.extend(executor.submit("add", n, 1).result(30) for n in range(50))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(list(range(1, 51)) * 8)


def test_shutdown_finishes_what_was_submitted(program):
    executor = taps_wasm.Executor("fake", workers=2, binary=program)
    pids = {executor.submit("pid").result(30)}
    gate = Future()
    later = executor.submit("add", gate, 1)
    threading.Timer(0.1, gate.set_result, [1]).start()
    executor.shutdown()
    assert later.result(0) == 2
    assert all(gone(pid) for pid in pids)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit("nothing")
    executor.shutdown()


def test_shutdown_waits_for_calls_whose_futures_are_not_done(program):
    for busy in (0, 3):
        executor = taps_wasm.Executor("fake", workers=3, binary=program)
        futures.wait([executor.submit("sleep", 0.05) for _ in range(busy)])
        gate = Future()
        last = executor.submit("add", executor.submit("add", gate, 1), 1)
        threading.Timer(0.1, gate.set_result, [1]).start()
        executor.shutdown()
        assert last.result(0) == 3
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("taps-wasm")]


def test_outputs_are_freed_with_their_futures(executor):
    gc.disable()
    try:
        first = executor.submit("echo", b"x")
        second = executor.submit("echo", first)
        third = executor.submit("echo", second)
        assert third.result(30) == b"x"
        # The thread that ran it still has it for a moment.
        executor.submit("nothing").result(30)
        gone = [weakref.ref(second), weakref.ref(third)]
        del second, third
        until(lambda: not any(future() for future in gone))
    finally:
        gc.enable()


def test_shutdown_cancels_what_has_not_begun(program):
    executor = taps_wasm.Executor("fake", workers=1, binary=program)
    running = executor.submit("sleep", 0.5)
    until(running.running)
    queued, waiting = executor.submit("nothing"), executor.submit("add", Future(), 1)
    executor.shutdown(cancel_futures=True)
    assert running.result(0) is None
    assert queued.cancelled() and waiting.cancelled()


def test_an_executor_that_was_never_used_ends_its_worker(program):
    executor = taps_wasm.Executor("fake", workers=1, binary=program)
    pid = executor._spare.pid
    executor.shutdown()
    assert gone(pid)


# Processes


def script(program, text):
    """Runs a program of a user's."""
    code = f"import os, sys, taps_wasm\nprogram = {program!r}\n" + textwrap.dedent(text)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_a_program_that_ends_without_shutdown_ends(program):
    done = script(
        program,
        """
        executor = taps_wasm.Executor("fake", 1, binary=program)
        future = executor.submit("sleep", 0.3)
        future.add_done_callback(lambda done: print("done", done.result(), flush=True))
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done None\n", "")


def test_workers_end_with_a_killed_program(program):
    done = script(
        program,
        """
        executor = taps_wasm.Executor("fake", 1, binary=program)
        print(executor.submit("pid").result(), flush=True)
        executor.submit("sleep", 60.0)
        os.kill(os.getpid(), 9)
        """,
    )
    until(lambda: gone(int(done.stdout)))


def test_a_forked_process_is_told_to_make_its_own(program):
    done = script(
        program,
        """
        executor = taps_wasm.Executor("fake", 1, binary=program)
        executor.submit("nothing").result()
        child = os.fork()
        if child == 0:
            try:
                executor.submit("nothing")
            except RuntimeError as error:
                print(error, flush=True)
            executor.shutdown()
            with taps_wasm.Executor("fake", 1, binary=program) as own:
                print(own.submit("add", 1, 1).result(), flush=True)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(executor.submit("add", 2, 2).result())
        executor.shutdown()
        """,
    )
    assert done.returncode == 0, done.stderr
    assert "made by another process" in done.stdout
    assert done.stdout.splitlines()[1:] == ["2", "4"]


# Names of tasks, and the program


def test_a_task_object_is_called_and_pickled(program, monkeypatch):
    monkeypatch.setenv("TAPS_WASM_BIN", program)
    add = pickle.loads(pickle.dumps(taps_wasm.Task("add", bundle="fake", timeout=5)))
    try:
        assert add(1, 2) == 3
    finally:
        # Called tasks share an executor that lives as long as the process, which is that of all tests here.
        _tasks._shared.pop((os.getpid(), "fake")).shutdown()
    assert (add.name, add.timeout, repr(add)) == ("add", 5, "Task('add', bundle='fake')")
    with pytest.raises(TypeError, match="has no bundle"):
        taps_wasm.Task("add")(1, 2)


def test_tasks_lists_what_a_bundle_has(program):
    described = {task.name: task for task in taps_wasm.tasks("fake", binary=program)}
    assert described["add"].signature == "add(a: u32, b: u32) -> u32"
    assert described["join"].takes_rest and described["add"].help == "Does add."
    with pytest.raises(taps_wasm.StartError, match="no app `missing`"):
        taps_wasm.tasks("missing", binary=program)


def test_the_program_is_found(program, tmp_path, monkeypatch):
    monkeypatch.setenv("TAPS_WASM_BIN", program)
    assert taps_wasm.binary() == program
    monkeypatch.setenv("TAPS_WASM_BIN", str(tmp_path / "nothing"))
    with pytest.raises(taps_wasm.StartError, match="`TAPS_WASM_BIN` is .*nothing"):
        taps_wasm.binary()
    monkeypatch.delenv("TAPS_WASM_BIN")
    # Beside the interpreter lies the real one, where the wheel is installed.
    monkeypatch.setattr("taps_wasm._child._is_program", lambda path: str(path) == program)
    monkeypatch.setenv("PATH", os.path.dirname(program))
    assert taps_wasm.binary() == program
    monkeypatch.setenv("PATH", "")
    with pytest.raises(taps_wasm.StartError, match="pip install taps-wasm"):
        taps_wasm.binary()
