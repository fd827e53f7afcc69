"""Partitions: the stream of a busy service split by key, so that several brokers lead it and several disks sync it.

The broker routes. A mapping in its configuration turns `orders.placed.o-1` into `partition.2.0.orders.placed.o-1`; the
partition that takes it stores it as `orders.placed.o-1` again. So publishers, guards and filters keep their subjects;
only code that names a stream computes the partition. The mapped subject holds the count: if the broker and the topology
disagree about it, the message finds no stream, instead of a second stream for a key that has a story already.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jetmesh.event import entity_of
from jetmesh.jetstream.direct_get import EACH, DirectGet, Stored
from jetmesh.jetstream.subject import key_in
from jetmesh.jetstream.transport import Transport
from jetmesh.service import Service

Partitions = Mapping[str, int]
"""The number of partitions of each stream that is split, by the name of the whole stream."""

_FNV_OFFSET, _FNV_PRIME, _32_BITS = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


def partition_of(key: str, count: int) -> int:
    """The partition of a key, as the server's `{{partition(count,…)}}` computes it: FNV-1a in 32 bits."""
    found = _FNV_OFFSET
    for byte in key.encode():
        found = (found ^ byte) * _FNV_PRIME & _32_BITS
    return found % count


def names(stream: str, partitions: Partitions) -> list[str]:
    """The partitions of `stream`, or itself if it is not split. No service's own stream has a dash."""
    count = partitions.get(stream, 1)
    return [f"{stream}-{number}" for number in range(count)] if count > 1 else [stream]


def name_for(stream: str, key: str, partitions: Partitions) -> str:
    """The stream that holds the story of a key."""
    count = partitions.get(stream, 1)
    return f"{stream}-{partition_of(key, count)}" if count > 1 else stream


def places(stream: str, subjects: Iterable[str], partitions: Partitions) -> dict[str, list[str]]:
    """The subjects to ask of each partition; a subject without a key is asked of all of them."""
    found: dict[str, list[str]] = defaultdict(list)
    for subject in subjects:
        key = key_in(subject)
        everywhere = key in ("*", ">")
        for name in names(stream, partitions) if everywhere else [name_for(stream, key, partitions)]:
            found[name].append(subject)
    return found


def configs(config: Mapping[str, Any], partitions: Partitions) -> list[dict[str, Any]]:
    """A stream's configuration, or those of its partitions."""
    whole = str(config["name"])
    count = partitions.get(whole, 1)
    return [dict(config)] if count == 1 else [_part(config, count, number) for number in range(count)]


def mappings(entities: Mapping[str, int]) -> dict[str, str]:
    """The broker's mappings for the events of each entity, and for its occurrences: from, to."""
    return {source: to for entity, count in entities.items() for source, to in _mappings(entity, count)}


def _mappings(entity: str, count: int) -> Iterable[tuple[str, str]]:
    to = f"partition.{count}.{{{{partition({count},2)}}}}.{entity}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}"
    yield f"{entity}.*.*", to
    yield f"{entity}.*.*.*", f"{to}.{{{{wildcard(3)}}}}"


def lane(services: Iterable[Service], partitions: Partitions) -> Callable[[str], str]:
    """Names the stream that stores a subject of these services: an atomic batch is of one stream."""
    streams = {entity_of(event): service.stream for service in services for event in service.records}

    def of(subject: str) -> str:
        entity = subject.partition(".")[0]
        stream = streams.get(entity, entity)
        return name_for(stream, key_in(subject), partitions) if partitions else stream

    return of


class PartitionedDirectGet(DirectGet):
    """Reads each story from the partition of its key."""

    def __init__(self, connection: Transport, partitions: Partitions) -> None:
        super().__init__(connection)
        self._partitions = partitions

    async def last(self, stream: str, subjects: Sequence[str], each: int = EACH) -> list[Stored]:
        """The last messages of the subjects: those of one key oldest first, those of several keys by partition."""
        if stream not in self._partitions:
            return await super().last(stream, subjects, each)
        found: list[Stored] = []
        for name, there in places(stream, subjects, self._partitions).items():
            found += await super().last(name, there, each)
        return found


def _part(config: Mapping[str, Any], count: int, number: int) -> dict[str, Any]:
    prefix = f"partition.{count}.{number}"
    has_occurrences = any(subject.count(".") > 2 for subject in config["subjects"])
    taken = {"src": f"{prefix}.*.*.*", "dest": "{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"}
    stored = {"src": f"{prefix}.>", "dest": ">"} if has_occurrences else taken
    return {
        **config,
        "name": f"{config['name']}-{number}",
        "subjects": [f"{prefix}.{subject}" for subject in config["subjects"]],
        "subject_transform": stored,
    }
