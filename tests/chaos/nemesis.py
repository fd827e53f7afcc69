"""The nemesis: strikes the mesh with every kind of fault, in an order that its seed decides, until its time is up."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from jetmesh import provision
from jetmesh.failure import Unavailable
from jetmesh.mesh import Mesh
from jetmesh.message import Message
from jetmesh.provision import Drift
from jetmesh.testing import until
from services.payments.ledger import begin_outage, end_outage
from tests.chaos import wrapped
from tests.chaos.arena import ACK_WAIT_SECONDS, NAMES, Arena, node_of
from tests.chaos.figures import Figures

CYCLES = 2.2
"""How often each kind strikes where nothing prevents it."""
TRAP_SECONDS = 20.0
FULL_SECONDS = 12.0
ROOM_BYTES = 48 * 1024
"""What a stream may still grow when its quota is lowered; a quota below what it holds would delete."""
STREAMS = ("ORDERS", "PAYMENTS", "NOTIFICATIONS")
POISON = (b"no JSON", b"{}", b'{"order_id": "o-x", "lines": []}', b"\xff\xfe\x00", b'{"order_id": 7}')
SINGLE_WRITER = "analytics"
"""Its store is a file with one writer, so that it has no replica."""

Fault: TypeAlias = Callable[[], Awaitable[bool]]


class Nemesis:
    """Each fault is a method that strikes, mends what it broke, and says whether it struck."""

    def __init__(self, arena: Arena, mesh: Mesh, figures: Figures, seed: int) -> None:
        self.arena, self.mesh, self.figures = arena, mesh, figures
        self.random = random.Random(f"nemesis {seed}")
        self.struck: Counter[str] = Counter()
        self._brokers = asyncio.Lock()
        self._services = {name: asyncio.Lock() for name in NAMES}

    @property
    def faults(self) -> Mapping[str, Fault]:
        """Every kind of fault that this arena can suffer."""
        traps = {f"SIGKILL {point}": self._trap(point) for point in wrapped.POINTS}
        cluster = {
            "stream leader stepped down": self.step_down,
            "consumer leader stepped down": self.step_down_consumer,
        }
        return {
            "SIGKILL of a service": self.kill,
            **traps,
            "SIGSTOP of a service beyond the ack wait": self.stop,
            "rolling restart": self.restart_all,
            "two replicas": self.replica,
            "two versions": self.next_version,
            "connections cut": self.cut,
            "connections delayed": self.delay,
            "connections half-open": self.half_open,
            "broker SIGKILL": self.kill_broker,
            "broker SIGSTOP": self.stop_broker,
            "broker restart": self.restart_broker,
            "durable deleted": self.delete_consumer,
            "stream full": self.fill,
            "poison": self.poison,
            "bank outage": self.bank_outage,
            "mail down": self.mail_down,
            **(cluster if self.arena.is_cluster else {}),
        }

    async def rage(self, seconds: float, kinds: Sequence[str]) -> None:
        """Strike with all `kinds`, again and again in another order, evenly over the time; returns once all is
        mended."""
        ends = time.monotonic() + seconds
        pause = min(2.0, seconds / (CYCLES * len(kinds)))
        async with asyncio.TaskGroup() as under_way:
            while time.monotonic() < ends:
                for kind in self.random.sample(kinds, len(kinds)):
                    if time.monotonic() >= ends:
                        break
                    under_way.create_task(self._strike(kind))
                    await asyncio.sleep(pause * self.random.uniform(0.5, 1.4))

    async def _strike(self, kind: str) -> None:
        """A fault that comes to nothing, because another one was there before, does not count."""
        try:
            self.struck[kind] += await self.faults[kind]()
        except (Unavailable, Drift, AssertionError) as prevented:
            self.figures.prevented[f"{kind}: {type(prevented).__name__} {str(prevented)[:120]}"] += 1

    def _any_service(self, *without: str) -> str:
        return self.random.choice([name for name in NAMES if name not in without])

    async def kill(self) -> bool:
        """A service is gone, wherever it is."""
        return self.arena.signal(self._any_service(), signal.SIGKILL) > 0

    def _trap(self, point: str) -> Fault:
        async def spring() -> bool:
            name = self.random.choice(wrapped.POINTS[point])
            trap = wrapped.trap_file(self.arena.traps(name), point)
            trap.touch()
            with suppress(AssertionError):
                await until(lambda: not trap.exists(), TRAP_SECONDS, "the trap is sprung")
                return True
            trap.unlink(missing_ok=True)
            return False

        return spring

    async def stop(self) -> bool:
        """A service that seems dead until its deliveries are somebody else's, and then goes on as if nothing were."""
        return await self._suspend(self._any_service(), ACK_WAIT_SECONDS * self.random.uniform(1.3, 2.5))

    async def _suspend(self, name: str, seconds: float) -> bool:
        pid = self.arena.signal(name, signal.SIGSTOP)
        await asyncio.sleep(seconds if pid else 0)
        return self.arena.signal(name, signal.SIGCONT, pid) > 0 if pid else False

    async def restart_all(self) -> bool:
        """Every service stops as it should and starts again, one after the other."""
        count = 0
        for name in NAMES:
            count += self.arena.signal(name, signal.SIGTERM) > 0
            await asyncio.sleep(1.0)
        return count > 0

    async def replica(self) -> bool:
        """A second process of a service for a while; it leaves as it should, or is killed."""
        return await self._beside(JETMESH_SLOTS="16")

    async def next_version(self) -> bool:
        """The same, of a version whose events say more."""
        return await self._beside(**{wrapped.NEXT_VERSION: "1"})

    async def _beside(self, **more: str) -> bool:
        name = self._any_service(SINGLE_WRITER)
        if self._services[name].locked():
            return False
        async with self._services[name]:
            spec = self.arena.replica(name, **more)
            await self.arena.add(spec)
            await asyncio.sleep(self.random.uniform(3, 6))
            if self.random.random() < 0.5:
                self.arena.signal(spec.name, signal.SIGKILL)
            await self.arena.stop([spec.name])
        return True

    async def cut(self) -> bool:
        """Every connection of a service breaks, some times in a row."""
        lines = self.arena.lines[self._any_service()]
        for _ in range(self.random.randint(1, 4)):
            lines.cut()
            await asyncio.sleep(self.random.uniform(0.05, 0.6))
        return True

    async def delay(self) -> bool:
        """A service is far away for some seconds."""
        lines = self.arena.lines[self._any_service()]
        lines.delay(self.random.uniform(0.05, 0.4))
        await asyncio.sleep(self.random.uniform(2, 5))
        lines.delay(0.0)
        return True

    async def half_open(self) -> bool:
        """What a service says arrives and what it is told does not, for longer than it waits for an answer."""
        lines = self.arena.lines[self._any_service()]
        lines.swallow_answers()
        await asyncio.sleep(self.random.uniform(3, 8))
        lines.let_pass()
        return True

    async def kill_broker(self) -> bool:
        """A broker is gone, its store is not; where there are several, the leader of a stream."""
        async with self._brokers:
            return await self._end_broker(signal.SIGKILL)

    async def restart_broker(self) -> bool:
        """A broker stops as it should, and starts again."""
        async with self._brokers:
            return await self._end_broker(signal.SIGTERM)

    async def _end_broker(self, number: signal.Signals) -> bool:
        name = await self._leader()
        pid = self.arena.signal(name, number)
        await until(lambda: self.arena.machines[name].pid not in (0, pid), 30, f"{name} runs again")
        await until(node_of(self.arena, name).is_healthy, 30, f"{name} is healthy")
        return pid > 0

    async def stop_broker(self) -> bool:
        """A broker hangs for some seconds."""
        async with self._brokers:
            name = await self._leader()
            struck = await self._suspend(name, self.random.uniform(2, 6))
            await until(node_of(self.arena, name).is_healthy, 30, f"{name} is healthy")
            return struck

    async def _leader(self) -> str:
        if not self.arena.is_cluster:
            return self.arena.nodes[0].name
        info = await provision.request(self.mesh.connection, f"STREAM.INFO.{self.random.choice(STREAMS)}")
        return str(info["cluster"].get("leader") or self.random.choice(self.arena.nodes).name)

    async def step_down(self) -> bool:
        """The leader of a stream hands over."""
        async with self._brokers:
            call = f"STREAM.LEADER.STEPDOWN.{self.random.choice(STREAMS)}"
            return await provision.request(self.mesh.connection, call, strict=True) is not None

    async def step_down_consumer(self) -> bool:
        """The leader of a durable hands over."""
        async with self._brokers:
            consumer = self.random.choice(self.arena.needed.consumers)
            call = f"CONSUMER.LEADER.STEPDOWN.{consumer.stream}.{consumer.durable}"
            return await provision.request(self.mesh.connection, call, strict=True) is not None

    async def delete_consumer(self) -> bool:
        """Somebody deletes a durable; a while later the topology is applied, and it begins anew."""
        async with self._brokers:
            consumer = self.random.choice(self.arena.needed.consumers)
            place = f"{consumer.stream}.{consumer.durable}"
            await self.figures.remember(self.mesh, consumer)
            await provision.request(self.mesh.connection, f"CONSUMER.DELETE.{place}", strict=True)
            await asyncio.sleep(self.random.uniform(0.2, 2))
            await self.arena.provide(self.mesh)
            return True

    async def fill(self) -> bool:
        """A stream reaches its quota and takes nothing until somebody raises it; true if it was full indeed."""
        async with self._brokers:
            stream = self.random.choice(STREAMS)
            before = await self._info(stream)
            quota = before["state"]["bytes"] + ROOM_BYTES
            await self._limit(before["config"], quota)
            deadline, full = time.monotonic() + FULL_SECONDS, False
            try:
                while time.monotonic() < deadline and not full:
                    await asyncio.sleep(0.2)
                    full = (await self._info(stream))["state"]["bytes"] > quota - 2_048
                await asyncio.sleep(2.0 if full else 0)
            finally:
                await self._limit(before["config"], -1)
            after = await self._info(stream)
            assert after["state"]["first_seq"] == before["state"]["first_seq"], f"{stream}: the quota deleted messages"
            return full

    async def _info(self, stream: str) -> Any:
        return await provision.request(self.mesh.connection, f"STREAM.INFO.{stream}", strict=True)

    async def _limit(self, config: Mapping[str, Any], max_bytes: int) -> None:
        body = {**config, "max_bytes": max_bytes}
        await provision.request(self.mesh.connection, f"STREAM.UPDATE.{config['name']}", body, strict=True)

    async def poison(self) -> bool:
        """Somebody publishes what nobody can understand."""
        subject = self.random.choice(("orders.placed", "stock.restocked"))
        message = Message(subject, self.random.choice(POISON), {})

        async def stored() -> bool:
            with suppress(Unavailable):
                return await self.mesh.recorder.record(message) > 0
            return False

        await until(stored, 30, "the poison is stored")
        self.figures.poisoned += 1
        return True

    async def bank_outage(self) -> bool:
        """The bank is closed for some seconds."""
        path = self.arena.state.bank
        await asyncio.to_thread(begin_outage, path)
        await asyncio.sleep(self.random.uniform(2, 6))
        await asyncio.to_thread(end_outage, path)
        return True

    async def mail_down(self) -> bool:
        """The mail server is killed, or hangs for some seconds."""
        if self.random.random() < 0.5:
            return self.arena.signal("mail", signal.SIGKILL) > 0
        return await self._suspend("mail", self.random.uniform(2, 6))
