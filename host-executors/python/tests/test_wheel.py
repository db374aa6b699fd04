"""The wheel, where it is installed: `scripts/python-tests` installs it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import taps_wasm

try:
    DISTRIBUTION = metadata.distribution("taps-wasm")
except metadata.PackageNotFoundError:
    pytest.skip("the wheel is not installed", allow_module_level=True)


@pytest.fixture(autouse=True)
def _no_other_program(monkeypatch):
    monkeypatch.delenv("TAPS_WASM_BIN", raising=False)


def test_the_package_under_test_is_the_installed_one():
    assert Path(taps_wasm.__file__).is_relative_to(Path(sys.prefix))


def test_the_program_lies_beside_the_interpreter_and_has_the_version_of_the_package():
    program = taps_wasm.binary()
    assert Path(program).parent == Path(sys.executable).parent
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == ["taps-wasm", DISTRIBUTION.version]


def test_the_wheel_is_for_any_python_and_holds_only_the_package():
    tags = [line for line in (DISTRIBUTION.read_text("WHEEL") or "").splitlines() if line.startswith("Tag:")]
    assert tags and all(tag.startswith("Tag: py3-none-") for tag in tags)
    names = [str(file) for file in DISTRIBUTION.files or []]
    assert "taps_wasm/py.typed" in names
    assert not [name for name in names if "test" in name]


def test_the_tasks_of_a_built_in_app_are_known():
    described = {task.name: task for task in taps_wasm.tasks("mapreduce")}
    assert described["generate_task"].parameters == (("seed", "u64"), ("words", "u32"))
    assert described["reduce_task"].takes_rest
