"""Reactions to many deliveries: decided together on one reading, recorded in one atomic batch."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jetmesh.common.tasks import RAISED, error_of
from jetmesh.event import Event, id_of, is_occurrence
from jetmesh.failure import Disowned, Permanent, Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.outcome import EventsRecorded, Outcome, Settled
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.commit import Commits, by_attempt
from jetmesh.runtime.handle import Chain, How
from jetmesh.runtime.precedent import SecondMilestone
from jetmesh.runtime.reading import Archived, Reading
from jetmesh.runtime.recording import Recording
from jetmesh.runtime.stories import folded
from jetmesh.runtime.together import Join, OnEnd, Together
from jetmesh.telemetry.spans import Attempt

ATTEMPTS_MAX = 256
ROUNDS = 8


def many(binding: Binding) -> Together[Attempt]:
    """The worker of a reaction to many events."""
    return Together(binding, partial(Many, binding))


class Many:
    """Decides the deliveries of a batch in one go, each of another key, and records the events in one commit."""

    batch_max, worthwhile = ATTEMPTS_MAX, 0

    def __init__(self, binding: Binding, join: Join[Attempt]) -> None:
        self._chain = chain = Chain(binding, lambda attempt: join(attempt.delivery, attempt))
        self.gates, self.down = chain.gates, chain.down
        self.passes = _never if binding.middlewares else chain.gates.is_open
        self._occurs = any(map(is_occurrence, binding.reaction.events))
        self._binding, self._context, self._reaction = binding, binding.context, binding.reaction
        self._breaker, self._recording = binding.breaker, Recording(binding)
        self._commits = Commits(binding, self._recording)
        self._fold = partial(folded, types={event.type: event for event in binding.service.records})

    def key(self, attempt: Attempt) -> object:
        """The wildcard guards of one key do not see each other inside a batch. Occurrences stand for themselves: of one
        key there may be many."""
        if not self._occurs or not is_occurrence(type(attempt.event)):
            return attempt.envelope.key
        return attempt.envelope.key, attempt.delivery.occurrence or id_of(attempt.event) or attempt.delivery.sequence

    async def up(self, ended: Sequence[tuple[Attempt, How]]) -> list[RawDelivery]:
        """Take attempts up the chain; those that are held."""
        held = []
        for attempt, how in ended:
            outcome = await self._chain.up(attempt, how)
            if outcome.is_held:
                held.append(attempt.delivery)
        return held

    async def decide(self, attempts: list[Attempt], on_end: OnEnd[Attempt]) -> None:
        """Decide and record the batch; one that fails is taken apart, so that a poisoned delivery is alone with it."""
        try:
            recorded = await self._commit(attempts)
        except RAISED as raised:
            error = error_of(raised)
            if len(attempts) == 1 or isinstance(error, Unavailable):
                await on_end(dict.fromkeys(attempts, error))
                return
            middle = len(attempts) // 2
            await self.decide(attempts[:middle], on_end)
            await self.decide(attempts[middle:], on_end)
        else:
            await on_end({attempt: _outcome(recorded.get(attempt)) for attempt in attempts})

    async def _commit(self, attempts: list[Attempt]) -> Mapping[Attempt, list[Event]]:
        """What was recorded, by the attempt whose key it is about."""
        for rounds in range(ROUNDS):
            reading = Reading(self._context.direct_get, self._context.known, self._binding.service.stream, self._fold)
            try:
                decided = [self._recording.declared(event) for event in await self._decide(attempts, reading)]
            except Archived as archived:
                attempts = self._without(archived, attempts)
                if attempts:
                    continue
                decided = []
            if not decided:
                return {}
            plan = self._commits.plan(decided, attempts, reading)
            try:
                done = await self._commits.done(plan, reading, is_first=rounds == 0)
            except SecondMilestone:
                # A level that is older than the story makes a decision that was made already.
                if not reading.levels or rounds == ROUNDS - 1:
                    raise
                reading.forget()
                continue
            if done:
                attempts = [attempt for attempt in attempts if attempt not in done]
                if attempts:
                    continue
                return {}
            self._require_ours(attempts)
            if await self._commits.record(plan, reading):
                return by_attempt(plan)
            await asyncio.sleep(0.002 * rounds)
        raise Unavailable("what the batch read kept changing", 0.1)

    def _require_ours(self, attempts: Sequence[Attempt]) -> None:
        """Check that nothing is recorded about which one of them has had a say that is not to be handled any more.

        Raises:
            Disowned: one of them is not.
        """
        orphans = self._context.in_flight.orphans
        if orphans and any(attempt.delivery.reply in orphans for attempt in attempts):
            raise Disowned

    def _without(self, archived: Archived, attempts: list[Attempt]) -> list[Attempt]:
        """The attempts about which there is something to decide.

        Raises:
            Permanent: the reaction read a story that ended, about a key that nothing has arrived about.
        """
        if strange := archived.keys - {attempt.key for attempt in attempts}:
            raise Permanent(f"{self._reaction.durable} decides by {', '.join(sorted(strange))}, which is archived")
        return [attempt for attempt in attempts if attempt.key not in archived.keys]

    async def _decide(self, attempts: list[Attempt], reading: Reading) -> list[Any]:
        filled = {"snapshot": reading, "dependencies": self._binding.dependencies}
        arguments = [filled[name] for name in self._reaction.arguments]
        answer = self._binding.call([attempt.event for attempt in attempts], *arguments)
        decided: list[Any] = await (self._breaker.watch(answer) if self._breaker else answer)
        return decided


def _never(_delivery: RawDelivery) -> bool:
    """A middleware may always make a delivery wait."""
    return False


def _outcome(events: list[Event] | None) -> Outcome:
    return EventsRecorded(tuple(events)) if events else Settled()
