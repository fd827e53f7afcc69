"""The two meshes of a benchmark as processes: the reference mesh on jetmesh, and the same flow on FastStream."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import nats
from nats.js.api import KeyValueConfig, StorageType, StreamConfig

from benchmarks import servers, workload
from benchmarks.faststream_mesh import places
from benchmarks.processes import Processes, cpu_seconds
from jetmesh import settings
from jetmesh.common.ports import HOST, free_port
from jetmesh.jetstream.api import request
from jetmesh.jetstream.message import Message
from jetmesh.local.backing import AFTERWARDS
from jetmesh.operate.load import publish_all
from jetmesh.operate.progress import Progress, gauge, progress
from jetmesh.runtime.context import Context, connect
from jetmesh.telemetry import providers
from jetmesh.testing import Broker
from jetmesh.testing.jaeger import Jaeger
from jetmesh.topology import provision
from jetmesh.topology.streams import Consumer, ConsumerKind, consumers_of, topology
from jetmesh_contracts import OrderPlaced, StockRestocked
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.service import orders
from jetmesh_shop.reference.backing import niceness

NAMES = tuple(service.name for service in SERVICES if service.name != "delivery")
"""What the published figures are of: an order is promised and paid without a courier."""
TOGETHER = "together"
"""The name of a process that runs all of `NAMES`."""
MEASURED = (*NAMES, TOGETHER)
WITHOUT_MAIL = tuple(name for name in NAMES if name != "notifications")
PEER_ENDINGS = tuple(event.type for event in orders.endings)
ENDINGS = tuple(f"{ending}.*" for ending in PEER_ENDINGS)
PEER_WAITED_FOR = ("orders", "payments", "inventory")
"""What comes to the peer's analytics as a pull of it ends stays with it until the broker sends it again, after 30 s."""
SECONDS_MAX = 240.0
POLL_SECONDS = 0.05
FINE_POLL_SECONDS = 0.005


class Late(TimeoutError):
    """Something did not happen in time; the text says what."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of so many orders: seconds from the first publish, CPU seconds and memory by service."""

    orders: int
    ended_seconds: float
    drained_seconds: float
    cpu_seconds: dict[str, float]
    memory_bytes: dict[str, int]
    broker_cpu_seconds: float

    @property
    def cpu_micros_per_order(self) -> float:
        """All services together."""
        return sum(self.cpu_seconds.values()) / self.orders * 1e6

    @property
    def broker_cpu_micros_per_order(self) -> float:
        """The broker's."""
        return self.broker_cpu_seconds / self.orders * 1e6


