"""Wait for what can be observed, in tests without a loop of their own; `jetmesh.testing.until` has one."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

WITHIN_SECONDS = 120.0
AGAIN_SECONDS = 0.02


def wait_until(condition: Callable[[], Found], what: str = "", seconds: float = WITHIN_SECONDS) -> Found:
    """The first true answer of the condition."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        name = what or getattr(condition, "__name__", "the condition")
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {name}"
        time.sleep(AGAIN_SECONDS)
    return found
