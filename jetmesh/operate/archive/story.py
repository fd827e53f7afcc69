"""Whole stories: every message about a key, from the intake and from the streams of all services."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from jetmesh.cloudevents import decode_envelope, read_event
from jetmesh.event import EventType, entity_of
from jetmesh.failure import Permanent
from jetmesh.jetstream.clock import unix_nano
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import DirectGet
from jetmesh.jetstream.headers import Nats, decode_headers
from jetmesh.jetstream.subject import key_in, story_subject
from jetmesh.operate.archive.row import Row, as_stored
from jetmesh.service import Service
from jetmesh.topology.partitions import Partitions, places


async def stories(
    direct_get: DirectGet, services: Sequence[Service], keys: Iterable[str], split: Partitions
) -> dict[str, list[Row]]:
    """The events of all services for each key, without levels; only the partition that holds the key is read.

    Raises:
        Unavailable: a stream does not answer, or not completely.
    """
    found: dict[str, list[Row]] = {key: [] for key in keys}
    for service in services:
        facts = [event for event in service.records if not event.state]
        levels = {event.type for event in service.records} - {event.type for event in facts}
        entities = sorted({entity_of(event) for event in facts})
        subjects = [story_subject(entity, key) for key in found for entity in entities]
        for stream, there in places(service.stream, subjects, split).items():
            for row in await newest(direct_get, stream, there, len(service.records) + 1):
                if row.type not in levels:
                    found[row.key].append(row)
    return found


async def newest(direct_get: DirectGet, stream: str, subjects: Sequence[str], each: int = 1) -> list[Row]:
    """The newest message of every subject that `subjects` match, each at most `each`.

    Raises:
        Unavailable: the stream does not answer, or not completely.
    """
    return [_row(stream, *frame) for frame in await direct_get.last_frames(stream, subjects, each)]


def _row(stream: str, block: bytes, data: bytes) -> Row:
    added = decode_headers(block)
    subject, sequence = added[Nats.SUBJECT], int(added[Nats.SEQUENCE])
    return Row(key_in(subject), stream, sequence, unix_nano(added[Nats.TIME_STAMP]), subject, as_stored(block), data)


def with_keys(rows: Iterable[Row], types: Mapping[str, EventType]) -> list[Row]:
    """The rows with their keys. A message from outside has its key in the body, or an empty key if the body can't be
    decoded."""
    return [row if row.key else row._replace(key=_key_of(row, types)) for row in rows]


def _key_of(row: Row, types: Mapping[str, EventType]) -> str:
    """The key of a message in the intake: the body's, else one derived from its position."""
    timestamp = row.time_ns / 1e9
    delivery = RawDelivery(row.subject, row.header_fields(), row.data, "", row.stream, row.sequence, 1, timestamp)
    try:
        key: str = read_event(types[row.type], decode_envelope(delivery).data, delivery.position_id).key
    except (Permanent, KeyError):
        return ""
    return key


def by_key(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each key, without those that have none."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.key:
            found[row.key].append(row)
    return found
