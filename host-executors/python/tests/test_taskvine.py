"""The TaskVine adapter and the worker's side of the library pipes.

`ndcctools` is on no package index of pip's. Where it cannot be imported, the adapter runs against the stand-in of
`fake_ndcctools` (its docstring says what that is); where it can, the same tests run against it as well.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from typing import Any, Dict, Iterator, List

import pytest
from harness import HERE, Host, groups_run_and_answer
from vine_worker import LibraryError, LibraryHarness

from taps_wasm._bridge import execute, taskvine
from taps_wasm._bridge.base import Fatal, Group, Task

EXEC = os.path.join(HERE, "fake_exec.py")
REAL = importlib.util.find_spec("ndcctools") is not None
ENGINES = [
    "stand-in",
    pytest.param(
        "ndcctools", marks=pytest.mark.skipif(not REAL, reason="ndcctools is not installed (conda-forge only)")
    ),
]


@pytest.fixture()
def stand_in(tmp_path: Any) -> str:
    """A Python that finds the stand-in."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{HERE}/fake_ndcctools:{HERE}" exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def start(python: str, engine: str = "stand-in", **config: Any) -> Host:
    options = {"port": 0, "workers": 2, **config}
    return Host("taskvine", options, binary=EXEC, python=python if engine == "stand-in" else sys.executable)


@pytest.fixture(params=["process", "library"])
def mode(request: Any) -> Dict[str, Any]:
    return {"serverless": request.param == "library"}


@pytest.fixture(params=ENGINES)
def host(request: Any, stand_in: str, mode: Dict[str, Any]) -> Iterator[Host]:
    with start(stand_in, request.param, **mode) as running:
        ready = running.ready()
        assert ready["workers"] == 2
        assert ready["capabilities"] == {"cancels_running": not mode["serverless"], "keeps_results": False}
        yield running


def test_groups_run_and_answer(host: Host) -> None:
    groups_run_and_answer(host)
    assert host.descendants() == []


def test_library_is_one_process_and_tasks_are_many(host: Host, mode: Dict[str, Any]) -> None:
    host.submit(*[[(f"{n}:0", "echo", {})] for n in range(20)])
    pids = {host.result(f"{n}:0")["report"]["pid"] for n in range(20)}
    assert len(pids) <= 2 if mode["serverless"] else len(pids) == 20


def test_chain_of_submissions(host: Host) -> None:
    """Each is submitted when the one before has come back, as the host does along dependencies."""
    for n in range(5):
        host.one(f"{n}:0", "echo")
        host.result(f"{n}:0")


def test_large_payload(host: Host) -> None:
    host.one("1:0", "echo", payload=b"x" * (8 << 20))
    assert len(host.result("1:0")["report"]["said"]) == 8 << 20


def test_too_many_cores_and_unknown_resources_are_refused(host: Host) -> None:
    host.submit([("1:0", "echo", {})], resources={"cores": 64})
    host.submit([("2:0", "echo", {})], resources={"cores": 1, "custom": {"licence": 1}})
    first, second = host.result("1:0")["failed"], host.result("2:0")["failed"]
    assert first["kind"] == second["kind"] == "infeasible-resources"
    assert "executor.cores_per_worker" in first["message"] and "licence" in second["message"]


def test_what_a_call_of_the_library_cannot_have_is_refused(host: Host, mode: Dict[str, Any]) -> None:
    host.submit([("1:0", "echo", {})], resources={"cores": 1, "memory_bytes": 1 << 20})
    result = host.result("1:0")
    if mode["serverless"]:
        assert result["failed"]["kind"] == "infeasible-resources"
        assert "1048576 bytes of memory" in result["failed"]["message"] and "executor.serverless" in result["failed"]["message"]
    else:
        assert "report" in result


def test_answer_that_is_no_frame(host: Host, mode: Dict[str, Any]) -> None:
    if mode["serverless"]:
        pytest.skip("the stand-in's task would end the library")
    host.one("1:0", "garbage")
    failed = host.result("1:0")["failed"]
    assert (failed["outcome"], failed["kind"]) == ("engine-error", "answer")


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_program_is_a_lost_worker(stand_in: str, engine: str) -> None:
    with start(stand_in, engine) as host:
        host.ready()
        host.one("1:0", "die")
        failed = host.result("1:0")["failed"]
        assert failed["outcome"] == "worker-lost"
        host.one("1:1", "echo")
        host.result("1:1")


