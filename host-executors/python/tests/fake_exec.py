#!/usr/bin/env python3
"""Plays ``taps-wasm exec IN OUT`` and ``taps-wasm taskvine-library NAME`` in the bridge's tests.

The tasks are those of ``fake_worker.py``. OUT is put in place by a rename; a
package path that is not absolute is meant from the directory of IN.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake_worker import Cancelled, Worker  # noqa: E402

from taps_wasm import _frames  # noqa: E402
from taps_wasm._bridge.execute import _Bytes  # noqa: E402


class Output:
    """Collects frames and puts them in place."""

    def __init__(self, path):
        self.path = path
        self.parts = []

    def send(self, header, buffers=()):
        self.parts += _frames.encode(header, list(buffers))

    def write(self):
        if not self.parts:
            return False
        with open(self.path + ".part", "wb") as file:
            for part in self.parts:
                file.write(part)
        os.rename(self.path + ".part", self.path)
        return True


class Exec(Worker):
    """One request file answered."""

    def __init__(self, request, answer):
        super().__init__(Output(answer))
        self.directory = os.path.dirname(os.path.abspath(request))
        with open(request, "rb") as file:
            self.incoming = _frames.Channel(_Bytes(file.read()))

    def serve(self):
        setup, _ = self.incoming.receive()
        assert setup["t"] == "setup", setup
        header, buffers = self.incoming.receive()
        assert header["t"] == "run", header
        self.setup = setup
        path = os.path.join(self.directory, setup["path"])
        if setup["version"] != "0.1.0":
            self.channel.send(
                {
                    "t": "failed",
                    "kind": "version",
                    "message": "this is taps-wasm 0.1.0; the run needs %s" % setup["version"],
                }
            )
        elif not os.path.exists(path):
            self.channel.send({"t": "failed", "kind": "bundle", "message": "there is no package at %s" % path})
        else:
            with open(path, "rb") as file:
                self.package = file.read()
            self.run(header, buffers)
        assert self.incoming.receive() is None
        return 0 if self.channel.write() else 1

    def sleep(self, task):
        end = time.monotonic() + task["seconds"]
        folder = self.setup["cancel_dir"]
        while time.monotonic() < end:
            if folder and os.path.exists(os.path.join(folder, task["id"])):
                raise Cancelled
            time.sleep(0.02)

    def task(self, task, payload, inputs, refs):
        if task["op"] == "exit":  # The program fails without an answer.
            sys.stderr.write("could not go on\n")
            sys.stderr.flush()
            os._exit(task["code"])
        if task["op"] == "garbage":
            with open(self.channel.path, "wb") as file:
                file.write(b"\xff" * 64)
            os._exit(0)
        return super().task(task, payload, inputs, refs)


class Library:
    """A TaskVine library: calls come over a pipe, each runs in a thread."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.lock = threading.Lock()

    def say(self, message):
        data = message.encode()
        with self.lock:
            os.write(self.arguments.out_pipe_fd, b"%d\n%s" % (len(data), data))
            if not os.environ.get("FAKE_LIBRARY_SILENT"):
                os.kill(self.arguments.worker_pid, signal.SIGCHLD)

    def serve(self):
        hello = {"name": self.arguments.name, "taskid": self.arguments.task_id, "exec_mode": "direct"}
        self.say(json.dumps(hello))
        with os.fdopen(self.arguments.in_pipe_fd, "rb") as pipe:
            while True:
                length = pipe.readline()
                if not length:
                    return
                call, _function, sandbox, _stdout = pipe.read(int(length)).decode().split(" ")
                threading.Thread(target=self.call, args=(call, sandbox)).start()

    def call(self, call, sandbox):
        try:
            code = Exec(os.path.join(sandbox, "in"), os.path.join(sandbox, "out")).serve()
        except Exception as error:
            sys.stderr.write("%s: %s\n" % (type(error).__name__, error))
            sys.stderr.flush()
            code = 1
        self.say("%s %d" % (call, code))


def library_arguments(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    for name in ("in-pipe-fd", "out-pipe-fd", "task-id", "library-cores", "function-slots", "worker-pid"):
        parser.add_argument("--" + name, type=int, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if sys.argv[1] == "exec":
        sys.exit(Exec(*sys.argv[2:4]).serve())
    assert sys.argv[1] == "taskvine-library", sys.argv
    Library(library_arguments(sys.argv[2:])).serve()
