"""What an engine must be able to do, and the half of it that engines share.

The bridge (``__init__.py``) reads the host's frames and calls an ``Engine``;
the engine tells what came of it through its ``Context``. To add an engine:

1. write a module in this package with a class ``Adapter``, a subclass of
   ``Engine``, or of ``FuturesEngine`` when a submission gives a future;
2. name it in ``ENGINES`` of ``__init__.py``.

``threads.py`` is the smallest whole example.

Which thread calls what: ``start``, ``submit``, ``put``, ``release``,
``cancel`` and ``stop`` are called by the bridge's reader, one after another;
they must not wait for tasks. ``fetch`` is called by a few other threads and may
wait. Everything in ``Context`` may be called from any thread.
"""

from __future__ import annotations

import abc
import contextlib
import pickle
import threading
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import packages

Buffer = Union[bytes, bytearray, memoryview]
Ref = Tuple[str, int]
_PACKAGE_ROUNDS = 4

Outcome = str
"""``worker-lost``, ``upstream-failed``, ``cancelled``, ``payload-error``, ``out-of-memory`` or ``engine-error``."""


class Fatal(Exception):
    """The engine cannot be used (any more): the bridge reports it and ends.

    ``kind`` is ``missing-package``, ``unreachable``, ``authentication``,
    ``unsupported``, ``config`` or ``engine``; ``message`` names the engine, the
    setting and its value; ``fix`` says what the user can do.
    """

    def __init__(self, kind: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.fix = fix


class ResultLost(Exception):
    """A kept result or a put payload is gone from the engine; its task must run again."""


class Infeasible(Exception):
    """No worker can ever meet what the task demands: says what, which setting it is about, and what to do.

    May be raised by ``submit`` and ``launch`` of any engine; nothing was sent.
    """

    def failure(self) -> "Failure":
        """The same for all engines."""
        return Failure("engine-error", "infeasible-resources", describe(self))


class PackageLost(Exception):
    """The package was sent and a worker does not have it."""


@dataclass(frozen=True)
class Failure:
    """How a task failed in the engine's hands, not in its own code."""

    outcome: Outcome
    kind: str
    message: str


@dataclass
class Ready:
    """What the engine says of itself once it can take tasks."""

    version: str
    workers: int
    cancels_running: bool = False
    keeps_results: bool = False
    notes: List[str] = field(default_factory=list)


@dataclass
class Task:
    """One attempt: its id ``TASK:NUMBER``, the key of its result, what it reads, and its opaque bytes."""

    id: str
    key: str
    refs: List[Ref]
    blob: Buffer


@dataclass
class Group:
    """Tasks that the host put together: one engine call. With refs or ``keep``, one task."""

    tasks: List[Task]
    cores: float = 1.0
    memory_bytes: int = 0
    custom: Dict[str, float] = field(default_factory=dict)
    priority: int = 0

    @property
    def ids(self) -> List[str]:
        """The attempts' ids in order."""
        return [task.id for task in self.tasks]

    @property
    def is_usual(self) -> bool:
        """Whether it demands one core and nothing else. Its priority is another matter."""
        return self.cores <= 1 and not self.memory_bytes and not self.custom


class Context(abc.ABC):
    """What the bridge offers to its engine. Every method may be called from any thread."""

    settings: Dict[str, Any]
    """Given to every call as is; the bridge adds ``keep`` and the engine's ``wrap``."""
    sources: Any
    """The texts that travel with a call (``call.Sources``)."""
    scratch: str
    """Directory of this run, removed by the host in every ending."""
    keep: bool
    """Whether results stay in the engine and tasks name them by reference."""

    @abc.abstractmethod
    def done(self, task: str, report: Buffer, executions: int = 1) -> None:
        """Attempt ``task`` ran (well or not): its report blob."""

    @abc.abstractmethod
    def failed(self, task: str, failure: Failure, executions: int = 1) -> None:
        """Attempt ``task`` did not come to an end of its own."""

    @abc.abstractmethod
    def log(self, level: str, message: str) -> None:
        """A line for the user: ``debug``, ``info``, ``warning`` or ``error``."""

    @abc.abstractmethod
    def reran(self, tasks: Sequence[str]) -> None:
        """The engine executed attempts again that were done already."""

    @abc.abstractmethod
    def workers(self, joined: Sequence[str], lost: Sequence[Tuple[str, str]]) -> None:
        """Workers came, or went with a reason."""

    @abc.abstractmethod
    def fatal(self, error: Fatal) -> None:
        """The engine broke: reported once, then the bridge ends."""

    @abc.abstractmethod
    def with_package(self, then: Callable[[Buffer], None]) -> None:
        """Calls ``then`` with the package's bytes, asking the host for them once."""

    def report(self, group: Group, value: Any, executions: int = 1) -> None:
        """Reports what an engine call returned: ``("done", …)`` or ``("setup-failed", …)``."""
        kind = value[0] if isinstance(value, (tuple, list)) and value else None
        if kind == "done":
            self._report_results(group, value[1], executions)
        elif kind == "setup-failed":
            failure = Failure("engine-error", str(value[1]), str(value[2]))
            for task in group.tasks:
                self.failed(task.id, failure, executions)
        else:
            failure = Failure("engine-error", "protocol", f"the worker returned {str(value)[:200]!r}, which is no result")
            for task in group.tasks:
                self.failed(task.id, failure, executions)

    def _report_results(self, group: Group, results: Iterable[Any], executions: int) -> None:
        missing = set(group.ids)
        for task, status, said, _outs in results:
            missing.discard(task)
            if status in ("ok", "not-ok"):
                self.done(task, said, executions)
            else:
                self.failed(task, Failure(*_STATUS.get(status, ("engine-error", status)), str(said)), executions)
        for task in missing:
            self.failed(task, Failure("engine-error", "protocol", "the worker returned no result for this task"), executions)


_STATUS: Mapping[str, Tuple[str, str]] = {
    "lost": ("worker-lost", "child-died"),
    "upstream": ("upstream-failed", "upstream"),
    "cancelled": ("cancelled", "cancelled"),
}


class Engine(abc.ABC):
    """An external engine behind the bridge."""

    name = ""
    """As in the executor's name."""
    wrap = False
    """Whether the engine's pickling takes buffers out of band (pickle protocol 5)."""

    @abc.abstractmethod
    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """Connects to the engine or starts it. Raises ``Fatal`` within a bounded time."""

    @abc.abstractmethod
    def submit(self, group: Group) -> None:
        """Submits one engine call for ``group``. May raise: its tasks then fail with ``classify``."""

    def put(self, key: str, buffer: Buffer) -> None:
        """Gives a payload to the engine for tasks that name ``(key, 0)``."""
        raise NotImplementedError(f"{self.name} keeps no payloads")

    def fetch(self, key: str, index: int) -> Buffer:
        """Output ``index`` of a kept result. May wait. Raises ``ResultLost``."""
        raise ResultLost(f"{self.name} keeps no results")

    def release(self, keys: Sequence[str]) -> None:
        """Forgets kept results and payloads. Unknown keys are no error."""

    @abc.abstractmethod
    def cancel(self, ids: Sequence[str]) -> None:
        """Asks that attempts stop, queued or running. They are reported all the same."""

    @abc.abstractmethod
    def stop(self, deadline_s: float) -> None:
        """Ends what this bridge started, within about ``deadline_s``."""

    def classify(self, error: BaseException) -> Failure:
        """Names an exception of the engine in the host's terms."""
        return Failure("engine-error", type(error).__name__, describe(error))


def describe(error: BaseException) -> str:
    """An exception as one line of text that is never empty."""
    text = str(error).strip()
    return text if text else type(error).__name__


@dataclass
class Submission:
    """One engine call in flight."""

    group: Group
    header: List[Any]
    """``[attempt_id, [[position_in_values, key, index], …]]`` per task."""
    values: List[Any]
    """Engine handles, in the order of ``header``'s positions."""
    package: Any = None
    """``None``, or the engine's handle of the package's bytes."""
    executions: int = 0
    """Starts seen by the engine; 0 when it does not see them: then reported as 1."""
    future: Any = None
    handle: Any = None
    inner: Any = None
    """The engine's own future, where ``future`` is another."""
    cancelled: bool = False
    rounds: int = 0
    """How often it was sent again with the package."""

    @property
    def attempts(self) -> List[Buffer]:
        """The tasks' blobs in order."""
        return [task.blob for task in self.group.tasks]

    def packed(self) -> bytes:
        """What is small of the call as one string of bytes, which engines pickle without looking into it."""
        return pickle.dumps((self.header, [bytes(task.blob) for task in self.group.tasks]), 5)


class FuturesEngine(Engine):
    """An engine whose submission gives a future with ``add_done_callback``.

    A subclass writes ``start``, ``stop`` and ``launch``; for kept results
    ``store``, ``load`` and ``forget``; for cancels ``interrupt``; and
    ``classify`` for its exceptions. What is here: references, the package asked
    for and sent again, and callbacks that never lose an exception.
    """

    package_by_reference = False
    """Whether every call gets the package once one has needed it: for engines that pass a reference."""

    def __init__(self) -> None:
        self.context: Context = None  # type: ignore[assignment]  # set by start()
        self._package: Any = None
        self._lock = threading.RLock()
        self._handles: Dict[str, Any] = {}
        self._flying: Dict[str, Submission] = {}
        self._flying_keys: Dict[str, Submission] = {}
        self._waiting: Dict[str, List[Submission]] = {}
        self._broken: Dict[int, Any] = {}
        """Handles of calls that the engine failed, by identity, until they are released."""

    # What a subclass writes.

    @abc.abstractmethod
    def launch(self, submission: Submission) -> Tuple[Any, Any]:
        """Submits ``call(settings, header, package, attempts, *values)``.

        Returns the future of the call's value (of its meta part when results
        are kept) and the handle that stands for its data in later calls.
        """

    def store(self, buffer: Buffer) -> Any:
        """Gives a payload to the engine and returns its handle."""
        return buffer

    def load(self, handle: Any, index: int) -> Buffer:
        """Output ``index`` behind a handle. May wait. Raises ``ResultLost``."""
        raise ResultLost(f"{self.name} keeps no results")

    def forget(self, handle: Any) -> None:
        """Releases a handle. Dropping the object is enough for most engines."""

    def share_package(self, package: Buffer) -> Any:
        """The handle by which a call gets the package's bytes."""
        return bytes(package)

    def package_lost(self, handle: Any) -> bool:
        """Whether the engine will never have the package behind this handle: calls that take it fail, and not of their own."""
        return False

    def upstream_failed(self, submission: Submission) -> bool:
        """Whether a failed call failed for what it reads. May wait a moment."""
        with self._lock:
            return any(id(value) in self._broken for value in submission.values)

    def interrupt(self, submission: Submission, ids: Sequence[str], whole: bool) -> None:
        """Asks that ``ids`` of a call stop; ``whole`` when they are all that it has."""

    # What is shared.

    def submit(self, group: Group) -> None:
        """See ``Engine.submit``."""
        self._submit(Submission(group, [], []))

    def _submit(self, submission: Submission) -> None:
        group = submission.group
        with self._lock:
            missing = self._resolve(submission)
            if missing is not None:
                for task in group.tasks:
                    text = f"the result {missing!r} that it reads is not held by {self.name}"
                    self.context.failed(task.id, Failure("upstream-failed", "unknown-reference", text))
                return
            if submission.package is None and self.package_by_reference:
                submission.package = self._package
            try:
                submission.future, submission.handle = self.launch(submission)
            except Exception as error:  # noqa: BLE001 - engines raise anything; it is the tasks' failure
                self._fail(submission, error)
                return
            for task in group.tasks:
                self._flying[task.id] = submission
                self._flying_keys[task.key] = submission
                if self.context.keep:
                    self._handles[task.key] = submission.handle
        submission.future.add_done_callback(lambda future: self._finished(submission, future))

    def _resolve(self, submission: Submission) -> Optional[str]:
        """Fills header and values; gives the first key that is not known."""
        positions: Dict[str, int] = {}
        submission.values, submission.header = [], []
        for task in submission.group.tasks:
            reads = []
            for key, index in task.refs:
                if key not in self._handles:
                    return key
                if key not in positions:
                    positions[key] = len(submission.values)
                    submission.values.append(self._handles[key])
                reads.append([positions[key], key, index])
            submission.header.append([task.id, reads])
        return None

    def _finished(self, submission: Submission, future: Any) -> None:
        """The done callback. An exception in it would be swallowed and the task lost: none leaves."""
        try:
            error = self._error_of(future)
            if error is not None:
                if submission.package is not None and self.package_lost(submission.package):
                    self._share_again(submission)
                else:
                    self._fail(submission, error)
                return
            value = future.result()
            if isinstance(value, bytes):
                value = pickle.loads(value)
            if isinstance(value, (tuple, list)) and value and value[0] == "need-package":
                self._resubmit(submission)
                return
            self._land(submission)
            self.context.report(submission.group, value, max(1, submission.executions))
        except BaseException as error:  # noqa: BLE001
            self._fail(submission, error)

    def _error_of(self, future: Any) -> Optional[BaseException]:
        try:
            return future.exception()
        except BaseException as error:  # noqa: BLE001 - a cancelled future raises
            return error

    def _land(self, submission: Submission) -> None:
        with self._lock:
            for task in submission.group.tasks:
                if self._flying.get(task.id) is submission:
                    del self._flying[task.id]
                if self._flying_keys.get(task.key) is submission:
                    del self._flying_keys[task.key]
                task.blob = b""  # A kept future may hold this submission for long.
            submission.future = None
        self._wake(submission)

    def _fail(self, submission: Submission, error: BaseException) -> None:
        with self._lock:
            if submission.handle is not None and self.context.keep:
                self._broken[id(submission.handle)] = submission.handle
        self._land(submission)
        try:
            if isinstance(error, Infeasible):
                failure = error.failure()
            elif isinstance(error, PackageLost):
                # With references, what it reads was made again by a worker without the package.
                outcome, kind = ("upstream-failed", "result-lost") if submission.values else ("engine-error", "package")
                failure = Failure(outcome, kind, describe(error))
            else:
                failure = self.classify(error)
        except Exception as second:  # noqa: BLE001
            failure = Failure("engine-error", type(second).__name__, describe(second))
        if failure.outcome != "upstream-failed" and submission.values and not submission.cancelled:
            # Engines give what hangs on a failed call that call's own error.
            if failure.outcome == "cancelled" or self.upstream_failed(submission):
                failure = Failure("upstream-failed", failure.kind, failure.message)
        executions = 0 if isinstance(error, Infeasible) else max(1, submission.executions)
        for task in submission.group.tasks:
            self.context.failed(task.id, failure, executions)

    # The package: a worker that does not have it says so, and is sent it once.

    def _resubmit(self, submission: Submission) -> None:
        with self._lock:
            for task in submission.group.tasks:
                for key, _ in task.refs:
                    other = self._flying_keys.get(key)
                    if other is not None and any(other.handle is value for value in submission.values):
                        # What it reads may have come to the same answer: that goes first.
                        self._waiting.setdefault(key, []).append(submission)
                        return
        submission.rounds += 1
        if submission.rounds > _PACKAGE_ROUNDS:
            self._fail(submission, PackageLost("a worker asked for the package again and again after it was sent"))
            return
        self.context.with_package(lambda package: self._with_package(submission, package))

    def _share_again(self, submission: Submission) -> None:
        with self._lock:
            if self._package is submission.package:
                self._package = None
            submission.package = None
        self._resubmit(submission)

    def _with_package(self, submission: Submission, package: Buffer) -> None:
        try:
            with self._lock:
                submission.package = self._package
                if submission.package is None:
                    submission.package = self.share_package(package)
                if self.package_by_reference:
                    self._package = submission.package
        except Exception as error:  # noqa: BLE001
            self._fail(submission, error)
            return
        self._submit(submission)
        self._wake(submission)

    def _wake(self, submission: Submission) -> None:
        """Sends again what waited for this call to be sent again or to end."""
        with self._lock:
            waiting = [other for task in submission.group.tasks for other in self._waiting.pop(task.key, [])]
        for other in waiting:
            self._resubmit(other)

    # Kept results.

    def put(self, key: str, buffer: Buffer) -> None:
        """See ``Engine.put``."""
        handle = self.store(buffer)
        with self._lock:
            self._handles[key] = handle

    def fetch(self, key: str, index: int) -> Buffer:
        """See ``Engine.fetch``."""
        with self._lock:
            if key not in self._handles:
                raise ResultLost(f"{self.name} holds no result {key!r}")
            handle = self._handles[key]
        return self.load(handle, index)

    def release(self, keys: Sequence[str]) -> None:
        """See ``Engine.release``."""
        with self._lock:
            handles = [self._handles.pop(key) for key in keys if key in self._handles]
            for handle in handles:
                self._broken.pop(id(handle), None)
        for handle in handles:
            self.forget(handle)

    def cancel(self, ids: Sequence[str]) -> None:
        """See ``Engine.cancel``."""
        with self._lock:
            calls: Dict[int, Tuple[Submission, List[str]]] = {}
            for task in ids:
                submission = self._flying.get(task)
                if submission is not None:
                    calls.setdefault(id(submission), (submission, []))[1].append(task)
        for submission, wanted in calls.values():
            whole = len(wanted) == len(submission.group.tasks)
            submission.cancelled = submission.cancelled or whole
            try:
                self.interrupt(submission, wanted, whole)
            except Exception as error:  # noqa: BLE001
                self.context.log("warning", f"{self.name} did not take a cancel: {describe(error)}")


def run_bounded(what: Callable[[], Any], seconds: float, late: Fatal) -> Any:
    """Runs ``what`` in a thread and raises ``late`` when it takes too long.

    The thread is left behind: the bridge ends right after a ``Fatal``.
    """
    box: Dict[str, Any] = {}

    def body() -> None:
        try:
            box["value"] = what()
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            box["error"] = error

    thread = threading.Thread(target=body, name="bounded-start", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise late
    if "error" in box:
        raise box["error"]
    return box.get("value")


@contextlib.contextmanager
def watched(context: Context, seconds: float, late: Fatal) -> Iterator[None]:
    """Reports ``late`` when the block takes too long; the bridge then ends around it.

    For what must run in the main thread and so cannot be left behind.
    """
    timer = threading.Timer(seconds, context.fatal, args=(late,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def require_version(engine: str, package: str, version: str, minimum: Tuple[int, ...]) -> None:
    """Raises ``Fatal`` when an engine's package is older than what the bridge was written for."""
    if packages.is_older(version, minimum):
        wanted = ".".join(str(part) for part in minimum)
        text = f"{engine}: the package {package} has version {version}; {wanted} or later is needed"
        raise Fatal("unsupported", text, f'upgrade it with `python -m pip install "{package}>={wanted}"`')
