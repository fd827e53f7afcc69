"""The console in a real Chromium: by eye of axe-core, on a phone, by keyboard, without JavaScript, and live."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx
import pytest

from jetmesh.testing import Broker, MeshOf
from tests.console.conftest import ConsoleOf
from tests.support.browser import (
    COLOURS,
    PHONE,
    RULES,
    WIDE,
    Browsing,
    require_accessible,
    require_no_sideways_scrolling,
)
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATHS = (
    "/mesh",
    "/mesh/reactions/tolls/charge",
    "/mesh/letters",
    "/mesh/letters/1",
    "/mesh/letters/2/edit",
    "/mesh/log",
    "/mesh/story?path=plate",
    "/mesh/story?key=car-1",
    "/mesh/messages/TOLLS/1",
    "/mesh?at=2020-01-01T00:00:00Z",
    "/mesh/streams",
    "/mesh/contracts",
    "/mesh/contracts/cars.arrived",
    "/mesh/health",
    "/mesh/books?run=yes",
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


async def test_every_view_is_accessible_and_fits_a_phone(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing
) -> None:
    address = await _address(mesh_of, console_of)
    async with httpx.AsyncClient(base_url=address) as asking:
        groups = re.findall(r"/mesh/letters/groups/[0-9a-f]+", (await asking.get("/mesh/letters")).text)
    for theme, rules in (("light", RULES), ("dark", COLOURS)):
        page = await browsing.page(theme)
        for path in (*PATHS, *groups):
            await page.goto(f"{address}{path}")
            await page.wait_for_selector("h1")
            for width, height in (WIDE, PHONE):
                await page.set_viewport_size({"width": width, "height": height})
                await require_accessible(page, rules)
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
    middles = "[...document.querySelectorAll('svg.flow a')].map(box => box.getBBox().y + box.getBBox().height / 2)"
    assert (heights := await page.evaluate(middles)) == sorted(heights)
    await page.keyboard.press("?")
    await page.locator("dialog[open]").wait_for()
    await require_accessible(page)
    told = await page.locator("dl.keys kbd").all_inner_texts()
    handled = await page.evaluate("[...document.querySelectorAll('nav [data-key]')].map(link => link.dataset.key)")
    assert set(told) == {"/", "g", *handled, "j", "k", "Enter", "n", "p", "u", "t", "Esc", "?", "[", "]", "0"}
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/reactions/tolls/charge")
    await page.keyboard.press("u")
    await page.wait_for_url("**/mesh")
    await page.keyboard.press("g")
    await page.keyboard.press("d")
    await page.wait_for_url("**/mesh/letters")
    await page.keyboard.press("g")
    await page.keyboard.press("f")
    await page.wait_for_url("**/mesh")


async def test_the_theme_that_was_chosen_is_kept(mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing) -> None:
    address, page = await _address(mesh_of, console_of), await browsing.page("light")
    await page.goto(f"{address}/mesh/letters")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    button = page.locator("#theme")
    for theme in ("light", "dark"):
        await button.click()
        await page.locator(f'#theme[title="Theme: {theme}"]').wait_for()
    dark = await page.evaluate(ground)
    await page.goto(f"{address}/mesh/log")
    assert (dark == light, await page.evaluate(ground)) == (False, dark)
    await require_accessible(page)
    await page.keyboard.press("t")
    await page.locator('#theme[title="Theme: system"]').wait_for()
    assert await page.evaluate(ground) == light


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "none"])
async def test_times_are_in_the_zone_of_who_looks_with_utc_under_the_pointer(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, *, javascript: bool
) -> None:
    page = await browsing.page(javascript=javascript, timezone_id="America/St_Johns", locale="en-GB")
    await page.goto(f"{await _address(mesh_of, console_of)}/mesh/letters")
    time = page.locator("td time").first
    said, title, at = await time.inner_text(), await time.get_attribute("title"), await time.get_attribute("datetime")
    assert title
    assert title.endswith(" UTC")
    moment = datetime.fromisoformat(str(at))
    here = moment.astimezone(ZoneInfo("America/St_Johns")) if javascript else moment.astimezone(UTC)
    assert f"{here:%H:%M:%S}" in said
    assert ("UTC" in said) is not javascript
    zone = await page.locator("#zone").inner_text()
    assert zone == ("Times are in America/St_Johns; in UTC under the pointer." if javascript else "Times are in UTC.")


async def test_what_batches_did_and_the_log_are_accessible_and_fit_a_phone(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing
) -> None:
    address = await _address(mesh_of, console_of)
    page = await browsing.page("dark", PHONE)
    await page.goto(f"{address}/mesh/letters?text=blacklist")
    await page.click("tbody a.row")
    await page.click("summary")
    await page.fill('[name="reason"]', "a test")
    await page.click('button:has-text("Discard 1")')
    await page.click('button:has-text("Undo: bring 1 back")')
    await page.locator("#batches").filter(has_text="1 of 1 brought back").wait_for()
    for path in ("", f"{address}/mesh/log", f"{address}/mesh/log?all=yes"):
        await page.goto(path or page.url)
        await page.wait_for_selector("h1")
        await require_accessible(page)
        await require_no_sideways_scrolling(page)
    await page.get_by_text("undone").wait_for()
