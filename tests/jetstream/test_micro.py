"""A service as `nats micro` sees it: what it says of itself, what it answers, and that it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from jetmesh.failure import Unavailable
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.headers import Headers, decode_headers
from jetmesh.jetstream.micro import Endpoint, MicroService, plain


async def echo(request: bytes) -> bytes:
    """What was asked; an error where nothing was."""
    if not request:
        raise ValueError("nothing to say")
    await asyncio.sleep(0)
    return request


@pytest_asyncio.fixture
async def service(connection: Connection) -> AsyncIterator[MicroService]:
    endpoint = Endpoint("echo", "echoes.say", plain(echo), data=lambda: {"mood": "good"})
    service = MicroService(connection, "echoes", "1.2.3", "says it again", {"of": "mountains"}, [endpoint])
    await service.start()
    yield service
    await service.stop()


async def told(connection: Connection, subject: str) -> Any:
    return json.loads(await connection.ask(subject, b"", 2.0))


@pytest.mark.usefixtures("service")
async def test_it_is_found_among_all_by_its_name_and_by_its_id(connection: Connection) -> None:
    ping = await told(connection, "$SRV.PING")
    assert (ping["type"], ping["name"]) == ("io.nats.micro.v1.ping_response", "echoes")
    assert (ping["version"], ping["metadata"]) == ("1.2.3", {"of": "mountains"})
    for subject in ("$SRV.PING.echoes", f"$SRV.PING.echoes.{ping['id']}"):
        assert await told(connection, subject) == ping


@pytest.mark.usefixtures("service")
async def test_it_says_what_it_has(connection: Connection) -> None:
    info = await told(connection, "$SRV.INFO.echoes")
    assert (info["type"], info["description"]) == ("io.nats.micro.v1.info_response", "says it again")
    assert info["endpoints"] == [{"name": "echo", "subject": "echoes.say", "queue_group": "q", "metadata": {}}]


@pytest.mark.usefixtures("service")
async def test_its_statistics_count_requests_and_errors(connection: Connection) -> None:
    assert [await connection.ask("echoes.say", word) for word in (b"a", b"b", b"")] == [b"a", b"b", b""]
    stats = await told(connection, "$SRV.STATS.echoes")
    (endpoint,) = stats["endpoints"]
    assert (endpoint["num_requests"], endpoint["num_errors"]) == (3, 1)
    assert endpoint["last_error"] == "ValueError('nothing to say')"
    assert endpoint["average_processing_time"] == endpoint["processing_time"] // 3 > 0
    assert endpoint["data"] == {"mood": "good"}
    assert stats["started"].endswith("Z")


@pytest.mark.usefixtures("service")
async def test_an_error_is_answered_by_its_name(connection: Connection) -> None:
    heard: asyncio.Queue[Headers] = asyncio.Queue()
    inbox = connection.new_inbox()
    await connection.listen(inbox, lambda _subject, _reply, headers, _data: heard.put_nowait(decode_headers(headers)))
    connection.send("echoes.say", b"", reply=inbox)
    answer = await asyncio.wait_for(heard.get(), 10)
    assert answer == {"Nats-Service-Error": "ValueError", "Nats-Service-Error-Code": "500"}


async def test_who_is_stopped_answers_what_was_taken_and_no_more(connection: Connection, service: MicroService) -> None:
    asking = [asyncio.create_task(connection.ask("echoes.say", b"a")) for _ in range(20)]
    while not service.answering:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await service.stop()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert b"a" in answers
    with pytest.raises(Unavailable, match="nobody answers"):
        await connection.ask("echoes.say", b"a")
    with pytest.raises(Unavailable, match="nobody answers"):
        await told(connection, "$SRV.PING.echoes")
