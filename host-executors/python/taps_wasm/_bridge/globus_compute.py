"""Globus Compute: functions sent through Globus' cloud service to an endpoint.

The SDK's ``Executor`` gives a future per call. What it does not give: references
to results, so results come back with their data; a cancel of what runs; and
large payloads, for the service takes 10 MiB per task and per result, counted
after base64. A group that is too large is refused before it is sent.

The worker's call is registered as the text of one function, not as pickled code,
so the endpoint may have another Python version than the bridge.

The SDK opens a browser or asks for a code when a login is needed. A run in
the background must not: here every login is refused with what to do instead.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import linecache
import os
import re
import threading
import uuid
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

from . import packages
from .base import (
    Context,
    Failure,
    Fatal,
    FuturesEngine,
    Group,
    Ready,
    Submission,
    describe,
    run_bounded,
)
from .demands import Share, Unkept, refuse_custom

START_S = 30.0
"""How long the service may take to answer at the start."""
LIMIT_BYTES = 7_000_000
"""Most payload bytes of one call: 10 MiB (10,485,760 B) by the factor 1.37 of base64, less what is around them."""
_GIGABYTE = 1 << 30
TEST_CLIENT = "TAPS_GLOBUS_TEST_CLIENT"
"""Environment variable of the tests: ``module:function`` that gives a client in place of Globus' own."""
LOGIN = (
    'log in once with `globus-compute-endpoint login` (or `python -c "import globus_compute_sdk; globus_compute_sdk.Client()"`), '
    "or set GLOBUS_COMPUTE_CLIENT_ID and GLOBUS_COMPUTE_CLIENT_SECRET to a client's"
)
LARGER = (
    "Globus Compute takes at most 10 MiB per task and per result, and its base64 makes 1.37 bytes of each: about 7 MB. "
    "Use `--data shared` with `executor.shared_dir` on the endpoint's file system, or smaller payloads"
)

# The endpoint reports what went wrong as text only (a traceback); these are the names that say a worker was lost.
_LOST = re.compile(
    r"WorkerLost|ManagerLost|BrokenProcessPool|BrokenExecutor|terminated abruptly|loss of (?:a )?(?:worker|manager)"
    r"|[Ww]orker (?:process )?(?:was )?lost|BadStateException|TooManyJobFailuresError"
)
_MEMORY = re.compile(r"\bMemoryError\b|[Oo]ut of memory|oom-kill")
_TOO_LARGE = re.compile(
    r"MaxResultSizeExceeded|exceeded current limit of|payload.{0,40}too large|TASK_PAYLOAD_TOO_LARGE", re.IGNORECASE
)


class LoginRefused(Exception):
    """The SDK wanted a person to log in."""


class PayloadTooLarge(Exception):
    """A call is larger than the service takes."""


