"""The model of the broker is held against the real one: the same calls, the same answers."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.headers import Headers, decode_headers, encode_headers, lines_read
from jetmesh.jetstream.message import Guard
from jetmesh.jetstream.transport import Transport
from jetmesh.testing import Broker as RealBroker
from jetmesh.testing.simulation import SimulatedBroker, SimulatedLoop
from jetmesh.testing.simulation.connection import SimulatedConnection
from jetmesh.testing.simulation.loop import virtual_clock
from jetmesh.topology.provision import apply, plan
from jetmesh.topology.streams import Consumer, Stream, Topology

Answer = tuple[Any, ...]

PULL_SECONDS = 0.05
worlds = count()


@dataclass(frozen=True)
class Publish:
    """One message; its guard expects so many messages fewer than there are (None: no guard)."""

    subject: str
    guard: str | None = None
    expected: int = 0
    message_id: str = ""

    def headers(self, prefix: str) -> Headers:
        """Guard and id."""
        guard = Guard(f"{prefix}{self.guard}", self.expected).lines if self.guard else ""
        headers = lines_read(guard)
        return headers | ({"Nats-Msg-Id": self.message_id} if self.message_id else {})


@dataclass(frozen=True)
class Batch:
    """Several messages, all or none; one may be left out on the way."""

    messages: tuple[Publish, ...]
    lost: int = 0


@dataclass(frozen=True)
class Read:
    """The last message of every subject that the patterns mean."""

    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Fetch:
    """A pull of so many."""

    batch: int


@dataclass(frozen=True)
class Settle:
    """An answer to one of the deliveries so far, however old."""

    delivery: int
    word: bytes


Call = Publish | Batch | Read | Fetch | Settle

subjects = st.builds("{}.{}".format, st.sampled_from(("placed", "secured")), st.sampled_from(("k1", "k2")))
guards = st.sampled_from((None, "*.k1", "*.k2", "placed.k1"))
publishes = st.builds(Publish, subjects, guards, st.integers(0, 6), st.sampled_from(("", "", "", "id")))
batches = st.builds(Batch, st.lists(publishes, min_size=2, max_size=4).map(tuple), st.sampled_from((0, 0, 0, 2)))
reads = st.builds(Read, st.sampled_from((("*.k1",), ("*.k1", "*.k2"), ("placed.k2",), ("*.nobody",))))
settles = st.builds(Settle, st.integers(0, 8), st.sampled_from((b"+ACK", b"+ACK", b"-NAK", b"+TERM", b"+WPI")))
fetches = st.builds(Fetch, st.integers(1, 4))
calls = st.lists(st.one_of(publishes, publishes, batches, reads, fetches, settles), max_size=25)


class Client:
    """Makes the calls on a connection, and tells the answers without what differs between two servers."""

    def __init__(self, connection: Transport, prefix: str) -> None:
        self.connection, self.prefix, self.stream = connection, prefix, prefix.rstrip(".")
        self._inbox = connection.new_inbox()
        self._frames: asyncio.Queue[tuple[str, str, bytes, bytes]] = asyncio.Queue()
        self._deliveries: list[str] = []
        self._token = 0

    def topology(self) -> Topology:
        """One stream, and one durable that does not see everything and holds few."""
        config = {"name": self.stream, "subjects": [f"{self.prefix}*.*"], "allow_direct": True, "allow_atomic": True}
        stream = Stream(self.stream, config)
        consumer = Consumer(self.stream, "durable", "service", (f"{self.prefix}placed.*",))
        return Topology((stream,), (consumer,))

    async def make(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers, in order."""
        await self.connection.listen(f"{self._inbox}.*", lambda *frame: self._frames.put_nowait(frame))
        return [await self._make(call) for call in calls]

    async def _make(self, call: Call) -> Answer:
        match call:
            case Publish():
                return _told(await self._ask(call.subject, call.headers(self.prefix)))
            case Batch():
                return await self._batch(call)
            case Read(patterns):
                return await self._read([self.prefix + pattern for pattern in patterns])
            case Fetch(batch):
                return await self._fetch(batch)
            case Settle(delivery, word):
                if self._deliveries:
                    self.connection.send(self._deliveries[delivery % len(self._deliveries)], word)
                return ()

    async def _ask(self, subject: str, headers: Headers) -> bytes:
        self._send(self.prefix + subject, b"{}", encode_headers(headers) if headers else b"")
        return (await self._frames.get())[3]

    def _send(self, subject: str, data: bytes, headers: bytes = b"") -> None:
        self._token += 1
        self.connection.send(subject, data, reply=f"{self._inbox}.{self._token}", headers=headers)

    async def _batch(self, batch: Batch) -> Answer:
        number, name = len(batch.messages), f"batch-{self._token}"
        answer = b""
        for at, message in enumerate(batch.messages, 1):
            headers = message.headers(self.prefix) | {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(at)}
            if at == number:
                headers["Nats-Batch-Commit"] = "1"
            if at != batch.lost or at in (1, number):
                answer = await self._ask(message.subject, headers)
        return _told(answer)

    async def _read(self, patterns: list[str]) -> Answer:
        self._send(f"$JS.API.DIRECT.GET.{self.stream}", json.dumps({"multi_last": patterns}).encode())
        found: list[Any] = []
        while not (frame := await self._frames.get())[2].startswith(b"NATS/1.0 "):
            headers = decode_headers(frame[2])
            subject = headers["Nats-Subject"].removeprefix(self.prefix)
            found.append((subject, headers["Nats-Sequence"], headers["Nats-Num-Pending"]))
        return (*found, frame[2][9:12])

    async def _fetch(self, batch: int) -> Answer:
        request = {"batch": batch, "expires": int(PULL_SECONDS * 1e9)}
        self._send(f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.durable", json.dumps(request).encode())
        found: list[Any] = []
        while len(found) < batch:
            subject, reply, headers, _ = await self._frames.get()
            if subject.startswith(self._inbox):
                return (*found, headers[9:12], decode_headers(headers).get("Nats-Pending-Messages"))
            self._deliveries.append(reply)
            delivered, sequence, consumer_sequence = reply.split(".")[4:7]
            found.append((subject.removeprefix(self.prefix), delivered, sequence, consumer_sequence))
        return tuple(found)


def _told(answer: bytes) -> Answer:
    if not answer:
        return ()
    told = json.loads(answer)
    return (told.get("error", {}).get("err_code"), told.get("seq", 0), told.get("duplicate", False), told.get("count"))


async def of_the_real(url: str, calls: Sequence[Call]) -> list[Answer]:
    """What the real server answers."""
    connection = Connection()
    await connection.open(url, "differential")
    try:
        client = Client(connection, f"w{next(worlds)}.")
        await apply(connection, await plan(connection, client.topology()))
        return await asyncio.wait_for(client.make(calls), 20)
    finally:
        await connection.close()


def of_the_model(calls: Sequence[Call]) -> list[Answer]:
    """What the model answers."""
    loop, dice = SimulatedLoop(0), Random(0)
    broker = SimulatedBroker(loop, 0)

    async def make() -> list[Answer]:
        connection = SimulatedConnection(broker, "differential", dice, Context())
        client = Client(connection, "w.")
        broker.create(client.topology())
        await connection.join()
        return await client.make(calls)

    try:
        with virtual_clock(loop, dice):
            return loop.run(make())
    finally:
        loop.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """One real server for all examples; each has a stream of its own."""
    folder: Path = tmp_path_factory.mktemp("differential")
    with RealBroker(folder) as broker:
        yield broker


@settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(calls=calls)
def test_the_model_answers_like_the_server(server: RealBroker, calls: list[Call]) -> None:
    assert of_the_model(calls) == asyncio.run(of_the_real(server.url, calls))
