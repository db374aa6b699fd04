"""The shim by itself: interrupts, forks and children that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Iterator

import pytest
from harness import HERE, PYTHON_DIR, blob
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


def test_buffers_pickle_out_of_band() -> None:
    import pickle

    data, taken = bytearray(100_000), []
    text = pickle.dumps(shim.Buf(data), protocol=5, buffer_callback=taken.append)
    assert len(text) < 200 and len(taken) == 1
    assert pickle.loads(text, buffers=taken).tobytes() == bytes(data)
    assert pickle.loads(pickle.dumps(shim.Buf(data), protocol=5)).tobytes() == bytes(data)
    assert pickle.loads(pickle.dumps(shim.Buf(data), protocol=4)) == bytes(data)
