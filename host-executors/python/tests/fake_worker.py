#!/usr/bin/env python3
"""Plays ``taps-wasm worker`` in the bridge's tests: same frames, tasks in JSON.

An attempt blob is one line of JSON, ``{"op": …}``, and a payload behind it. A
report blob is JSON: what the task said, the attempt's id and the child's pid.
"""

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from taps_wasm import _frames  # noqa: E402


class Cancelled(Exception):
    pass


class Worker:
    def __init__(self):
        self.channel = _frames.Channel(socket.socket(fileno=os.dup(0)))
        self.setup = None
        self.package = None

    def serve(self):
        while True:
            frame = self.channel.receive()
            if frame is None:
                return
            header, buffers = frame
            if header["t"] == "setup":
                self.set_up(header)
            elif header["t"] == "package":
                self.package = bytes(buffers[0])
                self.ready()
            elif header["t"] == "run":
                self.run(header, buffers)

    def set_up(self, header):
        self.setup = header
        if header["version"] != "0.1.0":
            message = "this is taps-wasm 0.1.0; the run needs %s" % header["version"]
            self.channel.send({"t": "failed", "kind": "version", "message": message})
        elif header["path"] and os.path.exists(header["path"]):
            with open(header["path"], "rb") as file:
                self.package = file.read()
            self.ready()
        else:
            self.channel.send({"t": "need-package", "digest": header["digest"]})

    def ready(self):
        self.channel.send({"t": "ready", "name": "fake/%d" % os.getpid(), "version": "0.1.0"})

    def run(self, header, buffers):
        blobs, inputs = buffers[: header["n"]], buffers[header["n"] :]
        results, out_buffers = [], []
        for blob in blobs:
            line, _, payload = bytes(blob).partition(b"\n")
            task = json.loads(line)
            try:
                said, outs = self.task(task, payload, inputs, header["refs"])
                ok = task["op"] != "fail"
            except Cancelled:
                said, outs, ok = "cancelled", [], False
            report = {"said": said, "pid": os.getpid(), "parent": os.getppid(), "package": len(self.package)}
            outs = outs if ok and self.setup["keep"] else []
            results.append({"id": task["id"], "ok": ok, "outs": len(outs)})
            out_buffers += [json.dumps(report).encode(), *outs]
        self.channel.send({"t": "done", "results": results}, out_buffers)

    def task(self, task, payload, inputs, refs):
        if task.get("count"):
            with open(task["count"], "a") as file:
                file.write(task["id"] + "\n")
        operation = task["op"]
        if operation == "print":
            os.write(2, b"a task's noise on stderr\n")
            os.write(1, b"a task's noise on stdout\n")
        elif operation == "make":
            return operation, [bytes(task["n"]) for _ in range(task.get("outputs", 1))]
        elif operation == "step":  # The first input, its first byte one more.
            data = bytearray(inputs[0])
            data[0] = (data[0] + 1) % 256
            return operation, [data]
        elif operation == "sizes":
            return [[ref, len(data), data[0] if data else None] for ref, data in zip(refs, inputs)], []
        elif operation == "sleep":
            self.sleep(task)
        elif operation == "alone":  # Whether no other task has the file for itself.
            with open(task["file"], "w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    return "in company", []
                time.sleep(task["seconds"])
        elif operation == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif operation == "kill-worker":
            # The engine's worker process, once: a second try of the same batch runs through.
            if not os.path.exists(task["flag"]):
                with open(task["flag"], "w"):
                    pass
                os.kill(os.getppid(), signal.SIGKILL)
                sys.exit(0)
        elif operation == "echo":
            return payload.decode("latin-1"), [payload]
        return operation, []

    def sleep(self, task):
        end = time.monotonic() + task["seconds"]
        folder = self.setup["cancel_dir"]
        while time.monotonic() < end:
            readable, _, _ = select.select([self.channel], [], [], 0.05)
            if readable:
                frame = self.channel.receive()
                if frame is None:
                    sys.exit(0)
                if frame[0]["t"] == "cancel" and task["id"] in frame[0]["ids"]:
                    raise Cancelled
            if folder and os.path.exists(os.path.join(folder, task["id"])):
                raise Cancelled


if __name__ == "__main__":
    assert sys.argv[1:] == ["worker"], sys.argv
    Worker().serve()
