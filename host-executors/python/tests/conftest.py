"""Every test has a limit: a hang shows all stacks and ends the run. The run leaves no process and no file behind."""

from __future__ import annotations

import faulthandler
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, Dict, Iterator, List

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
if importlib.util.find_spec("taps_wasm") is None:
    # The wheel is not installed, and PYTHONPATH names no package: it is the one beside the tests, here and in the
    # programs that they start.
    sys.path.append(os.path.dirname(HERE))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.path.dirname(HERE), os.environ.get("PYTHONPATH"))))

TEST_SECONDS = 120
END_SECONDS = 10.0
"""How long processes may take to end after the last test."""
MARK = "TAPS_WASM_TESTS"
"""In the environment of all that the tests start: the run's temporary directory."""


@pytest.fixture(autouse=True)
def _limit() -> Iterator[Any]:
    faulthandler.dump_traceback_later(TEST_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True, scope="session")
def _nothing_is_left() -> Iterator[Any]:
    """Gives the tests a temporary directory of their own, and fails when they leave a process or a file."""
    # Short: the paths of Ray's sockets below it have a limit.
    directory = tempfile.mkdtemp(prefix="tt-", dir="/tmp")
    os.environ.update({"TMPDIR": directory, MARK: directory})
    tempfile.tempdir = directory
    try:
        yield
        processes = _processes_after(END_SECONDS, directory)
        files = [name for name in os.listdir(directory) if not name.startswith("pytest-of-")]
    finally:
        _kill(_processes(directory))
        shutil.rmtree(directory, ignore_errors=True)
    assert not processes, f"processes left {END_SECONDS} s after the last test: {processes}"
    assert not files, f"left in the temporary directory: {files}"


def _processes(directory: str) -> Dict[int, str]:
    """Command lines, by pid, of the processes that the tests started; of this one not."""
    mark = f"{MARK}={directory}".encode()
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    ours = mark in file.read().split(b"\0")
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    command = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # It ended, or is another user's. A zombie has no environment.
                continue
            if ours:
                found[int(name)] = command
    return found


def _processes_after(seconds: float, directory: str) -> List[str]:
    end = time.monotonic() + seconds
    while _processes(directory) and time.monotonic() < end:
        time.sleep(0.05)
    return list(_processes(directory).values())


def _kill(processes: Dict[int, str]) -> None:
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
