"""Sinks: everything that happens, in batches, into a store that keeps the position itself."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from jetmesh.cloudevents import decode_own_form
from jetmesh.common.tasks import RAISED, error_of
from jetmesh.common.throttled_log import reason_of
from jetmesh.event import Recorded
from jetmesh.history import UNKNOWN, History
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.headers import TRACEPARENT, CloudEvents, Headers
from jetmesh.jetstream.subject import is_marker
from jetmesh.outcome import Kept, Outcome, Retried
from jetmesh.runtime.answer import answer
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.handle import Gates, How
from jetmesh.runtime.together import Join, OnEnd, Together
from jetmesh.telemetry.otlp import trace_id_of

BATCH_MAX = 2_000
BATCH_WORTHWHILE = 1_000
PAUSE_SECONDS_MAX = 5.0


def sink(binding: Binding) -> Together[Delivery]:
    """The worker of a sink."""
    return Together(binding, partial(Sink, binding))


class Sink:
    """Hands over whatever waits, and acknowledges it once the store has it. What fails is tried until it succeeds.

    It keeps messages, not attempts at events: they pass the gates of every form, and are settled with their batch. A
    single event is stored at once; under load a batch waits for more, since a transaction costs as much for few.
    """

    batch_max, worthwhile, key = BATCH_MAX, BATCH_WORTHWHILE, None

    def __init__(self, binding: Binding, join: Join[Delivery]) -> None:
        self._binding, self._reaction, self._join = binding, binding.reaction, join
        self._in_flight, self._history = binding.context.in_flight, binding.context.histories.of
        self.gates = Gates(binding, self._joined)
        self.passes = self.gates.is_open

    def down(self, delivery: Delivery) -> Delivery:
        """Leave it as it was delivered."""
        return delivery

    async def up(self, ended: Sequence[tuple[Delivery, How]]) -> list[Delivery]:
        """Settle a part of a batch; nothing is held."""
        in_flight = self._in_flight
        for delivery, how in ended:
            if type(how) is Kept:
                in_flight.ack(delivery)
            else:
                answer(in_flight, delivery, Retried(how, PAUSE_SECONDS_MAX) if isinstance(how, Exception) else how)
        return []

    async def _joined(self, delivery: Delivery) -> Outcome:
        outcome = await self._join(delivery, delivery)
        answer(self._in_flight, delivery, outcome)
        return outcome

    async def decide(self, batch: list[Delivery], on_end: OnEnd[Delivery]) -> None:
        """Store a batch, without the markers of archived stories, which are no events."""
        began = time.monotonic()
        events = [delivery for delivery in batch if not is_marker(delivery.subject)]
        outcome = await self._keep(events) if events else Kept()
        await on_end(dict.fromkeys(batch, Kept()) | dict.fromkeys(events, outcome))
        seconds = time.monotonic() - began
        for delivered, times in Counter([delivery.delivered for delivery in events]).items():
            self._binding.telemetry.stats.add(type(outcome), "", seconds, delivered, times)

    async def _keep(self, events: list[Delivery]) -> Outcome:
        arguments = [self._binding.dependencies for _ in self._reaction.arguments]
        histories = {stream: self._history(stream) for stream in {each.stream for each in events}}
        try:
            await self._binding.call([recorded(each, histories[each.stream]) for each in events], *arguments)
        except RAISED as raised:
            error = error_of(raised)
            self._binding.conditions.log(
                reason_of(error), logging.WARNING, "%s could not keep %d events: %s",
                self._reaction.durable, len(events), error, error=error,
            )  # fmt: skip
            pause = self._reaction.retry.pause_seconds(max(delivery.delivered for delivery in events))
            return Retried(error, min(pause, PAUSE_SECONDS_MAX))
        return Kept()


def recorded(delivery: Delivery, history: History = UNKNOWN) -> Recorded:
    """A delivery as it stands in the stream; headers that are missing or wrong leave their fields empty."""
    written = decode_own_form(delivery)
    headers: Headers = {} if written else delivery.headers
    traceparent = written.traceparent if written else headers.get(TRACEPARENT, "")
    return Recorded(
        stream=delivery.stream,
        sequence=delivery.sequence,
        type=delivery.type,
        key=delivery.key,
        time=datetime.fromtimestamp(delivery.timestamp, UTC),
        id=written.id if written else headers.get(CloudEvents.ID, ""),
        source=written.source if written else headers.get(CloudEvents.SOURCE, ""),
        trace_id=trace_id_of(traceparent) if traceparent else "",
        causation_id=written.causation_id if written else headers.get(CloudEvents.CAUSATION_ID, ""),
        data=delivery.data,
        history=history,
    )
