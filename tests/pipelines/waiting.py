"""Waiting for servers and for what they do."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from typing import Any

PATIENCE, PAUSE = 480.0, 0.5  # seconds


def answers(url: str) -> bool:
    """Whether a server answers 200 there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(
    check: Callable[[], Any], seconds: float = PATIENCE, problem: str = "it did not happen in time"
) -> Any:
    """What `check` returns once it is true; fails with `problem` when that takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, problem
        time.sleep(PAUSE)
    return found
