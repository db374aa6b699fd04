"""The same behaviour behind every engine, with the real engines on this host.

Two bridges per engine serve all of these tests: one whose results come back to
the host, one that keeps them in the engine. Neither engine's workers see the
package's file, so every test also runs on a package that was sent.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List

import pytest
from harness import Host, needs

CONFIGS: Dict[str, Dict[str, Any]] = {
    "threads": {"workers": 2},
    "dask": {"workers": 2},
    "ray": {"num_cpus": 2},
    "parsl-local": {"workers": 2},
    "parsl-htex": {"htex": {"address": "127.0.0.1", "max_workers_per_node": 2}},
}
PACKAGES = {"dask": "distributed", "ray": "ray", "parsl-local": "parsl", "parsl-htex": "parsl", "threads": "json"}
IN_PROCESS = ("threads", "parsl-local")
ENGINES = [pytest.param(name, marks=needs(PACKAGES[name])) for name in CONFIGS]

_numbers = itertools.count(1)


def fresh(count: int = 1) -> List[str]:
    """Attempt ids that no test has used."""
    return [f"{next(_numbers)}:0" for _ in range(count)]


def nothing_left(host: Host, when: str) -> None:
    """Waits until no process of a bridge is left, and names those that are."""
    try:
        until(lambda: not host.descendants(), "", 10)
    except AssertionError:
        left = {pid: open(f"/proc/{pid}/cmdline").read().replace("\0", " ") for pid in host.descendants()}
        raise AssertionError(f"processes left 10 s after {when}: {left}") from None


def until(what: Callable[[], Any], why: str, seconds: float = 30.0) -> Any:
    """Polls for something outside of the channel."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.02)
    raise AssertionError(f"{why} did not happen in {seconds} s")


@pytest.fixture(scope="module", params=ENGINES)
def plain(request: Any) -> Iterator[Any]:
    """A bridge whose results come back; ended by ``shutdown`` with a task in flight."""
    with Host(request.param, CONFIGS[request.param], keep=False, visible=False) as host:
        host.engine = request.param  # type: ignore[attr-defined]
        host.ready()
        yield host
        host.one(fresh()[0], "sleep", seconds=60)
        time.sleep(0.3)
        assert host.shutdown() == b"", "something wrote to the bridge's stdout"
        assert host.process.returncode == 0
        nothing_left(host, "shutdown")


@pytest.fixture(scope="module", params=ENGINES)
def keeping(request: Any) -> Iterator[Any]:
    """A bridge that keeps results; ended by the end of its channel with a task in flight."""
    with Host(request.param, CONFIGS[request.param], keep=True, visible=False) as host:
        host.engine = request.param  # type: ignore[attr-defined]
        host.ready()
        yield host
        host.one(fresh()[0], "sleep", seconds=60)
        time.sleep(0.3)
        host.hang_up()
        host.wait_end(15)
        nothing_left(host, "the channel's end")


def running(host: Host, task: str) -> str:
    """The file into which a task writes when it starts."""
    return os.path.join(host.scratch, "started-" + task.replace(":", "-"))


def test_ready_names_versions_and_workers(plain: Host) -> None:
    ready = plain.ready()
    assert ready["engine"] == plain.engine
    assert ready["workers"] == 2
    assert ready["version"][0].isdigit()
    assert ready["capabilities"] == {"cancels_running": True, "keeps_results": True}


def test_a_batch_gives_each_result_once(plain: Host) -> None:
    ids = fresh(40)
    plain.submit([(task, "echo", {"payload": task.encode()}) for task in ids])
    for task in ids:
        result = plain.result(task)
        assert result["report"]["said"] == task
        assert result["executions"] == 1
    assert plain.asked_for_package >= 1
    assert plain.results[ids[0]]["report"]["package"] == len(plain.package)


def test_the_package_is_asked_for_once(plain: Host) -> None:
    ids = fresh(20)
    for task in ids:
        plain.one(task, "echo")
    for task in ids:
        assert "report" in plain.result(task)
    assert plain.asked_for_package == 1


