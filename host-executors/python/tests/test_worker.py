"""The shim by itself: interrupts, forks and children that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Iterator

import pytest
from harness import HERE, PYTHON_DIR, blob
from taps_wasm import _memory, _program
from taps_wasm import _worker as shim


@pytest.fixture
def settings(tmp_path: Any) -> Iterator[dict]:
    package = tmp_path / "package"
    package.write_bytes(b"package")
    (tmp_path / "cancel").mkdir()
    yield {
        "run": str(tmp_path),
        "version": "0.1.0",
        "protocol": 1,
        "digest": "d" * 64,
        "path": str(package),
        "binary": os.path.join(HERE, "fake_worker.py"),
        "cancel_dir": str(tmp_path / "cancel"),
        "keep": False,
        "wrap": False,
    }
    shim.close(str(tmp_path))


def call(settings: dict, task: str, operation: str, **options: Any) -> Any:
    """One attempt's ``(id, status, report, outs)``."""
    value = shim.run(settings, [[task, []]], None, [blob(operation, task, **options)], ())
    assert value[0] == "done", value
    return value[1][0]


def pid_of(result: Any) -> int:
    return json.loads(result[2])["pid"]


def test_a_child_serves_call_after_call(settings: dict) -> None:
    first, second = call(settings, "1:0", "echo"), call(settings, "2:0", "echo")
    assert first[1] == second[1] == "ok"
    assert pid_of(first) == pid_of(second)


def test_a_child_that_died_while_idle_costs_no_task(settings: dict) -> None:
    pid = pid_of(call(settings, "1:0", "echo"))
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    again = call(settings, "2:0", "echo")
    assert again[1] == "ok" and pid_of(again) != pid


def test_a_child_that_dies_at_work_loses_its_batch(settings: dict) -> None:
    header = [["1:0", []], ["2:0", []]]
    value = shim.run(settings, header, None, [blob("echo", "1:0"), blob("die", "2:0")], ())
    assert [(task, status) for task, status, _, _ in value[1]] == [("1:0", "lost"), ("2:0", "lost")]
    assert "SIGKILL" in value[1][0][2]


def test_children_of_another_run_are_ended(settings: dict) -> None:
    pid = pid_of(call(settings, "1:0", "echo"))
    other = dict(settings, run=settings["run"] + "-other")
    assert pid_of(call(other, "1:0", "echo")) != pid
    assert not os.path.exists(f"/proc/{pid}")
    shim.close(other["run"])


def test_a_child_that_is_busy_when_its_run_ends_is_ended_after_it(settings: dict) -> None:
    results = []
    caller = threading.Thread(target=lambda: results.append(call(settings, "1:0", "sleep", seconds=0.5)))
    caller.start()
    while not shim.pool().busy:
        time.sleep(0.01)
    shim.close(settings["run"])
    caller.join()
    assert results[0][1] == "ok"
    assert not os.path.exists(f"/proc/{pid_of(results[0])}")
    assert not shim.pool().free


def test_a_cancel_before_the_start_and_one_by_file(settings: dict) -> None:
    shim.cancel(settings["run"], ["1:0"])
    assert call(settings, "1:0", "sleep", seconds=60)[1] == "cancelled"
    with open(os.path.join(settings["cancel_dir"], "2:0"), "w"):
        pass
    assert call(settings, "2:0", "sleep", seconds=60)[1] == "cancelled"
    assert call(settings, "3:0", "echo")[1] == "ok"


def test_without_the_package_the_call_asks_for_it(settings: dict) -> None:
    blind = dict(settings, path="/no/such/package", run=settings["run"] + "-blind")
    header, attempts = [["1:0", []]], [blob("echo", "1:0")]
    assert shim.run(blind, header, None, attempts, ()) == ("need-package",)
    assert shim.run(blind, header, b"package", attempts, ())[0] == "done"
    assert shim.run(blind, header, None, attempts, ())[0] == "done"
    # What reads such a value is asked for, too, and not failed.
    assert shim.run(blind, [["2:0", [[0, "1:0", 0]]]], None, attempts, (("need-package",),)) == ("need-package",)
    shim.close(blind["run"])


def test_a_fork_has_children_of_its_own(settings: dict) -> None:
    pid = pid_of(call(settings, "1:0", "echo"))
    forked = os.fork()
    if forked == 0:
        code = 1
        try:
            result = call(settings, "2:0", "echo")
            code = 0 if result[1] == "ok" and pid_of(result) != pid else 2
            shim.pool().close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    assert pid_of(call(settings, "3:0", "echo")) == pid


