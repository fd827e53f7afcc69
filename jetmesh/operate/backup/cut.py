"""The cut: for each stream a last sequence, such that every message before it has its cause before it as well.

Streams are asked for their last sequence one after the other, while services record. With four such readings in a row,
`early`, `floor`, `at`, `late`, an event before `early` has its cause before `floor`, and one before `at` has it before
`late`. So only the messages between `early` and `late` have to be read: from `at`, the cut moves to before each event
whose cause is after the cut, until there is none. It can't move to before `floor`: the messages that were stored before
the third reading began are such a cut themselves.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jetmesh.cloudevents import decode_envelope
from jetmesh.failure import Permanent
from jetmesh.jetstream.api import request
from jetmesh.jetstream.delivery import Position, RawDelivery
from jetmesh.jetstream.headers import Jetmesh
from jetmesh.jetstream.leader_get import next_message
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.backup.manifest import BackupError
from jetmesh.topology.names import DEAD_LETTERS

Positions = Mapping[str, int]
"""A sequence of each stream."""

TRIES = 5


@dataclass(frozen=True, slots=True)
class CausedMessage:
    """A message, its id, and its cause: the id of a message (empty: none), or a position."""

    position: Position
    id: str
    cause: str | Position = ""


async def make(connection: Transport, streams: Sequence[str]) -> dict[str, int]:
    """The latest possible cut through these streams.

    Raises:
        BackupError: there is none, because two messages have the same id.
        Unavailable: the broker does not answer.
    """
    for _ in range(TRIES):
        early, floor, at, late = [await positions(connection, streams) for _ in range(4)]
        facts = [fact for stream in streams for fact in await read(connection, stream, early[stream], late[stream])]
        cut = closed(at, facts)
        if all(cut[stream] >= floor[stream] for stream in streams):
            return cut
    raise BackupError("the streams have no moment at which each event has its cause: run `jetmesh audit`")


def closed(at: Positions, facts: Iterable[CausedMessage]) -> dict[str, int]:
    """The latest cut before `at` in which each of these facts has its cause, if that is among them."""
    facts = list(facts)
    known: dict[str | Position, list[Position]] = defaultdict(list)
    for fact in facts:
        known[fact.id].append(fact.position)
        known[fact.position].append(fact.position)
    cut = dict(at)
    went_back = True
    while went_back:
        went_back = False
        for fact in facts:
            stream, sequence = fact.position
            causes = known.get(fact.cause, ()) if fact.cause else ()
            if sequence <= cut[stream] and causes and all(number > cut[where] for where, number in causes):
                cut[stream] = sequence - 1
                went_back = True
    return cut


async def positions(connection: Transport, streams: Iterable[str]) -> dict[str, int]:
    """The last sequence of each stream, now."""

    async def last(stream: str) -> int:
        info = await request(connection, f"STREAM.INFO.{stream}", strict=True)
        return int(info["state"]["last_seq"])

    names = list(streams)
    return dict(zip(names, await asyncio.gather(*map(last, names)), strict=True))


async def read(connection: Transport, stream: str, after: int, last: int) -> list[CausedMessage]:
    """The messages of a stream after a sequence, up to another, from its leader: a replica may lag."""
    found: list[CausedMessage] = []
    while after < last:
        message = await next_message(connection, stream, after + 1, ">")
        if message is None or message.sequence > last:
            break
        found.append(caused(message))
        after = message.sequence
    return found


def caused(delivery: RawDelivery) -> CausedMessage:
    """A message with its cause. One that can't be decoded has the id derived from its position."""
    position = delivery.stream, delivery.sequence
    if delivery.stream == DEAD_LETTERS:
        return CausedMessage(position, delivery.position_id, _source(delivery))
    try:
        envelope = decode_envelope(delivery)
    except Permanent:
        return CausedMessage(position, delivery.position_id)
    return CausedMessage(position, envelope.id, envelope.causation_id)


def _source(letter: RawDelivery) -> Position | str:
    """The position of the message that a dead letter is about; empty for an entry of the log of replays."""
    stream, sequence = letter.headers.get(Jetmesh.STREAM, ""), letter.headers.get(Jetmesh.SEQUENCE, "")
    return (stream, int(sequence)) if stream and sequence.isdecimal() else ""
