"""Sinks: everything that happens, in batches, into a store that keeps the position itself."""

import asyncio
import logging
import time
from datetime import UTC, datetime

from jetmesh.batching import Batching
from jetmesh.event import Recorded
from jetmesh.otlp import parse_traceparent
from jetmesh.wire import Delivery, Headers, as_written

log = logging.getLogger("jetmesh.sink")

BATCH_MAX = 2_000
REST_SECONDS_MAX = 0.25


class Sink(Batching):
    """Hands over whatever waits, and acknowledges it once the store has it. What fails is tried until it succeeds."""

    async def batch_max(self) -> int:
        """As much as a transaction takes well."""
        return BATCH_MAX

    async def handle(self, batch: list[Delivery]) -> None:
        """Keep the batch, and rest for as long as that was worth if more has come: a transaction costs as much for few
        events as for many."""
        began = time.monotonic()
        await self._keep(batch)
        if self.waiting:
            await asyncio.sleep(min(3 * (time.monotonic() - began), REST_SECONDS_MAX))

    async def _keep(self, batch: list[Delivery]) -> None:
        began = time.monotonic()
        arguments = [self.dependencies for _ in self.reaction.arguments]
        try:
            await self.reaction.function([recorded(delivery) for delivery in batch], *arguments)
        except Exception as error:
            log.warning(
                "%s could not keep %d events: %s",
                self.reaction.durable,
                len(batch),
                error,
                exc_info=self.tracebacks.news(error),
            )
            pause = self.reaction.retry.pause_seconds(max(delivery.delivered for delivery in batch))
            for delivery in batch:
                self.mesh.custody.nak(delivery, min(pause, 5.0))
            outcome = "retry"
        else:
            for delivery in batch:
                self.mesh.custody.ack(delivery)
            outcome = "kept"
        seconds = time.monotonic() - began
        for delivery in batch:
            self.telemetry.tally.add(outcome, "", seconds, delivery.delivered)


def recorded(delivery: Delivery) -> Recorded:
    """A delivery as it stands in the stream; headers that are missing or wrong leave their fields empty."""
    written = as_written(delivery)
    headers: Headers = {} if written else delivery.headers
    trace = parse_traceparent(written.traceparent if written else headers.get("traceparent", ""))
    return Recorded(
        stream=delivery.stream,
        sequence=delivery.sequence,
        type=delivery.type,
        key=delivery.key,
        time=datetime.fromtimestamp(delivery.timestamp, UTC),
        id=written.id if written else headers.get("ce-id", ""),
        source=written.source if written else headers.get("ce-source", ""),
        trace_id=f"{trace.trace_id:032x}" if trace else "",
        causation_id=written.causation_id if written else headers.get("ce-causationid", ""),
        data=delivery.data,
    )
