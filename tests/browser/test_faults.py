"""The fault buttons of the demo, in a real browser: something breaks, orders wait, and all of them end well."""

import re

from playwright.async_api import Page, expect

from tests.browser.demo import Demo, buy, choose, until_complete
from tests.support.browser import (
    COLOURS,
    PHONE,
    RULES,
    WIDE,
    Browsing,
    require_accessible,
    require_no_sideways_scrolling,
)

SMALL = (1024, 768)
WHOLE_MS = 60_000
"""A deadline for what takes several steps of the whole mesh."""


async def act(page: Page, running: Demo, button: str) -> None:
    """Push a button of the page of faults."""
    await page.goto(f"{running.console_url}/faults")
    await page.get_by_role("button", name=button).click()
    await page.locator(".notice.good").wait_for()


async def state_in_flow(page: Page, running: Demo, reaction: str, words: str) -> None:
    """The flow says so of a reaction, by itself."""
    if not page.url.endswith("/mesh"):
        await page.goto(running.console_url)
    cell = page.locator(f"td [data-cell='{reaction}|words']")
    await expect(cell).to_contain_text(re.compile(words), timeout=WHOLE_MS)


async def at_rest(page: Page, running: Demo) -> None:
    """Everything has been delivered, and the books are balanced."""
    await page.goto(running.console_url)
    await page.locator("[data-total=lag]", has_text=re.compile("^0$")).wait_for(timeout=WHOLE_MS)
    await page.goto(f"{running.console_url}/books?run=yes", timeout=WHOLE_MS)
    await page.get_by_text("The audit is clean").wait_for(timeout=WHOLE_MS)


async def until_told(page: Page, address: str, words: str) -> None:
    """A page says so, as soon as it is known."""
    await page.goto(address)
    while words not in str(await page.locator("main").text_content()):
        await page.reload()


async def bought(page: Page, running: Demo) -> None:
    await page.goto(running.url)
    await choose(page, "cola")
    await buy(page)


async def test_orders_wait_while_the_bank_is_closed_and_then_all_are_confirmed(
    running: Demo, browsing: Browsing
) -> None:
    page, customer = await browsing.page(), await browsing.page()
    await act(page, running, "Bank: Close it")
    await bought(customer, running)
    await state_in_flow(page, running, "payments.authorize", "circuit breaker is (open|half-open)")
    assert await customer.locator("#step-payments-authorize-authorized.done").count() == 0
    await until_told(page, f"{running.console_url}/reactions/payments/authorize", "the bank is closed")
    order_id = customer.url.rpartition("/")[2]
    await until_told(page, f"{running.console_url}/story?key={order_id}", "payments.authorize has orders.placed: it")
    await act(page, running, "Bank: Open it")
    await until_complete(customer)
    assert await customer.locator("h1").inner_text() == "Delivered. Enjoy it!"
    await state_in_flow(page, running, "payments.authorize", "^(?!.*circuit breaker)")
    await at_rest(page, running)


async def test_a_poison_order_is_found_edited_replayed_and_confirmed(running: Demo, browsing: Browsing) -> None:
    page = await browsing.page()
    await act(page, running, "Poison: Publish one")
    order_id = (re.findall(r"o-[0-9a-f]+", await page.locator(".notice.good").inner_text()))[0]
    await page.click("#item-poison a")
    await page.locator("a.row", has_text="quantity").first.click()
    await page.locator("a.row").first.click()
    await page.get_by_role("link", name="Edit and replay").click()
    body = await page.input_value("#body")
    assert order_id in body
    await page.fill("#body", body.replace('"two"', "2"))
    await page.get_by_role("button", name="Check").click()
    await page.get_by_role("button", name="Send to").click()
    await page.locator(".notice.good", has_text="as a new event").wait_for()
    await page.goto(f"{running.console_url}/story?key={order_id}")
    while "orders.confirmed" not in await page.locator("main").inner_text():
        await page.reload()


async def test_a_service_that_is_stopped_is_seen_and_goes_on_where_it_was(running: Demo, browsing: Browsing) -> None:
    page, customer = await browsing.page(), await browsing.page()
    await act(page, running, "Service inventory: Stop it")
    await bought(customer, running)
    await state_in_flow(page, running, "inventory.shelve", "no process of its service answers")
    await customer.locator("#step-payments-authorize-authorized.done").wait_for()
    assert await customer.locator("#step-inventory-shelve-reserved.done").count() == 0
    await act(page, running, "Service inventory: Start it")
    await until_complete(customer)
    await state_in_flow(page, running, "inventory.shelve", "^(?!no process)")
    await page.goto(f"{running.console_url}/log")
    assert "faults.inventory" in await page.locator("main").inner_text()


async def test_many_orders_are_placed_with_their_progress_until_they_are_stopped(
    running: Demo, browsing: Browsing
) -> None:
    page = await browsing.page()
    await act(page, running, "10,000 orders: Place them")
    many = page.locator("#item-orders-many")
    await many.locator("progress[value]:not([value='0'])").wait_for(timeout=WHOLE_MS)
    await act(page, running, "10,000 orders: Stop")
    await many.get_by_role("button", name="10,000 orders: Place them").wait_for(timeout=WHOLE_MS)
    placed, ended = re.findall(r"[\d,]+(?= placed| ended)", await many.inner_text())
    assert placed == ended != "0"
    await at_rest(page, running)


async def test_the_picture_of_the_flow_is_read_on_a_small_screen_and_its_list_on_a_phone(
    running: Demo, browsing: Browsing
) -> None:
    page = await browsing.page(size=SMALL)
    await page.goto(running.console_url)
    picture, reactions = page.locator(".picture"), page.locator(".reactions > li")
    shown = await picture.evaluate("it => [it.scrollWidth - it.clientWidth, it.firstElementChild.clientWidth]")
    drawn = int(str(await page.locator("svg.flow").get_attribute("width")))
    assert (shown[0], round(shown[1] / drawn, 1)) == (0, 1.0)
    assert not await reactions.first.is_visible()
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert not await picture.is_visible()
    assert await reactions.count() == await page.locator("svg.flow a.reaction").count()
    await (
        reactions.filter(has=page.get_by_role("link", name="payments.authorize", exact=True))
        .filter(has_text=re.compile("takes\\s*orders.placed\\s+may record\\s*payments.authorized, payments.declined"))
        .wait_for()
    )


async def test_the_page_of_faults_is_accessible_and_fits(running: Demo, browsing: Browsing) -> None:
    for theme, rules in (("light", RULES), ("dark", COLOURS)):
        page = await browsing.page(theme)
        await page.goto(f"{running.console_url}/faults")
        for width, height in (WIDE, PHONE):
            await page.set_viewport_size({"width": width, "height": height})
            await require_accessible(page, rules)
            await require_no_sideways_scrolling(page)
