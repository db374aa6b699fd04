"""No-op tasks per second on Python's ProcessPoolExecutor: TASKS OUTSTANDING WORKERS."""

import sys
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait


def noop():
    pass


def main():
    tasks, outstanding, workers = map(int, sys.argv[1:])
    with ProcessPoolExecutor(workers) as pool:
        pool.submit(noop).result()
        begin = time.perf_counter()
        pending, submitted = set(), 0
        while submitted < tasks or pending:
            while submitted < tasks and len(pending) < outstanding:
                pending.add(pool.submit(noop))
                submitted += 1
            _, pending = wait(pending, return_when=FIRST_COMPLETED)
        print(tasks / (time.perf_counter() - begin))


if __name__ == "__main__":
    main()
