"""The executor ``taps-wasm`` for TaPS, the Task Performance Suite.

Import this module before TaPS reads its configuration; then ``--engine.executor taps-wasm`` runs the tasks of
an app in sandboxes. TaPS's engine takes Python callables: an app of its submits
:class:`taps_wasm.Task` objects, which name tasks of the bundle.

Without TaPS the module can be imported, too; :data:`TapsWasmConfig` is then ``None``.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import Executor as AbstractExecutor
from concurrent.futures import Future
from typing import Any, Callable, Iterator, Literal, Optional

from ._calls import Hooks, TaskFuture, TaskStats
from ._tasks import Task
from .executor import Executor

try:
    from pydantic import Field
    from taps.engine.task import ExecutionInfo, TaskResult
    from taps.executor import ExecutorConfig
    from taps.plugins import register
except ImportError:
    _HAVE_TAPS = False
else:
    _HAVE_TAPS = True

__all__ = ["TapsExecutor", "TapsWasmConfig"]


class TapsExecutor(AbstractExecutor):
    """Runs the tasks that TaPS's engine submits on a :class:`taps_wasm.Executor`.

    The engine wraps what it submits, gives its transformer along, and expects the result together with the
    times at which it was made; this does the same around a task in a sandbox. Bytes of a future among the
    arguments pass from task to task without being decoded, unless a transformer is in use.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def __repr__(self) -> str:
        return f"TapsExecutor({self.executor!r})"

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Has a task run, as :meth:`taps_wasm.Executor.submit` does.

        Raises:
            TypeError: `function` is not a :class:`taps_wasm.Task`, or there are arguments by keyword.
        """
        transformer = kwargs.pop("_transformer", None)
        task = _task_of(function)
        if kwargs:
            names = ", ".join(kwargs)
            raise TypeError(f"task `{task.name}` takes its arguments by position; given by keyword: {names}")
        if transformer is None:
            return self.executor.submit(task, *args)
        return self._submit_transformed(task, args, transformer)

    def _submit_transformed(self, task: Task, args: Any, transformer: Any) -> TaskFuture:
        args = tuple(arg if isinstance(arg, Future) else transformer.resolve(arg) for arg in args)

        def resolve(value: Any) -> Any:
            return transformer.resolve(value.value if isinstance(value, TaskResult) else value)

        def finish(value: Any, stats: TaskStats) -> Any:
            return _result(value, stats, transformer)

        # A transformer means that values are to take its way; without one, bytes go straight to the next task.
        through = getattr(transformer, "transformer", None) is not None
        return self.executor._submit_task(task, args, Hooks(resolve, finish, not through))

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Any,
        timeout: Optional[float] = None,
        chunksize: int = 1,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """As :meth:`concurrent.futures.Executor.map`."""
        return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As :meth:`taps_wasm.Executor.shutdown`."""
        self.executor.shutdown(wait=wait, cancel_futures=cancel_futures)


def _task_of(function: Any) -> Task:
    """The task that the engine has wrapped."""
    found = function
    while not isinstance(found, Task) and hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    if not isinstance(found, Task):
        name = getattr(function, "name", None) or getattr(function, "__name__", repr(function))
        raise TypeError(
            f"the executor `taps-wasm` runs tasks of a bundle, not the Python function `{name}`: "
            'submit `taps_wasm.Task("…")` instead, or choose another executor'
        )
    return found


def _result(value: Any, stats: TaskStats, transformer: Any) -> Any:
    """A result as TaPS's engine wants it: transformed, with its times.

    The times are this host's clock: the task ended when its result came, and began as long before as its
    worker measured. Identifiers among the arguments were resolved before, by the submitting process.
    """
    came = time.time()
    began = came - stats.wall_s
    result = transformer.transform(value)
    end = time.time()
    info = ExecutionInfo(
        hostname=stats.worker.partition("/")[0] or socket.gethostname(),
        execution_start_time=began,
        input_transform_start_time=began,
        input_transform_end_time=began,
        task_start_time=began,
        task_end_time=came,
        result_transform_start_time=came,
        result_transform_end_time=end,
        execution_end_time=end,
    )
    return TaskResult(value=result, info=info)


#: The configuration that TaPS knows as `taps-wasm`; `None` without TaPS.
TapsWasmConfig: Any = None

if _HAVE_TAPS:

    @register("executor")
    class _TapsWasmConfig(ExecutorConfig):  # type: ignore[misc]
        """Configuration of the executor ``taps-wasm``."""

        name: Literal["taps-wasm"] = Field("taps-wasm", description="Executor name.")
        bundle: str = Field(description="Built-in app, or path of a component or bundle, whose tasks run.")
        workers: Optional[int] = Field(None, description="Most worker processes (default: as many as CPUs).")
        timeout: Optional[float] = Field(None, description="Seconds that a task may run.")
        memory: Optional[str] = Field(None, description="Heap that a task may use, for example 512 MiB.")
        seed: int = Field(0, description="Seed from which each task gets its own.")
        kernels: Literal["host", "guest"] = Field("host", description="Who computes dense linear algebra.")
        binary: Optional[str] = Field(None, description="The program taps-wasm (default: looked for).")

        def get_executor(self) -> TapsExecutor:
            """Makes the executor: starts its first worker."""
            return TapsExecutor(
                Executor(
                    self.bundle,
                    self.workers,
                    timeout=self.timeout,
                    memory=self.memory,
                    seed=self.seed,
                    kernels=self.kernels,
                    binary=self.binary,
                )
            )

    TapsWasmConfig = _TapsWasmConfig
