"""The bridge: one Python process between the host and an external engine.

::

    host  ==frames==>  reader (main thread) --> Engine (dask, ray, parsl, ...)
          <==frames==  writer thread <-- queue <-- the engine's callbacks

The channel is the process's stdin. It is moved to a private descriptor first
thing, since engines print where they like. The bridge ends when the host says
so and when the channel ends, whatever the engine does.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import os
import platform
import queue
import socket
import sys
import threading
import time
import traceback
import types
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from taps_wasm import _children, _frames, _memory, _program

from . import packages
from .base import Buffer, Context, Engine, Failure, Fatal, Group, Ready, ResultLost, Task, describe
from .call import Sources

PROTOCOL = 1
ENGINES: Dict[str, Tuple[str, Optional[packages.Package]]] = {
    # name: module of this package, package that it has to have
    "threads": ("threads", None),
    "dask": ("dask", packages.DASK),
    "ray": ("ray", packages.RAY),
    "parsl-local": ("parsl", packages.PARSL),
    "parsl-htex": ("parsl", packages.PARSL),
    "globus": ("globus_compute", packages.GLOBUS),
    "taskvine": ("taskvine", packages.TASKVINE),
    # It does with a program, too.
    "hyperqueue": ("hyperqueue", None),
}
"""Engines by the executor's name. A module's class is ``Adapter``; it gets the name."""

MAX_RESULTS = 1024
"""Results in one ``done`` frame at most."""
_MAX_FRAME_BYTES = 64 << 20
_FETCHERS = 4
_END_SECONDS = 5.0


def main() -> None:
    """Takes the channel from stdin, serves it to its end and leaves by ``os._exit``."""
    channel = _take_channel()
    directory = os.path.dirname(sys.executable)
    os.environ["PATH"] = os.pathsep.join(part for part in (directory, os.environ.get("PATH", "")) if part)
    code = 1
    try:
        code = Bridge(channel).serve()
    except BaseException:  # noqa: BLE001 - said on stderr, then the process ends
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Engines leave threads and exit handlers that may wait for ever.
        os._exit(code)


def _take_channel() -> _frames.Channel:
    try:
        stream = socket.socket(fileno=os.dup(0))
        stream.getpeername()
    except OSError:
        sys.stderr.write("this is taps-wasm's bridge to Python engines: taps-wasm starts it, with a socket as its stdin\n")
        os._exit(2)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    stream.set_inheritable(False)
    return _frames.Channel(stream)


class Writer(Context):
    """The one thread that writes to the host, and what engines say through it."""

    def __init__(self, channel: _frames.Channel) -> None:
        self._channel = channel
        self._queue: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="host-writer", daemon=True)
        self._package: Optional[Buffer] = None
        self._package_asked = False
        self._package_waiters: List[Callable[[Buffer], None]] = []
        self._lock = threading.Lock()
        self._fatal_said = False
        self.broken = threading.Event()
        self.settings = {}
        self.scratch = ""
        self.keep = False
        self._thread.start()

    # Context.

    def done(self, task: str, report: Buffer, executions: int = 1) -> None:
        self._queue.put(({"id": task, "executions": executions}, getattr(report, "data", report) if _is_wrapped(report) else report))

    def failed(self, task: str, failure: Failure, executions: int = 1) -> None:
        failed = {"outcome": failure.outcome, "kind": failure.kind, "message": failure.message}
        self._queue.put(({"id": task, "executions": executions, "failed": failed}, None))

    def log(self, level: str, message: str) -> None:
        self.send({"t": "log", "level": level, "message": message})

    def reran(self, tasks: Sequence[str]) -> None:
        self.send({"t": "reran", "ids": list(tasks)})

    def workers(self, joined: Sequence[str], lost: Sequence[Tuple[str, str]]) -> None:
        self.send({"t": "workers", "joined": list(joined), "lost": [{"name": name, "reason": why} for name, why in lost]})

    def fatal(self, error: Fatal) -> None:
        with self._lock:
            if self._fatal_said:
                return
            self._fatal_said = True
        self.send({"t": "fatal", "kind": error.kind, "message": error.message, "fix": error.fix})
        self.broken.set()

    def with_package(self, then: Callable[[Buffer], None]) -> None:
        with self._lock:
            if self._package is None:
                self._package_waiters.append(then)
                if not self._package_asked:
                    self._package_asked = True
                    self.send({"t": "need-package"})
                return
            package = self._package
        then(package)

    # For the bridge.

    def give_package(self, package: Buffer) -> None:
        """The host's answer to ``need-package``."""
        with self._lock:
            self._package = package
            waiters, self._package_waiters = self._package_waiters, []
        for then in waiters:
            then(package)

    def send(self, header: Dict[str, Any], buffers: Sequence[Buffer] = ()) -> None:
        """Queues one frame behind what is queued already."""
        self._queue.put((header, list(buffers)))

    def finish(self, seconds: float) -> None:
        """Writes what is queued and ends the thread."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _write_all(self) -> None:
        try:
            ended = False
            while not ended:
                ended = self._write_some(self._queue.get())
        except OSError:
            pass  # The host is gone: the reader sees that, too.
        except BaseException:  # noqa: BLE001 - without a writer the bridge is of no use
            traceback.print_exc()
            self._channel.socket.shutdown(socket.SHUT_RDWR)

    def _write_some(self, first: Any) -> bool:
        """Writes ``first`` and results that wait behind it; whether the end was among them."""
        entry = first
        while True:
            if entry is None:
                return True
            if "t" in entry[0]:
                self._channel.send(*entry)
                return False
            results, buffers, size = [], [], 0
            while entry is not None and "t" not in entry[0]:
                results.append(entry[0])
                if entry[1] is not None:
                    buffers.append(entry[1])
                    size += len(entry[1])
                if len(results) >= MAX_RESULTS or size >= _MAX_FRAME_BYTES:
                    entry = ()
                    break
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    entry = ()
                    break
            self._channel.send({"t": "done", "results": results}, buffers)
            if entry == ():
                return False


def _is_wrapped(report: Any) -> bool:
    return not isinstance(report, (bytes, bytearray, memoryview))


class Bridge:
    """Reads the host's frames and hands them to the engine."""

    def __init__(self, channel: _frames.Channel) -> None:
        self.channel = channel
        self.writer = Writer(channel)
        self.engine: Optional[Engine] = None
        self._fetchers = concurrent.futures.ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch")

    def serve(self) -> int:
        """Runs to the end of the channel; the process's exit code."""
        deadline = _END_SECONDS
        code = 0
        try:
            threading.Thread(target=self._end_when_broken, name="fatal-watch", daemon=True).start()
            frame = self._receive()
            if frame is None:
                return 0
            self._start(*frame)
            while True:
                frame = self._receive()
                if frame is None:
                    break
                if frame[0]["t"] == "shutdown":
                    deadline = float(frame[0].get("deadline_s", deadline))
                    break
                self._handle(*frame)
        except Fatal as error:
            self.writer.fatal(error)
            code = 3
        except _frames.ProtocolError as error:
            self.writer.fatal(Fatal("engine", f"the bridge could not read the host's frame: {error}", "report this as a bug"))
            code = 3
        self._stop(deadline)
        return code

    def _receive(self) -> Optional[_frames.Frame]:
        try:
            return self.channel.receive()
        except OSError:
            return None

    def _end_when_broken(self) -> None:
        """After a fatal error outside of the reader: wakes the reader with the end of the channel."""
        self.writer.broken.wait()
        self.writer.finish(2.0)
        try:
            self.channel.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        # The main thread may be stuck inside the engine.
        time.sleep(2 * _END_SECONDS)
        os._exit(3)

    def _start(self, header: Dict[str, Any], buffers: List[bytearray]) -> None:
        if header["t"] != "hello" or header.get("protocol") != PROTOCOL:
            raise Fatal(
                "unsupported",
                f"the bridge speaks protocol {PROTOCOL}; the host began with {header['t']!r}, protocol {header.get('protocol')!r}",
                "use the bridge that comes with this taps-wasm",
            )
        name = header["engine"]
        adapter = _load(name)
        modules = {"_frames": _frames, "_memory": _memory, "_program": _program, "_children": _children}  # Lowest first.
        sources = Sources(buffers[0].decode("utf-8"), **{part: _text(module) for part, module in modules.items()})
        writer = self.writer
        writer.sources = sources
        writer.scratch = header["scratch"]
        writer.keep = bool(header.get("keep"))
        writer.settings = dict(header.get("settings") or {}, keep=writer.keep, wrap=adapter.wrap)
        self.engine = adapter
        config = {key: value for key, value in (header.get("config") or {}).items() if value is not None}
        try:
            ready = adapter.start(config, writer)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - anything that an engine raises at its start
            traceback.print_exc()
            raise Fatal(
                "engine",
                f"{name} did not start: {type(error).__name__}: {describe(error)}",
                f"see the messages of {name} above; its settings were {sorted(config)}",
            ) from error
        self._say_ready(name, ready)

    def _say_ready(self, name: str, ready: Ready) -> None:
        self.writer.send(
            {
                "t": "ready",
                "engine": name,
                "version": ready.version,
                "python": platform.python_version(),
                "workers": ready.workers,
                "capabilities": {"cancels_running": ready.cancels_running, "keeps_results": ready.keeps_results},
                "notes": ready.notes,
            }
        )

    def _handle(self, header: Dict[str, Any], buffers: List[bytearray]) -> None:
        engine, kind = self.engine, header["t"]
        assert engine is not None
        try:
            if kind == "submit":
                self._submit(header["groups"], buffers)
            elif kind == "put":
                engine.put(header["key"], buffers[0])
            elif kind == "release":
                engine.release(header["keys"])
            elif kind == "fetch":
                self._fetchers.submit(self._fetch, header["request"], header["key"], header["index"])
            elif kind == "cancel":
                self._cancel(header["ids"])
            elif kind == "package":
                self.writer.give_package(buffers[0])
            else:
                self.writer.log("warning", f"the bridge does not know the host's message {kind!r}")
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - one message's trouble must not end the run
            traceback.print_exc()
            self.writer.log("error", f"{engine.name}: {kind} failed: {type(error).__name__}: {describe(error)}")

    def _submit(self, groups: List[Dict[str, Any]], buffers: List[bytearray]) -> None:
        assert self.engine is not None
        taken = 0
        for entry in groups:
            tasks = []
            for task in entry["tasks"]:
                refs = [(key, index) for key, index in task.get("refs") or ()]
                tasks.append(Task(task["id"], task["key"], refs, buffers[taken]))
                taken += 1
            demands = entry.get("resources") or {}
            group = Group(
                tasks,
                float(demands.get("cores") or 1.0),
                int(demands.get("memory_bytes") or 0),
                dict(demands.get("custom") or {}),
                int(entry.get("priority") or 0),
            )
            try:
                self.engine.submit(group)
            except Fatal:
                raise
            except Exception as error:  # noqa: BLE001
                failure = self.engine.classify(error)
                for task in tasks:
                    self.writer.failed(task.id, failure)

    def _cancel(self, ids: List[str]) -> None:
        """Writes the files that children look for, then asks the engine."""
        assert self.engine is not None
        folder = self.writer.settings.get("cancel_dir")
        if folder:
            for task in ids:
                try:
                    with open(os.path.join(folder, task), "x", encoding="utf-8"):
                        pass
                except OSError:
                    pass  # There already, or a folder of other hosts only.
        self.engine.cancel(ids)

    def _fetch(self, request: int, key: str, index: int) -> None:
        assert self.engine is not None
        try:
            data = self.engine.fetch(key, index)
            self.writer.send({"t": "fetched", "request": request, "ok": True}, [data])
        except BaseException as error:  # noqa: BLE001 - every request gets an answer
            lost = isinstance(error, ResultLost)
            self.writer.send({"t": "fetched", "request": request, "ok": False, "message": describe(error), "lost": lost})

    def _stop(self, deadline: float) -> None:
        """Ends the engine in bounded time; nothing waits for it longer."""
        if self.engine is not None:
            stopping = threading.Thread(target=self._stop_engine, args=(deadline,), name="engine-stop", daemon=True)
            stopping.start()
            stopping.join(deadline + 1.0)
        self.writer.finish(2.0)

    def _stop_engine(self, deadline: float) -> None:
        assert self.engine is not None
        try:
            self.engine.stop(deadline)
        except BaseException:  # noqa: BLE001 - it ends anyway
            traceback.print_exc()


def _text(module: types.ModuleType) -> str:
    """The source of a module of this package."""
    with open(module.__file__ or "", encoding="utf-8") as file:
        return file.read()


def _load(name: str) -> Engine:
    """The adapter of an engine; ``Fatal`` when its package is not there."""
    if name not in ENGINES:
        raise Fatal("config", f"there is no engine {name!r}", f"choose one of {', '.join(sorted(ENGINES))}")
    module, package = ENGINES[name]
    install = package.name if package is not None else ""
    try:
        if package is not None:
            importlib.import_module(package.module)
    except ImportError as error:
        where = f"{sys.executable} (Python {platform.python_version()})"
        raise Fatal(
            "missing-package",
            f"the executor {name!r} needs the Python package {install!r}, which {where} cannot import: {error}",
            install_command(install),
        ) from error
    adapter: Engine = importlib.import_module(f"{__name__}.{module}").Adapter()
    adapter.name = name
    return adapter


def install_command(package: str) -> str:
    """What to type to get an engine's package for this interpreter."""
    return f"install it with `{packages.how_to_install(package)}`, or name another interpreter by `executor.python`"


if __name__ == "__main__":
    main()
