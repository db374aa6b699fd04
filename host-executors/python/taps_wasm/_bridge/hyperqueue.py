"""HyperQueue: one program task per group, ``taps-wasm exec IN OUT`` on files in a directory that workers share.

HyperQueue moves no data and its workers have no Python: what it needs is a
directory that the submitting side and the workers both see, ``shared_dir`` or,
with workers on this machine, the run's scratch directory. Each run has in it

    in/N      the request of group N            runs/N    a byte for each time that N was started
    out/N     its answer, put there by rename   err/N     what a failed run wrote on standard error
    cancel/   files named like attempts that are asked to stop

An answer is noticed by looking into ``out/`` every 20 ms, which costs less and is
sooner than asking the server; the server is asked only for failures. It is spoken
to through the ``hq`` program where there is one, else through the package
``hyperqueue`` of PyPI, which has client, server and worker but no ``hq``.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import tempfile
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from . import execute
from .base import Context, Engine, Failure, Fatal, Group, Ready, describe, run_bounded
from .demands import Share, Unkept, is_accepted, memory_here, refuse_custom
from .hq_server import INSTALL, START_S, amount, open_server, short

LOOK_S = 0.02
"""How often finished groups are looked for."""
ASK_S = 0.5
"""How often the server is asked for failed tasks."""
UNKNOWN_WORKERS = 64
"""Workers that the host is told of where they come and go: too few would leave some idle."""
SUBMIT_MOST = 500
"""Most groups in one HyperQueue job."""

# The run's directory and the group's number are arguments, so no name is ever read by the shell.
_SCRIPT = 'printf . >> "$2/runs/$3" && exec "$1" exec "$2/in/$3" "$2/out/$3"'


class _Call:
    """One group in HyperQueue's hands."""

    def __init__(self, number: int, group: Group) -> None:
        self.number = number
        self.group = group
        self.job: Optional[int] = None
        self.task = 0


