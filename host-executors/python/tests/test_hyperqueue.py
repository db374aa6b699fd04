"""HyperQueue for real: the PyPI package's server, worker and client, on this machine.

The package has no `hq` program, so the path through the CLI is tested where `hq` is on PATH; what needs no server
of it, the job file and the reading of its JSON, is tested everywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import time
from typing import Any, Dict, Iterator

import pytest
from harness import HERE, Host, needs, groups_run_and_answer

from taps_wasm import _frames
from taps_wasm._bridge import execute, hq_server, hyperqueue
from taps_wasm._bridge.base import Fatal, Group, Task

EXEC = os.path.join(HERE, "fake_exec.py")
WAYS = [
    pytest.param("package", marks=needs("hyperqueue")),
    pytest.param("hq", marks=pytest.mark.skipif(shutil.which("hq") is None, reason="the program hq is not on PATH")),
]


def start(way: str, **options: Any) -> Host:
    config: Dict[str, Any] = {"workers": 2, **options.pop("config", {})}
    if way == "hq":
        config["hq"] = shutil.which("hq")
    return Host("hyperqueue", config, binary=options.pop("binary", EXEC), **options)


@pytest.fixture(params=WAYS)
def host(request: Any) -> Iterator[Host]:
    with start(request.param) as running:
        ready = running.ready()
        assert ready["workers"] == 2
        assert ready["capabilities"] == {"cancels_running": True, "keeps_results": False}
        yield running


def test_groups_run_and_answer(host: Host) -> None:
    groups_run_and_answer(host)


def test_many_groups_leave_no_files(host: Host) -> None:
    host.submit(*[[(f"{n}:0", "echo", {"payload": b"x"})] for n in range(40)])
    for n in range(40):
        host.result(f"{n}:0")
    (directory,) = [name for name in os.listdir(host.scratch) if name.startswith("taps-hq-")]
    deadline = time.monotonic() + 5
    left = ["?"]
    while left and time.monotonic() < deadline:
        left = [
            name
            for kind in ("in", "out", "runs", "cancel")
            for name in os.listdir(os.path.join(host.scratch, directory, kind))
        ]
        time.sleep(0.05)
    assert left == []
    host.shutdown()
    assert not os.path.exists(os.path.join(host.scratch, directory))


def test_large_payload(host: Host) -> None:
    host.one("1:0", "echo", payload=b"x" * (8 << 20))
    assert len(host.result("1:0")["report"]["said"]) == 8 << 20


def test_result_comes_without_the_package_s_polling(host: Host) -> None:
    host.one("1:0", "echo")
    host.result("1:0")
    # The client's own wait looks once a second: submitted after one result, no other came within less.
    took = []
    while not took or (min(took) > 0.8 and len(took) < 20):
        began = time.monotonic()
        host.one(f"2:{len(took)}", "echo")
        host.result(f"2:{len(took)}")
        took.append(time.monotonic() - began)
    assert min(took) <= 0.8, took


def test_killed_program_is_a_lost_worker(host: Host) -> None:
    host.one("1:0", "die")
    failed = host.result("1:0")["failed"]
    assert (failed["outcome"], failed["kind"]) == ("worker-lost", "child-died")
    assert "SIGKILL" in failed["message"]
    host.one("1:1", "echo")
    host.result("1:1")


def test_program_without_an_answer_is_told_with_its_stderr(host: Host) -> None:
    host.one("1:0", "exit", code=3)
    failed = host.result("1:0")["failed"]
    assert failed["outcome"] == "engine-error"
    assert "exit code 3" in failed["message"] and "could not go on" in failed["message"]


def test_answer_that_is_no_frame(host: Host) -> None:
    host.one("1:0", "garbage")
    failed = host.result("1:0")["failed"]
    assert (failed["outcome"], failed["kind"]) == ("engine-error", "answer")


def test_cancel_of_a_running_and_a_queued_task(host: Host) -> None:
    host.submit(*[[(f"{n}:0", "sleep", {"seconds": 60})] for n in range(4)])
    runs = next(
        os.path.join(host.scratch, name, "runs") for name in os.listdir(host.scratch) if name.startswith("taps-hq-")
    )
    deadline = time.monotonic() + 20
    while len(os.listdir(runs)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    host.send("cancel", ids=[f"{n}:0" for n in range(4)])
    said = [host.result(f"{n}:0") for n in range(4)]
    running = [result for result in said if "report" in result]
    queued = [result for result in said if "failed" in result]
    assert len(running) == 2 and all(result["report"]["said"] == "cancelled" for result in running)
    assert len(queued) == 2 and all(
        result["failed"]["outcome"] == "cancelled" and result["executions"] == 0 for result in queued
    )
    host.one("9:0", "echo")
    host.result("9:0")
    host.shutdown()
    assert host.descendants() == []


def test_too_large_and_unknown_resources_are_refused(host: Host) -> None:
    host.submit([("1:0", "echo", {})], resources={"cores": 64})
    failed = host.result("1:0")["failed"]
    assert (failed["outcome"], failed["kind"]) == ("engine-error", "infeasible-resources")
    assert "64 cores" in failed["message"] and "executor.workers" in failed["message"]


@pytest.mark.parametrize("way", WAYS)
def test_version_of_the_worker_is_told(way: str) -> None:
    with start(way, version="9.9.9") as host:
        host.ready()
        host.one("1:0", "echo")
        failed = host.result("1:0")["failed"]
        assert (failed["outcome"], failed["kind"]) == ("engine-error", "version")


@pytest.mark.parametrize("way", WAYS)
def test_shared_dir_holds_the_package(way: str, tmp_path: Any) -> None:
    with start(way, config={"shared_dir": str(tmp_path / "shared")}) as host:
        host.ready()
        (run,) = os.listdir(tmp_path / "shared")
        assert (tmp_path / "shared" / run / "package").read_bytes() == host.package
        host.one("1:0", "echo")
        host.result("1:0")
        host.shutdown()
        assert os.listdir(tmp_path / "shared") == []


@pytest.mark.parametrize("way", WAYS)
def test_worker_s_crash_is_counted(way: str, tmp_path: Any) -> None:
    """Two starts of one group are two executions, wherever they happened."""
    with start(way) as host:
        host.ready()
        host.one("1:0", "sleep", seconds=1)
        runs = next(
            os.path.join(host.scratch, name, "runs") for name in os.listdir(host.scratch) if name.startswith("taps-hq-")
        )
        while not os.listdir(runs):
            time.sleep(0.01)
        with open(os.path.join(runs, os.listdir(runs)[0]), "ab") as file:
            file.write(b".")  # As a second start of the same script would.
        assert host.result("1:0")["executions"] == 2


@needs("hyperqueue")
def test_server_that_is_not_there() -> None:
    with start("package", config={"server_dir": "/nowhere/hq"}) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "unreachable"
        assert "'/nowhere/hq'" in fatal["message"] and "executor.server_dir" in fatal["message"]
        assert "backtrace" not in fatal["message"]


@needs("hyperqueue")
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"crash_limit": 0}, "executor.crash_limit"),
        ({"workers": 0}, "executor.workers"),
        ({"alloc": "slurm"}, "executor.alloc"),
        ({"hq": "/no/hq"}, "executor.hq"),
    ],
)
def test_wrong_fields_are_named(config: Dict[str, Any], said: str) -> None:
    with start("package", config=config) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "config"
        assert said in fatal["message"] and fatal["fix"]


@pytest.mark.skipif(shutil.which("hq") is not None, reason="hq is on PATH")
@pytest.mark.parametrize("field", [{"alloc": ["slurm", "--time-limit", "1h"]}, {"time_limit": "1m"}])
@needs("hyperqueue")
def test_fields_that_need_the_program(field: Dict[str, Any]) -> None:
    with start("package", config=field) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "config" and "needs the program `hq`" in fatal["message"]


@needs("hyperqueue")
def test_no_binary_is_told_at_the_start(tmp_path: Any, monkeypatch: Any) -> None:
    # The environment's packages, but not its Python: beside that, and so found, is the program of an installed wheel.
    python = tmp_path / "python"
    packages, interpreter = sysconfig.get_path("platlib"), os.path.realpath(sys.executable)
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{interpreter}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with start("package", binary="/no/taps-wasm", python=str(python)) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "config"
        assert "/no/taps-wasm" in fatal["message"] and "executor.worker_binary" in fatal["fix"]


def test_job_file_is_toml() -> None:
    tomllib = pytest.importorskip("tomllib")
    program = {
        "args": ["/bin/sh", "-c", 'printf . >> "$2"', "sh", '/a b/\x7f"taps"', "0"],
        "cwd": "/work/ü",
        "stderr": "/work/err/0",
        "resources": {"cpus": 1.0, "gpus": "0.5000"},
        "memory_bytes": (1 << 20) + 1,
        "priority": -3,
    }
    read = tomllib.loads(hq_server.job_file([program, dict(program, memory_bytes=0)], 1, "90s"))
    first, second = read["task"]
    assert first["command"] == program["args"] and first["cwd"] == "/work/ü"
    assert (first["priority"], first["crash_limit"], first["time_limit"], first["stdout"]) == (-3, 1, "90s", "none")
    assert first["request"] == [{"resources": {"cpus": "1.0", "gpus": "0.5000", "mem": "2"}}]
    assert "mem" not in second["request"][0]["resources"] and second["id"] == 1


@pytest.mark.parametrize(
    ("error", "outcome", "kind"),
    [
        (
            "Task was running on a worker that was lost; the task has occurred 1 times in this situation and limit was reached.",
            "worker-lost",
            "worker-lost",
        ),
        ("Task was running on a lost worker while never restart flag was set.", "worker-lost", "worker-lost"),
        ("Program terminated with exit code -1. Received signal 9 (SIGKILL).", "worker-lost", "child-died"),
        ("Time limit reached", "engine-error", "time-limit"),
        ("Program terminated with exit code 127.", "engine-error", "no-binary"),
        ("canceled", "cancelled", "cancelled"),
    ],
)
def test_errors_of_the_server_in_our_terms(error: str, outcome: str, kind: str) -> None:
    adapter = hyperqueue.Adapter()
    adapter._options = {"time_limit": "1m"}
    adapter._binary = "/usr/bin/taps-wasm"
    failure = adapter._classify(error + "\n\nStack backtrace:\n   0: new", "")
    assert (failure.outcome, failure.kind) == (outcome, kind)
    assert "backtrace" not in failure.message


def test_cpus_of_a_worker_as_the_program_tells_them() -> None:
    def worker(resource: Dict[str, Any]) -> Dict[str, Any]:
        return {"configuration": {"resources": {"resources": [dict(resource, name="cpus")], "coupling": None}}}

    assert hq_server._cpus(worker({"kind": "range", "start": 0, "end": 3})) == 4
    assert hq_server._cpus(worker({"kind": "list", "values": ["0", "5"]})) == 2
    assert hq_server._cpus(worker({"kind": "groups", "groups": [["0", "1"], ["2", "3"]]})) == 4
    assert hq_server._cpus({}) == 1


def test_request_and_answer_files(tmp_path: Any) -> None:
    settings = {"protocol": 1, "version": "0.1.0", "digest": "d", "path": "p"}
    group = Group(
        [
            Task("1:0", "1:0", [], b'{"op": "echo", "id": "1:0"}\nabc'),
            Task("2:0", "2:0", [], b'{"op": "fail", "id": "2:0"}\n'),
        ]
    )
    (tmp_path / "package").write_bytes(b"pp")
    (tmp_path / "in").write_bytes(execute.request(settings, group, "package", None))
    assert (
        os.spawnv(
            os.P_WAIT, sys.executable, [sys.executable, EXEC, "exec", str(tmp_path / "in"), str(tmp_path / "out")]
        )
        == 0
    )
    kind, results = execute.answer((tmp_path / "out").read_bytes())
    assert kind == "done"
    assert [(task, status, outs) for task, status, _, outs in results] == [("1:0", "ok", []), ("2:0", "not-ok", [])]
    assert json.loads(bytes(results[0][2]))["said"] == "abc"
    wanted = execute.answer(b"".join(_frames.encode({"t": "need-package", "digest": "d"})))  # type: ignore[arg-type]
    assert wanted[:2] == ("setup-failed", "no-package") and "executor.shared_dir" in wanted[2]
    for cut in (0, 5, 40):
        with pytest.raises(Exception, match="empty|inside a frame"):
            execute.answer((tmp_path / "out").read_bytes()[:cut])


def test_binary_is_looked_for(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.delenv("TAPS_WASM_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Fatal) as nothing:
        execute.find_binary({"binary": None}, "taskvine")
    assert nothing.value.kind == "config" and "TAPS_WASM_BIN" in nothing.value.fix
    monkeypatch.setenv("TAPS_WASM_BIN", EXEC)
    assert execute.find_binary({"binary": None}, "taskvine") == EXEC