def test_killed_library_gives_its_calls_back(stand_in: str) -> None:
    with start(stand_in, serverless=True) as host:
        host.ready()
        host.one("1:0", "die")
        failed = host.result("1:0")["failed"]
        assert (failed["outcome"], failed["kind"]) == ("worker-lost", "forsaken")
        host.one("1:1", "echo")
        host.result("1:1")


@pytest.mark.parametrize("engine", ENGINES)
def test_program_without_an_answer_is_told_with_its_output(stand_in: str, engine: str) -> None:
    with start(stand_in, engine) as host:
        host.ready()
        host.one("1:0", "exit", code=3)
        failed = host.result("1:0")["failed"]
        assert (failed["outcome"], failed["kind"]) == ("engine-error", "exit-status")
        assert "exit code 3" in failed["message"] and "could not go on" in failed["message"]


@pytest.mark.parametrize("engine", ENGINES)
def test_cancel_kills_running_tasks(stand_in: str, engine: str, tmp_path: Any) -> None:
    with start(stand_in, engine) as host:
        host.ready()
        count = str(tmp_path / "count")
        host.submit(*[[(f"{n}:0", "sleep", {"seconds": 60, "count": count})] for n in range(4)])
        deadline = time.monotonic() + 30
        while not os.path.exists(count) and time.monotonic() < deadline:
            time.sleep(0.02)
        host.send("cancel", ids=[f"{n}:0" for n in range(4)])
        for n in range(4):
            result = host.result(f"{n}:0")
            assert result.get("failed", {}).get("outcome") == "cancelled" or result["report"]["said"] == "cancelled"
        host.one("9:0", "echo")
        host.result("9:0")
        host.shutdown()
        assert host.descendants() == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"port": "x"}, "executor.port"),
        ({"port": 1}, "executor.port"),
        ({"workers": 0}, "executor.workers"),
        ({"cores_per_task": 4, "cores_per_worker": 2}, "executor.cores_per_worker"),
        ({"bundle_cache": "always"}, "executor.bundle_cache"),
        ({"tune": {"no-such-parameter": 1}}, "no-such-parameter"),
        ({"tune": ["x"]}, "executor.tune"),
        ({"ssl": "yes"}, "executor.ssl"),
        ({"password_file": "/no/file"}, "executor.password_file"),
        ({"factory": False, "batch_type": "slurm"}, "executor.batch_type"),
    ],
)
def test_wrong_fields_are_named(stand_in: str, config: Dict[str, Any], said: str) -> None:
    with start(stand_in, **config) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "config"
        assert said in fatal["message"] and fatal["fix"]


def test_without_a_factory_the_port_is_told(stand_in: str) -> None:
    with start(stand_in, factory=False, manager_name="mine") as host:
        (note,) = host.ready()["notes"]
        assert "vine_worker HOST 9123" in note and "-M mine" in note


@pytest.mark.skipif(REAL, reason="ndcctools is installed")
def test_missing_package_is_told_with_the_command() -> None:
    with start(sys.executable) as host:
        fatal = host.frame("fatal")
        assert fatal["kind"] == "missing-package"
        assert "conda install -c conda-forge ndcctools" in fatal["fix"]


class Said:
    """A context that keeps what it is told."""

    def __init__(self, path: Any) -> None:
        self.settings = {
            "protocol": 1,
            "version": "0.1.0",
            "digest": "d",
            "path": str(path / "package"),
            "binary": EXEC,
            "cancel_dir": None,
        }
        self.scratch = str(path)
        self.results: List[Any] = []
        self.lost: List[Any] = []

    def report(self, group: Group, value: Any, executions: int = 1) -> None:
        self.results.append((group.ids, value, executions))

    def failed(self, task: str, failure: Any, executions: int = 1) -> None:
        self.results.append(([task], failure, executions))

    def workers(self, joined: Any, lost: Any) -> None:
        self.lost += lost

    def log(self, level: str, message: str) -> None:
        pass

    def fatal(self, error: Fatal) -> None:
        self.results.append(([], error, 0))


