"""A reaction with a rate limit as a simulated world: one to three replicas, and more jobs than it may begin."""

import asyncio
import random
from collections.abc import Iterator

from jetmesh import Deferred, Rate, Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import Subject
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import World, storm
from jetmesh.topology.names import DEAD_LETTERS
from tests.support.jobs import Asked, Finished, desk, work

REST_SECONDS_MAX = 1_800.0
RATE = Rate(4, per_seconds=1, burst=3)
CLOCKS_SECONDS = 2.0
"""By how much the processes' estimates of the broker's time may be wrong, when answers are late."""


class LimitedMesh:
    """Jobs come all at once; each attempt notes when it began. Now and then the partner asks for a pause."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"jobs {seed}")
        self.begun: list[float] = []
        service = work()

        @service.on(limit=RATE)
        async def finish(asked: Asked) -> Finished:
            """Somebody wants a job done: do it, not too often."""
            self.begun.append(self.world.loop.time())
            if self.random.random() < 0.02:
                raise Deferred("429 Too Many Requests", retry_after_seconds=self.random.choice((0.5, 5)))
            return Finished(job_id=asked.job_id)

        told = {"JETMESH_ACK_WAIT_SECONDS": "6", "JETMESH_DRAIN_SECONDS": "5",
                "JETMESH_SLOTS": str(self.random.choice((4, 64)))}  # fmt: skip
        self.world = World(seed, [desk(), service], lambda _: None, read(Settings, told))
        self.number = self.random.choice((20, 150))

    async def story(self) -> None:
        """Ask for jobs while faults strike; then look at what is there."""
        self.world.begin(lambda _: self.random.choice((1, 2, 3)))
        self.outside = self.world.outsider("customers")
        asking = self.outside.run(self._ask())
        await storm(self.world, 20.0)
        self.world.heal()
        await asking
        await self.world.rest(REST_SECONDS_MAX)
        wrong = [*self._wrong(), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    async def _ask(self) -> None:
        await asyncio.gather(*(self._publish(Asked(job_id=f"j-{number}")) for number in range(self.number)))

    async def _publish(self, asked: Asked) -> None:
        """Ask for a job, again and again; the process that asks may be cut off for good."""
        for _ in range(20):
            await self.outside.ready.wait()
            try:
                await self.outside.context.publisher.record(Message(Asked.type, asked.model_dump_json().encode(), {}))
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                return

    def _wrong(self) -> Iterator[str]:
        """What offends against the promises."""
        asked, stored = (
            [Subject.parse(one.subject).key for one in self.world.broker.streams[name].messages.values()]
            for name in ("JOBS", "WORK")
        )
        if sorted(asked) != sorted(stored):
            yield f"{len(asked)} jobs, {len(set(stored))} finished, {len(stored)} events"
        for number, at in enumerate(self.begun, 1):
            most = RATE.burst + (at - self.begun[0] + CLOCKS_SECONDS) / RATE.interval_seconds
            if number > most:
                yield f"{number} begun within {at - self.begun[0]:.1f} s: the limit lets in {most:.1f}"
                break
        letters = [one.subject for one in self.world.broker.streams[DEAD_LETTERS].messages.values()]
        yield from (f"{letter}: a dead letter" for letter in letters if letter.startswith("dead."))
