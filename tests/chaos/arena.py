"""The mesh under fire: every part a process under supervision, every service behind lines that can be cut."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from jetmesh import app as apps
from jetmesh.commands.target import connected_with
from jetmesh.common.ports import free_ports
from jetmesh.common.terminal import Say
from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.local.ports import chosen
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import Spec, StartFailed, Supervisor
from jetmesh.runtime.context import Context
from jetmesh.testing import Proxy, until
from jetmesh.topology import provision
from jetmesh.topology.provision import Drift
from jetmesh.topology.starting import Starts
from jetmesh.topology.streams import Topology, topology
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import stock
from jetmesh_shop.reference.backing import APP, BACKING, mail_sink, shop
from tests.chaos import brokers, disks, neighbour, second_app, wrapped
from tests.chaos.brokers import Node
from tests.chaos.disks import Disk
from tests.chaos.neighbour import Neighbour
from tests.chaos.network import Network

ACK_WAIT_SECONDS = 3
DELAY_SECONDS, MISSED_SECONDS = 10.0, 5.0
"""So soon an order that waits for a courier is delayed, and a courier is missed who says nothing."""
NAMES = tuple(service.name for service in SERVICES)
START_SECONDS = 60.0
PAUSE_SECONDS_MAX = 1.0
"""A process that dies again and again is started again at once: here that is its task."""
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

DISK_FULL = "disk full"
"""The kind of fault for which the brokers get small disks: they are in memory, and so faster than real ones."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a run is asked to do; no `only`: every kind of fault. An order that has not ended after the `deadline`
    is cancelled, and so drains."""

    seed: int = 1
    orders: int = 2_000
    seconds: float = 60.0
    deadline: float = 40.0
    nodes: int = 1
    bug: str = ""
    only: Sequence[str] = ()
    two_apps: bool = False
    """Whether another team's app is on the broker, too."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The connections of one service: one relay to each broker."""

    proxies: Sequence[Proxy]

    @property
    def url(self) -> str:
        """What `NATS_URL` is for the service."""
        return ",".join(proxy.url for proxy in self.proxies)

    def cut(self) -> None:
        """Break what is open."""
        for proxy in self.proxies:
            proxy.cut()

    def swallow_answers(self) -> None:
        """Half-open: what the service says arrives, what it is told does not."""
        for proxy in self.proxies:
            proxy.swallow_answers()

    def delay(self, seconds: float) -> None:
        """Let every piece take so long, both ways."""
        for proxy in self.proxies:
            proxy.delay_seconds = seconds

    def let_pass(self) -> None:
        """As if nothing had been."""
        for proxy in self.proxies:
            proxy.delay_seconds = 0.0
            proxy.let_pass()


