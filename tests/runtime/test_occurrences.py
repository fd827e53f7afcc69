"""Occurrences, and several events in one commit, on the real broker."""

import asyncio
from datetime import UTC, datetime

from jetmesh import Delivery, Service
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.chat import MessageSent, RoomOpened, Tallied, Tally, chat, counting
from tests.support.jobs import Asked, Finished, Noted, Work, work


def said(number: int, room: str = "room-7", text: str = "") -> MessageSent:
    """One message in a room."""
    return MessageSent(room_id=room, message_id=f"m-{number}", text=text)


async def messages(mesh: LocalMesh, room: str = "room-7") -> list[str]:
    """The ids of the messages that are recorded in a room."""
    return [message.message_id for message in await mesh.occurrences(MessageSent, room)]


async def test_each_stands_for_itself_on_a_subject_of_its_own(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(chat())
    for number in (1, 2, 3):
        await mesh.outside(said(number))
    await mesh.settled()
    assert sorted(await messages(mesh)) == ["m-1", "m-2", "m-3"]
    stored = await mesh.context.direct_get.last("CHAT", ["chat.message_sent.room-7.m-2"])
    assert [(one.type, one.key) for one in stored] == [("chat.message_sent", "room-7")]
    assert await mesh.count("DEAD_LETTERS") == 0


async def test_the_same_one_again_is_taken_once_and_other_contents_are_a_letter(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(chat())
    for text in ("hello", "hello", "something else"):
        await mesh.outside(said(1, text=text))
        await mesh.settled()
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reason"].startswith("chat.message_sent.room-7.m-1 was recorded before with other")
    assert "`message_id`" in letter.headers["Jetmesh-Reason"]
    assert [message.text for message in await mesh.occurrences(MessageSent, "room-7")] == ["hello"]
    assert (await mesh.recorded(Tally, "room-7")).messages == 1


async def test_one_with_other_contents_is_found_among_many(mesh_of: MeshOf) -> None:
    service = counting([])
    mesh = await mesh_of(service)
    await mesh.outside(said(1))
    await mesh.settled()
    await mesh.stop(service)
    await asyncio.gather(*(mesh.outside(said(number, text="new")) for number in range(5)))
    await mesh.start(service)
    (letter,) = await mesh.dead_letters(1)
    await mesh.settled()
    assert letter.headers["Jetmesh-Reason"].startswith("chat.message_sent.room-7.m-1 was recorded before with other")
    assert (await mesh.recorded(Tally, "room-7")).messages == 5


async def test_what_no_token_can_be_is_a_letter_that_names_the_field(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(chat())
    await mesh.publish("chat.message_sent", {"room_id": "room-7", "message_id": "a.b"})
    await mesh.publish("chat.message_sent", {"room_id": "room-7"})
    letters = await mesh.dead_letters(2)
    assert all(letter.headers["Jetmesh-Reason"].startswith("message_id: ") for letter in letters)


async def test_a_subject_with_another_id_than_the_body_is_a_letter(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(chat(), start=False)
    await mesh.publish("chat.message_sent.room-7.m-2", said(1).model_dump_json())
    await mesh.start(mesh.services[0])
    letters = await mesh.dead_letters(2)
    assert {letter.headers["Jetmesh-Reason"] for letter in letters} == {
        "message_id: m-1 is not the id in the subject, m-2"
    }


async def test_everything_delivered_again_changes_nothing(mesh_of: MeshOf) -> None:
    """By another process, which remembers nothing: neither messages nor the state that counted them are doubled."""
    service = chat()
    mesh = await mesh_of(service)
    for number in range(20):
        await mesh.outside(said(number))
    await mesh.settled()
    before = await mesh.count("CHAT")
    assert (await mesh.recorded(Tally, "room-7")).messages == 20
    await mesh.stop(service)
    await mesh.deliver_again(service)
    await mesh.start(service)
    await mesh.settled()
    assert await mesh.count("CHAT") == before
    assert (await mesh.recorded(Tally, "room-7")).messages == 20
    assert await mesh.count("DEAD_LETTERS") == 0


async def test_replicas_count_every_message_once(mesh_of: MeshOf) -> None:
    service = chat()
    mesh = await mesh_of(service, start=False)
    for _ in range(3):
        await mesh.start(service)
    for number in range(60):
        await mesh.outside(said(number, room=f"room-{number % 2}"))
    await mesh.settled(within_seconds=60)
    assert [(await mesh.recorded(Tally, room)).messages for room in ("room-0", "room-1")] == [30, 30]
    assert len(await mesh.occurrences(Tallied, "room-0")) == 30
    assert await mesh.count("DEAD_LETTERS") == 0


async def test_what_is_about_another_key_is_decided_by_the_story_of_that_key(mesh_of: MeshOf) -> None:
    mesh = await mesh_of(chat())
    for number in range(10):
        await mesh.outside(said(number, room=f"room-{number}"))
    await mesh.settled()
    assert [stored.type for stored in await mesh.story("s-1")] == ["chat.sender_seen"]
    assert await mesh.count("DEAD_LETTERS") == 0


async def test_many_keys_in_one_commit_or_none(mesh_of: MeshOf) -> None:
    """A second cause that would open one of the rooms again opens none."""
    service = Service("chat")

    @service.on
    async def open(asked: Asked) -> list[RoomOpened | MessageSent]:  # noqa: A001
        """A job was asked for: open rooms for it, and say so."""
        rooms = [f"{asked.effort}-{number}" for number in range(3)]
        return [RoomOpened(room_id=room) for room in rooms] + [said(asked.effort, room) for room in rooms]

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1", effort=1))
    await mesh.settled()
    assert await mesh.count("CHAT") == 6
    await mesh.record(Asked(job_id="j-2", effort=1))
    (letter,) = await mesh.dead_letters(1)
    assert "chat.opened was recorded before, from another cause" in letter.headers["Jetmesh-Reason"]
    assert await mesh.count("CHAT") == 6
    await mesh.stop(service)
    await mesh.deliver_again(service)
    await mesh.start(service)
    await mesh.settled()
    assert await mesh.count("CHAT") == 6


async def test_more_than_a_commit_holds_is_a_letter(mesh_of: MeshOf) -> None:
    service = Service("chat")

    @service.on
    async def flood(asked: Asked) -> list[MessageSent]:
        """A job was asked for: say it too often."""
        return [said(number) for number in range(asked.effort)]

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1", effort=1_001))
    (letter,) = await mesh.dead_letters(1)
    assert "decided 1001 events, and one commit holds 1000" in letter.headers["Jetmesh-Reason"]
    await mesh.record(Asked(job_id="j-2", effort=1_000))
    await mesh.settled()
    assert await mesh.count("CHAT") == 1_000


async def test_a_state_of_another_key_is_a_letter_that_names_the_form(mesh_of: MeshOf) -> None:
    service = Service("chat")

    @service.on
    async def elsewhere(message: MessageSent) -> tuple[Tallied, Tally]:
        """A message was sent: count it in another room."""
        return Tallied(room_id=message.room_id), Tally(room_id="room-8", messages=1)

    mesh = await mesh_of(service)
    await mesh.record(said(1))
    (letter,) = await mesh.dead_letters(1)
    assert "`@service.on_many`" in letter.headers["Jetmesh-Reason"]


async def test_two_milestones_of_a_key_are_one_commit_and_settled_together(mesh_of: MeshOf) -> None:
    service = work()

    @service.on
    async def finish(asked: Asked, story: Work) -> tuple[Finished, Noted]:
        """A job was asked for: finish it, and note that."""
        return Finished(job_id=asked.job_id), Noted(job_id=asked.job_id)

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    await mesh.settled()
    await mesh.deliver_again(service)
    await mesh.settled()
    assert await mesh.types("j-1") == {"work.finished", "work.noted", "jobs.asked"}
    assert await mesh.count("WORK") == 2
    assert await mesh.count("DEAD_LETTERS") == 0


async def test_a_reaction_may_ask_for_what_arrived(mesh_of: MeshOf) -> None:
    service, seen = Service("chat"), list[tuple[object, ...]]()

    @service.intake
    async def send(message: MessageSent, delivery: Delivery) -> MessageSent:
        """Somebody wrote a message: record it once."""
        what = delivery.id, delivery.time, delivery.headers["tone"], delivery.delivered, delivery.stream
        seen.append((*what, delivery.sequence, delivery.traceparent))
        return message

    mesh = await mesh_of(service)
    headers = {
        "ce-specversion": "1.0", "ce-id": "x-1", "ce-type": "chat.message_sent", "ce-source": "/test",
        "ce-time": "2026-03-29T01:30:00+01:00", "tone": "calm",
    }  # fmt: skip
    await mesh.publish("chat.message_sent", said(1).model_dump_json(), headers)
    await mesh.settled()
    assert seen == [
        ("x-1", datetime(2026, 3, 29, 0, 30, tzinfo=UTC), "calm", 1, "INTAKE", 1, "")
    ]  # nothing is traced here
