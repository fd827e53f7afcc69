"""The audit in the browser: how far it is, a stop, and its result, without anything read while nobody looks."""

import asyncio
import re
from itertools import pairwise

import httpx
import pytest
from playwright.async_api import Page

from jetmesh.console import health_view, live_audit
from jetmesh.console.desk import Desk
from jetmesh.console.live_audit import AuditResult
from jetmesh.operate.books import Passed
from jetmesh.testing import MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.browser import Browsing, require_accessible
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

READ = re.compile(r"([\d,]+) of ([\d,]+) messages are read")
VIEWER = "v" * 32


async def _tolls(mesh_of: MeshOf, console_of: ConsoleOf, **settings: str) -> httpx.AsyncClient:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank())])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.recorded(TollPaid, "car-1")
    await mesh.record(CarArrived(plate="car-2"))
    await mesh.recorded(TollPaid, "car-2")
    return await console_of([service], **settings)


class Slow:
    """The audit, which waits after its first message until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go_on, self._audit = asyncio.Event(), health_view._audit
        monkeypatch.setattr(health_view, "_audit", self._slowly)

    async def _slowly(self, desk: Desk, passed: Passed) -> AuditResult:
        await passed("TOLLS", 1)
        await self.may_go_on.wait()
        return await self._audit(desk, passed)


async def test_the_audit_reads_on_only_while_somebody_looks(
    mesh_of: MeshOf, console_of: ConsoleOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await _tolls(mesh_of, console_of, viewer_token=VIEWER)
    browser.headers["Authorization"] = f"Bearer {VIEWER}"
    monkeypatch.setattr("jetmesh.operate.books.STEP", 1)
    monkeypatch.setattr(live_audit, "UNSEEN_SECONDS", 0.0)
    assert "what must hold" not in (await browser.get("/mesh/books")).text
    page = (await browser.get("/mesh/books?run=yes", follow_redirects=True)).text
    steps = []
    while found := READ.search(page):
        steps.append(tuple(map(int, found.groups())))
        page = (await browser.get("/mesh/books")).text
    assert {total for _, total in steps} == {2}
    assert {later - before for (before, _), (later, _) in pairwise(steps)} <= {0, 1}
    assert "what must hold" in page
    assert "what must hold" in (await browser.get("/mesh/books")).text


async def test_an_audit_at_which_nobody_looks_is_given_up(
    mesh_of: MeshOf, console_of: ConsoleOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await _tolls(mesh_of, console_of)
    monkeypatch.setattr(live_audit, "UNSEEN_SECONDS", 0.0)
    monkeypatch.setattr(live_audit, "GIVEN_UP_SECONDS", 0.0)
    await browser.get("/mesh/books?run=yes")

    async def is_given_up() -> bool:
        return "nobody looked for 0 minutes" in (await browser.get("/mesh/books")).text

    await until(is_given_up)


async def test_no_other_site_begins_an_audit_and_none_is_stopped_without_a_form(
    mesh_of: MeshOf, console_of: ConsoleOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, slow = await _tolls(mesh_of, console_of), Slow(monkeypatch)
    from_afar = {"Sec-Fetch-Site": "cross-site"}
    page = await browser.get("/mesh/books?run=yes", headers=from_afar)
    assert (page.status_code, "Run the audit" in page.text) == (200, True)
    await browser.get("/mesh/books?run=yes")
    assert (await browser.post("/mesh/books/stop", data={"form_token": "mine"})).status_code == 403
    assert READ.search((await browser.get("/mesh/books")).text)
    page = await send(browser, "/mesh/books", "/mesh/books/stop")
    assert "it was stopped after 1 of" in page.text
    slow.may_go_on.set()


async def test_the_page_follows_the_audit_by_itself_and_stops_it_by_keyboard(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, slow = await _tolls(mesh_of, console_of), Slow(monkeypatch)
    pages = {name: await browsing.page(javascript=name == "script") for name in ("script", "none")}
    page = pages["script"]
    for each in pages.values():
        await each.goto(f"{browser.base_url}/mesh/books")
    await page.get_by_role("button", name="Run the audit").click()
    await page.get_by_text("1 of 2 messages are read, now in TOLLS").wait_for()
    await require_accessible(page)
    await page.get_by_role("button", name="Stop").focus()
    await _is_fetched_again(page)
    await page.keyboard.press("Enter")
    await page.get_by_text("it was stopped after 1 of").wait_for()
    await pages["none"].get_by_role("button", name="Run the audit").click()
    await pages["none"].get_by_text("now in TOLLS").wait_for()
    await page.goto(f"{browser.base_url}/mesh/books")
    slow.may_go_on.set()
    for each in pages.values():
        await each.get_by_text("what must hold").wait_for()


async def _is_fetched_again(page: Page) -> None:
    """The part that follows is another one than before, and the focus is where it was."""
    await page.evaluate("document.getElementById('stop-audit').dataset.old = 'yes'")
    await page.locator("#stop-audit:not([data-old]):focus").wait_for()
