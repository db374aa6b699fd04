"""The shim: an engine's worker process hands its calls to ``taps-wasm worker``.

This text travels with every submission, so the hosts of an engine's workers
need the binary and nothing else of taps-wasm: standard library only, Python 3.9
and later, no classes that a receiver would have to import.

Each engine worker process keeps children, one per call that runs at the same
time, and speaks frames with them over a socketpair. A child that dies is a
result with the status ``"lost"``: nothing here raises for what a task does.
"""

from __future__ import annotations

import os
import pickle
import threading

if "_children" not in globals():  # Placed there when this text comes with a submission.
    from taps_wasm import _children, _memory, _program

SetupFailed = _program.SetupFailed
ChildDied = _children.ChildDied
pool = _children.pool

SETUP_SECONDS = 300.0
"""A child that has not loaded its bundle by then is taken for dead."""
_NEWS_SECONDS = 0.02
"""How long a Dask worker's news of a start may wait for others."""
_SMALL_BYTES = 4096
_EVENT_BYTES = 16384


class Buf:
    """A buffer that pickles out of band; it is received as a ``memoryview``.

    ``origin`` names the child and the segment that it lies in; for who gets the object itself.
    """

    __slots__ = ("data", "origin")

    def __init__(self, data, origin=None):
        self.data = data
        self.origin = origin

    def __len__(self):
        return memoryview(self.data).nbytes

    def __sizeof__(self):
        return 64 + memoryview(self.data).nbytes

    def __reduce_ex__(self, protocol):
        if protocol >= 5:
            return memoryview, (pickle.PickleBuffer(self.data),)
        return bytes, (bytes(self.data),)


def packed(value):
    """A call's value as one string of bytes where it is small: engines pickle that without looking into it."""
    if value[0] == "done":
        for _, _, said, outs in value[1]:
            if isinstance(said, Buf) or outs and not isinstance(outs[0], int):
                return value
    return pickle.dumps(value, 5)


def unpacked(value):
    """What was given to ``packed``."""
    return pickle.loads(value) if isinstance(value, bytes) else value


def wrapped(settings, data, origin=None):
    """``data`` in the form that this engine pickles best."""
    if settings.get("wrap") and len(data) > _SMALL_BYTES:
        return Buf(data, origin)
    return bytes(data)


def unwrapped(value):
    """The buffer behind a ``Buf`` or anything bytes-like."""
    return value.data if hasattr(value, "data") and not isinstance(value, memoryview) else value


def cancel(run, attempts):
    """Stops attempts of ``run`` in this process, those that run and those yet to come."""
    pool().cancel(run, attempts)


def close(run):
    """Ends the children of ``run`` in this process: idle ones now, others when they have done what they do."""
    for key in list(News.everyone):
        if key[0].endswith(run):
            News.everyone.pop(key, None)
    pool().end(run)


def _asked_to_stop(settings, attempt):
    if (settings["run"], attempt) in pool().cancelled:
        return True
    folder = settings.get("cancel_dir")
    return bool(folder) and os.path.exists(os.path.join(folder, attempt))


def _read(value, key, index):
    """``("buffer", data, origin)``, ``("need-package",)`` or ``("bad", why)`` of an engine reference's value."""
    if not isinstance(value, (tuple, list)):
        return "buffer", unwrapped(value), None
    if value[0] == "need-package":
        return ("need-package",)
    if value[0] == "data":
        status, said = value[1:3]
        if status == "ok":
            return "buffer", unwrapped(said[index]), value[3][index] if len(value) > 3 else None
        return "bad", "the result %s that it reads is not there: %s" % (key, said)
    if value[0] == "done":
        _, status, said, outs = value[1][0]
        if status == "ok":
            return "buffer", unwrapped(outs[index]), getattr(outs[index], "origin", None)
        return "bad", "the result %s that it reads is not there: %s" % (key, status if status == "not-ok" else said)
    return "bad", "the result %s that it reads is not there: %s" % (key, value[-1])


