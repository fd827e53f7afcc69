"""What the client relies on holds on every Transport: in memory, simulated, on the real server, and under the names of
a tenant simulated and on the real server.

Each test is one scenario and runs on all of them, on a stream of facts and a work queue with schedules. What only the
real server has is tested where it is used: TLS, accounts, the API that makes and lists streams, reading by time.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random

import pytest

from jetmesh.failure import TooLarge, Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import DirectGet
from jetmesh.jetstream.headers import Headers
from jetmesh.jetstream.in_flight import InFlight
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.pull import Pull
from jetmesh.jetstream.tenant import Tenant
from jetmesh.jetstream.tenant_names import to_wire
from jetmesh.jetstream.transport import Transport
from jetmesh.testing import Broker as RealBroker
from jetmesh.testing.memory import Memory
from jetmesh.testing.simulation import SimulatedBroker, SimulatedLoop
from jetmesh.testing.simulation.connection import SimulatedConnection
from jetmesh.testing.simulation.loop import virtual_clock
from jetmesh.topology.provision import apply, plan
from jetmesh.topology.streams import Consumer, Stream, Topology
from jetmesh.topology.tenants import on_wire

ACK_WAIT_SECONDS = 0.6
PAUSE_SECONDS = 0.4
WITHIN_SECONDS = 20.0
DENIED = "facts.denied.*"
TOPOLOGY = Topology(
    (
        Stream("FACTS", {"name": "FACTS", "subjects": ["facts.*.*"], "allow_direct": True, "allow_atomic": True}),
        Stream(
            "LATER",
            {
                "name": "LATER",
                "subjects": ["timers.*", "due.*"],
                "retention": "workqueue",
                "allow_msg_schedules": True,
                "allow_msg_ttl": True,
            },
        ),
    ),
    (
        Consumer("FACTS", "work", "tests", ("facts.placed.*",), ACK_WAIT_SECONDS),
        Consumer("LATER", "due", "tests", ("due.*",), ACK_WAIT_SECONDS),
    ),
)


@dataclass
class Pulled:
    """A durable that is pulled: what arrives, and who settles it."""

    in_flight: InFlight
    arrived: "asyncio.Queue[RawDelivery]"

    async def next(self) -> RawDelivery:
        return await self.arrived.get()

    async def nothing(self, seconds: float = 2 * ACK_WAIT_SECONDS) -> None:
        """Nothing more arrives; a message that would come again has had its time."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.next(), seconds)


@dataclass
class Line:
    """A client on one Transport."""

    transport: Transport
    publisher: Publisher
    direct_get: DirectGet
    away: Callable[[], AbstractAsyncContextManager[None]]
    """The broker is killed, and there again at the end of the block."""

    async def record(self, subject: str, guard: Guard | None = None, headers: Headers | None = None) -> int:
        return await self.publisher.record(Message(subject, subject.encode(), headers or {}, guard))

    @asynccontextmanager
    async def pulling(self, stream: str = "FACTS", durable: str = "work", slots: int = 8) -> AsyncIterator[Pulled]:
        in_flight = InFlight(self.transport, ACK_WAIT_SECONDS)
        arrived: asyncio.Queue[RawDelivery] = asyncio.Queue()

        def take(delivery: RawDelivery) -> None:
            if in_flight.take(delivery, pull):
                arrived.put_nowait(delivery)

        pull = Pull(self.transport, stream, durable, slots, take)
        await pull.start()
        yield Pulled(in_flight, arrived)
        await pull.stop()


Scenario = Callable[[Line], Awaitable[None]]
Away = Callable[[], AbstractAsyncContextManager[None]]


async def play(scenario: Scenario, connection: Connection | SimulatedConnection, away: Away, tenant: str = "") -> None:
    """The scenario, from the beginning to the end, in time."""
    transport = Tenant(connection, tenant) if tenant else connection
    publisher, direct_get = Publisher(transport), DirectGet(transport)
    await publisher.start()
    await direct_get.start()
    try:
        await asyncio.wait_for(scenario(Line(transport, publisher, direct_get, away)), WITHIN_SECONDS)
    finally:
        await publisher.close()
        direct_get.close()
        await connection.close()


