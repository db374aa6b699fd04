"""Globus Compute: the SDK's own executor against endpoint engines in the bridge's process (`globus_local`).

Not tested: the cloud service itself, its limits and its message queue. They need an account.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any, Dict, Iterator

import pytest
from harness import HERE, Host, needs, groups_run_and_answer

pytestmark = [needs("globus_compute_sdk"), needs("globus_compute_endpoint")]

ENDPOINT = str(uuid.uuid4())


@pytest.fixture()
def python(tmp_path: Any, monkeypatch: Any) -> str:
    """A Python in whose bridge the service is local."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{HERE}" exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("TAPS_GLOBUS_TEST_CLIENT", "globus_local:client")
    monkeypatch.setenv("HOME", str(tmp_path))
    return str(path)


def start(python: str, config: Any = None, **options: Any) -> Host:
    return Host("globus", {"endpoint": ENDPOINT, **(config or {})}, python=python, **options)


@pytest.fixture(params=["thread", "process"])
def host(request: Any, python: str, monkeypatch: Any) -> Iterator[Host]:
    monkeypatch.setenv("GLOBUS_LOCAL_ENGINE", request.param)
    with start(python) as running:
        ready = running.ready()
        assert ready["version"] and ready["capabilities"] == {"cancels_running": True, "keeps_results": False}
        yield running


def test_groups_run_and_answer(host: Host) -> None:
    groups_run_and_answer(host)


def test_child_is_kept_between_calls(host: Host) -> None:
    pids = set()
    for n in range(4):
        host.one(f"{n}:0", "echo")
        pids.add(host.result(f"{n}:0")["report"]["pid"])
    assert len(pids) <= 2


def test_dead_child_is_a_lost_worker(host: Host) -> None:
    host.one("1:0", "die")
    assert host.result("1:0")["failed"]["outcome"] == "worker-lost"
    host.one("1:1", "echo")
    host.result("1:1")


def test_payload_below_the_limit(host: Host) -> None:
    host.one("1:0", "echo", payload=b"x" * 6_000_000)
    assert len(host.result("1:0")["report"]["said"]) == 6_000_000


def test_payload_above_the_limit_is_refused_with_the_way_out(host: Host) -> None:
    host.submit([("1:0", "echo", {"payload": b"x" * 4_000_000}), ("2:0", "echo", {"payload": b"x" * 4_000_000})])
    for task in ("1:0", "2:0"):
        result = host.result(task)
        assert (result["failed"]["outcome"], result["executions"]) == ("payload-error", 0)
        for word in ("10 MiB", "1.37", "--data shared", "executor.shared_dir"):
            assert word in result["failed"]["message"]


def test_cancel_lets_go_at_once(host: Host) -> None:
    host.one("1:0", "sleep", seconds=60)
    time.sleep(1)
    host.send("cancel", ids=["1:0"])
    result = host.result("1:0")
    assert result["failed"]["outcome"] == "cancelled"
    host.one("2:0", "echo")
    host.result("2:0")


def test_killed_engine_worker_is_a_lost_worker(python: str, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("GLOBUS_LOCAL_ENGINE", "process")
    with start(python) as host:
        host.ready()
        host.one("1:0", "kill-worker", flag=str(tmp_path / "flag"))
        failed = host.result("1:0")["failed"]
        assert (failed["outcome"], failed["kind"]) == ("worker-lost", "worker-lost")


def test_result_above_the_endpoint_s_limit(python: str) -> None:
    with start(python) as host:
        host.ready()
        # JSON writes each of these bytes as six characters, so the report is over the limit and the payload is not.
        host.one("1:0", "echo", payload=b"\x00" * 2_500_000)
        failed = host.result("1:0")["failed"]
        assert (failed["outcome"], failed["kind"]) == ("payload-error", "payload-too-large")
        assert "--data shared" in failed["message"]


def test_package_goes_with_the_call_where_it_is_not_seen(python: str) -> None:
    with start(python, visible=False) as host:
        host.ready()
        host.one("1:0", "echo")
        assert host.result("1:0")["report"]["package"] == len(host.package)
        assert host.asked_for_package == 1


def test_executor_is_opened_again_after_a_failed_request(python: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("GLOBUS_LOCAL_TROUBLE", "submit-fails-once")
    with start(python) as host:
        host.ready()
        host.one("1:0", "echo")
        failed = host.result("1:0")["failed"]
        assert failed["outcome"] == "worker-lost" and failed["kind"] in ("service-unavailable", "submission-lost")
        for n in range(20):
            host.one(f"2:{n}", "echo")
            if "report" in host.result(f"2:{n}"):
                break
            time.sleep(0.1)
        else:
            pytest.fail("no later call got through")


@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [
        ("offline", "unreachable", "offline"),
        ("refused", "authentication", "not allowed"),
        ("unreachable", "unreachable", "compute.api.globus.org"),
        ("unknown", "config", "executor.endpoint"),
    ],
)
def test_trouble_of_the_service_is_fatal(python: str, monkeypatch: Any, trouble: str, kind: str, said: str) -> None:
    monkeypatch.setenv("GLOBUS_LOCAL_TROUBLE", trouble)
    with start(python) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == kind and said in fatal["message"] and fatal["fix"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"endpoint": "here"}, "executor.endpoint"),
        ({"endpoint": None}, "executor.endpoint"),
        ({"batch_size": 0}, "executor.batch_size"),
        ({"amqp_port": 80}, "executor.amqp_port"),
        ({"user_endpoint_config": "x"}, "executor.user_endpoint_config"),
        ({"resource_specification": [1]}, "executor.resource_specification"),
    ],
)
def test_wrong_fields_are_named(python: str, config: Dict[str, Any], said: str) -> None:
    with start(python, config) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "config" and said in fatal["message"]


