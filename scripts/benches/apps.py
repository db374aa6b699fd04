"""Apps that compute, against libraries that do the same, and the executor `native`."""

import json
import os
import subprocess
import sys
from pathlib import Path

from .shared import PEERS, missing, numpy_python, output, run, show


def cholesky():
    def factorise(kernels):
        summary = run("cholesky", "--app.matrix-size", 4000, "--app.block-size", 500,
                      "--kernels", kernels, "--executor.max-threads", 2)
        return next(phase["elapsed_s"] for phase in summary["phases"] if phase["name"] == "factorise")
    ours = min(factorise("host") for _ in range(3))
    numpy = min(float(output(numpy_python(), PEERS / "numpy_cholesky.py", "4000")[0]) for _ in range(3))
    show("cholesky 4000/500, phase factorise", f"{ours:.3f}", f"{numpy:.3f}", "numpy.linalg.cholesky, 2 threads", "s")


def mapreduce():
    def count(executor):
        # 33,000,000 words of 6 letters on average and a blank: 231 MB.
        summary = run("mapreduce", "--app.generate", "true", "--app.generated-files", 32,
                      "--app.generated-words", 1_000_000, "--app.map-tasks", 32,
                      "--executor", executor, "--executor.max-threads", 2)
        return sum(phase["elapsed_s"] for phase in summary["phases"] if phase["name"] in ("map", "reduce"))
    ours, native = (min(count(executor) for _ in range(3)) for executor in ("thread-pool", "native"))
    show("mapreduce, 220 MB generated, map and reduce", f"{ours:.3f}", f"{native:.3f}", "executor native", "s")
    show("", f"{native / ours:.2f}", "0.70", "native's time over ours", "ratio")


def measured(phase, task, *args):
    """The least of three runs with two workers: seconds of a phase and CPU seconds of its tasks; a summary."""
    seconds, cpu = [], []
    for _ in range(3):
        summary = run(*args, "--executor.max-threads", 2)
        seconds += [each["elapsed_s"] for each in summary["phases"] if each["name"] == phase]
        with open(Path(summary["run_dir"]) / "tasks.jsonl") as lines:
            cpu.append(sum(line["cpu_time"] for line in map(json.loads, lines) if line["name"] == task))
    return min(seconds), min(cpu), summary


def peer(python, script, *args):
    """The same of a peer, which prints one line of JSON."""
    command = [str(arg) for arg in (python, PEERS / script, *args)]
    results = [json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) for _ in range(3)]
    return min(each["seconds"] for each in results), min(each["cpu_seconds"] for each in results), results[0]


def physics():
    name, balls = "physics, 16 balls, 10 s at 240 Hz", ("physics", "--app.simulations", 16)
    seconds, cpu, _ = measured("simulate", "simulate", *balls)
    _, native_cpu, _ = measured("simulate", "simulate", *balls, "--executor", "native")
    python = numpy_python()
    install = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "pybullet"]
    if subprocess.run(install).returncode == 0:
        theirs, their_cpu, versions = peer(python, "physics.py", 16, 10, 240, 2)
        against = f"pybullet {versions['pybullet']}, Python {versions['python']}, 2 processes"
        show(name, f"{seconds:.3f}", f"{theirs:.3f}", against, "s")
        show("  CPU of its tasks", f"{cpu:.3f}", f"{their_cpu:.3f}", "pybullet", "s CPU")
    else:
        missing(name, "pybullet cannot be installed from PyPI")
    show("  CPU of its tasks over executor native", f"{cpu / native_cpu:.2f}", "1.50", f"limit; {native_cpu:.3f} s CPU", "ratio")
    unchecked = ("--executor", "process-pool", "--engine.interrupt", "free")
    _, free_cpu, _ = measured("simulate", "simulate", *balls, *unchecked)
    show("  the same without interruption checks", f"{free_cpu / native_cpu:.2f}", "1.50", " ".join(unchecked), "ratio")


def torch_python():
    """A Python that has PyTorch: Debian's, or the one that runs this."""
    for python in ("/usr/bin/python3", sys.executable):
        if Path(python).exists() and subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0:
            return python
    return None


def fedlearn():
    """Training is counted in CPU seconds of its tasks, one thread each; a makespan is that of all rounds."""
    if "TAPS_WASM_DATA" not in os.environ:
        missing("fedlearn", "set TAPS_WASM_DATA to the directory of the data sets, with fedlearn/ in it")
        return
    digits = Path(os.environ["TAPS_WASM_DATA"]) / "fedlearn"
    python = torch_python()
    small = ("--model", "mlp", "--clients", 8, "--rounds", 3, "--epochs", 3)
    large = ("--model", "taps", "--clients", 4, "--rounds", 1, "--epochs", 1)
    photographs = (*large, "--dataset", "cifar10", "--samples", 256, "--lr", 0.05)
    learn("fedlearn, MNIST, mlp, 8 clients, 3 rounds", digits, python, small, accuracy=0.88, makespan=True)
    learn("fedlearn, MNIST, taps, 4 clients, 1 round", digits, python, large, limit=1.3)
    learn("fedlearn, CIFAR-10, taps, 256 images", digits, python, photographs, limit=2)


def learn(name, digits, python, options, accuracy=None, makespan=False, limit=None):
    """Both sides with the same options, and the native executor."""
    ours = [text.replace("--", "--app.", 1) if str(text).startswith("--") else text for text in options]
    ours = ("fedlearn", "--app.data-dir", digits, *ours)
    seconds, cpu, summary = measured("rounds", "local_train", *ours)
    _, native, _ = measured("rounds", "local_train", *ours, "--executor", "native")
    if accuracy:
        show(f"{name}: accuracy", f"{summary['values']['test-accuracy']:.3f}", f"{accuracy:.2f}", "least", "share")
    if python:
        theirs, their_cpu, versions = peer(python, "fedlearn.py", digits, *options)
        against = f"PyTorch {versions['torch']}, Python {versions['python']}, 2 processes"
        if makespan:
            show(name, f"{seconds:.3f}", f"{theirs:.3f}", against, "s")
        show(f"{'  training' if makespan else name}", f"{cpu:.3f}", f"{their_cpu:.3f}", against, "s CPU")
        show("", f"{cpu / their_cpu:.2f}", f"{limit:.2f}" if limit else "", "limit" if limit else "", "ratio")
    else:
        missing(name, "torch cannot be imported (Debian: python3-torch)")
    show("  training, over executor native", f"{cpu / native:.2f}", "1.30", "limit", "ratio")