def in_memory(scenario: Scenario, _folder: Path) -> None:
    async def run() -> None:
        memory = Memory(TOPOLOGY)
        connection = await memory.connect()
        await play(scenario, connection, modelled(memory.broker, connection))

    asyncio.run(run())


def simulated(scenario: Scenario, _folder: Path, tenant: str = "", worlds: int = 3) -> None:
    """In several worlds: what is ready at the same time happens in another order in each."""
    for seed in range(worlds):
        loop, dice = SimulatedLoop(seed), Random(seed)
        broker = SimulatedBroker(loop, seed)
        broker.create(on_wire(TOPOLOGY, tenant))

        async def run(broker: SimulatedBroker = broker, dice: Random = dice) -> None:
            connection = SimulatedConnection(broker, "client", dice, Context())
            await connection.join()
            await play(scenario, connection, modelled(broker, connection, tenant), tenant)

        try:
            with virtual_clock(loop, dice):
                loop.run(run())
        finally:
            loop.close()


def modelled(broker: SimulatedBroker, connection: SimulatedConnection, tenant: str = "") -> Away:
    """The model is killed as the real server is; it denies what the real one is configured to deny."""
    broker.denies = (on_broker(DENIED, tenant),)

    @asynccontextmanager
    async def away() -> AsyncIterator[None]:
        broker.crash()
        connection.cut(0.1)
        yield
        broker.restart()
        await until(lambda: connection.is_connected)

    return away


def real(scenario: Scenario, folder: Path, tenant: str = "") -> None:
    config = folder / "nats-server.conf"
    denying = f'{{ publish: {{ deny: ["{on_broker(DENIED, tenant)}"] }} }}'
    config.write_text(f"authorization {{ users: [{{ user: ada, password: word, permissions: {denying} }}] }}")

    async def run(server: RealBroker) -> None:
        connection = Connection()
        await connection.open(server.url.replace("//", "//ada:word@"), "conformance", within_seconds=10)
        transport = Tenant(connection, tenant) if tenant else connection
        await apply(transport, await plan(transport, TOPOLOGY))

        @asynccontextmanager
        async def away() -> AsyncIterator[None]:
            is_back = asyncio.Event()
            connection.on_reconnected(is_back.set)  # after the publisher's own: what is sent before it is lost
            server.kill()
            await until(lambda: not connection.is_connected)
            yield
            server.start()
            await is_back.wait()

        await play(scenario, connection, away, tenant)

    with RealBroker(folder / "broker", "-c", str(config)) as server:
        asyncio.run(run(server))


def on_broker(subject: str, tenant: str) -> str:
    """A subject, as the broker has it."""
    return to_wire(tenant).subject(subject) if tenant else subject


EVERYWHERE = {
    "memory": in_memory,
    "simulated": simulated,
    "real": real,
    "simulated-tenant": partial(simulated, tenant="acme", worlds=1),
    "real-tenant": partial(real, tenant="acme"),
}


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def everywhere(scenario: Scenario) -> Callable[[Callable[[Scenario, Path], None], Path], None]:
    """A test that runs the scenario on each of them."""

    @pytest.mark.parametrize("on", EVERYWHERE.values(), ids=EVERYWHERE.keys())
    def test(on: Callable[[Scenario, Path], None], tmp_path: Path) -> None:
        on(scenario, tmp_path)

    test.__doc__ = scenario.__doc__
    return test


@everywhere
async def test_what_is_published_gets_the_next_sequence(line: Line) -> None:
    assert [await line.record(f"facts.placed.k{number}") for number in range(3)] == [1, 2, 3]


@everywhere
async def test_what_no_stream_takes_is_refused_at_once(line: Line) -> None:
    with pytest.raises(Unavailable, match="no stream takes this subject"):
        await line.record("elsewhere.k1")


