"""The host's side of the bridge, for tests: a real bridge process over a socketpair."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Callable, Dict, List, Optional

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON_DIR = os.path.dirname(HERE)

from taps_wasm import _frames

PATIENCE = 60.0
"""Seconds after which anything that a test waits for has failed."""


def needs(package: str) -> Any:
    """Skips where an engine's package is missing, unless TAPS_REQUIRE_ENGINES=1."""
    missing = importlib.util.find_spec(package) is None
    required = os.environ.get("TAPS_REQUIRE_ENGINES") == "1"
    return pytest.mark.skipif(missing and not required, reason=f"{package} is not installed")


class Late(AssertionError):
    """Something did not happen in time."""


def blob(operation: str, task: str, payload: bytes = b"", **more: Any) -> bytes:
    """An attempt blob of the fake worker."""
    return json.dumps({"op": operation, "id": task, **more}).encode() + b"\n" + payload


class Host:
    """Starts a bridge with an engine and speaks the host's half of the protocol."""

    def __init__(
        self,
        engine: str,
        config: Optional[Dict[str, Any]] = None,
        keep: bool = False,
        visible: bool = True,
        python: str = sys.executable,
        binary: Optional[str] = os.path.join(HERE, "fake_worker.py"),
        version: str = "0.1.0",
        patience: float = PATIENCE,
        cancel_dir: bool = True,
    ) -> None:
        # Short: ray's sockets live below it.
        self.scratch = tempfile.mkdtemp(prefix="tw-")
        self.package = b"package" * 1000
        path = os.path.join(self.scratch, "package")
        if visible:
            with open(path, "wb") as file:
                file.write(self.package)
        folder = os.path.join(self.scratch, "cancel")
        os.mkdir(folder)
        ours, theirs = socket.socketpair()
        environment = dict(os.environ, TMPDIR=self.scratch)
        for name in ("PYTHONPATH", "TAPS_WASM_BIN"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [python, os.path.join(PYTHON_DIR, "main.py")],
            stdin=theirs,
            stdout=subprocess.PIPE,
            cwd=self.scratch,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self.channel = _frames.Channel(ours)
        self.patience = patience
        self.results: Dict[str, Dict[str, Any]] = {}
        self.frames: List[Any] = []
        self.done_frames = 0
        self.ended = False
        self.asked_for_package = 0
        self._news = threading.Condition()
        self._requests = 0
        with open(os.path.join(PYTHON_DIR, "taps_wasm", "_worker.py"), "rb") as file:
            shim = file.read()
        settings = {
            "run": os.path.basename(self.scratch),
            "version": version,
            "protocol": 1,
            "digest": "d" * 64,
            "path": path,
            "binary": binary,
            "cancel_dir": folder if cancel_dir else None,
        }
        self.settings = settings
        threading.Thread(target=self._read, daemon=True).start()
        hello = {"t": "hello", "protocol": 1, "version": "0.1.0", "engine": engine, "config": config or {}}
        self.channel.send(dict(hello, scratch=self.scratch, keep=keep, settings=settings), [shim])

    def _read(self) -> None:
        while True:
            try:
                frame = self.channel.receive()
            except (OSError, _frames.ProtocolError):
                frame = None
            if frame is not None and frame[0]["t"] == "need-package":
                self.asked_for_package += 1
                self.channel.send({"t": "package"}, [self.package])
                continue
            with self._news:
                if frame is None:
                    self.ended = True
                elif frame[0]["t"] == "done":
                    self.done_frames += 1
                    self._take_results(*frame)
                else:
                    self.frames.append(frame)
                self._news.notify_all()
            if frame is None:
                return

    def _take_results(self, header: Dict[str, Any], buffers: List[bytearray]) -> None:
        reports = iter(buffers)
        for result in header["results"]:
            if "failed" not in result:
                result["report"] = json.loads(bytes(next(reports)))
            assert result["id"] not in self.results, "a result came twice"
            self.results[result["id"]] = result

    def wait(self, what: Callable[[], Any], why: str = "") -> Any:
        """Waits until ``what`` gives something true."""
        end = time.monotonic() + self.patience
        with self._news:
            while True:
                got = what()
                if got:
                    return got
                if self.ended and not self.channel.socket._closed:  # type: ignore[attr-defined]
                    got = what()
                    raise Late(f"the bridge ended; waited for {why}; frames {self.headers()}")
                if not self._news.wait(max(0.0, end - time.monotonic())):
                    raise Late(f"{why} did not come in {self.patience} s; frames {self.headers()}, results {self.results}")

    def headers(self) -> List[Dict[str, Any]]:
        return [header for header, _ in self.frames]

    def frame(self, kind: str) -> Dict[str, Any]:
        """The first frame of a type, waited for."""
        return self.wait(lambda: next((h for h in self.headers() if h["t"] == kind), None), kind)

    def ready(self) -> Dict[str, Any]:
        """Waits for ``ready``; a ``fatal`` is the test's failure."""
        got = self.wait(lambda: next((h for h in self.headers() if h["t"] in ("ready", "fatal")), None), "ready")
        assert got["t"] == "ready", got
        return got

    def submit(self, *groups: Any, resources: Optional[Dict[str, Any]] = None, priority: int = 0) -> None:
        """Groups of ``(id, operation, options)``; options: refs, payload, and what the task takes."""
        headers, blobs = [], []
        for group in groups:
            tasks = []
            for task, operation, options in group:
                options = dict(options)
                refs, payload = options.pop("refs", []), options.pop("payload", b"")
                tasks.append({"id": task, "key": task, "refs": refs})
                blobs.append(blob(operation, task, payload, **options))
            headers.append({"tasks": tasks, "resources": resources or {"cores": 1}, "priority": priority})
        self.channel.send({"t": "submit", "groups": headers}, blobs)

    def one(self, task: str, operation: str, **options: Any) -> None:
        """Submits a group of one task."""
        self.submit([(task, operation, options)])

    def result(self, task: str) -> Dict[str, Any]:
        """Waits for one result."""
        return self.wait(lambda: self.results.get(task), f"the result of {task}")

    def put(self, key: str, data: bytes) -> None:
        self.channel.send({"t": "put", "key": key}, [data])

    def fetch(self, key: str, index: int = 0) -> Any:
        """``(header, data)`` of a fetch."""
        self._requests += 1
        number = self._requests
        self.channel.send({"t": "fetch", "request": number, "key": key, "index": index})

        def answer() -> Any:
            return next((f for f in self.frames if f[0]["t"] == "fetched" and f[0]["request"] == number), None)

        header, buffers = self.wait(answer, f"the fetch of {key}")
        return header, (bytes(buffers[0]) if buffers else None)

    def send(self, kind: str, **fields: Any) -> None:
        self.channel.send(dict(fields, t=kind))

    def descendants(self) -> List[int]:
        """Processes of this bridge that run: by its session and by its scratch in their environment."""
        found = []
        mark = f"TMPDIR={self.scratch}".encode()
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != self.process.pid:
                try:
                    with open(f"/proc/{name}/environ", "rb") as file:
                        ours = mark in file.read()
                    with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                        state = file.read().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if ours and state != "Z":
                    found.append(int(name))
        return found

    def hang_up(self) -> None:
        """Ends the channel, as the host's death does."""
        try:
            self.channel.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.channel.close()

    def shutdown(self, deadline_s: float = 8.0) -> bytes:
        """Ends the bridge; its stdout, which must be empty."""
        if self.process.poll() is None:
            try:
                self.send("shutdown", deadline_s=deadline_s)
            except OSError:
                pass
        return self.wait_end(deadline_s + 6.0)

    def wait_end(self, seconds: float) -> bytes:
        """Waits until the bridge has ended of itself and gives its stdout."""
        try:
            out, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Late("the bridge did not end") from None
        return out

    def close(self) -> None:
        """Leaves nothing behind, whatever the test did."""
        self.hang_up()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        for pid in self.descendants():
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def groups_run_and_answer(host: Host) -> None:
    """A group of two, one of which fails, and another group: all answer, each ran once, and the bridge ends."""
    host.submit([("1:0", "echo", {"payload": b"a\x00b"}), ("2:0", "fail", {})], [("3:0", "echo", {"payload": b"c"})])
    assert host.result("1:0")["report"]["said"] == "a\x00b"
    assert host.result("2:0")["report"]["said"] == "fail"
    assert host.result("3:0")["report"]["package"] == len(host.package)
    assert all(result["executions"] == 1 for result in host.results.values())
    assert host.shutdown() == b""
