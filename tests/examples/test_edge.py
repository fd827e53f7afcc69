"""The example of a service with an HTTP edge, served on a port next to its reactions, on a real broker."""

from collections.abc import AsyncIterator
from contextlib import closing
from socket import create_server

import httpx
import pytest

from examples.edge.service import ParcelFetched, parcels
from jetmesh import SettingsError
from jetmesh.common.ports import free_port
from jetmesh.testing import Broker, LocalMesh, MeshOf

ASKED = {"parcel_id": "p-1", "street": "Main Street 1"}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of the edge."""
    port = free_port()
    monkeypatch.setenv("JETMESH_HTTP_PORT", str(port))
    return port


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


@pytest.fixture
async def mesh(mesh_of: MeshOf, port: int) -> LocalMesh:
    return await mesh_of(parcels)


async def test_what_is_asked_over_http_is_recorded_once_and_its_story_is_shown(
    mesh: LocalMesh, client: httpx.AsyncClient
) -> None:
    first = await client.post("/parcels", json=ASKED)
    again = await client.post("/parcels", json=ASKED)
    other = await client.post("/parcels", json={**ASKED, "street": "Side Street 2"})
    await mesh.recorded(ParcelFetched, "p-1")
    shown = await client.get("/parcels/p-1")

    assert (first.status_code, again.status_code) == (201, 200)
    assert (other.status_code, other.json()["type"]) == (409, "urn:problem-type:parcels:other-parcel")
    assert shown.json() == ["parcels.asked", "parcels.fetched"]
    assert (await client.get("/parcels/p-2")).status_code == 404


async def test_a_story_is_followed_until_its_end(mesh: LocalMesh, client: httpx.AsyncClient) -> None:
    await client.post("/parcels", json=ASKED)
    followed = await client.get("/parcels/p-1/events")
    last = followed.text.rpartition("id: ")[2].strip()
    again = await client.get("/parcels/p-1/events", headers={"Last-Event-ID": last})

    lines = [line for line in followed.text.splitlines() if line and not line.startswith(":")]
    assert lines == [
        'data: "parcels.asked"', "id: PARCELS:1",
        'data: "parcels.fetched"', "id: PARCELS:2",
        "event: end", 'data: "north"', "id: PARCELS:2",
    ]  # fmt: skip
    assert (again.status_code, (await client.get("/parcels/p-2/events")).status_code) == (204, 404)


async def test_a_broker_that_is_away_is_a_problem_that_time_heals(
    mesh_of: MeshOf, client: httpx.AsyncClient, nats_broker: Broker
) -> None:
    await mesh_of(parcels)
    nats_broker.kill()
    away = await client.post("/parcels", json=ASKED)
    nats_broker.start()

    assert (away.status_code, away.json()["type"]) == (503, "urn:problem-type:jetmesh:unavailable")
    assert int(away.headers["retry-after"]) >= 1


async def test_a_stop_ends_the_server_with_the_service(mesh: LocalMesh, client: httpx.AsyncClient) -> None:
    await mesh.stop(parcels)

    with pytest.raises(httpx.ConnectError):
        await client.get("/parcels/p-1")


async def test_a_port_that_is_taken_is_named_with_its_setting(mesh_of: MeshOf, port: int) -> None:
    mesh = await mesh_of(parcels, start=False)
    with (
        closing(create_server(("127.0.0.1", port))),
        pytest.raises(SettingsError, match=f"JETMESH_HTTP_PORT: 127.0.0.1:{port} can't be listened on; choose another"),
    ):
        await mesh.start(parcels)
