"""A hot key: a thousand occurrences about it, from ten publishers, to three replicas."""

import asyncio

from jetmesh import Service
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.chat import MessageSent, Tally, counting

MESSAGES, PUBLISHERS = 1_000, 10


def said(number: int) -> MessageSent:
    """One message in the one room."""
    return MessageSent(room_id="room-7", message_id=f"m-{number}")


async def replicated(mesh: LocalMesh, service: Service) -> None:
    """Three replicas of a service at work until everything is done."""
    for _ in range(3):
        await mesh.start(service)
    await mesh.settled(within_seconds=120)


async def test_each_is_recorded_once_and_decided_once(mesh_of: MeshOf) -> None:
    decided: list[str] = []
    service = Service("chat")

    @service.intake
    async def send(message: MessageSent) -> MessageSent:
        """Somebody wrote a message: record it once."""
        decided.append(message.message_id)
        return message

    mesh = await mesh_of(service, start=False)

    async def publish(first: int) -> None:
        for number in range(first, MESSAGES, PUBLISHERS):
            await mesh.outside(said(number))

    await asyncio.gather(replicated(mesh, service), *map(publish, range(PUBLISHERS)))
    await mesh.settled(within_seconds=120)
    assert await mesh.count("CHAT") == MESSAGES
    assert len(decided) <= 1.1 * MESSAGES
    await mesh.stop(service)
    await mesh.deliver_again(service)
    await replicated(mesh, service)
    assert await mesh.count("CHAT") == MESSAGES
    assert len(await mesh.occurrences(MessageSent, "room-7")) == MESSAGES
    assert await mesh.count("DEAD_LETTERS") == 0


async def test_a_state_counts_each_once_in_common_commits(mesh_of: MeshOf) -> None:
    batches: list[int] = []
    service = counting(batches)
    mesh = await mesh_of(service, start=False)
    await asyncio.gather(*(mesh.outside(said(number)) for number in range(MESSAGES)))
    await replicated(mesh, service)
    assert (await mesh.recorded(Tally, "room-7")).messages == MESSAGES
    assert len(batches) < MESSAGES / 10
    await mesh.stop(service)
    await mesh.deliver_again(service)
    await replicated(mesh, service)
    assert (await mesh.recorded(Tally, "room-7")).messages == MESSAGES
    assert len(await mesh.occurrences(MessageSent, "room-7")) == MESSAGES
    assert await mesh.count("DEAD_LETTERS") == 0
