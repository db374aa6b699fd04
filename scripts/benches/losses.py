"""What breaks, and how fast it goes on."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .shared import PROGRAM, by_turns, run, show, slots, summary_of


def recovery():
    """Kills every task's first attempt, one after the other, and reads from the records when what came back."""
    for fault, limit in ("worker-killed", "10"), ("manager-killed", ""), ("node-killed", ""):
        joined, again = kills(fault, 50)
        against = f"limit; {spread(again)}" if limit else spread(again)
        show(f"{fault}: its task runs again", f"{statistics.median(again):.2f}", limit, against, "ms")
        show("  replacement has joined", f"{statistics.median(joined):.2f}", "", spread(joined), "ms")


def kills(fault, count):
    """Times in ms from when an attempt was sent, which kills right away, to when the next one was, which its worker
    waited for, and to when that worker had it. With one worker nobody else could run it."""
    summary = run("synthetic", "--app.structure", "sequential", "--app.task-count", count,
                  "--faults", fault, "--faults.tasks", "noop", "--faults.budget", count, "--faults.attempts", 0,
                  "--retries", 1, *slots("process-pool", 1))
    lines = [json.loads(line) for line in open(Path(summary["run_dir"]) / "tasks.jsonl")]
    killed = {line["task_id"]: line for line in lines if line["outcome"] == "worker-lost"}
    ended = [line for line in lines if line["final"] and line["task_id"] in killed]
    if len(ended) != count or not all(line["success"] for line in ended):
        sys.exit(f"{fault}: {len(ended)} of {count} tasks were killed and ran again")

    def since(line, field):
        return (line[field] - killed[line["task_id"]]["monotonic_dispatch_ns"]) / 1e6
    return ([since(line, "monotonic_dispatch_ns") for line in ended],
            [since(line, "monotonic_execution_start_ns") for line in ended])


def spread(times):
    times = sorted(times)
    return f"{len(times)} kills: {times[0]:.2f} to {times[-1]:.2f}, 9 of 10 below {times[len(times) * 9 // 10]:.2f}"


COUNTED = ("mapreduce", "--app.generate", "true", "--app.generated-files", 64, "--app.generated-words", 100_000,
           "--app.map-tasks", 64)
FACTORISED = ("cholesky", "--app.matrix-size", 4000, "--app.block-size", 250)


def faults():
    """mapreduce, one in ten tries of all its tasks killed with its worker, against the same without faults."""
    broken = ("--faults", "worker-killed", "--faults.rate", 0.1, "--retries", 3)
    clean, hit = by_turns(5, lambda: run(*COUNTED, *slots("process-pool", 2)),
                          lambda: run(*COUNTED, *slots("process-pool", 2), *broken))
    counts = {json.dumps([summary["values"], summary["checks"]]) for summary in clean + hit}
    if len(counts) != 1:
        sys.exit(f"faults: runs differ in what they counted: {counts}")
    ours, bound = (statistics.median(summary["app_elapsed_s"] for summary in runs) for runs in (hit, clean))
    acted = hit[0]["faults"]["acted"]
    tasks = hit[0]["tasks"]["submitted"]
    show(f"mapreduce, {acted} kills in {tasks} tasks", f"{ours:.3f}", f"{bound:.3f}", "the same without faults", "s")
    show("", f"{ours / bound:.2f}", "2", "limit", "ratio")


def resume():
    """A run that is killed when half of its time is over, and goes on."""
    for app in COUNTED, FACTORISED:
        durable = (*app, *slots("process-pool", 2), "--durable", "all")
        plain, clean = by_turns(5, lambda: run(*app, *slots("process-pool", 2)), lambda: run(*durable))
        half = statistics.median(summary["elapsed_s"] for summary in clean) / 2
        lives = [second_life(durable, half) for _ in range(5)]
        results = {json.dumps(summary["checks"]) for summary in clean + lives} if app is COUNTED else {""}
        if len(results) != 1 or not all(life["ok"] for life in lives):
            sys.exit(f"resume: {app[0]} gave something else after it was resumed: {results}")
        plain, whole, rest = (statistics.median(summary["elapsed_s"] for summary in runs)
                              for runs in (plain, clean, lives))
        show(f"{app[0]}, killed half-way and resumed", f"{rest:.3f}", f"{whole:.3f}", "the whole run", "s")
        show("", f"{rest / whole:.2f}", "0.60", "limit", "ratio")
        show("  with --durable all", f"{whole:.3f}", f"{plain:.3f}", "without", "s")


def second_life(durable, seconds):
    """Kills a run after that time, resumes it, and gives the summary of what was left to do."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        run_dir = Path(directory) / "run"
        first = [PROGRAM, "run", *map(str, durable), "--run.dir-format", run_dir, "--quiet"]
        with subprocess.Popen(first, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            time.sleep(seconds)
            running.kill()
        if running.returncode != -9:
            sys.exit(f"{' '.join(map(str, first))}: ended before it was killed")
        return summary_of("resume", run_dir)
