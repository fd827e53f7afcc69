"""JetStream's Object Store (ADR-20), with as much memory as a few pieces take: every client of it reads the objects.

An object is written once, under a name that no other has: its pieces on a subject of their own, then a message that
describes it. nats-py's ObjectStore makes a consumer for each reading, which a service's account may not, and keeps all
that the server pushes to it.
"""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

from jetmesh.blob import bucket_stream, description_of, pieces_of
from jetmesh.common import json_body
from jetmesh.jetstream.direct_get import DirectGet
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.publisher import Publisher

PIECE_BYTES = 128 << 10
"""The size of a piece, as in every client."""
AHEAD = 16
"""How many pieces may be on their way to the broker."""
PAGE_BYTES = 1 << 20
"""How many bytes of pieces one request brings, about."""


class StoredObject(NamedTuple):
    """An object that is stored."""

    name: str
    digest: str
    size: int


def digest_text(digest: bytes) -> str:
    """A SHA-256 as descriptions have it."""
    return f"SHA-256={urlsafe_b64encode(digest).decode()}"


async def put(
    publisher: Publisher, bucket: str, source: AsyncIterable[bytes], *, content_type: str, description: str
) -> StoredObject:
    """Store what the source yields, as an object with a new name.

    Raises:
        Unavailable: the broker does not take it now; what it has of it is described nowhere.
    """
    name, digest, size, count = uuid4().hex, sha256(), 0, 0
    subject, room = pieces_of(bucket, name), asyncio.Semaphore(AHEAD)

    async def store(piece: bytes) -> None:
        await publisher.record(Message(subject, piece, ""))
        room.release()

    try:
        async with asyncio.TaskGroup() as storing:
            async for piece in _in_pieces(source):
                digest.update(piece)
                size, count = size + len(piece), count + 1
                await room.acquire()
                storing.create_task(store(piece))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    stored = StoredObject(name, digest_text(digest.digest()), size)
    described = {
        "name": name, "description": description, "headers": {"Content-Type": [content_type]},
        "options": {"max_chunk_size": PIECE_BYTES}, "bucket": bucket, "nuid": name, "size": size, "chunks": count,
        "mtime": datetime.now(UTC).isoformat().replace("+00:00", "Z"), "digest": stored.digest,
    }  # fmt: skip
    await publisher.record(Message(description_of(bucket, name), json.dumps(described).encode(), ""))
    return stored


async def _in_pieces(source: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of the usual size."""
    held = bytearray()
    async for part in source:
        for start in range(0, len(part), PIECE_BYTES):
            held += memoryview(part)[start : start + PIECE_BYTES]
            if len(held) >= PIECE_BYTES:
                yield bytes(held[:PIECE_BYTES])
                del held[:PIECE_BYTES]
    if held:
        yield bytes(held)


async def pieces(direct_get: DirectGet, bucket: str, name: str) -> AsyncGenerator[bytes, None]:
    """The pieces of an object that are there, in their order.

    Raises:
        Unavailable: the broker does not answer, or there is no such bucket.
    """
    first, is_more = 1, True
    while is_more:
        found, left = await direct_get.page(
            bucket_stream(bucket), pieces_of(bucket, name), first, PAGE_BYTES // PIECE_BYTES, PAGE_BYTES
        )
        for message in found:
            yield message.data
            first = message.sequence + 1
        is_more = bool(found) and left > 0


async def described(direct_get: DirectGet, bucket: str, name: str) -> StoredObject | None:
    """What the description of an object says; None if there is none.

    Raises:
        Unavailable: the broker does not answer, or there is no such bucket.
    """
    found = await direct_get.last(bucket_stream(bucket), [description_of(bucket, name)])
    return read_description(found[0].data) if found else None


def read_description(data: bytes) -> StoredObject | None:
    """What a description says; None if it describes no object that is there."""
    try:
        description = json_body.document(data)
        return (
            None
            if description.get("deleted")
            else StoredObject(str(description["nuid"]), str(description["digest"]), int(description["size"]))
        )
    except (json_body.Malformed, AttributeError, KeyError, TypeError, ValueError):
        return None  # another client's
