"""The shop in a real browser, on the whole mesh: an order is bought, followed, declined, cancelled."""

from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.browser.demo import Demo, buy, choose, until_complete
from tests.support.browser import (
    PHONE,
    THEMES,
    WIDE,
    Browsing,
    require_accessible,
    require_no_sideways_scrolling,
)

LIT = (
    "orders-place-placed",
    "payments-authorize-authorized",
    "inventory-shelve-reserved",
    "orders-promise-confirmed",
    "payments-capture-captured",
    "notifications-confirm-confirmation_sent",
    "notifications-thank-receipt_sent",
    "delivery-dispatch-dispatched",
    "delivery-dispatch-delivered",
)
HOSTILE_ID = "o-<b&\"'%22~|`x"
HOSTILE_EMAIL = "\"><img src=x onerror=document.title='x'>\u202egro.elpmaxe@ada"


async def bought(browsing: Browsing, running: Demo, payment_method: str = "pm_card_visa", theme: str = "light") -> Page:
    """The page of an order: a pizza and two colas."""
    page = await browsing.page(theme)
    await page.goto(running.url)
    await choose(page, "pizza-margherita", "cola", "cola")
    await buy(page, payment_method)
    return page


async def words_of(page: Page, part: str = "#main") -> str:
    return await page.locator(part).inner_text()


async def test_an_order_is_bought_and_followed_to_its_receipt(running: Demo, browsing: Browsing) -> None:
    page = await bought(browsing, running)
    for step in LIT:
        await page.locator(f"#step-{step}.done").wait_for()
    await until_complete(page)
    assert await page.locator("h1").inner_text() == "Delivered. Enjoy it!"
    assert "17.30 EUR\ntaken" in (await words_of(page, "#money")).replace("\n\n", "\n")
    assert "5.80 EUR" in await words_of(page, "#goods")
    assert "delivered to you" in await words_of(page, "#goods")
    took = await page.locator("#step-payments-authorize-authorized .facts").inner_text()
    assert "took" in took
    assert await page.locator(".story .lit").count() == 10
    await page.locator("summary", has_text="Receipt").click()
    frame = page.frame_locator("details[open] iframe")
    await frame.get_by_text("We have received your payment").wait_for()


@pytest.mark.parametrize(
    ("method", "title"),
    [
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "There is not enough money on the card."),
        ("pm_card_radarBlock", "The bank took the payment for fraud."),
        ("pm_sandbox_captureFails", "The bank held the money, but would not pay it."),
    ],
    ids=["no money", "fraud", "capture fails"],
)
async def test_what_a_refusal_means_is_said_in_words(
    running: Demo, browsing: Browsing, method: str, title: str
) -> None:
    page = await bought(browsing, running, method)
    await until_complete(page)
    assert await page.locator("h1").inner_text() == title
    assert "Nothing was charged." in await words_of(page, "#top")
    assert "nothing charged" in await words_of(page, "#money")
    assert "back on the shelf" in await words_of(page, "#goods")
    await page.locator("summary", has_text="cancelled").wait_for()


async def test_goods_that_are_short_are_named(running: Demo, browsing: Browsing) -> None:
    page = await browsing.page()
    await page.goto(running.url)
    await choose(page, *["truffle-special"] * 11)
    await buy(page)
    await until_complete(page)
    assert "Truffle special: 11 wanted, 10 there." in await words_of(page, "#top")


async def test_a_bank_that_wavers_is_asked_again_and_each_try_is_seen(running: Demo, browsing: Browsing) -> None:
    page = await bought(browsing, running, "pm_sandbox_flaky")
    await until_complete(page)
    assert "attempt 3" in await words_of(page, "#step-payments-authorize-authorized")
    story = await words_of(page, "#story")
    assert story.count("Hold the money: tried again") == 2
    assert "The card's issuer does not answer" in story


