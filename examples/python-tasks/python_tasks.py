"""Tasks in Python: words of a text are counted, counts are added up, and bytes are reversed."""

import os
import random
import re
import socket
from collections import Counter

from taps_tasks import Description, Tasks, app, task  # noqa: F401  Description and Tasks are exported

app("python-tasks", "0.1.0", "Counts words, in Python.")

WORD = re.compile(rb"[A-Za-z]+")


@task(pure=True)
def python_count_words(text: bytes) -> dict:
    """Counts the words of a text: runs of ASCII letters, in lower case."""
    counts = Counter(word.decode() for word in WORD.findall(text.lower()))
    return dict(sorted(counts.items()))


@task(pure=True)
def python_merge_counts(*counts: dict) -> dict:
    """Adds up counts."""
    total: Counter = Counter()
    for part in counts:
        total.update(part)
    return dict(sorted(total.items()))


@task(pure=True)
def python_reverse(data: bytes) -> bytes:
    """Reverses the order of bytes."""
    return data[::-1]


@task()
def python_draw() -> float:
    """Draws a number from 0 to 1, by the seed of the task."""
    return random.random()


@task()
def python_misbehave(how: dict) -> bytes:
    """Goes wrong as asked, to show what becomes of it: `{"how": "error"}`, `trap`, `memory` or `network`."""
    match how["how"]:
        case "error":
            raise ValueError("asked for by the driver")
        case "trap":
            os.abort()
        case "memory":
            hoard = []
            while True:
                hoard.append(bytes(1 << 20))
        case "network":
            # A sandbox has none: this raises.
            with socket.socket() as connection:
                connection.connect(("127.0.0.1", 80))
            return b"connected"
        case other:
            raise KeyError(other)
