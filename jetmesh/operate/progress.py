"""How far a mesh is: how much was recorded since, and what its durables still have to deliver."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jetmesh.jetstream.api import passing_consumer, request
from jetmesh.jetstream.transport import Transport
from jetmesh.topology.streams import Consumer


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
