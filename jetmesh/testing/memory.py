"""A broker in memory, on the running loop: the model of the simulation, without faults, delays and seeds."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextvars import copy_context
from itertools import count

from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import encode_headers
from jetmesh.jetstream.message import Message
from jetmesh.testing.simulation.broker import SimulatedBroker
from jetmesh.testing.simulation.connection import SimulatedConnection
from jetmesh.testing.simulation.stream import PublishedMessage
from jetmesh.topology.streams import Topology


class Memory:
    """The streams of a topology, and connections to them."""

    def __init__(self, topology: Topology) -> None:
        loop = asyncio.get_running_loop()
        self.broker = SimulatedBroker(loop, seed=0, epoch=time.time() - loop.time())
        self.broker.create(topology)
        self._numbers = count(1)

    async def connect(self) -> SimulatedConnection:
        """A connection without losses and delays."""
        connection = SimulatedConnection(
            self.broker, f"memory-{next(self._numbers)}", random.Random(0), copy_context(), delay_seconds=0.0
        )
        await connection.join()
        return connection

    def keep(self, stream: str, messages: Sequence[Message]) -> None:
        """Store messages in a stream, without its checks."""
        for message in messages:
            headers = message.headers
            kept = PublishedMessage(message.subject, encode_headers(headers), headers, message.data)
            self.broker.streams[stream].keep(kept, time.time())

    def messages(self, stream: str, after: int = 0) -> list[Stored]:
        """The messages of a stream after a sequence, oldest first; empty if there is no such stream."""
        found = self.broker.streams[stream].messages if stream in self.broker.streams else {}
        behind = [kept for sequence, kept in sorted(found.items()) if sequence > after]
        return [Stored(kept.subject, kept.sequence, "", kept.headers, kept.data) for kept in behind]

    def lag(self, stream: str, sequence: int) -> None:
        """Answer direct gets of the stream as of `sequence`, like a replica that lags, until a guard is refused."""
        if stream in self.broker.streams:
            self.broker.streams[stream].horizon = sequence
