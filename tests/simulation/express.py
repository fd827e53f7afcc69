"""A reaction with an urgent type as a simulated world: its express durable comes and goes while faults strike."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from jetmesh import Permanent, Service, Unavailable
from jetmesh.event import EventType
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import Subject
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import World, storm
from jetmesh.testing.simulation.world import Process
from jetmesh.topology import express
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh.topology.streams import ConsumerKind, topology
from tests.support.jobs import Asked, Finished, work
from tests.support.versions import NEWER, Urged

REST_SECONDS_MAX = 1_800.0
BUSY_SECONDS = 2.0
SEVERAL_FAIL, IS_BAD, IS_URGENT = 0.1, 0.1, 0.4
DESK = NEWER[0]


class ExpressMesh:
    """Jobs are asked for, some at once. In three of four seeds the durable for those is added and taken away meanwhile;
    in every other one there are faults. Without either, each job is done once, and not only recorded once."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"express {seed}")
        self.has_faults, self.changes = bool(seed % 2), bool(seed % 4)
        self.done, self.bad = Counter[str](), set[str]()
        self.within_seconds, self.pace = self.random.choice((3, 35)), self.random.choice((0.1, 1.0))
        self.plain, self.express = self._working(), self._working(Urged)
        told = {"JETMESH_ACK_WAIT_SECONDS": "6", "JETMESH_DRAIN_SECONDS": "5",
                "JETMESH_SLOTS": str(self.random.choice((1, 4, 64)))}  # fmt: skip
        begun = self.plain if self.changes else self.express
        self.world = World(seed, [DESK, begun], lambda _: None, read(Settings, told))

    def _working(self, *urgent: EventType) -> Service:
        service = work()

        async def finish(wanted: Asked | Urged) -> Finished:
            """Somebody wants a job done: do it, sometimes at the second or third attempt; some can't be done."""
            if wanted.job_id in self.bad:
                raise Permanent("nobody can do this")
            await asyncio.sleep(self.random.uniform(0, BUSY_SECONDS))
            if self.has_faults and self.random.random() < SEVERAL_FAIL:
                raise Unavailable("the tools are away", 3.0)
            self.done[wanted.job_id] += 1
            return Finished(job_id=wanted.job_id)

        service.on(**({"urgent": urgent} if urgent else {}))(finish)  # type: ignore[call-overload]
        return service

    async def story(self) -> None:
        """Ask for jobs; change the durables meanwhile; then look at what is there."""
        self.world.begin(lambda _: self.random.choice((1, 2, 3)))
        self.outside, operator = self.world.outsider("customers"), self.world.outsider("operator")
        visits = [self.outside.run(self._ask(f"j-{number}")) for number in range(self.random.choice((8, 20, 40)))]
        changing = operator.run(self._change(operator) if self.changes else asyncio.sleep(0))
        await (storm(self.world, 40.0) if self.has_faults else asyncio.sleep(40.0))
        self.world.heal()
        await asyncio.gather(*visits, changing)
        await self.world.rest(REST_SECONDS_MAX)
        wrong = [*self._wrong(), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    async def _change(self, operator: Process) -> None:
        """Two releases: each time processes of both versions are at work for a while."""
        await asyncio.sleep(self.pace * self.random.uniform(10, 20))
        await operator.ready.wait()
        wanted = topology([DESK, self.express], ack_wait_seconds=self.world.settings.ack_wait_seconds)
        (consumer,) = [each for each in wanted.consumers if each.kind is ConsumerKind.EXPRESS]
        config = {name: value for name, value in consumer.config.items() if name != "deliver_policy"}
        await _surely(lambda: express.make(operator.context.connection, consumer, config))
        await self._replace("work-express", self.express)
        await asyncio.sleep(self.pace * self.random.uniform(0, 12))
        await self._replace("work-plain", self.plain)
        place = f"{consumer.stream}.{consumer.durable}"
        await _surely(lambda: request(operator.context.connection, f"CONSUMER.DELETE.{place}"))

    async def _replace(self, name: str, version: Service) -> None:
        older = [process for process in self.world.processes if process.name.startswith("work-")]
        self.world.processes.append(Process(self.world, name, version))
        await asyncio.sleep(self.pace * self.random.uniform(0, 10))
        for process in older:
            self.world.processes.remove(process)
            process.stopping.set()

    async def _ask(self, job_id: str) -> None:
        """Ask for a job, again and again."""
        await asyncio.sleep(self.random.uniform(0, self.within_seconds))
        wanted = Urged if self.random.random() < IS_URGENT else Asked
        if self.random.random() < IS_BAD:
            self.bad.add(job_id)
        body = wanted(job_id=job_id).model_dump_json().encode()
        for _ in range(20):
            await self.outside.ready.wait()
            try:
                await self.outside.context.publisher.record(Message(wanted.type, body, {}))
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                return

    def _wrong(self) -> Iterator[str]:
        """What offends against the promises."""
        asked, stored = self._jobs("JOBS"), self._jobs("WORK")
        yield from (f"{job}: finished {count} times" for job, count in stored.items() if count > 1)
        yield from (f"{job}: lost" for job in sorted(asked.keys() - self.bad - stored.keys()))
        if not self.has_faults and not self.changes:
            yield from (f"{job}: done {count} times" for job, count in self.done.items() if count > 1)
        kept = [one.subject for one in self.world.broker.streams[DEAD_LETTERS].messages.values()]
        letters, bad = sum(each.startswith("dead.") for each in kept), len(self.bad & asked.keys())
        if letters != bad:
            yield f"{letters} dead letters of {bad} jobs"

    def _jobs(self, stream: str) -> Counter[str]:
        """How many events of a stream are about each job."""
        return Counter(Subject.parse(one.subject).key for one in self.world.broker.streams[stream].messages.values())


async def _surely(call: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await call()
        except (Unavailable, ApiError):
            await asyncio.sleep(1.0)
        else:
            return