def test_errors_are_values(plain: Host) -> None:
    good, bad = fresh(2)
    plain.submit([(good, "echo", {"payload": b"fine"}), (bad, "fail", {})])
    assert plain.result(good)["report"]["said"] == "fine"
    assert plain.result(bad)["report"]["said"] == "fail"


def test_a_large_report_comes_whole(plain: Host) -> None:
    (task,) = fresh()
    plain.one(task, "echo", payload=b"x" * 300_000)
    assert plain.result(task)["report"]["said"] == "x" * 300_000


def test_a_task_that_prints_does_not_break_the_channel(plain: Host) -> None:
    loud, after = fresh(2)
    plain.one(loud, "print")
    plain.one(after, "echo", payload=b"after")
    assert "report" in plain.result(loud)
    assert plain.result(after)["report"]["said"] == "after"


def test_cancel_stops_a_running_task(plain: Host) -> None:
    task, after = fresh(2)
    plain.one(task, "sleep", seconds=100, count=running(plain, task))
    until(lambda: os.path.exists(running(plain, task)), "the task's start")
    plain.send("cancel", ids=[task])
    plain.patience = 20
    result = plain.result(task)
    cancelled = result.get("failed", {}).get("outcome") == "cancelled" or result.get("report", {}).get("said") == "cancelled"
    assert cancelled, result
    plain.one(after, "echo", payload=b"after")
    assert plain.result(after)["report"]["said"] == "after"


def test_cancel_of_one_in_a_batch_leaves_the_others(plain: Host) -> None:
    slow, cancelled, last = fresh(3)
    plain.submit([(slow, "sleep", {"seconds": 1.5, "count": running(plain, slow)}), (cancelled, "sleep", {"seconds": 100}), (last, "echo", {})])
    until(lambda: os.path.exists(running(plain, slow)), "the batch's start")
    plain.send("cancel", ids=[cancelled])
    assert plain.result(slow)["report"]["said"] == "sleep"
    assert plain.result(last)["report"]["said"] == ""
    result = plain.result(cancelled)
    assert result.get("report", {}).get("said") == "cancelled" or result["failed"]["outcome"] == "cancelled"


def test_cancel_of_a_queued_task(plain: Host) -> None:
    busy, queued = fresh(2), fresh()[0]
    for task in busy:
        plain.one(task, "sleep", seconds=1.5, count=running(plain, task))
    for task in busy:
        until(lambda task=task: os.path.exists(running(plain, task)), "both workers being busy")
    plain.one(queued, "sleep", seconds=100)
    plain.send("cancel", ids=[queued])
    result = plain.result(queued)
    assert result.get("report", {}).get("said") == "cancelled" or result["failed"]["outcome"] == "cancelled", result
    for task in busy:
        assert plain.result(task)["report"]["said"] == "sleep"


def test_a_child_that_dies_is_a_worker_loss(plain: Host) -> None:
    task, after = fresh(2)
    plain.one(task, "die")
    failed = plain.result(task)["failed"]
    assert (failed["outcome"], failed["kind"]) == ("worker-lost", "child-died")
    assert "signal 9" in failed["message"]
    plain.one(after, "echo", payload=b"after")
    assert plain.result(after)["report"]["said"] == "after"


def test_an_engine_worker_that_dies_is_a_worker_loss(plain: Host) -> None:
    if plain.engine in IN_PROCESS:
        pytest.skip("its worker is the bridge")
    task, again = fresh(2)
    flag, count = os.path.join(plain.scratch, "killed"), running(plain, task)
    plain.one(task, "kill-worker", flag=flag, count=count)
    result = plain.result(task)
    assert result["failed"]["outcome"] == "worker-lost", result
    with open(count) as file:
        assert len(file.readlines()) == 1 == result["executions"], "the engine tried again by itself"
    plain.one(again, "kill-worker", flag=flag)
    assert plain.result(again)["report"]["said"] == "kill-worker"


