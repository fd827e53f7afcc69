"""Reactions that record about the same keys at the same time as a simulated world: several replicas, slow mails."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from jetmesh import EventModel, Fold, Service, Token, Unavailable
from jetmesh.jetstream.message import Message
from jetmesh.jetstream.subject import Subject
from jetmesh.settings import Settings, read
from jetmesh.testing.simulation import World, storm
from jetmesh.topology.names import DEAD_LETTERS

REST_SECONDS_MAX = 3_600.0
LONG_SECONDS = 20.0


class Bought(EventModel, type="shop.bought", owner="shop", key_field="order_id", from_outside=True):
    """Somebody bought something."""

    order_id: Token


class Paid(EventModel, type="bank.paid", owner="bank", key_field="order_id", from_outside=True):
    """Somebody paid."""

    order_id: Token


class Confirmed(EventModel, type="post.confirmed", owner="post", key_field="order_id"):
    """The confirmation went out."""

    order_id: Token


class Thanked(EventModel, type="post.thanked", owner="post", key_field="order_id"):
    """The receipt went out."""

    order_id: Token


class Halved(EventModel, type="post.halved", owner="post", key_field="order_id"):
    """One half is known."""

    order_id: Token


class Joined(EventModel, type="post.joined", owner="post", key_field="order_id"):
    """Both are."""

    order_id: Token


class Posting(Fold):
    """What the post has recorded about an order."""


class PostMesh:
    """Orders are bought and paid at about the same time; the post sends two mails about each, and joins the halves."""

    expected: ClassVar = Counter({"confirmed": 1, "thanked": 1, "halved": 1, "joined": 1})

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"post {seed}")
        told = {"JETMESH_ACK_WAIT_SECONDS": "6", "JETMESH_DRAIN_SECONDS": "5"}
        self.world = World(seed, [*self._takers(), self._post()], lambda _: None, read(Settings, told))
        self.keys = [f"o-{number}" for number in range(12)]
        self._mailed: list[Bought | Paid] = []

    async def story(self) -> None:
        """Buy and pay while faults strike; then look at what is there."""
        self.world.begin(lambda _: self.random.choice((1, 2, 3)))
        self.outside = self.world.outsider("customers")
        buying = self.outside.run(self._buy())
        await storm(self.world, 40.0)
        self.world.heal()
        await buying
        await self.world.rest(REST_SECONDS_MAX)
        wrong = [*self._wrong(), *self.world.loop.failures()]
        assert not wrong, "; ".join(wrong)

    @staticmethod
    def _takers() -> list[Service]:
        shop, bank = Service("shop"), Service("bank")

        @shop.intake
        async def take(bought: Bought) -> Bought:
            """Somebody bought something: record it."""
            return bought

        @bank.intake
        async def book(paid: Paid) -> Paid:
            """Somebody paid: record it."""
            return paid

        return [shop, bank]

    def _post(self) -> Service:
        post = Service("post")

        @post.on
        async def confirm(bought: Bought) -> Confirmed:
            """Somebody bought something: send the confirmation."""
            await self._mail(bought)
            return Confirmed(order_id=bought.order_id)

        @post.on
        async def thank(paid: Paid) -> Thanked:
            """Somebody paid: send the receipt."""
            await self._mail(paid)
            return Thanked(order_id=paid.order_id)

        @post.on
        async def join(half: Bought | Paid, posting: Posting) -> Halved | Joined | None:
            """One half is there: join them once both are."""
            if posting.has(Joined):
                return None
            return Joined(order_id=half.order_id) if posting.has(Halved) else Halved(order_id=half.order_id)

        return post

    async def _mail(self, event: Bought | Paid) -> None:
        """The first attempt at a mail often takes long; one by another process, meanwhile, does not."""
        is_first = event not in self._mailed
        self._mailed.append(event)
        await asyncio.sleep(self.random.choice((0.0, 1.0, LONG_SECONDS, LONG_SECONDS)) if is_first else 0.0)

    async def _buy(self) -> None:
        events = [event(order_id=key) for key in self.keys for event in (Bought, Paid)]
        await asyncio.gather(*map(self._publish, events))

    async def _publish(self, event: Bought | Paid) -> None:
        """Publish an event, again and again; the process that does may be cut off for good."""
        await asyncio.sleep(self.random.uniform(0, 30) if self.random.random() < 0.5 else 0.0)
        for _ in range(20):
            await self.outside.ready.wait()
            try:
                await self.outside.context.publisher.record(Message(event.type, event.model_dump_json().encode(), {}))
            except Unavailable:
                await asyncio.sleep(self.random.uniform(0, 2))
            else:
                return

    def _wrong(self) -> Iterator[str]:
        """What offends against the promises: of each order that was bought and paid, each event is there once."""
        bought, paid, posted = (self._subjects(name) for name in ("SHOP", "BANK", "POST"))
        for key in {subject.key for subject in bought} & {subject.key for subject in paid}:
            found = Counter(subject.event for subject in posted if subject.key == key)
            if found != self.expected:
                yield f"{key}: recorded {dict(found)}"
        letters = [one.subject for one in self.world.broker.streams[DEAD_LETTERS].messages.values()]
        yield from (f"{letter}: a dead letter" for letter in letters if letter.startswith("dead."))

    def _subjects(self, stream: str) -> list[Subject]:
        return [Subject.parse(message.subject) for message in self.world.broker.streams[stream].messages.values()]
