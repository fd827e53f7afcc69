"""The example of a web application, on a real uvicorn and a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

from examples.web import ParcelAsked, parcels, web
from jetmesh.common.ports import free_port
from jetmesh.testing import Broker, MeshOf, until

ASKED = {"parcel_id": "p-1", "street": "Main Street 1"}


@asynccontextmanager
async def served() -> AsyncIterator[httpx.AsyncClient]:
    """The application on a port of its own."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(web, port=port, log_config=None))
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started or serving.done(), what="uvicorn listens")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def test_a_request_tells_what_came_of_it(
    mesh_of: MeshOf, nats_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", nats_broker.url)
    mesh = await mesh_of(parcels)
    async with served() as client:
        first = await client.post("/parcels", json=ASKED)
        again = await client.post("/parcels", json=ASKED)
        other = await client.post("/parcels", json={**ASKED, "street": "Side Street 2"})
        nats_broker.kill()
        away = await client.post("/parcels", json={**ASKED, "parcel_id": "p-2"})
        nats_broker.start()
    assert (first.status_code, first.json()) == (202, {"parcel": "p-1", "state": "recorded"})
    assert (again.status_code, again.json()) == (202, {"parcel": "p-1", "state": "known"})
    assert (other.status_code, other.json()["detail"]) == (
        409, "p-1: parcels.asked was recorded before with other contents",
    )  # fmt: skip
    assert (away.status_code, away.headers["Retry-After"]) == (503, "1")
    assert (await mesh.recorded(ParcelAsked, "p-1")).street == "Main Street 1"