@pytest.mark.parametrize(
    "demands, said",
    [({"cores": 1, "custom": {"telescope": 2}}, "telescope"), ({"cores": 10_000}, "10000"), ({"cores": 1, "memory_bytes": 1 << 60}, "memory")],
    ids=["custom", "cores", "memory"],
)
def test_infeasible_demands_are_named_and_sent_nowhere(plain: Host, demands: Dict[str, Any], said: str) -> None:
    if plain.engine == "parsl-htex" and said == "memory":
        pytest.skip("its workers have no memory of their own without mem_per_worker")
    (task,) = fresh()
    plain.submit([(task, "echo", {})], resources=demands)
    result = plain.result(task)
    assert (result["failed"]["outcome"], result["failed"]["kind"], result["executions"]) == ("engine-error", "infeasible-resources", 0)
    message = result["failed"]["message"]
    engine = plain.engine.partition("-")[0]
    assert said in message and engine in message.lower(), message
    assert "lower the demand" in message, "what can be done"


def test_parsl_names_the_share_of_a_worker() -> None:
    pytest.importorskip("parsl")
    options = {"address": "127.0.0.1", "max_workers_per_node": 1, "cores_per_worker": 2, "mem_per_worker": 0.25}
    with Host("parsl-htex", {"htex": options}) as host:
        host.ready()
        fits, cores, memory = fresh(3)
        host.submit([(fits, "echo", {})], resources={"cores": 2, "memory_bytes": 1 << 27})
        host.submit([(cores, "echo", {})], resources={"cores": 3})
        host.submit([(memory, "echo", {})], resources={"cores": 1, "memory_bytes": 1 << 30})
        assert "report" in host.result(fits)
        assert "3 cores and a worker of parsl-htex has 2 (executor.htex.cores_per_worker)" in host.result(cores)["failed"]["message"]
        assert "executor.htex.mem_per_worker" in host.result(memory)["failed"]["message"]
        assert not any("has no effect" in header.get("message", "") for header in host.headers())


@needs("distributed")
def test_tasks_of_several_cores_have_a_dask_worker_s_threads_for_themselves() -> None:
    with Host("dask", {"workers": 1, "threads_per_worker": 2, "memory_limit": "2GiB"}) as host:
        host.ready()
        ids, too_large, together = fresh(12), fresh()[0], fresh(2)
        file = os.path.join(host.scratch, "alone")
        for number, task in enumerate(ids):
            host.submit([(task, "alone", {"file": file, "seconds": 0.05})], resources={"cores": 2 if number % 3 else 1, "memory_bytes": (number % 2) << 20})
        host.submit([(too_large, "echo", {})], resources={"cores": 3})
        said = {task: host.result(task)["report"]["said"] for task in ids}
        # Those of one core may meet each other; nobody meets one of two.
        assert [said[task] for number, task in enumerate(ids) if number % 3] == ["alone"] * 8
        assert "executor.threads_per_worker" in host.result(too_large)["failed"]["message"]
        for task in together:
            host.one(task, "sleep", seconds=100, count=running(host, task))
        for task in together:
            until(lambda task=task: os.path.exists(running(host, task)), "two tasks of one core side by side")


FIRST_COME = {"dask": {"workers": 1}, "parsl-htex": {"htex": {"address": "127.0.0.1", "max_workers_per_node": 1}}}


@pytest.mark.parametrize("engine", [pytest.param(name, marks=needs(PACKAGES[name])) for name in FIRST_COME])
def test_urgent_tasks_go_first(engine: str) -> None:
    with Host(engine, FIRST_COME[engine]) as host:
        host.ready()
        busy, next_one, late, usual, urgent = fresh(5)
        order, started = os.path.join(host.scratch, "order"), running(host, busy)
        host.one(busy, "sleep", seconds=100, count=started)
        until(lambda: os.path.exists(started), "the worker being busy")
        # Dask's worker has its next task before it needs one.
        for task, priority in ((next_one, 0), (late, -5), (usual, 0), (urgent, 5)):
            host.submit([(task, "alone", {"file": order + ".lock", "seconds": 0, "count": order})], priority=priority)
        # The bridge reads in order: when it answers this, it has handed all of them over.
        host.fetch("never-seen")
        time.sleep(1.0)
        host.send("cancel", ids=[busy])
        for task in (next_one, late, usual, urgent):
            host.result(task)
        with open(order) as file:
            assert [task for task in file.read().split() if task != next_one] == [urgent, usual, late]


