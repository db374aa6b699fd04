"""A stand-in for `ndcctools.taskvine`: what of its interface the bridge uses, on this machine and without a network.

TaskVine is not on PyPI, so the tests of the TaskVine adapter cannot install it. This module has the same names with
the same meaning, read from cctools' sources (commit f4e3b63a5): tasks are real commands, run by `sh -c` in sandbox
directories of their own with their inputs linked in; libraries are real processes spoken to over the pipes that a
worker uses (`vine_worker.LibraryHarness`); a lost worker puts its tasks back, however often they were tried, and
counts that in `time_workers_execute_failure`, as `cleanup_worker` of `vine_manager.c` does. What it does not have:
the network, the manager's scheduling, transfers between workers, resource measurements. Where `ndcctools` can be
imported, the same tests run against it.

Only for tests: `Manager.lose_worker` kills the processes of a worker, as if its node had failed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Tuple

from vine_worker import LibraryError, LibraryHarness

__version__ = "fake"

_CACHE_LEVELS = (False, True, None, "task", "workflow", "worker", "forever")


class File:
    """A file known to the manager: on disk, in memory, or only on workers."""

    def __init__(self, path: Optional[str], data: Optional[bytes], temporary: bool = False) -> None:
        self._path = path
        self._data = data
        self._temporary = temporary

    def contents(self, unserializer: Any = None) -> bytes:
        """The bytes of a buffer, which for an output are there once the task has come back."""
        if self._temporary:
            raise ValueError("File does not have local contents")
        if self._path is not None:
            return Path(self._path).read_bytes()
        return bytes(self._data or b"")

    def __len__(self) -> int:
        return len(self.contents())

    def __bool__(self) -> bool:
        return True

    def _place(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._path is not None:
            shutil.copy(self._path, target)
        else:
            target.write_bytes(self._data or b"")


class Task:
    """A command with its files."""

    def __init__(self, command: str, **info: Any) -> None:
        if info:
            raise TypeError(f"the stand-in takes no {sorted(info)}")
        self.command = command
        self.inputs: List[Tuple[File, str]] = []
        self.outputs: List[Tuple[File, str]] = []
        self.cores = 1
        self.priority = 0.0
        self.max_forsaken = -1
        self.max_retries = 0
        self.time_max = 0
        self.environment: Dict[str, Optional[str]] = {}
        self.library: Optional[str] = None
        self.tag: Optional[str] = None
        self.id = 0
        self.result = "unknown"
        self.exit_code = -1
        self.std_output = ""
        self.hostname = "localhost"
        self._failure_us = 0
        self._forsaken = 0

    def add_input(self, file: File, remote_name: str, strict_input: bool = False, mount_symlink: bool = False) -> None:
        _is_name(remote_name)
        self.inputs.append((file, remote_name))

    def add_output(
        self, file: File, remote_name: str, watch: bool = False, failure_only: Any = None, success_only: Any = None
    ) -> None:
        _is_name(remote_name)
        self.outputs.append((file, remote_name))

    def set_cores(self, cores: int) -> None:
        self.cores = max(1, int(cores))

    def set_memory(self, memory: int) -> None:
        _is_integer(memory)

    def set_disk(self, disk: int) -> None:
        _is_integer(disk)

    def set_gpus(self, gpus: int) -> None:
        _is_integer(gpus)

    def set_priority(self, priority: float) -> None:
        self.priority = float(priority)

    def set_retries(self, retries: int) -> None:
        _is_integer(retries)
        self.max_retries = retries

    def set_max_forsaken(self, forsaken: int) -> None:
        _is_integer(forsaken)
        self.max_forsaken = forsaken

    def set_time_max(self, seconds: float) -> None:
        self.time_max = int(seconds)

    def set_tag(self, tag: str) -> None:
        self.tag = tag

    def set_env_var(self, name: str, value: Optional[str] = None) -> None:
        self.environment[name] = value

    def set_library_required(self, library: str) -> None:
        if not isinstance(library, str):
            raise ValueError(f"{library} is not a valid library")
        self.library = library

    def get_metric(self, name: str) -> int:
        return {"time_workers_execute_failure": self._failure_us}[name]

    def completed(self) -> bool:
        return self.result == "success"

    def successful(self) -> bool:
        return self.completed() and self.exit_code == 0


class LibraryTask(Task):
    """A library: a process on each worker that serves calls."""

    def __init__(self, command: str, library_name: str) -> None:
        super().__init__(command)
        self.name = library_name
        self.slots = 1
        self.exec_mode = "fork"

    def set_function_slots(self, slots: int) -> None:
        self.slots = int(slots)

    def set_function_exec_mode_from_string(self, mode: str) -> None:
        if mode not in ("fork", "direct"):
            raise ValueError(mode)
        self.exec_mode = mode


class Manager:
    """The manager, and the workers that a `Factory` has started for it. As the real one it is for one thread."""

    def __init__(
        self,
        port: Any = 9123,
        name: Optional[str] = None,
        shutdown: bool = False,
        run_info_path: str = "vine-run-info",
        staging_path: Optional[str] = None,
        ssl: Any = None,
    ) -> None:
        if isinstance(port, int) and port == 1:
            raise Exception(f"Could not create manager on:\nport: {port}")
        self.port = 9123 if isinstance(port, int) and port == 0 else port
        self.name = name
        self.using_ssl = bool(ssl)
        self.staging_directory = tempfile.mkdtemp(prefix="vine-staging-", dir=_made(run_info_path))
        self.options: Dict[str, float] = {}
        self.password_file: Optional[str] = None
        self.peer_transfers = True
        self._thread = threading.get_ident()
        self._libraries: Dict[str, LibraryTask] = {}
        self._workers: List[_Worker] = []
        self._ready: List[Task] = []
        self._retrieved: List[Task] = []
        self._next_id = 1
        self._joined = 0
        self._lost = 0

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a TaskVine manager is for the thread that made it")

    @property
    def stats(self) -> SimpleNamespace:
        self._check_thread()
        running = sum(len(worker.running) for worker in self._workers)
        return SimpleNamespace(
            workers_connected=len(self._workers),
            workers_joined=self._joined,
            workers_removed=self._lost,
            workers_lost=self._lost,
            tasks_waiting=len(self._ready),
            tasks_on_workers=running,
            tasks_running=running,
        )

    def tune(self, name: str, value: float) -> int:
        self._check_thread()
        if name == "no-such-parameter":
            return -1
        self.options[name] = value
        return 0

    def set_password_file(self, path: str) -> int:
        self.password_file = path
        return 1 if os.path.exists(path) else 0

    def enable_peer_transfers(self) -> None:
        self.peer_transfers = True

    def disable_peer_transfers(self) -> None:
        self.peer_transfers = False

    def declare_file(
        self, path: str, cache: Any = False, peer_transfer: bool = True, unlink_when_done: bool = False
    ) -> File:
        _is_cache_level(cache)
        return File(os.path.abspath(path), None)

    def declare_buffer(self, buffer: Any = None, cache: Any = False, peer_transfer: bool = True) -> File:
        _is_cache_level(cache)
        if buffer is not None and not isinstance(buffer, (bytes, str)):
            raise TypeError(
                f"in method 'vine_declare_buffer', argument 2 of type 'char *', not {type(buffer).__name__}"
            )
        return File(None, buffer.encode() if isinstance(buffer, str) else buffer)

    def undeclare_file(self, file: File) -> None:
        self._check_thread()
        file._data = None

    def install_library(self, task: LibraryTask) -> None:
        self._check_thread()
        self._libraries[task.name] = task

    def submit(self, task: Task) -> int:
        self._check_thread()
        task.id = self._next_id
        self._next_id += 1
        self._ready.append(task)
        return task.id

    def empty(self) -> bool:
        return not self._ready and not self._retrieved and not any(worker.running for worker in self._workers)

    def cancel_by_task_id(self, task_id: int) -> int:
        self._check_thread()
        for task in self._ready:
            if task.id == task_id:
                self._ready.remove(task)
                self._retrieve(task, "cancelled", -1)
                return 1
        for worker in self._workers:
            for task in list(worker.running):
                if task.id == task_id:
                    worker.stop(task)
                    self._retrieve(task, "cancelled", -1)
                    return 1
        return 0

    def wait(self, timeout: Any = "wait_forever") -> Optional[Task]:
        self._check_thread()
        if timeout == 0:
            # As the real one: only what has been retrieved already; workers are not listened to.
            return self._retrieved.pop(0) if self._retrieved else None
        limit = float("inf") if timeout == "wait_forever" else time.monotonic() + timeout
        while True:
            self._step()
            if self._retrieved:
                return self._retrieved.pop(0)
            if time.monotonic() >= limit:
                return None
            time.sleep(0.002)

    def lose_worker(self, index: int = 0) -> None:
        """For tests: the worker's processes are killed, its tasks go back into the queue, a new worker joins."""
        worker = self._workers.pop(index)
        self._lost += 1
        for task in list(worker.running):
            worker.stop(task)
            task._failure_us += 1000
            self._ready.append(task)
        worker.close()
        self._add_worker(worker.cores)

    def _retrieve(self, task: Task, result: str, exit_code: int) -> None:
        task.result, task.exit_code = result, exit_code
        if result == "forsaken":
            task._forsaken += 1
            if task.max_forsaken < 0 or task._forsaken <= task.max_forsaken:
                self._ready.append(task)
                return
        self._retrieved.append(task)

    def _add_worker(self, cores: int) -> None:
        self._workers.append(_Worker(Path(self.staging_directory) / f"worker-{self._joined}", cores))
        self._joined += 1

    def _step(self) -> None:
        self._ready.sort(key=lambda task: -task.priority)
        for worker in self._workers:
            for task, result, exit_code in worker.poll():
                self._retrieve(task, result, exit_code)
            for task in list(self._ready):
                if task.library is not None and task.library not in self._libraries:
                    self._ready.remove(task)
                    self._retrieve(task, "missing library", -1)
                elif worker.free_cores() >= task.cores:
                    self._ready.remove(task)
                    missing = worker.start(task, self._libraries)
                    if missing:
                        self._retrieve(task, "input missing", -1)

    def __del__(self) -> None:
        for worker in self._workers:
            worker.close()


