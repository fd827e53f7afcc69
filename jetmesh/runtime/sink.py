"""Sinks: everything that happens, in batches, into a store that keeps the position itself."""

import logging
import time
from collections import Counter
from datetime import UTC, datetime

from jetmesh.cloudevents import decode_own_form
from jetmesh.common.throttled_log import reason_of
from jetmesh.event import Recorded
from jetmesh.history import UNKNOWN, History
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.headers import TRACEPARENT, CloudEvents, Headers
from jetmesh.jetstream.subject import is_marker
from jetmesh.outcome import Kept, Outcome, Retried
from jetmesh.runtime.batching import Batches
from jetmesh.runtime.binding import Binding
from jetmesh.telemetry.otlp import trace_id_of

BATCH_MAX = 2_000
BATCH_WORTHWHILE = 1_000
TOGETHER_MAX = 3
REST_SECONDS_MAX = 0.5
REST_PER_SECOND_OF_WORK = 20
PAUSE_SECONDS_MAX = 5.0


def sink(binding: Binding) -> Batches:
    """The worker of a sink."""
    return Batches(binding, Sink(binding))


class Sink:
    """Hands over whatever waits, and acknowledges it once the store has it. What fails is tried until it succeeds."""

    def __init__(self, binding: Binding) -> None:
        self._binding, self._context, self._reaction = binding, binding.context, binding.reaction

    async def size(self) -> int:
        """As much as a transaction takes well."""
        return BATCH_MAX

    async def handle(self, batch: list[Delivery], queue: Batches) -> None:
        """Store the batch. If more deliveries have come meanwhile, wait for still more: a transaction costs as much for
        few events as for many. A single event is stored at once; under load there is no pause. An event that was
        redelivered often is stored alone: the store may be unable to take it."""
        began = time.monotonic()
        events = [delivery for delivery in batch if not self._is_marker(delivery)]
        if together := [delivery for delivery in events if delivery.delivered <= TOGETHER_MAX]:
            await self._keep(together)
        for delivery in events:
            if delivery.delivered > TOGETHER_MAX:
                await self._keep([delivery])
        if queue.waiting:
            worked_seconds = time.monotonic() - began
            await queue.gather(BATCH_WORTHWHILE, min(REST_PER_SECOND_OF_WORK * worked_seconds, REST_SECONDS_MAX))

    def _is_marker(self, delivery: Delivery) -> bool:
        """The marker of an archived story is no event, and nothing to keep."""
        if not is_marker(delivery.subject):
            return False
        self._context.in_flight.ack(delivery)
        return True

    async def _keep(self, batch: list[Delivery]) -> None:
        began = time.monotonic()
        arguments = [self._binding.dependencies for _ in self._reaction.arguments]
        outcome: type[Outcome]
        try:
            of = self._context.histories.of
            await self._binding.call([recorded(each, of(each.stream)) for each in batch], *arguments)
        except Exception as error:
            self._give_back(batch, error)
            outcome = Retried
        else:
            for delivery in batch:
                self._context.in_flight.ack(delivery)
            outcome = Kept
        seconds = time.monotonic() - began
        for delivered, times in Counter(delivery.delivered for delivery in batch).items():
            self._binding.telemetry.stats.add(outcome, "", seconds, delivered, times)

    def _give_back(self, batch: list[Delivery], error: Exception) -> None:
        self._binding.conditions.log(
            reason_of(error), logging.WARNING, "%s could not keep %d events: %s",
            self._reaction.durable, len(batch), error, error=error,
        )  # fmt: skip
        pause = self._reaction.retry.pause_seconds(max(delivery.delivered for delivery in batch))
        for delivery in batch:
            self._context.in_flight.nak(delivery, min(pause, PAUSE_SECONDS_MAX))


def recorded(delivery: Delivery, history: History = UNKNOWN) -> Recorded:
    """A delivery as it stands in the stream; headers that are missing or wrong leave their fields empty."""
    written = decode_own_form(delivery)
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
