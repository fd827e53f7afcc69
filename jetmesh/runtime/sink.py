"""Sinks: everything that happens, in batches, into a store that keeps the position itself."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

from jetmesh.common.tasks import RAISED, error_of
from jetmesh.common.throttled_log import reason_of
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.subject import is_marker
from jetmesh.outcome import Kept, Outcome, Retried
from jetmesh.runtime.answer import answer
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.handle import Gates, How
from jetmesh.runtime.reader import recorded
from jetmesh.runtime.together import Join, OnEnd, Together

BATCH_MAX = 2_000
BATCH_WORTHWHILE = 1_000
PAUSE_SECONDS_MAX = 5.0


def sink(binding: Binding) -> Together[RawDelivery]:
    """The worker of a sink."""
    return Together(binding, partial(Sink, binding))


class Sink:
    """Hands over whatever waits, and acknowledges it once the store has it. What fails is tried until it succeeds.

    It keeps messages, not attempts at events: they pass the gates of every form, and are settled with their batch. A
    single event is stored at once; under load a batch waits for more, since a transaction costs as much for few.
    """

    batch_max, worthwhile, key = BATCH_MAX, BATCH_WORTHWHILE, None

    def __init__(self, binding: Binding, join: Join[RawDelivery]) -> None:
        self._binding, self._reaction, self._join = binding, binding.reaction, join
        self._in_flight, self._history = binding.context.in_flight, binding.context.histories.of
        self.gates = Gates(binding, self._joined)
        self.passes = self.gates.is_open

    def down(self, delivery: RawDelivery) -> RawDelivery:
        """Leave it as it was delivered."""
        return delivery

    async def up(self, ended: Sequence[tuple[RawDelivery, How]]) -> list[RawDelivery]:
        """Settle a part of a batch; nothing is held."""
        in_flight = self._in_flight
        for delivery, how in ended:
            if type(how) is Kept:
                in_flight.ack(delivery)
            else:
                answer(in_flight, delivery, Retried(how, PAUSE_SECONDS_MAX) if isinstance(how, Exception) else how)
        return []

    async def _joined(self, delivery: RawDelivery) -> Outcome:
        outcome = await self._join(delivery, delivery)
        answer(self._in_flight, delivery, outcome)
        return outcome

    async def decide(self, batch: list[RawDelivery], on_end: OnEnd[RawDelivery]) -> None:
        """Store a batch, without the markers of archived stories, which are no events."""
        began = time.monotonic()
        events = [delivery for delivery in batch if not is_marker(delivery.subject)]
        outcome = await self._keep(events) if events else Kept()
        await on_end(dict.fromkeys(batch, Kept()) | dict.fromkeys(events, outcome))
        seconds = time.monotonic() - began
        for delivered, times in Counter([delivery.delivered for delivery in events]).items():
            self._binding.telemetry.stats.add(type(outcome), "", seconds, delivered, times)

    async def _keep(self, events: list[RawDelivery]) -> Outcome:
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
