"""A service at work: its consumers are pulled, each delivery goes to its reaction, and a stop loses nothing."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jetmesh import forms
from jetmesh.event import entity_of
from jetmesh.failure import BrokenContract, Unavailable
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.pull import Pull
from jetmesh.jetstream.transport import Transport
from jetmesh.runtime import delayed_redelivery
from jetmesh.runtime.circuit_breaker import CircuitBreakers, breakers
from jetmesh.runtime.context import Beside, Context
from jetmesh.runtime.continuity import Continuity
from jetmesh.runtime.durable_watch import Durables, Place
from jetmesh.runtime.many import Many
from jetmesh.runtime.single import After, Single
from jetmesh.runtime.sink import Sink
from jetmesh.runtime.worker import Worker
from jetmesh.service import INTAKE, Reaction, Service
from jetmesh.topology import provision
from jetmesh.topology.streams import Consumer, consumers_of

log = logging.getLogger("jetmesh.runner")

TICK_SECONDS = 1.0
TOPOLOGY_SECONDS, TOPOLOGY_SECONDS_MAX = 0.5, 4.0
"""How long the first and the longest pause is between two looks at a topology that is not there."""


@dataclass(slots=True)
class Runner:
    """The reactions of one service on one connection."""

    context: Context
    service: Service
    others: Sequence[Service]
    pulls: list[Pull] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)
    breakers: CircuitBreakers = field(default_factory=CircuitBreakers)
    _intakes: dict[str, Worker] = field(default_factory=dict)
    _configs: dict[str, Config] = field(default_factory=dict)
    durables: Durables = field(init=False)
    _entities: set[str] = field(init=False)
    _continuity: "asyncio.Task[None] | None" = None
    _ticker: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        self.durables = Durables(self.context.connection, lambda: self.consumers, self._obey)
        self._entities = {entity_of(event) for event in self.service.records}

    @property
    def kept(self) -> list[Beside]:
        """What a service can't work without, beside its reactions: whoever runs it ends it when one of them ends."""
        connections = [one for one in (self.context.connection, self.context.public) if one is not None]
        tasks = [self._ticker, self._continuity, self.context.publisher.sweeper, self.context.stories.sweeper]
        return [
            *(Beside("the connection to the broker", partial(_lost, connection)) for connection in connections),
            *(Beside(task.get_name(), partial(_ended, task)) for task in tasks if task),
            Beside("the watch over the durables", self.durables.watch),
        ]

    async def wait_for_topology(self, waiting: Callable[[str], None]) -> None:
        """Return once the broker has what the service needs; `waiting` is told the reason meanwhile."""
        pause = TOPOLOGY_SECONDS
        while reason := await self._missing():
            waiting(f"waiting for the topology: {reason}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, TOPOLOGY_SECONDS_MAX)

    async def _missing(self) -> str:
        """What the broker has not, or otherwise; empty where everything is as the code declares."""
        try:
            self._configs = await provision.check(self.context.connection, self.consumers)
            self.context.histories.told(self._configs)
        except (Unavailable, ApiError) as reason:
            return str(reason)
        except provision.Drift as drift:
            begins = "it is not applied yet: " if drift.is_missing else ""
            return begins + "; ".join(" ".join(line.split()) for line in str(drift).splitlines())
        return ""

    @property
    def consumers(self) -> list[Consumer]:
        """The durables of the service."""
        chosen = self.context.settings
        return list(consumers_of(self.service, self.others, chosen.ack_wait_seconds, chosen.split))

    async def start(self, dependencies: Any) -> None:
        """Make the reactions and begin to pull."""
        self.breakers |= breakers(self.service.name, (r.needs for r in self.service.reactions if r.needs))
        for reaction in self.service.reactions:
            self.workers[reaction.name] = worker = self._worker(reaction, dependencies)
            worker.breaker = self.breakers.get(reaction.needs or "")
            self._intakes |= {e.type: worker for e in reaction.events if reaction.takes_from_outside(e)}
        for consumer in self.consumers:
            self.pulls.append(self._pull(consumer))
        continuity = Continuity(self.context, self.pulls)
        for pull in self.pulls:
            await pull.start()
        self._continuity = asyncio.create_task(continuity.keep(), name=f"{self.service.name}-continuity")
        self._ticker = asyncio.create_task(self._tick(), name=f"{self.service.name}-ticker")

    async def stop(self) -> bool:
        """Pull no more, give back what has not begun, finish what has; True if all of it ended inside the time."""
        for breaker in self.breakers.values():
            breaker.stop()
        await asyncio.gather(*(pull.stop() for pull in self.pulls))
        for worker in self.workers.values():
            worker.give_back()
        drained = asyncio.gather(*(worker.drained() for worker in self.workers.values()))
        try:
            await asyncio.wait_for(drained, self.context.settings.drain_seconds)
        except TimeoutError:
            log.warning(
                "%s: %d deliveries were still running; they come again", self.service.name, len(self.context.in_flight)
            )
            return False
        finally:
            for task in (self._ticker, self._continuity):
                if task:
                    task.cancel()
            for worker in self.workers.values():
                worker.conditions.over()
        return True

    @property
    def trouble(self) -> str:
        """Why deliveries may not arrive; empty where they do."""
        if trouble := self.context.connection.trouble:
            return trouble
        if unstored := self.context.publisher.storing.trouble(self._entities):
            return unstored
        return "; ".join(f"{pull.stream}/{pull.durable}: {why}" for pull in self.pulls if (why := self._why(pull)))

    def _why(self, pull: Pull) -> str:
        """Why a pull gets nothing; one that asks for nothing now is not told that its durable is gone."""
        gone = not pull.is_asking and (pull.stream, pull.durable) in self.durables.missing
        return "the broker has no such durable" if gone else pull.trouble

    def remarks(self) -> dict[str, str]:
        """What is worth knowing and no reason to be not ready, by what it is about."""
        found = self.durables.paused | self.context.publisher.storing.remarks
        if clock := self.context.connection.clock.trouble:
            found["clock"] = clock
        if self.context.public and self.context.public.trouble:
            found["nats micro"] = self.context.public.trouble
        return found

    def _worker(self, reaction: Reaction, dependencies: Any) -> Worker:
        arguments = (self.context, self.service, reaction, dependencies)
        match reaction.form:
            case forms.MANY:
                return Many(*arguments)
            case forms.SINK:
                return Sink(*arguments)
            case forms.AFTER:
                return After(*arguments, delay_seconds=delay_seconds(reaction, self.context.settings.after_seconds))
            case _:
                return Single(*arguments)

    def _pull(self, consumer: Consumer) -> Pull:
        """A pull whose deliveries go to the reaction they are for."""
        deliver: Callable[[Delivery], None]
        worker = next((r for r in self.workers.values() if r.reaction.durable == consumer.durable), None)
        if consumer.stream == INTAKE:
            deliver = self._from_outside
        elif worker is None:
            deliver = self._due
        else:
            deliver = worker.accept_when_due if isinstance(worker, After) else worker.accept
        slots = self.context.settings.slots * (4 if self._is_bulk(consumer) else 1)

        needs = self._needs(consumer)
        shared = len(needs) > 1

        def take(delivery: Delivery) -> None:
            delivery.shared = shared
            if self.context.in_flight.take(delivery, pull):
                try:
                    deliver(delivery)
                except Exception as surprise:
                    (worker or self._anybody).surprised(delivery, surprise)

        # A pull may hold twice its share for a moment.
        bytes_max = self.context.settings.held_bytes // (2 * len(self.consumers))
        pull = Pull(self.context.connection, consumer.stream, consumer.durable, slots, take, bytes_max)
        if config := self._configs.get(f"{consumer.stream}/{consumer.durable}"):
            pull.obey(config)
        if isinstance(worker, After):
            worker.rest = pull.rest
        if not shared and (breaker := self.breakers.get(needs.pop())):
            breaker.pauses(pull, slots)
        return pull

    def _obey(self, place: Place, config: Config) -> None:
        """Keep to what an operator has set since."""
        for pull in self.pulls:
            if (pull.stream, pull.durable) == place:
                pull.obey(config)

    def _needs(self, consumer: Consumer) -> set[str]:
        """What the reactions need to which this consumer's deliveries go; the empty string: nothing. Several on the
        lane of what comes back or from outside: it is not paused, and nothing waits in its slots."""
        reactions = [worker.reaction for worker in self.workers.values()]
        if own := [reaction for reaction in reactions if reaction.durable == consumer.durable]:
            reactions = own
        elif consumer.stream == INTAKE:
            reactions = [r for r in reactions if any(r.takes_from_outside(event) for event in r.events)]
        return {reaction.needs or "" for reaction in reactions}

    def _is_bulk(self, consumer: Consumer) -> bool:
        return any(r.reaction.form.keeps_all and r.reaction.durable == consumer.durable for r in self.workers.values())

    def _from_outside(self, delivery: Delivery) -> None:
        """To the intake that knows the type; what nobody knows goes to the first, which buries it with that reason."""
        (self._intakes.get(delivery.type) or next(iter(self._intakes.values()))).accept(delivery)

    def _due(self, delivery: Delivery) -> None:
        """What was set aside comes back to its reaction. One that is not known may be known to another version of the
        service; nothing waits for that for ever."""
        name, original = delayed_redelivery.brought_back(delivery)
        worker = self.workers.get(name)
        if original.stream == INTAKE and (worker is None or original.type not in worker.types):
            worker = self._intakes.get(original.type) or worker
        if worker:
            worker.accept(original)
        elif name:
            self._anybody.pass_on(original, name)
        else:
            why = "it names no reaction to go back to"
            self._anybody.refuse(original, BrokenContract(f"{original.subject[:200]}: {why}"))

    @property
    def _anybody(self) -> Worker:
        """Who buries what is for no reaction of the service."""
        return next(iter(self.workers.values()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.context.in_flight.in_progress()
            for pull in self.pulls:
                pull.check()


async def _lost(connection: Transport) -> None:
    """Until the connection is closed for good, which nothing here asked for.

    Raises:
        ConnectionError: it is.
    """
    raise ConnectionError(f"the connection to the broker is closed for good: {await connection.ended()}")


async def _ended(task: "asyncio.Task[None]") -> None:
    """Until a task has ended; raises what it failed with. Whoever gives up waiting does not end it."""
    await asyncio.wait([task])
    task.result()


def delay_seconds(reaction: Reaction, chosen: Mapping[str, float]) -> float:
    """The delay of a deadline: as declared, or as `JETMESH_AFTER_<SERVICE>_<REACTION>_SECONDS` says."""
    declared = reaction.delay.total_seconds() if reaction.delay else 0.0
    return chosen.get(f"{reaction.service}_{reaction.name}".upper().replace("-", "_"), declared)
