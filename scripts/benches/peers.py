"""The same workloads on Python's ProcessPoolExecutor, Dask, Ray and Parsl alone, and on ours: side by side."""

import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys

from .engines import ENGINES, alone_on, chain, engines_python, executor, first_result, graph_seconds, no_ops
from .shared import ONE_THREAD_EACH, PROGRAM, missing, slots

WORKERS = 2
# Two-sided 95 % quantiles of Student's t, by degrees of freedom from 1.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)

COLUMNS = (
    # Name, heading, digits after the point.
    ("first", "start to first result, s", 2),
    ("rate", "no-ops/s one by one", 0),
    ("batched", "no-ops/s in batches", 0),
    ("latency", "round trip, ms: median", 3),
    ("latency_p99", "99 %", 3),
    ("chain", "1 MB, ms a link", 2),
)


def size(name, default):
    """A size of the workloads, which may be changed to try them out."""
    return int(os.environ.get(f"TAPS_BENCH_{name.upper()}", default))


def peers():
    """Rounds over all systems, by turns; each starts anew in each round, has run tasks before it is timed, and does
    its workloads one after the other. Means of the rounds, with 95 % confidence intervals."""
    os.environ.update(ONE_THREAD_EACH)
    tasks, links, rounds = size("tasks", 2000), size("links", 100), size("rounds", 5)
    systems = dict(all_systems(tasks, links))
    found = {name: [] for name in systems}
    for round_ in range(rounds):
        for name, measure in systems.items():
            if sys.stderr.isatty():
                print(f"\r\033[Kround {round_ + 1} of {rounds}: {name}", end="", file=sys.stderr, flush=True)
            found[name].append(measure())
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(f"{WORKERS} worker slots each, one thread of BLAS each, {tasks} no-ops, {links} links, {rounds} rounds by turns")
    lines = [["", *(heading for _, heading, _ in COLUMNS)]]
    for name, measured in found.items():
        cells = [interval([each[column] for each in measured if column in each], digits) for column, _, digits in COLUMNS]
        lines.append([f"{name} {measured[0].get('version', '')}".strip(), *cells])
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths)).rstrip(), flush=True)
    for name, measured in found.items():
        for column, _, digits in COLUMNS:
            note = outliers([each[column] for each in measured if column in each], digits)
            if note:
                print(f"{name}, {column}: {note}")


def all_systems(tasks, links):
    """Names, and what measures each once."""
    python, reason = engines_python()
    yield "ProcessPoolExecutor", lambda: peer(python or sys.executable, "process-pool", tasks, links)
    for name in "thread-pool", "process-pool":
        yield f"taps-wasm, {name}", lambda name=name: ours(tasks, links, name, slots(name, WORKERS))
    for name, (package, options, _, data) in ENGINES.items():
        if python is None or not imports(python, package):
            missing(name, reason or f"{python} cannot import {package}")
            continue
        yield name, lambda name=name: peer(python, name, tasks, links)
        chosen = executor(name, python, *options)
        yield (f"taps-wasm, {name}",
               lambda name=name, chosen=chosen, data=data: ours(tasks, links, name, chosen, data, python))


def imports(python, package):
    if str(python) == sys.executable:
        return importlib.util.find_spec(package) is not None
    return subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode == 0


def peer(python, name, tasks, links):
    """A peer alone."""
    told = alone_on(python, name, "first", "rate", "latency", "chain", workers=WORKERS, tasks=tasks, links=links)
    trips = sorted(told["latency"])
    return {"first": told["first"][0], "rate": told["rate"][0], "chain": told["chain"][0], "version": told["version"],
            "latency": statistics.median(trips), "latency_p99": trips[math.ceil(0.99 * len(trips)) - 1]}


def ours(tasks, links, name, chosen, data=None, python=None):
    """This program, with an executor of its own or through an engine."""
    through = data is not None
    singly = ("--executor.batch-max", 1) if through else ()
    found = {
        "first": first_result(chosen),
        "rate": tasks / graph_seconds(no_ops(tasks, *chosen, *singly)),
        "chain": 1000 / links * graph_seconds(chain(links, *chosen, *(("--executor.data", data) if through else ()))),
    }
    if through:
        found["batched"] = tasks / graph_seconds(no_ops(tasks, *chosen))
    # Single trips, which the bench reads from the records.
    command = [PROGRAM, "bench", "latency", "--executors", name, "--workers", WORKERS, "--tasks", max(2, tasks // 10),
               "--repeat", 1, "--warm-up", 0, "--json", *(("--python", python) if through else ())]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    row = json.loads(done.stdout)["rows"][0]
    return found | {"latency": row["p50_us"]["mean"] / 1000, "latency_p99": row["p99_us"]["mean"] / 1000}


def interval(values, digits):
    """A mean and half of its interval, as text."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    student = STUDENT[min(len(values) - 1, len(STUDENT)) - 1]
    half = student * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean} ± {half:.{digits}f}"


def outliers(values, digits):
    """Values outside of Tukey's fences, as text: they count, and are named."""
    if len(values) < 4:
        return ""
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    low, high = lower - 1.5 * (upper - lower), upper + 1.5 * (upper - lower)
    named = [f"{value:.{digits}f} (round {number})" for number, value in enumerate(values, 1) if not low <= value <= high]
    return f"outside of {low:.{digits}f} to {high:.{digits}f}, and counted: {', '.join(named)}" if named else ""