@everywhere
async def test_a_guard_holds_over_all_subjects_of_a_key_and_no_other(line: Line) -> None:
    assert await line.record("facts.placed.k1", Guard("facts.*.k1", 0)) == 1
    with pytest.raises(Refused, match=r"wrong last sequence: 1 \(10071\)"):
        await line.record("facts.paid.k1", Guard("facts.*.k1", 0))
    assert await line.record("facts.placed.k2", Guard("facts.*.k2", 0)) == 2
    assert await line.record("facts.paid.k1", Guard("facts.*.k1", 1)) == 3
    assert await line.publisher.last_sequence("facts.*.k1", "facts.paid.k1") == 3


@everywhere
async def test_of_many_writers_at_once_one_wins(line: Line) -> None:
    writing = [line.record("facts.placed.k1", Guard("facts.*.k1", 0)) for _ in range(20)]
    answers = await asyncio.gather(*writing, return_exceptions=True)
    assert sum(isinstance(answer, int) for answer in answers) == 1
    assert sum(isinstance(answer, Refused) for answer in answers) == 19


@everywhere
async def test_a_batch_is_stored_whole_or_not_at_all(line: Line) -> None:
    def batch(second: int) -> list[Message]:
        guards = Guard("facts.*.k1", 0), Guard("facts.*.k2", second)
        return [Message(guard.subject.replace("*", "placed"), b"{}", {}, guard) for guard in guards]

    with pytest.raises(Refused):
        await line.publisher.record_all(batch(7))
    assert await line.direct_get.last("FACTS", ["facts.*.*"]) == []
    assert await line.publisher.record_all(batch(0)) == 2
    with pytest.raises(Refused):
        await line.publisher.record_all(batch(0))
    assert [stored.subject for stored in await line.direct_get.last("FACTS", [">"])] == [
        "facts.placed.k1",
        "facts.placed.k2",
    ]


@everywhere
async def test_a_reading_has_the_newest_message_of_each_subject_oldest_first(line: Line) -> None:
    for subject in ("facts.placed.k1", "facts.paid.k1", "facts.placed.k2", "facts.placed.k1"):
        await line.record(subject, headers={"Said-By": "ada"})
    found = await line.direct_get.last("FACTS", ["facts.*.k1"])
    assert [(stored.subject, stored.sequence) for stored in found] == [("facts.paid.k1", 2), ("facts.placed.k1", 4)]
    assert [(stored.data, stored.headers["Said-By"]) for stored in found] == [
        (b"facts.paid.k1", "ada"),
        (b"facts.placed.k1", "ada"),
    ]
    assert [stored.sequence for stored in await line.direct_get.last("FACTS", ["facts.*.k2", "facts.*.k1"])] == [
        2,
        3,
        4,
    ]
    assert await line.direct_get.last("FACTS", ["facts.*.nobody"]) == []


@everywhere
async def test_a_page_has_so_many_messages_of_a_subject_from_a_sequence_on(line: Line) -> None:
    for _ in range(5):
        await line.record("facts.placed.k1")
        await line.record("facts.placed.k2")
    page = await line.direct_get.page("FACTS", "facts.placed.k1", 2, 3)
    assert ([stored.sequence for stored in page.messages], page.pending) == ([3, 5, 7], 1)
    page = await line.direct_get.page("FACTS", "facts.*.k2", 1, 100, 1)
    assert ([stored.sequence for stored in page.messages], page.pending) == ([2], 4)
    assert await line.direct_get.page("FACTS", "facts.placed.k1", 10, 3) == ([], 0)


@everywhere
async def test_a_pull_delivers_in_order_what_its_durable_selects(line: Line) -> None:
    for subject in ("facts.placed.k1", "facts.paid.k1", "facts.placed.k2"):
        await line.record(subject, headers={"Said-By": "ada"})
    async with line.pulling() as pulled:
        first, second = await pulled.next(), await pulled.next()
        await line.record("facts.placed.k3")
        third = await pulled.next()
    assert [(one.subject, one.sequence, one.delivered) for one in (first, second, third)] == [
        ("facts.placed.k1", 1, 1),
        ("facts.placed.k2", 3, 1),
        ("facts.placed.k3", 4, 1),
    ]
    assert (first.stream, first.data, first.headers["Said-By"]) == ("FACTS", b"facts.placed.k1", "ada")
    assert first.timestamp <= second.timestamp <= third.timestamp