class Factory:
    """Starts workers; `min_workers` and `cores` are attributes, as with `vine_factory`."""

    def __init__(
        self,
        batch_type: str = "local",
        manager: Optional[Manager] = None,
        manager_host_port: Optional[str] = None,
        manager_name: Optional[str] = None,
    ) -> None:
        if manager is None:
            raise ValueError("Either manager, manager_host_port, or manager_name or manager should be specified.")
        self.batch_type = batch_type
        self._manager = manager
        self.min_workers = 1
        self.max_workers = 1
        self.cores = 1

    def start(self) -> "Factory":
        for _ in range(self.min_workers):
            self._manager._add_worker(int(self.cores) or 1)
        return self

    def stop(self) -> None:
        for worker in self._manager._workers:
            worker.close()
        self._manager._workers.clear()


class _Worker:
    """One worker: a directory, cores, running commands and libraries."""

    def __init__(self, directory: Path, cores: int) -> None:
        self.directory = directory
        self.cores = cores
        self.running: Dict[Task, Any] = {}
        self.libraries: Dict[str, LibraryHarness] = {}

    def free_cores(self) -> int:
        return self.cores - sum(task.cores for task in self.running)

    def start(self, task: Task, libraries: Dict[str, LibraryTask]) -> bool:
        """Starts the task; true says that an input is missing."""
        sandbox = self.directory / f"task.{task.id}"
        shutil.rmtree(sandbox, ignore_errors=True)
        sandbox.mkdir(parents=True)
        try:
            for file, name in task.inputs:
                file._place(sandbox / name)
        except FileNotFoundError:
            return True
        if task.library is not None:
            library = self._library(libraries[task.library])
            self.running[task] = (sandbox, library, library.begin(task.command, sandbox))
            return False
        environment = dict(os.environ, CORES=str(task.cores))
        for name, value in task.environment.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        with open(sandbox / ".taskvine.stdout", "wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", task.command],
                cwd=sandbox,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.running[task] = (sandbox, process, 0)
        return False

    def _library(self, task: LibraryTask) -> LibraryHarness:
        library = self.libraries.get(task.name)
        if library is None:
            library = LibraryHarness(
                ["exec"] + task.command.split(),
                name=task.name,
                slots=task.slots,
                cores=task.cores,
                directory=self.directory,
                task_id=1,
            )
            library.check_signals = False
            library.sandbox.mkdir(parents=True, exist_ok=True)
            for file, name in task.inputs:
                file._place(library.sandbox / name)
            library.start()
            self.libraries[task.name] = library
        return library

    def poll(self) -> List[Tuple[Task, str, int]]:
        done = []
        for task, (sandbox, process, call) in list(self.running.items()):
            if isinstance(process, LibraryHarness):
                result = self._poll_call(process, call)
                if result is None:
                    continue
                outcome, exit_code = result
            else:
                status = process.poll()
                if status is None:
                    continue
                # `sh` reports a command that a signal ended by 128 + its number.
                outcome, exit_code = ("success", status) if status >= 0 else ("signal", -status)
            del self.running[task]
            task.std_output = _text(sandbox / ".taskvine.stdout")
            for file, name in task.outputs:
                path = sandbox / name
                if path.exists():
                    file._data = path.read_bytes()
                elif outcome == "success":
                    outcome = "output missing"
            shutil.rmtree(sandbox, ignore_errors=True)
            done.append((task, outcome, exit_code))
        return done

    def _poll_call(self, library: LibraryHarness, call: int) -> Optional[Tuple[str, int]]:
        finished: Dict[int, int] = library.__dict__.setdefault("finished", {})
        if call not in finished:
            try:
                while True:
                    identity, exit_code = library.finish(0.0)
                    finished[identity] = exit_code
            except LibraryError:
                pass
        if call in finished:
            return "success", finished.pop(call)
        if library.process is not None and library.process.poll() is not None:
            self.libraries = {name: other for name, other in self.libraries.items() if other is not library}
            return "forsaken", -1
        return None

    def stop(self, task: Task) -> None:
        sandbox, process, _ = self.running.pop(task)
        if isinstance(process, subprocess.Popen):
            _kill(process)
        shutil.rmtree(sandbox, ignore_errors=True)

    def close(self) -> None:
        for task in list(self.running):
            self.stop(task)
        for library in self.libraries.values():
            library.kill()
        self.libraries.clear()


def _kill(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _made(path: str) -> str:
    os.makedirs(path, exist_ok=True)
    return os.path.abspath(path)


def _is_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"remote_name {name} is not a str")


def _is_integer(value: Any) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not an int")


def _is_cache_level(cache: Any) -> None:
    if cache not in _CACHE_LEVELS:
        raise ValueError(f"{cache} is not a valid cache level")
