"""Every test has a limit: a hang shows all stacks and ends the run."""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import Any, Iterator

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

TEST_SECONDS = 120


@pytest.fixture(autouse=True)
def _limit() -> Iterator[Any]:
    faulthandler.dump_traceback_later(TEST_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