async def test_the_console_has_the_attempts_that_the_order_page_shows(running: Demo, browsing: Browsing) -> None:
    page = await bought(browsing, running, "pm_sandbox_flaky")
    await until_complete(page)
    order = page.url.rpartition("/")[2]
    await page.goto(f"{running.console_url}/reactions/payments/authorize")
    row = page.locator("tr", has_text=order)
    for _ in range(100):  # spans arrive a moment after their events
        if await row.locator("td").nth(4).inner_text() == "3":
            break
        await page.reload()
    assert await row.locator("td").nth(4).inner_text() == "3"
    failing = await page.locator("#failing ~ div").first.inner_text()
    assert failing.count("the card's issuer does not answer") >= 2
    await require_accessible(page)


async def test_an_order_is_cancelled_in_the_middle(running: Demo, browsing: Browsing) -> None:
    with running.paused("payments"):
        page = await bought(browsing, running)
        await page.locator("#step-inventory-shelve-reserved.done").wait_for()
        await page.locator("#step-payments-authorize-authorized.working").wait_for()
        await page.click("#cancel")
        await page.get_by_role("heading", name="You cancelled the order.").wait_for()
        assert await page.locator("#cancel").count() == 0
    await until_complete(page)
    assert "nothing charged: the hold is given back" in await words_of(page, "#money")


async def test_a_page_that_is_loaded_again_goes_on(running: Demo, browsing: Browsing) -> None:
    with running.paused("payments"):
        page = await bought(browsing, running)
        await page.locator("#step-inventory-shelve-reserved.done").wait_for()
        await page.reload()
        await page.locator("#step-inventory-shelve-reserved.done").wait_for()
        await page.locator("#step-payments-authorize-authorized.working").wait_for()
    await until_complete(page)
    assert "Delivered. Enjoy it!" in await words_of(page)


async def test_a_page_recovers_when_the_shop_was_away(running: Demo, browsing: Browsing) -> None:
    with running.paused("payments"), browsing.complaints.expected():
        page = await bought(browsing, running)
        await page.locator("#liveness", has_text="live").wait_for()
        running.kill("shop")
        await page.locator("#liveness", has_text="connection lost").wait_for()
        await page.locator("#liveness", has_text="live").wait_for(timeout=60_000)
    await until_complete(page)
    assert "Delivered. Enjoy it!" in await words_of(page)


async def test_a_page_says_that_the_mesh_is_away_and_comes_back_by_itself(running: Demo, browsing: Browsing) -> None:
    page = await bought(browsing, running)
    await until_complete(page)
    kept = {each["name"]: each["value"] for each in await page.context.cookies()}
    with browsing.complaints.expected():
        with running.paused("nats"):
            await page.reload()
            await page.get_by_role("heading", name="The mesh does not answer.").wait_for()
            async with httpx.AsyncClient(cookies=kept, trust_env=False, timeout=30) as client:
                mail = await client.get(f"{page.url}/mails/0")
            assert (mail.status_code, "The mesh does not answer now" in mail.text) == (503, True)
        await page.get_by_role("heading", name="Delivered. Enjoy it!").wait_for(timeout=60_000)


async def test_open_pages_say_that_the_broker_was_killed_and_go_on_by_themselves(
    running: Demo, browsing: Browsing
) -> None:
    menu, flow, letters = [await browsing.page() for _ in range(3)]
    with browsing.complaints.expected():
        with running.paused("payments"):
            order = await bought(browsing, running)
            await order.locator("#step-inventory-shelve-reserved.done").wait_for()
            await menu.goto(running.url)
            await menu.locator("#stock-cola", has_text="in stock").wait_for()
            await flow.goto(running.console_url)
            await flow.locator("#link-state", has_text="live").wait_for()
            with running.down("nats"):
                await order.locator("#trouble", has_text="no connection to its broker").wait_for()
                await order.locator("#liveness", has_text="the mesh is away").wait_for()
                await menu.locator("#stock-cola", has_text="not known now").wait_for()
                await flow.locator("#warnings", has_text="does not answer").wait_for()
                for page, path in ((letters, "letters"), (menu, f"story?key={order.url.rpartition('/')[2]}")):
                    await page.goto(f"{running.console_url}/{path}")
                    await page.get_by_role("heading", name="The mesh does not answer").wait_for()
        await until_complete(order)
        assert await order.locator("#trouble").count() == 0
        for step in LIT:
            assert await order.locator(f"#step-{step}.done").count() == 1
        await flow.locator("#link-state", has_text="live").wait_for(timeout=60_000)
        await expect(flow.locator("#warnings")).not_to_contain_text("does not answer", timeout=60_000)
        await letters.get_by_role("heading", name="Dead letters").wait_for(timeout=60_000)
        await menu.get_by_text("orders.placed").first.wait_for(timeout=60_000)


