"""What operators see and keep of occurrences: in the story of a key, in an archive, in the audit."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from jetmesh import Service
from jetmesh.operate import books
from jetmesh.operate.archive.job import Job
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.checks import CHECKS, findings
from jetmesh.operate.key_history import story
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.chat import MessageSent, Room, RoomClosed, RoomOpened, chat, sending


def closing() -> Service:
    """Takes messages from outside, and closes a room that is opened."""
    service = sending()

    @service.on
    async def close(opened: RoomOpened, room: Room) -> RoomClosed | RoomOpened:
        """A room was opened: close it."""
        return RoomClosed(room_id=opened.room_id)

    return service


async def write(mesh: LocalMesh, count: int) -> None:
    """Write messages in the one room."""
    for number in range(count):
        await mesh.outside(MessageSent(room_id="room-7", message_id=f"m-{number}"))
    await mesh.settled()


async def test_the_story_of_a_key_shows_each(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(chat())
    await write(mesh, 3)
    types = [event.type for event in await story(mesh.context, mesh.services, "room-7")]
    assert (types.count("chat.message_sent"), types.count("chat.tallied"), types.count("chat.tally")) == (3, 3, 1)


async def test_the_audit_of_a_room_with_many_messages_is_clean(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(chat())
    await write(mesh, 3)
    found = findings(CHECKS, await books.collect(mesh.context, mesh.services, tmp_path))
    assert [(each.check, each.offences) for each in found if each.offences] == []


async def test_they_are_archived_with_the_story_of_their_key(mesh_of: MeshOf, tmp_path: Path) -> None:
    mesh = await mesh_of(closing())
    await write(mesh, 3)
    run = Job(mesh.context.connection, mesh.services, Archive(tmp_path), lambda _: None).run
    assert (await run(datetime.now(UTC) + timedelta(minutes=1))).stories == 0  # the room is open
    await mesh.record(RoomOpened(room_id="room-7"))
    await mesh.settled()
    report = await run(datetime.now(UTC) + timedelta(minutes=1))
    assert (report.stories, report.kept) == (1, {})
    left = await mesh.context.direct_get.last("CHAT", ["chat.>"])
    assert [stored.subject for stored in left] == ["chat.ENDED.room-7"]
    kept = [row.subject for row in Archive(tmp_path).of(["room-7"]) if row.stream == "CHAT"]
    assert sorted(kept) == [
        "chat.closed.room-7", *(f"chat.message_sent.room-7.m-{number}" for number in range(3)), "chat.opened.room-7",
    ]  # fmt: skip
