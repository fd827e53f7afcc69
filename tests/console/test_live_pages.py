"""How many pages are live at a time: one that finds no room says so, and follows as soon as there is some."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from jetmesh.console import flow_view
from jetmesh.console.access import COOKIE
from jetmesh.testing import MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.support.browser import Browsing
from tests.support.tollgate import Bank, Gate, tollgate

TOKEN = "of-the-operators-of-the-tolls"


@asynccontextmanager
async def _page(browser: httpx.AsyncClient, session: str = "") -> AsyncIterator[bool]:
    """A page of this session, open for the block; whether it is live."""
    headers = {"Cookie": f"{COOKIE}={session}"} if session else {}
    async with browser.stream("GET", "/mesh/live", headers=headers) as answer:
        lines = answer.aiter_lines()  # while it lives, the connection does
        while not (line := await anext(lines)).startswith("data: "):
            pass
        yield not json.loads(line.removeprefix("data: "))["warnings"]


async def test_a_page_without_room_gets_the_figures_of_now_and_the_reason(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    service = tollgate()
    await mesh_of(service, dependencies=[Gate(Bank())])
    browser = await console_of([service], live_max="2")
    async with AsyncExitStack() as stack:
        assert [await stack.enter_async_context(_page(browser)) for _ in range(2)] == [True, True]
        refused = (await browser.get("/mesh/live")).text  # it ends by itself
        told: dict[str, Any] = {
            kind: json.loads(data.removeprefix("data: "))
            for kind, data in (part.split("\n") for part in refused.strip().split("\n\n")[1:])
        }
        assert told["event: mesh"]["cells"]["tolls.charge"]["state"] == "good"
        assert "JETMESH_CONSOLE_LIVE_MAX" in told["event: mesh"]["warnings"][0]
        assert told["event: crowded"]["seconds"] == flow_view.CROWDED_SECONDS
        assert (await browser.get("/mesh")).status_code == 200

    async def has_room() -> bool:
        async with _page(browser) as is_live:
            return is_live

    await until(has_room)


async def test_one_session_leaves_room_for_another(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    service = tollgate()
    await mesh_of(service, dependencies=[Gate(Bank())])
    browser = await console_of([service], token=TOKEN, live_max_of_session="2")
    ada, bob = [(await browser.post("/mesh/login", data={"token": TOKEN})).cookies[COOKIE] for _ in range(2)]
    browser.cookies.clear()
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(_page(browser, whose)) for whose in (ada, ada, ada, bob)]
    assert pages == [True, True, False, True]


async def test_a_browser_without_room_says_why_and_follows_as_soon_as_there_is_some(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_view, "CROWDED_SECONDS", 0.5)
    service = tollgate()
    await mesh_of(service, dependencies=[Gate(Bank())])
    address = f"{(await console_of([service], live_max='1')).base_url}/mesh"
    first, second = await browsing.page(), await browsing.page()
    await first.goto(address)
    await first.locator("#link-state[data-state=good]").wait_for()
    await second.goto(address)
    await second.locator("#link-state[data-state=waits]").wait_for()
    await second.locator("#warnings", has_text="1 pages are live").wait_for()
    await second.locator('tr[data-reaction="tolls.charge"][data-state=good]').wait_for()
    await first.close()
    await second.locator("#link-state[data-state=good]").wait_for()
    await second.locator("#warnings:empty").wait_for(state="attached")


async def test_a_live_page_is_renewed_until_its_session_is_over(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_view, "LIVE_SECONDS", 0.5)
    service = tollgate()
    await mesh_of(service, dependencies=[Gate(Bank())])
    browser = await console_of([service], token=TOKEN)
    session = (await browser.post("/mesh/login", data={"token": TOKEN})).cookies[COOKIE]
    page = await browsing.page()
    address = f"{browser.base_url}/mesh"
    await page.context.add_cookies([{"name": COOKIE, "value": session, "url": address}])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(address)
    await page.locator("#link-state[data-state=good]").wait_for()

    async def was_renewed() -> bool:
        return asked.count(f"{address}/live") >= 3

    await until(was_renewed)
    with browsing.complaints.expected():
        await page.context.clear_cookies()
        await page.locator("#link-state", has_text="logged out").wait_for()
