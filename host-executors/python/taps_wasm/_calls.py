"""Calls of tasks, and their futures."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

from ._tasks import TaskDescription
from .errors import UpstreamFailed, failure
from .values import DeclaredType, declared, decode, encode

if TYPE_CHECKING:
    from ._child import Child

__all__ = ["Call", "Hooks", "TaskFuture", "TaskStats", "task_seed"]

Buffer = Union[bytes, bytearray, memoryview]

_OCTETS = "application/octet-stream"
_MASK = (1 << 64) - 1


class TaskStats(NamedTuple):
    """What a task took, as its worker measured it.

    Attributes:
        worker: Host and process number of the worker.
        wall_s: Seconds from its start to its end, without the way to the worker and back.
        cpu_s: Seconds of processor time.
        peak_memory_bytes: Most heap that it had.
    """

    worker: str
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int


class TaskFuture(Future):  # type: ignore[type-arg]
    """Future of a task: a :class:`concurrent.futures.Future` that can also cancel a running task.

    As an argument of another task it passes the outputs on as they are, without decoding them.

    Attributes:
        stats: What the task took; ``None`` until it has ended, and where its worker was lost.
    """

    def __init__(self, task: TaskDescription, cancel: Callable[[bool], bool]) -> None:
        super().__init__()
        self.task = task
        self.stats: Optional[TaskStats] = None
        self._cancel_call: Optional[Callable[[bool], bool]] = cancel
        #: The bytes of the outputs, once they are there.
        self._outputs: Optional[List[Buffer]] = None

    def cancel(self) -> bool:
        """Cancels the task, whether it waits or runs.

        A running task is stopped in its sandbox, and its future ends with :class:`taps_wasm.Cancelled` soon
        after, unless the task ends first. Returns ``False`` for a task that has ended.
        """
        # Gone with the task: it leads to the call, and from there back here.
        cancel_call = self._cancel_call
        pending = super().cancel()
        return cancel_call(pending) if cancel_call is not None else pending

    def cancelled(self) -> bool:
        """Whether the task was cancelled, before it ran or while it did."""
        if super().cancelled():
            return True
        return self.done() and isinstance(self.exception(), CancelledError)

    def output(self, index: int) -> "Future[Any]":
        """A future of one of several outputs, to be an argument of another task.

        Raises:
            IndexError: the task does not have that output.
        """
        count = len(self.task.outputs)
        if not 0 <= index < count:
            raise IndexError(f"task `{self.task.name}` has {count} outputs; there is no output {index}")
        return self if count == 1 else _Output(self, index)


class _Output(Future):  # type: ignore[type-arg]
    """One of several outputs of a task."""

    def __init__(self, of: TaskFuture, index: int) -> None:
        super().__init__()
        self.of = of
        self.index = index
        of.add_done_callback(self._follow)

    def cancel(self) -> bool:
        """Cancels the task itself, with all its outputs."""
        return self.of.cancel()

    def _follow(self, of: "Future[Any]") -> None:
        if not self.set_running_or_notify_cancel():
            return
        error: Optional[BaseException]
        try:
            error = of.exception()
        except CancelledError as cancelled:
            error = cancelled
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(of.result()[self.index])


class Hooks(NamedTuple):
    """What another framework does with values between its futures and the executor's."""

    #: From the result of a future among the arguments to the argument.
    resolve: Optional[Callable[[Any], Any]] = None
    #: From the value of the outputs to the result of the future.
    finish: Optional[Callable[[Any, TaskStats], Any]] = None
    #: Whether the bytes of another task's output may be passed on, past `resolve`.
    passes_bytes: bool = True