INTERRUPTED = """
import json, sys
sys.path.insert(0, {python_dir!r})
from taps_wasm import _worker as shim
settings = json.loads({settings!r})
def call(task, line):
    return shim.run(settings, [[task, []]], None, [line.encode() + b"\\n"], ())[1][0]
first = call("1:0", json.dumps({{"op": "sleep", "id": "1:0", "seconds": 60, "count": {count!r}}}))
second = call("2:0", json.dumps({{"op": "echo", "id": "2:0"}}))
print(json.dumps([[status, json.loads(bytes(report))] for _, status, report, _ in (first, second)]))
"""


def test_an_interrupt_asks_the_child_and_keeps_it(settings: dict, tmp_path: Any) -> None:
    """What Ray's cancel does: a KeyboardInterrupt in the thread that waits for the child."""
    count = str(tmp_path / "count")
    program = INTERRUPTED.format(python_dir=PYTHON_DIR, settings=json.dumps(settings), count=count)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    end = time.monotonic() + 20
    while not os.path.exists(count) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, _ = process.communicate(timeout=20)
    (first, said), (second, after) = json.loads(out)
    assert (first, said["said"]) == ("not-ok", "cancelled")
    assert second == "ok" and after["pid"] == said["pid"]
    assert time.monotonic() - began < 5


def test_a_program_of_another_architecture_is_named(settings: dict, tmp_path: Any) -> None:
    ours, other = ("aarch64", 62) if os.uname().machine == "aarch64" else (os.uname().machine, 183)
    named = {62: "x86_64", 183: "aarch64"}[other]
    program = tmp_path / "taps-wasm"
    program.write_bytes(b"\x7fELF\2\1\1" + bytes(9) + b"\2\0" + other.to_bytes(2, "little") + bytes(44))
    program.chmod(0o755)
    elsewhere = dict(settings, binary=str(program))
    kind, reason, text = shim.run(elsewhere, [["1:0", []]], None, [blob("echo", "1:0")], ())
    assert (kind, reason) == ("setup-failed", "architecture")
    for part in (f"executor.worker_binary = {program}", f"a program for {named}", f" is {ours}:", "TAPS_WASM_BIN"):
        assert part in text
    # One that runs here is none of these, nor is a script.
    assert _program.find(dict(settings, binary=sys.executable)) == sys.executable
    assert call(settings, "2:0", "echo")[1] == "ok"


LARGE = 1_000_001


