"""The console behind the real oauth2-proxy, with a real OpenID provider: who logs in arrives as what he is."""

import json
import re
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page

from jetmesh.common.ports import free_ports
from jetmesh.testing import MeshOf, until
from tests.console.conftest import ConsoleOf
from tests.console.forms import send
from tests.support.browser import Browsing
from tests.support.processes import started
from tests.support.programs import program
from tests.support.tollgate import Bank, CarArrived, Gate, tollgate

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
USERS = (
    {"sub": "ada", "email": "ada@example.com", "groups": ["staff", "mesh-operators"]},
    {"sub": "bob", "email": "bob@example.com", "groups": ["staff"]},
    {"sub": "eve", "email": "eve@example.com"},
)
SECRET = "s" * 32
BEHIND = {"proxies": "127.0.0.1/32", "proxy_secret": SECRET, "operators": "mesh-operators,eve@example.com"}


@dataclass(frozen=True)
class Guarded:
    """The address of the proxy, the console behind it, and the mesh that it shows."""

    url: str
    console: httpx.AsyncClient


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as asking:
        try:
            return (await asking.get(url)).status_code == 200
        except httpx.TransportError:
            return False


@asynccontextmanager
async def _guarded(console: httpx.AsyncClient, folder: Path) -> AsyncIterator[Guarded]:
    """The console behind oauth2-proxy, which asks a provider with these users."""
    proxy, (at, provider_at) = program("oauth2-proxy"), free_ports(2)
    url, issuer = f"http://127.0.0.1:{at}", f"http://127.0.0.1:{provider_at}"
    users = [word for user in USERS for word in ("--user-claims", json.dumps({**user, "email_verified": True}))]
    provider = [sys.executable, "-m", "oidc_provider_mock", "--port", str(provider_at), *users]
    options = {
        "provider": "oidc", "oidc-issuer-url": issuer, "client-id": "console", "client-secret": secrets.token_hex(8),
        "cookie-secret": secrets.token_hex(16), "cookie-secure": "false", "email-domain": "*", "scope": "openid email",
        "http-address": f"127.0.0.1:{at}", "redirect-url": f"{url}/oauth2/callback", "upstream": str(console.base_url),
        "skip-provider-button": "true", "basic-auth-password": SECRET,
    }  # fmt: skip
    with started(provider, folder / "provider.log"):
        await until(
            lambda: _answers(f"{issuer}/.well-known/openid-configuration"),
            within_seconds=60,
            what="the provider answers",
        )
        with started([proxy, *(f"--{name}={value}" for name, value in options.items())], folder / "proxy.log"):
            await until(lambda: _answers(f"{url}/ping"), within_seconds=60, what="the proxy answers")
            yield Guarded(url, console)


@asynccontextmanager
async def _logged_in(guarded: Guarded, user: str, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without scripts whose user has logged in at the provider; `headers` go with each of its requests."""
    async with httpx.AsyncClient(base_url=guarded.url, follow_redirects=True, headers=headers, timeout=20) as browser:
        form = await browser.get("/mesh")
        page = await browser.post(form.url, data={"sub": user})
        assert (page.status_code, str(page.url)) == (200, f"{guarded.url}/mesh"), page.text
        yield browser


async def test_who_logs_in_is_an_operator_by_group_or_email_and_else_a_viewer(
    mesh_of: MeshOf, console_of: ConsoleOf, tmp_path: Path
) -> None:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={"car-1"}))])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.dead_letters(1)
    async with _guarded(await console_of([service], **BEHIND), tmp_path) as guarded:
        for user, role in (("ada", "operator"), ("bob", "viewer"), ("eve", "operator")):
            async with _logged_in(guarded, user) as browser:
                page = (await browser.get("/mesh")).text
                assert f'title="{user}@example.com">{role}</span>' in page
        async with _logged_in(guarded, "bob") as viewer:
            assert "You are a viewer" in (await viewer.post("/mesh/letters/1/discard", data={"reason": "x"})).text
        async with _logged_in(guarded, "ada") as operator:
            done = await send(operator, "/mesh/letters/1", "/mesh/letters/1/discard", reason="a test")
            assert "is discarded" in done.text
            assert "ada@example.com" in (await operator.get("/mesh/log")).text
            assert (await operator.post("/mesh/letters/1/replay")).status_code == 403


async def test_what_a_browser_says_of_itself_is_not_believed(console_of: ConsoleOf, tmp_path: Path) -> None:
    """Neither past the proxy, from its own machine, nor through it, by whoever has logged in."""
    said = {
        f"{prefix}-{name}": value
        for prefix in ("X-Forwarded", "X-Auth-Request")
        for name, value in (("Email", "eve@example.com"), ("User", "eve@example.com"), ("Groups", "mesh-operators"))
    }
    async with _guarded(await console_of([tollgate()], **BEHIND), tmp_path) as guarded:
        for more in ({}, {"Authorization": "Basic ZXZlOg=="}, {"X-Forwarded-For": "127.0.0.1"}):
            assert (await guarded.console.get("/mesh", headers={**said, **more})).status_code == 401
        async with _logged_in(guarded, "bob", **said) as browser:
            assert 'title="bob@example.com">viewer</span>' in (await browser.get("/mesh")).text
            past = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
            assert (await guarded.console.get("/mesh", headers=past)).status_code == 401


async def test_a_browser_logs_in_through_the_proxy_and_its_page_is_live(
    mesh_of: MeshOf, console_of: ConsoleOf, browsing: Browsing, tmp_path: Path
) -> None:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank(blacklist={"car-1"}))])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.dead_letters(1)
    async with _guarded(await console_of([service], **BEHIND), tmp_path) as guarded:
        page = await browsing.page()
        await _choose(page, guarded, "ada")
        await page.locator("#link-state").filter(has_text="live").wait_for()
        assert "operator" in await page.locator(".user").inner_text()
        await page.goto(f"{guarded.url}/mesh/letters/1")
        await page.get_by_role("button", name="Replay").first.click()
        await page.locator(".notice.good").wait_for()
        await page.close()


async def _choose(page: Page, guarded: Guarded, user: str) -> None:
    """Log in at the provider. Its page wants a style sheet of the internet, which no test loads."""
    await page.route(re.compile("^https:"), lambda route: route.fulfill(body="", content_type="text/css"))
    await page.goto(f"{guarded.url}/mesh")
    await page.get_by_role("button", name=user).click()
    await page.wait_for_url(f"{guarded.url}/mesh")
