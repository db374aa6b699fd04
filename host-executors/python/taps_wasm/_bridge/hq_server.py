"""A HyperQueue server: ours or the user's, by the program ``hq`` or by the package ``hyperqueue``.

The package has client, server and worker, and lacks what the program has besides:
cancels, time limits, the list of workers, the allocation of workers by Slurm and PBS.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .base import Context, Fatal

START_S = 30.0
"""How long a server may take to start or to answer."""
INSTALL = "install it with `pip install hyperqueue`, or put the program `hq` on PATH (https://it4innovations.github.io/hyperqueue)"


class Server(ABC):
    """A HyperQueue server, ours or the user's."""

    has_custom_resources = True

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def start(self) -> Tuple[str, int, List[str]]:
        """Connects or starts; gives version, cores of the workers (0 when not known), and notes."""

    @abstractmethod
    def submit(self, programs: Sequence[Mapping[str, Any]]) -> int:
        """Submits one job with a task per program, numbered from 0, and gives its id."""

    @abstractmethod
    def failed(self, jobs: Sequence[int]) -> List[Tuple[int, int, str]]:
        """Job, task and error of all tasks of ``jobs`` that failed or were cancelled."""

    @abstractmethod
    def forget(self, job: int) -> bool:
        """Frees a finished job's memory; false when it has not finished yet."""

    @abstractmethod
    def stop(self, jobs: Sequence[int]) -> None:
        """Cancels what runs and stops a server that we started."""


class PackageServer(Server):
    """By the package ``hyperqueue``: its client, and its server and worker inside this process."""

    def start(self) -> Tuple[str, int, List[str]]:
        from hyperqueue import Client
        from hyperqueue.ffi import get_version

        notes: List[str] = []
        # The client is one connection, lent to one call at a time.
        self._lock = threading.Lock()
        self._cluster: Any = None
        cores = 0
        if self.options["server_dir"] is None:
            from hyperqueue.cluster import LocalCluster, WorkerConfig

            self.has_custom_resources = False
            cores = self.options["workers"]
            self._cluster = LocalCluster(server_dir=os.path.join(self.context.scratch, "hq-server"))
            self._cluster.start_worker(WorkerConfig(cores=cores))
            self._client = self._cluster.client()
        else:
            self._client = Client(self.options["server_dir"])
            notes.append("hyperqueue: the package cannot count the server's workers; with `hq` on PATH it could")
        return get_version(), cores, notes

    def submit(self, programs: Sequence[Mapping[str, Any]]) -> int:
        from hyperqueue.ffi.protocol import ResourceRequest
        from hyperqueue.job import Job
        from hyperqueue.output import StdioDef

        job = Job(max_fails=None, name="taps-wasm")
        for program in programs:
            resources = _resources(program)
            if self._cluster is not None:
                # The package's own worker has CPUs and nothing else.
                resources.pop("mem", None)
            job.program(
                program["args"],
                cwd=program["cwd"],
                stdout=None,
                stderr=StdioDef.remove_if_finished(program["stderr"]),
                priority=program["priority"],
                resources=ResourceRequest(cpus=resources.pop("cpus"), resources=resources),
                crash_limit=self.options["crash_limit"],
            )
        with self._lock:
            return int(self._client.submit(job).id)

    def failed(self, jobs: Sequence[int]) -> List[Tuple[int, int, str]]:
        with self._lock:
            found = self._client.connection.get_failed_tasks(list(jobs))
        return [(job, task, context.error) for job, tasks in found.items() for task, context in tasks.items()]

    def forget(self, job: int) -> bool:
        try:
            with self._lock:
                self._client.forget(job)
        except RuntimeError:
            return False
        return True

    def stop(self, jobs: Sequence[int]) -> None:
        if self._cluster is not None:
            self._cluster.stop()


