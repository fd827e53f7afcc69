"""How the edge of orders stops, and what it refuses to start with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from jetmesh.http import Limits
from jetmesh.http.server import HttpServer, listen
from jetmesh.settings import SettingsError, read
from jetmesh_shop.orders.edge.app import create_app
from jetmesh_shop.orders.wiring import Settings
from tests.services.orders_in_memory import InMemoryOrders
from tests.services.test_edge import ADA, TOKENS, bearer


@asynccontextmanager
async def served(limits: Limits) -> AsyncIterator[tuple[HttpServer, httpx.AsyncClient]]:
    """The edge on a port of its own."""
    leaving = asyncio.Event()
    app = create_app(InMemoryOrders(), TOKENS, limits, leaving=leaving)
    server = HttpServer(app, listen("127.0.0.1", 0), limits, leaving)
    serving = asyncio.create_task(server.run_until_drained())
    port = server.listener.getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        yield server, client
    server.should_exit = True
    await asyncio.wait_for(serving, 20)


async def test_a_stop_ends_a_live_story_so_that_its_reader_goes_elsewhere() -> None:
    async with served(Limits()) as (server, client):
        await client.post("/orders", json=ADA)
        async with client.stream("GET", "/orders/o-1042/events", headers=bearer()) as live:
            lines = live.aiter_lines()
            assert (await anext(lines)).startswith("data: ")
            await asyncio.wait_for(server.drain(0.0), 3)
            assert "event: end" not in [line async for line in lines]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "JETMESH_HTTP_SECRET: .* is not set; .*openssl rand -hex 32"),
        ({"JETMESH_HTTP_SECRET": "short"}, "JETMESH_HTTP_SECRET: .* is shorter than 16"),
        (
            {"JETMESH_HTTP_SECRET": "0123456789abcdef", "JETMESH_HTTP_OPERATOR_TOKEN": "short"},
            "JETMESH_HTTP_OPERATOR_TOKEN: is shorter than 16",
        ),
    ],
)
def test_a_secret_that_is_missing_or_too_short_is_named_at_start(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=f"settings: {said}"):
        read(Settings, environment).tokens("orders")


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (None, "No such file"),
        ("[1]", "a catalogue is a JSON object"),
        ('{"cola": "290"}', "cola: a price is a whole number of cents, not '290'"),
        ("{", "Expecting property name"),
    ],
)
def test_a_wrong_catalogue_is_named_with_its_setting(tmp_path: Path, contents: str | None, said: str) -> None:
    file = tmp_path / "catalogue.json"
    if contents is not None:
        file.write_text(contents)
    with pytest.raises(SettingsError, match=f"settings: JETMESH_CATALOGUE: .*{said}"):
        read(Settings, {"JETMESH_CATALOGUE": str(file)})


def test_a_catalogue_of_ones_own_takes_the_place_of_the_built_in_one(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.json"
    file.write_text('{"book": 1900}')
    assert read(Settings, {"JETMESH_CATALOGUE": str(file)}).catalogue == {"book": 1900}


def test_the_same_secret_knows_the_tokens_again() -> None:
    environment = {"JETMESH_HTTP_SECRET": "0123456789abcdef"}
    first, second = (read(Settings, environment).tokens("orders") for _ in range(2))
    assert first.token("o-1") == second.token("o-1")