class Adapter(Engine):
    """The executor ``hyperqueue``."""

    name = "hyperqueue"

    def __init__(self) -> None:
        self.context: Context = None  # type: ignore[assignment]  # set by start()
        self._numbers = itertools.count()
        self._submissions: "queue.Queue[Optional[Group]]" = queue.Queue()
        self._lock = threading.Lock()
        self._calls: Dict[int, _Call] = {}
        self._jobs: Dict[int, Dict[int, _Call]] = {}
        self._spent: List[int] = []
        self._outstanding = threading.Event()
        self._stopping = threading.Event()
        self._threads: List[threading.Thread] = []
        self._directory = ""
        self._server: Any = None  # a Server from start() on
        self._local_cores = 0
        self._unkept: Unkept = None  # type: ignore[assignment]  # set by start()

    # -------------------------------------------------------------------------------------------- start and stop

    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """See ``Engine.start``."""
        self.context = context
        self._unkept = Unkept(self.name, context)
        options = _options(config)
        self._binary = _binary_for(context.settings, options)
        self._options = options
        late = Fatal(
            "unreachable",
            f"hyperqueue: the server {_where(options)} did not answer within {START_S:.0f} s",
            "check with `hq server info` that it runs, or leave `executor.server_dir` out to start one here",
        )
        self._server = server = open_server(options, context)
        try:
            version, cores, notes = run_bounded(server.start, START_S, late)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - the package raises RuntimeError with a stack trace in its text
            fix = "check `executor.server_dir` and that the server runs (`hq server info --server-dir …`)"
            raise Fatal(
                "unreachable", f"hyperqueue: the server {_where(options)} cannot be used: {short(error)}", fix
            ) from None
        self._local_cores = cores if options["server_dir"] is None and not options["alloc"] else 0
        self._make_directory(options, context)
        for body in (self._submit_loop, self._look_loop, self._ask_loop):
            thread = threading.Thread(target=self._guarded, args=(body,), name=body.__name__.strip("_"), daemon=True)
            thread.start()
            self._threads.append(thread)
        return Ready(version, cores or UNKNOWN_WORKERS, cancels_running=True, keeps_results=False, notes=notes)

    def _make_directory(self, options: Mapping[str, Any], context: Context) -> None:
        self._package = str(context.settings["path"])
        beside = os.path.dirname(self._package)
        # The host puts the package where all workers see it, if it knows such a place, and removes that in every ending.
        shared = not _is_below(beside, context.scratch)
        base = beside if shared else options["shared_dir"] or context.scratch
        try:
            os.makedirs(base, exist_ok=True)
            self._directory = tempfile.mkdtemp(prefix="taps-hq-", dir=base)
            for name in ("in", "out", "runs", "err", "cancel"):
                os.mkdir(os.path.join(self._directory, name))
            if not shared and options["shared_dir"]:
                self._package = shutil.copy(self._package, os.path.join(self._directory, "package"))
        except OSError as error:
            text = f"hyperqueue: `executor.shared_dir` = {base!r} cannot be used: {error}"
            raise Fatal("config", text, "name a directory that can be written to") from None

    def stop(self, deadline_s: float) -> None:
        """See ``Engine.stop``."""
        self._stopping.set()
        self._outstanding.set()
        self._submissions.put(None)
        with self._lock:
            jobs = [job for job, calls in self._jobs.items() if calls]
        server = self._server
        try:
            if server is not None:
                run_bounded(lambda: server.stop(jobs), max(0.5, deadline_s), Fatal("engine", "no answer", ""))
        except Exception as error:  # noqa: BLE001 - what is left is killed by the process above this one
            self.context.log("debug", f"hyperqueue: the server did not stop in order: {short(error)}")
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except Exception as error:  # noqa: BLE001 - a dead loop would leave tasks without an answer
            if not self._stopping.is_set():
                self.context.fatal(
                    Fatal(
                        "engine",
                        f"hyperqueue: {short(error)}",
                        "check that the server and `executor.shared_dir` are still there",
                    )
                )

    # -------------------------------------------------------------------------------------------- submitting

    def submit(self, group: Group) -> None:
        """See ``Engine.submit``."""
        if is_accepted(self.context, "hyperqueue", group, self._check):
            self._submissions.put(group)

    def _check(self, group: Group) -> None:
        """HyperQueue waits for ever for a worker that is large enough; of its own workers we know the size."""
        if not self._local_cores or group.is_usual:
            return
        Share(self._local_cores, memory_here(), "executor.workers", "this machine's memory").check("hyperqueue", group)
        if not self._server.has_custom_resources:
            refuse_custom("hyperqueue", group, "use executor.server_dir with workers started with --resource")
            if group.memory_bytes:
                self._unkept.tell("memory", "the package's own worker does not count it; use `hq` or executor.server_dir")

    def _submit_loop(self) -> None:
        while not self._stopping.is_set():
            group = self._submissions.get()
            groups = []
            while group is not None:
                groups.append(group)
                if len(groups) >= SUBMIT_MOST:
                    break
                try:
                    group = self._submissions.get_nowait()
                except queue.Empty:
                    break
            if groups:
                self._submit_job(groups)

    def _submit_job(self, groups: Sequence[Group]) -> None:
        calls: List[_Call] = []
        for group in groups:
            call = _Call(next(self._numbers), group)
            try:
                data = execute.request(self.context.settings, group, self._package, self._path("cancel"))
                with open(self._path("in", call), "wb") as file:
                    file.write(data)
            except Exception as error:  # noqa: BLE001
                self._fail(
                    call,
                    Failure(
                        "payload-error", "shared-directory", f"the request could not be written: {describe(error)}"
                    ),
                )
                continue
            call.task = len(calls)
            calls.append(call)
        if not calls:
            return
        with self._lock:
            self._calls.update((call.number, call) for call in calls)
        self._outstanding.set()
        try:
            job = self._server.submit([self._program(call) for call in calls])
        except Exception as error:  # noqa: BLE001
            for call in calls:
                if self._take(call.number) is not None:
                    self._fail(
                        call, Failure("engine-error", "submission", f"hyperqueue did not take the task: {short(error)}")
                    )
            return
        with self._lock:
            waiting = {}
            for call in calls:
                call.job = job
                if call.number in self._calls:
                    waiting[call.task] = call
            self._jobs[job] = waiting
            if not waiting:
                self._spent.append(job)

    def _program(self, call: _Call) -> Dict[str, Any]:
        group = call.group
        resources: Dict[str, Any] = {"cpus": amount(max(group.cores, 0.0001))}
        resources.update((name, amount(value)) for name, value in group.custom.items())
        return {
            "args": ["/bin/sh", "-c", _SCRIPT, "sh", self._binary, self._directory, str(call.number)],
            "cwd": self._directory,
            "stderr": self._path("err", call),
            "resources": resources,
            "memory_bytes": group.memory_bytes,
            "priority": group.priority,
        }

    def _path(self, kind: str, call: Optional[_Call] = None) -> str:
        return os.path.join(self._directory, kind, *([str(call.number)] if call else []))

    # -------------------------------------------------------------------------------------------- finished groups

    def _look_loop(self) -> None:
        while not self._stopping.is_set():
            self._outstanding.wait()
            self._look()
            with self._lock:
                if not self._calls and not self._stopping.is_set():
                    self._outstanding.clear()
            time.sleep(LOOK_S)

    def _look(self) -> None:
        with os.scandir(self._path("out")) as entries:
            names = [entry.name for entry in entries if entry.name.isdigit()]
        for name in names:
            call = self._take(int(name))
            if call is not None:
                self._read(call)
            else:
                _remove(os.path.join(self._directory, "out", name))

    def _take(self, number: int) -> Optional[_Call]:
        """The call, once: whoever gets it reports it."""
        with self._lock:
            call = self._calls.pop(number, None)
            if call is not None and call.job is not None:
                self._jobs[call.job].pop(call.task, None)
                if not self._jobs[call.job]:
                    self._spent.append(call.job)
            return call

    def _read(self, call: _Call) -> None:
        executions = self._executions(call)
        try:
            with open(self._path("out", call), "rb") as file:
                value = execute.answer(file.read())
        except Exception as error:  # noqa: BLE001
            self._fail(
                call, Failure("engine-error", "answer", f"the answer of the task cannot be read: {describe(error)}")
            )
            return
        self.context.report(call.group, value, executions)
        self._forget_files(call)

    def _executions(self, call: _Call) -> int:
        try:
            return max(1, os.path.getsize(self._path("runs", call)))
        except OSError:
            return 1

    def _started(self, call: _Call) -> bool:
        return os.path.exists(self._path("runs", call))

    def _fail(self, call: _Call, failure: Failure) -> None:
        executions = self._executions(call)
        for task in call.group.tasks:
            self.context.failed(task.id, failure, executions)
        self._forget_files(call)

    def _forget_files(self, call: _Call) -> None:
        for kind in ("in", "out", "runs", "err"):
            _remove(self._path(kind, call))
        for task in call.group.tasks:
            _remove(os.path.join(self._directory, "cancel", task.id))

    # -------------------------------------------------------------------------------------------- failed groups

    def _ask_loop(self) -> None:
        failures = 0
        while not self._stopping.wait(ASK_S):
            with self._lock:
                jobs = [job for job, calls in self._jobs.items() if calls]
                spent, self._spent = self._spent, []
            try:
                if jobs:
                    self._settle(self._server.failed(jobs))
                self._drop(spent)
                failures = 0
            except Exception as error:  # noqa: BLE001 - a server may be busy for a moment
                failures += 1
                if failures >= 10 and not self._stopping.is_set():
                    raise RuntimeError(f"the server does not answer any more: {short(error)}") from None

    def _settle(self, failed: Sequence[Tuple[int, int, str]]) -> None:
        for job, task, error in failed:
            with self._lock:
                call = self._jobs.get(job, {}).get(task)
            if call is None or self._take(call.number) is None:
                continue
            if os.path.exists(self._path("out", call)):
                self._read(call)
            else:
                self._fail(call, self._classify(error, self._stderr(call)))

    def _drop(self, spent: Sequence[int]) -> None:
        """Finished jobs stay in the server's memory until they are forgotten."""
        for job in spent:
            if self._server.forget(job):
                with self._lock:
                    self._jobs.pop(job, None)
            else:
                with self._lock:
                    self._spent.append(job)

    def _stderr(self, call: _Call) -> str:
        try:
            with open(self._path("err", call), "rb") as file:
                return file.read()[-2000:].decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _classify(self, error: str, stderr: str) -> Failure:
        text = short(error)
        said = f"; it wrote: {stderr}" if stderr else ""
        if "lost worker" in text or "was lost" in text:
            return Failure("worker-lost", "worker-lost", text)
        if "Received signal" in text or "exit code 137" in text:
            return Failure("worker-lost", "child-died", text + said)
        if "Time limit" in text:
            return Failure(
                "engine-error", "time-limit", f"{text}: `executor.time_limit` = {self._options['time_limit']!r}"
            )
        if "exit code 127" in text or "exit code 126" in text:
            fix = "set `executor.worker_binary` to a path that every worker sees"
            return Failure("engine-error", "no-binary", f"{self._binary!r} cannot be run on the worker{said}; {fix}")
        if "exit code" in text and not stderr:
            return Failure(
                "engine-error",
                "exit-status",
                f"{text} The run's directory {self._directory!r} has to be seen by the workers: set `executor.shared_dir`",
            )
        if "ancel" in text:
            return Failure("cancelled", "cancelled", text)
        return Failure("engine-error", "task", text + said)

    # -------------------------------------------------------------------------------------------- cancels

    def cancel(self, ids: Sequence[str]) -> None:
        """See ``Engine.cancel``: a run stops when its file appears; what has not started is answered at once."""
        wanted = set(ids)
        with self._lock:
            calls = [call for call in self._calls.values() if wanted.intersection(call.group.ids)]
        for call in calls:
            for task in call.group.ids:
                if task in wanted:
                    with open(os.path.join(self._directory, "cancel", task), "wb"):
                        pass
            if wanted.issuperset(call.group.ids) and not self._started(call) and self._take(call.number) is not None:
                _remove(self._path("in", call))
                for task in call.group.ids:
                    self.context.failed(task, Failure("cancelled", "cancelled", "cancelled before it started"), 0)