@everywhere
async def test_a_pull_takes_no_more_than_it_has_slots(line: Line) -> None:
    for number in range(4):
        await line.record(f"facts.placed.k{number}")
    async with line.pulling(slots=2) as pulled:
        held = [await pulled.next(), await pulled.next()]
        await pulled.nothing(ACK_WAIT_SECONDS / 3)
        for delivery in held:
            pulled.in_flight.ack(delivery)
        assert [(await pulled.next()).sequence for _ in range(2)] == [3, 4]


@everywhere
async def test_what_is_acknowledged_comes_no_more(line: Line) -> None:
    await line.record("facts.placed.k1")
    async with line.pulling() as pulled:
        pulled.in_flight.ack(await pulled.next())
        await pulled.nothing()


@everywhere
async def test_what_is_not_acknowledged_comes_again_after_the_ack_wait(line: Line) -> None:
    await line.record("facts.placed.k1")
    async with line.pulling() as lost:
        began = asyncio.get_running_loop().time()
        assert (await lost.next()).delivered == 1
    async with line.pulling() as pulled:
        again = await pulled.next()
        assert asyncio.get_running_loop().time() - began > 0.9 * ACK_WAIT_SECONDS
        assert (again.sequence, again.delivered) == (1, 2)
        pulled.in_flight.ack(again)
        await pulled.nothing()


@everywhere
async def test_what_is_in_progress_does_not_come_again(line: Line) -> None:
    await line.record("facts.placed.k1")
    async with line.pulling() as pulled:
        held = await pulled.next()
        for _ in range(8):
            await asyncio.sleep(ACK_WAIT_SECONDS / 4)
            pulled.in_flight.in_progress()
        assert pulled.arrived.empty()
        assert len(pulled.in_flight) == 1
        pulled.in_flight.nak(held)
        assert (await pulled.next()).delivered == 2


@everywhere
async def test_what_is_given_back_comes_again_at_once_or_after_its_pause(line: Line) -> None:
    await line.record("facts.placed.k1")
    async with line.pulling() as pulled:
        pulled.in_flight.nak(await pulled.next())
        again = await pulled.next()
        began = asyncio.get_running_loop().time()
        pulled.in_flight.nak(again, PAUSE_SECONDS)
        third = await pulled.next()
        assert asyncio.get_running_loop().time() - began > 0.9 * PAUSE_SECONDS
        assert (again.delivered, third.delivered) == (2, 3)


@everywhere
async def test_a_late_acknowledgement_counts(line: Line) -> None:
    """Whoever was stopped for longer than the ack wait settles what was delivered again meanwhile."""
    await line.record("facts.placed.k1")
    async with line.pulling() as pulled:
        zombie = (await pulled.next()).reply
        await asyncio.sleep(1.5 * ACK_WAIT_SECONDS)
        line.transport.send(zombie, b"+ACK")
        await pulled.nothing()


@everywhere
async def test_a_schedule_publishes_once_when_it_is_due(line: Line) -> None:
    due = datetime.fromtimestamp((await now(line)) + 1.0, UTC).isoformat().replace("+00:00", "Z")
    headers = {"Nats-Schedule": f"@at {due}", "Nats-Schedule-Target": "due.k1", "Said-By": "ada"}
    await line.record("timers.k1", Guard("timers.k1", 0), headers)
    async with line.pulling("LATER", "due") as pulled:
        delivery = await pulled.next()
        assert (delivery.subject, delivery.data, delivery.headers["Said-By"]) == ("due.k1", b"timers.k1", "ada")
        assert delivery.timestamp >= datetime.fromisoformat(due).timestamp() - 0.05
        pulled.in_flight.ack(delivery)
        await pulled.nothing()
    assert await line.record("timers.k1", Guard("timers.k1", 0)), "the schedule is gone, and another may be set"


