"""The programs ``taps-wasm worker`` of an engine's worker process.

Each is a child for one call at a time, spoken to in frames over a socketpair.
Travels with the worker's shim: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import subprocess
import threading
import time

if "_frames" not in globals():  # Placed there when this text comes with a submission.
    from taps_wasm import _frames, _memory, _program

CANCEL_SECONDS = 5.0
"""How long a child may take to answer a cancel before it is killed."""
IDLE_SECONDS = 300.0
"""A child that had nothing to do for so long is ended; the next call starts another."""
_POLL_MS = 100
_REMEMBERED_CANCELS = 10000
_REMEMBERED_RUNS = 1000


class ChildDied(Exception):
    """The child ended or broke the protocol; the message says how."""


class Child:
    """One ``taps-wasm worker`` process and its channel."""

    def __init__(self, settings):
        binary = _program.find(settings)
        ours, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [binary, "worker"], stdin=theirs, stdout=subprocess.DEVNULL, stderr=None, close_fds=True
            )
        except OSError as error:
            ours.close()
            raise _program.SetupFailed("no-binary", "cannot start %s on %s: %s" % (binary, socket.gethostname(), error)) from None
        finally:
            theirs.close()
        self.channel = _frames.Channel(ours)
        self.channel.files = []
        self.memory = _memory.Shared()
        self.writing = threading.Lock()
        self.ready = False
        self.needs_package = False
        self.sound = True  # False while a frame is half read or half written.
        self.attempts = ()
        self.idle_since = time.monotonic()
        self.key = (settings["run"], settings["digest"])
        self.poll = select.poll()
        self.poll.register(ours, select.POLLIN)
        setup = {name: settings.get(name) for name in ("protocol", "version", "digest", "path", "keep", "cancel_dir")}
        self.send(dict(setup, t="setup", shares=_memory.CAN_LEND))

    def run(self, count, refs, blobs, buffers):
        """Sends a ``run``, with large buffers in memory that is lent."""
        header, sent, files = self.memory.place(buffers)
        self.send(dict(header, t="run", n=count, refs=refs), blobs + sent, files)

    def given(self, answer, buffers):
        """Puts the outputs that came as descriptors in the place of their buffers; gives their origins."""
        files, self.channel.files = self.channel.files, []
        try:
            return self.memory.after(answer, buffers, files)
        except ValueError as error:
            raise ChildDied("taps-wasm worker (pid %d) %s" % (self.process.pid, error)) from None

    def send(self, header, buffers=(), files=()):
        """Writes one frame; ``ChildDied`` when nobody reads it."""
        try:
            with self.writing:
                self.sound = False
                self.channel.send(header, buffers, files)
                self.sound = True
        except OSError:
            raise ChildDied(self.obituary()) from None

    def receive(self, seconds=None, on_interrupt=None):
        """The next frame. A KeyboardInterrupt (how Ray cancels) goes to ``on_interrupt``, once.

        The wait is in ``poll`` with a short time, where an interrupt is safe
        and prompt: in it, no byte has been taken from the stream.
        """
        limit = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                if self.channel.has_more or self.poll.poll(_POLL_MS):
                    break
            except KeyboardInterrupt:
                if on_interrupt is None:
                    raise
                on_interrupt()
                on_interrupt = None
                limit = time.monotonic() + CANCEL_SECONDS
            if limit is not None and time.monotonic() > limit:
                raise ChildDied("taps-wasm worker (pid %d) did not answer in time" % self.process.pid)
        self.sound = False
        try:
            frame = self.channel.receive()
        except (OSError, _frames.ProtocolError) as error:
            raise ChildDied(self.obituary(str(error))) from None
        if frame is None:
            raise ChildDied(self.obituary())
        self.sound = True
        return frame

    def cancel(self, attempts):
        """Asks the child to stop ``attempts``; never waits, never raises."""

        def ask():
            try:
                self.send({"t": "cancel", "ids": list(attempts)})
            except (ChildDied, ValueError):
                pass

        threading.Thread(target=ask, name="taps-wasm-cancel", daemon=True).start()

    def obituary(self, detail=""):
        """How the child ended, in words."""
        try:
            code = self.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            return "taps-wasm worker (pid %d) on %s broke the protocol: %s" % (
                self.process.pid,
                socket.gethostname(),
                detail or "it closed its channel",
            )
        if code < 0:
            try:
                how = "was killed by signal %d (%s)" % (-code, signal.Signals(-code).name)
            except ValueError:
                how = "was killed by signal %d" % -code
        else:
            how = "exited with code %d" % code
        return "taps-wasm worker (pid %d) on %s %s" % (self.process.pid, socket.gethostname(), how)

    def kill(self):
        """Ends the child at once."""
        try:
            self.process.kill()
            self.process.wait(timeout=5.0)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.close()

    def close(self):
        """Closes the channel, and gives lent memory back."""
        self.channel.close()
        for file in self.channel.files:
            os.close(file)
        self.channel.files = []
        self.memory.close()

    def end(self, seconds=2.0):
        """Ends the child by the end of its stream, and by force when that does not do."""
        self.close()
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()


class Pool:
    """The children of this process. One per process: a fork has its own."""

    def __init__(self):
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.free = []
        self.busy = set()
        self.cancelled = {}
        self.closed = {}  # Runs that have ended, although a call of theirs may still be under way here.
        self.janitor = None

    def acquire(self, settings):
        """A free child of this run, or a new one."""
        key = (settings["run"], settings["digest"])
        with self.lock:
            strangers = [child for child in self.free if child.key != key]
            self.free = [child for child in self.free if child.key == key]
            child = self.free.pop() if self.free else None
            if child is not None:
                self.busy.add(child)
        for stranger in strangers:
            stranger.end(0.2)
        if child is not None and child.process.poll() is not None:
            self.drop(child)  # It died while it had nothing to do: no task is hurt.
            return self.acquire(settings)
        if child is None:
            child = Child(settings)
            with self.lock:
                self.busy.add(child)
        return child

    def release(self, child):
        """Gives a child back; one that is not sound is killed, and one whose run is over ended."""
        if not child.sound:
            self.drop(child)
            return
        with self.lock:
            child.attempts = ()
            child.idle_since = time.monotonic()
            self.busy.discard(child)
            is_over = child.key[0] in self.closed
            if not is_over:
                self.free.append(child)
            if self.janitor is None:
                self.janitor = threading.Thread(target=self.sweep, name="taps-wasm-idle", daemon=True)
                self.janitor.start()
        if is_over:
            child.end()

    def drop(self, child):
        """Kills a child and forgets it."""
        with self.lock:
            self.busy.discard(child)
        child.kill()

    def cancel(self, run, attempts):
        """Stops attempts of a run: those that run, and those yet to come."""
        with self.lock:
            for attempt in attempts:
                self.cancelled[(run, attempt)] = True
            while len(self.cancelled) > _REMEMBERED_CANCELS:
                del self.cancelled[next(iter(self.cancelled))]
            asked = [(child, [a for a in attempts if a in child.attempts]) for child in self.busy if child.key[0] == run]
        for child, wanted in asked:
            if wanted:
                child.cancel(wanted)

    def end(self, run):
        """Ends the children of a run: idle ones now, others when they are given back."""
        with self.lock:
            self.closed[run] = True
            while len(self.closed) > _REMEMBERED_RUNS:
                del self.closed[next(iter(self.closed))]
            ended = [child for child in self.free if child.key[0] == run]
            self.free = [child for child in self.free if child.key[0] != run]
        for child in ended:
            child.end()

    def sweep(self):
        """Ends children that have been idle for long; runs in a thread of its own."""
        while True:
            time.sleep(IDLE_SECONDS / 10)
            with self.lock:
                old = [child for child in self.free if time.monotonic() - child.idle_since > IDLE_SECONDS]
                self.free = [child for child in self.free if child not in old]
            for child in old:
                child.end()

    def close(self):
        """Ends every child, politely and together."""
        with self.lock:
            children = self.free + list(self.busy)
            self.free, self.busy = [], set()
        for child in children:
            child.channel.close()
        for child in children:
            child.end()


_pool = Pool()


def pool():
    """This process's pool."""
    return _pool


def _after_fork():
    """In a forked process: the parent's children are not ours, and our copies of
    their sockets would keep them from seeing the parent's end."""
    global _pool
    for child in _pool.free + list(_pool.busy):
        child.close()
    _pool = Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _pool.close())
