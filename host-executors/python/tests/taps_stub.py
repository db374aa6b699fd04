"""Stands for TaPS where it is not installed: the parts of it that an executor meets."""

from __future__ import annotations

import functools
import types

#: Registered configurations of executors, by name.
EXECUTORS = {}


class Record:
    """What takes its fields by keyword, with the defaults of its class: a data class, or a pydantic model."""

    def __init__(self, **fields):
        known = {name: field for kind in type(self).__mro__ for name, field in vars(kind).items()}
        required = [name for name, field in known.items() if isinstance(field, Field) and field.required]
        missing = set(required) - set(fields)
        unknown = set(fields) - set(known) - set(getattr(type(self), "names", ()))
        if missing or unknown:
            raise ValueError(f"missing: {missing}, unknown: {unknown}")
        for name, field in known.items():
            if isinstance(field, Field):
                setattr(self, name, fields.get(name, field.default))
        vars(self).update(fields)


class Field:
    """A field of a configuration."""

    def __init__(self, default=..., *, description):
        self.default = default
        self.required = default is ...
        assert description


class ExecutionInfo(Record):
    """Times of an execution."""

    names = (
        "hostname",
        "execution_start_time",
        "execution_end_time",
        "task_start_time",
        "task_end_time",
        "input_transform_start_time",
        "input_transform_end_time",
        "result_transform_start_time",
        "result_transform_end_time",
    )

    def __init__(self, **fields):
        assert set(fields) == set(self.names), fields
        super().__init__(**fields)


class TaskResult:
    """A value with the times of its making."""

    def __init__(self, value, info):
        self.value = value
        self.info = info


class TaskTransformer:
    """A transformer, or none, behind one face."""

    def __init__(self, transformer=None, filter_=None):
        self.transformer = transformer

    def transform(self, value):
        return value if self.transformer is None else self.transformer.transform(value)

    def transform_iterable(self, values):
        return tuple(value if hasattr(value, "add_done_callback") else self.transform(value) for value in values)

    def resolve(self, value):
        if self.transformer is not None and self.transformer.is_identifier(value):
            return self.transformer.resolve(value)
        return value


def task(function):
    """Wraps a function as the engine submits it."""
    wrapped = functools.partial(function)
    wrapped.__dict__["name"] = function.__name__
    wrapped.__dict__["__wrapped__"] = function
    return wrapped


def register(kind):
    """Registers a configuration under its name."""
    assert kind == "executor"

    def decorate(config):
        EXECUTORS[config.name.default] = config
        return config

    return decorate


def modules():
    """The modules, as they would be imported."""
    contents = {
        "taps": {},
        "taps.engine": {},
        "taps.engine.task": {"ExecutionInfo": ExecutionInfo, "TaskResult": TaskResult, "task": task},
        "taps.engine.transform": {"TaskTransformer": TaskTransformer},
        "taps.executor": {"ExecutorConfig": Record},
        "taps.plugins": {"register": register, "get_executor_configs": lambda: dict(EXECUTORS)},
        "pydantic": {"Field": Field},
    }
    made = {}
    for name, inside in contents.items():
        made[name] = types.ModuleType(name)
        vars(made[name]).update(inside)
    return made
