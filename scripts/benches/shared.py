"""What all benches use: the program, its summaries, lines of figures, interpreters."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Of cargo; another than `release` is for trying these scripts out.
PROFILE = os.environ.get("TAPS_BENCH_PROFILE", "release")
PROGRAM = ROOT / "target" / PROFILE / "taps-wasm"
BOUNDS = ROOT / "target" / PROFILE / "examples/bounds"
EVENT_LOG = ROOT / "target" / PROFILE / "examples/event_log"
PEERS = ROOT / "scripts/peers"
VENV = ROOT / "target/bench-venv"
ENGINES_VENV = ROOT / "target/bench-engines-venv"
# Numeric libraries would otherwise start a thread for each CPU, in each process.
ONE_THREAD_EACH = {name: "1" for name in ("BLIS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                                          "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def show(figure, ours, bound, against, unit):
    print(f"{figure:44} {ours:>12} {bound:>12}  {against} [{unit}]", flush=True)


def missing(figure, reason):
    print(f"{figure:44} not measured: {reason}", flush=True)


def run(*args):
    """Runs the program and gives its JSON summary."""
    return summary_of("run", *args)


def summary_of(*args):
    command = [PROGRAM, *map(str, args), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def output(*command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return done.stdout.split()


def slots(executor, count):
    return "--executor", executor, f"--executor.max-{'processes' if executor == 'process-pool' else 'threads'}", count


def timed(args):
    begin = time.perf_counter()
    subprocess.run(args, check=True, capture_output=True)
    return time.perf_counter() - begin


def by_turns(times, *runs):
    """Summaries of each of the runs, made by turns: the machine may get slower or faster with time."""
    rounds = [[run() for run in runs] for _ in range(times)]
    return [list(summaries) for summaries in zip(*rounds)]


def numpy_python():
    python = VENV / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy"], check=True)
    return python
