"""TaskVine: each group is a task of its own, or a call of a library that stays on the worker.

Process mode runs ``./taps-wasm exec in out`` in a sandbox directory, with the
program and the package as cached inputs; library mode (``serverless``) sends
``taps-wasm taskvine-library`` once to each worker and calls it with the same
files, which saves the start of a process. Workers need no Python and nothing of
taps-wasm beforehand.

Two properties of cctools shape this module. A manager is for one thread, and
its ``wait`` holds Python's global lock while it waits, for up to a second. So one
thread owns the manager and calls ``wait`` only while tasks are out; when one has
come back and workers are free, it first listens for a moment for what the host
submits next, which otherwise would stand still until ``wait`` returns.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from . import execute
from .base import Context, Engine, Failure, Fatal, Group, Infeasible, Ready, describe, run_bounded
from .demands import Share, is_accepted

START_S = 30.0
"""How long the manager and its factory may take to start."""
LISTEN_S = 0.02
"""How long new tasks are listened for after a result, while workers are free."""
IDLE_S = 1.0
"""How often workers that join or leave are seen to while no task is out."""
UNKNOWN_CAPACITY = 16
"""Tasks that may be out before workers count as busy, where we did not start the workers."""
UNKNOWN_WORKERS = 64
"""Workers that the host is told of where we did not start them: too few would leave some idle."""
LIBRARY = "taps-wasm"
_MEGABYTE = 1 << 20


class _Call:
    """One group in TaskVine's hands."""

    def __init__(self, group: Group, task: Any, request: Any, answer: Any) -> None:
        self.group = group
        self.task = task
        self.request = request
        self.answer = answer