class Adapter(FuturesEngine):
    """The executor ``globus``."""

    name = "globus"

    def __init__(self, client: Any = None) -> None:
        super().__init__()
        self._client = client
        self._executor: Any = None
        self._open_lock = threading.Lock()
        self._function: Callable[..., Any] = None  # type: ignore[assignment]  # set by start()

    # -------------------------------------------------------------------------------------------- start and stop

    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """See ``Engine.start``."""
        self.context = context
        self._unkept = Unkept(self.name, context)
        self._options = _options(config)
        import globus_compute_sdk

        self._sdk = globus_compute_sdk
        version = str(globus_compute_sdk.__version__)
        if not hasattr(globus_compute_sdk.Executor, "submit_to_registered_function") or packages.is_older(
            version, packages.GLOBUS.minimum
        ):
            raise Fatal(
                "unsupported",
                f"globus: globus-compute-sdk {version} is too old",
                "install version 3 or later: pip install -U globus-compute-sdk",
            )
        late = Fatal(
            "unreachable",
            f"globus: the service did not answer within {START_S:.0f} s",
            "check the network and https://status.globus.org; the service is compute.api.globus.org, port 443",
        )
        run_bounded(self._connect, START_S, late)
        self._function = _as_function(context)
        self._open()
        shares = bool(context.settings.get("cancel_dir"))
        notes = [] if shares else ["globus: a running task cannot be cancelled; a cancel only lets go of its result"]
        return Ready(version, self._workers, cancels_running=shares, keeps_results=False, notes=notes)

    def _connect(self) -> None:
        """A client that is logged in, for an endpoint that is there."""
        try:
            if self._client is None:
                self._client = _test_client() or self._make_client()
            self._check_endpoint()
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK lets exceptions of half a dozen packages through
            raise _fatal(error, self._options["endpoint"]) from error

    def _make_client(self) -> Any:
        from globus_compute_sdk.sdk.auth.globus_app import get_globus_app

        try:
            app = get_globus_app()
        except ValueError as error:
            raise Fatal("authentication", f"globus: {error}", LOGIN) from None
        if type(app).__name__ != "ClientApp":
            app.login = _refuse_login
            app._run_login_flow = _refuse_login
        client = self._sdk.Client(app=app, do_version_check=False)
        if app.login_required():
            app.login()  # A client's identity gets its tokens; a person's is refused.
        client.version_check()
        return client

    def _check_endpoint(self) -> None:
        endpoint = self._options["endpoint"]
        status = self._client.get_endpoint_status(endpoint)
        state = str(dict(status).get("status", "unknown"))
        if state == "offline":
            raise Fatal(
                "unreachable",
                f"globus: the endpoint `executor.endpoint` = {endpoint} is offline",
                "start it on its host with `globus-compute-endpoint start NAME`",
            )
        self._workers = _count_workers(dict(status), self._options["batch_size"])
        self._share = _share(dict(status))

    def _open(self) -> Any:
        """The SDK's executor; a new one when the last stopped itself, as it does after any failed request."""
        with self._open_lock:
            if self._executor is None or getattr(self._executor, "_stopped", False):
                from globus_compute_sdk.serialize import (
                    ComputeSerializer,
                    PureSourceTextInspect,
                )

                options = self._options
                self._executor = self._sdk.Executor(
                    endpoint_id=options["endpoint"],
                    client=self._client,
                    resource_specification=options["resource_specification"],
                    user_endpoint_config=options["user_endpoint_config"],
                    label="taps-wasm",
                    batch_size=options["batch_size"],
                    amqp_port=options["amqp_port"],
                    serializer=ComputeSerializer(strategy_code=PureSourceTextInspect()),
                )
            return self._executor

    def stop(self, deadline_s: float) -> None:
        """See ``Engine.stop``. The endpoint is not ours: what runs there runs on."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    # -------------------------------------------------------------------------------------------- calls

    def submit(self, group: Group) -> None:
        """See ``Engine.submit``: refuses what the service would refuse, with the way out."""
        size = sum(len(task.blob) for task in group.tasks)
        if size > LIMIT_BYTES:
            text = f"a call of {len(group.tasks)} tasks carries {size:,} bytes, the limit is {LIMIT_BYTES:,}. {LARGER}"
            for task in group.tasks:
                self.context.failed(task.id, Failure("payload-error", "payload-too-large", text), 0)
            return
        super().submit(group)

    def _check(self, group: Group) -> None:
        """An endpoint's workers are as its owner has made them: of some we know how large they are."""
        if not group.is_usual:
            refuse_custom(self.name, group, "use another executor")
            self._share.check(self.name, group)
            if group.cores > 1 and self._share.cores is None:
                self._unkept.tell("cores", "the endpoint does not say how many its workers have; choose one that fits")
            if group.memory_bytes and self._share.memory_bytes is None:
                self._unkept.tell("memory", "the endpoint does not say how much its workers have; choose one that fits")
        self._unkept.priority(group)

    def launch(self, submission: Submission) -> Tuple[Any, Any]:
        """See ``FuturesEngine.launch``."""
        self._check(submission.group)
        attempts = [bytes(blob) for blob in submission.attempts]
        package = submission.package
        size = sum(map(len, attempts)) + (len(package) if package else 0)
        if size > LIMIT_BYTES:
            raise PayloadTooLarge(
                f"the tasks and their package have {size:,} bytes, the limit is {LIMIT_BYTES:,}. {LARGER}; "
                "or copy the package to the endpoint's file system and name it there"
            )
        sent = self._open().submit(self._function, self.context.settings, submission.header, package, attempts)
        # A future of our own: the SDK's result thread breaks when an error arrives for a future that was cancelled.
        result: "concurrent.futures.Future[Any]" = concurrent.futures.Future()
        sent.add_done_callback(lambda future: _hand_over(future, result))
        return result, result

    def interrupt(self, submission: Submission, ids: Sequence[str], whole: bool) -> None:
        """Lets go of the result. What runs sees the file in ``cancel_dir``, where the endpoint can."""
        if whole and submission.future is not None:
            submission.future.cancel()

    def classify(self, error: BaseException) -> Failure:
        """See ``Engine.classify``."""
        if isinstance(error, concurrent.futures.CancelledError):
            return Failure("cancelled", "cancelled", "cancelled; if it had started, it runs on at the endpoint")
        if isinstance(error, PayloadTooLarge):
            return Failure("payload-error", "payload-too-large", str(error))
        if isinstance(error, _Lost):
            return Failure("worker-lost", "submission-lost", str(error))
        kind, text = type(error).__name__, describe(error)
        status = _http_status(error)
        if status in (401, 403) or isinstance(error, LoginRefused):
            self.context.fatal(_fatal(error, self._options["endpoint"]))
            return Failure("engine-error", "authentication", text)
        if status == 413 or _TOO_LARGE.search(text) or kind == "MaxResultSizeExceeded":
            return Failure("payload-error", "payload-too-large", f"{_last_line(text)}. {LARGER}")
        if _LOST.search(text):
            return Failure("worker-lost", "worker-lost", _last_line(text))
        if _MEMORY.search(text):
            return Failure("out-of-memory", "out-of-memory", _last_line(text))
        if status >= 500 or _is_network(error):
            return Failure("worker-lost", "service-unavailable", f"the service failed: {_last_line(text)}")
        return Failure("engine-error", kind, text)


