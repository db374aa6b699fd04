"""The worker's side of TaskVine's library pipes, for tests of `taps-wasm taskvine-library`.

A TaskVine worker starts a library as `sh -c "COMMAND --in-pipe-fd N --out-pipe-fd M --task-id T --library-cores C
--function-slots S --worker-pid P"` in the library's own sandbox directory, in a process group of its own. Each message
on either pipe is its length in decimal, a line feed, and that many bytes:

    library -> worker   {"name": NAME, "taskid": T, "exec_mode": "direct"}        once, when it is ready
    worker -> library   CALL_ID FUNCTION SANDBOX_DIRECTORY STDOUT_FILE            per call
    library -> worker   CALL_ID EXIT_CODE                                         per call

After each message the library sends SIGCHLD to the worker, which otherwise sleeps until its next round. A call's
arguments and results are files in its sandbox directory. `LibraryHarness` does what `vine_process.c` and
`vine_worker.c` of cctools do, and checks what they check, so that a library that satisfies it satisfies a worker.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Optional, Sequence, Tuple, Type, Union


class LibraryError(Exception):
    """The library broke the protocol, ended, or did not answer in time."""


class LibraryHarness:
    """Starts a library as a TaskVine worker does, and calls functions in it.

    `binary` is the `taps-wasm` to run, or any command line as a sequence; `name` is the library's name. Signals are
    handled in the main thread, so `start` has to be called there if `check_signals` is wanted (the default where it
    is possible).
    """

    def __init__(
        self,
        binary: Union[str, Path, Sequence[str]],
        *,
        name: str = "taps-wasm",
        slots: int = 1,
        cores: int = 1,
        task_id: int = 7,
        directory: Union[str, Path, None] = None,
        environment: Optional[Dict[str, str]] = None,
    ) -> None:
        if isinstance(binary, (str, Path)):
            self.command = [str(binary), "taskvine-library", name]
        else:
            self.command = [str(part) for part in binary]
        self.name = name
        self.slots = slots
        self.cores = cores
        self.task_id = task_id
        self.environment = environment or {}
        self._made: Optional[tempfile.TemporaryDirectory[str]] = None
        if directory is None:
            self._made = tempfile.TemporaryDirectory(prefix="vine-")
            directory = self._made.name
        self.directory = Path(directory).resolve()
        self.sandbox = self.directory / f"libr.{task_id}"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.check_signals = threading.current_thread() is threading.main_thread()
        self.signals = 0
        self._previous_handler: Any = None
        self._to_library = -1
        self._from_library = -1
        self._pending = b""
        # Signals seen when the pipe was last known to be empty: what came after it was announced after that.
        self._signals_at_empty = 0
        self._signals_at_read = 0
        self._next_call = task_id + 1
        self._running: Dict[int, Path] = {}

    # ------------------------------------------------------------------------------------------------ life

    def start(self, timeout_s: float = 30.0) -> Dict[str, Any]:
        """Starts the library and returns the message with which it says that it is ready."""
        self.sandbox.mkdir(parents=True, exist_ok=True)
        temporary = self.sandbox / ".taskvine.tmp"
        temporary.mkdir(exist_ok=True)
        if self.check_signals:
            self._previous_handler = signal.signal(signal.SIGCHLD, self._on_signal)
        library_reads, self._to_library = os.pipe()
        self._from_library, library_writes = os.pipe()
        arguments = (
            f" --in-pipe-fd {library_reads} --out-pipe-fd {library_writes} --task-id {self.task_id}"
            f" --library-cores {self.cores} --function-slots {self.slots} --worker-pid {os.getpid()}"
        )
        environment = dict(os.environ, CORES=str(self.cores), **self.environment)
        environment.update(TMPDIR=str(temporary), TEMP=str(temporary), TMP=str(temporary))
        with open(self.sandbox / ".taskvine.stdout", "wb") as output:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", shlex.join(self.command) + arguments],
                cwd=self.sandbox,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(library_reads, library_writes),
                start_new_session=True,
            )
        os.close(library_reads)
        os.close(library_writes)
        return self._check_startup(self._receive(timeout_s))

    def _check_startup(self, message: str) -> Dict[str, Any]:
        hello = json.loads(message)
        expected = {"name": self.name, "taskid": self.task_id, "exec_mode": "direct"}
        for key, value in expected.items():
            if hello.get(key) != value:
                raise LibraryError(
                    f"the library's first message has {key} = {hello.get(key)!r}, not {value!r}: {message}"
                )
        return hello

    def stop(self, timeout_s: float = 10.0) -> int:
        """Closes the library's input, which ends it, and returns its exit status (-9 if it had to be killed)."""
        assert self.process is not None
        if self._to_library >= 0:
            os.close(self._to_library)
            self._to_library = -1
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = self.kill()
        self._clean_up()
        return status

    def kill(self) -> int:
        """Kills the library's process group, as a worker does at its end, and returns the exit status."""
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        status = self.process.wait(10)
        self._clean_up()
        return status

    def _clean_up(self) -> None:
        for descriptor in (self._to_library, self._from_library):
            if descriptor >= 0:
                os.close(descriptor)
        self._to_library = self._from_library = -1
        if self._previous_handler is not None:
            signal.signal(signal.SIGCHLD, self._previous_handler)
            self._previous_handler = None
        if self._made is not None:
            self._made.cleanup()
            self._made = None

    def __enter__(self) -> "LibraryHarness":
        self.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self._clean_up()

    # ------------------------------------------------------------------------------------------------ calls

    def call(self, function: str, sandbox_dir: Union[str, Path], timeout_s: float = 60.0) -> int:
        """Calls one function in `sandbox_dir` and returns the exit code with which the library answers."""
        identity = self.begin(function, sandbox_dir)
        done, exit_code = self.finish(timeout_s)
        if done != identity:
            raise LibraryError(f"the library answered call {done}, the only one that ran is {identity}")
        return exit_code

    def begin(self, function: str, sandbox_dir: Union[str, Path]) -> int:
        """Starts a call and returns its id. At most `slots` calls run at a time, as with a worker."""
        if " " in function or "\n" in function:
            raise ValueError(f"a function's name has no spaces: {function!r}")
        if len(self._running) >= self.slots:
            raise ValueError(f"all {self.slots} slots are taken")
        sandbox = Path(sandbox_dir).resolve()
        sandbox.mkdir(parents=True, exist_ok=True)
        identity = self._next_call
        self._next_call += 1
        self._running[identity] = sandbox
        self._send(f"{identity} {function} {sandbox} {sandbox / '.taskvine.stdout'}")
        return identity

    def finish(self, timeout_s: float = 60.0) -> Tuple[int, int]:
        """Waits for the next answer and returns the call's id and its exit code."""
        message = self._receive(timeout_s)
        parts = message.split()
        if len(parts) != 2 or not parts[0].isdigit() or not parts[1].lstrip("-").isdigit():
            raise LibraryError(f"an answer has to be CALL_ID EXIT_CODE, the library sent {message!r}")
        identity = int(parts[0])
        if identity not in self._running:
            raise LibraryError(f"the library answered call {identity}; running are {sorted(self._running)}")
        del self._running[identity]
        return identity, int(parts[1])

    def output(self) -> str:
        """What the library has written on its standard output and standard error."""
        return (self.sandbox / ".taskvine.stdout").read_text(errors="replace")

    # ------------------------------------------------------------------------------------------------ pipes

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self.signals += 1

    def _send(self, message: str) -> None:
        data = message.encode()
        data = b"%d\n%s" % (len(data), data)
        while data:
            data = data[os.write(self._to_library, data) :]

    def _receive(self, timeout_s: float) -> str:
        """One message; a worker learns of it by the signal, so a message without one is an error."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            self._read_more(deadline)
        head, _, rest = self._pending.partition(b"\n")
        if not head.isdigit():
            raise LibraryError(f"a message starts with its length, the library sent {head[:80]!r}")
        length = int(head)
        while len(rest) < length:
            self._pending = b""
            self._read_more(deadline)
            rest += self._pending
        self._pending = rest[length:]
        self._await_signal(deadline)
        return rest[:length].decode()

    def _read_more(self, deadline: float) -> None:
        readable, _, _ = select.select([self._from_library], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise LibraryError(f"no message in time; the library's output: {self.output()!r}")
        self._signals_at_empty, self._signals_at_read = self._signals_at_read, self.signals
        data = os.read(self._from_library, 1 << 20)
        if not data:
            assert self.process is not None
            status = self.process.wait(10)
            raise LibraryError(f"the library ended with status {status}; its output: {self.output()!r}")
        self._pending += data

    def _await_signal(self, deadline: float) -> None:
        # Signals of messages sent at the same time may arrive as one, so that only their absence says something.
        deadline = min(deadline, time.monotonic() + 5.0)
        while self.check_signals and self.signals <= self._signals_at_empty:
            if time.monotonic() > deadline:
                raise LibraryError("the library did not send SIGCHLD after its message")
            time.sleep(0.001)
