"""Writes tasks for taps-wasm: `@task` on a function makes a task of it, and `Description` and `Tasks` are
what the component exports. Copy this file into your project.

A parameter annotated with `bytes` takes a payload as it is, `str` as UTF-8, and `Payload` as a handle that is
read piece by piece; everything else is JSON. Results are written in the same way: `bytes`, `str`, or JSON. A last
parameter `*items: T` takes the rest of the arguments. An exception ends the task with the outcome `task-error`, whose
kind is the exception's class.
"""

import inspect
import json
import sys
import traceback
from typing import Any, Callable

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import tasks as wit
from wit_world.imports import context
from wit_world.imports.payloads import OutputBuffer, Payload

__all__ = ["Description", "Payload", "Tasks", "app", "read_payload", "task"]

# Version of `taps:core` in `wit/taps.wit`.
WIT_VERSION = "0.1.0"
# Results up to this size travel with the answer; larger ones are written into a segment of the host.
INLINE_BYTES = 64 << 10
# A payload is read in pieces of this size.
PIECE_BYTES = 4 << 20

_described: dict[str, str] = {}
_tasks: list["_Task"] = []


class _Task:
    def __init__(self, function: Callable[..., Any], pure: bool):
        self.function = function
        self.pure = pure
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        self.rest = None
        if parameters and parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL:
            self.rest = parameters.pop()
        self.parameters = parameters
        self.output = signature.return_annotation

    def describe(self) -> dict[str, Any]:
        parameters = [(p.name, _type_name(p.annotation)) for p in self.parameters]
        if self.rest is not None:
            parameters.append((self.rest.name, f"list of {_type_name(self.rest.annotation)}"))
        return {
            "name": self.function.__name__,
            "help": inspect.cleandoc(self.function.__doc__ or "").split("\n\n")[0],
            "parameters": parameters,
            "outputs": [_type_name(self.output)],
            "pure": self.pure,
        }

    def run(self, arguments: list[wit.Argument]) -> list[wit.Output]:
        count = len(self.parameters)
        if len(arguments) < count or (self.rest is None and len(arguments) > count):
            expected = f"at least {count}" if self.rest is not None else str(count)
            raise TypeError(f"{len(arguments)} arguments given, expected {expected}")
        kinds = [p.annotation for p in self.parameters]
        if self.rest is not None:
            kinds += [self.rest.annotation] * (len(arguments) - count)
        result = self.function(*(_read(a, kind) for a, kind in zip(arguments, kinds)))
        return [_output(result)]


def app(name: str, version: str, summary: str) -> None:
    """Names the component. Its tasks can be called from a driver in another component of the bundle."""
    _described.update(name=name, version=version, summary=summary)


def task(*, pure: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function a task. `pure`: equal arguments always give equal results, so that they can be memoised."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _tasks.append(_Task(function, pure))
        _tasks.sort(key=lambda task: task.function.__name__)
        return function

    return register


def read_payload(payload: Payload) -> bytes:
    """The whole payload."""
    size = payload.size()
    pieces = []
    at = 0
    while at < size:
        piece = _checked(payload.read, at, min(size - at, PIECE_BYTES))
        if not piece:
            raise EOFError(f"a payload of {size} bytes ends after {at}")
        pieces.append(piece)
        at += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Description(exports.Description):
    """Export `taps:core/description`."""

    def describe(self) -> str:
        tasks = [task.describe() for task in _tasks]
        return json.dumps({**_described, "wit_version": WIT_VERSION, "driver": False, "tasks": tasks})


class Tasks(exports.Tasks):
    """Export `taps:core/tasks`."""

    def run(self, task: int, args: list[wit.Argument]) -> list[wit.Output]:
        # The state of `random` is that of the build, the same in every sandbox.
        if random := sys.modules.get("random"):
            random.seed(context.seed())
        try:
            return _tasks[task].run(args)
        except Err:
            raise
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            file = place.filename.rsplit("/", 1)[-1]
            message = f"{error} ({file}:{place.lineno}, in {place.name})"
            raise Err(wit.TaskError(type(error).__name__, message)) from error


def _checked(call: Callable[..., Any], *arguments: Any) -> Any:
    """Calls the host; a payload that cannot be read or written ends the task with `payload-error`."""
    try:
        return call(*arguments)
    except Err as error:
        reason = error.value.name.lower().replace("_", "-")
        raise Err(wit.TaskError("payload-error", reason)) from error


def _read(argument: wit.Argument, kind: Any) -> Any:
    if kind is Payload:
        if isinstance(argument, wit.Argument_Payload):
            return argument.value
        raise TypeError("a small payload travels with the call; take `bytes`")
    data = argument.value if isinstance(argument, wit.Argument_Inline) else read_payload(argument.value)
    if kind is bytes:
        return data
    if kind is str:
        return data.decode()
    return json.loads(data)


def _output(result: Any) -> wit.Output:
    if isinstance(result, str):
        result = result.encode()
    elif not isinstance(result, bytes):
        result = json.dumps(result, separators=(",", ":"), allow_nan=False).encode()
    if len(result) <= INLINE_BYTES:
        return wit.Output_Inline(result)
    return wit.Output_Buffer(_checked(OutputBuffer.copy, result))


def _type_name(annotation: Any) -> str:
    if annotation in (bytes, str):
        return annotation.__name__
    return "payload" if annotation is Payload else "json"