class _Lost(Exception):
    """The SDK dropped a call that had not been sent."""


def _hand_over(sent: Any, result: "concurrent.futures.Future[Any]") -> None:
    """From the SDK's future to ours, which may have been cancelled in the meantime."""
    try:
        if sent.cancelled():
            # Nobody but the SDK cancels its futures: it does so for what waits behind a request that failed.
            error: Optional[BaseException] = _Lost("the SDK gave up the call after another request had failed")
        else:
            error = sent.exception()
        if not result.set_running_or_notify_cancel():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(sent.result())
    except concurrent.futures.InvalidStateError:
        pass


def _refuse_login(*_: Any, **__: Any) -> None:
    raise LoginRefused("Globus asks for a login")


def _as_function(context: Context) -> Callable[..., Any]:
    """The call as a function whose text can be read back, which is what is registered."""
    text = context.sources.text()
    path = os.path.join(context.scratch, "globus_call.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    linecache.checkcache(path)
    namespace: Dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, path, "exec"), namespace)  # noqa: S102 - our own text
    function: Callable[..., Any] = namespace["taps_wasm_call"]
    return function


def _count_workers(status: Mapping[str, Any], unknown: int) -> int:
    """How many workers the endpoint may have by its last report; ``unknown`` where it does not say.

    Too many only makes batches smaller, too few would leave workers idle: so what it can grow to counts.
    """
    details = status.get("details") or {}

    def number(name: str, default: int) -> int:
        value = details.get(name)
        return int(value) if isinstance(value, (int, float)) and value > 0 else default

    most = number("max_blocks", 0) * number("nodes_per_block", 1) * number("max_workers_per_node", 0)
    return max(most, number("total_workers", 0)) or unknown


