"""The nemesis: strikes the mesh with every kind of fault, in an order that its seed decides, until its time is up."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from jetmesh.failure import Unavailable
from jetmesh.jetstream import api
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.message import Message
from jetmesh.operate.backup.manifest import BackupError
from jetmesh.operate.backup.restore import Restoring
from jetmesh.operate.backup.take import Taking
from jetmesh.runtime.context import Context
from jetmesh.settings import Settings
from jetmesh.testing import until
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh.topology.provision import Drift
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.domain import check
from jetmesh_shop.payments.ledger import begin_outage, end_outage
from jetmesh_shop.reference.audit import AUDIT, collect
from jetmesh_shop.reference.books import PLACED, REFUSED
from jetmesh_shop.reference.state import Stores
from tests.chaos import disks, second_app, wrapped
from tests.chaos.arena import ACK_WAIT_SECONDS, DISK_FULL, NAMES, Arena, node_of
from tests.chaos.figures import Figures
from tests.chaos.load import orders
from tests.chaos.neighbour import Neighbour

CYCLES = 2.2
"""How often each kind strikes where nothing prevents it."""
TRAP_SECONDS = 40.0
FULL_SECONDS = 30.0
GRACE_SECONDS = 10.0
"""What a broker gets to stop in, as by Kubernetes."""
ROOM_BYTES, ROOM_SECONDS = 32 * 1024, 5.0
"""What a stream may still grow when its quota is lowered, and as much as it grows in that time; a quota below what it
holds would delete."""
DEADLY_SECONDS = 420.0
RESTORE_SECONDS = 90.0
PATIENCE_SECONDS = 1.0
PARTITION_SECONDS = 4.0, 12.0
"""A leader that hears nobody believes for up to 10 s that it leads, and the others choose another one in 4 to 9."""
SILENT_SECONDS = 2.0
STREAMS = ("ORDERS", "PAYMENTS", "NOTIFICATIONS")
POISON = (b"no JSON", b"{}", b'{"order_id": "o-x", "lines": []}', b"\xff\xfe\x00", b'{"order_id": 7}')
UPGRADE, ROLLBACK = "rolling upgrade that widens a reaction", "rollback, and upgrade again"
SINGLE_WRITER = "analytics"
"""Its store is a file with one writer, so that it has no replica."""

KEY_WITHDRAWN, CLOCK_AHEAD = "key withdrawn", "clock an hour ahead"
NOTICED_SECONDS = 15.0
OTHER_KILLED, OTHER_UPGRADED = "SIGKILL of the other app", "other app upgraded and rolled back"
RESTORED, ONE_APP = "broker emptied and restored", "a backup holds the streams of one app"
ONLY_ALONE = "its small disks are in memory: ask for it by --only"

Fault: TypeAlias = Callable[[], Awaitable[bool]]


class Nemesis:
    """Each fault is a method that strikes, mends what it broke, and says whether it struck."""

    def __init__(self, arena: Arena, context: Context, figures: Figures, seed: int) -> None:
        self.arena, self.context, self.figures = arena, context, figures
        self.random = random.Random(f"nemesis {seed}")
        self.struck: Counter[str] = Counter()
        self._backups = 0
        self._brokers, self._deadly = asyncio.Lock(), asyncio.Lock()
        self._services = {name: asyncio.Lock() for name in NAMES}

    @property
    def faults(self) -> Mapping[str, Fault]:
        """Every kind of fault that this arena can suffer."""
        return {**self._beside_the_brokers, **self._at_the_brokers, **self._at_the_other_app}

    @property
    def _beside_the_brokers(self) -> Mapping[str, Fault]:
        return {
            "SIGKILL of a service": self.kill,
            **{f"SIGKILL {point}": self._trap(point) for point in wrapped.POINTS},
            "SIGSTOP of a service beyond the ack wait": self.stop,
            "rolling restart": self.restart_all,
            "two replicas": self.replica,
            "two versions": self.next_version,
            UPGRADE: self.upgrade,
            ROLLBACK: self.roll_back,
            "connections cut": self.cut,
            "connections delayed": self.delay,
            "connections half-open": self.half_open,
            "poison": self.poison,
            "poison that kills": self.deadly_poison,
            KEY_WITHDRAWN: self.withdraw_key,
            CLOCK_AHEAD: self.clock_ahead,
            "bank outage": self.bank_outage,
            "mail down": self.mail_down,
        }

    @property
    def _at_the_other_app(self) -> Mapping[str, Fault]:
        return {OTHER_KILLED: self.kill_other, OTHER_UPGRADED: self.upgrade_other} if self.arena.neighbour else {}

    @property
    def _at_the_brokers(self) -> Mapping[str, Fault]:
        """One at a time: two of three brokers away are no cluster any more."""
        cluster = {
            "stream leader stepped down": self.step_down,
            "consumer leader stepped down": self.step_down_consumer,
            **({} if self.arena.network.why_not else self._partitions),
        }
        return {
            "broker SIGKILL": self.kill_broker,
            "broker SIGSTOP": self.stop_broker,
            "broker restart": self.restart_broker,
            "durable deleted": self.delete_consumer,
            "stream full": self.fill,
            **({} if self.arena.neighbour else {RESTORED: self.restore}),
            **({DISK_FULL: self.fill_disk} if self.arena.has_disks else {}),
            **(cluster if self.arena.is_cluster else {}),
        }

    @property
    def impossible(self) -> Mapping[str, str]:
        """Kinds of fault that a cluster should suffer and can't on this machine, and why."""
        why_not = self.arena.network.why_not
        parts = dict.fromkeys(self._partitions, why_not) if self.arena.is_cluster and why_not else {}
        apart = {RESTORED: ONE_APP} if self.arena.neighbour else {}
        full = {} if self.arena.has_disks else {DISK_FULL: disks.why_not() or ONLY_ALONE}
        return {**parts, **apart, **full}

    @property
    def _partitions(self) -> Mapping[str, Fault]:
        return {
            "leader cut off from its peers": self.cut_leader_off,
            "follower cut off from its peers": self.cut_follower_off,
            "leader and follower cut off from each other": self.part_two,
            "follower deaf to its leader": self.deafen_follower,
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
                    under_way.create_task(self._strike_in_turn(kind, ends))
                    await asyncio.sleep(pause * self.random.uniform(0.5, 1.4))

    async def _strike_in_turn(self, kind: str, ends: float) -> None:
        """What waits for its turn until the time is up strikes only if its kind never did."""
        if kind not in self._at_the_brokers:
            await self._strike_at_least_once(kind, ends)
            return
        async with self._brokers:
            if time.monotonic() < ends or not self.struck[kind]:
                await self._strike(kind)

    async def _strike_at_least_once(self, kind: str, ends: float) -> None:
        """A kind that others have always been before tries again while there is time."""
        await self._strike(kind)
        while not self.struck[kind] and time.monotonic() + PATIENCE_SECONDS < ends:
            await asyncio.sleep(PATIENCE_SECONDS)
            await self._strike(kind)

    async def _strike(self, kind: str) -> None:
        """A fault that comes to nothing, because another one was there before, does not count."""
        began, came = time.monotonic(), "came to nothing"
        try:
            if await self.faults[kind]():
                self.struck[kind] += 1
                came = "struck and mended"
        except (Unavailable, ApiError, Drift, BackupError, AssertionError) as prevented:
            why = f"{type(prevented).__name__} {str(prevented)[:120]}"
            came += f": {why}"
            self.figures.prevented[f"{kind}: {why}"] += 1
        self.arena.tell(f"{kind}: {came} ({time.monotonic() - began:.1f} s)")

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

    async def upgrade(self) -> bool:
        """A process of the version before, which does not know what the durables of its service admit by now."""
        name = self.random.choice(wrapped.HAS_AN_OLDER)
        async with self._services[name]:
            await self._join(name, **{wrapped.OLDER_VERSION: "1"})
        return True

    async def roll_back(self) -> bool:
        """The mesh goes back to the version before, and forward again: the topology first, then a process at a time.
        Meanwhile somebody orders what is refused."""
        names = wrapped.HAS_AN_OLDER
        if any(self._services[name].locked() for name in names):
            return False
        async with AsyncExitStack() as stack:
            for name in names:
                await stack.enter_async_context(self._services[name])
            await self.arena.provide(self.context, older=True)
            older = [self.arena.replica(name, **{wrapped.OLDER_VERSION: "1"}) for name in names]
            for name, spec in zip(names, older, strict=True):
                await self.arena.add(spec)
                await self.arena.stop([name])
            try:
                await self._refusable()
                await asyncio.sleep(self.random.uniform(4, 7))
                await self.arena.provide(self.context)
            finally:
                for name, spec in zip(names, older, strict=True):
                    await self.arena.bring_back(name)
                    await self.arena.stop([spec.name])
        return True

    async def _refusable(self) -> None:
        """Somebody orders what is not on sale."""
        order = self._good_order()
        lines = (order.lines[0].model_copy(update={"sku": "pizza-hawaii"}),)
        order_id = f"not-on-sale-{self.random.randrange(1_000_000)}"
        wrong = order.model_copy(update={"order_id": order_id, "lines": lines})
        await self._publish(Message("orders.placed", wrong.model_dump_json().encode(), {}))
        self.figures.placed += 1

    async def _beside(self, **more: str) -> bool:
        name = self._any_service(SINGLE_WRITER)
        if self._services[name].locked():
            return False
        async with self._services[name]:
            await self._join(name, **more)
        return True

    async def _join(self, name: str, **more: str) -> None:
        spec = self.arena.replica(name, **more)
        await self.arena.add(spec)
        await asyncio.sleep(self.random.uniform(3, 6))
        if self.random.random() < 0.5:
            self.arena.signal(spec.name, signal.SIGKILL)
        await self.arena.stop([spec.name])

    async def kill_other(self) -> bool:
        """The other app is gone, wherever it is."""
        return self._neighbour.kill()

    async def upgrade_other(self) -> bool:
        """The other app goes to its next version and back; both teams apply their topologies each time."""
        if self._neighbour.lock.locked():
            return False
        async with self._neighbour.lock:
            for version in (second_app.NEWER, second_app.OLDER):
                await self._neighbour.become(version, self.context)
                await asyncio.sleep(self.random.uniform(1, 3))
        return True

    @property
    def _neighbour(self) -> Neighbour:
        assert self.arena.neighbour
        return self.arena.neighbour

    async def withdraw_key(self) -> bool:
        """The brokers know a service's key no more, and end its connections with an error; then they know it again."""
        name = self._any_service()
        try:
            self.arena.reload(without=name)
            await until(lambda: self._says(name, "does not know the key"), NOTICED_SECONDS, f"{name} is refused")
            await asyncio.sleep(self.random.uniform(0, 3))
        finally:
            self.arena.reload()
        return True

    async def clock_ahead(self) -> bool:
        """A second process of orders, whose deadlines are read by the clock, on a machine that is an hour ahead."""
        if self._services["orders"].locked():
            return False
        async with self._services["orders"]:
            spec = self.arena.replica("orders", **{wrapped.AHEAD: "3600"})
            await self.arena.add(spec)
            port = int(spec.environment["JETMESH_HEALTH_PORT"])
            with suppress(AssertionError):
                await until(lambda: self._says_at(port, "ahead of the broker's"), NOTICED_SECONDS)
            await asyncio.sleep(self.random.uniform(3, 6))
            await self.arena.stop([spec.name])
        return True

    async def _says(self, service: str, words: str) -> bool:
        """Whether a service gives this reason, or says this beside it."""
        return await self._says_at(self.arena.plan.health_ports[service], words)

    async def _says_at(self, port: int, words: str) -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=SILENT_SECONDS) as client:
            with suppress(httpx.HTTPError):
                return words in (await client.get(f"http://127.0.0.1:{port}/readyz")).text
        return False

    async def fill_disk(self) -> bool:
        """A broker's disk is full until somebody makes room; it stores nothing until it is restarted then."""
        name = await self._leader()
        node, disk = node_of(self.arena, name), self.arena.disks[name]

        async def fails() -> bool:
            return not await node.is_healthy()

        try:
            await asyncio.to_thread(disk.fill)
            await until(fails, FULL_SECONDS, f"{name} can't store")
            await asyncio.sleep(self.random.uniform(1, 4))
        finally:
            disk.make_room()
        pid = self.arena.signal(name, signal.SIGTERM)
        with suppress(AssertionError):
            await until(lambda: self.arena.machines[name].pid not in (0, pid), GRACE_SECONDS, f"{name} runs again")
        self.arena.signal(name, signal.SIGKILL, pid)  # nats-server 2.15 may hang when it is stopped after this
        await until(lambda: self.arena.machines[name].pid not in (0, pid), 30, f"{name} runs again")
        await until(node.is_healthy, 30, f"{name} is healthy")
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
        return await self._end_broker(signal.SIGKILL)

    async def restart_broker(self) -> bool:
        """A broker stops as it should, and starts again."""
        return await self._end_broker(signal.SIGTERM)

    async def _end_broker(self, number: signal.Signals) -> bool:
        name = await self._leader()
        pid = self.arena.signal(name, number)
        await until(lambda: self.arena.machines[name].pid not in (0, pid), 30, f"{name} runs again")
        await until(node_of(self.arena, name).is_healthy, 30, f"{name} is healthy")
        return pid > 0

    async def stop_broker(self) -> bool:
        """A broker hangs for some seconds."""
        name = await self._leader()
        struck = await self._suspend(name, self.random.uniform(2, 6))
        await until(node_of(self.arena, name).is_healthy, 30, f"{name} is healthy")
        return struck

    async def _leader(self, stream: str = "") -> str:
        """Who leads a stream, or any stream."""
        if not self.arena.is_cluster:
            return self.arena.nodes[0].name
        wanted = stream or self.random.choice(STREAMS)

        async def known() -> str:
            with suppress(Unavailable):
                return str((await self._info(wanted))["cluster"].get("leader") or "")
            return ""

        return str(await until(known, 30, f"{wanted} has a leader"))

    async def cut_leader_off(self) -> bool:
        """A leader hears its clients and nobody else; the other two choose another one."""
        return await self._partition(lambda leader, one, two: [(leader, one), (leader, two)])

    async def cut_follower_off(self) -> bool:
        """A broker that leads nothing that matters hears its clients and nobody else."""
        return await self._partition(lambda leader, one, two: [(leader, one), (one, two)])

    async def part_two(self) -> bool:
        """Two brokers do not hear each other, and the third hears both."""
        return await self._partition(lambda leader, one, two: [(leader, one)])

    async def deafen_follower(self) -> bool:
        """A follower does not hear its leader, which hears it."""
        return await self._partition(lambda leader, one, two: [(leader, one)], both_ways=False)

    async def _partition(
        self, cuts: Callable[[str, str, str], Sequence[tuple[str, str]]], both_ways: bool = True
    ) -> bool:
        """Part pairs of brokers, chosen by who leads some stream, for some seconds; true if they noticed."""
        network = self.arena.network
        stream = self.random.choice(STREAMS)
        leader = await self._leader(stream)
        one, two = self.random.sample([node.name for node in self.arena.nodes if node.name != leader], 2)
        ends = time.monotonic() + self.random.uniform(*PARTITION_SECONDS)
        try:
            for speaker, listener in cuts(leader, one, two):
                await (network.part(speaker, listener) if both_ways else network.deafen(listener, speaker))
            await until(lambda: self._has_lost(leader, stream, one), PARTITION_SECONDS[1], f"{leader} misses {one}")
            await asyncio.sleep(max(0.0, ends - time.monotonic()))
        finally:
            await network.join()
            await self.arena.healthy()
        return True

    async def _has_lost(self, leader: str, stream: str, follower: str) -> bool:
        """Whether a leader has not heard of a follower for longer than its heartbeats are apart, or leads no more."""
        with suppress(httpx.HTTPError):
            view = await node_of(self.arena, leader).view(stream)
            silent = [r["name"] for r in view.get("replicas") or () if r["active"] > SILENT_SECONDS * 1e9]
            return view.get("leader") != leader or follower in silent
        return False

    async def step_down(self) -> bool:
        """The leader of a stream hands over."""
        call = f"STREAM.LEADER.STEPDOWN.{self.random.choice(STREAMS)}"
        return await api.request(self.context.connection, call, strict=True) is not None

    async def step_down_consumer(self) -> bool:
        """The leader of a durable hands over."""
        consumer = self.random.choice(self.arena.needed.consumers)
        call = f"CONSUMER.LEADER.STEPDOWN.{consumer.stream}.{consumer.durable}"
        return await api.request(self.context.connection, call, strict=True) is not None

    async def delete_consumer(self) -> bool:
        """Somebody deletes a durable; a while later the topology is applied, and it begins anew."""
        consumer = self.random.choice(self.arena.needed.consumers)
        place = f"{consumer.stream}.{consumer.durable}"
        await self.figures.remember(self.context, consumer)
        await api.request(self.context.connection, f"CONSUMER.DELETE.{place}", strict=True)
        await asyncio.sleep(self.random.uniform(0.2, 2))
        await self.arena.provide(self.context)
        return True

    async def fill(self) -> bool:
        """A stream reaches its quota and takes nothing until somebody raises it; true if it was full indeed."""
        stream = self.random.choice(STREAMS)
        earlier = await self._info(stream)
        await asyncio.sleep(1.0)
        before = await self._info(stream)
        growth = before["state"]["bytes"] - earlier["state"]["bytes"]
        quota = before["state"]["bytes"] + ROOM_BYTES + int(ROOM_SECONDS * growth)
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
        first = after["state"]["first_seq"]
        assert first <= 1, f"{stream}: the quota deleted messages, now the first is {first}"
        return full

    async def _info(self, stream: str) -> Any:
        return await api.request(self.context.connection, f"STREAM.INFO.{stream}", strict=True)

    async def _limit(self, config: Mapping[str, Any], max_bytes: int) -> None:
        body = {**config, "max_bytes": max_bytes}
        await api.request(self.context.connection, f"STREAM.UPDATE.{config['name']}", body, strict=True)

    async def restore(self) -> bool:
        """A backup is taken, a while later the brokers lose everything, and it is restored, under whatever else
        strikes. Whoever had an order acknowledged that is not there any more places it again."""
        self._backups += 1
        folder = self.arena.state.folder / "backups" / str(self._backups)
        await Taking(self.context.connection, SERVICES, {}, folder, self.arena.tell).run()
        await asyncio.sleep(self.random.uniform(1, 3))
        await self.arena.empty()
        await self.arena.healthy()
        await until(lambda: not self.context.connection.trouble, 30, "the operator is connected")
        chosen = self.context.settings.model_copy(
            update={"replicas": len(self.arena.nodes), "ack_wait_seconds": float(ACK_WAIT_SECONDS)}
        )
        await self._restored(chosen, folder)
        await self._place_again()
        return True

    async def _restored(self, chosen: Settings, folder: Path) -> None:
        """As an operator would: what is interrupted by another fault is run again, and goes on from there."""
        ends = time.monotonic() + RESTORE_SECONDS
        while True:
            try:
                await Restoring(self.context.connection, SERVICES, chosen, folder, self.arena.tell).run(self._examine)
                return
            except (Unavailable, ApiError, Drift, BackupError) as interrupted:
                if time.monotonic() > ends:
                    raise
                self.arena.tell(f"the restore is run again: {interrupted}")
                await until(lambda: not self.context.connection.trouble, 30, "the operator is connected")

    async def _examine(self) -> list[str]:
        """What is wrong goes into the figures, and the mesh goes on: the run fails by it."""
        books = await collect(self.context, self.arena.state)
        self.figures.offences += AUDIT.of_restored(books)
        return []

    async def _place_again(self) -> None:
        """What was acknowledged and is neither in the intake nor recorded."""
        books = await collect(self.context, self.arena.state)
        known = {fact.body.get("order_id") for fact in books.intake if fact.type == PLACED}
        known |= {key for key, story in books.stories.items() if {PLACED, REFUSED} & story.keys()}
        for order_id in self.figures.orders.keys() - known:
            await self._publish(Message(OrderPlaced.type, self.figures.orders[order_id], {}))
            self.figures.placed_again += 1

    async def poison(self) -> bool:
        """Somebody publishes what nobody can understand."""
        subject = self.random.choice(("orders.placed", "stock.restocked"))
        await self._publish(Message(subject, self.random.choice(POISON), {}))
        self.figures.poisoned += 1
        return True

    async def deadly_poison(self) -> bool:
        """Somebody orders what kills the process of the service that handles it, each time; true once that has ended
        in a dead letter. That takes several deaths, so once is enough."""
        if self._deadly.locked() or self.struck["poison that kills"]:
            return False
        async with self._deadly:
            victim = self.random.choice(wrapped.MORTAL)
            order_id = f"{wrapped.DEADLY}{victim}-{self.random.randrange(1_000)}"
            order = self._good_order().model_copy(update={"order_id": order_id})
            body = order.model_dump_json().encode()
            await self._publish(Message("orders.placed", body, {}))
            self.figures.placed += 1
            self.figures.orders[order_id] = body
            await until(partial(self._is_buried, victim, order_id), DEADLY_SECONDS, f"{order_id} is a dead letter")
            return True

    def _good_order(self) -> OrderPlaced:
        """One that the intake does not refuse."""
        some = orders(self.random.randrange(1_000_000), 50)
        return next(order for order in some if isinstance(check(order, PRICES), OrderPlaced))

    async def _is_buried(self, service: str, order_id: str) -> bool:
        with suppress(Unavailable):
            letters = await self.context.direct_get.last(DEAD_LETTERS, [f"dead.{service}.>"])
            return any(order_id.encode() in letter.data for letter in letters)
        return False

    async def _publish(self, message: Message) -> None:
        async def stored() -> bool:
            with suppress(Unavailable):
                return await self.context.publisher.record(message) > 0
            return False

        await until(stored, 30, f"{message.subject} is stored")

    async def bank_outage(self) -> bool:
        """The bank is closed for some seconds."""
        path = Stores(self.arena.state.folder).bank
        await asyncio.to_thread(begin_outage, path)
        await asyncio.sleep(self.random.uniform(2, 6))
        await asyncio.to_thread(end_outage, path)
        return True

    async def mail_down(self) -> bool:
        """The mail server is killed, or hangs for some seconds."""
        if self.random.random() < 0.5:
            return self.arena.signal("mail", signal.SIGKILL) > 0
        return await self._suspend("mail", self.random.uniform(2, 6))