class Arena:
    """Everything that runs, by name."""

    def __init__(self, state: StateFolder, asked: Wishes, tell: Say, network: Network) -> None:
        self.state, self.network, self._asked, self.tell = state, network, asked, tell
        self.nodes = brokers.nodes(network, asked.nodes)
        self.ports = chosen(BACKING.ports, {}, free=True, own_broker=True)
        self.plan = shop(state, self.ports, ",".join(node.url for node in self.nodes))
        owner = apps.load(APP).name if asked.two_apps else ""
        self.needed: Topology = topology(SERVICES, asked.nodes, ACK_WAIT_SECONDS, app=owner)
        self.neighbour = Neighbour(self, asked.nodes, ACK_WAIT_SECONDS) if asked.two_apps else None
        self.disks = {node.name: Disk(brokers.store(state, node)) for node in self.nodes} if self.has_disks else {}
        self.machines: dict[str, Supervisor] = {}
        self.lines: dict[str, Lines] = {}

    @property
    def has_disks(self) -> bool:
        """Whether each broker has a small disk of its own, which can be filled."""
        return DISK_FULL in self._asked.only and not disks.why_not()

    @property
    def everything(self) -> Sequence[Topology]:
        """What every app on the brokers needs."""
        return [self.needed, *([self.neighbour.needed] if self.neighbour else [])]

    @property
    def is_cluster(self) -> bool:
        """Whether there is more than one broker."""
        return len(self.nodes) > 1

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Context]:
        """Everything up and the shelves filled, with an operator's connection; everything gone afterwards."""
        async with AsyncExitStack() as stack:
            for disk in self.disks.values():
                stack.callback(disk.unmount)
                disk.mount()
            stack.push_async_callback(self.stop)
            await self._start([brokers.spec(self.state, node, self.nodes, self.network) for node in self.nodes])
            operator = await stack.enter_async_context(connected_with(self.plan.nats_args("operator")))
            await self._provide_at_last(operator)
            for name in (*NAMES, neighbour.NAME):
                proxies = [Proxy(node.port, node.host) for node in self.nodes]
                self.lines[name] = Lines([await stack.enter_async_context(proxy) for proxy in proxies])
            stack.push_async_callback(self._stop_services)
            await self._start([mail_sink(self.state, self.ports), *(self.service(name) for name in NAMES)])
            await stock.seed(operator)
            if self.neighbour:
                await self.neighbour.become(second_app.OLDER, operator)
            yield operator

    async def _stop_services(self) -> None:
        """While they still have their lines."""
        await self.stop([name for name in self.machines if name not in brokers.names(len(self.nodes))])

    async def stop(self, names: Sequence[str] = ()) -> None:
        """End these processes, or all: services first, brokers last."""
        chosen = [self.machines.pop(name) for name in names or reversed(list(self.machines))]
        of_brokers = {node.name for node in self.nodes}
        for machines in ([m for m in chosen if m.name not in of_brokers], [m for m in chosen if m.name in of_brokers]):
            await asyncio.gather(*(machine.stop() for machine in machines))

    async def provide(self, context: Context, *, older: bool = False) -> None:
        """Make the streams and durables that are missing or differ, as a version declares them."""
        wanted = wrapped.older_topology(self.needed) if older else self.needed
        steps = await provision.plan(context.connection, wanted, starts=Starts(unsaid="beginning"))
        await provision.apply(context.connection, steps)

    def service(self, name: str) -> Spec:
        """A service in the wrapper that may kill it, on its own lines."""
        spec = self.plan.service(name)
        traps = self.traps(name)
        traps.mkdir(parents=True, exist_ok=True)
        own = {
            "NATS_URL": self.lines[name].url,
            "JETMESH_ACK_WAIT_SECONDS": str(ACK_WAIT_SECONDS),
            "JETMESH_REPLICAS": str(len(self.nodes)),
            "JETMESH_AFTER_ORDERS_TIME_OUT_SECONDS": str(self._asked.deadline),
            "JETMESH_AFTER_DELIVERY_DELAY_SECONDS": str(DELAY_SECONDS),
            "JETMESH_AFTER_DELIVERY_WATCH_SECONDS": str(MISSED_SECONDS),
            wrapped.TRAPS: str(traps),
            wrapped.BUG: self._asked.bug,
            **QUIET,
        }
        command = (sys.executable, "-m", "tests.chaos.wrapped", "run", name)
        return replace(
            spec,
            command=command,
            environment={**spec.environment, **own},
            niceness=0,
            pause_seconds_max=PAUSE_SECONDS_MAX,
        )

    def replica(self, name: str, **more: str) -> Spec:
        """A second process of a service, on ports of its own."""
        first = self.service(name)
        health, http = free_ports(2)
        own = {"JETMESH_HEALTH_PORT": str(health), "JETMESH_HTTP_PORT": str(http), **more}
        ready = partial(brokers.answers, health, "readyz")
        return replace(first, name=f"{name}-2", environment={**first.environment, **own}, ready=ready)

    async def add(self, spec: Spec) -> None:
        """One more process; that it is killed while it starts is no failure here."""
        with suppress(StartFailed):
            await self._start([spec])

    async def bring_back(self, name: str) -> None:
        """Start a service that was stopped, and see that it stays."""
        while True:
            try:
                return await self._start([self.service(name)])
            except StartFailed:
                await self.stop([name])

    async def empty(self) -> None:
        """Every broker loses its store, and starts again with nothing."""
        names = [node.name for node in self.nodes]
        await self.stop(names)
        for node in self.nodes:
            await asyncio.to_thread(shutil.rmtree, self.state.broker / node.name)
        await self._start([brokers.spec(self.state, node, self.nodes, self.network) for node in self.nodes])

    def traps(self, name: str) -> Path:
        """The folder of the traps of a service."""
        return self.state.folder / "traps" / name

    def reload(self, without: str = "") -> None:
        """Have the brokers read their configuration again; of one user they know another key then."""
        for node in self.nodes:
            written = brokers.configuration(self.state, node, self.nodes, without)
            brokers.configuration_file(self.state, node).write_text(written)
            self.signal(node.name, signal.SIGHUP)

    def signal(self, name: str, number: signal.Signals, pid: int = 0) -> int:
        """Send a signal to the process of this name, if it is still `pid`; its pid, or 0 where there is none."""
        now = self.machines[name].pid if name in self.machines else 0
        if now == 0 or pid not in (0, now):
            return 0
        try:
            os.kill(now, number)
        except ProcessLookupError:  # it has just died, and nobody has noticed yet
            return 0
        return now

    async def healthy(self) -> None:
        """Return once every broker is back."""
        for node in self.nodes:
            await until(node.is_healthy, START_SECONDS, f"{node.name} is healthy")

    async def heal(self, context: Context) -> None:
        """Everything that runs runs freely, and the topology is whole."""
        for name in self.machines:
            self.signal(name, signal.SIGCONT)
        for lines in self.lines.values():
            lines.let_pass()
        for name in NAMES:
            for trap in self.traps(name).iterdir():
                trap.unlink(missing_ok=True)
        await self.network.join()
        self.reload()
        await self.healthy()
        await self._provide_at_last(context)
        if self.neighbour:
            await self.neighbour.become(second_app.NEWER, context)

    async def _provide_at_last(self, context: Context) -> None:
        """Once the brokers have found each other."""

        async def provided() -> bool:
            with suppress(Unavailable, ApiError, Drift):
                await self.provide(context)
                return True
            return False

        await until(provided, START_SECONDS, "the topology is applied")

    async def _start(self, specs: Sequence[Spec]) -> None:
        machines = [Supervisor(spec, self.state, self.tell) for spec in specs]
        self.machines |= {machine.name: machine for machine in machines}
        await asyncio.gather(*(machine.start() for machine in machines))


def node_of(arena: Arena, name: str) -> Node:
    """The broker of this name."""
    return next(node for node in arena.nodes if node.name == name)
