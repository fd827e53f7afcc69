"""The console in a real Chromium: by eye of axe-core, on a phone, by keyboard, without JavaScript, and live."""

import re

import httpx
import pytest

from jetmesh.testing import Broker, MeshOf
from tests.console.conftest import ConsoleOf
from tests.support.browser import PHONE, THEMES, WIDE, Browsing, require_accessible, require_no_sideways_scrolling
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATHS = (
    "/mesh",
    "/mesh/reactions/tolls/charge",
    "/mesh/letters",
    "/mesh/letters/1",
    "/mesh/letters/2/edit",
    "/mesh/log",
)


async def _address(mesh_of: MeshOf, console_of: ConsoleOf) -> str:
    """A console over a mesh with a story, a dead letter, and what nobody wants to see."""
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={"car-2"}))])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.record(CarArrived(plate="car-2"))
    await mesh.publish("cars.arrived.<b>car\u202e", '{"plate": "<script>alert(1)</script>"')
    await mesh.recorded(TollPaid, "car-1")
    await mesh.dead_letters(2)
    return str((await console_of([service])).base_url)


@pytest.mark.parametrize("theme", THEMES)
async def test_every_view_is_accessible_and_fits_a_phone(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, theme: str
) -> None:
    address = await _address(mesh_of, console_of)
    async with httpx.AsyncClient(base_url=address) as asking:
        groups = re.findall(r"/mesh/letters/groups/[0-9a-f]+", (await asking.get("/mesh/letters")).text)
    for size in (WIDE, PHONE):
        page = await browsing.page(theme, size)
        for path in (*PATHS, *groups):
            await page.goto(f"{address}{path}")
            await page.wait_for_selector("h1")
            await require_accessible(page)
            await require_no_sideways_scrolling(page)


async def test_without_javascript_the_picture_and_the_figures_are_there(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing
) -> None:
    page = await browsing.page(javascript=False)
    await page.goto(f"{await _address(mesh_of, console_of)}/mesh")
    assert await page.locator("svg.flow a.reaction").count() == 1
    await page.click("tbody a.row")
    assert "charge the toll" in await page.locator("main").inner_text()


async def test_the_figures_follow_and_the_page_says_when_they_do_not(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, broker: Broker
) -> None:
    page = await browsing.page()
    await page.goto(f"{await _address(mesh_of, console_of)}/mesh")
    state = page.locator("#link-state")
    await state.filter(has_text="live").wait_for()
    broker.kill()
    await state.filter(has_text="broker away").wait_for()
    broker.start()
    await state.filter(has_text="live").wait_for()
    await page.locator('tr[data-state="doubt"], tr[data-state="good"]').wait_for()


async def test_keys_show_themselves_and_lead_to_a_reaction(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing
) -> None:
    page = await browsing.page()
    await page.goto(f"{await _address(mesh_of, console_of)}/mesh")
    await page.keyboard.press("?")
    await page.locator("dialog[open]").wait_for()
    await require_accessible(page)
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/reactions/tolls/charge")
    await page.keyboard.press("g")
    await page.keyboard.press("f")
    await page.wait_for_url("**/mesh")
