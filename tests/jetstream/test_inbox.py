"""Requests that are under way at once: each gets its own answers, and none waits for ever."""

import asyncio

import pytest

from jetmesh.jetstream import inbox as inboxes
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.inbox import Inbox
from jetmesh.testing.broker import Broker

Request = list[bytes]


class Told:
    """What an inbox says."""

    def __init__(self) -> None:
        self.late: list[Request] = []
        self.lost: list[Request] = []

    def inbox(self, connection: Connection, timeout_seconds: float) -> Inbox[Request]:
        """An inbox whose requests collect their answers."""
        return Inbox[Request](connection, timeout_seconds, _heard, self.late.append, self.lost.append)


def _heard(request: Request, _headers: bytes, data: bytes) -> None:
    request.append(data)


async def test_answers_go_to_their_request_until_it_is_closed(connection: Connection) -> None:
    inbox = Told().inbox(connection, 60)
    await inbox.start("deadlines")
    first, second = Request(), Request()
    one, other = inbox.open(first), inbox.open(second)
    for reply, data in ((one, b"1"), (other, b"2"), (one, b"3")):
        connection.send(reply, data)
    await connection.flush()
    assert (first, second, len(inbox)) == ([b"1", b"3"], [b"2"], 2)
    inbox.close(one)
    connection.send(one, b"4")
    await connection.flush()
    assert (first, len(inbox)) == ([b"1", b"3"], 1)
    await inbox.leave()


async def test_a_request_without_an_answer_is_late(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "SWEEP_SECONDS", 0.01)
    told = Told()
    inbox = told.inbox(connection, 0.02)
    await inbox.start("deadlines")
    answered, forgotten = Request(), Request()
    inbox.close(inbox.open(answered))
    inbox.open(forgotten)
    async with asyncio.timeout(5):
        while not told.late:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (told.late, told.lost) == ([forgotten], [])
    await inbox.leave()
    assert told.lost == [forgotten]


async def test_a_lost_connection_loses_what_was_under_way(connection: Connection, broker: Broker) -> None:
    told = Told()
    inbox = told.inbox(connection, 60)
    await inbox.start("deadlines")
    request = Request()
    inbox.open(request)
    broker.kill()
    broker.start()
    async with asyncio.timeout(20):
        while not told.lost:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert told.lost == [request]
    inbox.stop()
