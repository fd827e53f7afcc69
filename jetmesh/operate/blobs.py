"""The objects in the buckets of an app, and which of them no stored message names any more."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jetmesh.blob import Blob, bucket_of, bucket_stream, description_of, is_bucket, pieces_of
from jetmesh.common import json_body
from jetmesh.jetstream import stream_reader
from jetmesh.jetstream.api import request
from jetmesh.jetstream.leader_get import next_message
from jetmesh.jetstream.object_store import read_description
from jetmesh.jetstream.transport import Transport
from jetmesh.service import Service
from jetmesh.topology.names import claims_of, limits_of
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import topology

PAGE_BYTES = 4 << 20
MARK = b'"digest"'
"""In the body of every message that names an object."""

Named = tuple[str, str]
"""A bucket, and the name of an object in it."""


@dataclass(frozen=True, slots=True)
class KeptObject:
    """One object; `size` is None where it was never stored whole."""

    bucket: str
    name: str
    size: int | None
    stored: datetime
    is_named: bool

    def is_left(self, before: datetime) -> bool:
        """Whether nothing names it, and it is older than what may still be named."""
        return not self.is_named and self.stored < before


async def objects(connection: Transport, services: Sequence[Service], split: Partitions) -> list[KeptObject]:
    """All objects of these services, those of each bucket oldest first.

    Raises:
        Unavailable: the broker does not answer.
        ApiError: it refuses.
    """
    found: list[KeptObject] = []
    for bucket in (bucket_of(service.name) for service in services if service.keeps_blobs):
        if await request(connection, f"STREAM.INFO.{bucket_stream(bucket)}") is not None:
            found += await _of_bucket(connection, bucket)
    if not found:
        return []
    named = {name async for name in _named(connection, services, split)}
    return [KeptObject(o.bucket, o.name, o.size, o.stored, (o.bucket, o.name) in named) for o in found]


async def prune(connection: Transport, left: Iterable[KeptObject]) -> None:
    """Remove these objects. What is cut short leaves pieces that the next run finds.

    Raises:
        Unavailable: the broker does not answer.
        ApiError: it refuses.
    """
    for each in left:
        for subject in (description_of(each.bucket, each.name), pieces_of(each.bucket, each.name)):
            await request(connection, f"STREAM.PURGE.{bucket_stream(each.bucket)}", {"filter": subject}, strict=True)


async def _of_bucket(connection: Transport, bucket: str) -> list[KeptObject]:
    """The objects of a bucket, those that were never stored whole included."""
    stream, found = bucket_stream(bucket), dict[str, KeptObject]()
    async for message in stream_reader.messages(connection, stream, description_of(bucket), bytes_max=PAGE_BYTES):
        if described := read_description(message.data):
            at = datetime.fromisoformat(message.time)
            found[described.name] = KeptObject(bucket, described.name, described.size, at, is_named=False)
    for subject in await _subjects(connection, stream, pieces_of(bucket)):
        name = subject.rpartition(".")[2]
        if name not in found and (first := await next_message(connection, stream, 1, subject)):
            at = datetime.fromtimestamp(first.timestamp, UTC)
            found[name] = KeptObject(bucket, name, None, at, is_named=False)
    return sorted(found.values(), key=lambda each: each.stored)


async def _subjects(connection: Transport, stream: str, pattern: str) -> list[str]:
    """The subjects of a stream that a pattern covers."""
    found: list[str] = []
    while True:
        wanted = {"subjects_filter": pattern, "offset": len(found)}
        info = await request(connection, f"STREAM.INFO.{stream}", wanted, strict=True)
        page = info["state"].get("subjects") or {}
        found += page
        if not page or len(found) >= info.get("total", 0):
            return found


async def _named(connection: Transport, services: Sequence[Service], split: Partitions) -> AsyncIterator[Named]:
    """The objects that a message of the app names: an event, what came from outside, a dead letter, a timer."""
    beside = {of(service.stream) for service in services for of in (claims_of, limits_of)}
    for stream in (each.name for each in topology(services, split=split).streams):
        if stream not in beside and not is_bucket(stream):
            async for data in _bodies(connection, stream):
                for name in names_in(data):
                    yield name


async def _bodies(connection: Transport, stream: str) -> AsyncIterator[bytes]:
    """The bodies of a stream; of one that no direct get reads, such as the timers, from its leader."""
    info = await request(connection, f"STREAM.INFO.{stream}")
    if info and info["config"].get("allow_direct"):
        async for stored in stream_reader.messages(connection, stream, bytes_max=PAGE_BYTES):
            yield stored.data
        return
    first = 1
    while info and (message := await next_message(connection, stream, first, ">")):
        yield message.data
        first = message.sequence + 1


def names_in(data: bytes) -> Iterator[Named]:
    """The objects that a body names."""
    if MARK not in data:
        return
    try:
        yield from _names(json_body.document(data))
    except json_body.Malformed:
        return


def _names(value: Any) -> Iterator[Named]:
    if isinstance(value, dict):
        if {"bucket", "name"} <= value.keys() & Blob.model_fields.keys():
            yield str(value["bucket"]), str(value["name"])
        value = list(value.values())
    for part in value if isinstance(value, list) else ():
        yield from _names(part)
