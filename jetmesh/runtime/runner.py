"""Runs a service: pulls its consumers, passes each delivery to its reaction, and stops without losing any."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from jetmesh.app import middlewares_of
from jetmesh.common.tasks import cancelled
from jetmesh.event import INTAKE, entity_of
from jetmesh.failure import BrokenContract, Unavailable
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.pull import Pull
from jetmesh.jetstream.transport import Transport
from jetmesh.reaction import Reaction
from jetmesh.runtime import delayed_redelivery
from jetmesh.runtime.binding import Binding
from jetmesh.runtime.circuit_breaker import CircuitBreakers, breakers
from jetmesh.runtime.context import BackgroundTask, Context
from jetmesh.runtime.continuity import Continuity
from jetmesh.runtime.deadline import when_due
from jetmesh.runtime.durable_watch import Durables, Info, Place
from jetmesh.runtime.overdue import Overdue
from jetmesh.runtime.scheduled import Scheduled
from jetmesh.runtime.unrouted import Unrouted
from jetmesh.runtime.worker import Worker
from jetmesh.runtime.workers import worker_of
from jetmesh.service import Service
from jetmesh.topology import provision
from jetmesh.topology.names import timers_of
from jetmesh.topology.streams import Consumer, consumers_of, reacts_singly

log = logging.getLogger("jetmesh.runner")

Deliver: TypeAlias = Callable[[RawDelivery], None]

TICK_SECONDS = 1.0
TOPOLOGY_SECONDS, TOPOLOGY_SECONDS_MAX = 0.5, 4.0
"""The first and the longest pause between two looks at a missing topology."""


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
    _renamed: dict[str, Worker] = field(default_factory=dict)
    _configs: dict[str, Config] = field(default_factory=dict)
    durables: Durables = field(init=False)
    _entities: set[str] = field(init=False)
    _continuity: Continuity = field(init=False)
    _keeping: "asyncio.Task[None] | None" = None
    _ticker: "asyncio.Task[None] | None" = None
    _looking: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        self.durables = Durables(self.context.connection, lambda: self.consumers, self._seen)
        self._entities = {entity_of(event) for event in self.service.records}

    @property
    def kept(self) -> list[BackgroundTask]:
        """The tasks without which a service can't work: when one of them ends, the service ends."""
        connections = [one for one in (self.context.connection, self.context.public) if one is not None]
        own = [self._ticker, self._keeping, self._looking]
        tasks = [*own, self.context.publisher.sweeper, self.context.direct_get.sweeper]
        return [
            *(BackgroundTask("the connection to the broker", partial(_lost, connection)) for connection in connections),
            *(BackgroundTask(task.get_name(), partial(_ended, task)) for task in tasks if task),
            BackgroundTask("the watch over the durables", self.durables.watch),
        ]

    async def wait_for_topology(self, waiting: Callable[[str], None]) -> None:
        """Return once the broker has what the service needs; `waiting` gets the reason meanwhile."""
        pause = TOPOLOGY_SECONDS
        while reason := await self._missing():
            waiting(f"waiting for the topology: {reason}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, TOPOLOGY_SECONDS_MAX)

    async def _missing(self) -> str:
        """What is missing or different on the broker; empty if everything is as the code declares."""
        try:
            self._configs = await provision.check(self.context.connection, self.consumers)
            self.context.histories.learn(self._configs)
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
        self.breakers |= breakers(self.service.name, (r.needed for r in self.service.reactions if r.needs))
        for reaction in self.service.reactions:
            breaker = self.breakers.get(reaction.needed)
            around = (*middlewares_of(self.others), *self.service.middlewares, *reaction.middlewares)
            worker = worker_of(Binding(self.context, self.service, reaction, dependencies, breaker, around))
            self.workers[reaction.name] = worker
            self._intakes |= {e.type: worker for e in reaction.events if reaction.takes_from_outside(e)}
            self._renamed |= dict.fromkeys(reaction.formerly, worker)
        for worker in self.workers.values():
            if isinstance(worker, Scheduled):
                await worker.declare()
        for consumer in self.consumers:
            self.pulls.append(self._pull(consumer))
        self._continuity = Continuity(self.context, self.pulls, self._renewed)
        for pull in self.pulls:
            await pull.start()
        self._keeping = asyncio.create_task(self._continuity.keep(), name=f"{self.service.name}-continuity")
        self._ticker = asyncio.create_task(self._tick(), name=f"{self.service.name}-ticker")
        if reacts_singly(self.service):
            scheduled = [worker.make_up for worker in self.workers.values() if isinstance(worker, Scheduled)]
            overdue = Overdue(self.context, self.service, self._settled, scheduled)
            self._looking = asyncio.create_task(overdue.keep(), name=f"{self.service.name}-overdue")

    async def stop(self) -> bool:
        """Stop pulling, give back what has not begun, finish what has; True if all ended in time."""
        for breaker in self.breakers.values():
            breaker.stop()
        await asyncio.gather(*(pull.stop() for pull in self.pulls))
        for worker in self.workers.values():
            for waits in (worker.binding.limit, worker.binding.express):
                if waits:
                    waits.stop()
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
            for task in (self._ticker, self._keeping, self._looking):
                if task:
                    await cancelled(task)
            for worker in self.workers.values():
                worker.binding.conditions.over()
        return True

    @property
    def trouble(self) -> str:
        """Why no deliveries arrive; empty if they do."""
        if trouble := self.context.connection.trouble:
            return trouble
        if unstored := self.context.publisher.storing.trouble(self._entities):
            return unstored
        return "; ".join(f"{pull.stream}/{pull.durable}: {why}" for pull in self.pulls if (why := self._why(pull)))

    def _why(self, pull: Pull) -> str:
        """Why a pull gets nothing; the server does not report a deleted durable to a pull without a request."""
        gone = not pull.is_asking and (pull.stream, pull.durable) in self.durables.missing
        return "the broker has no such durable" if gone else pull.trouble

    def notes(self) -> dict[str, str]:
        """The circuit breakers that are not closed, by dependency."""
        return self.breakers.notes()

    def remarks(self) -> dict[str, str]:
        """Notes that don't make the service unready, by their subject."""
        found = self.durables.paused | self.context.publisher.storing.remarks
        if clock := self.context.connection.clock.trouble:
            found["clock"] = clock
        if self.context.public and self.context.public.trouble:
            found["nats micro"] = self.context.public.trouble
        return found

    def _pull(self, consumer: Consumer) -> Pull:
        """A pull whose deliveries go to the reaction they are for."""
        worker = self._worker(consumer)
        unrouted = Unrouted((worker or next(iter(self.workers.values()))).binding)
        deliver = self._way(consumer, worker, unrouted)
        needs = self._needs(consumer)
        is_shared, is_new = self._is_shared(consumer, needs), self.context.in_flight.take

        def take(delivery: RawDelivery) -> None:
            if is_new(delivery, pull):
                try:
                    deliver(delivery)
                except Exception as surprise:
                    unrouted.surprised(delivery, surprise)

        slots = self.context.settings.slots * (4 if worker and worker.binding.reaction.form.keeps_all else 1)
        # A pull may hold twice its share for a moment.
        bytes_max = self.context.settings.held_bytes // (2 * len(self.consumers))
        pull = Pull(
            self.context.connection, consumer.stream, consumer.durable, slots, take, bytes_max,
            shared=is_shared, demand=worker.binding.demand if worker else None,
        )  # fmt: skip
        if config := self._configs.get(f"{consumer.stream}/{consumer.durable}"):
            pull.obey(config)
        if len(needs) == 1 and (breaker := self.breakers.get(needs.pop())):
            breaker.pauses(pull, slots)
        return pull

    def _worker(self, consumer: Consumer) -> Worker | None:
        """The worker of this durable; None for a shared one: the intake's, or that of delayed redeliveries."""
        return next((one for one in self.workers.values() if consumer.durable in _own(one.binding.reaction)), None)

    def _way(self, consumer: Consumer, worker: Worker | None, unrouted: Unrouted) -> Deliver:
        """The function that takes the deliveries of a consumer."""
        if consumer.stream == INTAKE:
            return self._from_outside
        if worker is None:
            return partial(self._due, unrouted)
        reaction = worker.binding.reaction
        if reaction.form.is_delayed:
            delay = delay_seconds(reaction, self.context.settings.after_seconds)
            return when_due(self.context, delay, worker.accept)
        return worker.accept

    def _seen(self, place: Place, info: Info) -> None:
        """Follow what an operator has set since the start, and notice a durable that was replaced."""
        for pull in self.pulls:
            if (pull.stream, pull.durable) == place:
                pull.obey(info["config"])
                self._continuity.compare(pull, info)

    def _settled(self) -> int:
        """Up to where all delayed redeliveries that came are settled, as the durable said when it was looked at."""
        info = self.durables.infos.get((timers_of(self.service.stream), f"{self.service.name}-due"))
        return int(info["ack_floor"]["stream_seq"]) if info else 0

    def _renewed(self, pull: Pull) -> None:
        """A stream that was made anew has no schedules."""
        for worker in self.workers.values():
            if isinstance(worker, Scheduled) and worker.stream == pull.stream:
                worker.declare_again()

    def _needs(self, consumer: Consumer) -> set[str]:
        """What the reactions of this consumer need; the empty string: nothing. A shared consumer has several: it is not
        paused, and no delivery waits in its slots."""
        return {reaction.needed for reaction in self._served(consumer)}

    def _is_shared(self, consumer: Consumer, needs: set[str]) -> bool:
        """Whether a delivery that waits in its slots would hold up those of other reactions."""
        served = self._served(consumer)
        return len(needs) > 1 or (len(served) > 1 and any(reaction.limit for reaction in served))

    def _served(self, consumer: Consumer) -> list[Reaction]:
        """The reactions that get the deliveries of this consumer."""
        reactions = [worker.binding.reaction for worker in self.workers.values()]
        if own := [reaction for reaction in reactions if consumer.durable in _own(reaction)]:
            return own
        if consumer.stream == INTAKE:
            return [r for r in reactions if any(r.takes_from_outside(event) for event in r.events)]
        return reactions

    def _from_outside(self, delivery: RawDelivery) -> None:
        """To the intake that takes the type; an unknown type goes to the first one, which makes a dead letter of it."""
        (self._intakes.get(delivery.type) or next(iter(self._intakes.values()))).accept(delivery)

    def _due(self, unrouted: Unrouted, delivery: RawDelivery) -> None:
        """A delayed redelivery comes back to its reaction. Another version of the service may have a reaction that this
        one lacks; it waits for that version for a limited time."""
        name, original = delayed_redelivery.brought_back(delivery)
        worker = self.workers.get(name) or self._renamed.get(name)
        if original.stream == INTAKE and (worker is None or original.type not in worker.binding.types):
            worker = self._intakes.get(original.type) or worker
        if worker and (seconds := self._paused_seconds(worker, original)):
            unrouted.rest(original, worker.binding.reaction, seconds)
        elif worker:
            worker.accept(original)
        elif name:
            unrouted.pass_on(original, name)
        else:
            why = "it names no reaction to go back to"
            unrouted.refuse(original, BrokenContract(f"{original.subject[:200]}: {why}"))

    def _paused_seconds(self, worker: Worker, delivery: RawDelivery) -> float:
        """For how long the durable is paused yet from which the reaction had the delivery at first."""
        reaction = worker.binding.reaction
        durable = f"{reaction.service}-intake" if delivery.stream == INTAKE else reaction.durable
        return self.durables.paused_seconds(delivery.stream, durable)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.context.in_flight.in_progress()
            for pull in self.pulls:
                pull.check()


def _own(reaction: Reaction) -> tuple[str, str]:
    """The names of the durables of a reaction alone."""
    return reaction.durable, reaction.express


async def _lost(connection: Transport) -> None:
    """Wait until the connection is closed for good, although nothing here closed it.

    Raises:
        ConnectionError: it is.
    """
    raise ConnectionError(f"the connection to the broker is closed for good: {await connection.ended()}")


async def _ended(task: "asyncio.Task[None]") -> None:
    """Wait until a task has ended, and raise its error. A cancelled wait does not cancel the task."""
    await asyncio.wait([task])
    task.result()


def delay_seconds(reaction: Reaction, chosen: Mapping[str, float]) -> float:
    """The delay of a deadline: as declared, or as `JETMESH_AFTER_<SERVICE>_<REACTION>_SECONDS` says."""
    declared = reaction.delay.total_seconds() if reaction.delay else 0.0
    return chosen.get(delay_variable(reaction), declared)


def delay_variable(reaction: Reaction) -> str:
    """How `JETMESH_AFTER_…_SECONDS` names a deadline."""
    return f"{reaction.service}_{reaction.name}".upper().replace("-", "_")