# ------------------------------------------------------------------------------------------------ options


def _options(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The executor's fields, checked; a wrong one is a ``Fatal`` that names it."""
    crash_limit = config.get("crash_limit")
    crash_limit = 1 if crash_limit is None else crash_limit
    if not isinstance(crash_limit, int) or isinstance(crash_limit, bool) or not 1 <= crash_limit <= 65535:
        raise Fatal(
            "config",
            f"hyperqueue: `executor.crash_limit` = {crash_limit!r} is not a number from 1 to 65535",
            "1 leaves retries to taps-wasm",
        )
    workers = config.get("workers")
    workers = (os.cpu_count() or 1) if workers is None else workers
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise Fatal(
            "config",
            f"hyperqueue: `executor.workers` = {workers!r} is not a number from 1 on",
            "leave it out for one per CPU",
        )
    alloc = config.get("alloc") or []
    if isinstance(alloc, str) or not all(isinstance(part, str) for part in alloc):
        raise Fatal(
            "config",
            f"hyperqueue: `executor.alloc` = {alloc!r} is not a list of arguments",
            'such as ["slurm", "--time-limit", "1h", "--", "--partition=p1"]',
        )
    server_dir = config.get("server_dir")
    shared_dir = config.get("shared_dir")
    return {
        "server_dir": os.path.expanduser(server_dir) if server_dir else None,
        "shared_dir": os.path.abspath(os.path.expanduser(shared_dir)) if shared_dir else None,
        "workers": workers,
        "time_limit": str(config["time_limit"]) if config.get("time_limit") else None,
        "crash_limit": crash_limit,
        "alloc": list(alloc),
        "hq": _find_hq(config.get("hq")),
    }


def _find_hq(named: Optional[str]) -> Optional[str]:
    found = shutil.which(os.path.expanduser(named)) if named else shutil.which("hq")
    if named and found is None:
        raise Fatal("config", f"hyperqueue: `executor.hq` = {named!r} is not a program that can be run", INSTALL)
    return found


def _binary_for(settings: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """On foreign workers a name is looked up there; with workers here the program has to be here."""
    if options["server_dir"] is None and not options["alloc"]:
        return execute.find_binary(settings, "hyperqueue")
    return str(settings.get("binary") or os.environ.get("TAPS_WASM_BIN") or "taps-wasm")


def _where(options: Mapping[str, Any]) -> str:
    return f"`executor.server_dir` = {options['server_dir']!r}" if options["server_dir"] else "that is started here"


def _is_below(path: str, directory: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), os.path.realpath(directory)]) == os.path.realpath(directory)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
