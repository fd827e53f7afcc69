"""What the console costs: its first view, itself and a browser under load, many viewers, and the mesh beside it."""

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from playwright.async_api import Page, async_playwright

from benchmarks import latency, meshes, viewer, workload
from benchmarks.figures import MEGABYTE, Row, median_interval, spread
from benchmarks.meshes import Running
from benchmarks.processes import cpu_seconds
from benchmarks.progress import Step
from benchmarks.scene import Shared
from jetmesh.common.ports import HOST, free_port
from jetmesh.local.backing import AFTERWARDS
from jetmesh.operate.load import drive

PART = "console"
ORDERS_A_SECOND = 10_000 / 60
CROWD_SECONDS = 3.0
VIEWERS = 100
PAIRS_A_SECOND = 1.25
"""Of windows with and without a viewer, for each second of the other measurements."""
BROWSER = "chrom"
"""How the programs of Chromium begin, as the kernel names them."""


@dataclass(frozen=True, slots=True)
class Share:
    """What of a core the console and a browser took, and the console's memory before and after."""

    console: float
    browser: float
    seconds: float
    memory_bytes: tuple[int, int]
    heap_bytes: tuple[float, float]
    """What the page holds, after a garbage collection."""

    def in_an_hour(self, sizes: tuple[float, float]) -> float:
        """The growth, as if it went on."""
        before, after = sizes
        return (after - before) / self.seconds * 3_600


def part(seconds: float) -> Shared:
    """The console is there all the time, and reads while somebody looks."""

    async def ours(running: Running, step: Step) -> list[Row]:
        await latency.warm_up(running, step, PART)
        url = await _console(running)
        step("the first view")
        async with _browser() as page:
            first_ms = await _first_view(url, page)
            step(f"10,000 orders a minute for {seconds:g} s, with a viewer")
            looked = await _under_load(running, page, seconds)
        step(f"{VIEWERS} viewers")
        async with _viewers(url, VIEWERS):
            crowd = await _share(running, asyncio.sleep(min(seconds, CROWD_SECONDS)))
        looking = partial(_viewers, url)
        step("a viewer of a mesh at rest")
        share = await viewer.share_of_all_cores(running, looking, seconds / 2)
        dearer = await viewer.dearer(running, looking, max(3, round(PAIRS_A_SECOND * seconds)), step)
        running.processes.stop("console")
        return _rows(first_ms, looked, crowd, share, dearer)

    return Shared(ours)


def _rows(first_ms: float, looked: Share, crowd: Share, share: float, dearer: Sequence[float]) -> list[Row]:
    load, memory = "10,000 orders a minute, with a viewer", max(looked.memory_bytes)
    heap, resident = looked.in_an_hour(looked.heap_bytes), looked.in_an_hour(looked.memory_bytes)
    browser = [
        Row(PART, f"{load}: the browser's share of a core", "Chromium", looked.browser, "%"),
        Row(PART, f"{load}: growth of the page's heap in an hour", "Chromium", heap / MEGABYTE, "MB"),
    ]
    return [
        Row(PART, "first view of the flow, from cold", "console", first_ms, "ms"),
        Row(PART, f"{load}: share of a core", "console", looked.console, "%", memory_bytes=memory),
        *(browser if shutil.which("chromium") else []),
        Row(PART, f"{load}: growth of memory in an hour", "console", resident / MEGABYTE, "MB"),
        Row(PART, f"{VIEWERS} viewers: share of a core", "console", crowd.console, "%",
            memory_bytes=max(crowd.memory_bytes)),
        Row(PART, "a viewer of a mesh at rest: share of all cores", "services, broker and console", share, "%"),
        Row(PART, "CPU of a busy mesh for the same, with a viewer", "× without", statistics.median(dearer), "×",
            spread=spread(median_interval(dearer))),
    ]  # fmt: skip


async def _console(running: Running) -> str:
    """A process of its own, ranked as by the demo; it has read nothing yet."""
    port = free_port()
    running.processes.start("console", "jetmesh", "console", "--port", str(port), niceness=AFTERWARDS)
    url, deadline = f"http://{HOST}:{port}/mesh", time.monotonic() + meshes.SECONDS_MAX
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                await client.get(f"{url}/livez")
            except httpx.TransportError:
                await asyncio.sleep(meshes.POLL_SECONDS)
            else:
                return url
    raise meshes.Late(f"the console does not answer:\n{running.processes.log('console')[-2_000:]}")


@asynccontextmanager
async def _browser() -> AsyncIterator[Page | None]:
    """A page in Chromium, if it is installed."""
    path = shutil.which("chromium")
    if path is None:
        yield None
        return
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield await browser.new_page()
        finally:
            await browser.close()


async def _first_view(url: str, page: Page | None) -> float:
    """Milliseconds until the picture is there with figures; without a browser until the answer is."""
    began = time.perf_counter()
    if page:
        await page.goto(url)
        await page.locator("svg.flow [data-state=good]").first.wait_for()
    else:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            (await client.get(url)).raise_for_status()
    return (time.perf_counter() - began) * 1e3


async def _under_load(running: Running, page: Page | None, seconds: float) -> Share:
    orders = list(workload.good_orders("looked-at", round(ORDERS_A_SECOND * seconds), running.skus))

    async def load() -> None:
        await drive(running.client, orders, ORDERS_A_SECOND)

    found = await _share(running, load(), page)
    await running.drained()
    return found


async def _share(running: Running, work: Awaitable[None], page: Page | None = None) -> Share:
    """What the console and a browser use while this goes on."""
    heap = await _heap_bytes(page)
    console, browser, memory = _used(running), _browser_seconds(), running.processes.memory_bytes()["console"]
    began = time.perf_counter()
    await work
    seconds = time.perf_counter() - began
    return Share(
        (_used(running) - console) / seconds * 100,
        (_browser_seconds() - browser) / seconds * 100,
        seconds,
        (memory, running.processes.memory_bytes()["console"]),
        (heap, await _heap_bytes(page)),
    )


async def _heap_bytes(page: Page | None) -> float:
    """What JavaScript holds in the page, once what nobody needs is collected."""
    if page is None:
        return 0.0
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    await session.send("Performance.enable")
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    await session.detach()
    return next(float(each["value"]) for each in metrics if each["name"] == "JSHeapUsedSize")


def _used(running: Running) -> float:
    return running.processes.cpu_seconds()["console"]


def _browser_seconds() -> float:
    """The CPU of all processes of Chromium below this one."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    mine = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(_seconds(pid) for pid in mine if _name(pid).startswith(BROWSER))


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _seconds(pid: int) -> float:
    try:
        return cpu_seconds(pid)
    except OSError:
        return 0.0


@asynccontextmanager
async def _viewers(url: str, count: int) -> AsyncIterator[None]:
    """So many streams of events are open for the block."""
    limits = httpx.Limits(max_connections=count)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60, limits=limits))
        begun = [asyncio.Event() for _ in range(count)]
        tasks = [asyncio.create_task(_look(client, f"{url}/live", each)) for each in begun]
        try:
            await asyncio.gather(*(each.wait() for each in begun))
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _look(client: httpx.AsyncClient, url: str, begun: asyncio.Event) -> None:
    async with client.stream("GET", url) as answer:
        async for _ in answer.aiter_raw():
            begun.set()
