"""The event loop that every program of this project runs on."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """What `main` returns; on uvloop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return asyncio.run(main) if sys.platform == "win32" else uvloop.run(main)
