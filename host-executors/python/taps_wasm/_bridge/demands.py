"""What a task demands beside one core of a worker, and what engines make of it.

One rule for all engines. A demand reaches the engine where it has such a thing.
One that no worker can meet is refused at once, with ``Infeasible``: engines
would wait for ever. One that a worker is large enough for, but that the engine
does not keep free for the task, is told once in the run's log.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Callable, Optional, Set

from .base import Context, Failure, Group, Infeasible


@dataclass(frozen=True)
class Share:
    """What one worker has for a task; ``None`` where that is not known."""

    cores: Optional[float] = None
    memory_bytes: Optional[float] = None
    cores_setting: str = ""
    """The setting that gives a worker its cores."""
    memory_setting: str = ""
    """The setting that gives it its memory."""

    def check(self, engine: str, group: Group) -> None:
        """Raises ``Infeasible`` where a worker has less than a task of ``group`` demands."""
        fix = "raise it, or lower the demand"
        if self.cores is not None and group.cores > max(1.0, self.cores):
            text = f"the task demands {group.cores:g} cores and a worker of {engine} has {self.cores:g}"
            raise Infeasible(f"{text} ({self.cores_setting}); {fix}")
        if self.memory_bytes is not None and group.memory_bytes > self.memory_bytes:
            text = f"the task demands {group.memory_bytes} bytes of memory and a worker of {engine} has {self.memory_bytes:.0f}"
            raise Infeasible(f"{text} ({self.memory_setting}); {fix}")


def refuse_custom(engine: str, group: Group, fix: str) -> None:
    """Raises ``Infeasible`` for custom resources: workers of ``engine`` have none."""
    if group.custom:
        names = ", ".join(sorted(group.custom))
        raise Infeasible(f"the task demands the resource {names}, and workers of {engine} have none; {fix}, or lower the demand")


def is_accepted(context: Context, engine: str, group: Group, check: Callable[[Group], None]) -> bool:
    """Whether ``group`` can go to an engine that keeps no results and whose ``check`` raises ``Infeasible``.

    Where not, its tasks have failed.
    """
    if any(task.refs for task in group.tasks):
        text = f"{engine} keeps no results: a task cannot read one by reference"
        refused = Failure("engine-error", "unsupported", text)
    else:
        try:
            check(group)
            return True
        except Infeasible as error:
            refused = error.failure()
    for task in group.tasks:
        context.failed(task.id, refused, 0)
    return False


def memory_here() -> float:
    """Bytes of memory of this machine."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


class Unkept:
    """Tells the user once of each kind of demand that an engine does not keep."""

    def __init__(self, engine: str, context: Context) -> None:
        self._engine = engine
        self._context = context
        self._told: Set[str] = set()

    def tell(self, what: str, why: str) -> None:
        """``what`` is the kind, such as ``memory``; ``why`` says what would keep it."""
        if what not in self._told:
            self._told.add(what)
            self._context.log("warning", f"{self._engine}: what tasks demand of {what} has no effect: {why}")

    def priority(self, group: Group, why: str = "it has no priorities of tasks") -> None:
        """For engines without priorities."""
        if group.priority:
            self.tell("priority", why)