def _gather(settings, header, attempts, values):
    """What to send to the child: positions to run, refs and their buffers, and results known already."""
    known, running, refs, buffers = {}, [], [], []
    for position, (attempt, reads) in enumerate(header):
        if _asked_to_stop(settings, attempt):
            known[position] = (attempt, "cancelled", "cancelled before it started", [])
            continue
        found = []
        for at, key, index in reads:
            what = _read(values[at], key, index)
            if what[0] == "need-package":
                return None
            if what[0] == "bad":
                known[position] = (attempt, "upstream", what[1], [])
                break
            found.append(([key, index], what[1:]))
        else:
            running.append(position)
            for ref, buffer in found:
                if ref not in refs:
                    refs.append(ref)
                    buffers.append(buffer)
    return known, running, refs, buffers


def run(settings, header, package, attempts, values):
    """Runs a batch of attempts; see the package's documentation of the engine call.

    Returns ``("done", [(id, status, report_or_message, outs), …])``,
    ``("need-package",)`` or ``("setup-failed", kind, message)``; raises nothing.
    """
    if not settings.get("events"):
        return _run(settings, header, package, attempts, values)
    names = [attempt for attempt, _ in header]
    news = News.of(settings)
    if news is not None:
        news.start(names)
    value = _run(settings, header, package, attempts, values)
    if news is not None:
        news.end(names, value)
    return value


def _run(settings, header, package, attempts, values):
    child = None
    try:
        plan = _gather(settings, header, attempts, values)
        if plan is None:
            return ("need-package",)
        known, running, refs, buffers = plan
        if running:
            child = pool().acquire(settings)
            if not child.ready and not _set_up(child, package):
                return ("need-package",)
            known.update(_ask(settings, child, header, attempts, running, refs, buffers))
        return ("done", [known[position] for position in range(len(header))])
    except SetupFailed as error:
        if child is not None:
            child.sound = False
        return ("setup-failed", error.kind, error.message)
    except ChildDied as error:
        if child is not None:
            child.sound = False
        if (child is None or not child.ready) and "killed by signal" not in str(error):
            # It ended by itself, some before they were told anything: it is not the program that it should be.
            text = "%s before it could run a task; %s should be taps-wasm %s: set executor.worker_binary or the environment variable TAPS_WASM_BIN to it"
            return ("setup-failed", "no-worker", text % (error, _program.find(settings), settings.get("version", "")))
        return ("done", [(attempt, "lost", str(error), []) for attempt, _ in header])
    except KeyboardInterrupt:
        if child is not None:
            child.sound = False
        return ("done", [(attempt, "cancelled", "cancelled by the engine", []) for attempt, _ in header])
    except Exception as error:
        if child is not None:
            child.sound = False
        return ("setup-failed", "shim", "%s: %s" % (type(error).__name__, error))
    finally:
        if child is not None:
            pool().release(child)


def _set_up(child, package):
    """Waits until a new child can run; ``False`` when it needs the package and there is none."""
    if child.needs_package:
        if package is None:
            return False
        child.needs_package = False
        child.send({"t": "package"}, [unwrapped(package)])
    while True:
        header, _ = child.receive(SETUP_SECONDS)
        if header["t"] == "ready":
            child.ready = True
            child.memory.lends = _memory.CAN_LEND and bool(header.get("shares"))
            return True
        if header["t"] == "need-package":
            if package is None:
                child.needs_package = True
                return False
            child.send({"t": "package"}, [unwrapped(package)])
        elif header["t"] == "failed":
            raise SetupFailed(str(header.get("kind", "protocol")), str(header.get("message", "")))
        else:
            raise SetupFailed("protocol", "taps-wasm worker sent %r before it was ready" % header["t"])


def _ask(settings, child, header, attempts, running, refs, buffers):
    """One ``run`` frame and its answer: results by position."""
    names = [header[position][0] for position in running]
    child.attempts = names
    blobs = [unwrapped(attempts[position]) for position in running]
    child.run(len(running), refs, blobs, buffers)
    late = [name for name in names if (settings["run"], name) in pool().cancelled]
    if late:  # A cancel came between the look at the list and the send.
        child.cancel(late)
    interrupted = []

    def on_interrupt():
        interrupted.append(True)
        child.cancel(names)

    try:
        answer, answered = child.receive(None, on_interrupt)
    except ChildDied as error:
        if not interrupted:
            raise
        child.sound = False
        return {at: (header[at][0], "cancelled", "%s after a cancel" % error, []) for at in running}
    if answer["t"] != "done" or len(answer.get("results", ())) != len(running):
        raise ChildDied("taps-wasm worker (pid %d) answered %r to a batch of %d" % (child.process.pid, answer["t"], len(running)))
    origins = child.given(answer, answered)
    results, taken = {}, 0
    for position, result in zip(running, answer["results"]):
        report, outs = wrapped(settings, answered[taken]), []
        taken += 1
        for at in range(taken, taken + result["outs"]):
            outs.append(wrapped(settings, answered[at], origins.get(at)))
        taken += len(outs)
        results[position] = (result["id"], "ok" if result["ok"] else "not-ok", report, outs)
    return results


