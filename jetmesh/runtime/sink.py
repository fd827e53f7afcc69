"""Sinks: everything that happens, in batches, into a store that keeps the position itself."""

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from jetmesh.cloudevents import as_written
from jetmesh.common.throttled_log import reason_of
from jetmesh.event import Recorded
from jetmesh.history import UNTOLD, History
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.headers import TRACEPARENT, CloudEvents, Headers
from jetmesh.jetstream.subject import is_marker
from jetmesh.outcome import Kept, Outcome, Retried
from jetmesh.runtime.batching import Batching
from jetmesh.telemetry.otlp import trace_id_of

BATCH_MAX = 2_000
BATCH_WORTHWHILE = 1_000
TOGETHER_MAX = 3
REST_SECONDS_MAX = 0.5
REST_PER_SECOND_OF_WORK = 20


class Sink(Batching):
    """Hands over whatever waits, and acknowledges it once the store has it. What fails is tried until it succeeds."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._enough = asyncio.Event()

    def accept(self, delivery: Delivery) -> None:
        """The marker of an archived story is no event, and nothing to keep."""
        if is_marker(delivery.subject):
            self.context.in_flight.ack(delivery)
            return
        super().accept(delivery)
        if len(self.waiting) >= BATCH_WORTHWHILE:
            self._enough.set()

    async def batch_max(self) -> int:
        """As much as a transaction takes well."""
        return BATCH_MAX

    async def handle(self, batch: list[Delivery]) -> None:
        """Keep the batch. Where more has come meanwhile, let still more gather: a transaction costs as much for few
        events as for many. An event that comes alone is kept at once, and in a flood nobody rests. What has come often
        goes alone: it may be what the store can't take."""
        began = time.monotonic()
        if together := [delivery for delivery in batch if delivery.delivered <= TOGETHER_MAX]:
            await self._keep(together)
        for delivery in batch:
            if delivery.delivered > TOGETHER_MAX:
                await self._keep([delivery])
        if self.waiting:
            worked_seconds = time.monotonic() - began
            await self._gather(min(REST_PER_SECOND_OF_WORK * worked_seconds, REST_SECONDS_MAX))

    async def _gather(self, seconds: float) -> None:
        """Until enough waits, or the time is up."""
        if len(self.waiting) >= BATCH_WORTHWHILE:
            return
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._enough.wait()

    async def _keep(self, batch: list[Delivery]) -> None:
        began = time.monotonic()
        outcome: type[Outcome]
        arguments = [self.dependencies for _ in self.reaction.arguments]
        try:
            of = self.context.histories.of
            await self.reaction.function([recorded(each, of(each.stream)) for each in batch], *arguments)
        except Exception as error:
            self.conditions.tell(
                reason_of(error), logging.WARNING, "%s could not keep %d events: %s",
                self.reaction.durable, len(batch), error, error=error,
            )  # fmt: skip
            pause = self.reaction.retry.pause_seconds(max(delivery.delivered for delivery in batch))
            for delivery in batch:
                self.context.in_flight.nak(delivery, min(pause, 5.0))
            outcome = Retried
        else:
            for delivery in batch:
                self.context.in_flight.ack(delivery)
            outcome = Kept
        seconds = time.monotonic() - began
        for delivered, times in Counter(delivery.delivered for delivery in batch).items():
            self.telemetry.tally.add(outcome, "", seconds, delivered, times)


def recorded(delivery: Delivery, history: History = UNTOLD) -> Recorded:
    """A delivery as it stands in the stream; headers that are missing or wrong leave their fields empty."""
    written = as_written(delivery)
    headers: Headers = {} if written else delivery.headers
    return Recorded(
        stream=delivery.stream,
        sequence=delivery.sequence,
        type=delivery.type,
        key=delivery.key,
        time=datetime.fromtimestamp(delivery.timestamp, UTC),
        id=written.id if written else headers.get(CloudEvents.ID, ""),
        source=written.source if written else headers.get(CloudEvents.SOURCE, ""),
        trace_id=trace_id_of(written.traceparent if written else headers.get(TRACEPARENT, "")),
        causation_id=written.causation_id if written else headers.get(CloudEvents.CAUSATION_ID, ""),
        data=delivery.data,
        history=history,
    )
