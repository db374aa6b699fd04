"""Threads of the bridge's own process: an engine without an engine.

It needs no package, so it shows the bridge's own cost, and it is the smallest
example of an adapter.
"""

from __future__ import annotations

import concurrent.futures
import os
import platform
import threading
from typing import Any, List, Mapping, Sequence, Tuple

from .base import Buffer, Context, FuturesEngine, Ready, ResultLost, Submission
from .demands import Share, memory_here, refuse_custom


class Adapter(FuturesEngine):
    """``threads``: ``workers`` threads, each with a child of its own."""

    name = "threads"

    def start(self, config: Mapping[str, Any], context: Context) -> Ready:
        """Never fails: there is nothing to connect to."""
        self.context = context
        workers = int(config.get("workers") or os.cpu_count() or 1)
        self._threads = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._call = context.sources.call()
        self._shim = context.sources.module()
        return Ready(platform.python_version(), workers, cancels_running=True, keeps_results=True)

    def launch(self, submission: Submission) -> Tuple[Any, Any]:
        """Runs when all results that it reads are there: a thread must not wait for another."""
        if not submission.group.is_usual:
            refuse_custom(self.name, submission.group, "use another executor")
            Share(1.0, memory_here(), "one thread", "this machine's memory").check(self.name, submission.group)
        result: "concurrent.futures.Future[Any]" = concurrent.futures.Future()
        upstream = [value for value in submission.values if isinstance(value, concurrent.futures.Future)]
        left = [len(upstream) + 1]
        lock = threading.Lock()

        def arrived(_: Any) -> None:
            with lock:
                left[0] -= 1
                if left[0]:
                    return
            self._threads.submit(self._run, submission, list(submission.values), result)

        for future in upstream:
            future.add_done_callback(arrived)
        arrived(None)
        return result, result

    def _run(self, submission: Submission, handles: List[Any], result: "concurrent.futures.Future[Any]") -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            values = [handle.result() if isinstance(handle, concurrent.futures.Future) else handle for handle in handles]
            settings = self.context.settings
            result.set_result(self._call(settings, submission.header, submission.package, submission.attempts, *values))
        except BaseException as error:  # noqa: BLE001 - it is the future's
            result.set_exception(error)

    def load(self, handle: Any, index: int) -> Buffer:
        """The output itself: it is in this process."""
        value = handle.result() if isinstance(handle, concurrent.futures.Future) else ("data", "ok", [handle])
        data = self._shim.pick(value, index)
        if data is None:
            raise ResultLost("its task did not end well")
        return data

    def interrupt(self, submission: Submission, ids: Sequence[str], whole: bool) -> None:
        """A queued call ends at its start, a running one by its child."""
        self._shim.cancel(self.context.settings["run"], ids)

    def stop(self, deadline_s: float) -> None:
        """Stops what runs and ends the children."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._shim.pool().close()
