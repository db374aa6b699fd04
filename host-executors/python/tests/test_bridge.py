"""The bridge's own conduct: bad input, endings, and what it says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from harness import HERE, PYTHON_DIR, Host, needs


def fatal(*arguments: object, **options: object) -> dict:
    """The bridge's ``fatal`` frame; it must end by itself after it."""
    with Host(*arguments, **options) as host:  # type: ignore[arg-type]
        frame = host.frame("fatal")
        host.wait_end(20)
        assert host.process.returncode == 3
        assert frame["message"] and frame["fix"]
        return frame


@pytest.mark.parametrize("engine,package", [("dask", "distributed"), ("ray", "ray"), ("parsl-local", "parsl"), ("parsl-htex", "parsl")])
def test_a_missing_package_is_named_with_the_command(engine: str, package: str) -> None:
    python = "/usr/bin/python3"
    if not os.path.exists(python) or subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode == 0:
        pytest.skip("needs a Python without the package")
    said = fatal(engine, python=python)
    assert said["kind"] == "missing-package"
    assert repr(engine) in said["message"] and python in said["message"]
    assert f'-m pip install "{package}"' in said["fix"] and "executor.python" in said["fix"]


def test_an_unknown_engine_is_a_config_error() -> None:
    said = fatal("spark")
    assert said["kind"] == "config" and "'spark'" in said["message"] and "dask" in said["fix"]


@needs("distributed")
def test_dask_without_a_scheduler_is_unreachable() -> None:
    began = time.monotonic()
    said = fatal("dask", {"scheduler": "tcp://127.0.0.1:9"})
    assert said["kind"] == "unreachable"
    assert "executor.scheduler" in said["message"] and "tcp://127.0.0.1:9" in said["message"]
    assert time.monotonic() - began < 25


@needs("distributed")
def test_dask_with_half_of_tls_is_a_config_error() -> None:
    said = fatal("dask", {"scheduler": "tls://127.0.0.1:9", "tls_ca_file": "/no/ca.pem"})
    assert said["kind"] == "config" and "tls_cert" in said["message"]


@needs("ray")
def test_ray_without_a_cluster_is_unreachable() -> None:
    said = fatal("ray", {"address": "127.0.0.1:9"})
    assert said["kind"] == "unreachable"
    assert "executor.address" in said["message"] and "127.0.0.1:9" in said["message"]


@needs("ray")
def test_ray_fields_of_a_local_cluster_are_refused_with_an_address() -> None:
    said = fatal("ray", {"address": "127.0.0.1:9", "num_cpus": 2})
    assert said["kind"] == "config" and "executor.num_cpus" in said["message"]


@needs("parsl")
@pytest.mark.parametrize(
    "htex,names",
    [
        ({"max_workers": "many", "no_such_field": 1}, "executor.htex"),
        ({"provider": {"kind": "CloudProvider"}}, "CloudProvider"),
        ({"provider": {"kind": "LocalProvider", "walltimes": 1}}, "walltimes"),
        ({"provider": {"kind": "LocalProvider", "launcher": "NoLauncher"}}, "NoLauncher"),
    ],
)
def test_parsl_fields_that_it_does_not_take_are_named(htex: dict, names: str) -> None:
    said = fatal("parsl-htex", {"htex": htex})
    assert said["kind"] == "config" and names in said["message"]


def test_a_worker_without_the_binary_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the environment's Python: beside it, and so found, is the program of an installed wheel.
    python = os.path.realpath(sys.executable)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with Host("threads", {"workers": 1}, binary="/no/such/taps-wasm", python=python) as host:
        host.ready()
        host.one("1:0", "echo")
        failed = host.result("1:0")["failed"]
        assert (failed["outcome"], failed["kind"]) == ("engine-error", "no-binary")
        for part in ("/no/such/taps-wasm", "executor.worker_binary", "TAPS_WASM_BIN", socket.gethostname()):
            assert part in failed["message"]


def test_a_worker_of_another_version_says_so() -> None:
    with Host("threads", {"workers": 1}, version="9.9.9") as host:
        host.ready()
        host.one("1:0", "echo")
        failed = host.result("1:0")["failed"]
        assert (failed["outcome"], failed["kind"]) == ("engine-error", "version") and "9.9.9" in failed["message"]


def test_a_package_that_workers_see_is_not_sent() -> None:
    with Host("threads", {"workers": 1}, visible=True) as host:
        host.ready()
        host.one("1:0", "echo")
        assert host.result("1:0")["report"]["package"] == len(host.package)
        assert host.asked_for_package == 0


def test_a_wrong_frame_ends_the_bridge() -> None:
    with Host("threads", {"workers": 1}) as host:
        host.ready()
        host.channel.socket.sendall(b"\xff" * 64)
        said = host.frame("fatal")
        assert "header of 4294967295 bytes" in said["message"]
        host.wait_end(10)


def test_results_that_wait_share_frames() -> None:
    with Host("threads", {"workers": 1}) as host:
        host.ready()
        host.submit([(f"{n}:0", "echo", {}) for n in range(3000)])
        host.wait(lambda: len(host.results) == 3000, "3000 results")
        assert host.done_frames < 100


def test_started_by_hand_it_explains_itself() -> None:
    done = subprocess.run([sys.executable, os.path.join(PYTHON_DIR, "main.py")], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    assert done.returncode == 2 and b"taps-wasm starts it" in done.stderr


def test_importing_the_entry_does_nothing() -> None:
    program = f"import sys; sys.path.insert(0, {PYTHON_DIR!r}); import main; print('fine')"
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    assert done.stdout == b"fine\n" and done.returncode == 0


def test_children_end_when_the_bridge_is_killed() -> None:
    with Host("threads", {"workers": 1}) as host:
        host.ready()
        host.one("1:0", "echo")
        child = host.result("1:0")["report"]["pid"]
        host.process.send_signal(signal.SIGKILL)
        host.process.wait()
        end = time.monotonic() + 10
        while host.descendants() and time.monotonic() < end:
            time.sleep(0.05)
        assert child not in host.descendants()


def test_the_fake_worker_is_executable() -> None:
    assert os.access(os.path.join(HERE, "fake_worker.py"), os.X_OK)
