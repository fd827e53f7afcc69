"""The durables that an app has on streams of others: their owners bring those back, and we go on where we were.

A durable is made behind what it had settled when the backup began, if the stream is the one of then: it has the message
that was settled last, stored at the same time. One that stayed there is put back, for what it has settled since was
recorded in streams that the restore has undone.
"""

from collections.abc import Sequence
from dataclasses import replace

from jetmesh.jetstream.api import request
from jetmesh.jetstream.leader_get import message_at
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.backup.manifest import ForeignFloor, moment
from jetmesh.operate.backup.parts import Parts
from jetmesh.topology.streams import Consumer, Topology


async def returned(
    connection: Transport, mine: Parts, floors: Sequence[ForeignFloor], withheld: list[str]
) -> tuple[Topology, list[ForeignFloor]]:
    """The topology without the durables that can't go on, and the floors of those that can. `withheld` gets a sentence
    for each of the others: they are neither made nor changed."""
    found: list[ForeignFloor] = []
    durables = {(each.stream, each.durable): each for each in mine.elsewhere}
    known = [floor for floor in floors if (floor.stream, floor.durable) in durables]
    for floor in known:
        if why := await _differs(connection, floor):
            withheld.append(_told(floor, why, durables[floor.stream, floor.durable]))
            continue
        await request(connection, f"CONSUMER.DELETE.{floor.stream}.{floor.durable}")
        found.append(floor)
    left = {(floor.stream, floor.durable) for floor in known if floor not in found}
    return _without(mine.needed, left), found


async def _differs(connection: Transport, floor: ForeignFloor) -> str:
    """What about the stream is not as it was; empty if a durable can go on there."""
    info = await request(connection, f"STREAM.INFO.{floor.stream}")
    if info is None:
        return "is not on this broker"
    if (last := int(info["state"]["last_seq"])) < floor.sequence:
        return f"ends at {last:,}"
    message = await message_at(connection, floor.stream, floor.sequence) if floor.sequence else None
    if message and floor.time and moment(message.timestamp) != floor.time:
        return f"has another message at {floor.sequence:,}"
    return ""


def _told(floor: ForeignFloor, why: str, durable: Consumer) -> str:
    name, since = f"{durable.service}.{durable.reaction}", floor.time or "beginning"
    return (
        f"{floor.stream} {why}: {floor.durable}, which had settled it up to {floor.sequence:,}, is neither made nor "
        f"put back. Once its owner has brought the stream back: `jetmesh topology apply --since {name}={since}`"
    )


def _without(needed: Topology, left: set[tuple[str, str]]) -> Topology:
    """The topology without these durables, and without the foreign streams that only they read."""
    consumers = tuple(each for each in needed.consumers if (each.stream, each.durable) not in left)
    read = {each.stream for each in consumers}
    return replace(needed, consumers=consumers, foreign=tuple(each for each in needed.foreign if each.name in read))