async def test_everything_works_without_scripts(running: Demo, browsing: Browsing) -> None:
    page = await browsing.page(javascript=False)
    await page.goto(running.url)
    await page.click("#add-cola")
    await page.click("#add-cola")
    await page.click("[id='step-1-cola']")
    assert "2.90 EUR" in await words_of(page, "#basket")
    await buy(page)
    await page.get_by_text("The receipt is in your mail.").wait_for(timeout=60_000)
    time = page.locator("#top time")
    assert await time.inner_text() == f"{(await time.get_attribute('title') or '')[:19]} UTC"
    await page.click("#top a")
    await page.click("#bought a")
    assert "The receipt is in your mail." in await words_of(page)


async def test_the_keyboard_is_enough(running: Demo, browsing: Browsing) -> None:
    page = await browsing.page(timezone_id="America/St_Johns", locale="en-GB")
    await page.goto(running.url)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await _tab_to(page, "add-pizza-margherita")
    await page.keyboard.press("Enter")
    await page.locator("#basket", has_text="11.50 EUR").wait_for()
    assert await page.evaluate("document.activeElement.id") == "add-pizza-margherita"
    await _tab_to(page, "step-1-pizza-margherita")
    await page.keyboard.press("Enter")
    await page.locator("#basket", has_text="Nothing in it yet").wait_for()
    await page.wait_for_function("document.activeElement.id === 'basket-title'")
    await page.click("#add-pizza-margherita")
    await _tab_to(page, "email")
    await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/orders/**")
    await until_complete(page)
    await _tab_to(page, "", "summary")
    await page.keyboard.press("Enter")
    assert await page.locator("details[open]").count() == 1
    for time in (page.locator("#top time"), page.locator(".story time").first):
        at = datetime.fromisoformat(str(await time.get_attribute("datetime"))).astimezone(ZoneInfo("America/St_Johns"))
        assert f"{at:%H:%M:%S}" in f"{await time.inner_text()} {await time.get_attribute('title')}"
        assert str(await time.get_attribute("title")).endswith(" UTC")
    assert await page.locator(".story time").first.inner_text() == "+0.0 ms"


async def _tab_to(page: Page, element_id: str, name: str = "") -> None:
    for _ in range(60):
        await page.keyboard.press("Tab")
        there = await page.evaluate("[document.activeElement.id, document.activeElement.localName]")
        if there[0] == element_id and name in ("", there[1]):
            return
    pytest.fail(f"the keyboard does not reach {element_id or name}")


@pytest.mark.parametrize("theme", THEMES)
async def test_every_view_is_accessible_and_fits(running: Demo, browsing: Browsing, theme: str) -> None:
    page = await browsing.page(theme)
    await page.goto(running.url)
    await _fits(page)
    await choose(page, "cola")
    await _fits(page)
    await buy(page, "pm_card_chargeDeclinedExpiredCard")
    await until_complete(page)
    await _fits(page)
    with browsing.complaints.expected():
        await page.goto(f"{running.url}/orders/o-nobodys")
    await _fits(page)


async def _fits(page: Page) -> None:
    for width, height in (PHONE, WIDE):
        await page.set_viewport_size({"width": width, "height": height})
        await _fits_as_it_is(page)


async def _fits_as_it_is(page: Page) -> None:
    # What lights up or breathes has not its colours before that is over.
    await page.evaluate("document.getAnimations().forEach(each => each.cancel())")
    # At the end of the page, what sticks to the lower edge lies over nothing.
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await require_accessible(page)
    await require_no_sideways_scrolling(page)


async def test_nobody_elses_order_can_be_seen(running: Demo, browsing: Browsing) -> None:
    mine = await bought(browsing, running)
    await until_complete(mine)
    path = mine.url
    token = next(each["value"] for each in await mine.context.cookies() if each["name"] == "orders")
    other = httpx.AsyncClient(trust_env=False)
    async with other:
        unknown = await other.get(f"{running.url}/orders/o-unknown")
        for cookies in ({}, {"orders": token[:-3] + "AAA"}, {"orders": token.replace("o-", "o-x")}):
            other.cookies = httpx.Cookies(cookies)
            for place in ("", "/events", "/mails/0"):
                answer = await other.get(path + place)
                assert (answer.status_code, answer.text) == (404, unknown.text)
            assert (await other.post(path + "/cancel")).status_code == 404
        other.cookies = httpx.Cookies({"orders": token})
        assert (await other.get(path)).status_code == 200
    assert "HttpOnly" not in token
    assert await mine.evaluate("document.cookie") == ""


async def test_the_token_is_kept_from_scripts_and_other_sites(running: Demo, browsing: Browsing) -> None:
    page = await bought(browsing, running)
    (kept,) = [each for each in await page.context.cookies() if each["name"] == "orders"]
    assert (kept["httpOnly"], kept["sameSite"]) == (True, "Lax")
    await until_complete(page)


async def test_a_form_that_is_sent_twice_is_one_order(running: Demo) -> None:
    form = {"email": "ada@example.com", "payment_method": "pm_card_visa", "key": "k" * 24}
    async with httpx.AsyncClient(base_url=running.url, cookies={"basket": "cola.1"}, trust_env=False) as client:
        first, second = [await client.post("/buy", data=form, headers={"Cookie": "basket=cola.1"}) for _ in range(2)]
    assert first.status_code == 303
    assert first.headers["location"] == second.headers["location"]


async def test_what_is_hostile_is_shown_whole_and_does_nothing(running: Demo, browsing: Browsing) -> None:
    order = {
        "order_id": HOSTILE_ID,
        "customer": {"customer_id": "c-1", "email": "ada@example.com"},
        "lines": [{"sku": "cola", "quantity": 1, "unit_price_minor": 290}],
        "currency": "EUR",
        "payment_method": "<script",
    }
    async with httpx.AsyncClient(base_url=running.edge_url, trust_env=False) as client:
        placed = (await client.post("/orders", json=order)).raise_for_status().json()
    page = await browsing.page()
    kept = f"{httpx.QueryParams({'x': HOSTILE_ID})}".removeprefix("x=").replace("+", "%20").replace("~", "%7E")
    await page.context.add_cookies([{"name": "orders", "value": f"{kept}~{placed['token']}", "url": running.url}])
    await page.goto(running.url)
    await page.click("#bought a")
    await until_complete(page)
    assert HOSTILE_ID in await words_of(page, "#top")
    assert "The bank does not know this way to pay." in await words_of(page, "#top")
    assert await page.locator("#main b b, #main script").count() == 0


async def test_a_form_with_hostile_contents_comes_back_whole(running: Demo, browsing: Browsing) -> None:
    page = await browsing.page()
    await page.goto(running.url)
    await choose(page, "cola")
    await page.evaluate("document.getElementById('email').type = 'text'")
    await page.fill("#email", HOSTILE_EMAIL)
    with browsing.complaints.expected():
        await page.click("#buy button")
        await page.locator("[role=alert]").wait_for()
    assert await page.input_value("#email") == HOSTILE_EMAIL
    assert await page.locator("#main img[src=x]").count() == 0
    assert await page.locator("#email[aria-invalid=true]").count() == 1
    assert await page.title() == "jetmesh shop"


async def test_the_stock_is_live_on_every_page_that_looks(running: Demo, browsing: Browsing) -> None:
    watching = await browsing.page()
    await watching.goto(running.url)
    await watching.locator("#liveness", has_text="live").wait_for()
    before = await watching.locator("#stock-panna-cotta").inner_text()
    page = await browsing.page()
    await page.goto(running.url)
    await choose(page, "panna-cotta")
    await buy(page)
    await watching.wait_for_function(
        "before => document.getElementById('stock-panna-cotta').innerText !== before", arg=before
    )
    await until_complete(page)
