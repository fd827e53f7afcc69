"""The last fifteen minutes of the flow: what was read is shown again; of the rest, what the streams tell."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from jetmesh.console.past import SECONDS, Past, named
from jetmesh.testing import MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.support.browser import Browsing, require_accessible
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

CHARGE = 'data-reaction="tolls.charge"'


def _told(rate: str) -> dict[str, Any]:
    return {"cells": {"tolls.charge": {"rate": rate, "state": "good"}}, "totals": {}, "warnings": []}


def test_a_moment_is_shown_as_it_was_read_and_one_without_readings_is_not_made_up() -> None:
    past = Past()
    for second in range(0, 60, 2):
        past.keep(1_000 + second, _told(str(second)))
    past.keep(1_200, _told("late"))
    assert past.at(1_030) == _told("30")
    assert past.at(1_031.5) == _told("32")
    assert past.at(990) is None
    assert past.at(1_100) is None
    assert past.spans() == [(1_000, 1_058), (1_200, 1_200)]


def test_the_readings_of_a_day_take_no_more_memory_than_those_of_fifteen_minutes() -> None:
    past = Past()
    for half_second in range(2 * 24 * 3_600):
        past.keep(half_second / 2, _told(str(half_second)))
    assert len(past) <= SECONDS / 2
    assert past.at(24 * 3_600 - SECONDS - 60) is None


async def test_what_was_recorded_is_known_of_minutes_in_which_nobody_looked(
    mesh_of: MeshOf, console_of: ConsoleOf
) -> None:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank())])
    for number in range(3):
        await mesh.record(CarArrived(plate=f"car-{number}"))
        await mesh.recorded(TollPaid, f"car-{number}")
    (paid,) = [stored for stored in await mesh.story("car-2") if stored.type == "tolls.paid"]
    minute = datetime.fromisoformat(paid.time).replace(second=0, microsecond=0)
    browser = await console_of([service])
    told = (await browser.get("/mesh/at", params={"at": named(minute.timestamp() + 1)})).json()
    before = (await browser.get("/mesh/at", params={"at": named(minute.timestamp() - 90)})).json()
    assert before["recorded"] == {"tolls": 0}
    assert 1 <= told["recorded"]["tolls"] <= 3
    assert (before["cells"]["tolls.charge"]["state"], before["cells"]["tolls.charge"]["rate"]) == ("unknown", "–")
    assert "so nothing was read" in before["words"]


async def test_an_address_keeps_its_moment(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={"car-1"}))])
    browser = await console_of([service])

    async def is_good() -> bool:
        return f'{CHARGE} data-state="good"' in (await browser.get("/mesh")).text

    await until(is_good)
    then = named(time.time())
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.dead_letters(1)

    async def is_doubtful() -> bool:
        return f'{CHARGE} data-state="doubt"' in (await browser.get("/mesh")).text

    await until(is_doubtful)
    page = (await browser.get(f"/mesh?at={quote(then)}")).text
    assert f'{CHARGE} data-state="good"' in page
    assert "as it was read then" in page


@pytest.mark.parametrize(
    ("at", "status", "words"),
    [
        ("yesterday", 422, "is no time"),
        ("<b>", 422, "&lt;b&gt;"),
        ("9" * 400, 422, "is no time"),
        (named(1), 200, "keeps the last 15 minutes"),
        ("9999-01-01T00:00:00Z", 200, "still to come"),
        ("0001-01-01T00:00:00+23:59", 422, "is no time"),
    ],
    ids=["word", "markup", "long", "old", "future", "before-time"],
)
async def test_a_moment_that_cannot_be_shown_says_why(console_of: ConsoleOf, at: str, status: int, words: str) -> None:
    browser = await console_of([tollgate()])
    page = await browser.get("/mesh", params={"at": at})
    assert (page.status_code, words in page.text) == (status, True)


async def test_a_browser_goes_back_and_on_and_live(mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing) -> None:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={"car-1"}))])
    page = await browsing.page()
    address = f"{(await console_of([service])).base_url}/mesh"
    await page.goto(address)
    await page.locator(f'tr[{CHARGE}][data-state="good"]').wait_for()
    good = datetime.now(UTC)
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.dead_letters(1)
    await page.locator(f'tr[{CHARGE}][data-state="doubt"]').wait_for()
    await page.goto(f"{address}?at={quote(named(good.timestamp()))}")
    await page.locator(f'tr[{CHARGE}][data-state="good"]').wait_for()
    await require_accessible(page)
    await page.keyboard.press("[")
    await page.wait_for_url("**/mesh?at=*")
    await page.get_by_text("nothing was read").wait_for()
    assert await page.locator(f"tr[{CHARGE}]").get_attribute("data-state") == "unknown"
    shown = await page.evaluate("new URL(location.href).searchParams.get('at')")
    assert "first" in str(await page.locator("#go-live").get_attribute("class"))
    assert timedelta() < good - datetime.fromisoformat(shown) < timedelta(seconds=12)
    await page.locator("#back").fill("-600")
    await page.wait_for_function(
        "() => Date.now() - Date.parse(new URL(location.href).searchParams.get('at')) > 590000"
    )
    await page.keyboard.press("0")
    await page.wait_for_url(address)
    await page.locator(f'tr[{CHARGE}][data-state="doubt"]').wait_for()


async def test_without_javascript_each_minute_is_a_link(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing
) -> None:
    service = tollgate()
    await mesh_of(service, dependencies=[Gate(Bank())])
    page = await browsing.page(javascript=False)
    await page.goto(f"{(await console_of([service])).base_url}/mesh")
    await page.locator("#minutes a").nth(3).click()
    assert "?at=" in page.url
    assert "nothing was read" in await page.locator("main").inner_text()
    await page.click("#go-live")
    assert "at=" not in page.url
