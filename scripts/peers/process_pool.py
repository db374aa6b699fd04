"""No-op tasks per second on Python's ProcessPoolExecutor: TASKS OUTSTANDING WORKERS."""

import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor


def noop():
    pass


def main():
    tasks, outstanding, workers = map(int, sys.argv[1:])
    with ProcessPoolExecutor(workers) as pool:
        pool.submit(noop).result()
        room = threading.Semaphore(outstanding)
        begin = time.perf_counter()
        for _ in range(tasks):
            room.acquire()
            # Callbacks, not wait(): that would look at every outstanding future each time.
            pool.submit(noop).add_done_callback(lambda _: room.release())
        for _ in range(outstanding):
            room.acquire()
        print(tasks / (time.perf_counter() - begin))


if __name__ == "__main__":
    main()