@everywhere
async def test_what_has_a_time_to_live_is_gone_after_it(line: Line) -> None:
    await line.record("timers.k1", Guard("timers.k1", 0), {"Nats-TTL": "1s"})
    with pytest.raises(Refused):
        await line.record("timers.k1", Guard("timers.k1", 0))
    while True:
        await asyncio.sleep(0.1)
        try:
            await line.record("timers.k1", Guard("timers.k1", 0))
        except Refused:
            continue
        break


@everywhere
async def test_a_denied_publish_fails_at_once_with_the_servers_words(line: Line) -> None:
    denied: list[str] = []
    line.transport.on_denied(denied.append)
    with pytest.raises(Unavailable, match=r"the broker denied it: .*permissions violation"):
        await line.record("facts.denied.k1")
    assert "facts.denied.k1" in denied[0]
    assert await line.record("facts.placed.k1") == 1


@everywhere
async def test_what_is_more_than_the_server_takes_is_not_sent(line: Line) -> None:
    with pytest.raises(TooLarge, match="max_payload"):
        line.transport.send("facts.placed.k1", bytes(line.transport.limits.payload_bytes_max + 1))
    with pytest.raises(TooLarge, match="subject"):
        line.transport.send(f"facts.placed.{'k' * 5_000}", b"")
    assert await line.record("facts.placed.k1") == 1


@everywhere
async def test_nothing_is_sent_while_the_broker_is_away(line: Line) -> None:
    async with line.away():
        assert line.transport.trouble
        with pytest.raises(Unavailable, match="not connected"):
            await line.record("facts.placed.k1")
    assert not line.transport.trouble
    assert await line.record("facts.placed.k1") == 1


@everywhere
async def test_everything_goes_on_after_a_reconnection(line: Line) -> None:
    """The stream has what was acknowledged; pulls ask anew; what was not settled comes again."""
    back: list[bool] = []
    line.transport.on_reconnected(lambda: back.append(True))
    await line.record("facts.placed.k1")
    async with line.pulling() as pulled:
        assert (await pulled.next()).sequence == 1
        async with line.away():
            pass
        await until(lambda: back)
        assert await line.record("facts.placed.k2") == 2
        assert (await pulled.next()).sequence == 2
        assert [stored.sequence for stored in await line.direct_get.last("FACTS", [">"])] == [1, 2]


@everywhere
async def test_a_pause_ends_with_the_outage(line: Line) -> None:
    async with line.away():
        pausing = asyncio.create_task(line.transport.pause(1_000.0))
    await pausing


@everywhere
async def test_an_inbox_hears_its_answers_until_nobody_listens_any_more(line: Line) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    inbox = line.transport.new_inbox()
    subscription = await line.transport.listen(inbox, lambda _subject, _reply, _headers, data: heard.put_nowait(data))
    line.transport.send("facts.placed.k1", b"{}", reply=inbox)
    assert json.loads(await heard.get())["seq"] == 1
    await line.transport.stop_listening(subscription)
    line.transport.send("facts.placed.k1", b"{}", reply=inbox)
    assert await line.record("facts.placed.k1") == 3
    assert heard.empty()


@everywhere
async def test_the_api_tells_what_there_is_and_what_time_it_is(line: Line) -> None:
    told = await request(line.transport, "STREAM.INFO.FACTS")
    assert told["config"]["subjects"] == ["facts.*.*"]
    assert line.transport.clock.is_known
    assert (await request(line.transport, "CONSUMER.INFO.FACTS.work"))["config"]["durable_name"] == "work"
    for call in ("STREAM.INFO.NOTHING", "CONSUMER.INFO.FACTS.nobody"):
        assert await request(line.transport, call) is None


async def now(line: Line) -> float:
    """The broker's time."""
    await request(line.transport, "STREAM.INFO.FACTS")
    return line.transport.clock.now()
