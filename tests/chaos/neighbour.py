"""The second app under fire: its process, its versions, those who talk in its rooms, and what is wrong at the end."""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from examples.chat.contract import MessageHidden, MessageSent
from jetmesh.common.ports import free_port
from jetmesh.failure import Unavailable
from jetmesh.jetstream import api, stream_reader
from jetmesh.jetstream.message import Message
from jetmesh.local.plan import Plan
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec
from jetmesh.runtime.context import Context
from jetmesh.topology import nkeys
from jetmesh.topology.accounts import OPERATOR
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh.topology.streams import topology
from jetmesh_contracts import OrderCancelled, OrderConfirmed
from jetmesh_shop.orders.service import orders as orders_service
from jetmesh_shop.reference.backing import APP as SHOP
from tests.chaos import second_app

NAME, BANNED = "chat", "spam"
AGAIN, RUDE = 0.1, 0.1
ROOMS = 5


class Line(Protocol):
    """The way of a service to the brokers."""

    @property
    def url(self) -> str:
        """What `NATS_URL` is for the service."""
        ...


class Surroundings(Protocol):
    """What the arena is for an app in it."""

    state: StateFolder
    plan: Plan

    @property
    def lines(self) -> Mapping[str, Line]:
        """The way of each service to the brokers."""
        ...

    async def add(self, spec: Spec) -> None:
        """Start a process."""
        ...

    async def stop(self, names: Sequence[str] = ()) -> None:
        """End processes."""
        ...

    def signal(self, name: str, number: signal.Signals, pid: int = 0) -> int:
        """Send a signal to a process; its pid, or 0 where there is none."""
        ...


class Neighbour:
    """The app of another team on the same broker."""

    def __init__(self, arena: Surroundings, replicas: int, ack_wait_seconds: float) -> None:
        self._arena = arena
        self._settings = {
            "JETMESH_REPLICAS": str(replicas),
            "JETMESH_ACK_WAIT_SECONDS": str(ack_wait_seconds),
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
        }
        self.needed = topology(second_app.SERVICES, replicas, ack_wait_seconds)
        self.said: set[tuple[str, str, bool]] = set()
        """What was acknowledged: the room, the id, whether it has a banned word."""
        self._process, self._count = "", 0
        self._knows_more_since = sys.maxsize
        """The position in the stream of the orders behind which its durable has what only the newer version takes."""
        self.lock = asyncio.Lock()

    async def become(self, version: str, context: Context) -> None:
        """Go to a version as its team does: the topology, a process of it, and then no other one. The shop's team
        applies its own in between."""
        for app in (second_app.REFERENCE, SHOP):
            await self._apply(app, version)
        if version == second_app.NEWER:
            self._knows_more_since = min(self._knows_more_since, await self._last(context))
        before, spec = self._process, self._spec(version)
        self._process = spec.name
        await self._arena.add(spec)
        if before:
            await self._arena.stop([before])

    def kill(self) -> bool:
        """Its process is gone, wherever it is."""
        return bool(self._process) and self._arena.signal(self._process, signal.SIGKILL) > 0

    async def _last(self, context: Context) -> int:
        info = await api.request(context.connection, f"STREAM.INFO.{orders_service.stream}", strict=True)
        return int(info["state"]["last_seq"])

    async def _apply(self, app: str, version: str) -> None:
        """`jetmesh topology apply`, as an operator.

        Raises:
            Unavailable: it was refused, or found no broker; the text has what it said.
        """
        key = nkeys.seed_file(self._arena.state.keys, OPERATOR)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jetmesh", "topology", "apply", "--app", app),
            env={**os.environ, **self._settings, second_app.VERSION: version, "JETMESH_NATS_NKEY_SEED": str(key),
                 "NATS_URL": self._arena.plan.nats_url},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        if process.returncode:
            raise Unavailable(f"topology apply of {app}: {said.strip()}", retry_after_seconds=1)

    def _spec(self, version: str) -> Spec:
        self._count += 1
        ports = {NAME: free_port()}
        url = self._arena.lines[NAME].url
        plan = Plan(second_app.REFERENCE, second_app.SERVICES, self._arena.state, url, True, ports)
        spec = plan.service(NAME)
        return replace(
            spec,
            name=f"{NAME}-{self._count}",
            command=(sys.executable, "-m", "jetmesh", "run", NAME),
            environment={**spec.environment, **self._settings, second_app.VERSION: version},
            pause_seconds_max=1.0,
        )

    async def talk(self, context: Context, seed: int, count: int, seconds: float) -> None:
        """Say so many things in the rooms, evenly over the time; some twice, some with a banned word."""
        chance, began = random.Random(f"talk {seed}"), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number * seconds / count - time.monotonic()))
                is_rude, times = chance.random() < RUDE, 2 if chance.random() < AGAIN else 1
                group.create_task(self._say(context, f"room-{number % ROOMS}", f"m-{number}", is_rude, times))

    async def _say(self, context: Context, room: str, message_id: str, is_rude: bool, times: int) -> None:
        text = BANNED if is_rude else "hello"
        sent = MessageSent(room_id=room, message_id=message_id, sender_id="s-1", text=text)
        for _ in range(times):
            await _published(context, Message(sent.type, sent.model_dump_json().encode(), {}))
            self.said.add((room, message_id, is_rude))

    async def wrong(self, context: Context) -> list[str]:
        """What is lost, twice or given up, read from the streams."""
        there = Counter(event.subject for event in await stream_reader.read(context.connection, "CHAT"))
        said = {f"{MessageSent.type}.{room}.{message_id}" for room, message_id, _ in self.said}
        hidden = {f"{MessageHidden.type}.{room}.{message_id}" for room, message_id, is_rude in self.said if is_rude}
        certain, possible = await self._told(context)
        letters = await stream_reader.read(context.connection, DEAD_LETTERS)
        return [
            *(f"{subject} is lost" for subject in sorted((said | hidden | certain) - there.keys())),
            *(f"{subject} came from nowhere" for subject in sorted(there.keys() - (said | hidden | possible))),
            *(f"{subject} is there {count} times" for subject, count in there.items() if count > 1),
            *(letter.subject for letter in letters if f".{NAME}." in letter.subject),
        ]

    async def _told(self, context: Context) -> tuple[set[str], set[str]]:
        """What must be told of the orders, and what may be: an order that was cancelled before there was a version that
        takes that may lie behind the durable's position."""
        certain, possible = set(), set()
        for event in await stream_reader.read(context.connection, orders_service.stream):
            if event.type in (OrderConfirmed.type, OrderCancelled.type):
                subject = f"{MessageSent.type}.{event.key}.{event.type.partition('.')[2]}"
                possible.add(subject)
                if event.type == OrderConfirmed.type or event.sequence > self._knows_more_since:
                    certain.add(subject)
        return certain, possible


async def _published(context: Context, message: Message) -> None:
    while True:
        try:
            await context.publisher.record(message)
        except Unavailable as unavailable:
            await asyncio.sleep(unavailable.retry_after_seconds)
        else:
            return
