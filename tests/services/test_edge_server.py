"""What a client may send before there is a request, and for how long; and how the edge stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jetmesh.common.ports import free_port
from jetmesh.process import health
from jetmesh.process.health import Health
from jetmesh.settings import SettingsError, read
from jetmesh.testing import MeshOf, until
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.edge.app import create_app
from jetmesh_shop.orders.edge.limits import Limits
from jetmesh_shop.orders.edge.server import Server, listen
from jetmesh_shop.orders.edge.tokens import Tokens
from jetmesh_shop.orders.wiring import Settings, _tokens
from tests.services.orders_in_memory import InMemoryOrders
from tests.services.test_edge import ADA, TOKENS, bearer
from tests.support.processes import running

GET = b"GET /orders/o-1042 HTTP/1.1\r\nHost: edge\r\n"
HALF = b"POST /orders HTTP/1.1\r\nHost: ed"


@dataclass
class Served:
    """The edge on a port of its own."""

    server: Server
    port: int
    orders: InMemoryOrders
    client: httpx.AsyncClient

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def said(self, *sent: bytes) -> bytes:
        """All that the edge answers to this, until it closes the connection."""
        reader, writer = await self.connect()
        writer.write(b"".join(sent))
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer


@asynccontextmanager
async def served(limits: Limits) -> AsyncIterator[Served]:
    orders, leaving = InMemoryOrders(), asyncio.Event()
    app = create_app(orders, TOKENS, limits, leaving=leaving)
    server = Server(app, listen("127.0.0.1", 0), limits, leaving)
    port = server.listener.getsockname()[1]
    serving = asyncio.create_task(server.run_until_drained())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        yield Served(server, port, orders, client)
    server.should_exit = True
    await asyncio.wait_for(serving, 20)


async def test_a_head_without_end_is_refused_after_its_first_bytes() -> None:
    async with served(Limits()) as there:
        reader, writer = await there.connect()
        writer.write(GET + b"X-Long: ")
        sent = 0
        while sent < 150_000_000 and not reader.at_eof() and not writer.is_closing():
            writer.write(b"x" * 65_536)
            sent += 65_536
            try:
                await asyncio.wait_for(writer.drain(), 1)
            except (ConnectionError, TimeoutError):
                break
        writer.close()
        assert sent < 20_000_000
        assert (await there.client.get("/nowhere")).status_code == 404


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X-Long: " + b"x" * 40_000,
        GET + b"X-Long: " + b"x" * 40_000 + b"\r\n\r\n",
        GET + b"".join(b"X-%d: y\r\n" % number for number in range(5_000)),
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: edge\r\n\r\n",
    ],
    ids=["one header", "one whole header", "many headers", "the path"],
)
async def test_a_head_that_is_too_large_is_refused_by_name(head: bytes) -> None:
    async with served(Limits()) as there:
        answer = await there.said(head)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"urn:problem-type:jetmesh:head-too-large" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_head_of_the_usual_size_is_taken_in_pieces_and_in_a_row() -> None:
    async with served(Limits()) as there:
        cookie = b"Cookie: " + b"c" * 8_000 + b"\r\n"
        answer = await there.said(GET, cookie, b"\r\n", GET, b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 401 ") == 2


async def test_half_a_head_is_told_to_go_when_its_time_is_up() -> None:
    async with served(Limits(head_timeout_seconds=0.2)) as there:
        assert (await there.said(HALF)).startswith(b"HTTP/1.1 408 ")
        assert await there.said() == b""


async def test_a_head_that_drips_has_no_more_time_than_any_other() -> None:
    async with served(Limits(head_timeout_seconds=0.5)) as there:
        reader, writer = await there.connect()
        answered = asyncio.create_task(reader.read())
        while not answered.done():
            writer.write(b"G")
            await asyncio.sleep(0.05)
        assert (await answered).startswith(b"HTTP/1.1 4")
        writer.close()


async def test_three_hundred_half_heads_keep_nobody_out() -> None:
    async with served(Limits(connections_max=50)) as there:
        half = [await there.connect() for _ in range(300)]
        for _, writer in half:
            writer.write(HALF)
        for _ in range(3):
            assert (await there.client.post("/orders", json=ADA)).status_code in (200, 201)
        gone = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in half[:250])), 10)
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in gone)
        assert len(there.server.server_state.connections) <= 50
        for _, writer in half:
            writer.close()


async def test_an_idle_connection_ends() -> None:
    async with served(Limits(idle_seconds=1)) as there:
        answer = await there.said(GET, b"\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_a_body_that_nobody_wants_does_not_come_for_ever() -> None:
    async with served(Limits(linger_seconds=0.2)) as there:
        reader, writer = await there.connect()
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: edge\r\nContent-Length: 1000000000\r\n\r\n")
        answered = asyncio.create_task(reader.read())
        while not answered.done():
            writer.write(b"x" * 1_000)
            await asyncio.sleep(0.02)
        assert (await answered).startswith(b"HTTP/1.1 404 ")
        writer.close()


async def test_a_stop_answers_what_is_under_way_and_ends_each_connection_politely() -> None:
    async with served(Limits()) as there:
        there.orders.hang = True
        hanging = asyncio.create_task(there.client.post("/orders", json=ADA))
        await until(lambda: there.server.server_state.tasks)
        draining = asyncio.create_task(there.server.drain(0.5))
        await asyncio.sleep(0)
        during = await there.client.get("/orders/o-1042")
        assert (during.status_code, during.headers["connection"]) == (401, "close")
        assert not draining.done()
        there.orders.release()
        assert (await hanging).status_code == 201
        await draining
        with pytest.raises(httpx.ConnectError):
            await there.client.get("/orders/o-1042")


async def test_a_stop_ends_a_live_story_so_that_its_reader_goes_elsewhere() -> None:
    async with served(Limits()) as there:
        await there.client.post("/orders", json=ADA)
        async with there.client.stream("GET", "/orders/o-1042/events", headers=bearer()) as live:
            lines = live.aiter_lines()
            assert (await anext(lines)).startswith("data: ")
            await asyncio.wait_for(there.server.drain(0.0), 3)
            assert "event: end" not in [line async for line in lines]


async def test_half_sent_probes_keep_no_probe_out() -> None:
    server = await health.serve([Health("orders", reason="")], "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    half = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    for _, writer in half:
        writer.write(b"GET /read")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/readyz")).status_code == 200
    await until(lambda: sum(reader.at_eof() or reader.exception() is not None for reader, _ in half) >= 250)
    for _, writer in half:
        writer.close()
    server.close()


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
        _tokens(read(Settings, environment))


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
    first, second = (_tokens(read(Settings, environment)) for _ in range(2))
    assert isinstance(first, Tokens)
    assert first.token("o-1") == second.token("o-1")


async def test_a_port_that_is_taken_ends_the_process_with_one_line(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(*SERVICES, start=False)
    port = free_port()
    with closing(await asyncio.start_server(lambda *_: None, "127.0.0.1", port)):
        own = {"JETMESH_HTTP_PORT": str(port), "JETMESH_HTTP_SECRET": "x" * 64}
        with running(tmp_path, "orders", app="jetmesh_shop.flow:SERVICES", **mesh.environment, **own) as orders:
            assert await orders.ended(40) == 1
    assert orders.lines(f"JETMESH_HTTP_PORT: 127.0.0.1:{port} can't be listened on; choose another port"), orders.said
