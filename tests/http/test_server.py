"""What a client may send before there is a request, and for how long; and how the server stops."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from jetmesh.common.ports import HOST
from jetmesh.http import Limits
from jetmesh.http.server import listen, serving
from jetmesh.testing import until
from tests.http.parcels import PARCEL, served

GET = b"GET /parcels/p-9 HTTP/1.1\r\nHost: parcels\r\n"
HALF = b"POST /parcels HTTP/1.1\r\nHost: par"


async def test_a_head_without_end_is_refused_after_its_first_bytes() -> None:
    async with served() as there:
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
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: parcels\r\n\r\n",
    ],
    ids=["one header", "one whole header", "many headers", "the path"],
)
async def test_a_head_that_is_too_large_is_refused_by_name(head: bytes) -> None:
    async with served() as there:
        answer = await there.said(head)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"urn:problem-type:jetmesh:head-too-large" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_head_of_the_usual_size_is_taken_in_pieces_and_in_a_row() -> None:
    async with served() as there:
        cookie = b"Cookie: " + b"c" * 8_000 + b"\r\n"
        answer = await there.said(GET, cookie, b"\r\n", GET, b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 404 ") == 2


async def test_a_body_is_larger_than_a_head_may_be() -> None:
    body = json.dumps({**PARCEL, "street": "x" * 50_000}).encode()
    head = b"POST /parcels HTTP/1.1\r\nHost: parcels\r\nContent-Type: application/json\r\nConnection: close\r\n"
    async with served() as there:
        answer = await there.said(head, b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert answer.startswith(b"HTTP/1.1 201 ")


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
            assert (await there.client.post("/parcels", json=PARCEL)).status_code in (200, 201)
        gone = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in half[:250])), 10)
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in gone)
        assert len(there.server.server_state.connections) <= 50
        for _, writer in half:
            writer.close()


async def test_an_idle_connection_ends() -> None:
    async with served(Limits(idle_seconds=1)) as there:
        answer = await there.said(GET, b"\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system does not have it")
async def test_a_client_that_takes_nothing_any_more_is_forgotten() -> None:
    over = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
                await asyncio.sleep(0)
        finally:
            over.set()

    app = Starlette(routes=[Route("/", lambda _: StreamingResponse(endless()))])
    listener = listen(HOST, 0)
    async with serving(app, listener, Limits(vanished_seconds=1), asyncio.Event()):
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(GET.replace(b"/parcels/p-9", b"/") + b"\r\n")
            await asyncio.wait_for(over.wait(), 30)


async def test_a_body_that_nobody_wants_does_not_come_for_ever() -> None:
    async with served(Limits(linger_seconds=0.2)) as there:
        reader, writer = await there.connect()
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: parcels\r\nContent-Length: 1000000000\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
        ended = asyncio.create_task(_end(reader))
        while not ended.done():
            writer.write(b"x" * 1_000)
            await asyncio.sleep(0.02)
        writer.close()


async def _end(reader: asyncio.StreamReader) -> None:
    """The end of a connection: a reset where the server still had something to read."""
    with suppress(ConnectionResetError):
        await reader.read()


async def test_a_stop_answers_what_is_under_way_and_ends_each_connection_politely() -> None:
    async with served() as there:
        there.parcels.released = asyncio.Event()
        hanging = asyncio.create_task(there.client.post("/parcels", json=PARCEL))
        await until(lambda: there.server.server_state.tasks)
        draining = asyncio.create_task(there.server.drain(0.5))
        await asyncio.sleep(0)
        during = await there.client.get("/parcels/p-9")
        assert (during.status_code, during.headers["connection"]) == (404, "close")
        assert not draining.done()
        there.parcels.released.set()
        assert (await hanging).status_code == 201
        await draining
        with pytest.raises(httpx.ConnectError):
            await there.client.get("/parcels/p-9")