@pytest.mark.parametrize("engine", [pytest.param(name, marks=needs(PACKAGES[name])) for name in ("ray", "parsl-local")])
def test_a_priority_that_an_engine_does_not_know_is_told_once(engine: str) -> None:
    with Host(engine, CONFIGS[engine]) as host:
        host.ready()
        for task in fresh(3):
            host.submit([(task, "echo", {})], priority=3)
            assert "report" in host.result(task)
        told = [header for header in host.headers() if header["t"] == "log" and "priority" in header["message"]]
        assert len(told) == 1 and told[0]["level"] == "warning"


def test_results_flow_by_reference(keeping: Host) -> None:
    first, second, third = fresh(3)
    keeping.put("p1", b"\x07" * 100_000)
    keeping.one(first, "make", n=1 << 20, outputs=2)
    keeping.one(second, "step", refs=[[first, 1]])
    keeping.one(third, "sizes", refs=[[second, 0], [first, 0], ["p1", 0]])
    assert keeping.result(third)["report"]["said"] == [[[second, 0], 1 << 20, 1], [[first, 0], 1 << 20, 0], [["p1", 0], 100_000, 7]]
    header, data = keeping.fetch(second)
    assert header["ok"] and data == b"\x01" + bytes((1 << 20) - 1)
    header, data = keeping.fetch(first, 1)
    assert header["ok"] and data == bytes(1 << 20)


def test_small_results_flow_by_reference_too(keeping: Host) -> None:
    first, second = fresh(2)
    keeping.put("p2", b"\x09")
    keeping.one(first, "make", n=3)
    keeping.one(second, "sizes", refs=[[first, 0], ["p2", 0]])
    assert keeping.result(second)["report"]["said"] == [[[first, 0], 3, 0], [["p2", 0], 1, 9]]
    assert keeping.fetch(first)[1] == bytes(3)


def test_a_released_result_is_gone(keeping: Host) -> None:
    first, second = fresh(2)
    keeping.one(first, "make", n=10)
    keeping.result(first)
    keeping.send("release", keys=[first, "never-seen"])
    header, _ = keeping.fetch(first)
    assert header["ok"] is False and header["lost"] is True and header["message"]
    keeping.one(second, "step", refs=[[first, 0]])
    assert keeping.result(second)["failed"]["outcome"] == "upstream-failed"


def test_what_hangs_on_a_failed_task_is_upstream_failed(keeping: Host) -> None:
    first, second, third = fresh(3)
    keeping.one(first, "fail")
    keeping.one(second, "step", refs=[[first, 0]])
    keeping.one(third, "step", refs=[[second, 0]])
    assert keeping.result(first)["report"]["said"] == "fail"
    for task in (second, third):
        assert keeping.result(task)["failed"]["outcome"] == "upstream-failed"


def test_what_hangs_on_a_lost_worker_is_upstream_failed(keeping: Host) -> None:
    if keeping.engine in IN_PROCESS:
        pytest.skip("its worker is the bridge")
    first, second, third, again = fresh(4)
    flag = os.path.join(keeping.scratch, "killed")
    keeping.one(first, "kill-worker", flag=flag)
    keeping.one(second, "step", refs=[[first, 0]])
    keeping.one(third, "step", refs=[[second, 0]])
    assert keeping.result(first)["failed"]["outcome"] == "worker-lost"
    for task in (second, third):
        assert keeping.result(task)["failed"]["outcome"] == "upstream-failed", keeping.results[task]
    keeping.one(again, "make", n=5)
    assert "report" in keeping.result(again)


