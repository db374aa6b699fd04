"""Plays ``taps-wasm``: ``worker``, ``describe`` and ``--version``, with tasks that are written in Python here.

What it does with messages is what the program does: one call at a time, a thread that reads meanwhile, so
that a cancel reaches a running task.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time

from taps_wasm._frames import Channel

TASKS = {
    "add": ([("a", "u32"), ("b", "u32")], ["u32"]),
    "widen": ([("number", "u64")], ["u64"]),
    "both": ([], ["u32", "String"]),
    "die": ([("signal", "i32")], []),
    "echo": ([("data", "Bytes")], ["Bytes"]),
    "fail": ([("outcome", "&[u8]"), ("kind", "&[u8]")], []),
    "header": ([], ["Json"]),
    "join": ([("parts", "List<Bytes>")], ["Bytes"]),
    "keep": ([("values", "&Array<f64>")], ["Array<f64>"]),
    "look": ([("place", "&Place")], ["Bytes"]),
    "lie": ([], ["u32"]),
    "note": ([("value", "Json")], ["Json"]),
    "nothing": ([], []),
    "pid": ([], ["u32"]),
    "place": ([], ["Place"]),
    "sleep": ([("seconds", "f64")], []),
    "stubborn": ([("seconds", "f64")], []),
    "tile": ([], ["Tile"]),
    "untile": ([("tile", "&Tile")], ["Bytes"]),
}
DESCRIPTION = [
    {"name": name, "parameters": parameters, "outputs": outputs, "help": f"Does {name}.", "pure": False}
    for name, (parameters, outputs) in sorted(TASKS.items())
]
TILE = struct.pack("<4sBBxx4Q24x2d", b"TAPA", 1, 1, 2, 0, 0, 0, 1.5, 2.5)


class Failure(Exception):
    """A task that ends otherwise than well."""


def run(task, arguments, header, cancels):
    """The outputs of a task."""
    if task == "add":
        return [struct.pack("<I", sum(struct.unpack("<I", part)[0] for part in arguments))]
    if task in ("echo", "note", "keep", "look", "widen", "untile"):
        return [arguments[0]]
    if task == "both":
        return [struct.pack("<I", 7), b"seven\xff\0\0"]
    if task == "join":
        return [b"+".join(arguments)]
    if task == "header":
        return [json.dumps(header).encode()]
    if task == "place":
        return [b"\x01opaque"]
    if task == "lie":
        return [b"\x01\x02"]
    if task == "tile":
        return [TILE]
    if task == "pid":
        return [struct.pack("<I", os.getpid())]
    if task == "die":
        os.kill(os.getpid(), struct.unpack("<i", arguments[0])[0])
        time.sleep(60)
    if task == "fail":
        raise Failure(bytes(arguments[0]).decode(), bytes(arguments[1]).decode())
    if task == "stubborn":
        time.sleep(struct.unpack("<d", arguments[0])[0])
    if task == "sleep":
        end = time.monotonic() + struct.unpack("<d", arguments[0])[0]
        while time.monotonic() < end:
            if header["id"] in cancels:
                raise Failure("cancelled", "")
            time.sleep(0.005)
    return []


def answer(header, arguments, cancels):
    """The result of a call, as header and buffers."""
    result = {"t": "result", "id": header["id"], "wall_ns": 2_000_000, "cpu_ns": 1_000_000, "peak_memory_bytes": 4096}
    try:
        outputs = run(header["task"], arguments, header, cancels)
    except Failure as failure:
        outcome, kind = failure.args
        result.update(ok=False, outcome=outcome, kind=kind or outcome, message=f"as asked: {outcome}", detail={"depth": 1})
        return result, []
    result.update(ok=True, outputs=len(outputs), media_types=["application/octet-stream"] * len(outputs))
    return result, outputs


def worker():
    """Serves calls until the channel ends."""
    channel = Channel(socket.socket(fileno=os.dup(0)))
    setup, _ = channel.receive()
    assert setup["t"] == "setup" and setup["protocol"] == 1 and setup["version"], setup
    if setup["app"] == "missing":
        channel.send({"t": "failed", "kind": "bundle", "message": "there is no app `missing`"})
        return
    if setup["app"] == "dies":
        os.abort()
    # What it starts with can change later: the second worker of this app does not start.
    flag = os.environ.get("FAKE_STARTS_ONCE")
    if flag:
        if os.path.exists(flag):
            channel.send({"t": "failed", "kind": "bundle", "message": "the bundle is gone"})
            return
        open(flag, "w").close()
    channel.send(
        {"t": "ready", "name": f"here/{os.getpid()}", "version": setup["version"], "app": "fake", "tasks": DESCRIPTION}
    )
    calls, cancels = queue.Queue(), set()

    def read():
        while True:
            frame = channel.receive()
            if frame is None:
                os._exit(0)
            header, buffers = frame
            if header["t"] == "cancel":
                cancels.update(header["ids"])
            else:
                calls.put((header, buffers))

    threading.Thread(target=read, daemon=True).start()
    while True:
        header, buffers = calls.get()
        assert header["t"] == "call" and len(header["arguments"]) == len(buffers), header
        channel.send(*answer(header, buffers, cancels))


def install(folder):
    """Puts a program that plays ``taps-wasm`` into a folder; gives its path."""
    path = os.path.join(folder, "taps-wasm")
    with open(path, "w") as file:
        file.write(f'#!/bin/sh\nexec "{sys.executable}" "{os.path.abspath(__file__)}" "$@"\n')
    os.chmod(path, 0o755)
    return path


def main():
    """The command line."""
    command = sys.argv[1:]
    if command == ["--version"]:
        print("taps-wasm 0.0.0")
    elif command[:1] == ["describe"]:
        if command[1] == "missing":
            sys.exit("error: there is no app `missing`")
        print(json.dumps({"format": 1, "app": {"name": command[1], "tasks": DESCRIPTION}}))
    elif command == ["worker"]:
        worker()
    else:
        sys.exit(f"unknown: {command}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main()
