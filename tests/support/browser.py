"""A real Chromium on our pages. What a browser complains of fails the test: a violation of the Content-Security-Policy,
an error on the console, a request that failed."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, Response, async_playwright

AXE = Path(__file__).parent.parent / "browser" / "vendor" / "axe.js"
HELP = "`just tools chromium` says how to install it"
WIDE, PHONE = (1280, 900), (360, 740)
THEMES = ("light", "dark")
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast"]}
"""What may differ from theme to theme."""
TOO_WIDE = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const wide = [document.documentElement, ...all(".scroll")].filter(each => each.scrollWidth > each.clientWidth);
  const words = all("dl.facts dd").filter(each => each.innerText.length > 8);
  const narrow = words.filter(each => each.clientWidth && each.clientWidth < 64);
  const cut = all("table.named [data-column]").filter(each => each.scrollHeight > each.clientHeight + 1);
  const told = (each) => `${each.localName} ${each.className}: ${each.innerText.slice(0, 60)}`;
  return [...wide, ...narrow, ...cut].map(told);
}"""
# Where the whole mesh runs on few cores, a page may take a while; a deadline, not a pause.
DEADLINE_MS = 20_000


class Complaints:
    """What the browser complained of, on all pages of a test."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._expects = False

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Within, complaints are what the test is about: a server goes away, an answer is a refusal."""
        self._expects = True
        try:
            yield
        finally:
            self._expects = False

    def watch(self, page: Page) -> None:
        """Hear everything of this page."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._add(f"uncaught: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._add(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # A page that is left gives up what it still waited for; a stream of events never ends otherwise.
        if request.failure != "net::ERR_ABORTED":
            self._add(f"{request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._add(f"{response.request.method} {response.url}: {response.status}")

    def _add(self, text: str) -> None:
        if not self._expects:
            self.texts.append(text)


class Browsing:
    """One browser for a test; each page has cookies of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser, self.complaints = browser, Complaints()

    async def page(
        self, theme: str = "light", size: tuple[int, int] = WIDE, *, javascript: bool = True, **options: Any
    ) -> Page:
        """A new page, in a context of its own."""
        context = await self._browser.new_context(
            color_scheme=theme,  # type: ignore[arg-type]
            viewport={"width": size[0], "height": size[1]},
            java_script_enabled=javascript,
            reduced_motion="no-preference",
            **options,
        )
        context.set_default_timeout(DEADLINE_MS)
        page = await context.new_page()
        self.complaints.watch(page)
        return page


@asynccontextmanager
async def browsing() -> AsyncIterator[Browsing]:
    """A browser, without a window; afterwards the test fails by what it complained of. Without Chromium the test is
    skipped; with CI=true it fails."""
    path = chromium()
    async with async_playwright() as playwright:
        # As root there is no sandbox; the pages are our own.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=path, args=options)
        try:
            mine = Browsing(browser)
            yield mine
        finally:
            await browser.close()
    assert mine.complaints.texts == []


def chromium() -> str:
    """The program's path."""
    if path := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"):
        return path
    if os.environ.get("CI"):
        pytest.fail(f"Chromium is not installed: {HELP}")
    pytest.skip(f"Chromium is not installed: {HELP}")


async def require_accessible(page: Page, rules: Mapping[str, Any] = RULES) -> None:
    """axe-core finds nothing on the page as it is. Its script comes over the debugger, which no policy concerns."""
    if await page.evaluate("!window.axe"):
        await page.evaluate(AXE.read_text())
    found = await page.evaluate("rules => axe.run(document, {runOnly: rules})", rules)
    violations = [
        f"{each['id']}: {node['target']}: {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
    assert violations == [], f"{page.url}: {violations}"


async def require_no_sideways_scrolling(page: Page) -> None:
    """Everything fits the width: the page, its tables, and the words of its lists have room beside their names, and the
    names in their rows."""
    found = await page.evaluate(TOO_WIDE)
    assert found == [], f"{page.url}: {found}"
