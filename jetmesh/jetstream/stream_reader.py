"""Whole streams: every message as the broker keeps it, page by page, past all services."""

from collections.abc import AsyncIterator

from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import Stored, reading
from jetmesh.jetstream.transport import Transport

PAGE = 5_000


async def read(connection: Transport, stream: str, subject: str = ">", first: int = 1) -> list[Stored]:
    """Every message on `subject` from the sequence `first` on, in the order of the stream; none where there is no such
    stream.

    Raises:
        Unavailable: the stream does not answer.
    """
    if await request(connection, f"STREAM.INFO.{stream}") is None:
        return []
    return [message async for message in messages(connection, stream, subject, first)]


async def messages(
    connection: Transport, stream: str, subject: str = ">", first: int = 1, page: int = PAGE, bytes_max: int = 0
) -> AsyncIterator[Stored]:
    """The same messages one by one, read in pages of so many messages and bytes.

    Raises:
        NobodyAnswers: there is no such stream, or it has no leader.
        Unavailable: the stream does not answer.
    """
    is_more = True
    while is_more:
        async with reading(connection) as reader:
            found, pending = await reader.page(stream, subject, first, page, bytes_max)
        for message in found:
            yield message
            first = message.sequence + 1
        is_more = bool(found) and pending > 0
