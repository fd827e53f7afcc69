"""How late an open page of an order shows an event: from its time in the stream to its line in the browser."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright

from benchmarks.figures import Row, quantile
from benchmarks.meshes import Late
from benchmarks.progress import Step

PART = "shop"
ORDERS = 8
READY_SECONDS = 120.0
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WATCHES = """() => {
  window.late = [];
  const seen = new Set([...document.querySelectorAll("[id^=entry-]")].map((line) => line.id));
  new MutationObserver(() => {
    const now = performance.timeOrigin + performance.now();
    for (const line of document.querySelectorAll("[id^=entry-]")) {
      const time = line.querySelector(".offset time");
      if (seen.has(line.id) || !time) continue;
      seen.add(line.id);
      window.late.push(now - Date.parse(time.dateTime));
    }
  }).observe(document.getElementById("order"), { childList: true, subtree: true });
}"""
"""Each line that comes tells when its event was stored; those that are there when the page opens do not count."""


async def run(step: Step) -> list[Row]:
    """Orders one after the other on a quiet demo. Payments rest until the page of the order is open, so that what
    follows is seen."""
    path = shutil.which("chromium")
    if path is None:
        return []
    step("the demo starts")
    with _demo() as folder:
        return await _measured(folder, path, step)


async def _measured(folder: Path, path: str, step: Step) -> list[Row]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        url = json.loads((folder / "endpoints.json").read_text())["shop_url"]
        late: list[float] = []
        for number in range(ORDERS):
            step(f"order {number + 1} of {ORDERS}")
            context = await browser.new_context()
            late += await _late(await context.new_page(), url, folder)
            await context.close()
        await browser.close()
    if not late:
        raise Late("no line of an event has come to the open pages")
    what = "an event's line on the open page of its order, after its time in the stream"
    return [Row(PART, f"{what}: {name}", "shop", quantile(late, share), "ms") for name, share in SHARES.items()]


async def _late(page: Page, url: str, folder: Path) -> list[float]:
    """Of each event of an order that comes while its page is open, in milliseconds."""
    payments = int((folder / "pids" / "payments").read_text())
    os.kill(payments, signal.SIGSTOP)
    try:
        await page.goto(url)
        await page.click("#add-cola")
        await page.locator("#buy button").click()
        await page.locator("#step-inventory-shelve-reserved.done").wait_for()
        await page.locator("#liveness", has_text="live").wait_for()
        await page.evaluate(WATCHES)
    finally:
        os.kill(payments, signal.SIGCONT)
    await page.locator("#liveness", has_text="complete").wait_for()
    return [float(each) for each in await page.evaluate("window.late")]


@contextmanager
def _demo() -> Iterator[Path]:
    """The folder of a demo that runs for the block."""
    with tempfile.TemporaryDirectory(prefix="jetmesh-bench-") as name:
        folder, out = Path(name) / "state", Path(name) / "out"
        command = [sys.executable, "-m", "jetmesh", "demo", "--state", str(folder), "--free-ports"]
        with out.open("wb") as told:
            process = subprocess.Popen(command, stdout=told, stderr=told)
        try:
            deadline = time.monotonic() + READY_SECONDS
            while "Ctrl-C" not in out.read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Late(f"the demo does not start:\n{out.read_text()[-2_000:]}")
                time.sleep(0.1)
            yield folder
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
