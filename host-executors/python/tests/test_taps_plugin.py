"""The executor for TaPS: with TaPS itself where it is installed, else with what stands for it here.

TaPS is not on PyPI. ``taps_stub.py`` has the parts that an executor meets, with TaPS's names and behaviour:
the registry, the task wrapper, the result with its times, the transformer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import fake_app
import pytest

import taps_wasm


@pytest.fixture
def plugin(monkeypatch):
    """The plugin, imported where TaPS, or its stand-in, can be."""
    if importlib.util.find_spec("taps") is None or importlib.util.find_spec("taps.plugins") is None:
        import taps_stub

        for name, module in taps_stub.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "taps_wasm.taps_plugin", raising=False)
    yield importlib.import_module("taps_wasm.taps_plugin")
    sys.modules.pop("taps_wasm.taps_plugin", None)


@pytest.fixture
def executor(plugin, tmp_path):
    """The executor, made as TaPS makes it: from the registered configuration."""
    from taps.plugins import get_executor_configs

    config = get_executor_configs()["taps-wasm"](bundle="fake", workers=2, binary=fake_app.install(tmp_path))
    with config.get_executor() as executor:
        yield executor


class Boxes:
    """A transformer that puts text into boxes, and counts."""

    def __init__(self):
        self.resolved = 0

    def transform(self, value):
        return ("box", value)

    def is_identifier(self, value):
        return isinstance(value, tuple) and value[:1] == ("box",)

    def resolve(self, value):
        self.resolved += 1
        return value[1]

    def close(self):
        pass


def engine_submit(executor, transformer, function, *args):
    """What TaPS's engine does with a submission, without its records."""
    from taps.engine.task import task
    from taps.engine.transform import TaskTransformer

    around = TaskTransformer(transformer, None)
    args = around.transform_iterable(args)
    return executor.submit(task(function), *args, _transformer=around), around


def test_a_task_runs_through_the_engine(executor):
    first, around = engine_submit(executor, None, taps_wasm.Task("add"), 1, 2)
    second, _ = engine_submit(executor, None, taps_wasm.Task("add"), first, 10)
    result = second.result(30)
    assert around.resolve(result.value) == 13
    info = result.info
    assert info.execution_start_time <= info.task_start_time < info.task_end_time <= info.execution_end_time
    assert info.hostname == "here"


def test_values_take_the_way_of_the_transformer(executor):
    boxes = Boxes()
    first, _ = engine_submit(executor, boxes, taps_wasm.Task("add"), 1, 2)
    assert boxes.resolved == 2
    second, around = engine_submit(executor, boxes, taps_wasm.Task("add"), first, 10)
    result = second.result(30)
    assert boxes.resolved == 4
    assert result.value == ("box", 13) and around.resolve(result.value) == 13


def test_a_failing_task_fails_for_the_engine(executor):
    future, _ = engine_submit(executor, None, taps_wasm.Task("fail"), b"trap", b"unreachable")
    with pytest.raises(taps_wasm.Trap):
        future.result(30)


def test_python_functions_are_refused_by_name(executor):
    def simulate():
        """Would run outside of a sandbox."""

    with pytest.raises(TypeError, match="not the Python function `simulate`.*taps_wasm.Task"):
        engine_submit(executor, None, simulate)
    with pytest.raises(TypeError, match="by keyword: b"):
        executor.submit(taps_wasm.Task("add"), 1, b=2)


def test_tasks_run_without_the_engine_and_in_a_map(executor):
    assert executor.submit(taps_wasm.Task("add"), 1, 2).result(30) == 3
    assert list(executor.map(taps_wasm.Task("add"), [1, 2], [3, 4])) == [4, 6]


def test_the_plugin_can_be_imported_without_taps(monkeypatch):
    for name in ("taps", "taps.engine.task", "taps.executor", "taps.plugins"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "taps_wasm.taps_plugin", raising=False)
    assert importlib.import_module("taps_wasm.taps_plugin").TapsWasmConfig is None
    del sys.modules["taps_wasm.taps_plugin"]


def test_the_engine_of_taps_itself_runs_tasks(plugin, tmp_path):
    engine = sys.modules.get("taps.engine")
    if not hasattr(engine, "Engine"):
        pytest.skip("TaPS is not installed")
    config = plugin.TapsWasmConfig(bundle="fake", workers=2, binary=fake_app.install(tmp_path))
    add = taps_wasm.Task("add")
    with engine.Engine(config.get_executor()) as running:
        first = running.submit(add, 1, 2)
        second = running.submit(add, first, first)
        assert second.result() == 6
        assert list(running.map(add, [1, 2], [3, 4])) == [4, 6]
        assert second.info.parent_task_ids == [first.info.task_id] * 2
        assert second.info.name == "add"
