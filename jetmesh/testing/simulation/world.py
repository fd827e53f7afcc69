"""A whole mesh in one thread: the processes of every service, the broker, and clients outside."""

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from jetmesh.runtime.context import context_on
from jetmesh.runtime.runner import Runner
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.telemetry.spans import Telemetry
from jetmesh.testing.simulation.broker import SimulatedBroker
from jetmesh.testing.simulation.connection import SimulatedConnection
from jetmesh.testing.simulation.loop import OWNER, SimulatedLoop, virtual_clock
from jetmesh.topology.names import is_note
from jetmesh.topology.streams import topology

T = TypeVar("T")

Callback = Callable[[], None]

UNTRACED = Telemetry("", NoOpTracerProvider(), NoOpMeterProvider().get_meter("jetmesh"), lambda: None)

END_SECONDS = 60.0
FORGOTTEN = 0.2
"""How often a stream's schedules are forgotten by a broker that was killed."""


class Restless(AssertionError):
    """The mesh has not come to rest in time; the text says what still runs."""


class Process:
    """One process of the world: a service, or a client outside, which uses only `Process.mesh`."""

    def __init__(self, world: "World", name: str, service: Service | None = None) -> None:
        self.world, self.name, self.service = world, name, service
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Begin (again)."""
        self.starts += 1
        self.owner = f"{self.name}.{self.starts}"
        context = contextvars.Context()
        context.run(OWNER.set, self.owner)
        self.stopping, self.ready = asyncio.Event(), asyncio.Event()
        self.connection = SimulatedConnection(self.world.broker, self.owner, self.world.dice, context)
        self.connection.delay_seconds = self.world.delay_seconds
        self.life = self.world.loop.create_task(self._live(), context=context)

    def kill(self) -> None:
        """SIGKILL: no further line of it has an effect."""
        self.connection.vanish()
        self.world.loop.end(self.owner)

    def run(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run a coroutine as this process."""
        context = contextvars.Context()
        context.run(OWNER.set, self.owner)
        return self.world.loop.create_task(work, context=context)

    async def _live(self) -> None:
        await self.connection.join()
        async with context_on(self.connection, self.world.settings, UNTRACED) as self.context:
            if self.service is None:
                self.ready.set()
                await self.stopping.wait()
            else:
                await self._serve(self.service)
        await self.connection.close()

    async def _serve(self, service: Service) -> None:
        runner = Runner(self.context, service, self.world.services)
        await runner.wait_for_topology(lambda _: None)
        await runner.start(self.world.dependencies(service))
        self.ready.set()
        await self.stopping.wait()
        await runner.stop()
        await self.connection.flush()


class World:
    """All processes and the broker, and the seed that decides what happens.

    `dependencies` makes what a service needs; systems that it calls are a part of the world as well, and should take
    the time from the loop and random numbers from a `random.Random` of the seed. `World.run` runs a scenario.
    """

    def __init__(
        self,
        seed: int,
        services: Sequence[Service],
        dependencies: Callable[[Service], Any],
        settings: Settings | None = None,
    ) -> None:
        self.seed, self.services, self.dependencies = seed, services, dependencies
        self.settings = settings or Settings()
        self.random = random.Random(f"world {seed}")
        self.dice = random.Random(f"dice {seed}")
        self.loop = SimulatedLoop(seed, shuffled=self.random.random() < 0.7)
        self.broker = SimulatedBroker(self.loop, seed, replicated=self.random.random() < 0.5)
        self.broker.schedules_forgotten = FORGOTTEN
        self.broker.create(topology(services, ack_wait_seconds=self.settings.ack_wait_seconds))
        self.delay_seconds = self.random.choice((0.0005, 0.002, 0.02, 0.2))
        self.processes: list[Process] = []
        self.outsiders: list[Process] = []
        self.struck: Counter[str] = Counter()
        self._repairs: dict[Callback, None] = {}

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        """Run a scenario to its end, with all processes."""
        asyncio.set_event_loop(self.loop)
        try:
            with virtual_clock(self.loop, self.dice):
                return self.loop.run(scenario)
        finally:
            asyncio.set_event_loop(None)

    def close(self) -> None:
        """End all that still runs."""

        async def end() -> None:
            owners = [owner for owner in self.loop.tasks if owner]
            left = [task for owner in owners for task in self.loop.tasks[owner] if not task.done()]
            for process in self.processes:
                process.kill()
            for owner in owners:
                self.loop.end(owner)
            if left:
                await asyncio.wait(left, timeout=END_SECONDS)

        self.run(end())
        self.loop.close()

    def begin(self, replicas: Callable[[Service], int] = lambda _: 1) -> None:
        """Start the processes of every service."""
        for service in self.services:
            for number in range(replicas(service)):
                self.processes.append(Process(self, f"{service.name}-{number}", service))

    def outsider(self, name: str) -> Process:
        """A process without reactions, to publish from."""
        self.outsiders.append(Process(self, name))
        return self.outsiders[-1]

    def until_repaired(self, seconds: float, repair: Callback) -> None:
        """Let `repair` end a fault after so many seconds, or when the world heals."""
        self._repairs[repair] = None
        self.loop.call_later(seconds, self._repair, repair, context=contextvars.Context())

    def heal(self) -> None:
        """End all faults now."""
        for repair in list(self._repairs):
            self._repair(repair)

    async def rest(self, limit_seconds: float, beside: Callable[[], Sequence[str]] = lambda: ()) -> float:
        """Wait until the mesh is at rest; returns the seconds. `beside` names other activity, which must end as well.

        Raises:
            Restless: it is not at rest after `limit_seconds`.
        """
        begun, quiet = self.loop.time(), 0
        while quiet < 3:
            await asyncio.sleep(1.0)
            going_on = [*self._going_on(), *beside()]
            quiet = 0 if going_on else quiet + 1
            if self.loop.time() - begun > limit_seconds:
                why = "; ".join([*going_on, *self.loop.failures()])
                raise Restless(f"not at rest after {limit_seconds:g} s: {why}")
        return self.loop.time() - begun

    def _repair(self, repair: Callback) -> None:
        if repair in self._repairs:
            del self._repairs[repair]
            repair()

    def _going_on(self) -> list[str]:
        consumers = [
            f"{stream}/{durable}: pending {sorted(consumer.pending)[:5]}"
            for (stream, durable), consumer in self.broker.consumers.items()
            if not consumer.at_rest
        ]
        timers = {
            stream.name: sum(not is_note(kept.subject) for kept in stream.messages.values())
            for stream in self.broker.streams.values()
            if stream.is_work_queue
        }
        return consumers + [f"{name}: {count} delayed" for name, count in timers.items() if count]
