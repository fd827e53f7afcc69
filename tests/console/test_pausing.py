"""A reaction is paused in the browser until a time of one's own choice, and the page warns of it while it rests."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.async_api import Page

from jetmesh.jetstream.api import request
from jetmesh.testing import LocalMesh, MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.browser import Browsing
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

PAUSE = "/mesh/streams/pause"


async def _tolls(mesh_of: MeshOf, console_of: ConsoleOf) -> tuple[LocalMesh, httpx.AsyncClient]:
    service = tollgate()
    return await mesh_of(service, dependencies=[Gate(Bank())]), await console_of([service])


async def _rests_until(mesh: LocalMesh) -> datetime | None:
    info = await request(mesh.context.connection, "CONSUMER.INFO.CARS.tolls-charge", strict=True)
    return datetime.fromisoformat(info["config"]["pause_until"]) if info.get("paused") else None


async def test_a_pause_lasts_until_the_time_that_was_chosen(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    mesh, browser = await _tolls(mesh_of, console_of)
    chosen = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=2)
    for text in (f"{chosen:%Y-%m-%dT%H:%M}", f"{chosen.astimezone(ZoneInfo('Asia/Tokyo')).isoformat()}"):
        page = (await send(browser, "/mesh/streams", PAUSE, reaction="tolls.charge", until=text)).text
        assert f"tolls.charge is paused until {chosen:%Y-%m-%d %H:%M:%S} UTC." in page
        assert "It goes on by itself then" in page
        assert await _rests_until(mesh) == chosen
    await send(browser, "/mesh/streams", "/mesh/streams/resume", reaction="tolls.charge")
    page = (await send(browser, "/mesh/streams", PAUSE, reaction="tolls.charge", length="until it is resumed")).text
    assert "rests until it is resumed" in page
    assert "It goes on by itself then" not in page


async def test_a_story_says_who_has_not_handled_it_and_why(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    mesh, browser = await _tolls(mesh_of, console_of)
    await send(browser, "/mesh/streams", PAUSE, reaction="tolls.charge", length="1 hour")
    await mesh.record(CarArrived(plate="car-1"))
    story = re.compile(r"tolls\.charge</a> has cars\.arrived: it waits to be delivered; paused")
    assert story.search((await browser.get("/mesh/story?key=car-1")).text)
    await send(browser, "/mesh/streams", "/mesh/streams/resume", reaction="tolls.charge")
    await mesh.recorded(TollPaid, "car-1")

    async def is_handled() -> bool:
        return "Not handled yet" not in (await browser.get("/mesh/story?key=car-1")).text

    await until(is_handled)


WRONG = {
    "2001-01-01T00:00": "2001-01-01T00:00:00+00:00 is past: give a later time",
    "soon": "&#39;soon&#39; is no time: write 2026-11-30T06:00, in UTC",
    "9999-12-31T23:59-12:00": "is no time: write",
    "2206-12-01T08:00": "is more than 366 days ahead: give an earlier time, or none, and resume it",
}


@pytest.mark.parametrize("text", WRONG)
async def test_a_time_that_can_not_be_pauses_nothing_and_says_why(
    mesh_of: MeshOf, console_of: ConsoleOf, text: str
) -> None:
    mesh, browser = await _tolls(mesh_of, console_of)
    page = (await send(browser, "/mesh/streams", PAUSE, reaction="tolls.charge", until=text)).text
    assert "tolls.charge is not paused: " in page
    assert WRONG[text] in page
    assert await _rests_until(mesh) is None


async def test_the_time_is_one_of_the_viewers_zone_or_without_a_script_in_utc(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing
) -> None:
    mesh, browser = await _tolls(mesh_of, console_of)
    day = (datetime.now(UTC) + timedelta(days=3)).date()
    for javascript, zone in ((True, "Asia/Tokyo"), (False, "UTC")):
        page = await browsing.page(javascript=javascript, timezone_id="Asia/Tokyo")
        await page.goto(f"{browser.base_url}/mesh/streams")
        await _choose(page, zone, f"{day}T08:00")
        await page.get_by_text("tolls.charge is paused until").wait_for()
        assert await _rests_until(mesh) == datetime.fromisoformat(f"{day}T08:00").replace(tzinfo=ZoneInfo(zone))
        await page.get_by_role("button", name="Resume").click()
        await page.get_by_text("tolls.charge is resumed").wait_for()


async def _choose(page: Page, zone: str, time: str) -> None:
    row = page.locator("tr", has=page.get_by_label("Pause tolls.charge"))
    await row.locator("summary").click()
    await row.get_by_label(f"or until, in {zone}").fill(time)
    await row.get_by_role("button", name="Pause", exact=True).click()