@dataclass(frozen=True, slots=True)
class Running:
    """A mesh at work, and what the harness needs to drive and watch it."""

    client: Context
    processes: Processes
    consumers: Sequence[Consumer]
    endings: Sequence[str]
    broker: Broker
    skus: Sequence[str]
    monitor_url: str = ""
    jaeger_url: str = ""
    jaeger_pid: int = 0

    def only(self, *services: str) -> "Running":
        """The same mesh, of which only these services are waited for."""
        return replace(self, consumers=self._of(services))

    async def pulled(self, *services: str, times: int = 1) -> None:
        """Until each durable of these services (all, if none is named) is pulled, by so many replicas. One of deadlines
        may have all that it takes in hand, and nothing to do.

        Raises:
            Late: not in time, with the end of the log of what has ended.
        """
        deadline = time.monotonic() + SECONDS_MAX
        for consumer in self._at_once(services):
            while await self._pulls(consumer) < times:
                self._fail_if_ended()
                _in_time(deadline, f"{consumer.stream}/{consumer.durable} is not pulled")
                await asyncio.sleep(FINE_POLL_SECONDS)

    async def drained(self, *services: str) -> None:
        """Until nothing waits for these services (all, if none is named), and nothing under way has caused more.

        Raises:
            Late: nothing has come further for a while.
        """
        consumers = self._at_once(services)
        deadline, before = time.monotonic() + SECONDS_MAX, Progress(1, ())
        while (now := await progress(self.client.connection, consumers)) != before or now.waiting:
            if now.delivered != before.delivered:
                deadline = time.monotonic() + SECONDS_MAX
            before = now
            self._fail_if_ended()
            _in_time(deadline, f"{now.waiting} deliveries still wait")
            await asyncio.sleep(POLL_SECONDS)

    async def waiting(self, *services: str) -> int:
        """How many deliveries wait for these services (all, if none is named), or are in their hands."""
        return (await progress(self.client.connection, self._at_once(services))).waiting

    async def take(self, orders: Sequence[OrderPlaced]) -> Drained:
        """Publish all orders as fast as the broker takes them, and wait for all that follows.

        Raises:
            Late: not in time.
        """
        before, broker_before = self.processes.cpu_seconds(), cpu_seconds(self.broker.pid)
        async with gauge(self.client.connection, "ORDERS", self.endings) as ended:
            began = time.perf_counter()
            await publish_all(self.client, orders)
            await until(ended.count, len(orders), "orders have ended")
            ended_seconds = time.perf_counter() - began
        await self.drained()
        drained_seconds = time.perf_counter() - began
        used = {name: after - before[name] for name, after in self.processes.cpu_seconds().items()}
        return Drained(
            orders=len(orders),
            ended_seconds=ended_seconds,
            drained_seconds=drained_seconds,
            cpu_seconds={name: seconds for name, seconds in used.items() if name in MEASURED},
            memory_bytes={name: size for name, size in self.processes.memory_bytes().items() if name in MEASURED},
            broker_cpu_seconds=cpu_seconds(self.broker.pid) - broker_before,
        )

    def _at_once(self, services: Sequence[str]) -> list[Consumer]:
        """Those that handle at once what they are sent."""
        return [consumer for consumer in self._of(services) if consumer.kind is ConsumerKind.WORK]

    def _of(self, services: Sequence[str]) -> list[Consumer]:
        return [consumer for consumer in self.consumers if not services or consumer.service in services]

    async def _pulls(self, consumer: Consumer) -> int:
        info = await request(self.client.connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
        return int(info["num_waiting"]) if info else 0

    def _fail_if_ended(self) -> None:
        if ended := self.processes.ended():
            raise Late(f"{ended[0]} has ended:\n{self.processes.log(ended[0])[-2_000:]}")


async def until(
    count: Callable[[], Awaitable[int]], wanted: int, what: str, *, seconds_max: float = SECONDS_MAX
) -> None:
    """Until the count is there.

    Raises:
        Late: not in time.
    """
    deadline = time.monotonic() + seconds_max
    while (found := await count()) < wanted:
        _in_time(deadline, f"{found} of {wanted} {what}")
        await asyncio.sleep(POLL_SECONDS)


def _in_time(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise Late(f"{what} after {SECONDS_MAX:g} s")


@asynccontextmanager
async def jetmesh(
    endpoint: str, *, skus: Sequence[str], names: Sequence[str] = NAMES, sync: str = servers.ALWAYS
) -> AsyncIterator[Running]:
    """The reference mesh with an empty store: topology applied, nothing started but the mail sink; `names` are those
    services whose durables count."""
    port = free_port()
    with (
        servers.broker(sync, port) as broker,
        tempfile.TemporaryDirectory(prefix="benchmark-mesh-") as folder,
        Processes(Path(folder), _environment(broker.url, Path(folder), endpoint, skus)) as processes,
    ):
        async with connected(broker.url) as client:
            chosen = [service for service in SERVICES if service.name in names]
            await provision.apply(client.connection, await provision.plan(client.connection, topology(SERVICES)))
            consumers = [consumer for service in chosen for consumer in consumers_of(service, SERVICES)]
            yield Running(client, processes, consumers, ENDINGS, broker, skus, f"http://{HOST}:{port}")
            processes.stop(*processes)


@asynccontextmanager
async def started(
    endpoint: str,
    *,
    skus: Sequence[str],
    names: Sequence[str] = NAMES,
    stock: Iterable[StockRestocked] | None = None,
) -> AsyncIterator[Running]:
    """The same, with the services running and the shelves filled."""
    async with jetmesh(endpoint, skus=skus, names=names) as running:
        start(running, *names)
        await running.pulled()
        await fill_shelves(running, workload.restocks(skus) if stock is None else stock)
        yield running


@asynccontextmanager
async def ours() -> AsyncIterator[Running]:
    """The reference mesh at work, with a Jaeger of its own."""
    skus = workload.articles()
    with Jaeger() as jaeger:
        async with started(jaeger.otlp_http, skus=skus) as running:
            yield replace(running, jaeger_url=jaeger.url, jaeger_pid=jaeger.pid)


@asynccontextmanager
async def theirs() -> AsyncIterator[Running]:
    """The same flow on FastStream at work, with a Jaeger of its own."""
    with Jaeger() as jaeger:
        async with faststream(jaeger.otlp_http, workload.articles()) as running:
            yield replace(running, jaeger_url=jaeger.url)


async def whole(running: Running) -> None:
    """Until each service has a process of its own, whoever stopped some, and nothing waits."""
    start(running, *(name for name in NAMES if name not in running.processes))
    await running.pulled()
    await running.drained()


def start(running: Running, *names: str) -> None:
    """A process for each service, ranked as by the demo; the mail sink with notifications."""
    for name in names:
        if name == "notifications":
            _start_mail_sink(running.processes)
        running.processes.start(name, "jetmesh", "run", name, niceness=niceness(name))


def start_together(running: Running) -> None:
    """One process for all services, and the mail sink."""
    _start_mail_sink(running.processes)
    running.processes.start(TOGETHER, "jetmesh", "run", *NAMES)


async def fill_shelves(running: Running, deliveries: Iterable[StockRestocked]) -> None:
    """From outside, as everything."""
    async with asyncio.TaskGroup() as publishing:
        for delivery in deliveries:
            message = Message(delivery.type, delivery.model_dump_json().encode(), {})
            publishing.create_task(running.client.publisher.record(message))
    await running.drained("inventory")


@asynccontextmanager
async def faststream(endpoint: str, skus: Sequence[str]) -> AsyncIterator[Running]:
    """The flow on FastStream, on the same broker: streams, buckets, services, filled shelves."""
    with (
        servers.broker(servers.ALWAYS) as broker,
        tempfile.TemporaryDirectory(prefix="benchmark-faststream-") as folder,
        Processes(Path(folder), _environment(broker.url, Path(folder), endpoint, skus)) as processes,
    ):
        async with connected(broker.url) as client:
            await _make_streams(broker.url, skus)
            for name in WITHOUT_MAIL:
                processes.start(name, "benchmarks.faststream_mesh", name, niceness=niceness(name))
            consumers = [
                Consumer(stream, durable, durable.partition("-")[0], ()) for stream, durable in places.DURABLES
            ]
            running = Running(client, processes, consumers, PEER_ENDINGS, broker, skus)
            await running.pulled()
            yield running.only(*PEER_WAITED_FOR)
            processes.stop(*processes)


def connected(url: str) -> AbstractAsyncContextManager[Context]:
    """The harness's own connection, which traces nothing."""
    return connect(settings.read(settings.Settings, {"NATS_URL": url}), providers.start("benchmark", {}), "benchmark")


async def _make_streams(url: str, skus: Sequence[str]) -> None:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    for name, subjects in places.STREAMS.items():
        stream = StreamConfig(name=name, subjects=subjects, storage=StorageType.FILE, allow_direct=True)
        await jetstream.add_stream(stream)
    buckets = {
        name: await jetstream.create_key_value(KeyValueConfig(bucket=name, storage=StorageType.FILE, direct=True))
        for name in places.BUCKETS
    }
    for sku in skus:
        await buckets["stock"].put(sku, str(workload.PIECES).encode())
    await buckets["stock"].put(workload.SOLD_OUT, b"0")
    await client.close()


def _environment(url: str, folder: Path, endpoint: str, skus: Sequence[str]) -> dict[str, str]:
    """What every service of either mesh is told."""
    workload.write_catalogue(folder / "catalogue.json", skus)
    return {
        "NATS_URL": url,
        "JETMESH_APP": "jetmesh_shop.flow:SERVICES",
        "JETMESH_STATE": str(folder),
        "JETMESH_CATALOGUE": str(folder / "catalogue.json"),
        "JETMESH_SMTP_URL": f"smtp://{HOST}:{free_port()}",
        "JETMESH_LOG_LEVEL": "WARNING",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
    }


def _start_mail_sink(processes: Processes) -> None:
    """On the port that notifications was told; it tries again until somebody listens there."""
    told = processes.environment
    path, port = Path(told["JETMESH_STATE"], "mail.sqlite"), told["JETMESH_SMTP_URL"].rpartition(":")[2]
    sink = ("jetmesh_shop.reference.mailsink", "--path", str(path), "--port", port)
    processes.start("mail", *sink, niceness=AFTERWARDS)
