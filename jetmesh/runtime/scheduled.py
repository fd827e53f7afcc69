"""Reactions to the clock: the broker wakes one process when a time is due, which hands out the ticks.

A wake-up is a hint. Which times are due is computed from the schedule and a note of how far its ticks are handed out;
each tick is a timer of its own (`jetmesh.runtime.delayed_redelivery`), with attempts, pauses and a dead letter of its
own. So what was missed is known, and a wake-up that comes twice hands out nothing new.
"""

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from jetmesh.failure import Permanent, Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import CloudEvents, Headers, Nats
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.jetstream.subject import subject_of
from jetmesh.reaction import DeclarationError
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.delayed_redelivery import delay
from jetmesh.runtime.one_by_one import OneByOne
from jetmesh.runtime.overdue import OVERDUE_SECONDS
from jetmesh.schedule import Tick, tick_id
from jetmesh.topology.names import handed_out, schedule, timers_of, wakes

IN_TIME_SECONDS = 60.0
"""A time that is handed out later than this is missed."""
AGAIN_SECONDS = 1.0


class Scheduled:
    """Hands out the ticks of one schedule; `one_by_one` handles them."""

    def __init__(self, binding: Binding, one_by_one: OneByOne) -> None:
        self.binding, self._one_by_one = binding, one_by_one
        reaction = binding.reaction
        assert reaction.schedule is not None
        self._schedule, self._service, self._name = reaction.schedule, reaction.service, reaction.name
        self.stream = timers_of(binding.service.stream)
        self._subject, self._note = schedule(self._service, self._name), handed_out(self._service, self._name)
        self._wakes, self._body = wakes(self._service, self._name), str(reaction.schedule).encode()
        self._headers: Headers = {
            Nats.SCHEDULE: self._schedule.of_the_broker,
            Nats.SCHEDULE_TIME_ZONE: self._schedule.zone,
            Nats.SCHEDULE_TARGET: self._wakes,
        }
        self._clock, self._publisher = binding.context.connection.clock, binding.context.publisher
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def declare(self) -> None:
        """Store the schedule, unless the broker has it; a new or changed one counts from now on. Another replica may
        be doing the same.

        Raises:
            DeclarationError: the broker does not know the zone.
        """
        while True:
            try:
                with suppress(Refused):
                    await self._declare()
                return
            except Permanent as refused:
                raise DeclarationError(
                    f"{self._service}.{self._name} declares zone={self._schedule.zone!r}, which Python knows and the "
                    f"broker does not ({refused}): write a zone of the IANA database that both have, or install the "
                    f"broker's (the package tzdata)"
                ) from None
            except Unavailable as trouble:
                await self.binding.context.connection.pause(trouble.retry_after_seconds or AGAIN_SECONDS)

    def declare_again(self) -> None:
        """The stream may be another one; does not block."""
        self._start(self.declare())

    async def make_up(self) -> None:
        """Hand out what is overdue, and store the schedule anew: a broker that has forgotten it wakes nobody.

        Raises:
            Unavailable: the broker does not answer.
        """
        async with self._turn:
            kept = await self._read(self._wakes)
            note = kept.get(self._note)
            now = self._clock.utc(-OVERDUE_SECONDS)
            if note is None or self._wakes in kept or not self._schedule.between(_until(note), now):
                return
            until = self._clock.utc()
            with suppress(Refused):
                await self._hand_out(until, note, until)
                await self._store(kept.get(self._subject))

    def accept(self, delivery: RawDelivery) -> None:
        """A tick, or a wake-up; does not block."""
        if delivery.type == Tick.type:
            self._one_by_one.accept(delivery)
        else:
            self._start(self._wake(delivery))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def give_back(self) -> None:
        """The service stops: give back what has not begun."""
        self._one_by_one.give_back()

    async def drained(self) -> None:
        """Returns when nothing of what was accepted is running any more."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._one_by_one.drained()

    async def _declare(self) -> None:
        kept = await self._read()
        known = kept.get(self._subject)
        if known and known.data == self._body and self._headers.items() <= known.headers.items():
            return
        await self._hand_out_until(self._clock.utc(), kept.get(self._note))
        await self._store(known)

    async def _store(self, known: Stored | None) -> None:
        guard = _guard(self._subject, known)
        await self._publisher.record(Message(self._subject, self._body, self._headers, guard))

    async def _wake(self, wake: RawDelivery) -> None:
        in_flight = self.binding.context.in_flight
        try:
            await in_flight.certainty()
            async with self._turn:
                until = datetime.fromtimestamp(max(self._clock.now(), wake.timestamp), UTC)
                await self._hand_out(until, (await self._read()).get(self._note), _next_of(wake, until))
        except (Unavailable, Refused):
            in_flight.nak(wake, AGAIN_SECONDS)
        except Exception as surprise:
            self._one_by_one.surprised(wake, surprise)
        else:
            in_flight.ack(wake)

    async def _hand_out(self, until: datetime, note: Stored | None, again: datetime) -> None:
        """Hand out what is due since the last time; and what is due before the broker wakes again, because a change to
        summer time leaves its own time out."""
        since = _until(note) if note else until
        due = self._schedule.between(since, until)
        for tick in self._chosen(due, until):
            await self._deliver(tick)
        early = [time for time in self._schedule.between(max(since, until), again) if time.astimezone(UTC) < again]
        for time in early:
            await self._deliver(Tick.at(time))
        if handed := [*due, *early]:
            await self._hand_out_until(handed[-1].astimezone(UTC), note)

    def _chosen(self, due: Sequence[datetime], now: datetime) -> list[Tick]:
        """The ticks of these times: what is in time, and what is made up for as declared."""
        late = [time for time in due if (now - time.astimezone(UTC)).total_seconds() > IN_TIME_SECONDS]
        ticks = [Tick.at(time) for time in due[len(late) :]]
        if not late:
            return ticks
        missed = self._schedule.missed
        self.binding.conditions.log(
            ("missed", late[0].isoformat()), logging.WARNING,
            "%s.%s: %d times of its schedule were missed, from %s to %s; missed=%r",
            self._service, self._name, len(late), late[0].isoformat(), late[-1].isoformat(), missed,
        )  # fmt: skip
        if missed == "skip":
            return ticks
        if missed == "all":
            return [*(Tick.at(time, missed=1) for time in late), *ticks]
        first, *others = ticks or [Tick.at(late[-1])]
        return [Tick.at(first.due, missed=len(late)), *others]

    async def _deliver(self, tick: Tick) -> None:
        """Schedule a tick for its time, once."""
        seconds = tick.due.timestamp() - self._clock.now()
        delivery = RawDelivery(
            subject=subject_of(Tick, tick.key),
            headers={
                CloudEvents.SPECVERSION: "1.0",
                CloudEvents.ID: tick_id(self._service, self._name, tick),
                CloudEvents.TYPE: Tick.type,
                CloudEvents.SOURCE: f"/jetmesh/{self._service}",
            },
            data=tick.model_dump_json().encode(),
            reply="",
            stream=self.stream,
            sequence=int(tick.due.timestamp()),
            delivered=1,
            timestamp=tick.due.timestamp(),
        )
        await delay(self._publisher, self._service, self._name, delivery, seconds, 0)

    async def _hand_out_until(self, until: datetime, note: Stored | None) -> None:
        body = json.dumps({"until": until.isoformat()}).encode()
        await self._publisher.record(Message(self._note, body, {}, _guard(self._note, note)))

    async def _read(self, *more: str) -> dict[str, Stored]:
        direct_get, subjects = self.binding.context.direct_get, [self._subject, self._note, *more]
        return {each.subject: each for each in await direct_get.last(self.stream, subjects)}


def _guard(subject: str, stored: Stored | None) -> Guard:
    return Guard(subject, stored.sequence if stored else 0)


def _until(note: Stored) -> datetime:
    return datetime.fromisoformat(json.loads(note.data)["until"])


def _next_of(wake: RawDelivery, default: datetime) -> datetime:
    """When the broker wakes the reaction again, as it says on the wake-up."""
    try:
        return datetime.fromisoformat(wake.headers.get(Nats.SCHEDULE_NEXT, "")).astimezone(UTC)
    except ValueError:
        return default