def test_a_result_of_a_dead_worker_is_lost_or_made_again(keeping: Host) -> None:
    """Dask runs the task again, visibly; Ray and Parsl do not hold results in workers."""
    if keeping.engine != "dask":
        pytest.skip("results are not held by workers")
    (task,) = fresh()
    count = running(keeping, task)
    keeping.put("p9", b"\x03" * 1000)
    keeping.one(task, "make", n=1000, count=count, refs=[["p9", 0]])
    worker = keeping.result(task)["report"]["parent"]
    # Dask's scheduler hears of the end with the next message of the worker, some milliseconds after the host did. Of a
    # worker that dies before that, Dask repeats nothing: the result is lost, and the host has the task run again.
    time.sleep(0.5)
    os.kill(worker, signal.SIGKILL)
    second = fresh()[0]
    keeping.wait(lambda: any(h["t"] == "reran" and task in h["ids"] for h in keeping.headers()), "the second execution")
    header, data = keeping.fetch(task)
    assert header["ok"] and data == bytes(1000)
    with open(count) as file:
        assert file.read().split() == [task, task]
    # A payload that went with the worker is put again.
    keeping.one(second, "sizes", refs=[["p9", 0]])
    assert keeping.result(second)["report"]["said"] == [[["p9", 0], 1000, 3]]


def test_a_chain_forwarded_at_once(keeping: Host) -> None:
    ids = fresh(21)
    keeping.one(ids[0], "make", n=50_000)
    for before, task in zip(ids, ids[1:]):
        keeping.one(task, "step", refs=[[before, 0]])
    assert "report" in keeping.result(ids[-1]), keeping.results[ids[-1]]
    assert keeping.fetch(ids[-1])[1][0] == 20
    keeping.send("release", keys=ids)


@needs("distributed")
def test_a_dask_cluster_that_runs_already() -> None:
    """Scheduler and worker of their own, in which nothing of taps-wasm can be imported."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard", "--resources", "gpu=1"]
    with tempfile.TemporaryDirectory() as directory:
        # The worker, killed below, leaves its scratch space.
        options: Dict[str, Any] = {"cwd": directory, "env": dict(os.environ, TMPDIR=directory), "stderr": subprocess.DEVNULL}
        cluster = [subprocess.Popen(command, **options) for command in (program, worker)]
        try:
            with Host("dask", {"scheduler": address, "allowed_failures": 1}, keep=True, visible=False) as host:
                ready = host.ready()
                assert any("executor.allowed_failures" in note for note in ready["notes"])
                first, second, third = fresh(3)
                host.one(first, "make", n=100_000)
                host.submit([(second, "step", {"refs": [[first, 0]]})], resources={"cores": 1, "custom": {"gpu": 1}})
                child = host.result(second)["report"]["pid"]
                assert host.fetch(second)[1][0] == 1
                host.one(third, "sleep", seconds=100, count=running(host, third))
                until(lambda: os.path.exists(running(host, third)), "the task's start")
                host.shutdown()
                # The cluster is not ours to end; our children in it are, and our tasks.
                until(lambda: not os.path.exists(f"/proc/{child}"), "the end of our children on the cluster", 10)
                assert all(process.poll() is None for process in cluster)
        finally:
            for process in cluster:
                process.kill()
                process.wait()


@needs("distributed")
def test_a_package_that_dask_makes_again_is_not_lost(tmp_path: Any) -> None:
    """Its worker is gone: the task that gives it runs on another, and calls that read it wait. Lost is what nobody makes again."""
    import dask
    from distributed import Client, LocalCluster
    from taps_wasm._bridge.dask import Adapter

    adapter = Adapter()
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    scratch = dask.config.set({"temporary-directory": str(tmp_path)})
    with scratch, LocalCluster(**options) as cluster, Client(cluster) as client:
        package = client.submit(bytes, 1000, pure=False)
        assert package.result() == bytes(1000)
        (holder,) = client.who_has([package])[package.key]
        (worker,) = [worker for worker in cluster.workers.values() if worker.address == holder]
        cluster.sync(worker.close)

        def made_again() -> bool:
            assert not adapter.package_lost(package), package.status
            holders = client.who_has([package])[package.key]
            return package.status == "finished" and bool(holders) and holder not in holders

        until(made_again, "the second execution")
        assert package.result() == bytes(1000)
        package.cancel()
        assert adapter.package_lost(package)