def test_lost_worker_s_tasks_run_again_and_are_counted(tmp_path: Any, monkeypatch: Any) -> None:
    """TaskVine runs them again whatever it is told; the second execution has to be seen."""
    monkeypatch.syspath_prepend(os.path.join(HERE, "fake_ndcctools"))
    monkeypatch.setenv("PYTHONPATH", HERE)  # The stand-in sends the program to the sandbox, away from its modules.
    (tmp_path / "package").write_bytes(b"p")
    said = Said(tmp_path)
    adapter = taskvine.Adapter()
    adapter.start({"workers": 1, "port": 0}, said)  # type: ignore[arg-type]
    try:
        blob = b'{"op": "sleep", "id": "1:0", "seconds": 1}\n'
        adapter.submit(Group([Task("1:0", "1:0", [], blob)]))
        deadline = time.monotonic() + 20
        while not adapter._calls and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        adapter._commands.put(lambda: adapter._manager.lose_worker())
        while not said.results and time.monotonic() < deadline:
            time.sleep(0.01)
        (ids, value, executions) = said.results[0]
        assert isinstance(value, tuple), value
        assert ids == ["1:0"] and value[0] == "done" and value[1][0][1] == "ok"
        assert executions == 2
    finally:
        adapter.stop(5)


@pytest.mark.parametrize(
    ("result", "code", "outcome", "kind"),
    [
        ("forsaken", -1, "worker-lost", "forsaken"),
        ("max retries", 1, "worker-lost", "forsaken"),
        ("signal", 9, "worker-lost", "child-died"),
        ("output missing", 137, "worker-lost", "child-died"),
        ("output missing", 0, "payload-error", "output-missing"),
        ("input missing", -1, "payload-error", "input-missing"),
        ("resource exhaustion", 1, "out-of-memory", "resource-exhaustion"),
        ("cancelled", -1, "cancelled", "cancelled"),
        ("success", 127, "engine-error", "no-binary"),
        ("success", 7, "engine-error", "exit-status"),
        ("missing library", -1, "engine-error", "missing-library"),
        ("max wall time", 1, "engine-error", "max-wall-time"),
    ],
)
def test_results_of_taskvine_in_our_terms(result: str, code: int, outcome: str, kind: str) -> None:
    task = type("T", (), {"result": result, "exit_code": code, "std_output": "said"})()
    failure = taskvine.Adapter()._failure(task)
    assert failure is not None
    assert (failure.outcome, failure.kind) == (outcome, kind)


# ------------------------------------------------------------------------------------------------ the library's pipes


BINARY = os.environ.get("TAPS_WASM_BIN")


def library_command() -> List[Any]:
    """The fake library: its tasks can be written in Python. What the real one shares with it is tested below."""
    return [pytest.param([sys.executable, EXEC, "taskvine-library", "taps-wasm"], id="fake")]


def sandbox_with(path: Any, name: str, operation: str, **more: Any) -> Any:
    import json

    directory = path / name
    directory.mkdir()
    (directory / "package").write_bytes(b"pp")
    settings = {"protocol": 1, "version": "0.1.0", "digest": "d"}
    blob = json.dumps({"op": operation, "id": name, **more}).encode() + b"\nabc"
    (directory / "in").write_bytes(execute.request(settings, Group([Task(name, name, [], blob)]), "package", None))
    return directory


@pytest.mark.parametrize("command", library_command())
def test_library_answers_calls(command: List[str], tmp_path: Any) -> None:
    with LibraryHarness(command, directory=tmp_path / "worker") as library:
        for n in range(5):
            directory = sandbox_with(tmp_path, f"{n}:0", "echo")
            assert library.call("run", directory) == 0
            kind, results = execute.answer((directory / "out").read_bytes())
            assert kind == "done" and results[0][:2] == (f"{n}:0", "ok")
        assert library.stop() == 0


