"""What was recorded about a key is read a page at a time, and followed through every interruption."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path

import pytest

import jetmesh
from jetmesh import Recorded, Unavailable
from jetmesh.jetstream import api
from jetmesh.operate.backup.restore import Restoring
from jetmesh.operate.backup.take import Taking
from jetmesh.runtime.reader import EventReader, Reach
from jetmesh.testing import Broker, LocalMesh, MeshOf
from tests.support.chat import MessageSent, RoomOpened, Tallied, Tally, chat, sending
from tests.support.jobs import Asked


def messages(count: int, first: int = 0) -> list[MessageSent]:
    return [MessageSent(room_id="r-1", message_id=f"m-{number}") for number in range(first, first + count)]


async def recorded(mesh: LocalMesh, events: Sequence[MessageSent]) -> None:
    for event in events:
        await mesh.record(event)


async def taken(events: AsyncIterator[Recorded], count: int) -> list[Recorded]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


def ids(events: Sequence[Recorded]) -> list[str]:
    return [MessageSent.read(event.data).message_id for event in events]


async def test_a_page_says_how_many_events_follow(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(sending())
    await recorded(mesh, messages(5))
    await mesh.record(MessageSent(room_id="r-2", message_id="m-0"))
    first, left = await mesh.context.read("r-1", MessageSent, limit=2)
    rest = await mesh.context.read("r-1", MessageSent, after=first[-1].sequence)
    assert (ids(first), left) == (["m-0", "m-1"], 3)
    assert (ids(rest.events), rest.left) == (["m-2", "m-3", "m-4"], 0)
    assert await mesh.context.read("r-3", MessageSent) == ((), 0)


async def test_what_is_there_and_what_comes_is_followed_in_the_order_of_the_stream(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(chat())
    await mesh.record(RoomOpened(room_id="r-1"))
    await recorded(mesh, messages(2))
    async with aclosing(mesh.context.follow("r-1", MessageSent, RoomOpened, Tally)) as events:
        there = await taken(events, 5)
        await mesh.outside(messages(1, 2)[0])
        come = await taken(events, 2)
    assert {event.type for event in there} == {"chat.opened", "chat.message_sent", "chat.tally"}
    assert [event.type for event in come] == ["chat.message_sent", "chat.tally"]
    sequences = [event.sequence for event in (*there, *come)]
    assert sequences == sorted(set(sequences))


async def test_a_follower_begins_behind_its_position(mesh_of: MeshOf, nats_broker: Broker) -> None:
    mesh = await mesh_of(sending())
    await recorded(mesh, messages(4))
    async with jetmesh.connect(nats_broker.url) as outside:
        page = await outside.read("r-1", MessageSent, limit=2)
        async with aclosing(outside.follow("r-1", MessageSent, after=page.events[-1].sequence)) as events:
            assert ids(await taken(events, 2)) == ["m-2", "m-3"]


async def test_nothing_is_lost_or_doubled_through_crashes_of_the_broker(mesh_of: MeshOf, nats_broker: Broker) -> None:
    mesh = await mesh_of(sending())
    async with aclosing(mesh.context.follow("r-1", MessageSent)) as events:
        found: list[Recorded] = []
        for round_ in range(3):
            await recorded(mesh, messages(20, 20 * round_))
            found += await taken(events, 10)
            nats_broker.kill()
            nats_broker.start()
        stored = await mesh.until(partial(everything, mesh))
        found += await taken(events, len(stored) - len(found))
    assert [event.sequence for event in found] == [event.sequence for event in stored]
    assert list(dict.fromkeys(ids(found))) == [f"m-{number}" for number in range(60)]


async def everything(mesh: LocalMesh) -> Sequence[Recorded]:
    """What is stored, once the broker is back. (A test that records through an outage may store an event twice.)"""
    with suppress(Unavailable):
        return (await mesh.context.read("r-1", MessageSent, limit=1_000)).events
    return ()


async def test_a_consumer_that_was_deleted_is_made_again(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(sending())
    async with aclosing(mesh.context.follow("r-1", MessageSent)) as events:
        await recorded(mesh, messages(1))
        assert ids(await taken(events, 1)) == ["m-0"]
        for consumer in await api.consumers_of(mesh.context.connection, "CHAT"):
            await api.request(mesh.context.connection, f"CONSUMER.DELETE.CHAT.{consumer['name']}")
        await recorded(mesh, messages(1, 1))
        assert ids(await taken(events, 1)) == ["m-1"]


async def test_a_follower_that_reads_slowly_gets_everything(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(sending())
    large = [MessageSent(room_id="r-1", message_id=f"m-{n}", text="x" * 200_000) for n in range(200)]
    await recorded(mesh, large)
    async with aclosing(mesh.context.follow("r-1", MessageSent)) as events:
        await taken(events, 1)
        assert ids(await taken(events, 199)) == [f"m-{number}" for number in range(1, 200)]


async def test_nothing_is_left_of_a_follower_that_stops(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(sending())
    await recorded(mesh, messages(1))
    before = len(await api.consumers_of(mesh.context.connection, "CHAT"))
    async with aclosing(mesh.context.follow("r-1", MessageSent)) as events:
        await taken(events, 1)
        assert len(await api.consumers_of(mesh.context.connection, "CHAT")) == before + 1
    assert len(await api.consumers_of(mesh.context.connection, "CHAT")) == before


async def test_what_can_not_be_followed_is_said_at_once(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(sending())
    with pytest.raises(Unavailable, match="stream not found"):
        await anext(mesh.context.follow("j-1", Asked))
    with pytest.raises(TypeError, match=r"events of chat and jobs: name one or more types of one owner"):
        await anext(mesh.context.follow("r-1", Tallied, Asked))
    with pytest.raises(ValueError, match=r"limit=0: a page has 1 to 1000 events"):
        await mesh.context.read("r-1", MessageSent, limit=0)


async def nothing_is_wrong() -> list[str]:
    return []


async def emptied_and_restored(mesh: LocalMesh, folder: Path) -> None:
    """The broker loses every stream, and the backup is restored."""
    for name in await api.stream_names(mesh.context.connection):
        await api.request(mesh.context.connection, f"STREAM.DELETE.{name}", strict=True)
    await Restoring(mesh.context.connection, mesh.services, mesh.settings, folder, print).run(nothing_is_wrong)


@pytest.mark.parametrize("after", [0, 1], ids=["from the beginning", "from a position"])
@pytest.mark.parametrize("reach", Reach, ids=lambda reach: reach.name.lower())
async def test_what_is_recorded_after_a_restore_is_followed(
    mesh_of: MeshOf, tmp_path: Path, reach: Reach, after: int
) -> None:
    """The stream went back: sequences that a follower has seen are given to other events."""
    mesh = await mesh_of(sending(), start=False)
    reader = EventReader(mesh.context.connection, mesh.context.direct_get, {}, reach)
    states = [Tally(room_id="r-1", messages=number) for number in range(9)]
    await mesh.record(states[0])
    await Taking(mesh.context.connection, mesh.services, {}, tmp_path / "backup", print).run()
    async with aclosing(reader.follow([Tally, RoomOpened], "r-1", after)) as events:
        found = [] if after else await taken(events, 1)
        come = asyncio.create_task(taken(events, 1))
        for state in states[1:4]:
            await mesh.record(state)
            found += await come
            come = asyncio.create_task(taken(events, 1))
        await emptied_and_restored(mesh, tmp_path / "backup")
        await mesh.record(RoomOpened(room_id="r-1"))
        await mesh.record(states[4])
        found += await come
        found += await taken(events, 1)
    assert [each.type for each in found[-2:]] == ["chat.opened", "chat.tally"]
    seen = [Tally.read(each.data).messages for each in found if each.type == "chat.tally"]
    assert seen == list(range(1 if after else 0, 5))
    assert found[-1].sequence < found[-3].sequence