def _share(status: Mapping[str, Any]) -> Share:
    """What the endpoint's last report says that one of its workers has."""
    details = status.get("details") or {}

    def number(name: str) -> Optional[float]:
        value = details.get(name)
        return float(value) if isinstance(value, (int, float)) and value > 0 else None

    memory = number("mem_per_worker")
    where = "in the endpoint's engine configuration"
    return Share(number("cores_per_worker"), memory * _GIGABYTE if memory else None, f"cores_per_worker {where}", f"mem_per_worker {where}")


def _test_client() -> Any:
    name = os.environ.get(TEST_CLIENT)
    if not name:
        return None
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)()


# ------------------------------------------------------------------------------------------------ options and errors


def _options(config: Mapping[str, Any]) -> Dict[str, Any]:
    """The executor's fields, checked; a wrong one is a ``Fatal`` that names it."""
    endpoint = config.get("endpoint")
    if not endpoint:
        raise Fatal(
            "config",
            "globus: `executor.endpoint` is not set",
            "give the endpoint's UUID (`globus-compute-endpoint list`)",
        )
    try:
        endpoint = str(uuid.UUID(str(endpoint)))
    except ValueError:
        raise Fatal(
            "config", f"globus: `executor.endpoint` = {endpoint!r} is not a UUID", "see `globus-compute-endpoint list`"
        ) from None
    batch_size = config.get("batch_size", 128)
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise Fatal(
            "config",
            f"globus: `executor.batch_size` = {batch_size!r} is not a number from 1 on",
            "TaPS's default is 128",
        )
    port = config.get("amqp_port")
    if port not in (None, 443, 5671, 5672):
        raise Fatal(
            "config",
            f"globus: `executor.amqp_port` = {port!r} is none of 443, 5671, 5672",
            "leave it out for what the service chooses",
        )
    objects = {}
    for name in ("user_endpoint_config", "resource_specification"):
        value = config.get(name)
        if value is not None and not isinstance(value, dict):
            raise Fatal(
                "config",
                f"globus: `executor.{name}` = {value!r} is not an object",
                "write it as a table of names and values",
            )
        objects[name] = value or None
    return {"endpoint": endpoint, "batch_size": batch_size, "amqp_port": port, **objects}


def _http_status(error: BaseException) -> int:
    """The HTTP status of an error of the service, 0 for others."""
    status = getattr(error, "http_status", 0)
    return status if isinstance(status, int) else 0


def _is_network(error: BaseException) -> bool:
    """Whether the request did not get through: an error of requests, urllib3 or globus_sdk."""
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & {"NetworkError", "ConnectionError", "Timeout", "AMQPError", "GlobusConnectionError"})


def _fatal(error: BaseException, endpoint: str) -> Fatal:
    """An error at the start, or one after which no call can be sent."""
    status, text = _http_status(error), _last_line(describe(error))
    if isinstance(error, LoginRefused):
        return Fatal(
            "authentication", "globus: there are no credentials for Globus Compute, or they have expired", LOGIN
        )
    if status in (400, 401, 403) and type(error).__name__ == "AuthAPIError" or status in (401, 403):
        return Fatal(
            "authentication", f"globus: the service refused the credentials for the endpoint {endpoint}: {text}", LOGIN
        )
    if status == 404:
        return Fatal(
            "config",
            f"globus: there is no endpoint `executor.endpoint` = {endpoint}: {text}",
            "see `globus-compute-endpoint list`",
        )
    if type(error).__name__ == "VersionMismatch":
        return Fatal("unsupported", f"globus: {text}", "pip install -U globus-compute-sdk")
    if status >= 500 or _is_network(error):
        return Fatal(
            "unreachable",
            f"globus: the service cannot be reached: {text}",
            "check the network; the service is compute.api.globus.org, port 443",
        )
    return Fatal(
        "engine", f"globus: {type(error).__name__}: {text}", f"check the endpoint {endpoint} and the SDK's version"
    )


def _last_line(text: str) -> str:
    """The line of a traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" -+")]
    return lines[-1] if lines else text
