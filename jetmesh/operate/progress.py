"""How far a mesh is: how much was recorded since, and what its durables still have to deliver."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import passing_consumer, request
from jetmesh.jetstream.transport import Transport
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.topology import partitions
from jetmesh.topology.streams import Consumer

POLL_SECONDS = 0.5
Count = Callable[[], Awaitable[int]]


class Gauge:
    """Counts the messages on some subjects from now on: the number pending of a consumer that no client pulls."""

    def __init__(self, connection: Transport, stream: str, name: str) -> None:
        self._connection, self._place = connection, f"{stream}.{name}"

    async def count(self) -> int:
        """How many there are by now.

        Raises:
            Unavailable: the broker does not answer.
        """
        info = await request(self._connection, f"CONSUMER.INFO.{self._place}")
        return int(info["num_pending"]) if info else 0


@asynccontextmanager
async def gauge(connection: Transport, stream: str, subjects: Sequence[str]) -> AsyncIterator[Gauge]:
    """A gauge on some subjects of a stream, gone afterwards."""
    config = {"deliver_policy": "new", "filter_subjects": list(subjects)}
    async with passing_consumer(connection, stream, "gauge", **config) as name:
        yield Gauge(connection, stream, name)


@asynccontextmanager
async def endings(context: Context, services: Sequence[Service]) -> AsyncIterator[Count]:
    """Counts the endings that these services record from now on."""
    split = context.settings.split
    streams = [(name, service) for service in services for name in partitions.names(service.stream, split)]
    subjects = [(name, [f"{ending.type}.*" for ending in service.endings]) for name, service in streams]
    async with AsyncExitStack() as stack:
        gauges = [await stack.enter_async_context(gauge(context.connection, *each)) for each in subjects if each[1]]

        async def count() -> int:
            return sum([await each.count() for each in gauges])

        yield count


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of durables: how many deliveries are pending or in flight, and up to which sequence each is done."""

    waiting: int
    delivered: tuple[int, ...]


async def progress(connection: Transport, consumers: Iterable[Consumer]) -> Progress:
    """The progress of these durables now.

    Raises:
        Unavailable: the broker does not answer.
        ApiError: a durable is missing.
    """
    waiting, delivered = 0, []
    for consumer in consumers:
        info = await request(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}", strict=True)
        waiting += int(info["num_pending"]) + int(info["num_ack_pending"])
        delivered.append(int(info["delivered"]["stream_seq"]))
    return Progress(waiting, tuple(delivered))


async def at_rest(
    connection: Transport, consumers: Sequence[Consumer], ended: Callable[[], Awaitable[bool]], seconds: float
) -> bool:
    """Wait until it has `ended`, and then until the durables have nothing to deliver; False when the time is up.

    Raises:
        ApiError: a durable is missing.
    """
    deadline, before = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        with suppress(Unavailable):
            now = await progress(connection, consumers) if await ended() else None
            if now is not None and now.waiting == 0 and now == before:
                return True
            before = now
        await asyncio.sleep(POLL_SECONDS)
    return False
