"""What a run cost: deliveries beyond the first, recordings that the guard refused, how long the rest took."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.subject import covers
from jetmesh.process.micro import REPORT
from jetmesh.runtime.context import Context
from jetmesh.topology.names import endpoint_subject
from jetmesh.topology.streams import Consumer, ConsumerKind
from jetmesh_shop.reference.books import ShopBooks
from tests.chaos.arena import NAMES

POLL_SECONDS = 1.0


@dataclass(slots=True)
class Figures:
    """Counts of one run; `refusals` are at least those: what a process counted in its last second is gone with it."""

    placed: int = 0
    orders: dict[str, bytes] = field(default_factory=dict)
    """The orders that were acknowledged, by id, as they were placed: whoever placed one can place it again."""
    placed_again: int = 0
    offences: list[str] = field(default_factory=list)
    """What the audit of restored streams found wrong, before a service might use them."""
    duplicates: int = 0
    poisoned: int = 0
    redeliveries: int = 0
    drain_seconds: float = 0.0
    refusals: Counter[str] = field(default_factory=Counter)
    prevented: Counter[str] = field(default_factory=Counter)
    _last: dict[str, int] = field(default_factory=dict)
    _deleted: Counter[str] = field(default_factory=Counter)

    async def watch(self, context: Context) -> None:
        """Ask every service for its refusals, again and again."""
        while True:
            for name in NAMES:
                with suppress(Unavailable):
                    subject = endpoint_subject(name, REPORT)
                    self._add(name, json.loads(await context.connection.ask(subject, b"", 0.5))["refused"])
            await asyncio.sleep(POLL_SECONDS)

    def _add(self, name: str, refused: int) -> None:
        """A count that is lower than before is that of another process."""
        last = self._last.get(name, 0)
        self.refusals[name] += refused - last if refused >= last else refused
        self._last[name] = refused

    async def remember(self, context: Context, consumer: Consumer) -> None:
        """A durable is about to be deleted, and its count with it."""
        self._deleted[consumer.durable] += await _deliveries(context, consumer)

    async def count_redeliveries(self, context: Context, consumers: tuple[Consumer, ...], books: ShopBooks) -> None:
        """Of all durables: deliveries beyond one for each message that they read."""
        for consumer in consumers:
            if consumer.kind is ConsumerKind.DEADLINE or consumer.stream.endswith("_TIMERS"):
                continue
            messages = [*books.intake, *books.events]
            theirs = [message.subject for message in messages if message.stream == consumer.stream]
            read = sum(any(covers(each, subject) for each in consumer.subjects) for subject in theirs)
            self.redeliveries += max(0, await _deliveries(context, consumer) - read)
        self.redeliveries += self._deleted.total()


async def _deliveries(context: Context, consumer: Consumer) -> int:
    info = await api.request(context.connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
    return int(info["delivered"]["consumer_seq"]) if info else 0
