"""Tasks that do nothing, payloads, the event log."""

import json
import statistics
import subprocess
import sys

from .shared import (BOUNDS, EVENT_LOG, PEERS, PROGRAM, numpy_python, output, run, show, slots, timed)


def bag(tasks, outstanding, executor="thread-pool"):
    return run("synthetic", "--app.structure", "bag", "--app.task-count", tasks,
               "--app.bag-max-running", outstanding, *slots(executor, 2))


def best_rate(tasks, outstanding, executor="thread-pool", times=3):
    return max(bag(tasks, outstanding, executor)["tasks_per_s"] for _ in range(times))


def life():
    """CPU of the whole life of a no-op task in a fresh std sandbox."""
    ours, bare = (min(float(output(BOUNDS, what)[0]) for _ in range(3)) for what in ("worker", "bare"))
    show("no-op task, fresh sandbox, whole life", f"{ours:.2f}", f"{bare:.2f}", "bare wasmtime loop", "us CPU")


def throughput():
    ours = best_rate(100_000, 1000)
    pool = float(output(sys.executable, PEERS / "process_pool.py", "100000", "1000", "2")[0])
    native = best_rate(100_000, 1000, "native")
    processes = best_rate(100_000, 1000, "process-pool")
    show("100,000 no-op tasks, 1,000 outstanding", f"{ours:.0f}", f"{pool:.0f}", "ProcessPoolExecutor", "tasks/s")
    show("", "", f"{native:.0f}", "executor native", "tasks/s")
    show("the same on process-pool", f"{processes:.0f}", f"{pool:.0f}", "ProcessPoolExecutor", "tasks/s")


def closed():
    ours = best_rate(100_000, 2)
    pool = float(output(sys.executable, PEERS / "process_pool.py", "20000", "2", "2")[0])
    tokio = max(float(output(BOUNDS, "tokio")[0]) for _ in range(3))
    show("no-op tasks, 2 outstanding", f"{ours:.0f}", f"{pool:.0f}", "ProcessPoolExecutor", "tasks/s")
    show("", "", f"{tokio:.0f}", "tokio tasks, a wake-up each", "tasks/s")
    processes = best_rate(100_000, 2, "process-pool")
    pipes = max(float(output(BOUNDS, "pipes")[0]) for _ in range(3))
    show("the same on process-pool", f"{processes:.0f}", f"{pipes:.0f}", "pipes to two processes and back", "tasks/s")


def startup():
    args = [PROGRAM, "run", "synthetic", "--app.structure", "sequential", "--app.task-count", "1", "--quiet"]
    subprocess.run(args, check=True, capture_output=True)
    best = min(timed(args) for _ in range(20))
    show("run synthetic of one task, warm cache", f"{1000 * best:.1f}", "30", "limit", "ms, exec to exit")


def mapped():
    """CPU of the whole life of a task that takes a payload from shared memory and leaves it alone."""
    bare = min(float(output(BOUNDS, "bare")[0]) for _ in range(3))
    for megabytes in (1, 10, 100):
        ours = min(float(output(BOUNDS, "mapped", str(megabytes * 1_000_000))[0]) for _ in range(3))
        show(f"input of {megabytes} MB, not touched, fresh sandbox", f"{ours:.2f}", f"{bare:.2f}",
             "bare wasmtime loop", "us CPU")


def data():
    """A chain of tasks that take and give 10 MB, every byte read and written."""
    python = [numpy_python(), PEERS / "payloads.py", "10000000", "20"]
    copies, pool = map(float, output(*python))
    for executor in ("thread-pool", "process-pool"):
        table = output(PROGRAM, "bench", "data", "--sizes", "10MB", "--ways", "mapped", "--executors", executor,
                       "--repeat", "5", "--json")
        trip = json.loads(" ".join(table))["rows"][0]["round_trip_us"]["least"] / 1000
        show(f"10 MB in and out, {executor}", f"{trip:.2f}", f"{copies:.2f}", "two plain copies", "ms")
    show("", "", f"{pool:.2f}", "ProcessPoolExecutor", "ms")
    chain = run("synthetic", "--app.structure", "sequential", "--app.task-count", 100,
                "--app.task-data-bytes", 10_000_000, *slots("process-pool", 2))
    moved = chain["data"]["sent_bytes"] + chain["data"]["received_bytes"]
    payloads = sum(way["bytes"] for way in chain["data"]["inputs"])
    show("chain of 100 tasks with 10 MB, through sockets", f"{moved}", f"{payloads}", "bytes of payloads", "bytes")


def event_log():
    """Pairs of runs, one with the event log and one with a log that keeps nothing."""
    figures = list(map(float, output(EVENT_LOG, "100000", "30")))
    on, off, on_us, off_us = (figures[column::4] for column in range(4))
    slower = statistics.median(100 * (1 - on / off) for on, off in zip(on, off))
    show("100,000 no-op tasks, event log on", f"{statistics.median(on):.0f}", f"{statistics.median(off):.0f}",
         "the same without a log", "tasks/s")
    show("  slower with the log, median of 30 pairs", f"{slower:.1f}", "10", "limit", "%")
    show("  CPU of a task", f"{statistics.median(on_us):.2f}", f"{statistics.median(off_us):.2f}",
         "the same without a log", "us CPU")