def split(value):
    """A call's value as (meta, data): meta goes to the host, data stays and is what later calls get."""
    if value[0] != "done":
        return value, value
    results = [(attempt, status, said, [len(out) for out in outs]) for attempt, status, said, outs in value[1]]
    attempt, status, said, outs = value[1][0]
    if status == "ok":
        return ("done", results), ("data", "ok", outs, [getattr(out, "origin", None) for out in outs])
    said = "task %s failed" % attempt if status == "not-ok" else "task %s: %s" % (attempt, said)
    return ("done", results), ("data", status, said)


def pick(value, index):
    """Output ``index`` of a kept value."""
    what = _read(value, "", index)
    return what[1] if what[0] == "buffer" else None


def same(value):
    """The value itself: a payload as a task."""
    return value


def meta_of(value):
    """The meta part of a kept value."""
    return split(value)[0]


class News:
    """What a Dask worker tells the client of its calls: of each end, and of starts that are not over soon.

    Mostly one event for a call, then. A worker's stream sends at most every 2 ms. News of its own would make the news
    that the task has ended wait for so long: it goes with what is sent next, which is no later than ``_NEWS_SECONDS``.
    """

    everyone = {}
    """By the run's topic and the worker: a process may be several."""

    @classmethod
    def of(cls, settings):
        """That of this thread's worker; none where it is no Dask worker's, and the client sees by itself what ends."""
        try:
            from distributed import get_worker

            worker = get_worker()
        except Exception:
            return None
        key = (settings["events"], id(worker))
        return cls.everyone.get(key) or cls.everyone.setdefault(key, cls(settings, worker))

    def __init__(self, settings, worker):
        self.worker = worker
        self.topic = settings["events"]
        self.keep = settings["keep"]
        self.lock = threading.Lock()
        self.begun = {}
        """Calls of whose start nobody was told, by their first attempt."""
        self.watched = False
        """Whether the loop will look at them."""

    def start(self, names):
        with self.lock:
            self.begun[names[0]] = names
            watched, self.watched = self.watched, True
        if not watched:
            self.worker.loop.add_callback(self.worker.loop.call_later, _NEWS_SECONDS, self.look)

    def look(self):
        """In the loop: tells of those that have started and not ended."""
        with self.lock:
            begun, self.begun, self.watched = self.begun, {}, False
        if begun:
            self.put({"kind": "started", "ids": [name for names in begun.values() for name in names]})

    def end(self, names, value):
        with self.lock:
            began = self.begun.pop(names[0], None) is not None
        message = {"kind": "ended", "ids": names, "began": began, "meta": self.meta(value)}
        self.worker.loop.add_callback(self.put, message)

    def meta(self, value):
        """The meta part of a value; none where it is too large: then the client asks for it."""
        if value[0] != "done":
            return list(value)
        results, size = [], 0
        for attempt, status, said, outs in (split(value)[0] if self.keep else value)[1]:
            said = said if isinstance(said, str) else bytes(unwrapped(said))
            size += len(said)
            results.append([attempt, status, said, outs])
        return ["done", results] if size <= _EVENT_BYTES else None

    def put(self, message):
        """In the loop: puts an event where the worker's stream takes what it sends."""
        event = {"op": "log-event", "topic": self.topic, "msg": message}
        stream, loop = self.worker.batched_stream, self.worker.loop
        try:
            waiting, due = stream.buffer, loop.time() + _NEWS_SECONDS
            waiting.append(event)
            if len(waiting) == 1:
                loop.call_at(due, _send_waiting, stream, event)
        except AttributeError:  # A stream of another make.
            self.worker.batched_send(event)


def _send_waiting(stream, event):
    """Has a Dask stream send, if nothing did since ``event``."""
    if event in stream.buffer and stream.next_deadline is None:
        stream.waker.set()
