#!/usr/bin/env python3
"""Plays ``taps-wasm worker`` in the bridge's tests: same frames, tasks in JSON.

An attempt blob is one line of JSON, ``{"op": …}``, and a payload behind it. A
report blob is JSON: what the task said, the attempt's id and the child's pid.

With ``TAPS_FAKE_SHARES`` it takes and gives payloads as descriptors. A report then says how each input came, too,
and what was free.
"""

import fcntl
import json
import mmap
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
    def __init__(self, channel, shares=False):
        self.channel = channel
        self.setup = None
        self.package = None
        self.shares = shares
        self.segments, self.last = {}, 0
        if shares:
            channel.files = []

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
        self.channel.send({"t": "ready", "name": "fake/%d" % os.getpid(), "version": "0.1.0", "shares": self.shares})

    def take(self, header, inputs):
        """Puts what is lent or held in the place of the inputs; gives how each came."""
        came = ["inline"] * len(inputs)
        files = []
        if self.shares:
            files, self.channel.files = self.channel.files, []
        assert len(files) == len(header.get("lent", ()))
        for lent, file in zip(header.get("lent", ()), files):
            assert os.fstat(file).st_size == lent["capacity"]
            mapped = mmap.mmap(file, lent["capacity"], mmap.MAP_SHARED, mmap.PROT_READ)
            assert not any(mapped[lent["len"] : -(-lent["len"] // mmap.PAGESIZE) * mmap.PAGESIZE])
            inputs[lent["reference"]], came[lent["reference"]] = mapped[: lent["len"]], "lent"
            os.close(file)
        for held in header.get("held", ()):
            inputs[held["reference"]], came[held["reference"]] = self.segments[held["segment"]], "held"
        for segment in header.get("free", ()):
            del self.segments[segment]
        return came

    def give(self, buffers):
        """The large ones of these in memory of this process: what the answer says of them, and descriptors."""
        given, files = [], []
        for at, data in enumerate(buffers):
            if self.shares and self.setup.get("shares") and len(data) >= 1 << 17:
                self.last = segment = self.last + 1
                self.segments[segment] = bytes(data)
                file = os.memfd_create("fake")
                os.pwrite(file, data, mmap.PAGESIZE)
                given.append({"buffer": at, "segment": segment, "offset": mmap.PAGESIZE, "len": len(data)})
                files.append(file)
                buffers[at] = b""
        return given, files

    def run(self, header, buffers):
        blobs, inputs = buffers[: header["n"]], buffers[header["n"] :]
        came = self.take(header, inputs)
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
            if self.shares:
                report.update(came=came, free=len(header.get("free", ())))
            outs = outs if ok and self.setup["keep"] else []
            results.append({"id": task["id"], "ok": ok, "outs": len(outs)})
            out_buffers += [json.dumps(report).encode(), *outs]
        given, files = self.give(out_buffers)
        done = {"t": "done", "results": results, "given": given, "holds": bool(os.environ.get("TAPS_FAKE_HOLDS"))}
        if not files:
            self.channel.send(done, out_buffers)
            return
        self.channel.send(done, out_buffers, files)
        for file in files:
            os.close(file)

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
    Worker(_frames.Channel(socket.socket(fileno=os.dup(0))), bool(os.environ.get("TAPS_FAKE_SHARES"))).serve()
