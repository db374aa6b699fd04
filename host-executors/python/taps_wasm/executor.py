"""An executor of :mod:`concurrent.futures` whose tasks run in sandboxes.

::

    submit ──► arguments encoded ──► all futures among them done? ──► queue ──► thread ──► worker process
       ▲            errors here                                                   │            │ sandbox
    future ◄───────────── outputs decoded, or a TaskFailed ◄──────────────────────┘◄───────────┘

Each worker process has one thread here, which gives it one call after another. Processes are started
when there is work for them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections import deque
from concurrent.futures import Executor as AbstractExecutor
from concurrent.futures import Future
from typing import Any, Deque, Dict, Iterable, Iterator, List, Mapping, NamedTuple
from typing import Optional, Sequence, Tuple, Union

from . import _child
from ._calls import Call, Hooks, TaskFuture, task_seed
from ._child import Child, ChildDied
from ._frames import ProtocolError
from ._limits import memory_bytes, timeout_ms
from ._tasks import Task, TaskDescription
from .errors import StartError

__all__ = ["Executor"]

#: Seconds within which a worker has to end a cancelled task; then it is killed.
CANCEL_WITHIN_S = 5.0

_KERNELS = ("host", "guest")


class Executor(AbstractExecutor):
    """Runs tasks of a bundle, each in a sandbox of its own, in worker processes on this machine.

    >>> with Executor("mapreduce", workers=2) as executor:         # doctest: +SKIP
    ...     text = executor.submit("generate_task", 7, 1000)
    ...     counts = executor.submit("map_task", text)
    ...     counts.result()

    An instance belongs to the process that made it: after a fork, the child process makes its own.
    """

    def __init__(
        self,
        bundle: "str | os.PathLike[str]",
        workers: Optional[int] = None,
        *,
        timeout: Optional[float] = None,
        memory: Union[int, str, None] = None,
        seed: int = 0,
        kernels: str = "host",
        binary: "Optional[str | os.PathLike[str]]" = None,
    ) -> None:
        """Starts the first worker; the others start when there is work for them.

        Args:
            bundle: Name of a built-in app, or path of a component or bundle.
            workers: Most worker processes; as many as there are CPUs unless given.
            timeout: Seconds that a task may run, where its submission does not say; no limit unless given.
            memory: Heap that a task may use, where its submission does not say: bytes, or a text such as
                ``"256MB"``.
            seed: Seed from which each task gets its own, by its name and how many of that name came before:
                the same as in ``taps-wasm run --seed``.
            kernels: Who computes dense linear algebra: ``host`` (fast) or ``guest`` (the same bits everywhere).
            binary: The program ``taps-wasm``; see :func:`taps_wasm.binary`.

        Raises:
            StartError: the program is missing, or the bundle cannot be used.
            ValueError: an argument is out of range.
        """
        if workers is None:
            workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if workers < 1:
            raise ValueError(f"`workers` is {workers}; at least 1 is needed")
        if kernels not in _KERNELS:
            raise ValueError(f"`kernels` is {kernels!r}; allowed are {' and '.join(map(repr, _KERNELS))}")
        self._limits = _Limits(timeout_ms(timeout), memory_bytes(memory))
        self._seed, self._kernels = _checked_seed(seed), kernels
        self._workers = workers
        self._program = _child.binary(binary)
        self._setup = _child.setup(os.fspath(bundle), self._program, {})
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queue: Deque[Call] = deque()
        self._waiting: Dict[int, Call] = {}
        self._threads: List[threading.Thread] = []
        self._children: "weakref.WeakSet[Child]" = weakref.WeakSet()
        self._idle = 0
        self._stopping = False
        self._submitted = 0
        self._of_name: Dict[str, int] = {}
        self._settling = threading.local()
        self._spare: Optional[Child] = Child(self._program, self._setup)
        self._children.add(self._spare)
        ready = self._spare.ready
        self._app = str(ready.get("app", bundle))
        self._tasks = {task["name"]: TaskDescription.from_json(task) for task in ready["tasks"]}
        _live.add(self)

    @property
    def tasks(self) -> Mapping[str, TaskDescription]:
        """The tasks of the bundle, by name."""
        return dict(self._tasks)

    def __repr__(self) -> str:
        return f"Executor({self._setup['app']!r}, workers={self._workers})"

    def submit(  # type: ignore[override]
        self,
        task: Union[str, Task],
        /,
        *args: Any,
        timeout: Optional[float] = None,
        memory: Union[int, str, None] = None,
        seed: Optional[int] = None,
    ) -> TaskFuture:
        """Has a task run; gives its future at once.

        Arguments follow the types that the task declares: numpy arrays, bytes, numbers, text, lists, JSON
        values. A future, of this executor or any other, stands for its result: the task runs when all have
        one. What changes in an argument after the call has no effect.

        Args:
            task: Name of the task, or a :class:`Task`.
            args: Its arguments.
            timeout: Seconds that it may run, ``math.inf`` for no limit; the executor's limit unless given.
            memory: Heap that it may use; the executor's limit unless given.
            seed: Seed of its random numbers; derived from the executor's unless given.

        Returns:
            The future. Its result is ``None`` for a task without outputs, the value for one output, and a
            tuple of values for several.

        Raises:
            ValueError: no task has the name, or a value does not fit the parameter.
            TypeError: the number of arguments, or the type of one, is wrong.
            RuntimeError: the executor was shut down, or made by another process.
        """
        name = task
        if isinstance(task, Task):
            name = task.name
            timeout = task.timeout if timeout is None else timeout
            memory = task.memory if memory is None else memory
            seed = task.seed if seed is None else seed
        return self._submit(name, args, self._limits_or(timeout, memory), seed, Hooks())

    def _submit_task(self, task: Task, args: Sequence[Any], hooks: Hooks) -> TaskFuture:
        """Submits for another framework."""
        return self._submit(task.name, args, self._limits_or(task.timeout, task.memory), task.seed, hooks)

    def _limits_or(self, timeout: Optional[float], memory: Union[int, str, None]) -> "_Limits":
        """The limits given, and the executor's own where there are none."""
        return _Limits(
            self._limits.timeout_ms if timeout is None else timeout_ms(timeout),
            self._limits.memory_bytes if memory is None else memory_bytes(memory),
        )

    def _submit(
        self, name: Any, args: Sequence[Any], limits: "_Limits", seed: Optional[int], hooks: Hooks
    ) -> TaskFuture:
        """Checks and encodes a submission, and has it run when its futures are done."""
        self._check_process()
        description = self._description(name)
        description.check_count(len(args))
        call = Call(description, args, hooks, self._cancel)
        call.encode_given()
        call.header = {
            "t": "call",
            "task": name,
            "timeout_ms": limits.timeout_ms,
            "memory_bytes": limits.memory_bytes,
            "kernels": self._kernels,
        }
        given_seed = None if seed is None else _checked_seed(seed)
        with self._lock:
            if self._stopping:
                raise RuntimeError("cannot schedule new futures after shutdown")
            call.number = self._submitted
            self._submitted += 1
            index = self._of_name.get(name, 0)
            self._of_name[name] = index + 1
            call.header["id"] = f"{call.number}:0"
            call.header["seed"] = task_seed(self._seed, name, index) if given_seed is None else given_seed
            self._waiting[call.number] = call
        self._await_arguments(call)
        return call.future

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this Executor was made by another process, before a fork: make one in this process instead"
            )

    def _description(self, name: Any) -> TaskDescription:
        if not isinstance(name, str):
            raise TypeError(
                f"expected the name of a task or a taps_wasm.Task, got {type(name).__name__}: "
                "Python functions do not run in the sandbox"
            )
        if name not in self._tasks:
            known = ", ".join(sorted(self._tasks)) or "none"
            raise ValueError(f"`{self._app}` has no task `{name}`; its tasks are: {known}")
        return self._tasks[name]

    def map(  # type: ignore[override]
        self,
        task: Union[str, Task],
        *iterables: Iterable[Any],
        timeout: Optional[float] = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Has a task run for each group of arguments; gives the results in their order.

        Args:
            task: Name of the task, or a :class:`Task`, whose limits then hold.
            iterables: Each gives one argument of every call.
            timeout: Seconds to *wait* for all results, as in :mod:`concurrent.futures`.
            chunksize: Has no effect here.
        """
        return super().map(task, *iterables, timeout=timeout, chunksize=chunksize)  # type: ignore[arg-type]

    # Dataflow -------------------------------------------------------------------------------------

    def _await_arguments(self, call: Call) -> None:
        futures = {id(arg): arg for arg in call.args if isinstance(arg, Future)}.values()
        call.missing = len(futures) + 1
        # A future keeps its callbacks: they hold a number, so that it does not keep the outputs of all that
        # came of it.
        number = call.number
        for future in futures:
            future.add_done_callback(lambda done: self._argument_done(number, done))
        self._argument_done(number, None)

    def _argument_done(self, number: int, future: "Optional[Future[Any]]") -> None:
        """One more of a call's futures is done; `None` stands for the submission itself."""
        with self._lock:
            call = self._waiting.get(number)
            if call is None:
                return
            call.missing -= 1
            ready = call.missing == 0
        problem = None if future is None else call.upstream_failure(future)
        if problem is None and ready:
            try:
                call.encode_resolved()
            except BaseException as error:
                problem = error
        if problem is not None:
            self._fail_unstarted(call, problem)
        elif ready:
            self._enqueue(call)

    def _enqueue(self, call: Call) -> None:
        with self._work:
            if self._waiting.pop(call.number, None) is None:
                return
            self._queue.append(call)
            more = len(self._queue) > self._idle and len(self._threads) < self._workers
            if more and not self._start_thread() and not self._threads:
                self._queue.remove(call)
                self._waiting[call.number] = call
            # At the end somebody waits for the last call, too.
            self._work.notify(len(self._threads) + 1 if self._stopping else 1)
            stranded = call.number in self._waiting
        if stranded:
            self._fail_unstarted(call, RuntimeError("cannot start a worker: the interpreter is shutting down"))

    def _start_thread(self) -> bool:
        """Starts a thread; not when the interpreter is shutting down."""
        thread = threading.Thread(target=_serve, args=(self,), name=f"taps-wasm-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._threads.append(thread)
        return True

    def _fail_unstarted(self, call: Call, error: BaseException) -> None:
        """Fails a call that never ran, and then those that wait for it: in a loop, not by recursion, because
        a chain of futures may be longer than the stack."""
        with self._work:
            if self._waiting.pop(call.number, None) is None:
                return
            self._work.notify_all()
        pending: Optional[Deque[Tuple[Call, BaseException]]] = getattr(self._settling, "pending", None)
        if pending is not None:
            pending.append((call, error))
            return
        self._settling.pending = pending = deque([(call, error)])
        try:
            while pending:
                failed, reason = pending.popleft()
                if failed.future.set_running_or_notify_cancel():
                    failed.future.set_exception(reason)
        finally:
            self._settling.pending = None

    # Workers --------------------------------------------------------------------------------------

    def _next_call(self) -> Optional[Call]:
        """The next call for a thread; `None` when there will be none."""
        with self._work:
            while not self._queue:
                if self._stopping and not self._waiting:
                    self._work.notify_all()
                    return None
                self._idle += 1
                self._work.wait()
                self._idle -= 1
            return self._queue.popleft()

    def _take_spare(self) -> Optional[Child]:
        with self._lock:
            spare, self._spare = self._spare, None
            return spare

    def _run(self, call: Call, child: Optional[Child]) -> Optional[Child]:
        """Runs one call to its end; gives the worker to go on with, if it lives."""
        if not call.future.set_running_or_notify_cancel():
            return child
        if child is None:
            try:
                child = Child(self._program, self._setup)
                self._children.add(child)
            except StartError as error:
                call.fail("engine-error", f"no worker could be started: {error}", error.kind)
                return None
        with self._lock:
            call.child = child
            cancelled = call.cancelled
        try:
            if cancelled:
                call.fail("cancelled", "it was cancelled while it ran")
                return child
            header, outputs = self._exchange(call, child)
        except ChildDied as died:
            child.close()
            if call.cancelled:
                call.fail("cancelled", f"it was cancelled, and its worker ended with it: {died}")
            else:
                call.fail("worker-lost", f"the worker died: {died}")
            return None
        except ProtocolError as error:
            call.fail("payload-error", f"the arguments cannot be sent: {error}")
            return child
        finally:
            with self._lock:
                call.child = None
        call.complete(header, outputs, child.name)
        return child

    def _exchange(self, call: Call, child: Child) -> Tuple[Mapping[str, Any], List[bytearray]]:
        header = {**call.header, "arguments": [{"media_type": kind} for kind in call.media_types]}
        child.send(header, call.buffers)
        call.buffers = []
        while True:
            answer, buffers = child.receive()
            if answer["t"] == "result" and answer.get("id") == call.header["id"]:
                return answer, buffers
            if answer["t"] == "failed":
                raise ChildDied(str(answer.get("message", "it gave up")))

    # Cancelling and the end -----------------------------------------------------------------------

    def cancel(self, future: "Future[Any]") -> bool:
        """Cancels a task, whether it waits or runs; the same as ``future.cancel()``.

        A running task is stopped in its sandbox: its future ends with :class:`taps_wasm.Cancelled`, soon
        after, unless the task ends first.

        Returns:
            Whether there was something to cancel: ``False`` for a task that has ended.
        """
        return future.cancel()

    def _cancel(self, call: Call, pending: bool) -> bool:
        """Does what cancelling a call needs besides its future; `pending` says that it had not begun."""
        if pending:
            with self._work:
                mine = self._waiting.pop(call.number, None) is not None
                if call in self._queue:
                    self._queue.remove(call)
                    mine = True
                self._work.notify_all()
            # Whoever takes a call out of there settles its future.
            if mine:
                call.future.set_running_or_notify_cancel()
            return True
        with self._lock:
            if call.future.done():
                return False
            first, call.cancelled = not call.cancelled, True
            child = call.child
        if first and child is not None:
            timer = threading.Timer(CANCEL_WITHIN_S, _kill_if_running, (self, call, child))
            timer.daemon = True
            timer.start()
            with contextlib.suppress(ChildDied):
                child.send({"t": "cancel", "ids": [call.header["id"]]})
        return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more tasks, and ends the workers when those that there are have ended.

        Args:
            wait: Whether to wait for that.
            cancel_futures: Whether to cancel the tasks that have not begun.
        """
        if os.getpid() != self._pid:
            return
        with self._work:
            self._stopping = True
            dropped = [*self._waiting.values(), *self._queue] if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
                self._queue.clear()
            self._work.notify_all()
        for call in dropped:
            if call.future.cancel():
                call.future.set_running_or_notify_cancel()
        with self._work:
            while wait and self._waiting and threading.current_thread() not in self._threads:
                self._work.wait()
            threads, idle = list(self._threads), not self._threads and not self._waiting
        spare = self._take_spare() if idle else None
        if spare is not None:
            spare.close()
        if wait:
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join()

    def _forked(self) -> None:
        """In a forked process: lets go of the sockets, so that workers end when their owner does."""
        self._stopping = True
        for child in list(self._children):
            child.forget()


class _Limits(NamedTuple):
    """Limits of one task; `None` where there is none."""

    timeout_ms: Optional[int]
    memory_bytes: Optional[int]


def _checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise ValueError(f"`seed` is {seed!r}; it is an integer from 0 to {(1 << 64) - 1}")
    return seed


def _serve(executor: Executor) -> None:
    """Body of a thread: gives calls to one worker process, one after another."""
    child = executor._take_spare()
    while True:
        call = executor._next_call()
        if call is None:
            break
        try:
            child = executor._run(call, child)
        except BaseException as error:
            # A thread that ends here would leave its future waiting for ever.
            with contextlib.suppress(BaseException):
                call.fail("engine-error", f"{type(error).__name__}: {error}")
            if child is not None:
                child.kill()
                child.close()
            child = None
        del call
    if child is not None:
        child.close()


def _kill_if_running(executor: Executor, call: Call, child: Child) -> None:
    with executor._lock:
        if call.child is child:
            child.kill()


_live: "weakref.WeakSet[Executor]" = weakref.WeakSet()


def _at_exit() -> None:
    """As the executors of the standard library do: what was submitted is done before the program ends."""
    for executor in list(_live):
        executor.shutdown(wait=True)


def _after_fork() -> None:
    for executor in list(_live):
        executor._forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
