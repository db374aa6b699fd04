"""BYTES TASKS: prints the milliseconds that two plain copies of a buffer take, and those of a task on Python's
ProcessPoolExecutor that takes and gives as many bytes, every byte read and written."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy


def task(data):
    total = int(numpy.frombuffer(data, dtype=numpy.uint64).sum())
    return numpy.full(len(data) // 8, total, dtype=numpy.uint64).tobytes()


def best(times, work):
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return 1000 * min(taken)


def main():
    size, tasks = map(int, sys.argv[1:])
    source = numpy.ones(size // 8, dtype=numpy.uint64)
    target = numpy.zeros_like(source)

    def copies():
        numpy.copyto(target, source)
        numpy.copyto(source, target)

    print(best(tasks, copies))
    with ProcessPoolExecutor(2) as pool:
        data = source.tobytes()
        pool.submit(task, data).result()
        print(best(tasks, lambda: pool.submit(task, data).result()))


if __name__ == "__main__":
    main()
