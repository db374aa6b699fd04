"""One worker process: ``taps-wasm worker``, spoken to in frames over a pair of sockets.

The process ends when its socket does: whoever holds a :class:`Child` and goes, however it goes, takes the
process along.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ._frames import Buffer, Channel, Header, ProtocolError
from .errors import StartError

__all__ = ["PROTOCOL", "Child", "ChildDied", "binary", "describe", "version"]

#: Version of the messages between this package and a worker.
PROTOCOL = 1

#: Seconds that a worker has to end by itself.
END_WITHIN_S = 5.0
#: Seconds within which `describe` has to answer; a component seen for the first time is compiled.
DESCRIBE_WITHIN_S = 300.0


class ChildDied(Exception):
    """The worker process is gone; the text says how it ended."""


def binary(given: "Optional[str | os.PathLike[str]]" = None) -> str:
    """Path of the program ``taps-wasm``.

    Looks at ``given``, then at ``$TAPS_WASM_BIN``, then beside the interpreter, where the wheel puts it,
    then on the ``PATH``. One that is named, in either way, has to exist.

    Raises:
        StartError: there is none; its kind is ``no-binary``.
    """
    named = (("binary", given), ("TAPS_WASM_BIN", os.environ.get("TAPS_WASM_BIN")))
    for where, path in named:
        if path:
            if _is_program(Path(path)):
                return os.path.abspath(path)
            raise StartError("no-binary", f"`{where}` is {os.fspath(path)!r}, which is not a program that can be run")
    folders = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    with contextlib.suppress(KeyError):
        folders.append(Path(sysconfig.get_path("scripts", f"{os.name}_user")))
    for folder in folders:
        if _is_program(folder / "taps-wasm"):
            return str(folder / "taps-wasm")
    found = shutil.which("taps-wasm")
    if found:
        return found
    looked = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise StartError(
        "no-binary",
        f"the program `taps-wasm` was not found: not in {looked}, and not on the PATH. "
        "Install the wheel (`pip install taps-wasm`), or name the program with `binary=` or TAPS_WASM_BIN",
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def version(program: str) -> str:
    """Version of this package; of the program, where the package was not installed."""
    try:
        return metadata.version("taps-wasm")
    except metadata.PackageNotFoundError:
        answer = _run([program, "--version"], DESCRIBE_WITHIN_S)
        return answer.split()[-1] if answer.split() else "unknown"


def describe(program: str, bundle: str) -> str:
    """What ``taps-wasm describe BUNDLE --json`` prints.

    Raises:
        StartError: the bundle cannot be used; its kind is ``bundle``.
    """
    return _run([program, "describe", bundle, "--json"], DESCRIBE_WITHIN_S)


def _run(command: Sequence[str], within_s: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=within_s, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError("start", f"`{' '.join(command)}` could not be run: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise StartError("bundle", said or f"`{' '.join(command)}` ended with {done.returncode}")
    return done.stdout.decode("utf-8")


class Child:
    """A running worker that has its bundle loaded.

    Attributes:
        ready: The worker's first message: its name, version, and the tasks of the bundle.
    """

    def __init__(self, program: str, setup: Header) -> None:
        """Starts the process and waits until it is ready.

        Raises:
            StartError: it is not, and why.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # A session of its own: Ctrl-C in a terminal is for the caller, who then ends the worker.
                self._process = subprocess.Popen(
                    [program, "worker"], stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True
                )
            except OSError as error:
                ours.close()
                raise StartError("start", f"`{program} worker` could not be started: {error}") from error
        self._socket = ours
        self._channel = Channel(ours)
        self._sending = threading.Lock()
        try:
            self.ready = self._handshake(setup)
        except BaseException:
            self.kill()
            self.close()
            raise

    def _handshake(self, setup: Header) -> Header:
        try:
            self.send(setup)
            header, _ = self.receive()
        except ChildDied as died:
            raise StartError("start", f"the worker ended before it was ready: {died}") from None
        if header["t"] == "failed":
            raise StartError(str(header.get("kind", "start")), str(header.get("message", "no reason given")))
        if header["t"] != "ready":
            raise StartError("protocol", f"the worker answered `setup` with `{header['t']}`, not with `ready`")
        return header

    @property
    def name(self) -> str:
        """Host and process number."""
        return str(self.ready.get("name", f"pid {self._process.pid}"))

    @property
    def pid(self) -> int:
        """Number of the process."""
        return int(self._process.pid)

    def send(self, header: Header, buffers: Sequence[Buffer] = ()) -> None:
        """Sends a message. Raises :class:`ChildDied` when nobody is there."""
        with self._sending:
            try:
                self._channel.send(header, buffers)
            except OSError:
                raise ChildDied(self._ended()) from None

    def receive(self) -> Tuple[Header, List[bytearray]]:
        """Waits for the next message. Raises :class:`ChildDied` when there will be none."""
        try:
            frame = self._channel.receive()
        except ProtocolError as error:
            raise ChildDied(f"{error}; {self._ended()}") from None
        except OSError:
            frame = None
        if frame is None:
            raise ChildDied(self._ended())
        return frame

    def kill(self) -> None:
        """Ends the process at once, wherever it is. A thread that waits for its answer gets to know."""
        with contextlib.suppress(OSError):
            self._process.kill()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Lets the process end by itself; kills it when it does not within a few seconds."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._ended()
        self._channel.close()

    def forget(self) -> None:
        """After a fork: gives up this process's copy of the socket, and leaves the worker alone."""
        self._channel.close()
        # Otherwise Popen complains of a child that is not this process's.
        self._process.returncode = 0

    def _ended(self) -> str:
        """How the process ended; it is killed when it has not."""
        try:
            code = self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"{self._process.pid} closed its channel and was killed"
        if code >= 0:
            return f"process {self._process.pid} exited with code {code}"
        with contextlib.suppress(ValueError):
            return f"process {self._process.pid} was ended by {signal.Signals(-code).name}"
        return f"process {self._process.pid} was ended by signal {-code}"


def setup(bundle: str, program: str, options: Dict[str, Any]) -> Header:
    """The message that a worker starts with."""
    return {"t": "setup", "protocol": PROTOCOL, "version": version(program), "app": bundle, **options}
