"""A chat as a simulated world: messages are occurrences, a tally of each room is a state, recorded in one commit."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

from jetmesh import Service, Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import Subject
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import World, storm
from jetmesh.topology.names import DEAD_LETTERS
from tests.support.chat import MessageSent, Tally, chat, counting

REST_SECONDS_MAX = 1_800.0
ROOMS = ("room-1", "room-2")


class ChatMesh:
    """The service on a simulated broker, one to three times, and who writes messages. Half of the seeds count message
    by message, the others in batches."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"writers {seed}")
        self.service: Service = chat() if seed % 2 else counting([])
        told = {"JETMESH_ACK_WAIT_SECONDS": "6", "JETMESH_DRAIN_SECONDS": "5",
                "JETMESH_SLOTS": str(self.random.choice((1, 4, 64)))}  # fmt: skip
        self.world = World(seed, [self.service], lambda _: None, read(Settings, told))
        self.said: Counter[str] = Counter()

    async def story(self) -> None:
        """Write while faults strike; then look at what is there."""
        self.world.begin(lambda _: self.random.choice((1, 2, 3)))
        self.writers = self.world.outsider("writers")
        visits = [self.writers.run(self._write(number)) for number in range(self.random.choice((4, 12, 30)))]
        await storm(self.world, 30.0)
        self.world.heal()
        await asyncio.gather(*visits)
        await self.world.rest(REST_SECONDS_MAX)
        wrong = [*self._wrong(), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    async def _write(self, number: int) -> None:
        """Write a message, perhaps again and again."""
        message = MessageSent(room_id=self.random.choice(ROOMS), message_id=f"m-{number}")
        await asyncio.sleep(self.random.uniform(0, 25))
        for _ in range(self.random.choice((1, 1, 2, 3))):
            if await self._publish(message):
                self.said[f"{message.room_id}.{message.message_id}"] += 1
            await asyncio.sleep(self.random.choice((0, 0.01, 5)))

    async def _publish(self, message: MessageSent) -> bool:
        await self.writers.ready.wait()
        for _ in range(20):
            try:
                body = message.model_dump_json().encode()
                await self.writers.context.publisher.record(Message(MessageSent.type, body, {}))
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                return True
        return False

    def _wrong(self) -> Iterator[str]:
        """What offends against the promises."""
        stored = list(self.world.broker.streams["CHAT"].messages.values())
        subjects = Counter(one.subject for one in stored if Subject.parse(one.subject).type != Tally.type)
        yield from (f"{subject}: recorded {count} times" for subject, count in subjects.items() if count > 1)
        messages = {subject for subject in subjects if Subject.parse(subject).type == MessageSent.type}
        yield from (f"{one}: lost" for one in self.said if f"{MessageSent.type}.{one}" not in messages)
        ids = Counter(one.headers["ce-id"] for one in stored)
        yield from (f"the id {found} was recorded {count} times" for found, count in ids.items() if count > 1)
        tallies = {Subject.parse(one.subject).key: Tally.read(one.data) for one in stored if ".tally." in one.subject}
        for room in ROOMS:
            there, counted = sum(Subject.parse(one).key == room for one in messages), tallies.get(room)
            if there != (counted.messages if counted else 0):
                yield f"{room}: {there} messages, and the tally says {counted}"
        letters = [one.subject for one in self.world.broker.streams[DEAD_LETTERS].messages.values()]
        yield from (f"{letter}: a dead letter" for letter in letters if letter.startswith("dead."))