def test_no_credentials_is_told_and_nobody_is_asked(tmp_path: Any, monkeypatch: Any) -> None:
    """The SDK of a person who never logged in would print an address and wait for a code."""
    for name in list(os.environ):
        if name.startswith("GLOBUS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with Host("globus", {"endpoint": ENDPOINT}) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "authentication"
        assert "globus-compute-endpoint login" in fatal["fix"] and "GLOBUS_COMPUTE_CLIENT_SECRET" in fatal["fix"]
        assert host.wait_end(15) == b""


def test_half_a_client_identity_is_told(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GLOBUS_COMPUTE_CLIENT_ID", raising=False)
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "secret")
    with Host("globus", {"endpoint": ENDPOINT}) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "authentication" and "GLOBUS_COMPUTE_CLIENT_ID" in fatal["message"]
        assert "'secret'" not in str(fatal)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (
            "Traceback …\nparsl.executors.high_throughput.errors.WorkerLost: Task failure due to loss of worker 3 on host n1",
            "worker-lost",
        ),
        (
            "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly",
            "worker-lost",
        ),
        (
            "parsl.executors.high_throughput.errors.ManagerLost: Task failure due to loss of manager abc on host n2",
            "worker-lost",
        ),
        ("MaxResultSizeExceeded(12748492, 10485760)", "payload-error"),
        ("Task result of 12748492B exceeded current limit of 10485760B", "payload-error"),
        ("MemoryError: cannot allocate", "out-of-memory"),
        ("ValueError: something else", "engine-error"),
    ],
)
def test_texts_of_the_endpoint_in_our_terms(text: str, outcome: str) -> None:
    from globus_compute_sdk.errors import TaskExecutionFailed

    from taps_wasm._bridge import globus_compute

    failure = globus_compute.Adapter().classify(TaskExecutionFailed(text, "0"))
    assert failure.outcome == outcome
    assert "\n" not in failure.message or outcome == "engine-error"


def test_demands_beyond_the_endpoint_s_workers_are_refused(python: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("GLOBUS_LOCAL_DETAILS", json.dumps({"cores_per_worker": 2.0, "mem_per_worker": 1.5}))
    with start(python) as host:
        host.ready()
        host.submit([("1:0", "echo", {})], resources={"cores": 2, "memory_bytes": 1 << 30})
        host.submit([("2:0", "echo", {})], resources={"cores": 3})
        host.submit([("3:0", "echo", {})], resources={"cores": 1, "memory_bytes": 2 << 30})
        host.submit([("4:0", "echo", {})], resources={"cores": 1, "custom": {"telescope": 1}})
        assert "report" in host.result("1:0")
        for task, word in (("2:0", "cores_per_worker"), ("3:0", "mem_per_worker"), ("4:0", "telescope")):
            failed = host.result(task)["failed"]
            assert failed["kind"] == "infeasible-resources" and word in failed["message"]


def test_workers_that_the_endpoint_may_have() -> None:
    from taps_wasm._bridge.globus_compute import _count_workers

    grows = {"max_blocks": 4, "nodes_per_block": 2, "max_workers_per_node": 32, "total_workers": 32}
    assert _count_workers({"status": "online", "details": grows}, 128) == 256
    assert _count_workers({"status": "online", "details": {"total_workers": 9, "max_workers_per_node": "?"}}, 128) == 9
    assert _count_workers({"status": "online"}, 128) == 128
