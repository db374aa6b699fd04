"""What can go wrong with a task, as exceptions.

Every way in which a task can end is an exception of its own here. All are a :class:`TaskFailed`, with
the names that records and reports of ``taps-wasm run`` use, too.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any, Dict, Optional, Tuple, Type

__all__ = [
    "Cancelled",
    "EngineError",
    "OutOfMemory",
    "PayloadError",
    "ProgramError",
    "StartError",
    "TaskError",
    "TaskFailed",
    "Timeout",
    "Trap",
    "UpstreamFailed",
    "WorkerLost",
]


class StartError(RuntimeError):
    """No worker could be started: the program is missing, or the bundle cannot be used.

    Attributes:
        kind: What was wrong: ``no-binary``, ``bundle``, ``version``, ``protocol`` or ``start``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> Tuple[Any, ...]:
        return (type(self), (self.kind, str(self)))


class TaskFailed(RuntimeError):
    """A task did not give its outputs.

    Attributes:
        task: Name of the task.
        outcome: How it ended, for example ``trap`` or ``timeout``.
        kind: What exactly, where the outcome has kinds: the name of the task's own error, the trap
            (``unreachable``, ``out-of-bounds``, …); ``None`` otherwise.
        message: What the task or the sandbox said.
        detail: More, for people, for example the guest's stack; ``None`` when there is none.
    """

    #: The outcome that the class stands for.
    OUTCOME = "engine-error"

    def __init__(
        self,
        message: str,
        *,
        task: str = "",
        outcome: Optional[str] = None,
        kind: Optional[str] = None,
        detail: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.task = task
        self.outcome = outcome if outcome is not None else self.OUTCOME
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        subject = f"task `{self.task}`: " if self.task else ""
        kind = f" ({self.kind})" if self.kind else ""
        return f"{subject}{self.outcome}{kind}: {self.message}"

    def __reduce__(self) -> Tuple[Any, ...]:
        fields = {
            "task": self.task,
            "outcome": self.outcome,
            "kind": self.kind,
            "detail": self.detail,
        }
        return (_restore, (type(self), self.message, fields))


def _restore(kind: Type[TaskFailed], message: str, fields: Dict[str, Any]) -> TaskFailed:
    """Makes a failure again from its pickle."""
    return kind(message, **fields)


class TaskError(TaskFailed):
    """The task returned an error of its own; ``kind`` is the name of its type."""

    OUTCOME = "task-error"


class Trap(TaskFailed):
    """The sandbox trapped; ``kind`` is the trap: in a Rust guest a panic is ``unreachable``."""

    OUTCOME = "trap"


class OutOfMemory(TaskFailed):
    """The task reached its memory limit."""

    OUTCOME = "out-of-memory"


class Timeout(TaskFailed):
    """The task reached its time limit.

    It is not a :class:`TimeoutError`, which ``future.result(timeout=…)`` raises when *waiting* took
    too long.
    """

    OUTCOME = "timeout"


class ProgramError(TaskFailed):
    """A native program that the task ran failed; ``kind`` says with which exit code or signal."""

    OUTCOME = "program-error"


class WorkerLost(TaskFailed):
    """The worker process died while the task was on it. The next call gets another worker."""

    OUTCOME = "worker-lost"


class UpstreamFailed(TaskFailed):
    """A future that the task takes as argument failed: the task never ran.

    ``__cause__`` is what the argument failed with.
    """

    OUTCOME = "upstream-failed"


class Cancelled(TaskFailed, CancelledError):
    """The task was cancelled while it ran.

    It is also a :class:`concurrent.futures.CancelledError`, which a task raises that was cancelled
    before it ran.
    """

    OUTCOME = "cancelled"


class PayloadError(TaskFailed):
    """An argument could not be read, or an output could not be stored or decoded."""

    OUTCOME = "payload-error"


class EngineError(TaskFailed):
    """The runtime itself failed."""

    OUTCOME = "engine-error"


_CLASSES: Dict[str, Type[TaskFailed]] = {
    kind.OUTCOME: kind
    for kind in (
        TaskError,
        Trap,
        OutOfMemory,
        Timeout,
        ProgramError,
        WorkerLost,
        UpstreamFailed,
        Cancelled,
        PayloadError,
        EngineError,
    )
}


def failure(
    task: str, outcome: str, message: str, kind: Optional[str] = None, detail: Any = None
) -> TaskFailed:
    """The exception for an outcome; :class:`EngineError` for one that this version does not know."""
    of = _CLASSES.get(outcome, EngineError)
    return of(message, task=task, outcome=outcome, kind=kind, detail=detail)
