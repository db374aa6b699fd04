"""Ray, started on this host or joined.

A kept result is two objects, meta and data: the bridge gets the meta part and
the data stays in Ray's object store until its key is released. Buffers are
pickled out of band, so workers read them from shared memory.
"""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import os
import socket
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from . import base, packages
from .demands import Unkept
from .base import Buffer, Context, Failure, Fatal, FuturesEngine, Infeasible, Ready, ResultLost, Submission

_CONNECT_SECONDS = 30.0
_PROBE_SECONDS = 5.0
_START_SECONDS = 120.0
_NODES_SECONDS = 5.0
_SOCKET_ROOM = 75
"""What Ray adds to its directory for a socket; a socket's path has at most 107 bytes."""

_PACKED_BYTES = 16 << 10
"""Attempts up to this size go as one string of bytes; larger ones out of band."""
_CHUNK = 256
_WAIT_S = 0.01
"""As long may a result stay unseen that was submitted during a wait for others."""
_WAITS_IN_VAIN = 10

_WORKER_LOST = ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "ActorDiedError")
_RESULT_LOST = (
    "ObjectLostError",
    "OwnerDiedError",
    "ObjectFreedError",
    "ObjectFetchTimedOutError",
    "ObjectReconstructionFailedError",
    "ObjectReconstructionFailedMaxAttemptsExceededError",
    "ObjectReconstructionFailedLineageEvictedError",
    "ReferenceCountingAssertionError",
)
_PAYLOAD = ("ObjectStoreFullError", "OutOfDiskError")
_ENGINE_DOWN = ("RaySystemError", "RpcError")


