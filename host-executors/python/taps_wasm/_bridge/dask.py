"""Dask Distributed, a cluster of its own or one that runs already.

How a result comes back: a worker tells of each end in an event (``log_event``)
with the result's meta part, and before of starts that are not over soon::

    worker --event--> scheduler --event--> client's loop --> _follow (a thread) --> host

The event travels the same ordered stream as the news that the task is done, before
it, and is all that the host needs. So a small result needs no fetch, a kept one
leaves its data where it is, executions that Dask repeats on its own are seen, and
Dask's futures are only looked at now and then, for what went wrong.
"""

from __future__ import annotations

import concurrent.futures
import math
import queue
import threading
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from . import base, packages
from .demands import Unkept
from .base import Buffer, Context, Failure, Fatal, FuturesEngine, Group, Infeasible, Ready, ResultLost, Submission

_CONNECT_SECONDS = 10.0
_FORGET_EARLY = 4096
"""Ends that are remembered to recognise executions after them."""
_INLINE_BYTES = 8192
_FORGET_SECONDS = 0.05
"""As long may a result stay that nobody needs any more."""
_CORES, _MEMORY = "cores", "memory"
"""Resources of workers that tasks of several cores, or with a demand of memory, are counted by."""
_WORKERS_SECONDS = 5.0
"""How long what is known of the workers may serve."""
_LOOK_SECONDS = 0.05
"""How often the futures are looked at."""
_LOOK_SHARE = 0.05
"""Most of the time that this may take."""


@dataclass
class Call:
    """One call whose end the host awaits."""

    submission: Submission
    outer: "concurrent.futures.Future[Any]"
    future: Any = None
    """Dask's own; none while it is being submitted."""


