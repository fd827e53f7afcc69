"""Runs one contender as a process: waits for the start signal, works until told to stop, and says what it used.

The harness speaks to it in lines: it prints `ready`, reads a line and works, reads a second line and stops; when
all spans are exported it prints one JSON object. Its CPU is that of all its threads between the first line and the end.
"""

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks.processes import memory_bytes_max

Contender = Callable[[str, bool, asyncio.Event], Awaitable[None]]


def main() -> None:
    """`python -m benchmarks.contenders NAME`, with NATS_URL, BENCHMARK_TRACED (0 or 1) and the OTEL_* variables."""
    run: Contender = importlib.import_module(f"benchmarks.contenders.{sys.argv[1]}_hop").run
    say("ready")
    sys.stdin.readline()
    started = time.process_time()
    uvloop.run(work(run))
    used = time.process_time() - started
    say(json.dumps({"cpu_seconds": used, "rss_bytes": memory_bytes_max(os.getpid())}))


async def work(run: Contender) -> None:
    """The contender, until the second line."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, stopping.set)
    await run(os.environ["NATS_URL"], os.environ["BENCHMARK_TRACED"] == "1", stopping)
    loop.remove_reader(sys.stdin)


def say(line: str) -> None:
    """One line to the harness."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
