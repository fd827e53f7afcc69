"""A reaction that is renamed as a simulated world: another version of its service goes on with its work."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

from jetmesh import Service, Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import Subject
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import World, storm
from jetmesh.testing.simulation.world import Process
from jetmesh.topology import starting
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh.topology.streams import topology
from tests.support.jobs import Asked, Finished, desk, work

REST_SECONDS_MAX = 1_800.0
BUSY_SECONDS = 2.0
"""How long an attempt may take: less than a hand-over waits for."""
FORMER, STREAM = "work-finish", "JOBS"


class RenamedMesh:
    """Jobs are asked for while the reaction that does them gets another name. Every other seed has faults; without
    them each job is done once, and not only recorded once."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"renames {seed}")
        self.has_faults, self.done, self.asked = bool(seed % 2), Counter[str](), set[str]()
        before, self.after = self._working("finish"), self._working("complete", formerly="finish")
        told = {"JETMESH_ACK_WAIT_SECONDS": "6", "JETMESH_DRAIN_SECONDS": "5",
                "JETMESH_SLOTS": str(self.random.choice((1, 4, 64)))}  # fmt: skip
        self.world = World(seed, [desk(), before], lambda _: None, read(Settings, told))

    def _working(self, name: str, **options: str) -> Service:
        service = work()

        async def finish(asked: Asked) -> Finished:
            """Somebody wants a job done: do it."""
            self.done[asked.job_id] += 1
            await asyncio.sleep(self.random.uniform(0, BUSY_SECONDS))
            return Finished(job_id=asked.job_id)

        finish.__name__ = name
        service.on(**options)(finish)  # type: ignore[call-overload]
        return service

    async def story(self) -> None:
        """Ask for jobs, rename the reaction, ask for more; then look at what is there."""
        self.world.begin(lambda _: self.random.choice((1, 2)))
        self.outside, operator = self.world.outsider("customers"), self.world.outsider("operator")
        visits = [self.outside.run(self._ask(f"j-{number}")) for number in range(self.random.choice((4, 12, 30)))]
        renaming = operator.run(self._rename(operator))
        await (storm(self.world, 30.0) if self.has_faults else asyncio.sleep(30.0))
        self.world.heal()
        await asyncio.gather(*visits, renaming)
        await self.world.rest(REST_SECONDS_MAX)
        wrong = [*self._wrong(), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    async def _rename(self, operator: Process) -> None:
        """As a deployment does: the durable first, then a process of the new version, then none of the old one."""
        await asyncio.sleep(self.random.uniform(2, 20))
        await operator.ready.wait()
        wanted = topology([desk(), self.after], ack_wait_seconds=self.world.settings.ack_wait_seconds)
        (config,) = (dict(each.config) for each in wanted.consumers if each.reaction == "complete")
        while True:
            try:
                await starting.hand_over(operator.context.connection, STREAM, FORMER, config)
                break
            except (Unavailable, ApiError):
                await asyncio.sleep(1.0)
        older = [process for process in self.world.processes if process.name.startswith("work-")]
        self.world.processes.append(Process(self.world, "work-new", self.after))
        await asyncio.sleep(self.random.uniform(0, 10))
        for process in older:
            self.world.processes.remove(process)
            process.stopping.set()

    async def _ask(self, job_id: str) -> None:
        """Ask for a job, again and again."""
        await asyncio.sleep(self.random.uniform(0, 25))
        body = Asked(job_id=job_id).model_dump_json().encode()
        for _ in range(20):
            await self.outside.ready.wait()
            try:
                await self.outside.context.publisher.record(Message(Asked.type, body, {}))
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                self.asked.add(job_id)
                return

    def _wrong(self) -> Iterator[str]:
        """What offends against the promises."""
        stored = Counter(Subject.parse(one.subject).key for one in self.world.broker.streams["WORK"].messages.values())
        yield from (f"{job}: finished {count} times" for job, count in stored.items() if count > 1)
        yield from (f"{job}: lost" for job in sorted(self.asked - stored.keys()))
        if not self.has_faults:
            yield from (f"{job}: done {count} times" for job, count in self.done.items() if count > 1)
        letters = [one.subject for one in self.world.broker.streams[DEAD_LETTERS].messages.values()]
        yield from (f"{letter}: a dead letter" for letter in letters if letter.startswith("dead."))
