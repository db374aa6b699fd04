"""Parsl: its threads (``parsl-local``) and its HighThroughputExecutor (``parsl-htex``).

Parsl has no path between workers: a kept result is held by the bridge and goes
out again with each call that reads it. It has no cancel either: a running task
looks for its cancel in the run's cancel directory.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Mapping, Sequence, Tuple

from . import base, packages
from .base import Buffer, Context, Failure, Fatal, FuturesEngine, Group, Ready, ResultLost, Submission
from .demands import Share, Unkept, memory_here, refuse_custom

_LABEL = "taps_wasm"
_GIGABYTE = 1 << 30
_WARMUP_SECONDS = 120.0
_HEARTBEAT_SECONDS = 2
_ENGINE_DOWN = ("BadStateException", "TooManyJobFailuresError", "ScalingFailed", "NoDataFlowKernelError", "CommandClientTimeoutError")


class Adapter(FuturesEngine):
    """``parsl-local`` and ``parsl-htex``."""

    name = "parsl"

    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """Loads Parsl with one executor."""
        import parsl

        base.require_version(self.name, "parsl", parsl.__version__, packages.PARSL.minimum)
        self.context = context
        self._in_process = self.name == "parsl-local"
        if self._in_process:
            from parsl.executors.threads import ThreadPoolExecutor

            workers = int(config.get("workers") or os.cpu_count() or 1)
            self._executor: Any = ThreadPoolExecutor(label=_LABEL, max_threads=workers)
        else:
            self._executor = self._htex(dict(config.get("htex") or {}))
            workers = self._count(self._executor)
        self._share = self._share_of_a_worker()
        self._unkept = Unkept(self.name, context)
        self._has_priorities = not self._in_process and _takes_priority(self._executor)
        self._kernel = parsl.load(self._config(config))
        # Parsl's kernel waits for what a call reads, repeats it and tells of it. A call that needs none of it goes
        # to the executor itself, as the kernel does it.
        self._direct = not (context.keep or config.get("retries") or config.get("monitoring"))
        self._call = context.sources.fixed(context.settings)
        self._shim = context.sources.module()
        connected = self._warm_up(config)
        cancels = self._in_process or bool(context.settings.get("cancel_dir"))
        notes = [] if cancels else [f"{self.name} cannot cancel running tasks without a directory that its workers share with this host"]
        return Ready(parsl.__version__, connected or workers, cancels_running=cancels, keeps_results=True, notes=notes)

    def _config(self, config: Mapping[str, Any]) -> Any:
        from parsl.config import Config

        options: Dict[str, Any] = {
            "executors": [self._executor],
            "run_dir": config.get("run_dir") or os.path.join(self.context.scratch, "runinfo"),
            "retries": int(config.get("retries", 0)),
            "strategy": config.get("strategy") or "none",
            "strategy_period": float(config.get("strategy_period", 0.2)),
            "initialize_logging": False,
            "usage_tracking": 0,
        }
        if "max_idletime" in config:
            options["max_idletime"] = float(config["max_idletime"])
        if config.get("monitoring"):
            from parsl.monitoring import MonitoringHub

            options["monitoring"] = _made(MonitoringHub, dict(config["monitoring"]), "executor.monitoring")
        return _made(Config, options, "executor")

    def _htex(self, options: Dict[str, Any]) -> Any:
        from parsl.executors import HighThroughputExecutor

        options.setdefault("label", _LABEL)
        provider = dict(options.pop("provider", None) or {})
        kind = provider.pop("kind", "LocalProvider")
        if kind == "LocalProvider" and "address" not in options:
            # The host's name may lead to an interface that its own workers cannot reach.
            options["address"] = "127.0.0.1"
        options["provider"] = _provider(kind, provider)
        # A manager looks for dead workers once per period; Parsl's 30 s would be how long a loss goes unseen.
        options.setdefault("heartbeat_period", _HEARTBEAT_SECONDS)
        for name in ("worker_port_range", "interchange_port_range", "worker_ports"):
            if options.get(name) is not None:
                options[name] = tuple(options[name])
        if isinstance(options.get("manager_selector"), (str, dict)):
            from parsl.executors.high_throughput import manager_selector

            options["manager_selector"] = _named(manager_selector, options["manager_selector"], "executor.htex.manager_selector")
        return _made(HighThroughputExecutor, options, "executor.htex")

    def _count(self, executor: Any) -> int:
        """Workers once all first blocks run; Parsl itself knows only when they connect."""
        per_node = executor.max_workers_per_node
        if not isinstance(per_node, int):
            per_node = max(1, int((os.cpu_count() or 1) / (executor.cores_per_worker or 1)))
        blocks = max(1, getattr(executor.provider, "init_blocks", 1))
        return per_node * blocks * max(1, getattr(executor.provider, "nodes_per_block", 1))

    def _share_of_a_worker(self) -> Share:
        if self._in_process:
            return Share(1.0, memory_here(), "one thread; use parsl-htex and executor.htex.cores_per_worker", "this machine's memory")
        memory = getattr(self._executor, "mem_per_worker", None)
        return Share(
            float(self._executor.cores_per_worker or 1.0),
            memory * _GIGABYTE if memory else None,
            "executor.htex.cores_per_worker",
            "executor.htex.mem_per_worker",
        )

    def _warm_up(self, config: Mapping[str, Any]) -> int:
        """Waits for ``min_connected_nodes``; the workers that they have, 0 when nothing was waited for."""
        wanted = int(config.get("min_connected_nodes") or 0)
        if self._in_process or wanted == 0:
            return 0
        seconds = float(config.get("warmup_timeout") or _WARMUP_SECONDS)
        end = time.monotonic() + seconds
        while True:
            managers = [manager for manager in self._executor.connected_managers() if manager.get("active", True)]
            if len(managers) >= wanted:
                return sum(int(manager.get("worker_count", 1)) for manager in managers)
            if time.monotonic() > end or self._executor.bad_state_is_set:
                break
            time.sleep(0.1)
        text = f"{self.name}: {len(managers)} of executor.min_connected_nodes = {wanted} nodes connected in executor.warmup_timeout = {seconds:g} s"
        raise Fatal("engine", text, "look at the batch system's queue, lower executor.min_connected_nodes or raise executor.warmup_timeout")

    # Calls.

    def launch(self, submission: Submission) -> Tuple[Any, Any]:
        """One call; Parsl's kernel waits for the futures among its arguments."""
        specification = self._specification(submission.group)
        # Parsl pickles what it sends by dill, in Python: one string of bytes is all that it has to look at.
        arguments: Tuple[Any, ...] = (submission.packed(),)
        if submission.package is not None or submission.values:
            arguments += (submission.package, *submission.values)
        if self._direct and not submission.values:
            future = self._executor.submit(self._call, specification, *arguments)
            submission.inner = future
            return future, future
        # Parsl hands the specification on to the call, too, which does not look at it.
        more = {"parsl_resource_specification": specification} if specification else {}
        future = self._kernel.submit(
            self._call, app_args=arguments, executors=[self._executor.label], cache=False, ignore_for_cache=[], app_kwargs=more
        )
        submission.inner = future
        return future, future

    def _specification(self, group: Group) -> Dict[str, Any]:
        """Parsl's resource specification. A worker's share is fixed: what is beyond it is refused."""
        if not group.is_usual:
            refuse_custom(self.name, group, "use another executor")
            self._share.check(self.name, group)
            if group.memory_bytes and (self._in_process or self._share.memory_bytes is None):
                setting = "it shares this machine's" if self._in_process else "set executor.htex.mem_per_worker, in GB"
                self._unkept.tell("memory", setting)
        if self._has_priorities:
            # Lower is more urgent, and a task without comes last: so each has one.
            return {"priority": -group.priority}
        self._unkept.priority(group, "Parsl's threads have no priorities of tasks" if self._in_process else "this release of Parsl has none")
        return {}

    def store(self, buffer: Buffer) -> Any:
        """Held here and sent with each call that reads it."""
        return bytes(buffer)

    def load(self, handle: Any, index: int) -> Buffer:
        """The output itself: it is in this process."""
        if isinstance(handle, bytes):
            return handle
        try:
            data = self._shim.pick(handle.result(), index)
        except Exception as error:  # noqa: BLE001
            raise ResultLost(base.describe(error)) from error
        if data is None:
            raise ResultLost("its task did not end well")
        return data

    def interrupt(self, submission: Submission, ids: Sequence[str], whole: bool) -> None:
        """Parsl cancels nothing: with threads the shim is here, else the cancel directory does it."""
        if self._in_process:
            self._shim.cancel(self.context.settings["run"], ids)

    def classify(self, error: BaseException) -> Failure:
        """Parsl's exceptions in the host's terms."""
        kind, text = type(error).__name__, base.describe(error)
        if kind == "DependencyError":
            return Failure("upstream-failed", kind, text)
        if kind in ("WorkerLost", "ManagerLost"):
            return Failure("worker-lost", kind, text)
        if kind in ("SerializationError", "DeserializationError"):
            return Failure("payload-error", kind, text)
        if kind in _ENGINE_DOWN:
            fix = "see executor.run_dir; executor.htex.block_error_handler = false with more than one block lets Parsl go on after a lost block"
            self.context.fatal(Fatal("engine", f"{self.name}: Parsl's executor broke and takes no more tasks: {text}", fix))
        return Failure("engine-error", kind, text)

    def stop(self, deadline_s: float) -> None:
        """Ends the executor and its blocks."""
        self._kernel.cleanup()
        if self._in_process:
            self._shim.pool().close()