class Call:
    """One submission, from its arguments to its outputs."""

    def __init__(
        self,
        task: TaskDescription,
        args: Sequence[Any],
        hooks: Hooks,
        cancel: Callable[["Call", bool], bool],
    ) -> None:
        self.task = task
        self.args: List[Any] = list(args)
        self.future = TaskFuture(task, lambda pending: cancel(self, pending))
        self.future.add_done_callback(_let_go)
        self.number = -1
        self.header: Dict[str, Any] = {}
        self.buffers: List[Buffer] = [b""] * len(args)
        self.media_types: List[str] = [_OCTETS] * len(args)
        #: Futures among the arguments that are not done.
        self.missing = 0
        #: The worker that runs it.
        self.child: "Optional[Child]" = None
        self.cancelled = False
        self._hooks = hooks

    # Arguments

    def encode_given(self) -> None:
        """Encodes the arguments that are values, so that what is wrong with them is known at submission."""
        for index, arg in enumerate(self.args):
            if not isinstance(arg, Future):
                self._encode(index, arg)
                self.args[index] = None

    def encode_resolved(self) -> None:
        """Encodes the arguments that were futures, all of which are done."""
        for index, arg in enumerate(self.args):
            if isinstance(arg, Future):
                kept = self._as_kept(index, arg) if self._hooks.passes_bytes else None
                if kept is not None:
                    self.buffers[index] = kept
                else:
                    value, resolve = arg.result(), self._hooks.resolve
                    self._encode(index, value if resolve is None else resolve(value))
        self.args = []

    def _encode(self, index: int, value: Any) -> None:
        name, kind = self.task.parameter(index)
        where = f"task `{self.task.name}`, parameter `{name}` of type `{kind.text}`"
        try:
            self.media_types[index], self.buffers[index] = encode(kind, value)
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from None
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def _as_kept(self, index: int, future: "Future[Any]") -> Optional[Buffer]:
        """Bytes of another task's output, where the parameter takes them as they are."""
        if isinstance(future, _Output):
            of, at = future.of, future.index
        elif isinstance(future, TaskFuture) and len(future.task.outputs) == 1:
            of, at = future, 0
        else:
            return None
        # A task that failed has none.
        if of._outputs is None:
            return None
        given = declared(of.task.outputs[at])
        _, wanted = self.task.parameter(index)
        return of._outputs[at] if _passes(given, wanted) else None

    def upstream_failure(self, future: "Future[Any]") -> Optional[BaseException]:
        """The failure of this call, where a future among its arguments failed."""
        cause: Optional[BaseException]
        try:
            cause = future.exception()
        except CancelledError as cancelled:
            cause = cancelled
        if cause is None:
            return None
        places = [self.task.parameter(index)[0] for index, arg in enumerate(self.args) if arg is future]
        parent = f" (task `{future.task.name}`)" if isinstance(future, TaskFuture) else ""
        reason = str(cause) or type(cause).__name__
        error = UpstreamFailed(
            f"the future for `{', '.join(places)}`{parent} failed: {_shortened(reason)}",
            task=self.task.name,
            kind=getattr(cause, "outcome", None),
        )
        error.__cause__ = cause
        return error

    # Outcomes

    def fail(self, outcome: str, message: str, kind: Optional[str] = None, detail: Any = None) -> None:
        """Ends a call that runs with a failure."""
        self.future.set_exception(failure(self.task.name, outcome, message, kind, detail))

    def complete(self, header: Mapping[str, Any], outputs: Sequence[Buffer], worker: str) -> None:
        """Ends a call that runs with what its worker answered."""
        stats = TaskStats(
            worker,
            (header.get("wall_ns") or 0) / 1e9,
            (header.get("cpu_ns") or 0) / 1e9,
            header.get("peak_memory_bytes") or 0,
        )
        self.future.stats = stats
        if not header.get("ok"):
            self._fail_as(header)
            return
        if len(outputs) != len(self.task.outputs):
            self.fail("payload-error", f"it gave {len(outputs)} outputs; declared are {len(self.task.outputs)}")
            return
        try:
            self._succeed(header.get("media_types") or [], outputs, stats)
        except (ValueError, ImportError) as error:
            self.fail("payload-error", f"an output cannot be read: {error}")
        except BaseException as error:
            self.fail("engine-error", f"{type(error).__name__}: {error}")

    def _fail_as(self, header: Mapping[str, Any]) -> None:
        outcome, kind = str(header.get("outcome", "engine-error")), header.get("kind")
        message = str(header.get("message") or "no reason given")
        # Outcomes that have no kinds come with their own name.
        self.fail(outcome, message, kind if kind and kind != outcome else None, header.get("detail"))

    def _succeed(self, media_types: Sequence[str], outputs: Sequence[Buffer], stats: TaskStats) -> None:
        kept: List[Buffer] = []
        values: List[Any] = []
        for index, (declaration, data) in enumerate(zip(self.task.outputs, outputs)):
            media_type = media_types[index] if index < len(media_types) else _OCTETS
            value = decode(declared(declaration), data, media_type)
            values.append(value)
            # One copy of the bytes is enough.
            kept.append(value if isinstance(value, bytes) else data)
        result = None if not values else values[0] if len(values) == 1 else tuple(values)
        if self._hooks.finish is not None:
            result = self._hooks.finish(result, stats)
        self.future._outputs = kept
        self.future.set_result(result)


def _let_go(future: "Future[Any]") -> None:
    """Lets a future that is done go of its call, so that its outputs are freed with it."""
    if isinstance(future, TaskFuture):
        future._cancel_call = None


def _passes(given: DeclaredType, wanted: DeclaredType) -> bool:
    """Whether bytes of one type are what a parameter of another takes, as far as can be known here."""
    if given.text == wanted.text or wanted.form == "bytes":
        return True
    if "opaque" in (given.form, wanted.form):
        return True
    if given.form == wanted.form == "array":
        return not given.element or not wanted.element or given.element == wanted.element
    return given.form == wanted.form and given.shape == wanted.shape


def _shortened(text: str, most: int = 400) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _splitmix64(state: int) -> int:
    mixed = (state + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def task_seed(run_seed: int, name: str, index: int) -> int:
    """Seed of the ``index``-th submission, from 0, of tasks of that name: as in ``taps-wasm run``."""
    of_name = 0xCBF29CE484222325
    for byte in name.encode("utf-8"):
        of_name = ((of_name ^ byte) * 0x100000001B3) & _MASK
    return _splitmix64(_splitmix64(_splitmix64(run_seed) ^ of_name) ^ _splitmix64(index))
