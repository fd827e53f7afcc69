"""The whole mesh as a customer meets it: `jetmesh demo` with its shop, and what happens to its processes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from jetmesh.local.state import StateFolder
from tests.support.waiting import wait_until

READY_SECONDS = 120.0


class Demo:
    """A demo that runs."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder, self._process = folder, process
        wait_until(self._is_up, "the demo is up", READY_SECONDS)

    @property
    def endpoints(self) -> dict[str, Any]:
        """What `endpoints.json` says now."""
        found: dict[str, Any] = json.loads((self._folder / "endpoints.json").read_text())
        return found

    @property
    def url(self) -> str:
        """Of the shop."""
        return str(self.endpoints["shop_url"])

    @property
    def edge_url(self) -> str:
        """Of the orders' HTTP edge."""
        return str(self.endpoints["http_url"])

    @property
    def console_url(self) -> str:
        """Of the console's first page."""
        return str(self.endpoints["console_url"])

    @property
    def state(self) -> StateFolder:
        """Its folder."""
        return StateFolder(self._folder)

    def kill(self, name: str) -> None:
        """End a process; the demo starts it again."""
        os.kill(self._pid(name), signal.SIGKILL)

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """A process is killed as often as the demo starts it again."""
        is_over = threading.Event()

        def kill() -> None:
            while not is_over.wait(0.02):
                # Between a start and its pid file, the file has the id of the process that was killed.
                with suppress(ProcessLookupError, ValueError):
                    self.kill(name)

        killer = threading.Thread(target=kill, name=f"kills {name}")
        killer.start()
        try:
            yield
        finally:
            is_over.set()
            killer.join()

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """A process stands still."""
        pid = self._pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _pid(self, name: str) -> int:
        """Its lock file is written anew with each start."""
        return int((self._folder / "pids" / name).read_text())

    def _is_up(self) -> bool:
        assert self._process.poll() is None, (self._folder / "out").read_text()
        return (self._folder / "endpoints.json").exists() and "Ctrl-C" in (self._folder / "out").read_text()


@contextmanager
def demo(folder: Path, told: Mapping[str, str]) -> Iterator[Demo]:
    """`jetmesh demo` on a folder of its own, with these variables."""
    command = [sys.executable, "-m", "jetmesh", "demo", "--state", str(folder), "--free-ports"]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **told})
        try:
            yield Demo(folder, process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


async def choose(page: Page, *skus: str) -> None:
    """Put these into the basket, one after the other."""
    for sku in skus:
        before = await page.locator("#basket").inner_text()
        await page.click(f"#add-{sku}")
        await page.wait_for_function("text => document.getElementById('basket').innerText !== text", arg=before)


async def buy(page: Page, payment_method: str = "pm_card_visa") -> str:
    """Pay this way; the order's id."""
    await page.check(f"input[value={payment_method}]")
    await page.click("#buy button")
    await page.wait_for_url("**/orders/**")
    return page.url.rpartition("/")[2]


async def until_complete(page: Page) -> None:
    """Everything of the order has happened, and the page has it."""
    await page.locator("#liveness", has_text="complete").wait_for(timeout=60_000)
