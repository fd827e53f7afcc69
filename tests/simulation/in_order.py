"""A reaction in the order of its stream as a simulated world: several replicas, a few keys, and attempts that fail."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator

from jetmesh import EventModel, Service, Token, Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import Subject
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import World, storm
from jetmesh.topology.names import DEAD_LETTERS

REST_SECONDS_MAX = 3_600.0
WALKS = 4
SEVERAL_FAIL = 0.15


class Stepped(EventModel, type="walks.stepped", owner="walks", key_field="walk_id", id_field="step", from_outside=True):
    """Somebody made a step of a walk."""

    walk_id: Token
    step: Token


class Followed(EventModel, type="trails.followed", owner="trails", key_field="walk_id", id_field="step"):
    """A step was followed."""

    walk_id: Token
    step: Token


class FollowingMesh:
    """Steps come all at once, in any order; each is followed in the order in which the steps were recorded."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"steps {seed}")
        walks, trails = Service("walks"), Service("trails")

        @walks.intake
        async def note(stepped: Stepped) -> Stepped:
            """Somebody made a step: record it."""
            return stepped

        @trails.on(in_order=True)
        async def follow(stepped: Stepped) -> Followed:
            """A step was made: follow it, sometimes at the second or third attempt."""
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.5)))
            if self.random.random() < SEVERAL_FAIL:
                raise self.random.choice((Unavailable("the path is closed", 3.0), ValueError("stumbled")))
            return Followed(walk_id=stepped.walk_id, step=stepped.step)

        told = {"JETMESH_ACK_WAIT_SECONDS": "6", "JETMESH_DRAIN_SECONDS": "5"}
        self.world = World(seed, [walks, trails], lambda _: None, read(Settings, told))
        self.number = self.random.choice((20, 60))

    async def story(self) -> None:
        """Make steps while faults strike; then look at what is there."""
        self.world.begin(lambda _: self.random.choice((1, 2, 3)))
        self.outside = self.world.outsider("walkers")
        walking = self.outside.run(self._walk())
        await storm(self.world, 20.0)
        self.world.heal()
        await walking
        await self.world.rest(REST_SECONDS_MAX)
        wrong = [*self._wrong(), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    async def _walk(self) -> None:
        steps = [Stepped(walk_id=f"w-{n % WALKS}", step=f"s-{n}") for n in range(self.number)]
        await asyncio.gather(*map(self._publish, steps))

    async def _publish(self, stepped: Stepped) -> None:
        """Publish a step, again and again; the process that does may be cut off for good."""
        for _ in range(20):
            await self.outside.ready.wait()
            try:
                message = Message(Stepped.type, stepped.model_dump_json().encode(), {})
                await self.outside.context.publisher.record(message)
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                return

    def _wrong(self) -> Iterator[str]:
        """What offends against the promises."""
        made, followed = (self._steps(name) for name in ("WALKS", "TRAILS"))
        for walk, steps in made.items():
            if followed[walk] != steps:
                yield f"{walk}: made {' '.join(steps)}, followed {' '.join(followed[walk])}"
        letters = [one.subject for one in self.world.broker.streams[DEAD_LETTERS].messages.values()]
        yield from (f"{letter}: a dead letter" for letter in letters if letter.startswith("dead."))

    def _steps(self, stream: str) -> dict[str, list[str]]:
        """The steps of each walk, in the order of a stream."""
        found: dict[str, list[str]] = defaultdict(list)
        for _, message in sorted(self.world.broker.streams[stream].messages.items()):
            subject = Subject.parse(message.subject)
            found[subject.key].append(subject.id)
        return found
