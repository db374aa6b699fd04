"""Limits of a task, as users write them."""

from __future__ import annotations

import math
import re
from typing import Optional, Union

__all__ = ["memory_bytes", "timeout_ms"]

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def timeout_ms(timeout: Optional[float]) -> Optional[int]:
    """A time limit in whole milliseconds, at least one; `None` for none. Takes seconds."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"`timeout` is a number of seconds, not a {type(timeout).__name__}")
    if math.isinf(timeout) and timeout > 0:
        return None
    if not timeout > 0:
        raise ValueError(f"`timeout` is {timeout} seconds; it has to be more than 0")
    return max(1, math.ceil(timeout * 1000))


def memory_bytes(memory: Union[int, str, None]) -> Optional[int]:
    """A memory limit in bytes; `None` for none. Takes bytes, or a text with a unit such as ``512 MiB``."""
    if memory is None:
        return None
    if isinstance(memory, bool) or not isinstance(memory, (int, str)):
        raise TypeError(f"`memory` is a number of bytes or a text such as '512 MiB', not a {type(memory).__name__}")
    if isinstance(memory, str):
        match = _SIZE.fullmatch(memory)
        unit = _UNITS.get(match.group(2).lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f"`memory` is {memory!r}; expected a size such as '512 MiB' or '2 GB'")
        memory = int(float(match.group(1)) * unit)
    if memory < 1:
        raise ValueError(f"`memory` is {memory} bytes; it has to be more than 0")
    return memory
