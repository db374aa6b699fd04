"""Tasks of WebAssembly components, each in a sandbox of its own, as futures.

>>> import taps_wasm
>>> with taps_wasm.Executor("mapreduce", workers=2) as executor:   # doctest: +SKIP
...     text = executor.submit("generate_task", 7, 1000)
...     counts = executor.submit("map_task", text)
...     total = executor.submit("reduce_task", counts)
...     total.result()

:class:`Executor` runs them, :func:`tasks` lists what a bundle has, and every way in which a task can fail
is an exception of its own, a :class:`TaskFailed`.
"""

from __future__ import annotations

import os
from typing import Optional, Union

from . import _child
from ._calls import TaskFuture, TaskStats
from ._tasks import Task, TaskDescription, tasks
from .errors import (
    Cancelled,
    EngineError,
    OutOfMemory,
    PayloadError,
    ProgramError,
    StartError,
    TaskError,
    TaskFailed,
    Timeout,
    Trap,
    UpstreamFailed,
    WorkerLost,
)
from .executor import Executor
from .values import array_from_bytes, array_to_bytes

__all__ = [
    "Cancelled",
    "EngineError",
    "Executor",
    "OutOfMemory",
    "PayloadError",
    "ProgramError",
    "StartError",
    "Task",
    "TaskDescription",
    "TaskError",
    "TaskFailed",
    "TaskFuture",
    "TaskStats",
    "Timeout",
    "Trap",
    "UpstreamFailed",
    "WorkerLost",
    "array_from_bytes",
    "array_to_bytes",
    "binary",
    "tasks",
]


def binary(given: "Optional[Union[str, os.PathLike[str]]]" = None) -> str:
    """Path of the program ``taps-wasm``.

    Looks at ``given``, then at ``$TAPS_WASM_BIN``, then beside the interpreter, where the wheel puts it,
    then on the ``PATH``. One that is named, in either way, has to exist.

    Raises:
        StartError: there is none.
    """
    return _child.binary(given)
