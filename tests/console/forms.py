"""Forms of the console, filled in as a browser does."""

import re
from html import unescape

import httpx

TOKEN = re.compile(r'name="form_token" value="([^"]*)"')
HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


async def send(browser: httpx.AsyncClient, page: str, action: str, **fields: str) -> httpx.Response:
    """Send a form that stands on a page, with what is hidden in it; follow where it leads."""
    shown = await browser.get(page)
    assert shown.status_code == 200, shown.text
    hidden = {name: unescape(value) for name, value in HIDDEN.findall(shown.text)}
    return await browser.post(action, data={**hidden, **fields}, follow_redirects=True)
