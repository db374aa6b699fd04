"""Apps as bundles."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from .shared import PROGRAM, show


def bundles():
    """What it costs that an app is no part of the program; a home of its own, so that nothing is known or kept."""
    home = Path.cwd() / "bundles-home"
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}

    def call(*args):
        done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    def started(app, *more):
        begin = time.perf_counter()
        call("run", app, "--app.generate=true", "--app.generated-words=100", "--quiet", *more)
        return 1000 * (time.perf_counter() - begin)

    largest, digests = 0, {}
    for app in json.loads(call("list", "apps", "--json")):
        if app["name"] != "failures":
            exported = json.loads(call("bundle", "export", app["name"], "-o", f"{app['name']}.taps", "--json"))
            largest = max(largest, exported["file_bytes"])
            digests[app["name"]] = exported["digest"]
    show("largest of the built-in apps as a bundle", f"{largest / 1e6:.2f}", "1", "limit", "MB")
    digest = digests["mapreduce"]
    call("bundle", "cache", "add", "mapreduce.taps")
    started(digest, "--allow")
    times = {"mapreduce": [], digest: []}
    for _ in range(20):
        for app, measured_ms in times.items():
            measured_ms.append(started(app))
    built_in, cached = (min(measured_ms) for measured_ms in times.values())
    show("run of a cached bundle", f"{cached:.1f}", f"{built_in + 5:.1f}", "the built-in app, and 5 ms", "ms")

    def cold():
        shutil.rmtree(home / ".cache/taps-wasm")
        return started("mapreduce")
    show("first run of mapreduce, nothing compiled", f"{min(cold() for _ in range(5)):.0f}", "600", "limit", "ms")