class Adapter(FuturesEngine):
    """``dask``: one ``client.submit`` per group."""

    name = "dask"
    wrap = True
    # A call that Dask runs again by itself, on a worker that never had the package, must find it, too.
    package_by_reference = True

    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """Connects to ``scheduler`` or starts a LocalCluster of ``workers`` processes."""
        import dask
        import distributed

        base.require_version("dask", "distributed", distributed.__version__, packages.DASK.minimum)
        self.context = context
        self._cluster: Any = None
        self._news: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        """Events as the loop gets them; ``None`` asks for a look at the futures."""
        self._calls: Dict[str, Call] = {}
        """By the first attempt of each."""
        # Changed by the thread that follows the news alone.
        self._starts: Dict[str, int] = {}
        self._ended: Dict[str, bool] = {}
        self._forgotten: List[Any] = []
        # Not the one for calls: the loop, which takes it, must never wait for a thread that waits for the loop.
        self._forgetting = threading.Lock()
        self._waiters = concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix="dask-wait")
        notes: List[str] = []
        dask.config.set({"distributed.worker.daemon": bool(config.get("daemon_workers", True))})
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GiB"})
        security = self._security(config)
        if config.get("scheduler"):
            self._client = self._connect(str(config["scheduler"]), security)
            for field in ("allowed_failures", "no_workers_timeout", "workers", "threads_per_worker", "memory_limit"):
                if field in config and not (field == "workers" and config.get("wait_for_workers")):
                    notes.append(f"executor.{field} has no effect with a scheduler that runs already: set it there")
        else:
            self._client = self._own_cluster(config, security)
        self._wait_for_workers(config)
        self._topic = "taps-wasm-" + str(context.settings["run"])
        self._client.subscribe_topic(self._topic, self._news.put)
        threading.Thread(target=self._follow, name="dask-news", daemon=True).start()
        self._settings = dict(context.settings, events=self._topic)
        self._unkept = Unkept(self.name, context)
        self._workers: List[Mapping[str, Any]] = []
        self._look_at_workers()
        count = sum(worker.get("nthreads", 1) for worker in self._workers)
        return Ready(distributed.__version__, count, cancels_running=True, keeps_results=True, notes=notes)

    def _security(self, config: Mapping[str, Any]) -> Any:
        names = ("tls_ca_file", "tls_cert", "tls_key")
        given = {name: config[name] for name in names if config.get(name)}
        if not given:
            return None
        missing = [name for name in names if name not in given]
        if missing:
            raise Fatal("config", f"dask: executor.{missing[0]} is missing", f"give all of {', '.join(names)}, or none")
        from distributed.security import Security

        return Security(
            tls_ca_file=given["tls_ca_file"],
            tls_client_cert=given["tls_cert"],
            tls_client_key=given["tls_key"],
            tls_worker_cert=given["tls_cert"],
            tls_worker_key=given["tls_key"],
            tls_scheduler_cert=given["tls_cert"],
            tls_scheduler_key=given["tls_key"],
            require_encryption=True,
        )

    def _connect(self, address: str, security: Any) -> Any:
        from distributed import Client

        fix = "start it with `dask scheduler`, check executor.scheduler and that this host reaches it"
        late = Fatal("unreachable", f"dask: no answer from executor.scheduler = {address!r} in {_CONNECT_SECONDS:.0f} s", fix)
        options = {"security": security} if security else {}
        try:
            return base.run_bounded(
                lambda: Client(address, timeout=_CONNECT_SECONDS, set_as_default=False, **options), _CONNECT_SECONDS + 5.0, late
            )
        except (OSError, TimeoutError) as error:
            if "ssl" in str(error).lower() or "certificate" in str(error).lower():
                text = f"dask: executor.scheduler = {address!r} refused the TLS connection: {base.describe(error)}"
                raise Fatal("authentication", text, "check executor.tls_ca_file, tls_cert and tls_key") from error
            text = f"dask: cannot reach executor.scheduler = {address!r}: {base.describe(error)}"
            raise Fatal("unreachable", text, fix) from error
        except (ValueError, TypeError) as error:
            text = f"dask: executor.scheduler = {address!r} is not an address: {base.describe(error)}"
            raise Fatal("config", text, "write it like tcp://host:8786 or tls://host:8786") from error

    def _own_cluster(self, config: Mapping[str, Any], security: Any) -> Any:
        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"distributed.scheduler.allowed-failures": int(config.get("allowed_failures", 0))})
        if "no_workers_timeout" in config:
            dask.config.set({"distributed.scheduler.no-workers-timeout": f"{float(config['no_workers_timeout'])}s"})
        processes = not config.get("use_threads", False)
        options: Dict[str, Any] = {"processes": processes, "dashboard_address": None, "host": "127.0.0.1"}
        if config.get("workers"):
            # With threads alone, workers are the threads of one worker: one process has one set of children.
            options["n_workers"], options["threads_per_worker"] = int(config["workers"]), int(config.get("threads_per_worker", 1))
            if not processes:
                options["n_workers"], options["threads_per_worker"] = 1, options["n_workers"] * options["threads_per_worker"]
        elif config.get("threads_per_worker"):
            options["threads_per_worker"] = int(config["threads_per_worker"])
        if config.get("memory_limit"):
            options["memory_limit"] = config["memory_limit"]
        threads = options.get("threads_per_worker", 1)
        if threads > 1:
            # So that a task of several cores has them. A worker of one thread has one task at a time in any case.
            options["resources"] = {_CORES: threads}
            if config.get("memory_limit"):
                options["resources"][_MEMORY] = dask.utils.parse_bytes(config["memory_limit"])
        if security:
            options["security"] = security
        self._cluster = LocalCluster(**options)
        return Client(self._cluster, set_as_default=False, **({"security": security} if security else {}))

    def _wait_for_workers(self, config: Mapping[str, Any]) -> None:
        if not config.get("wait_for_workers", True) and not self._cluster:
            return
        wanted = int(config.get("workers") or 1) if not config.get("use_threads") or config.get("scheduler") else 1
        seconds = float(config.get("wait_for_workers_timeout") or 60.0)
        try:
            self._client.wait_for_workers(wanted, timeout=seconds)
        except TimeoutError as error:
            text = f"dask: fewer than executor.workers = {wanted} workers came in executor.wait_for_workers_timeout = {seconds:g} s"
            raise Fatal("engine", text, "start workers with `dask worker`, lower executor.workers or raise the time") from error

    # What became of calls, in a thread of its own.

    def _follow(self) -> None:
        """Takes each event, and looks at the futures when it is time or when asked to."""
        due = time.monotonic()
        while True:
            try:
                event = self._news.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                event = None
            try:
                if event is not None:
                    self._take(event)
                begun = time.monotonic()
                if event is None or begun >= due:
                    due = begun + _LOOK_SECONDS
                    self._look()
                    now = time.monotonic()
                    due = now + max(_LOOK_SECONDS, (now - begun) / _LOOK_SHARE)
            except Exception as error:  # noqa: BLE001 - without this thread no call would end
                self.context.log("warning", f"dask told something that the bridge does not know: {base.describe(error)}")

    def _take(self, event: Any) -> None:
        _, message = event
        if message["kind"] == "started":
            self._started(message["ids"])
            return
        ids, meta = message["ids"], message["meta"]
        if message["began"]:
            self._started(ids)
        call = self._calls.get(ids[0])
        if call is None:
            return
        if meta is not None:
            self._end(call)
            call.outer.set_result(meta)
        elif call.future is not None:
            # Too large for an event.
            call.future.add_done_callback(lambda _: self._news.put(None))

    def _started(self, ids: Sequence[str]) -> None:
        for task in ids:
            self._starts[task] = self._starts.get(task, 0) + 1
        again = [task for task in ids if task in self._ended]
        if again:
            self.context.reran(again)

    def _look(self) -> None:
        """Ends calls of which no event told."""
        over = [call for call in list(self._calls.values()) if call.future is not None and call.future.status != "pending"]
        if not over:
            return
        # An event that tells of one of them was here before its future knew.
        self._take_waiting()
        for call in over:
            if self._calls.get(call.submission.group.ids[0]) is not call:
                continue
            self._end(call)
            status = call.future.status
            if status == "finished":
                self._waiters.submit(self._fetch_meta, call)
            elif status == "error":
                self._waiters.submit(self._fetch_error, call)
            else:
                why = str(getattr(call.future._state, "exception", "") or "cancelled")
                call.outer.set_exception(concurrent.futures.CancelledError(why))

    def _take_waiting(self) -> None:
        while True:
            try:
                event = self._news.get_nowait()
            except queue.Empty:
                return
            if event is not None:
                self._take(event)

    def _end(self, call: Call) -> None:
        """Forgets a call, and counts its executions."""
        ids = call.submission.group.ids
        self._calls.pop(ids[0], None)
        for task in ids:
            call.submission.executions = max(call.submission.executions, self._starts.pop(task, 0))
            self._ended[task] = True
        while len(self._ended) > _FORGET_EARLY:
            del self._ended[next(iter(self._ended))]

    # Calls.

    def launch(self, submission: Submission) -> Tuple[Any, Any]:
        """One ``client.submit``; the outer future has the meta part."""
        group = submission.group
        resources = self._resources(group)
        shim = self.context.sources.module()
        attempts = [shim.Buf(blob) if len(blob) > _INLINE_BYTES else bytes(blob) for blob in submission.attempts]
        call = self.context.sources.bind(self._settings, submission.header, None, attempts)
        if submission.package is not None:
            call = self.context.sources.bind_package(self._settings, submission.header, attempts)
            values = [submission.package, *submission.values]
        else:
            values = submission.values
        awaited = Call(submission, concurrent.futures.Future())
        # Before it can end.
        self._calls[group.ids[0]] = awaited
        try:
            awaited.future = self._client.submit(
                call,
                *values,
                key=f"taps-wasm-{self.context.settings['run']}-{group.ids[0]}-{submission.rounds}",
                pure=False,
                retries=0,
                priority=group.priority,
                resources=resources,
            )
        except BaseException:
            self._calls.pop(group.ids[0], None)
            raise
        submission.inner = awaited.future
        return awaited.outer, awaited.future

    def _fetch_meta(self, call: Call) -> None:
        try:
            if self.context.keep:
                part = self._client.submit(self.context.sources.part("meta_of"), call.future, pure=False)
                call.outer.set_result(part.result())
            else:
                call.outer.set_result(call.future.result())
        except BaseException as error:  # noqa: BLE001
            call.outer.set_exception(error)

    def _fetch_error(self, call: Call) -> None:
        try:
            call.outer.set_exception(call.future.exception() or RuntimeError("the task erred without an exception"))
        except BaseException as error:  # noqa: BLE001
            call.outer.set_exception(error)

    def _look_at_workers(self) -> None:
        info = self._client.scheduler_info(n_workers=-1) if _takes_count(self._client) else self._client.scheduler_info()
        self._workers = list(info["workers"].values())
        self._looked = time.monotonic()
        # Where workers count cores, a task of one core takes one, too: else it would run beside those that want several.
        counted = self._workers and all(_CORES in worker.get("resources", {}) for worker in self._workers)
        self._usual = {_CORES: 1.0} if counted else None

    def _resources(self, group: Group) -> Optional[Dict[str, float]]:
        """What a group takes of the resources that workers declare. Dask waits for ever for one that none has."""
        if group.is_usual:
            return self._usual
        if time.monotonic() - self._looked > _WORKERS_SECONDS:
            self._look_at_workers()
        wanted = {name: float(amount) for name, amount in group.custom.items()}
        if self._takes(_CORES, group.cores, "nthreads", "executor.threads_per_worker", "dask worker --nthreads"):
            wanted[_CORES] = group.cores
        if group.memory_bytes and self._takes(_MEMORY, group.memory_bytes, "memory_limit", "executor.memory_limit", "dask worker --memory-limit"):
            wanted[_MEMORY] = group.memory_bytes
        for name, amount in wanted.items():
            best = max((worker.get("resources", {}).get(name, 0) for worker in self._workers), default=amount)
            if best < amount:
                text = f"the task demands {amount:g} of the resource {name!r} and no dask worker has more than {best:g}"
                raise Infeasible(f'{text}; {self._declare(name, amount)} or lower the demand')
        if self._workers and not any(all(worker.get("resources", {}).get(name, 0) >= amount for name, amount in wanted.items()) for worker in self._workers):
            raise Infeasible(f"no single dask worker has all that the task demands: {wanted}; start workers with --resources, or lower the demand")
        return wanted or None

    def _declare(self, name: str, amount: float) -> str:
        field = {_CORES: "threads_per_worker", _MEMORY: "memory_limit"}.get(name)
        if self._cluster is not None and field:
            return f"raise executor.{field}"
        return f'start workers with --resources "{name}={amount:g}"'

    def _takes(self, name: str, amount: float, has: str, field: str, option: str) -> bool:
        """Whether a demand is counted by workers. Where it is not, one has to be large enough all the same."""
        if any(name in worker.get("resources", {}) for worker in self._workers):
            return True
        sizes = [worker.get(has) or math.inf for worker in self._workers]
        best = max(sizes, default=math.inf)
        if best < amount:
            setting = field if self._cluster is not None else f"`{option}`"
            unit = "cores" if name == _CORES else "bytes of memory"
            text = f"the task demands {amount:g} {unit} and no dask worker has more than {best:g} ({setting})"
            raise Infeasible(f"{text}; raise it, or lower the demand")
        if amount > 1 and any(worker.get("nthreads", 1) > 1 for worker in self._workers):
            self._unkept.tell(name, f'start workers with --resources "{name}=…" for tasks to have them for themselves')
        return False

    def share_package(self, package: Buffer) -> Any:
        """Once for all workers: they get it from each other."""
        return self.store(package)

    def store(self, buffer: Buffer) -> Any:
        """As a task that gives the payload: scattered data would be lost with its worker, a task runs again."""
        return self._client.submit(self.context.sources.part("same"), self.context.sources.module().Buf(buffer), pure=False)

    def load(self, handle: Any, index: int) -> Buffer:
        """The output alone crosses to the client."""
        try:
            data = self._client.submit(self.context.sources.part("pick"), handle, index, pure=False).result()
        except Exception as error:  # noqa: BLE001
            raise ResultLost(f"dask lost it: {base.describe(error)}") from error
        if data is None:
            raise ResultLost("its task did not end well")
        return self.context.sources.module().unwrapped(data)

    def forget(self, handle: Any) -> None:
        """Tells the scheduler soon rather than at the next garbage collection, of many at once.

        The scheduler passes it on to a worker, whose stream then takes nothing else for 2 ms, such as the next task.
        """
        with self._forgetting:
            self._forgotten.append(handle)
            first = len(self._forgotten) == 1
        if first:
            self._client.loop.add_callback(self._client.loop.call_later, _FORGET_SECONDS, self._release_forgotten)

    def _release_forgotten(self) -> None:
        with self._forgetting:
            forgotten, self._forgotten = self._forgotten, []
        for handle in forgotten:
            handle.release()

    def package_lost(self, handle: Any) -> bool:
        """It is a task of Dask's, too, which fails when workers die one after the other.

        Where it went with one worker, Dask makes it again: then the call failed for another reason.
        """
        return handle.status in ("error", "cancelled")

    def upstream_failed(self, submission: Submission) -> bool:
        """The client learnt of the upstream's error first: one stream brings both."""
        return any(_is_broken(value) for value in submission.values)

    def interrupt(self, submission: Submission, ids: Sequence[str], whole: bool) -> None:
        """Dask stops only what is queued; what runs is stopped by the shim of its worker."""
        started = any(self._starts.get(task) for task in submission.group.ids)
        if whole and not started:
            submission.inner.cancel()
            self._news.put(None)
        self._waiters.submit(self._broadcast, "cancel", self._settings["run"], list(ids))

    def _broadcast(self, part: str, *arguments: Any) -> None:
        try:
            self._client.run(self.context.sources.part(part), *arguments, on_error="ignore", nanny=False)
        except Exception as error:  # noqa: BLE001
            self.context.log("warning", f"dask did not take a {part}: {base.describe(error)}")

    def classify(self, error: BaseException) -> Failure:
        """Dask's exceptions in the host's terms."""
        kind, text = type(error).__name__, base.describe(error)
        if kind == "KilledWorker":
            return Failure("worker-lost", kind, text)
        if kind in ("NoValidWorkerError", "NoWorkerError"):
            return Failure("engine-error", "infeasible-resources", text)
        if kind in ("FutureCancelledError", "CancelledError"):
            if "lost" in text:
                return Failure("worker-lost", kind, text)
            return Failure("cancelled", kind, text)
        if kind in ("CommClosedError", "TimeoutError"):
            self.context.fatal(Fatal("engine", f"dask: the connection to the scheduler broke: {text}", "see the scheduler's log"))
        return Failure("engine-error", kind, text)

    def stop(self, deadline_s: float) -> None:
        """Ends our cluster; of another's, only what this run has there."""
        with self._lock:
            flying = list(self._flying)
            self._handles.clear()
        # Workers wait for their running tasks before they end: these are told to stop.
        calls = [self._waiters.submit(self._broadcast, "cancel", self._settings["run"], flying)] if flying else []
        if self._cluster is None:
            calls.append(self._waiters.submit(self._broadcast, "close", self._settings["run"]))
        concurrent.futures.wait(calls, timeout=min(2.0, deadline_s / 4))
        self._client.close(timeout=deadline_s / 2)
        if self._cluster is not None:
            self._cluster.close(timeout=deadline_s)


def _is_broken(future: Any) -> bool:
    return future.status in ("error", "cancelled", "lost")


def _takes_count(client: Any) -> bool:
    import inspect

    return "n_workers" in inspect.signature(client.scheduler_info).parameters
