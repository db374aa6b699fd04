"""Runs of very many tasks, and of very small ones."""

import functools
import itertools
import json
import os
import statistics
import subprocess
import sys

from .shared import PROGRAM, by_turns, run, show, slots

PART = 100_000


def watched(*args):
    """Runs the program; gives its summary, what it used of the machine, and when each attempt was known, in ns."""
    command = [PROGRAM, "run", *map(str, args), "--run-dir", "watched", "--json", "--quiet"]
    subprocess.run(["rm", "-rf", "watched"], check=True)
    with open("summary.json", "w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(" ".join(map(str, command)))
        out.seek(0)
        summary = json.load(out)
    with open("watched/tasks.jsonl") as lines:
        known = sorted(json.loads(line)["monotonic_received_ns"] for line in lines)
    subprocess.run(["rm", "-rf", "watched"], check=True)
    return summary, usage, known


def million():
    """A million no-op tasks through one coordinator, records on: by parts of 100,000."""
    for executor in ("thread-pool", "process-pool"):
        _, usage, known = watched("synthetic", "--app.structure", "bag", "--app.task-count", 10 * PART,
                                  "--app.bag-max-running", 1000, *slots(executor, 2))
        rates = [1e9 * PART / (known[at + PART - 1] - known[at]) for at in range(0, len(known), PART)]
        whole = 1e9 * len(known) / (known[-1] - known[0])
        show(f"1,000,000 no-op tasks, {executor}", f"{whole:.0f}", f"{0.9 * rates[0]:.0f}",
             "0.9 times the first 100,000", "tasks/s")
        show("  slowest and fastest 100,000", f"{min(rates):.0f}", f"{max(rates):.0f}", "", "tasks/s")
        show("  peak resident memory", f"{usage.ru_maxrss / 1000:.0f}", "500", "limit", "MB")
        # Of this process and those that it waited for.
        show("  CPU of a task", f"{1e6 * (usage.ru_utime + usage.ru_stime) / len(known):.1f}", "", "", "us CPU")


def dag():
    """100,000 tasks, each of which takes the outputs of some of the step before."""
    for executor in ("thread-pool", "process-pool"):
        summary, usage, known = watched("synthetic", "--app.structure", "random", "--app.width", 100,
                                        "--app.steps", 1000, "--app.kernel", "empty", *slots(executor, 2))
        assert summary["tasks"]["succeeded"] >= PART, summary["tasks"]
        rate = 1e9 * len(known) / (known[-1] - known[0])
        show(f"random graph of 100,000 tasks, {executor}", f"{rate:.0f}", "", "", "tasks/s")
        show("  peak resident memory", f"{usage.ru_maxrss / 1000:.0f}", "500", "limit", "MB")


def small():
    """Tasks of 200 us that compute: how much faster two workers are than one, and what the machine makes of plain
    functions. By turns, and medians of the rounds' ratios: what two virtual CPUs give changes from second to second."""
    sandboxed, plain = (statistics.median(calibrated(executor) for _ in range(3)) for executor in ("thread-pool", "native"))
    iterations = {"thread-pool": sandboxed, "process-pool": sandboxed, "native": plain}
    cases = list(itertools.product(iterations, (1, 2)))
    runs = by_turns(11, *(functools.partial(computing, executor, workers, iterations[executor]) for executor, workers in cases))
    rates = {case: [run["tasks_per_s"] for run in of_case] for case, of_case in zip(cases, runs)}
    for executor in iterations:
        one, two = rates[executor, 1], rates[executor, 2]
        ratios = sorted(after / before for before, after in zip(one, two))
        show(f"tasks of 200 us on {executor}", f"{statistics.median(two):.0f}", f"{statistics.median(one):.0f}", "one worker", "tasks/s")
        show("  two workers over one", f"{statistics.median(ratios):.2f}", "1.9", f"least; {ratios[0]:.2f} to {ratios[-1]:.2f}", "ratio")


def computing(executor, workers, iterations, tasks=20_000):
    return run(*computing_flags(executor, workers, iterations, tasks))


def computing_flags(executor, workers, iterations, tasks):
    return ("synthetic", "--app.structure", "bag", "--app.task-count", tasks, "--app.bag-max-running", 100,
            "--app.kernel", "compute", "--app.kernel-iterations", iterations, *slots(executor, workers))


def calibrated(executor):
    """Iterations of the kernel that take one worker 200 us more than none; without a sandbox they are faster."""
    few, many = 10, 2010
    seconds = [1 / computing(executor, 1, count, 5_000)["tasks_per_s"] for count in (few, many)]
    return max(1, round(200e-6 * (many - few) / (seconds[1] - seconds[0])))
