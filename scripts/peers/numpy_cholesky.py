"""Seconds of numpy.linalg.cholesky on two threads: SIZE."""

import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "2"

import time

import numpy


def main():
    size = int(sys.argv[1])
    half = numpy.random.default_rng(0).random((size, size))
    matrix = half + half.T + size * numpy.eye(size)
    numpy.linalg.cholesky(matrix[:500, :500])
    begin = time.perf_counter()
    numpy.linalg.cholesky(matrix)
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