class Adapter(Engine):
    """The executor ``taskvine``."""

    name = "taskvine"

    def __init__(self) -> None:
        self.context: Context = None  # type: ignore[assignment]  # set by start()
        self._commands: "queue.Queue[Callable[[], None]]" = queue.Queue()
        self._calls: Dict[int, _Call] = {}
        self._stopping = False
        self._stopped = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._manager: Any = None
        self._factory: Any = None
        self._joined = self._lost = 0

    # -------------------------------------------------------------------------------------------- start and stop

    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """See ``Engine.start``."""
        self.context = context
        self._options = _options(config)
        self._binary = execute.find_binary(context.settings, "taskvine")
        started: "queue.Queue[Any]" = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(started,), name="taskvine-manager", daemon=True)
        self._thread.start()
        late = Fatal(
            "engine",
            f"taskvine: the manager did not start within {START_S:.0f} s",
            "see the messages of TaskVine above",
        )
        said = run_bounded(started.get, START_S, late)
        if isinstance(said, BaseException):
            raise said
        ready: Ready = said
        return ready

    def _run(self, started: "queue.Queue[Any]") -> None:
        """The manager's thread, from its birth to its end."""
        try:
            ready = self._open()
        except Exception as error:  # noqa: BLE001 - swig and the factory raise anything
            started.put(error if isinstance(error, Fatal) else _fatal(error, self._options))
            self._close()
            return
        started.put(ready)
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001 - without this thread no task is answered
            if not self._stopping:
                self.context.fatal(
                    Fatal(
                        "engine",
                        f"taskvine: the manager failed: {describe(error)}",
                        "see the messages of TaskVine above",
                    )
                )
        finally:
            self._close()

    def _open(self) -> Ready:
        import ndcctools.taskvine as vine

        self._vine = vine
        options = self._options
        self._manager = manager = vine.Manager(
            port=options["port"],
            name=options["manager_name"],
            shutdown=options["factory"],
            run_info_path=os.path.join(self.context.scratch, "vine"),
            ssl=options["ssl"],
        )
        if options["password_file"] and not manager.set_password_file(options["password_file"]):
            raise Fatal(
                "config",
                f"taskvine: `executor.password_file` = {options['password_file']!r} cannot be read",
                "name a file that this user can read",
            )
        if options["peer_transfers"] is not None:
            (manager.enable_peer_transfers if options["peer_transfers"] else manager.disable_peer_transfers)()
        for name, value in options["tune"].items():
            if manager.tune(name, value) != 0:
                raise Fatal(
                    "config",
                    f"taskvine: `executor.tune` has {name!r}, which this TaskVine does not know",
                    "see `Manager.tune` in TaskVine's manual",
                )
        cache = options["bundle_cache"]
        self._files = {
            "taps-wasm": manager.declare_file(self._binary, cache=cache),
            "package": manager.declare_file(self.context.settings["path"], cache=cache),
        }
        if options["serverless"]:
            self._install_library()
        notes = self._start_factory() if options["factory"] else self._tell_port()
        version = str(getattr(vine, "__version__", "unknown"))
        slots = options["workers"] * options["slots"] if options["factory"] else UNKNOWN_WORKERS
        return Ready(version, slots, cancels_running=not options["serverless"], keeps_results=False, notes=notes)

    def _install_library(self) -> None:
        library = self._vine.LibraryTask(f"./taps-wasm taskvine-library {LIBRARY}", LIBRARY)
        library.set_function_exec_mode_from_string("direct")
        library.set_function_slots(self._options["slots"])
        library.set_cores(self._options["cores_per_worker"])
        for name, file in self._files.items():
            library.add_input(file, name)
        self._manager.install_library(library)

    def _start_factory(self) -> List[str]:
        options = self._options
        self._factory = factory = self._vine.Factory(batch_type=options["batch_type"], manager=self._manager)
        factory.min_workers = options["workers"]
        factory.max_workers = options["workers"]
        factory.cores = options["cores_per_worker"]
        if options["password_file"]:
            factory.password = options["password_file"]
        factory.start()
        return []

    def _tell_port(self) -> List[str]:
        port = self._manager.port
        name = self._options["manager_name"]
        by_name = f" or `vine_worker -M {name}`" if name else ""
        return [f"taskvine: the manager listens on port {port}; start workers with `vine_worker HOST {port}`{by_name}"]

    def stop(self, deadline_s: float) -> None:
        """See ``Engine.stop``."""

        def end() -> None:
            self._stopping = True

        self._commands.put(end)
        if self._thread is not None:
            self._stopped.wait(max(1.5, deadline_s))

    def _close(self) -> None:
        try:
            for number in list(self._calls):
                self._manager.cancel_by_task_id(number)
            if self._factory is not None:
                self._factory.stop()
        except Exception as error:  # noqa: BLE001 - what is left is killed by the process above this one
            self.context.log("debug", f"taskvine: {describe(error)}")
        finally:
            # Its destructor tells the workers to end.
            self._factory = self._manager = None
            self._stopped.set()

    # -------------------------------------------------------------------------------------------- the manager's thread

    def _loop(self) -> None:
        looked = time.monotonic()
        while not self._stopping:
            self._obey(0.0 if self._calls else IDLE_S)
            if self._stopping:
                return
            # With no task out this sees to workers only; where none waits it returns after its second at the latest.
            if self._calls or time.monotonic() - looked > 5 * IDLE_S:
                self._take(self._manager.wait(1))
            while self._calls:
                task = self._manager.wait(0)
                if task is None:
                    break
                self._take(task)
            if time.monotonic() - looked > IDLE_S:
                looked = time.monotonic()
                self._look_at_workers()

    def _obey(self, patience_s: float) -> None:
        """Runs what the bridge asked for; waits at most ``patience_s`` for the first of it."""
        try:
            command = self._commands.get(timeout=patience_s) if patience_s else self._commands.get_nowait()
            while True:
                command()
                command = self._commands.get_nowait()
        except queue.Empty:
            pass

    def _take(self, task: Any) -> None:
        if task is None:
            return
        call = self._calls.pop(task.id, None)
        if call is not None:
            self._finish(call)
        capacity = self._options["workers"] * self._options["slots"] if self._options["factory"] else UNKNOWN_CAPACITY
        # Python's lock is free while we listen: this is when the bridge sends results and reads what follows them.
        self._obey(LISTEN_S if len(self._calls) < capacity else 0.001)

    def _look_at_workers(self) -> None:
        stats = self._manager.stats
        joined, lost = int(stats.workers_joined), int(stats.workers_lost)
        if joined > self._joined or lost > self._lost:
            names = [f"worker {number + 1}" for number in range(self._joined, joined)]
            reason = "its connection was lost; TaskVine runs its tasks again"
            self.context.workers(names, [("a worker", reason)] * (lost - self._lost))
            self._joined, self._lost = joined, lost

    # -------------------------------------------------------------------------------------------- tasks

    def submit(self, group: Group) -> None:
        """See ``Engine.submit``."""
        if is_accepted(self.context, "taskvine", group, self._check):
            self._commands.put(lambda: self._submit(group))

    def _check(self, group: Group) -> None:
        """What TaskVine would let wait for ever, and what a library's call cannot have."""
        if group.is_usual:
            return
        options = self._options
        if options["factory"]:
            Share(options["cores_per_worker"], None, "executor.cores_per_worker").check(self.name, group)
        unknown = sorted(set(group.custom) - {"gpus", "disk_bytes"})
        if unknown:
            raise Infeasible(f"the task demands {unknown}; taskvine knows cores, memory, `gpus` and `disk_bytes`; lower the demand")
        if not options["serverless"]:
            return
        slot = options["cores_per_worker"] // options["slots"]
        beyond = [f"{group.cores:g} cores"] if group.cores > max(1, slot) else []
        beyond += [f"{group.memory_bytes} bytes of memory"] if group.memory_bytes else []
        beyond += [f"{amount:g} of {name}" for name, amount in sorted(group.custom.items())]
        if beyond:
            text = f"the task demands {', '.join(beyond)}; with executor.serverless = true it is a call of taskvine's library, with {max(1, slot)} cores"
            raise Infeasible(f"{text} and no other resources; set executor.serverless to false, or lower the demand")

    def _submit(self, group: Group) -> None:
        try:
            call = self._make(group)
            self._calls[self._manager.submit(call.task)] = call
        except Exception as error:  # noqa: BLE001
            for task in group.tasks:
                self.context.failed(task.id, self.classify(error), 0)

    def _make(self, group: Group) -> _Call:
        manager, options = self._manager, self._options
        data = execute.request(self.context.settings, group, "package", self.context.settings.get("cancel_dir"))
        request, answer = manager.declare_buffer(data), manager.declare_buffer()
        if options["serverless"]:
            # A call takes one of the library's slots, and no resources of its own.
            task = self._vine.Task("run")
            task.set_library_required(LIBRARY)
        else:
            task = self._vine.Task("./taps-wasm exec in out")
            task.add_input(self._files["taps-wasm"], "taps-wasm")
            task.set_cores(int(max(group.cores, options["cores_per_task"])))
            if group.memory_bytes:
                task.set_memory(-(-group.memory_bytes // _MEGABYTE))
            if group.custom.get("gpus"):
                task.set_gpus(int(group.custom["gpus"]))
            if group.custom.get("disk_bytes"):
                task.set_disk(-(-int(group.custom["disk_bytes"]) // _MEGABYTE))
        task.add_input(self._files["package"], "package")
        task.add_input(request, "in")
        task.add_output(answer, "out")
        task.set_priority(group.priority)
        # What a worker gave back unstarted comes to us at once. A worker that is lost TaskVine does not ask about:
        # its tasks run again, and `_executions` shows it.
        task.set_max_forsaken(0)
        task.set_retries(1)
        return _Call(group, task, request, answer)

    def _finish(self, call: _Call) -> None:
        executions = self._executions(call.task)
        try:
            failure = self._failure(call.task)
            value = execute.answer(call.answer.contents()) if failure is None else None
        except Exception as error:  # noqa: BLE001
            failure = Failure("engine-error", "answer", f"the answer of the task cannot be read: {describe(error)}")
        if failure is None:
            self.context.report(call.group, value, executions)
        else:
            for task in call.group.tasks:
                self.context.failed(task.id, failure, executions)
        for file in (call.request, call.answer):
            self._manager.undeclare_file(file)

    def _executions(self, task: Any) -> int:
        """At least this many: the time that lost workers spent on a task is the only trace of them."""
        return 2 if task.get_metric("time_workers_execute_failure") > 0 else 1

    def _failure(self, task: Any) -> Optional[Failure]:
        """TaskVine's result and the program's exit code in our terms; ``None`` for a run that answered."""
        result = str(task.result)
        code = int(task.exit_code)
        said = str(task.std_output or "").strip()[-2000:]
        output = f"; it wrote: {said}" if said else ""
        if result in ("success", "output missing") and code:
            return _exit_failure(code, output)
        if result == "success":
            return None
        if result in ("forsaken", "unknown", "max retries"):
            return Failure("worker-lost", "forsaken", f"TaskVine gave the task back ({result})")
        if result == "signal":
            return Failure("worker-lost", "child-died", f"the program was ended by signal {code}{output}")
        if result == "resource exhaustion":
            return Failure(
                "out-of-memory", "resource-exhaustion", f"the task used more than its share of the worker{output}"
            )
        if result == "cancelled":
            return Failure("cancelled", "cancelled", "cancelled")
        if result in (
            "input missing",
            "output missing",
            "stdout missing",
            "sandbox exhaustion",
            "output transfer error",
        ):
            return Failure("payload-error", result.replace(" ", "-"), f"TaskVine: {result}{output}")
        return Failure("engine-error", result.replace(" ", "-"), f"TaskVine: {result}{output}")

    def cancel(self, ids: Sequence[str]) -> None:
        """See ``Engine.cancel``: a task is killed on its worker; a library's call is let go of and runs on."""
        wanted = set(ids)

        def end() -> None:
            for number, call in list(self._calls.items()):
                if wanted.issuperset(call.group.ids):
                    self._manager.cancel_by_task_id(number)

        self._commands.put(end)


def _exit_failure(code: int, output: str) -> Failure:
    if code in (126, 127):
        return Failure(
            "engine-error",
            "no-binary",
            f"taps-wasm cannot be run on the worker (exit code {code}){output}; it has to be built for the worker's system",
        )
    if code > 128:
        return Failure("worker-lost", "child-died", f"the program was ended by signal {code - 128}{output}")
    return Failure("engine-error", "exit-status", f"the program ended with exit code {code} and no answer{output}")


def _options(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The executor's fields with TaPS's defaults, checked; a wrong one is a ``Fatal`` that names it."""
    options: Dict[str, Any] = {
        "cores_per_task": _at_least(config, "cores_per_task", 1, 1),
        "workers": _at_least(config, "workers", 1, 1),
        "debug": bool(config.get("debug", False)),
        "factory": bool(config.get("factory", True)),
        "serverless": bool(config.get("serverless", False)),
        "port": _port(config.get("port", 9123)),
        "manager_name": config.get("manager_name"),
        "batch_type": config.get("batch_type", "local"),
        "password_file": config.get("password_file"),
        "ssl": _ssl(config.get("ssl", False)),
        "peer_transfers": config.get("peer_transfers"),
        "bundle_cache": config.get("bundle_cache", "worker"),
    }
    options["cores_per_worker"] = _at_least(config, "cores_per_worker", options["cores_per_task"], 1)
    slots = options["cores_per_worker"] // options["cores_per_task"]
    if not slots:
        text = f"taskvine: `executor.cores_per_worker` = {options['cores_per_worker']} is less than `executor.cores_per_task` = {options['cores_per_task']}"
        raise Fatal("config", text, "give a worker at least the cores of one task")
    options["slots"] = _at_least(config, "library_slots", slots, 1) if options["serverless"] else slots
    if options["bundle_cache"] not in ("worker", "forever"):
        raise Fatal(
            "config",
            f"taskvine: `executor.bundle_cache` = {options['bundle_cache']!r} is neither 'worker' nor 'forever'",
            "'worker' keeps it as long as the worker lives",
        )
    if options["batch_type"] != "local" and not options["factory"]:
        raise Fatal(
            "config",
            "taskvine: `executor.batch_type` is for workers that the factory starts, and `executor.factory` is false",
            "leave one of them out",
        )
    tune = config.get("tune") or {}
    if not isinstance(tune, dict) or not all(isinstance(value, (int, float)) for value in tune.values()):
        raise Fatal(
            "config",
            f"taskvine: `executor.tune` = {tune!r} is not an object of names and numbers",
            "see `Manager.tune` in TaskVine's manual",
        )
    options["tune"] = dict({"watch-library-logfiles": 1} if options["debug"] and options["serverless"] else {}, **tune)
    return options


def _at_least(config: Mapping[str, Any], name: str, default: int, least: int) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Fatal(
            "config",
            f"taskvine: `executor.{name}` = {value!r} is not a whole number from {least} on",
            f"leave it out for {default}",
        )
    return value


def _port(value: Any) -> Any:
    ports = value if isinstance(value, list) else [value]
    if not all(isinstance(port, int) and not isinstance(port, bool) and 0 <= port <= 65535 for port in ports) or len(
        ports
    ) not in (1, 2):
        raise Fatal(
            "config", f"taskvine: `executor.port` = {value!r} is neither a port nor [low, high]", "0 chooses a free one"
        )
    return value


def _ssl(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return tuple(value)
    if not isinstance(value, bool):
        raise Fatal(
            "config",
            f"taskvine: `executor.ssl` = {value!r} is neither true, false nor [key file, certificate file]",
            "true makes a certificate for this run",
        )
    return value


def _fatal(error: Exception, options: Mapping[str, Any]) -> Fatal:
    text = describe(error)
    if "Could not create manager" in text:
        return Fatal(
            "config",
            f"taskvine: no manager on `executor.port` = {options['port']!r}: the port is taken or not allowed",
            "choose another, 0 for a free one",
        )
    if isinstance(error, OSError) and options["factory"]:
        return Fatal(
            "config",
            f"taskvine: the factory cannot be started: {text}",
            "vine_factory and vine_worker have to be on PATH; or set `executor.factory` to false and start workers yourself",
        )
    return Fatal("engine", f"taskvine: {type(error).__name__}: {text}", "see the messages of TaskVine above")
