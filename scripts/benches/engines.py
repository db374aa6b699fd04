"""External engines alone and through us."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .shared import ENGINES_VENV, PEERS, by_turns, missing, run, show


def executor(name, python, *options):
    return "--executor", name, "--executor.python", python, *options


ENGINES = {
    # Package, options for two workers, least share of the engine's rate, way of data where a chain is measured.
    "dask": ("distributed", ("--executor.workers", 2), 0.9, "engine"),
    "ray": ("ray", ("--executor.num-cpus", 2), 0.7, "engine"),
    "parsl-htex": ("parsl", ("--executor.htex", '{"max_workers_per_node": 2}'), 0.9, "shared"),
}


def engines():
    """Each engine alone and through us, by turns; medians, for an engine's start and its rate differ from run to run."""
    python, reason = engines_python()
    for name, (package, options, share, data) in ENGINES.items():
        if python is None or subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode != 0:
            missing(name, reason or f"{python} cannot import {package}")
            continue
        engine(name, python, executor(name, python, *options), share, data)


def engines_python():
    """An interpreter that may have the engines; none, and why, where it cannot be made."""
    if "TAPS_ENGINES_PYTHON" in os.environ:
        return os.environ["TAPS_ENGINES_PYTHON"], None
    python = ENGINES_VENV / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENGINES_VENV], check=True)
    packages = [package for package, *_ in ENGINES.values()]
    # One after the other: what has no wheel for this Python must not keep the others away.
    installed = [subprocess.run([python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", package]).returncode == 0
                 for package in packages]
    return (python, None) if any(installed) else (None, "the engines cannot be installed from PyPI")


def engine(name, python, chosen, share, data):
    tasks, many, links, rounds = 1000, 20_000, 100, 5

    theirs, singles, batches, chains, firsts = by_turns(
        rounds, lambda: alone_on(python, name, "first", "rate", "chain", tasks=tasks, links=links),
        lambda: no_ops(tasks, *chosen, "--executor.batch-max", 1), lambda: no_ops(many, *chosen),
        lambda: chain(links, *chosen, "--executor.data", data), lambda: first_result(chosen))
    alone = {what: statistics.median(each[what][0] for each in theirs) for what in ("first", "rate", "chain")}
    against = f"{name} {theirs[0]['version']} alone, Python {theirs[0]['python']}"
    single, batched = (count / statistics.median(map(graph_seconds, runs)) for count, runs in ((tasks, singles), (many, batches)))
    show(f"{name}, no-ops one by one", f"{single:.0f}", f"{alone['rate']:.0f}", against, "tasks/s")
    show("", f"{single / alone['rate']:.2f}", f"{share:.2f}", "least", "ratio")
    show("  in batches", f"{batched:.0f}", f"{10 * alone['rate']:.0f}", "ten times its own, one by one", "tasks/s")
    link = 1000 / links * statistics.median(map(graph_seconds, chains))
    show(f"  1 MB in a chain, --executor.data {data}", f"{link:.2f}", f"{alone['chain']:.2f}", "alone", "ms a link")
    show("", f"{link / alone['chain']:.2f}", "1.30", "limit", "ratio")
    first = statistics.median(firsts)
    show("  start to first result", f"{first:.2f}", f"{alone['first'] + 0.3:.2f}", "alone, and 0.3 s", "s")


def no_ops(count, *options):
    """Tasks that do nothing, each submitted before the first is waited for."""
    return run("synthetic", "--app.structure", "bag", "--app.task-count", count, "--app.bag-max-running", count,
               "--app.warmup-tasks", 100, *options)


def chain(links, *options):
    """Tasks that read and write each byte of 1 MB, one after the other."""
    return run("synthetic", "--app.structure", "sequential", "--app.task-count", links, "--app.task-data-bytes", 1_000_000,
               "--app.content", "plain", "--app.verify", "false", "--app.read-inputs", "true", "--app.warmup-tasks", 100,
               *options)


def alone_on(python, name, *what, **options):
    """What peers/engines.py measures with a peer."""
    command = [python, PEERS / "engines.py", name, *what]
    for option, value in options.items():
        command += [f"--{option}", value]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def graph_seconds(summary):
    """What synthetic took for its graph, warm-up and the engine's start apart."""
    return next(phase["elapsed_s"] for phase in summary["phases"] if phase["name"] == "run")


def first_result(chosen):
    """Seconds from exec to when the only task has been received."""
    begin = time.time()
    summary = run("synthetic", "--app.structure", "sequential", "--app.task-count", 1, *chosen)
    with open(Path(summary["run_dir"]) / "tasks.jsonl") as lines:
        return json.loads(lines.readline())["received_time"] - begin
