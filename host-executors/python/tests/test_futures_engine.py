"""What engines share: references, and the package that calls take along."""

from __future__ import annotations

import concurrent.futures
from typing import Any, Dict, List, Tuple

from taps_wasm._bridge.base import Context, Failure, FuturesEngine, Group, Ready, Submission, Task


class Heard(Context):
    """Keeps what an engine says of its tasks."""

    settings: Dict[str, Any] = {}
    sources = None
    scratch = ""
    keep = False

    def __init__(self) -> None:
        self.ended: Dict[str, Any] = {}
        self.packages = 0

    def done(self, task: str, report: Any, executions: int = 1) -> None:
        self.ended[task] = report

    def failed(self, task: str, failure: Failure, executions: int = 1) -> None:
        self.ended[task] = failure

    def log(self, level: str, message: str) -> None: ...

    def reran(self, tasks: Any) -> None: ...

    def workers(self, joined: Any, lost: Any) -> None: ...

    def fatal(self, error: Any) -> None: ...

    def with_package(self, then: Any) -> None:
        then(b"package")


class Forgetful(FuturesEngine):
    """Loses some of the packages that it is given: calls that take one of those fail."""

    name = "forgetful"
    package_by_reference = True

    def __init__(self, loses: int) -> None:
        super().__init__()
        self.loses = loses
        self.shared: List[str] = []
        self.context = Heard()

    def start(self, config: Any, context: Context) -> Ready:
        raise NotImplementedError

    def stop(self, deadline_s: float) -> None: ...

    def share_package(self, package: Any) -> str:
        self.shared.append("lost" if len(self.shared) < self.loses else "there")
        return self.shared[-1]

    def package_lost(self, handle: Any) -> bool:
        return bool(handle == "lost")

    def launch(self, submission: Submission) -> Tuple[Any, Any]:
        future: Any = concurrent.futures.Future()
        if submission.package is None:
            future.set_result(("need-package",))
        elif submission.package == "lost":
            future.set_exception(RuntimeError("workers died while trying to run it"))
        else:
            future.set_result(("done", [(submission.group.ids[0], "ok", b"report", [])]))
        return future, future


def run(engine: Forgetful, task: str) -> Any:
    engine.submit(Group([Task(task, task, [], b"")]))
    return engine.context.ended[task]  # type: ignore[attr-defined]


def test_a_package_that_the_engine_lost_is_shared_again() -> None:
    engine = Forgetful(loses=2)
    assert run(engine, "1:0") == b"report"
    assert engine.shared == ["lost", "lost", "there"]
    assert run(engine, "2:0") == b"report"
    assert len(engine.shared) == 3, "that one stays"


def test_an_engine_that_never_keeps_the_package_is_told_of() -> None:
    failure = run(Forgetful(loses=100), "1:0")
    assert (failure.outcome, failure.kind) == ("engine-error", "package")
