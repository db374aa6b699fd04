"""Dask, Ray, Parsl or Python's ProcessPoolExecutor alone, doing what taps-wasm is held against.

    engines.py ENGINE WHAT ...     ENGINE: dask ray parsl-htex parsl-local process-pool
                                   WHAT: first rate latency chain
                [--workers 2] [--tasks 1000] [--links 20] [--bytes 1000000] [--repeat 1]

`first` is seconds from the start of this process, imports included, to the result of the first
no-op; `rate` no-ops per second, each submitted by itself, all before the first is waited for;
`latency` milliseconds of each of a tenth as many no-ops, submitted and waited for one after the other; `chain`
milliseconds of a link in a chain of tasks that read and write so many bytes, as ours do, passed on by the engine's own
references; ProcessPoolExecutor has none, and gets each result before the next task. The engines are set up as in
taps-wasm's own bridge.
Prints a line of JSON: a list of numbers for each WHAT, versions.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time


def noop(number):
    return None


def link(data):
    """Reads bytes and writes as many new ones: the least that a task does which takes and gives them."""
    import zlib  # Here, for Parsl sends the function without what is around it.

    zlib.crc32(data)
    return bytes(range(256)) * (len(data) // 256) + bytes(len(data) % 256)


class Dask:
    def __init__(self, workers, directory):
        import dask
        import distributed

        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GiB", "temporary-directory": directory})
        self.version = distributed.__version__
        self.cluster = distributed.LocalCluster(
            processes=True, n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        )
        self.client = distributed.Client(self.cluster, set_as_default=False)

    def submit(self, function, argument):
        return self.client.submit(function, argument, pure=False, retries=0)

    def gather(self, futures):
        return self.client.gather(futures)

    def stop(self):
        self.client.close()
        self.cluster.close()


class Ray:
    def __init__(self, workers, directory):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self.ray = ray
        self.version = ray.__version__
        ray.init(
            address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error",
            _node_ip_address="127.0.0.1", _temp_dir=os.path.join(directory, "ray"),
        )
        self.functions = {function: ray.remote(function).options(max_retries=0) for function in (noop, link)}

    def submit(self, function, argument):
        return self.functions[function].remote(argument)

    def gather(self, references):
        return self.ray.get(references)

    def stop(self):
        self.ray.shutdown()


class Parsl:
    def __init__(self, executor, directory):
        import parsl

        self.version = parsl.__version__
        self.kernel = parsl.load(parsl.config.Config(
            executors=[executor], run_dir=os.path.join(directory, "runinfo"), retries=0, strategy="none",
            strategy_period=0.2, initialize_logging=False, usage_tracking=0,
        ))
        self.apps = {function: parsl.python_app(function) for function in (noop, link)}

    def submit(self, function, argument):
        return self.apps[function](argument)

    def gather(self, futures):
        return [future.result() for future in futures]

    def stop(self):
        self.kernel.cleanup()


def parsl_htex(workers, directory):
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    # Parsl runs programs of its own by name.
    os.environ["PATH"] = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
    return Parsl(HighThroughputExecutor(
        label="htex", address="127.0.0.1", max_workers_per_node=workers, heartbeat_period=2, provider=LocalProvider(),
    ), directory)


def parsl_local(workers, directory):
    from parsl.executors.threads import ThreadPoolExecutor

    return Parsl(ThreadPoolExecutor(label="threads", max_threads=workers), directory)


class Pool:
    def __init__(self, workers, directory):
        from concurrent.futures import ProcessPoolExecutor

        self.version = platform.python_version()
        self.pool = ProcessPoolExecutor(workers)

    def submit(self, function, argument):
        return self.pool.submit(function, argument.result() if hasattr(argument, "result") else argument)

    def gather(self, futures):
        return [future.result() for future in futures]

    def stop(self):
        self.pool.shutdown()


ENGINES = {"dask": Dask, "ray": Ray, "parsl-htex": parsl_htex, "parsl-local": parsl_local,
           "process-pool": Pool}


def rate(engine, options):
    begin = time.perf_counter()
    engine.gather([engine.submit(noop, number) for number in range(options.tasks)])
    return options.tasks / (time.perf_counter() - begin)


def latency(engine, options):
    trips = []
    for number in range(max(2, options.tasks // 10)):
        begin = time.perf_counter()
        engine.gather([engine.submit(noop, number)])
        trips.append(1000 * (time.perf_counter() - begin))
    return trips


def chain(engine, options):
    begin = time.perf_counter()
    data = bytes(options.bytes)
    for _ in range(options.links):
        data = engine.submit(link, data)
    if len(engine.gather([data])[0]) != options.bytes:
        raise SystemExit("the end of the chain has another length")
    return 1000 * (time.perf_counter() - begin) / options.links


MEASURED = {"rate": rate, "latency": latency, "chain": chain}


def since_start():
    """Seconds since this process was started, to a hundredth."""
    with open("/proc/self/stat") as stat:
        started = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("what", nargs="+", choices=["first", *MEASURED])
    for name, default in (("workers", 2), ("tasks", 1000), ("links", 20), ("bytes", 1_000_000), ("repeat", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    # Short: Ray makes sockets below it.
    with tempfile.TemporaryDirectory(prefix="engines-", ignore_cleanup_errors=True) as directory:
        engine = ENGINES[options.engine](options.workers, directory)
        engine.gather([engine.submit(noop, 0)])
        result = {"first": [since_start()]}
        # Both workers have run something before anything is timed.
        engine.gather([engine.submit(noop, number) for number in range(100)])
        engine.gather([engine.submit(link, b"")])
        for what in options.what:
            if what != "first":
                measured = [MEASURED[what](engine, options) for _ in range(options.repeat)]
                result[what] = sum(measured, []) if what == "latency" else measured
        result.update(engine=options.engine, version=engine.version, python=platform.python_version())
        engine.stop()
    print(json.dumps(result), flush=True)
    # Engines leave threads that may wait for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