@pytest.fixture
def sharing(settings: dict, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setenv("TAPS_FAKE_SHARES", "1")
    return dict(settings, keep=True, wrap=True)


def reads(settings: dict, task: str, operation: str, *values: Any, **options: Any) -> Any:
    """One attempt that reads the first output of each value: what it said, and its own value."""
    names = [[at, f"9{at}:0", 0] for at in range(len(values))]
    value = shim.run(settings, [[task, names]], None, [blob(operation, task, **options)], values)
    assert value[0] == "done" and value[1][0][1] == "ok", value
    return json.loads(bytes(shim.unwrapped(value[1][0][2]))), value


def output(value: Any) -> bytes:
    return bytes(shim.unwrapped(value[1][0][3][0]))


def test_large_payloads_are_lent_and_small_ones_sent(sharing: dict) -> None:
    large, small = b"l" * LARGE, b"s" * 1000
    said, _ = reads(sharing, "1:0", "sizes", large, small, large[:200_000])
    assert said["came"] == ["lent", "inline", "lent"]
    assert [size for _, size, _ in said["said"]] == [LARGE, 1000, 200_000]
    # The same memory again, with less in it: the fake looks at its end.
    said, value = reads(sharing, "2:0", "step", b"a" * 150_000)
    assert said["came"] == ["lent"] and output(value) == b"b" + b"a" * 149_999
    kept = [lent.capacity for child in shim.pool().free for lent in child.memory.lent]
    assert len(kept) == 2 and min(kept) >= 150_000


def test_what_a_child_still_reads_is_not_lent_again(sharing: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPS_FAKE_HOLDS", "1")
    said, _ = reads(sharing, "1:0", "sizes", b"l" * LARGE)
    assert said["came"] == ["lent"]
    assert [child.memory.lent for child in shim.pool().free] == [[]]


def test_outputs_are_given_held_and_freed(sharing: dict) -> None:
    _, first = reads(sharing, "1:0", "make", n=LARGE)
    assert output(first) == bytes(LARGE)
    said, second = reads(sharing, "2:0", "step", first)
    assert said["came"] == ["held"] and output(second) == b"\1" + bytes(LARGE - 1)
    # So it is for what an engine keeps apart from what it tells.
    _, data = shim.split(second)
    said, third = reads(sharing, "3:0", "step", data)
    assert said["came"] == ["held"] and output(third)[0] == 2
    # The first is not held any more, and is still what it was; dropped, it is said to be free.
    said, _ = reads(sharing, "4:0", "sizes", first)
    assert said["came"] == ["lent"] and said["free"] == 0
    del first
    said, _ = reads(sharing, "5:0", "echo")
    assert said["free"] == 1


def test_an_output_of_another_child_is_lent(sharing: dict) -> None:
    said, value = reads(sharing, "1:0", "make", n=LARGE)
    os.kill(said["pid"], signal.SIGKILL)
    time.sleep(0.2)
    said, value = reads(sharing, "2:0", "step", value)
    assert said["came"] == ["lent"] and output(value)[:2] == b"\1\0"


def test_without_memory_to_share_all_is_sent(sharing: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> int:
        raise OSError("no more")

    monkeypatch.setattr(os, "memfd_create", refused)
    said, value = reads(sharing, "1:0", "step", b"a" * LARGE)
    assert said["came"] == ["inline"] and output(value) == b"b" + b"a" * (LARGE - 1)


def test_an_output_that_cannot_be_mapped_is_copied(sharing: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(_memory.Given):
        def __new__(cls, *_: Any, **__: Any) -> Any:
            raise OSError("no more")

    monkeypatch.setattr(_memory, "Given", Refused)
    _, value = reads(sharing, "1:0", "make", n=LARGE)
    assert output(value) == bytes(LARGE)
    said, _ = reads(sharing, "2:0", "sizes", value)
    assert said["came"] == ["lent"] and said["free"] == 1


def test_descriptors_of_lent_and_given_memory_come_back(sharing: dict) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    value: Any = b"a" * LARGE
    for number in range(20):
        _, value = reads(sharing, f"{number}:0", "step", value)
    assert output(value)[0] == ord("a") + 20
    # Its socket, what is lent, what is held and what is looked at here.
    assert descriptors() <= before + 1 + 1 + 2 * _memory.RECENT + 2
    del value
    shim.close(sharing["run"])
    assert descriptors() == before


def test_buffers_pickle_out_of_band() -> None:
    import pickle

    data, taken = bytearray(100_000), []
    text = pickle.dumps(shim.Buf(data), protocol=5, buffer_callback=taken.append)
    assert len(text) < 200 and len(taken) == 1
    assert pickle.loads(text, buffers=taken).tobytes() == bytes(data)
    assert pickle.loads(pickle.dumps(shim.Buf(data), protocol=5)).tobytes() == bytes(data)
    assert pickle.loads(pickle.dumps(shim.Buf(data), protocol=4)) == bytes(data)


class Loop:
    """The loop of a Dask worker, whose clock stands still until it is told."""

    def __init__(self) -> None:
        self.now, self.timers = 0.0, []  # type: ignore[var-annotated]

    def time(self) -> float:
        return self.now

    def add_callback(self, what: Any, *given: Any) -> None:
        what(*given)

    def call_later(self, seconds: float, what: Any, *given: Any) -> None:
        self.timers.append((self.now + seconds, what, given))

    call_at = call_later

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due, self.timers = [timer for timer in self.timers if timer[0] <= self.now], [timer for timer in self.timers if timer[0] > self.now]
        for _, what, given in due:
            what(*given)


def news_of(events: Any) -> Any:
    return [(event["msg"]["kind"], event["msg"]["ids"], event["msg"].get("began")) for event in events]


def test_a_short_call_is_one_event_and_a_long_one_two() -> None:
    from types import SimpleNamespace as Namespace

    stream = Namespace(buffer=[], next_deadline=0.0)
    news = shim.News({"events": "topic", "keep": False}, Namespace(loop=Loop(), batched_stream=stream))
    done = ("done", [("1:0", "ok", b"report", [])])
    news.start(["1:0"])
    news.end(["1:0"], done)
    assert news_of(stream.buffer) == [("ended", ["1:0"], True)]
    assert stream.buffer[0]["msg"]["meta"] == ["done", [["1:0", "ok", b"report", []]]]
    stream.buffer.clear()

    news.start(["2:0"])
    news.worker.loop.pass_time(0.1)
    assert news_of(stream.buffer) == [("started", ["2:0"], None)]
    news.end(["2:0"], ("need-package",))
    assert news_of(stream.buffer)[1:] == [("ended", ["2:0"], False)]
    assert stream.buffer[1]["msg"]["meta"] == ["need-package"]
    stream.buffer.clear()

    # Too large for an event.
    news.start(["3:0"])
    news.end(["3:0"], ("done", [("3:0", "ok", bytes(100_000), [])]))
    assert stream.buffer[0]["msg"]["meta"] is None
    stream.buffer.clear()
    news.worker.loop.pass_time(0.1)
    assert not stream.buffer, "what has ended does not start"