def _takes_priority(executor: Any) -> bool:
    """Whether this release's interchange sorts tasks by a priority."""
    try:
        executor.validate_resource_spec({"priority": 0})
    except Exception:  # noqa: BLE001 - older ones refuse any specification, in their own ways
        return False
    return True


def _provider(kind: str, options: Dict[str, Any]) -> Any:
    """A Parsl provider by its class's name, with its launcher by name, too."""
    from parsl import launchers, providers

    if "launcher" in options:
        options["launcher"] = _named(launchers, options["launcher"], "executor.htex.provider.launcher")
    made = getattr(providers, kind, None)
    if made is None or not kind.endswith("Provider"):
        known = ", ".join(sorted(name for name in providers.__all__))
        raise Fatal("config", f"parsl-htex: executor.htex.provider.kind = {kind!r} is no provider of Parsl", f"choose one of {known}")
    return _made(made, options, "executor.htex.provider")


def _named(module: Any, wanted: Any, field: str) -> Any:
    """An object of ``module`` from ``"Class"`` or ``{kind = "Class", …}``."""
    options = {"kind": wanted} if isinstance(wanted, str) else dict(wanted)
    kind = str(options.pop("kind", ""))
    made = getattr(module, kind, None)
    if not isinstance(made, type):
        known = ", ".join(sorted(name for name in dir(module) if isinstance(getattr(module, name), type)))
        raise Fatal("config", f"parsl-htex: {field} = {kind!r} is not known to Parsl", f"choose one of {known}")
    return _made(made, options, field)


def _made(kind: Any, options: Dict[str, Any], field: str) -> Any:
    """``kind(**options)``; a field that Parsl does not take is named as the user wrote it."""
    try:
        return kind(**options)
    except Fatal:
        raise
    except Exception as error:  # noqa: BLE001 - Parsl checks some fields with errors of its own
        text = f"Parsl does not take {field}: {base.describe(error)}"
        raise Fatal("config", text, f"see the fields of parsl's {kind.__name__}; given were {', '.join(sorted(options))}") from error
