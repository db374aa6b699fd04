"""Tasks: what a bundle says of them, and how they are named."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple, Union

from . import _child
from .values import DeclaredType, declared

if TYPE_CHECKING:
    from .executor import Executor

__all__ = ["Task", "TaskDescription", "tasks"]


@dataclass(frozen=True)
class TaskDescription:
    """What a bundle says of one of its tasks.

    Attributes:
        name: Name by which it is submitted.
        help: What it does.
        parameters: Names and declared types of the parameters, in order.
        outputs: Declared types of the outputs, in order.
        pure: Whether equal arguments always give equal outputs.
        grants: Path fields of the app's configuration that the task may reach.
        programs: Native programs that the task may run.
    """

    name: str
    help: str = ""
    parameters: Tuple[Tuple[str, str], ...] = ()
    outputs: Tuple[str, ...] = ()
    pure: bool = False
    grants: Tuple[str, ...] = ()
    programs: Tuple[str, ...] = ()
    _takes: Tuple[DeclaredType, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_json(cls, task: Mapping[str, Any]) -> "TaskDescription":
        """From one entry of ``tasks`` in a description."""
        parameters = tuple((str(name), str(kind)) for name, kind in task.get("parameters", ()))
        return cls(
            name=str(task["name"]),
            help=str(task.get("help", "")),
            parameters=parameters,
            outputs=tuple(str(kind) for kind in task.get("outputs", ())),
            pure=bool(task.get("pure", False)),
            grants=tuple(task.get("grants", ())),
            programs=tuple(task.get("programs", ())),
            _takes=tuple(declared(kind) for _, kind in parameters),
        )

    @property
    def takes_rest(self) -> bool:
        """Whether the last parameter takes any number of arguments."""
        return bool(self._takes) and self._takes[-1].form == "rest"

    @property
    def signature(self) -> str:
        """The task as it would be declared, for example ``gemm(tile: &Tile) -> Tile``."""
        inside = ", ".join(f"{name}: {kind}" for name, kind in self.parameters)
        outputs = self.outputs[0] if len(self.outputs) == 1 else f"({', '.join(self.outputs)})"
        return f"{self.name}({inside}) -> {outputs}"

    def parameter(self, index: int) -> Tuple[str, DeclaredType]:
        """Name and type of the parameter that the argument at ``index`` is for."""
        at = min(index, len(self.parameters) - 1)
        kind = self._takes[at]
        name = self.parameters[at][0]
        if kind.form == "rest" and kind.inner is not None:
            return f"{name}[{index - at}]", kind.inner
        return name, kind

    def check_count(self, given: int) -> None:
        """Raises :class:`TypeError` when the task does not take that many arguments."""
        count = len(self.parameters)
        enough = given >= count - 1 if self.takes_rest else given == count
        if not enough:
            expected = f"at least {count - 1}" if self.takes_rest else str(count)
            plural = "" if expected.endswith(" 1") or expected == "1" else "s"
            raise TypeError(
                f"task `{self.name}` takes {expected} argument{plural}, got {given}: {self.signature}"
            )


class Task:
    """Names a task of a bundle, with limits of its own.

    An :class:`~taps_wasm.Executor` takes it wherever it takes the task's name. With a ``bundle`` it can
    also be called, and pickled: it then runs the task in a sandbox of the calling process, and so works
    with whatever runs Python functions, such as :mod:`concurrent.futures` or Dask.

    >>> gemm = Task("gemm", bundle="cholesky", timeout=10)        # doctest: +SKIP
    >>> product = gemm(tile, left, right)                          # doctest: +SKIP
    """

    def __init__(
        self,
        name: str,
        bundle: "Optional[str | os.PathLike[str]]" = None,
        *,
        timeout: Optional[float] = None,
        memory: Union[int, str, None] = None,
        seed: Optional[int] = None,
    ) -> None:
        """Names the task.

        Args:
            name: Its name in the bundle.
            bundle: Name of a built-in app, or path of a component or bundle; needed to call the task
                without an executor.
            timeout: Seconds that it may run.
            memory: Heap that it may use: bytes, or a text such as ``"256MB"``.
            seed: Seed of its random numbers.
        """
        self.name = name
        self.bundle = None if bundle is None else os.fspath(bundle)
        self.timeout = timeout
        self.memory = memory
        self.seed = seed
        # What wraps functions, as TaPS does, copies these.
        self.__name__ = name
        self.__qualname__ = name
        self.__doc__ = f"Task `{name}` of {self.bundle or 'a bundle'}."

    def __call__(self, *args: Any) -> Any:
        """Runs the task and waits for its outputs.

        Raises:
            TypeError: the task was named without a bundle.
            taps_wasm.TaskFailed: it failed.
        """
        if self.bundle is None:
            raise TypeError(
                f"Task({self.name!r}) has no bundle to run it from: submit it to a taps_wasm.Executor, "
                f"or name the bundle: Task({self.name!r}, bundle=…)"
            )
        return _executor_of(self.bundle).submit(self, *args).result()

    def __repr__(self) -> str:
        bundle = "" if self.bundle is None else f", bundle={self.bundle!r}"
        return f"Task({self.name!r}{bundle})"

    def __reduce__(self) -> Tuple[Any, ...]:
        return (_restore, (self.name, self.bundle, self.timeout, self.memory, self.seed))


def _restore(
    name: str,
    bundle: Optional[str],
    timeout: Optional[float],
    memory: Union[int, str, None],
    seed: Optional[int],
) -> Task:
    """Makes a task again from its pickle."""
    return Task(name, bundle, timeout=timeout, memory=memory, seed=seed)


_shared: Dict[Tuple[int, str], "Executor"] = {}
_sharing = threading.Lock()


def _executor_of(bundle: str) -> "Executor":
    """The executor of this process that called tasks of the bundle run on."""
    from .executor import Executor

    with _sharing:
        key = (os.getpid(), bundle)
        if key not in _shared:
            _shared[key] = Executor(bundle)
        return _shared[key]


def tasks(
    bundle: "str | os.PathLike[str]", *, binary: "Optional[str | os.PathLike[str]]" = None
) -> List[TaskDescription]:
    """The tasks of a bundle, sorted by name. Runs nothing of it.

    Args:
        bundle: Name of a built-in app, or path of a component or bundle.
        binary: The program ``taps-wasm``; looked for when not given.

    Raises:
        StartError: the program is missing, or the bundle cannot be used.
    """
    answer = json.loads(_child.describe(_child.binary(binary), os.fspath(bundle)))
    return [TaskDescription.from_json(task) for task in answer["app"]["tasks"]]
