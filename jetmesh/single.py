"""Reactions to one delivery at a time: each delivery is a task, each outcome one guarded publish."""

import asyncio
import time
from typing import Any

from jetmesh import aside
from jetmesh.event import Event, story_subject
from jetmesh.failure import Permanent, Unavailable
from jetmesh.reacting import Reacting
from jetmesh.record import Guard, Refused, Unknown
from jetmesh.service import Form
from jetmesh.story import Stored, last_sequence
from jetmesh.telemetry import Process
from jetmesh.wire import Delivery, Envelope, derived_id, read_event

ROUNDS = 8
"""How often a decision is taken anew within one delivery, after a refused or unanswered recording."""


class Single(Reacting):
    """Reads, decides, records under the guard that was read, acknowledges."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, delivery: Delivery) -> None:
        task = asyncio.ensure_future(self._handle(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _handle(self, delivery: Delivery) -> None:
        envelope, process, error = self.open(delivery)
        outcome = ""
        if error is None:
            try:
                outcome = await self._react(envelope, process)
            except Exception as failure:
                error = failure
        await self.settle(delivery, process, outcome, error)

    async def _react(self, envelope: Envelope, process: Process) -> str:
        """Decide and record, anew whenever the recording was refused or its outcome is not known."""
        event = self._event(envelope)
        stored: list[Stored] = []
        for attempt in range(ROUNDS):
            if attempt > 0 or self._reads_first:
                stored = await self._read(event.key)
                if self._is_settled(event, envelope, stored):
                    return "settled"
            outcome = await self._decide(event, stored)
            if outcome is None:
                return "nothing"
            try:
                await self._record(self.check(outcome), event, envelope, process, last_sequence(stored))
            except (Refused, Unknown):
                await asyncio.sleep(0.002 * attempt)
            else:
                return "recorded"
        raise Unavailable(f"the story of {event.key} kept changing", 0.1)

    def _event(self, envelope: Envelope) -> Any:
        """The event that the envelope carries; one from outside that names no key gets one from where it stands."""
        event_type = self.types[envelope.type]
        if self.reaction.form is not Form.INTAKE:
            event = read_event(event_type, envelope.data)
            if event.key != envelope.key:
                raise Permanent(f"{event_type.key_field}: {event.key} is not the key of the subject, {envelope.key}")
            return event
        delivery = envelope.delivery
        made = derived_id(delivery.stream, str(delivery.timestamp), str(delivery.sequence))
        event = read_event(event_type, envelope.data, made)
        envelope.key = event.key
        envelope.correlation_id = envelope.correlation_id or event.key
        return event

    @property
    def _reads_first(self) -> bool:
        """Whether the story is read before the first decision. What begins a story expects none: the guard tells."""
        begins = self.reaction.form in (Form.BEGINS, Form.INTAKE) and self.reaction.story is None
        return bool(self.reaction.outcomes) and not begins

    async def _read(self, key: str) -> list[Stored]:
        return await self.mesh.stories.last(self.service.stream, [story_subject(self.reaction.entity, key)])

    def _is_settled(self, event: Event, envelope: Envelope, stored: list[Stored]) -> bool:
        """Whether what the service recorded before leaves nothing to decide. A reaction that takes the story judges
        that itself."""
        if self.reaction.story is not None or not stored:
            return False
        if self.reaction.form is Form.INTAKE:
            return self._is_taken(event, envelope, stored)
        if self.reaction.form is Form.BEGINS:
            return True
        declared = {outcome.type for outcome in self.reaction.outcomes}
        return any(message.type in declared for message in stored)

    def _is_taken(self, event: Event, envelope: Envelope, stored: list[Stored]) -> bool:
        """Whether what comes from outside was recorded before, by an earlier delivery or as the same contents.

        Raises:
            Permanent: other contents stand under its key.
        """
        if any(message.headers.get("ce-causationid") == envelope.id for message in stored):
            return True
        same = next((message for message in stored if message.type == envelope.type), None)
        if same is None:
            raise Permanent(f"{event.key}: {stored[0].type} was recorded before; publish it under a new key")
        if read_event(type(event), same.data) != event:
            raise Permanent(f"{event.key}: {envelope.type} was recorded before with other contents")
        return True

    async def _decide(self, event: Event, stored: list[Stored]) -> Any:
        """Call the function with what its signature asks for."""
        arguments = [
            self.dependencies if name == "dependencies" else self.story(stored) for name in self.reaction.arguments
        ]
        return await self.reaction.function(event, *arguments)

    async def _record(self, outcome: Event, event: Event, envelope: Envelope, process: Process, sequence: int) -> None:
        if outcome.key != event.key:
            raise Permanent(
                f"{type(outcome).__name__} is about {outcome.key}, but the story read is that of {event.key}"
            )
        guard = Guard(story_subject(self.reaction.entity, event.key), sequence)
        await self.mesh.recorder.record(self.message(outcome, envelope, process, guard))
        self.telemetry.recorded(type(outcome))


class After(Single):
    """A reaction to an event of one's own, a while later: it is set aside first, and decided when it comes back."""

    def __init__(self, *args: Any, delay_seconds: float) -> None:
        super().__init__(*args)
        self.delay_seconds = delay_seconds

    def start_clock(self, delivery: Delivery) -> None:
        """The event has happened: bring it back when its time is up, counted from when it was recorded."""
        task = asyncio.ensure_future(self._start_clock(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_clock(self, delivery: Delivery) -> None:
        left = delivery.timestamp + self.delay_seconds - time.time()
        attempts = delivery.delivered
        delivery.delivered = 0
        try:
            await aside.set_aside(self.mesh.recorder, self.service.name, self.reaction.name, delivery, left)
        except Unavailable as unavailable:
            self.mesh.custody.nak(
                delivery, self.reaction.retry.pause_seconds(attempts) + unavailable.retry_after_seconds
            )
        else:
            self.mesh.custody.ack(delivery)