@pytest.mark.parametrize("command", library_command())
def test_library_runs_as_many_calls_as_it_has_slots(command: List[str], tmp_path: Any) -> None:
    with LibraryHarness(command, slots=3, directory=tmp_path / "worker") as library:
        long = library.begin("run", sandbox_with(tmp_path, "1:0", "sleep", seconds=1.5))
        short = [library.begin("run", sandbox_with(tmp_path, f"{n}:0", "echo")) for n in (2, 3)]
        with pytest.raises(ValueError, match="slots"):
            library.begin("run", tmp_path / "none")
        assert {library.finish()[0] for _ in short} == set(short)
        assert library.finish() == (long, 0)


@pytest.mark.parametrize("command", library_command())
def test_library_survives_a_bad_call(command: List[str], tmp_path: Any) -> None:
    with LibraryHarness(command, directory=tmp_path / "worker") as library:
        (tmp_path / "empty").mkdir()
        assert library.call("run", tmp_path / "empty") != 0
        assert library.call("run", sandbox_with(tmp_path, "1:0", "echo")) == 0


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"", "status 3"),
        (b"5\nabcde", "Expecting value"),
        (b"x\n", "starts with its length"),
        (b'52\n{"name": "other", "taskid": 7, "exec_mode":"direct"}', "name = 'other'"),
    ],
)
def test_harness_finds_a_library_that_breaks_the_protocol(message: bytes, said: str, tmp_path: Any) -> None:
    # The fourth argument is the descriptor after --out-pipe-fd, the twelfth the worker's pid.
    script = f"import os, sys, time; m = {message!r}; m or sys.exit(3); os.write(int(sys.argv[4]), m); os.kill(int(sys.argv[12]), 17); time.sleep(9)"
    library = LibraryHarness([sys.executable, "-c", script], directory=tmp_path)
    with pytest.raises((LibraryError, ValueError), match=said):
        library.start(10)
    library.kill()


def test_harness_misses_the_signal(tmp_path: Any) -> None:
    command = [sys.executable, EXEC, "taskvine-library", "taps-wasm"]
    library = LibraryHarness(command, directory=tmp_path, environment={"FAKE_LIBRARY_SILENT": "1"})
    with pytest.raises(LibraryError, match="SIGCHLD"):
        library.start(10)
    library.kill()


@pytest.mark.skipif(BINARY is None, reason="TAPS_WASM_BIN names no taps-wasm")
@pytest.mark.parametrize("slots", [1, 3])
def test_real_library_keeps_the_protocol(slots: int, tmp_path: Any) -> None:
    """Without a package of the host's no task runs, but each call has to be answered, and none may end the library."""
    assert BINARY is not None
    with LibraryHarness(BINARY, name="lib", slots=slots, directory=tmp_path / "worker") as library:
        for round_number in range(2):
            bad = tmp_path / f"bad{round_number}"
            bad.mkdir()
            assert library.call("run", bad) != 0
            (bad / "in").write_bytes(b"\xff" * 100)
            assert library.call("run", bad) != 0
            old = sandbox_with(tmp_path, f"{round_number}:0", "echo")
            assert library.call("run", old) == 0
            kind, reason, message = execute.answer((old / "out").read_bytes())
            # The digest or the version is not what it expects: said in an answer, not by an exit.
            assert kind == "setup-failed" and reason in ("version", "protocol", "no-package", "bundle"), message
        assert library.stop() == 0


@pytest.mark.skipif(BINARY is None, reason="TAPS_WASM_BIN names no taps-wasm")
def test_real_exec_answers_or_fails(tmp_path: Any) -> None:
    assert BINARY is not None
    directory = sandbox_with(tmp_path, "1:0", "echo")
    assert os.spawnl(os.P_WAIT, BINARY, BINARY, "exec", str(directory / "in"), str(directory / "out")) == 0
    assert execute.answer((directory / "out").read_bytes())[0] == "setup-failed"
    (directory / "in").write_bytes(b"")
    os.unlink(directory / "out")
    assert os.spawnl(os.P_WAIT, BINARY, BINARY, "exec", str(directory / "in"), str(directory / "out")) != 0
    assert not (directory / "out").exists()
