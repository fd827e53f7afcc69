"""An ordered consumer (ADR-15): the messages on some subjects from a sequence on, without end, each once and in order.

It is an ephemeral push consumer without acknowledgements. The server numbers what it sends; where a number or the
heartbeats are missing, or the connection was lost, another consumer goes on behind the last message that has come.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from jetmesh.common.throttled_log import Conditions
from jetmesh.failure import BrokerUnavailable, Unavailable
from jetmesh.jetstream.api import passing_consumer
from jetmesh.jetstream.delivery import RawDelivery, ack_facts
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.headers import Nats, decode_headers
from jetmesh.jetstream.leader_get import message_at
from jetmesh.jetstream.transport import Transport, answer_inbox

log = logging.getLogger("jetmesh.ordered_consumer")

HEARTBEAT_SECONDS = 1.0
SILENT_SECONDS = 2.5
"""After how long without a frame another consumer is made."""
RETRY_SECONDS = 1.0
FORGOTTEN_SECONDS = 30.0
"""After how long the server deletes a consumer to which nobody listens."""

Pushed = tuple[str, str, bytes, bytes]
Frames = asyncio.Queue[Pushed]
"""What has come and was not taken yet. The server's flow control keeps it small: it is answered in its turn."""


class LastMessage(NamedTuple):
    """The last message that has come: its sequence, and its time; 0 where that is not known."""

    sequence: int
    time: float = 0.0

    def is_before(self, delivery: RawDelivery) -> bool:
        """Whether a message comes behind it, on a stream that a restore may have taken back."""
        return delivery.sequence > self.sequence or 0 < self.time < delivery.timestamp


async def follow(
    connection: Transport, stream: str, subjects: Sequence[str], after: int = 0
) -> AsyncGenerator[RawDelivery, None]:
    """The messages behind the sequence `after`, those that are there and those that come. It waits while the broker is
    away. Where the stream went back meanwhile (a restore, or a crash that lost its end), what is stored from then on
    comes too, under sequences that came before.

    Raises:
        Unavailable: it can't begin: the broker is away, or there is no such stream.
    """
    has_begun, conditions, last = False, Conditions(log), LastMessage(after)
    while True:
        try:
            start, last = await _start(connection, stream, last)
            async with _consumer(connection, stream, subjects, start) as (inbox, frames):
                has_begun, before = True, last
                async with aclosing(_in_order(connection, inbox, frames)) as deliveries:
                    async for delivery in deliveries:
                        if before.is_before(delivery):
                            last = LastMessage(delivery.sequence, delivery.timestamp)
                            yield delivery
        except Unavailable as away:
            if not has_begun:
                raise
            conditions.log("away", logging.INFO, "%s is not followed: %s", stream, away)
            await connection.pause(RETRY_SECONDS)


async def _start(connection: Transport, stream: str, last: LastMessage) -> tuple[dict[str, Any], LastMessage]:
    """Where a consumer begins, and the position with its time. If another message has the sequence now, or none, only
    the time says what is new.

    Raises:
        Unavailable: JetStream does not answer, or refuses.
    """
    try:
        there = await message_at(connection, stream, last.sequence) if last.sequence else None
    except ApiError as refused:
        raise BrokerUnavailable(str(refused), RETRY_SECONDS) from refused
    if last.time and (there is None or there.timestamp != last.time):
        began = datetime.fromtimestamp(int(last.time), UTC)
        return {"deliver_policy": "by_start_time", "opt_start_time": began.isoformat()}, last
    start = {"deliver_policy": "by_start_sequence", "opt_start_seq": last.sequence + 1}
    return start, LastMessage(last.sequence, there.timestamp) if there else last


@asynccontextmanager
async def _consumer(
    connection: Transport, stream: str, subjects: Sequence[str], start: dict[str, Any]
) -> AsyncIterator[tuple[str, Frames]]:
    """An inbox, and what a new consumer of the messages from a `start` on sends to it.

    Raises:
        Unavailable: JetStream does not answer, or refuses.
    """
    frames = Frames()
    async with answer_inbox(connection, lambda *frame: frames.put_nowait(frame)) as inbox:
        try:
            async with passing_consumer(
                connection, stream, "follow", filter_subjects=list(subjects), deliver_subject=inbox, num_replicas=1,
                flow_control=True, idle_heartbeat=int(HEARTBEAT_SECONDS * 1e9),
                inactive_threshold=int(FORGOTTEN_SECONDS * 1e9), **start,
            ):  # fmt: skip
                yield inbox, frames
        except ApiError as refused:
            raise BrokerUnavailable(str(refused), RETRY_SECONDS) from refused


async def _in_order(connection: Transport, inbox: str, frames: Frames) -> AsyncGenerator[RawDelivery, None]:
    """The deliveries until one is missing, or nothing comes any more."""
    count = 0
    while (frame := await _next(frames)) is not None:
        subject, reply, headers, data = frame
        if subject == inbox:
            if not _is_whole(connection, reply, headers, count):
                return
            continue
        stream, _, _, sequence, number, time_ns, *_ = ack_facts(reply)
        count += 1
        if int(number) != count:
            return
        yield RawDelivery(subject, headers, data, "", stream, int(sequence), 1, int(time_ns) / 1e9)


def _is_whole(connection: Transport, reply: str, status: bytes, count: int) -> bool:
    """Answer a status; whether all that was sent before it has come."""
    fields = decode_headers(status)
    if asks := reply or fields.get(Nats.CONSUMER_STALLED, ""):
        connection.send(asks, b"")
    return int(fields.get(Nats.LAST_CONSUMER, count)) == count


async def _next(frames: Frames) -> Pushed | None:
    """The next frame; None if there was none for too long."""
    with suppress(asyncio.QueueEmpty):
        return frames.get_nowait()
    with suppress(TimeoutError):
        async with asyncio.timeout(SILENT_SECONDS):
            return await frames.get()
    return None