class Adapter(FuturesEngine):
    """``ray``: one remote function, one task per group."""

    name = "ray"
    wrap = True
    package_by_reference = True

    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """Joins the cluster at ``address`` or starts Ray here with ``num_cpus``."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        base.require_version("ray", "ray", ray.__version__, packages.RAY.minimum)
        self.context = context
        self._ray = ray
        self._nodes: List[Mapping[str, float]] = []
        self._nodes_at = 0.0
        self._unkept = Unkept(self.name, context)
        self._own = config.get("address") in (None, "", "local")
        self._scheduling = str(config.get("scheduling") or "default").upper()
        self._slow = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="ray-wait")
        self._results = Results(ray)
        self._init(config)
        self._function = ray.remote(context.sources.function(context.settings))
        self._variants: Dict[Any, Any] = {}
        cpus = int(ray.cluster_resources().get("CPU", 0))
        return Ready(ray.__version__, cpus, cancels_running=True, keeps_results=True)

    def _init(self, config: Mapping[str, Any]) -> None:
        options: Dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        for name in ("namespace", "runtime_env"):
            if config.get(name):
                options[name] = config[name]
        address = config.get("address")
        local = address in (None, "", "local")
        if local:
            options.update(address="local", include_dashboard=False, _node_ip_address="127.0.0.1")
            for name in ("num_cpus", "object_store_memory"):
                if config.get(name):
                    options[name] = int(config[name])
            directory = os.path.join(self.context.scratch, "ray")
            if len(os.fsencode(directory)) + _SOCKET_ROOM <= 107:
                options["_temp_dir"] = directory
        else:
            options["address"] = address
            for name in ("num_cpus", "object_store_memory"):
                if config.get(name):
                    text = f"ray: executor.{name} = {config[name]!r} cannot be set for a cluster that runs already (executor.address = {address!r})"
                    raise Fatal("config", text, f"remove executor.{name}, or set it where Ray is started with `ray start`")
        seconds = _START_SECONDS if local else _CONNECT_SECONDS
        fix = "see Ray's messages above" if local else "start Ray with `ray start --head`, check executor.address and that this host reaches it"
        where = "Ray did not start on this host" if local else f"no answer from executor.address = {address!r}"
        late = Fatal("engine" if local else "unreachable", f"ray: {where} in {seconds:.0f} s", fix)
        if not local:
            self._probe(str(address), fix)
        try:
            if local:
                # Ray's processes end with the thread that starts them: it must be the main one.
                with base.watched(self.context, seconds, late):
                    self._ray.init(**options)
            else:
                base.run_bounded(lambda: self._ray.init(**options), seconds, late)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            text = base.describe(error)
            if "auth" in text.lower() and "token" in text.lower():
                raise Fatal("authentication", f"ray: {where}: {text}", "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH as the cluster has it") from error
            if local:
                raise Fatal("engine", f"ray: {where}: {text}", fix) from error
            if "version" in text.lower() and "mismatch" in text.lower():
                raise Fatal("unsupported", f"ray: {where}: {text}", "use the cluster's versions of Ray and Python (`executor.python`)") from error
            raise Fatal("unreachable", f"ray: cannot reach executor.address = {address!r}: {text}", fix) from error

    def _probe(self, address: str, fix: str) -> None:
        """Ray tries an address for a minute and then ends the process: a plain connection is tried first."""
        host, colon, port = address.rpartition("://")[2].rpartition(":")
        if address == "auto" or not colon or not port.isdigit():
            return
        end = time.monotonic() + _PROBE_SECONDS
        while True:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS).close()
                return
            except OSError as error:
                if time.monotonic() > end:
                    text = f"ray: cannot reach executor.address = {address!r}: {base.describe(error)}"
                    raise Fatal("unreachable", text, fix) from error
            time.sleep(0.5)

    # Calls.

    def launch(self, submission: Submission) -> Tuple[Any, Any]:
        """One task; with kept results two objects come of it."""
        group = submission.group
        self._check_resources(group)
        self._unkept.priority(group)
        work: Any = None
        if sum(len(task.blob) for task in group.tasks) <= _PACKED_BYTES:
            work = submission.packed()
        else:
            shim = self.context.sources.module()
            work = submission.header, [shim.wrapped(self.context.settings, blob) for blob in submission.attempts]
        more = [submission.package, *submission.values] if submission.values or submission.package is not None else []
        refs = self._variant(group).remote(work, *more)
        meta, data = refs if self.context.keep else (refs, refs)
        submission.inner = meta
        return Result(meta, self._results), (data if self.context.keep else None)

    def _finished(self, submission: Submission, future: Any) -> None:
        """On the one thread that gets results, which must not wait: a failure's cause is asked for elsewhere."""
        if submission.values and self._error_of(future) is not None:
            self._slow.submit(super()._finished, submission, future)
        else:
            super()._finished(submission, future)

    def _variant(self, group: base.Group) -> Any:
        """The remote function with a group's demands; Ray exports each once."""
        key = (group.cores, group.memory_bytes, tuple(sorted(group.custom.items())))
        variant = self._variants.get(key)
        if variant is None:
            options: Dict[str, Any] = {"max_retries": 0, "num_cpus": group.cores, "name": "taps-wasm"}
            if self._scheduling != "DEFAULT":
                options["scheduling_strategy"] = self._scheduling
            if self.context.keep:
                options["num_returns"] = 2
            if group.memory_bytes:
                options["memory"] = group.memory_bytes
            if group.custom:
                options["resources"] = dict(group.custom)
            variant = self._variants[key] = self._function.options(**options)
        return variant

    def _check_resources(self, group: base.Group) -> None:
        """Ray waits for ever for a node that has what a task demands: said at once instead."""
        wanted = dict(group.custom, CPU=group.cores)
        if group.memory_bytes:
            wanted["memory"] = float(group.memory_bytes)
        if self._fits(wanted):
            return
        if time.monotonic() - self._nodes_at > _NODES_SECONDS or not self._nodes:
            self._nodes = [node["Resources"] for node in self._ray.nodes() if node.get("Alive", node.get("alive"))]
            self._nodes_at = time.monotonic()
        if self._fits(wanted):
            return
        for name, amount in wanted.items():
            best = max((node.get(name, 0.0) for node in self._nodes), default=0.0)
            if best < amount:
                text = f"the task demands {amount:g} of {name!r} and no Ray node has more than {best:g}"
                raise Infeasible(f"{text}; lower the demand, or {self._more(name)}")
        raise Infeasible(f"no single Ray node has all that the task demands: {wanted}")

    def _more(self, name: str) -> str:
        if not self._own:
            option = {"CPU": "--num-cpus", "memory": "--memory", "GPU": "--num-gpus"}.get(name, "--resources")
            return f"start a node that has it (`ray start {option}`)"
        if name == "CPU":
            return "raise executor.num_cpus"
        return "join a cluster with a node that has it (executor.address)"

    def _fits(self, wanted: Mapping[str, float]) -> bool:
        return any(all(node.get(name, 0.0) >= amount for name, amount in wanted.items()) for node in self._nodes)

    def share_package(self, package: Buffer) -> Any:
        """Put once; every later call names it."""
        return self.store(package)

    def store(self, buffer: Buffer) -> Any:
        """Into the object store."""
        return self._ray.put(self.context.sources.module().Buf(buffer))

    def load(self, handle: Any, index: int) -> Buffer:
        """A view of the object store's memory: no copy."""
        shim = self.context.sources.module()
        try:
            value = self._ray.get(handle)
        except Exception as error:  # noqa: BLE001
            raise ResultLost(f"ray lost it: {_text(error)}") from error
        data = shim.pick(value, index) if isinstance(value, (tuple, list)) else shim.unwrapped(value)
        if data is None:
            raise ResultLost("its task did not end well")
        return data

    def upstream_failed(self, submission: Submission) -> bool:
        """Asks the objects that it read."""
        for value in submission.values:
            try:
                self._ray.get(value, timeout=5.0)
            except Exception:  # noqa: BLE001
                return True
        return False

    def interrupt(self, submission: Submission, ids: Sequence[str], whole: bool) -> None:
        """A queued task is dropped; in a running one the shim gets a KeyboardInterrupt and asks its child."""
        if whole:
            self._ray.cancel(submission.inner, force=False, recursive=False)

    def classify(self, error: BaseException) -> Failure:
        """Ray's exceptions in the host's terms."""
        names = [kind.__name__ for kind in type(error).__mro__]
        cause = getattr(error, "cause", None)
        if isinstance(cause, BaseException):
            names += [kind.__name__ for kind in type(cause).__mro__]
        kind, text = names[0], _text(error)
        if "TaskCancelledError" in names or "CancelledError" in names:
            return Failure("cancelled", kind, text)
        if "OutOfMemoryError" in names:
            return Failure("out-of-memory", kind, text)
        for outcome, kinds in (("worker-lost", _WORKER_LOST), ("upstream-failed", _RESULT_LOST), ("payload-error", _PAYLOAD)):
            if any(name in kinds for name in names):
                return Failure(outcome, "result-lost" if outcome == "upstream-failed" else kind, text)
        if any(name in _ENGINE_DOWN for name in names):
            self.context.fatal(Fatal("engine", f"ray broke: {kind}: {text}", "see Ray's logs in its session directory"))
        return Failure("engine-error", "infeasible-resources" if "TaskUnschedulableError" in names else kind, text)

    def stop(self, deadline_s: float) -> None:
        """Ends our Ray; of another's, only our tasks."""
        with self._lock:
            flying = {id(submission): submission for submission in self._flying.values()}
            self._handles.clear()
        for submission in flying.values():
            try:
                self._ray.cancel(submission.inner, force=False)
            except Exception:  # noqa: BLE001 - it may be done by now
                pass
        self._ray.shutdown()


