"""The example of a chat, on a real broker: one order for all readers, moderation, history and unread counts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

import jetmesh
from examples.chat.client import Entry, Feed, Rooms
from examples.chat.contract import MessageHidden, MessageSent, ReadUpTo, WhoIsThere, reading_of
from examples.chat.service import SERVICES, chat
from jetmesh import Problem, Unavailable
from jetmesh.testing import Broker, LocalMesh, MeshOf, until

ROOM = "room-7"
SENDERS, EACH = 4, 30


@asynccontextmanager
async def rooms(broker: Broker) -> AsyncIterator[Rooms]:
    async with jetmesh.connect(broker.url, name="chat-client") as mesh:
        yield Rooms(mesh)


async def persistently_sent(to: Rooms, sender: str) -> None:
    """Each message until it is taken: the broker may be away, and an answer may be lost."""
    for number in range(EACH):

        async def taken(number: int = number) -> bool:
            try:
                await to.send(ROOM, sender, f"{sender}-{number}", f"message {number}")
            except Unavailable:
                return False
            return True

        await until(taken)


async def read(broker: Broker, count: int, after: int = 0) -> list[Entry]:
    """So many entries, as a reader with a connection of its own sees them."""
    found: list[Entry] = []
    async with asyncio.timeout(60), rooms(broker) as own, aclosing(own.entries(ROOM, after)) as entries:
        async for entry in entries:
            found.append(entry)
            if len(found) == count:
                break
    return found


async def opened(mesh: LocalMesh, to: Rooms, *members: str) -> None:
    await to.open(ROOM, "Lunch")
    for member in members:
        await to.join(ROOM, member, f"{member}-in")
    await mesh.settled()


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry.event.message_id for entry in entries]


async def test_all_readers_see_one_order_through_restarts_of_the_service_and_of_the_broker(
    mesh_of: MeshOf, nats_broker: Broker
) -> None:
    mesh = await mesh_of(*SERVICES, JETMESH_ACK_WAIT_SECONDS="5")
    async with rooms(nats_broker) as to, asyncio.timeout(120):
        await opened(mesh, to)
        readers = [asyncio.create_task(read(nats_broker, SENDERS * EACH)) for _ in range(3)]
        await to.send(ROOM, "s-0", "s-0-0", "message 0")
        await mesh.recorded(MessageSent, ROOM)
        sending = [asyncio.create_task(persistently_sent(to, f"s-{number}")) for number in range(SENDERS)]
        await mesh.stop(chat)
        await mesh.start(chat)
        nats_broker.kill()
        nats_broker.start()
        await asyncio.gather(*sending)
        seen = await asyncio.gather(*readers)
        late = await read(nats_broker, SENDERS * EACH - 50, after=seen[0][49].position)
    await mesh.settled(30)
    assert len({tuple(one) for one in seen}) == 1
    assert late == seen[0][50:]
    assert sorted(ids(seen[0])) == sorted(f"s-{s}-{n}" for s in range(SENDERS) for n in range(EACH))
    positions = [entry.position for entry in seen[0]]
    assert positions == sorted(set(positions))
    assert await mesh.occurrences(MessageSent, ROOM) == [entry.event for entry in seen[0]]
    assert await mesh.dead_letters() == []


async def test_a_message_with_a_banned_word_is_hidden_everywhere(
    mesh_of: MeshOf, nats_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JETMESH_BANNED_WORDS", "spam, eggs")
    mesh = await mesh_of(*SERVICES)
    async with rooms(nats_broker) as to:
        await opened(mesh, to)
        await to.send(ROOM, "s-1", "m-1", "Ham and EGGS!")
        (sent, hidden) = await read(nats_broker, 2)
        page = await to.history(ROOM)
    assert isinstance(hidden.event, MessageHidden)
    assert (hidden.event.message_id, hidden.event.position, hidden.event.word) == ("m-1", sent.position, "eggs")
    (message,) = page.messages
    assert (message.is_hidden, message.text) == (True, "")


async def test_history_is_read_page_by_page(mesh_of: MeshOf, nats_broker: Broker) -> None:
    mesh = await mesh_of(*SERVICES)
    async with rooms(nats_broker) as to:
        await opened(mesh, to)
        for number in range(5):
            await to.send(ROOM, "s-1", f"m-{number}", "hello")
        await mesh.settled()
        first = await to.history(ROOM, limit=2)
        rest = await to.history(ROOM, after=first.messages[-1].position)
    assert (len(first.messages), first.left, len(rest.messages), rest.left) == (2, 3, 3, 0)
    assert [each.message_id for each in (*first.messages, *rest.messages)] == [
        entry.event.message_id for entry in await read(nats_broker, 5)
    ]


async def test_unread_counts_are_right_after_everything_is_delivered_again(
    mesh_of: MeshOf, nats_broker: Broker
) -> None:
    mesh = await mesh_of(*SERVICES)
    async with rooms(nats_broker) as to:
        await opened(mesh, to, "ada", "bob")
        for number in range(10):
            await to.send(ROOM, "bob", f"m-{number}", "spam" if number == 8 else "hello")
            await to.send(ROOM, "bob", f"m-{number}", "spam" if number == 8 else "hello")
        await mesh.settled()
        page = await to.history(ROOM)
        await to.mark_read(ROOM, "ada", page.messages[3].position)
        await to.mark_read(ROOM, "ada", page.messages[1].position)
        await mesh.settled()
        assert (await to.unread(ROOM, "ada"), await to.unread(ROOM, "bob")) == (5, 9)
        await mesh.deliver_again(chat)
        await mesh.settled()
        assert (await to.unread(ROOM, "ada"), await to.unread(ROOM, "bob")) == (5, 9)
        assert await to.history(ROOM) == page
    reading = await mesh.recorded(ReadUpTo, reading_of(ROOM, "ada"))
    assert reading.position == page.messages[3].position
    assert await mesh.dead_letters() == []


async def test_the_roster_has_every_member_once(mesh_of: MeshOf, nats_broker: Broker) -> None:
    mesh = await mesh_of(*SERVICES)
    async with jetmesh.connect(nats_broker.url) as outside:
        to = Rooms(outside)
        with pytest.raises(Problem, match="There is no such room"):
            await outside.request(WhoIsThere(room_id=ROOM))
        await opened(mesh, to)
        await asyncio.gather(*(to.join(ROOM, f"m-{number % 50}", f"in-{number}") for number in range(100)))
        await mesh.settled()
        there = await outside.request(WhoIsThere(room_id=ROOM))
    assert there.title == "Lunch"
    assert sorted(there.members) == sorted(f"m-{number}" for number in range(50))


async def test_a_feed_hands_the_same_order_to_all_readers_of_a_process(mesh_of: MeshOf, nats_broker: Broker) -> None:
    mesh = await mesh_of(*SERVICES)

    async def take(feed: Feed, count: int) -> list[Entry]:
        found: list[Entry] = []
        async with aclosing(feed.batches()) as batches:
            async for batch in batches:
                found += batch
                if len(found) >= count:
                    return found
        return found

    async with rooms(nats_broker) as to, asyncio.timeout(30):
        await opened(mesh, to)
        feed = Feed()
        readers = [asyncio.create_task(take(feed, 20)) for _ in range(100)]
        running = asyncio.create_task(feed.run(to, ROOM))
        for number in range(20):
            await to.send(ROOM, "s-1", f"m-{number}", "hello")
        seen = await asyncio.gather(*readers)
        running.cancel()
    assert {tuple(one) for one in seen} == {tuple(seen[0])}
    assert len(seen[0]) == 20
