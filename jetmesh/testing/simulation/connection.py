"""A connection of a simulated process: ordered, delayed, and cut at any point."""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context

from jetmesh.failure import BrokerUnavailable, Unavailable
from jetmesh.jetstream.clock import BrokerClock
from jetmesh.jetstream.limits import ServerLimits
from jetmesh.jetstream.notices import Notices
from jetmesh.jetstream.transport import API, NOT_CONNECTED, OnFrame, Server
from jetmesh.testing.simulation.broker import SimulatedBroker

Callback = Callable[[], None]

FLUSH_SECONDS = 2


class Direction:
    """One direction of a connection: first in, first out, each message delayed a little."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dice: random.Random, context: Context) -> None:
        self._loop, self._dice, self._context = loop, dice, context
        self._steps: deque[Callback] = deque()
        self._last = 0.0

    def carry(self, step: Callback, delay_seconds: float) -> None:
        """Let `step` happen at the other end."""
        self._last = max(self._last, self._loop.time() + delay_seconds * self._dice.random())
        self._steps.append(step)
        self._loop.call_at(self._last, self._arrive, context=self._context)

    def lose(self, kept: int) -> None:
        """Of the messages under way, only the first `kept` still arrive."""
        while len(self._steps) > kept:
            self._steps.pop()

    def __len__(self) -> int:
        return len(self._steps)

    def _arrive(self) -> None:
        if self._steps:
            self._steps.popleft()()


class SimulatedConnection(Notices):
    """The `Transport` to the model of the broker."""

    limits = ServerLimits(1 << 20)
    short_lives = 0
    server = Server({})

    def __init__(
        self, broker: SimulatedBroker, name: str, dice: random.Random, context: Context, delay_seconds: float = 0.002
    ) -> None:
        super().__init__()
        self.broker, self.name = broker, name
        self.clock = BrokerClock()
        self._closed = asyncio.Event()
        self.delay_seconds = delay_seconds
        self._is_there = self._is_gone = False
        self._dice, self._context = dice, context
        self._out = Direction(broker.loop, dice, Context())
        self._in = Direction(broker.loop, dice, context)
        self._heard: dict[str, OnFrame] = {}
        self._subscriptions: list[str] = []
        self._count = 0

    @property
    def is_connected(self) -> bool:
        """Whether it is connected to the broker."""
        return self._is_there

    @property
    def trouble(self) -> str:
        """Why there is no connection."""
        return "" if self.is_connected else NOT_CONNECTED

    async def join(self) -> None:
        """Wait until the broker accepts the connection."""
        while not self._connect():  # noqa: ASYNC110
            await asyncio.sleep(0.25)

    def new_inbox(self) -> str:
        """A new, unique inbox."""
        self._count += 1
        return f"_INBOX.{self.name}-{self._count}"

    def api(self, call: str) -> str:
        """The subject of a call of the JetStream API."""
        return f"{API}.{call}"

    async def listen(self, subject: str, frame: OnFrame, queue: str = "") -> int:
        """Subscribe to an inbox and all subjects below it."""
        inbox = subject.removesuffix(".*")
        self._heard[inbox] = frame
        self._subscriptions.append(inbox)
        if self.is_connected:
            self.broker.listen(inbox, self._receive)
        return len(self._subscriptions) - 1

    async def stop_listening(self, subscription: int) -> None:
        """Unsubscribe, and return once all messages that the broker sent before were passed to the frame."""
        inbox = self._subscriptions[subscription]
        ended = asyncio.Event()

        def unsubscribe() -> None:
            self.broker.ignore(inbox)
            self._in.carry(ended.set, self.delay_seconds)

        if self.is_connected:
            self._out.carry(unsubscribe, self.delay_seconds)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), FLUSH_SECONDS)
        self._heard.pop(inbox, None)

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Send one message. Raises Unavailable while there is no connection."""
        if not self.is_connected:
            raise BrokerUnavailable(NOT_CONNECTED, 0.25)
        self.limits.require(subject, len(headers), len(data), reply)
        self._out.carry(lambda: self._arrive(subject, reply, headers, data), self.delay_seconds)

    def _arrive(self, subject: str, reply: str, headers: bytes, data: bytes) -> None:
        """Arrive at the broker, which answers a denied publish with an error, its subject in lower case."""
        if self.broker.may_publish(subject):
            self.broker.receive(subject, reply, headers, data)
        else:
            words = f'nats: permissions violation for publish to "{subject.lower()}"'
            self._in.carry(lambda: self.denied(words), self.delay_seconds)

    async def ask(self, subject: str, data: bytes, timeout_seconds: float = 5.0, *, headers: bytes = b"") -> bytes:
        """Ask about the topology, or change a durable. Raises Unavailable if there is no answer."""
        await asyncio.sleep(min(self.delay_seconds, timeout_seconds))
        if not self.is_connected or self.broker.down or self.broker.stalled:
            raise Unavailable(f"no answer to {subject}")
        return json.dumps(self.broker.request(subject, data)).encode()

    async def flush(self, timeout: int = FLUSH_SECONDS) -> None:  # noqa: ASYNC109
        """Return when the broker has all messages that were sent."""
        async with asyncio.timeout(timeout):
            while len(self._out):  # noqa: ASYNC110
                await asyncio.sleep(self.delay_seconds)

    async def close(self) -> None:
        """Disconnect."""
        self.vanish()

    async def ended(self) -> str:
        """Return when it is closed."""
        await self._closed.wait()
        return "it was closed"

    def cut(self, reconnect_seconds: float) -> None:
        """Break the connection; some messages under way still arrive, and no answer comes."""
        if not self.is_connected:
            return
        self._break(self._dice.randint(0, len(self._out)))
        self.broker.loop.call_later(reconnect_seconds, self._reconnect, context=self._context)

    def vanish(self) -> None:
        """The process is killed; of its messages under way, some arrive."""
        self._is_gone = True
        self._closed.set()
        if self.is_connected:
            self._break(self._dice.randint(0, len(self._out)))

    def _break(self, kept: int) -> None:
        self._is_there = False
        self._out.lose(kept)
        self._in.lose(0)
        self.broker.leave(list(self._heard))

    def _connect(self) -> bool:
        if self.broker.down or self.broker.stalled or self._is_gone:
            return False
        self._is_there = True
        for inbox in self._heard:
            self.broker.listen(inbox, self._receive)
        return True

    def _reconnect(self) -> None:
        if self.is_connected or self._is_gone:
            return
        if not self._connect():
            self.broker.loop.call_later(0.25, self._reconnect, context=self._context)
            return
        self.reconnected()

    def _receive(self, inbox: str, subject: str, reply: str, headers: bytes, data: bytes) -> None:
        frame = self._heard[inbox]
        self._in.carry(lambda: frame(subject, reply, headers, data), self.delay_seconds)