class Result:
    """The end of one call: what a future is to ``FuturesEngine``."""

    __slots__ = ("ref", "_results", "_then", "_value", "_error")

    def __init__(self, ref: Any, results: "Results") -> None:
        self.ref = ref
        self._results = results

    def add_done_callback(self, then: Callable[["Result"], None]) -> None:
        """Calls ``then`` once, in the thread of ``Results`` or one of Ray's."""
        self._then = then
        self._results.expect(self)

    def exception(self) -> Optional[BaseException]:
        """Why there is no value."""
        return self._error

    def result(self) -> Any:
        """The call's value."""
        return self._value

    def end(self, value: Any, error: Optional[BaseException]) -> None:
        """What came of it; from here on ``then`` may ask."""
        self._value, self._error = value, error
        self._then(self)


class Results:
    """Gets results, many at a time, in a thread of its own.

    Ray's own callbacks hold up the thread that also sends tasks, one by one. So results are asked for here while they
    keep coming; of tasks that take long, which may stand before shorter ones, Ray is to call when they end.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._new: "collections.deque[Result]" = collections.deque()
        self._arrived = threading.Event()
        threading.Thread(target=self._run, name="ray-results", daemon=True).start()

    def expect(self, result: Result) -> None:
        """``result`` is told of its end."""
        self._new.append(result)
        self._arrived.set()

    def _run(self) -> None:
        waiting: Dict[Any, Result] = {}
        in_vain = 0
        while True:
            if not waiting:
                self._arrived.wait()
            self._arrived.clear()
            while self._new:
                result = self._new.popleft()
                waiting[result.ref] = result
            chunk = list(itertools.islice(waiting, _CHUNK))
            try:
                if not chunk or self._get(chunk, waiting, 1 if in_vain else max(1, len(chunk) // 16)):
                    in_vain = 0
                    continue
                in_vain += 1
                if in_vain == _WAITS_IN_VAIN:
                    in_vain = 0
                    for ref in chunk:
                        self._let_ray_call(waiting.pop(ref))
            except Exception as error:  # noqa: BLE001 - Ray has ended or broke: each result says so
                for ref in chunk:
                    if ref in waiting:
                        waiting.pop(ref).end(None, error)

    def _get(self, chunk: List[Any], waiting: Dict[Any, Result], count: int) -> bool:
        """Ends those that are ready once ``count`` are, or soon; whether there were any."""
        ready, _ = self._ray.wait(chunk, num_returns=count, timeout=_WAIT_S)
        if not ready:
            return False
        try:
            values = self._ray.get(ready)
        except Exception:  # noqa: BLE001 - of one of them; which, each says itself
            values = None
        for at, ref in enumerate(ready):
            result = waiting.pop(ref)
            if values is not None:
                result.end(values[at], None)
                continue
            try:
                value = self._ray.get(ref)
            except Exception as error:  # noqa: BLE001
                result.end(None, error)
            else:
                result.end(value, None)
        return True

    def _let_ray_call(self, result: Result) -> None:
        def ended(future: Any) -> None:
            try:
                error = future.exception()
            except BaseException as cancelled:  # noqa: BLE001 - a cancelled future raises
                error = cancelled
            result.end(None if error is not None else future.result(), error)

        result.ref.future().add_done_callback(ended)


def _text(error: BaseException) -> str:
    """Ray's messages run over many lines with advice; the first ones say what happened."""
    lines = [line.strip() for line in base.describe(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:1000]
