#!/usr/bin/env python3
"""Simulates balls on a terrain with pybullet, as TaPS does: BALLS SECONDS TICK_RATE PROCESSES.

Prints a line of JSON: seconds from the first task to the last result, CPU seconds of the tasks, balls that left the
terrain, versions. Processes are started, and pybullet is loaded, before.
Each task gets the mesh and one ball, as in TaPS. Noise, friction and numbers are those of TaPS's defaults: 20 m,
3 m high, 10 vertices per metre. Needs pybullet and numpy from PyPI.
"""

import json
import math
import multiprocessing
import platform
import random
import sys
import time
from importlib import metadata

import numpy
import pybullet

WIDTH, HEIGHT, RESOLUTION = 20, 3.0, 10
SCALE, OCTAVES, PERSISTENCE, LACUNARITY = 10.0, 3, 0.2, 2.0
DIAMETER, MASS = 0.2, 0.05


def noise(x, y, gradients):
    """Perlin's noise."""
    column, row = numpy.floor(x).astype(int), numpy.floor(y).astype(int)
    right, up = x - column, y - row

    def corner(i, j):
        angle = gradients[(row + j) % 256, (column + i) % 256]
        return numpy.cos(angle) * (right - i) + numpy.sin(angle) * (up - j)

    ease = lambda part: part**3 * (part * (part * 6 - 15) + 10)
    lower = corner(0, 0) + ease(right) * (corner(1, 0) - corner(0, 0))
    upper = corner(0, 1) + ease(right) * (corner(1, 1) - corner(0, 1))
    return lower + ease(up) * (upper - lower)


def terrain():
    """Vertices and triangles."""
    side = WIDTH * RESOLUTION
    places = numpy.arange(side) / RESOLUTION
    x, y = numpy.meshgrid(places, places)
    gradients = numpy.random.default_rng(1).random((256, 256)) * 2 * math.pi
    layers = [
        PERSISTENCE**layer * noise(x / SCALE * LACUNARITY**layer, y / SCALE * LACUNARITY**layer, gradients)
        for layer in range(OCTAVES)
    ]
    heights = sum(layers)
    heights = (heights - heights.min()) / (heights.max() - heights.min()) * HEIGHT
    vertices = numpy.stack([x, y, heights], axis=-1).reshape(-1, 3).tolist()
    corners = [row * side + column for row in range(side - 1) for column in range(side - 1)]
    triangles = [
        index
        for corner in corners
        for index in (corner, corner + 1, corner + side, corner + 1, corner + side + 1, corner + side)
    ]
    return vertices, triangles


def simulate(task):
    """Position of a ball at the end, and the CPU seconds that it took."""
    begin = time.process_time()
    (vertices, triangles), position, velocity, steps, tick_rate = task
    client = pybullet.connect(pybullet.DIRECT)
    pybullet.setGravity(0, 0, -9.81)
    pybullet.setTimeStep(1 / tick_rate)
    ground = pybullet.createCollisionShape(pybullet.GEOM_MESH, vertices=vertices, indices=triangles)
    pybullet.createMultiBody(0, ground)
    shape = pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=DIAMETER / 2)
    ball = pybullet.createMultiBody(MASS, shape, basePosition=position)
    pybullet.changeDynamics(ball, -1, lateralFriction=0.2, rollingFriction=0.05, spinningFriction=0.05)
    pybullet.resetBaseVelocity(ball, velocity)
    for _ in range(steps):
        pybullet.stepSimulation()
    end = pybullet.getBasePositionAndOrientation(ball)[0]
    pybullet.disconnect(client)
    return end, time.process_time() - begin


def wait(_):
    time.sleep(0.2)


def main():
    balls, seconds, tick_rate, processes = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    mesh = terrain()
    randomness = random.Random(1)
    place = lambda: WIDTH * randomness.uniform(0.2, 0.8)
    speed = lambda: 0.1 * WIDTH * randomness.uniform(-1, 1)
    steps = round(seconds * tick_rate)
    tasks = [(mesh, (place(), place(), 2 * HEIGHT), (speed(), speed(), 0), steps, tick_rate) for _ in range(balls)]
    with multiprocessing.Pool(processes) as pool:
        pool.map(wait, range(processes), chunksize=1)
        begin = time.perf_counter()
        ends = pool.map(simulate, tasks, chunksize=1)
        elapsed = time.perf_counter() - begin
    result = {
        "seconds": elapsed,
        "cpu_seconds": sum(cpu for _, cpu in ends),
        "outside": sum(end[2] < 0 for end, _ in ends),
        "python": platform.python_version(),
    }
    print(json.dumps(result | {name: metadata.version(name) for name in ("pybullet", "numpy")}))


if __name__ == "__main__":
    main()
