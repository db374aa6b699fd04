"""What it costs a run to be watched."""

import json
import re
import statistics
import subprocess
import sys
import urllib.error
import urllib.request

from .scale import calibrated, computing_flags
from .shared import PROGRAM, show


def dashboard():
    """Pairs of runs that take both CPUs whole, without and with a page that asks for one model after the other. What a
    browser needs to draw them is not in it."""
    iterations = calibrated("thread-pool")
    pairs = [(watched(iterations), watched(iterations, page=True)) for _ in range(8)]
    slower = statistics.median(100 * (1 - page / alone) for (alone, _), (page, _) in pairs)
    (alone, _), (page, models) = (map(statistics.median, zip(*runs)) for runs in zip(*pairs))
    show("tasks of 200 us with a page open", f"{page:.0f}", f"{alone:.0f}",
         f"the same without; the page got {models:.0f} models", "tasks/s")
    show("  slower with the page, median of 8 pairs", f"{slower:.1f}", "5", "limit", "%")


def watched(iterations, page=False):
    """Tasks per second of a run, and how many models its page got."""
    command = [PROGRAM, "run", *map(str, computing_flags("thread-pool", 2, iterations, 40_000)), "--json",
               "--dashboard" if page else "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    models = models_of(process.stderr) if page else 0
    summary, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(" ".join(map(str, command)))
    return json.loads(summary)["tasks_per_s"], models


def models_of(said):
    """Asks for models until the last, as the page does, at the address that the run says; gives their number."""
    address = next(found[0] for line in said if (found := re.search(r"http://\S+/", line)))
    request = urllib.request.Request(f"{address}model.json?client=1")
    models = 0
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                request.headers["If-none-match"] = answer.headers["ETag"]
                run = json.load(answer)["run"]
        except urllib.error.HTTPError as error:
            if error.code != 304:
                raise
            continue
        models += 1
        if run and run["state"] != "going-on":
            return models
