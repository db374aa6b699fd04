"""Requests and answers of ``taps-wasm exec IN OUT``, for engines that run programs and move files.

IN holds two frames, ``setup`` and ``run``; OUT gets one, ``done``, ``failed``
or ``need-package``. TaskVine and HyperQueue use it: neither has Python on its workers,
and each group of tasks is one run of a program.

A path in ``setup`` that is not absolute is meant from the directory of IN, which
for TaskVine is the task's sandbox.
"""

from __future__ import annotations

import io
import os
import shutil
from typing import Any, Dict, List, Mapping, Optional, Tuple

from taps_wasm._frames import Channel, ProtocolError, encode

from .base import Fatal, Group

Value = Tuple[Any, ...]
"""What the worker's shim would have returned: ``Context.report`` takes it."""


def request(settings: Mapping[str, Any], group: Group, package: Optional[str], cancel_dir: Optional[str]) -> bytes:
    """The contents of IN: ``package`` is the path under which the program finds the package."""
    setup: Dict[str, Any] = {
        "t": "setup",
        "protocol": settings["protocol"],
        "version": settings["version"],
        "digest": settings["digest"],
        "path": package,
        "keep": False,
        "cancel_dir": cancel_dir,
    }
    run = {"t": "run", "n": len(group.tasks), "refs": []}
    return b"".join([*encode(setup), *encode(run, [task.blob for task in group.tasks])])


def answer(data: bytes) -> Value:
    """The contents of OUT as a result of the shim. Raises ``ProtocolError`` when they are not one frame."""
    frame = Channel(_Bytes(data)).receive()  # type: ignore[arg-type]  # all that it needs is recv and recv_into
    if frame is None:
        raise ProtocolError("the answer of `taps-wasm exec` is empty")
    header, buffers = frame
    if header["t"] == "failed":
        return ("setup-failed", str(header.get("kind", "failed")), str(header.get("message", "")))
    if header["t"] == "need-package":
        text = (
            "the worker does not see the run's package; set `executor.shared_dir` to a directory that all workers see"
        )
        return ("setup-failed", "no-package", text)
    if header["t"] != "done":
        raise ProtocolError(f"the answer of `taps-wasm exec` is a frame {header['t']!r}, not `done` or `failed`")
    results: List[Tuple[str, str, Any, List[Any]]] = []
    position = 0
    for result in header.get("results", []):
        if position >= len(buffers):
            raise ProtocolError("the answer of `taps-wasm exec` has fewer reports than results")
        results.append((result["id"], "ok" if result.get("ok") else "not-ok", buffers[position], []))
        position += 1 + int(result.get("outs", 0))
    return ("done", results)


class _Bytes:
    """Bytes in memory as a channel's stream."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def recv_into(self, buffer: memoryview) -> int:
        return self._stream.readinto(buffer)

    def recv(self, most: int) -> bytes:
        return self._stream.read(most)


def find_binary(settings: Mapping[str, Any], engine: str) -> str:
    """The ``taps-wasm`` of this machine that is sent to workers. Raises ``Fatal`` when there is none."""
    named = settings.get("binary")
    tried = []
    for candidate in (named, os.environ.get("TAPS_WASM_BIN"), shutil.which("taps-wasm")):
        if not candidate:
            continue
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return os.path.abspath(candidate)
        tried.append(str(candidate))
    raise Fatal(
        "config",
        f"{engine}: no taps-wasm program to run on the workers (tried: {', '.join(tried) or 'nothing was named'})",
        "set `executor.worker_binary` or TAPS_WASM_BIN to the path of taps-wasm",
    )
