"""Globus Compute without its cloud: the real SDK executor and a real endpoint engine, joined in this process.

The SDK's `Executor` talks to the service in two ways: requests through a `Client`, and results from a message queue
through its `_ResultWatcher`. `LocalClient` takes the place of the first and gives batches to an endpoint engine;
`LocalWatcher` takes the place of the second and is fed from a queue. What is between them is the SDK's: the
serialisation, the batching, the futures; and the engine is the endpoint's own. `_ResultWatcher` is not a public
name of the SDK, so this holds for the version that is pinned for the tests.

`client()` is named by TAPS_GLOBUS_TEST_CLIENT. GLOBUS_LOCAL_ENGINE is `thread` (default) or `process`;
GLOBUS_LOCAL_TROUBLE makes the service misbehave: `offline`, `refused`, `unreachable`, `unknown`, `submit-fails-once`.
GLOBUS_LOCAL_DETAILS is what the endpoint tells of itself, in JSON.
"""

from __future__ import annotations

import json
import os
import queue
import tempfile
import threading
import uuid
from typing import Any, Dict, List

import globus_compute_sdk.sdk.executor as sdk_executor
from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Result, Task
from globus_compute_endpoint.engines.base import GCFuture
from globus_compute_sdk.errors import TaskExecutionFailed
from globus_compute_sdk.sdk.batch import Batch, create_user_runtime
from globus_compute_sdk.serialize import ComputeSerializer

RESULTS: "queue.Queue[Any]" = queue.Queue()


class ServiceError(Exception):
    """An error of the service as globus_sdk shows it."""

    def __init__(self, http_status: int, text: str) -> None:
        super().__init__(text)
        self.http_status = http_status


class NetworkError(Exception):
    """As globus_sdk's error of that name."""


class LocalClient:
    """What the SDK's executor needs of a client."""

    def __init__(self, engine: Any, endpoint: uuid.UUID) -> None:
        self.engine = engine
        self.endpoint = endpoint
        self.fx_serializer = ComputeSerializer()
        self.functions: Dict[str, str] = {}
        self.batches: List[int] = []
        self.trouble = os.environ.get("GLOBUS_LOCAL_TROUBLE", "")

    def get_endpoint_status(self, endpoint: Any) -> Dict[str, Any]:
        if self.trouble == "refused":
            raise ServiceError(403, "Forbidden: you are not allowed to use this endpoint")
        if self.trouble == "unreachable":
            raise NetworkError("Failed to resolve 'compute.api.globus.org'")
        if self.trouble == "unknown":
            raise ServiceError(404, "Endpoint not found")
        details = json.loads(os.environ.get("GLOBUS_LOCAL_DETAILS", "{}"))
        return {"status": "offline" if self.trouble == "offline" else "online", "details": details}

    def register_function(self, function: Any, **_: Any) -> str:
        identity = str(uuid.uuid4())
        serializer = self.fx_serializer
        self.functions[identity] = serializer.pack_buffers([serializer.serialize(function)])
        return identity

    def create_batch(
        self,
        task_group_id: Any = None,
        resource_specification: Any = None,
        user_endpoint_config: Any = None,
        create_websocket_queue: bool = False,
        result_serializers: Any = None,
    ) -> Batch:
        return Batch(
            task_group_id,
            resource_specification,
            user_endpoint_config,
            create_websocket_queue,
            self.fx_serializer,
            create_user_runtime(),
            result_serializers,
        )

    def batch_run(self, endpoint_id: Any, batch: Batch) -> Dict[str, Any]:
        if self.trouble == "submit-fails-once":
            self.trouble = ""
            raise NetworkError("Connection reset by peer")
        data = batch.prepare()
        self.batches.append(len(batch))
        answer: Dict[str, List[str]] = {}
        for function, payloads in data["tasks"].items():
            for payload in payloads:
                task_id = uuid.uuid4()
                answer.setdefault(function, []).append(str(task_id))
                self._submit(task_id, self.functions[function] + payload)
        group = data.get("task_group_id") or str(uuid.uuid4())
        return {
            "tasks": answer,
            "task_group_id": group,
            "request_id": str(uuid.uuid4()),
            "endpoint_id": str(endpoint_id),
        }

    def _submit(self, task_id: uuid.UUID, payload: str) -> None:
        serializer = self.fx_serializer
        buffers = serializer.unpack_buffers(payload)
        future = GCFuture(task_id)
        future.add_done_callback(lambda done: RESULTS.put(done.result()))
        packed = messagepack.pack(Task(task_id=task_id, task_buffer=serializer.pack_buffers(buffers)))
        self.engine.submit(future, packed, resource_specification={})

    def _log_version_mismatch(self, _: Any) -> None:
        pass


class LocalWatcher(threading.Thread):
    """The SDK's result watcher with a queue in place of the message service."""

    class ShuttingDownError(Exception):
        """As the SDK's."""

    def __init__(self, task_group_id: Any, client: Any, port: Any = None) -> None:
        super().__init__(daemon=True)
        self.task_group_id = task_group_id
        self.client = client
        self.futures: Dict[str, Any] = {}
        self.waiting: Dict[str, Any] = {}
        self.lock = threading.Lock()
        sdk_executor._RESULT_WATCHERS[task_group_id] = self  # type: ignore[assignment]

    def watch_for_task_results(self, executor: Any, futures: List[Any]) -> int:
        with self.lock:
            for future in futures:
                self.futures[future.task_id] = future
                if future.task_id in self.waiting:
                    self._settle(self.waiting.pop(future.task_id))
        return len(futures)

    def get_open_futures(self, executor: Any = None) -> Dict[str, Any]:
        return dict(self.futures)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass

    def run(self) -> None:
        while True:
            result = messagepack.unpack(RESULTS.get())
            assert isinstance(result, Result)
            with self.lock:
                if str(result.task_id) in self.futures:
                    self._settle(result)
                else:
                    self.waiting[str(result.task_id)] = result

    def _settle(self, result: Any) -> None:
        future = self.futures.pop(str(result.task_id))
        if result.is_error:
            future.set_exception(TaskExecutionFailed(result.data, "0"))
        else:
            future.set_result(self.client.fx_serializer.deserialize(result.data))


def make_engine(kind: str) -> Any:
    """An endpoint engine, started."""
    from globus_compute_endpoint.engines import ProcessPoolEngine, ThreadPoolEngine

    engine = (ProcessPoolEngine if kind == "process" else ThreadPoolEngine)(max_workers=2)
    engine.start(endpoint_id=uuid.uuid4(), run_dir=tempfile.mkdtemp(prefix="gc-"))
    return engine


def client() -> LocalClient:
    """The client that the adapter is given in tests."""
    sdk_executor._ResultWatcher = LocalWatcher  # type: ignore[assignment,misc]
    return LocalClient(make_engine(os.environ.get("GLOBUS_LOCAL_ENGINE", "thread")), uuid.uuid4())
