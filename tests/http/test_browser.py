"""The files of pages, what a browser is told to refuse, and that the watched browser of the tests sees it."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from jetmesh.http import Assets, PageSecurity
from jetmesh.http.browser.assets import STATIC
from jetmesh.testing import until
from tests.support.browser import (
    PHONE,
    THEMES,
    Browsing,
    require_accessible,
    require_no_sideways_scrolling,
)
from tests.support.serving import listening

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Parcels</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="{icon}"><link rel="stylesheet" href="{css}">
<script type="module" src="{js}"></script></head>
<body><header class="bar"><div><a class="brand" href="/">Parcels</a><nav aria-label="Pages"><a href="/">Here</a></nav>
</div></header><main class="page stack"><h1>Parcels</h1><div class="card stack" id="live"><p>Nothing yet.</p></div>
<p class="notice bad"><strong>The depot is away.</strong> The page recovers by itself.</p>
<p><span class="pill good live">live</span> <span class="pill warn">late</span> <span class="pill bad">lost</span>
<span class="pill info">new</span> <span class="pill">none</span></p>
<form method="post" action="/"><label for="street">Street</label> <input id="street" name="street">
<button class="button first">Send</button> <button class="button danger">Drop</button></form>{more}</main>
</body></html>"""

SCRIPT = """
import { follow, html, render, signal } from "../base/live.js";
import uPlot from "../vendor/uplot.js";
const count = signal(0);
render(html`<p>Seen: <output>${count}</output></p>`, document.getElementById("live"));
document.documentElement.dataset.plots = typeof uPlot;
follow("/events", { parcel: (data) => { count.value += data.count; } },
  (state) => { document.documentElement.dataset.state = state; });
"""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class Site:
    """A page with a stream of events, whose server can go away."""

    def __init__(self, folder: Path) -> None:
        (folder / "own").mkdir()
        (folder / "own" / "page.js").write_text(SCRIPT)
        self.assets = Assets(own=folder / "own")
        self.more, self.is_away, self.asked, self.posts = "", False, list[str](), 0
        self.app = Starlette(
            routes=[Route("/", self.page), Route("/", self.take, methods=["POST"]), Route("/events", self.events),
                    self.assets.route()],
            middleware=[Middleware(PageSecurity)],
        )  # fmt: skip

    async def page(self, _: Request) -> HTMLResponse:
        names = {"icon": "base/icon.svg", "css": "base/base.css", "js": "own/page.js"}
        return HTMLResponse(
            PAGE.format(more=self.more, **{name: self.assets.url(file) for name, file in names.items()})
        )

    async def take(self, _: Request) -> Response:
        self.posts += 1
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        self.asked.append(request.query_params.get("last_event_id", ""))
        if self.is_away:
            return Response(status_code=503)
        number = len(self.asked)
        text = f'event: parcel\nid: DEPOT:{number}\ndata: {{"count": 1}}\n\n'
        text += "event: end\ndata: {}\n\n" if number > 2 else ""
        return Response(text, media_type="text/event-stream")


@asynccontextmanager
async def site_in(folder: Path) -> AsyncIterator[tuple[Site, str]]:
    site = Site(folder)
    async with listening(site.app) as url:
        yield site, url


async def test_files_are_kept_for_good_under_the_digest_of_all(tmp_path: Path) -> None:
    async with site_in(tmp_path) as (site, url), httpx.AsyncClient(base_url=url) as client:
        path = site.assets.url("base/base.css")
        first = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        older = await client.get(path.replace(site.assets.digest, "0" * 16))
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})
        missing = await client.get("/assets/0/base/%2e%2e/%2e%2e/assets.py")
    assert first.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert first.headers["Content-Encoding"] == "gzip"
    assert plain.text == first.text == older.text
    assert older.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert missing.status_code == 404


def test_a_changed_file_changes_the_path_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text("1")
    before = Assets(own=tmp_path)
    (tmp_path / "page.js").write_text("2")
    assert before.url("base/base.css") != Assets(own=tmp_path).url("base/base.css")
    with pytest.raises(KeyError, match=r"no asset 'own/pgae.js': there are base/base.css, .*own/page.js"):
        before.url("own/pgae.js")


def test_all_that_pages_can_load_is_below_150_kilobytes_gzipped() -> None:
    files = [path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".svg")]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 150_000
    assert {"preact.js", "signals.js", "htm.js", "uplot.js", "base.css", "live.js"} <= {path.name for path in files}


def test_what_others_wrote_lies_there_with_version_licence_and_integrity() -> None:
    folder = STATIC / "vendor"
    record = json.loads((folder / "vendor.json").read_text())
    assert [each["name"] for each in record] == ["preact", "@preact/signals-core", "@preact/signals", "htm", "uplot"]
    for each in record:
        assert re.fullmatch(r"\d+\.\d+\.\d+", each["version"])
        assert each["integrity"].startswith("sha512-")
        assert each["licence"] in ("MIT", "Apache-2.0")
        assert [name for name in each["files"] if name.endswith(".LICENSE.txt")]


def test_nothing_evaluates_text() -> None:
    for path in STATIC.rglob("*.js"):
        assert not re.search(r"\beval\s*\(|new Function\b", path.read_text()), path.name


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),
        ({"Sec-Fetch-Site": "same-origin"}, 204),
        ({"Sec-Fetch-Site": "none"}, 204),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=["no browser", "own page", "by hand", "sibling", "another site", "another origin", "no origin"],
)
async def test_what_another_sites_page_sends_changes_nothing(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with site_in(tmp_path) as (site, url), httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/", headers=headers)
        own = await client.post("/", headers={"Origin": url})
    assert answer.status_code == status
    assert own.status_code == 204
    assert site.posts == (2 if status == 204 else 1)
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("theme", THEMES)
async def test_a_page_lives_under_the_strict_policy(tmp_path: Path, browsing: Browsing, theme: str) -> None:
    async with site_in(tmp_path) as (site, url):
        page = await browsing.page(theme, PHONE)
        await page.goto(url)
        await page.wait_for_selector("html[data-state=ended]")
        assert await page.locator("output").inner_text() == "3"
        assert await page.evaluate("document.documentElement.dataset.plots") == "function"
        await require_accessible(page)
        await require_no_sideways_scrolling(page)
    assert site.asked == ["", "DEPOT:1", "DEPOT:2"]


async def test_a_stream_comes_back_after_its_server_was_away(tmp_path: Path, browsing: Browsing) -> None:
    async with site_in(tmp_path) as (site, url):
        site.is_away = True
        page = await browsing.page()
        with browsing.complaints.expected():
            await page.goto(url)
            await page.wait_for_selector("html[data-state=lost]")
            await until(lambda: len(site.asked) > 1)
            site.is_away = False
            await page.wait_for_selector("html[data-state=ended]")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("<script>document.title = 'x'</script>", "inline script"),
        ('<img alt="x" src="http://127.0.0.1:9/x.png">', "Content Security Policy"),
        ("<p style='color: red'>x</p>", "inline style"),
        ('<img alt="x" src="/nothing.png">', "404"),
    ],
    ids=["script", "other server", "style", "missing"],
)
async def test_the_watched_browser_hears_what_is_wrong(
    tmp_path: Path, browsing: Browsing, more: str, complaint: str
) -> None:
    async with site_in(tmp_path) as (site, url):
        site.more = more
        page = await browsing.page()
        await page.goto(url)
        await page.wait_for_selector("html[data-state=ended]")
    heard, browsing.complaints.texts = browsing.complaints.texts, []
    assert any(complaint in text for text in heard), heard