class ProgramServer(Server):
    """By the program ``hq``."""

    def start(self) -> Tuple[str, int, List[str]]:
        self._started: List["subprocess.Popen[bytes]"] = []
        self._own = self.options["server_dir"] is None
        self._server_dir = self.options["server_dir"] or os.path.join(self.context.scratch, "hq-server")
        notes: List[str] = []
        cores = 0
        if self._own:
            self._spawn(["server", "start"])
        info = self._await_server()
        if self.options["alloc"]:
            self._call(["alloc", "add", *self.options["alloc"]])
        elif self._own:
            cores = self.options["workers"]
            self._spawn(["worker", "start", "--cpus", str(cores)])
            self._call(["worker", "wait", "1"])
        if not self._own:
            cores = sum(_cpus(worker) for worker in self._call(["worker", "list"]))
            grows = bool(self._call(["alloc", "list"]))
            if not cores and not grows:
                notes.append(
                    "hyperqueue: the server has no workers and no allocation queue; tasks wait for `hq worker start`"
                )
            cores = 0 if grows else cores
        return str(info.get("version", "unknown")), cores, notes

    def _await_server(self) -> Dict[str, Any]:
        """`hq server wait` looks every 5 s, which is too seldom for a server that starts in 50 ms."""
        deadline = time.monotonic() + (START_S if self._own else 0.0)
        while True:
            try:
                return dict(self._call(["server", "info"]))
            except RuntimeError:
                if time.monotonic() >= deadline or any(process.poll() is not None for process in self._started):
                    raise
                time.sleep(0.05)

    def _command(self, arguments: Sequence[str]) -> List[str]:
        return [self.options["hq"], "--server-dir", self._server_dir, *arguments]

    def _spawn(self, arguments: Sequence[str]) -> None:
        null = subprocess.DEVNULL
        self._started.append(subprocess.Popen(self._command(arguments), stdin=null, stdout=null, stderr=null))

    def _call(self, arguments: Sequence[str]) -> Any:
        """Runs ``hq`` and reads its JSON. ``--output-mode`` stands in front: `alloc add` takes anything behind it."""
        command = [self.options["hq"], "--server-dir", self._server_dir, "--output-mode", "json", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_S, check=False)
        text = done.stdout.decode("utf-8", "replace")
        try:
            value = json.loads(text) if text.strip() else {}
        except ValueError:
            value = {}
        if done.returncode != 0:
            error = value.get("error") if isinstance(value, dict) else None
            said = error or done.stderr.decode("utf-8", "replace").strip() or text.strip()
            raise RuntimeError(f"`hq {' '.join(arguments[:3])}` failed: {said}")
        return value

    def submit(self, programs: Sequence[Mapping[str, Any]]) -> int:
        path = os.path.join(programs[0]["cwd"], "job.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(job_file(programs, self.options["crash_limit"], self.options["time_limit"]))
        return int(self._call(["job", "submit-file", path])["id"])

    def failed(self, jobs: Sequence[int]) -> List[Tuple[int, int, str]]:
        selector = ",".join(str(job) for job in jobs)
        listed = self._call(["task", "list", selector, "--task-status", "failed,canceled,aborted"])
        return [
            (int(job), int(task["id"]), str(task.get("error") or task["state"]))
            for job, tasks in listed.items()
            for task in tasks
        ]

    def forget(self, job: int) -> bool:
        return bool(self._call(["job", "forget", str(job)]) is not None)

    def stop(self, jobs: Sequence[int]) -> None:
        if jobs:
            self._call(["job", "cancel", ",".join(str(job) for job in jobs)])
        if self._own:
            self._call(["server", "stop"])
            for process in self._started:
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()


def open_server(options: Mapping[str, Any], context: Context) -> Server:
    if options["hq"]:
        return ProgramServer(options, context)
    try:
        import hyperqueue  # noqa: F401
    except ImportError as error:
        raise Fatal(
            "missing-package", f"hyperqueue: neither the program `hq` nor the Python package is here ({error})", INSTALL
        ) from None
    for name in ("alloc", "time_limit"):
        if options[name]:
            text = f"hyperqueue: `executor.{name}` needs the program `hq`, which is not on PATH; the Python package has no such call"
            raise Fatal("config", text, "install hq and put it on PATH, or name it with `executor.hq`")
    return PackageServer(options, context)


def job_file(programs: Sequence[Mapping[str, Any]], crash_limit: int, time_limit: Optional[str]) -> str:
    """A job definition file (TOML) for ``hq job submit-file``, with one task per program."""
    lines = ['name = "taps-wasm"', ""]
    for number, program in enumerate(programs):
        resources = _resources(program)
        amounts = ", ".join(f"{_quoted(name)} = {_quoted(str(value))}" for name, value in resources.items())
        lines += [
            "[[task]]",
            f"id = {number}",
            f"command = [{', '.join(_quoted(argument) for argument in program['args'])}]",
            f"cwd = {_quoted(program['cwd'])}",
            'stdout = "none"',
            f'stderr = {{ path = {_quoted(program["stderr"])}, on_close = "rm-if-finished" }}',
            f"priority = {program['priority']}",
            f"crash_limit = {crash_limit}",
            f"request = [{{ resources = {{ {amounts} }} }}]",
        ]
        if time_limit:
            lines.append(f"time_limit = {_quoted(time_limit)}")
        lines.append("")
    return "\n".join(lines)


def _resources(program: Mapping[str, Any]) -> Dict[str, Any]:
    """What a task takes. A node's memory HyperQueue finds itself, as the resource `mem` in MiB."""
    resources = dict(program["resources"])
    if program["memory_bytes"]:
        resources["mem"] = amount(-(-program["memory_bytes"] // (1 << 20)))
    return resources


def amount(value: float) -> Any:
    """HyperQueue takes whole numbers, and fractions as text with four digits."""
    return int(value) if float(value).is_integer() else f"{value:.4f}"


def _cpus(worker: Mapping[str, Any]) -> int:
    """The number of CPUs of a worker in the JSON of ``hq worker list``; 1 when it is not told."""
    try:
        resources = worker["configuration"]["resources"]["resources"]
        kind = next(resource for resource in resources if resource["name"] == "cpus")
        if "values" in kind:
            return len(kind["values"])
        if "groups" in kind:
            return sum(len(group) for group in kind["groups"])
        return int(kind["end"]) - int(kind["start"]) + 1
    except (KeyError, TypeError, ValueError, StopIteration):
        return 1


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def short(error: Any) -> str:
    """An error of the package without the stack trace that its text carries."""
    return str(error).split("\n\nStack backtrace")[0].strip() or type(error).__name__
