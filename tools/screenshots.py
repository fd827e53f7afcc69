"""Pictures of the pages for the documentation, taken in Chromium on a running demo: `just screenshots`."""

import asyncio
import re
import shutil
import sys
from pathlib import Path

from playwright.async_api import Browser, FloatRect, Page, ViewportSize, async_playwright

from tools.apng import animated

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
SIZE: ViewportSize = {"width": 1280, "height": 860}
LIFE_SIZE: ViewportSize = {"width": 1280, "height": 490}
CONSOLE_SIZE: ViewportSize = {"width": 1360, "height": 900}
FLOW_SIZE: ViewportSize = {"width": 1100, "height": 900}
MASKS = """root => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(root, "");
}"""
"""Where the repository lies is nobody's concern."""
THEMES = ("light", "dark")
FLAKY = "pm_sandbox_flaky"
POISON = "Poison: Publish one"
NOT_ZERO = re.compile("[1-9]")
MESH_MS = 60_000
FRAME_MS, LAST_FRAME_MS = 450, 3_000
RECORDS = """
  window.shown = [];
  const add = EventSource.prototype.addEventListener;
  EventSource.prototype.addEventListener = function (name, take) {
    add.call(this, name, (event) => {
      if (name === "page") window.shown.push(JSON.parse(event.data).html);
      take(event);
    });
  };
"""
"""What the stream of the page sends is kept."""
SHOWS = """html => {
  document.getElementById("order").innerHTML = html;
  document.getElementById("parts").hidden = true;
  const pill = document.getElementById("liveness");
  Object.assign(pill, { hidden: false, className: "pill live good", textContent: "live" });
}"""


async def main(shop_url: str, console_url: str, folder: Path) -> None:
    """Every picture, in both themes."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--hide-scrollbars"]
        )
        orders = {}
        for theme in THEMES:
            orders[theme] = await shop(browser, shop_url, theme, folder)
            await life(browser, shop_url, theme, folder)
        # Last, since thousands of orders are under way then.
        for theme in THEMES:
            await console(browser, console_url, orders[theme], theme, folder)
        await browser.close()


async def page_of(browser: Browser, theme: str, size: ViewportSize = SIZE) -> Page:
    """A page in a theme."""
    context = await browser.new_context(viewport=size, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(MESH_MS)
    return await context.new_page()


async def shop(browser: Browser, url: str, theme: str, folder: Path) -> str:
    """The menu with a basket, an order at work and at its end, and one that is declined; the id of the first."""
    page = await page_of(browser, theme)
    await page.goto(url)
    await fill(page)
    await page.screenshot(path=folder / f"shop-{theme}.png")
    await buy(page, "pm_card_visa")
    await page.get_by_text("The receipt is in your mail.").wait_for()
    await page.locator("#liveness", has_text="complete").wait_for()
    await page.screenshot(path=folder / f"order-{theme}.png", animations="disabled", full_page=True)
    order_id = page.url.rpartition("/")[2]
    await page.goto(url)
    await fill(page)
    await buy(page, "pm_card_visa_chargeDeclinedInsufficientFunds")
    await page.get_by_text("There is not enough money on the card.").first.wait_for()
    await page.locator("#liveness", has_text="complete").wait_for()
    await page.screenshot(path=folder / f"declined-{theme}.png", animations="disabled", full_page=True)
    await page.context.close()
    return order_id


async def console(browser: Browser, url: str, order_id: str, theme: str, folder: Path) -> None:
    """The flow while many orders go through, the story of one, and dead letters."""
    page = await page_of(browser, theme, CONSOLE_SIZE)
    for button in (POISON, POISON, POISON, "10,000 orders: Place them"):
        await push(page, url, button)
    await page.goto(url)
    await page.locator("[data-cell='delivery.dispatch|rate']", has_text=NOT_ZERO).first.wait_for(timeout=MESH_MS)
    await page.set_viewport_size(FLOW_SIZE)
    await page.locator("#warnings:not(:has(p))").wait_for(state="attached", timeout=MESH_MS)
    end = await page.locator("#figures-title").evaluate("title => title.getBoundingClientRect().top + scrollY")
    whole: FloatRect = {"x": 0, "y": 0, "width": FLOW_SIZE["width"], "height": end}
    await page.screenshot(path=folder / f"flow-{theme}.png", animations="disabled", full_page=True, clip=whole)
    await page.set_viewport_size(CONSOLE_SIZE)
    await push(page, url, "10,000 orders: Stop")
    await page.goto(f"{url}/story?key={order_id}")
    await page.screenshot(path=folder / f"story-{theme}.png", animations="disabled")
    await page.goto(f"{url}/letters")
    await page.locator("a.row").first.click()
    await page.locator("a.row").first.click()
    await page.get_by_role("link", name="Edit and replay").wait_for()
    await page.evaluate(MASKS, f"{ROOT}/")
    await page.screenshot(path=folder / f"letter-{theme}.png", animations="disabled")
    await page.context.close()


async def push(page: Page, url: str, button: str) -> None:
    """Push a fault button of the demo."""
    await page.goto(f"{url}/faults")
    await page.get_by_role("button", name=button).click()
    await page.locator(".notice.good").wait_for()


async def life(browser: Browser, url: str, theme: str, folder: Path) -> None:
    """An order's life, animated: what its page showed, one event after the other."""
    page = await page_of(browser, theme, LIFE_SIZE)
    await page.add_init_script(RECORDS)
    await page.goto(url)
    await fill(page)
    await buy(page, FLAKY)
    await page.locator("#liveness", has_text="complete").wait_for()
    shown = await page.evaluate("window.shown")
    frames = []
    for html in shown:
        await page.evaluate(SHOWS, html)
        frames.append(await page.screenshot(animations="disabled"))
    different = [frame for number, frame in enumerate(frames) if number == 0 or frame != frames[number - 1]]
    delays = [*[FRAME_MS] * (len(different) - 1), LAST_FRAME_MS]
    (folder / f"life-{theme}.png").write_bytes(animated(different, delays))
    await page.context.close()


async def fill(page: Page) -> None:
    """Two pizzas, two colas, one tiramisù."""
    for sku in ("pizza-margherita", "pizza-margherita", "cola", "cola", "tiramisu"):
        before = await page.locator("#basket").inner_text()
        await page.click(f"#add-{sku}")
        await page.wait_for_function("text => document.getElementById('basket').innerText !== text", arg=before)


async def buy(page: Page, payment_method: str) -> None:
    """Pay this way."""
    await page.check(f"input[value={payment_method}]")
    await page.click("#buy button")
    await page.wait_for_url("**/orders/**")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: just screenshots SHOP_URL CONSOLE_URL [FOLDER], with the addresses that `jetmesh demo` prints")
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else FOLDER))
