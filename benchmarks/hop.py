"""One process, one hop: what a message costs on jetmesh and on its peers, in alternating rounds of one run.

A traced contender has done its work when all its spans are exported, and not before. The CPU is the contender's own.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache

import nats.js.errors

from benchmarks import bulk, servers
from benchmarks.contenders.jetmesh_hop import SERVICES, payments
from benchmarks.contenders.model import DURABLE, SOURCE
from benchmarks.figures import Figure, Row, median, spread
from benchmarks.progress import Step
from benchmarks.receiver import Receiver
from jetmesh.cloudevents import cloud_event
from jetmesh.jetstream.connection import Connection
from jetmesh.jetstream.headers import encode_headers
from jetmesh.testing.jaeger import Jaeger
from jetmesh.topology import provision
from jetmesh.topology.streams import topology
from jetmesh_contracts import Customer, Line, OrderPlaced

PART = "hop"
Headers = dict[str, str]
ROUND_SECONDS_MAX = 90.0
POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who takes the hop: a module of `benchmarks.contenders`, or a program of its own, traced or not, over so
    many messages."""

    module: str
    name: str
    traced: bool
    messages: int
    headers: Callable[[int, str], Headers]
    python: str = sys.executable
    program: str = ""
    """Its path, if it is not run by Python."""

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [self.program] if self.program else [self.python, "-m", "benchmarks.contenders", self.module]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hop happens: the broker, and who takes spans and metrics."""

    broker_url: str
    traces_url: str
    metrics_url: str


def contenders(messages: int) -> list[Contender]:
    """Everybody who can run here, untraced first. Whoever is slower gets fewer messages, so that each works for about
    a second: in it it connects, too."""
    found = []
    for traced, by_hand, faststream in ((False, messages // 2, messages // 4), (True, messages // 4, messages // 8)):
        found += [
            Contender("jetmesh", "jetmesh", traced, messages, mesh_headers),
            Contender("nats_py", "nats-py by hand", traced, by_hand, peer_headers),
            Contender("faststream", "FastStream", traced, faststream, peer_headers),
        ]
    return found


async def run(messages: int, rounds: int, step: Step) -> list[Row]:
    """All contenders that this Python runs."""
    return await compete(contenders(messages), rounds, step)


async def compete(
    everybody: Sequence[Contender], rounds: int, step: Step, part: str = PART, where: str = ""
) -> list[Row]:
    """All of them on a broker with its own default, then, untraced and in fewer rounds, on one that always syncs.
    `where` is added to what a row says."""
    untraced = [contender for contender in everybody if not contender.traced]
    rows = await _rows(everybody, rounds, servers.DEFAULT_SYNC, step)
    rows += await _rows(untraced, max(1, rounds // 2), servers.ALWAYS, step)
    return [replace(row, part=part, what=f"{row.what}{where}") for row in rows]


async def _rows(competing: Sequence[Contender], rounds: int, sync: str, step: Step) -> list[Row]:
    figures: dict[Contender, list[Figure]] = {contender: [] for contender in competing}
    with servers.broker(sync) as broker, Jaeger() as jaeger, Receiver() as receiver:
        place = Place(broker.url, jaeger.otlp_http, f"{receiver.url}/v1/metrics")
        for number in range(rounds):
            with ExitStack() as stack:
                processes = [stack.enter_context(started(place, contender)) for contender in competing]
                for process in processes:
                    ready(process)
                for contender, process in zip(competing, processes, strict=True):
                    traced = "traced" if contender.traced else "untraced"
                    step(f"{contender.name}, {traced}, sync_interval {sync}, round {number + 1} of {rounds}")
                    figures[contender].append(await _measured(process, place, contender))
    return [_row(contender, figures, sync) for contender in competing]


def _row(contender: Contender, figures: Mapping[Contender, Sequence[Figure]], sync: str) -> Row:
    """A contender beside ours, which is traced or not as it is."""
    ours = next(
        median(found) for other, found in figures.items() if _is_ours(other) and other.traced == contender.traced
    )
    figure = median(figures[contender])
    rates = [each.messages_per_second for each in figures[contender]]
    return Row(
        part=PART,
        what=f"one hop, {'traced' if contender.traced else 'untraced'}, sync_interval {sync}",
        who=contender.name,
        value=figure.messages_per_second,
        unit="/s",
        ratio=None if _is_ours(contender) else ours.messages_per_second / figure.messages_per_second,
        spread=spread(rates),
        cpu_micros=figure.cpu_micros_per_message,
        memory_bytes=figure.memory_bytes,
    )


def _is_ours(contender: Contender) -> bool:
    return contender.module == "jetmesh"


def placed(number: int) -> OrderPlaced:
    """One order of two lines."""
    return OrderPlaced(
        order_id=f"o-{number}",
        customer=Customer(customer_id=f"c-{number % 100}", email=f"c-{number % 100}@example.com"),
        lines=(
            Line(sku="pizza-margherita", quantity=2, unit_price_minor=1_150),
            Line(sku="cola", quantity=1, unit_price_minor=290),
        ),
        currency="EUR",
        payment_method="pm_card_visa",
    )


def traceparent(number: int) -> Headers:
    """The context that each order comes with."""
    return {"traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01"}


def mesh_headers(number: int, key: str) -> Headers:
    """As the mesh records an order: a CloudEvent in binary mode."""
    return cloud_event(
        OrderPlaced, key, event_id=f"m{number}", correlation_id=key, causation_id="", trace=traceparent(number)
    )


def peer_headers(number: int, _: str) -> Headers:
    """As a peer publishes it: an id, the type of the body, the context."""
    return {"Nats-Msg-Id": f"m{number}", "content-type": "application/json", **traceparent(number)}


async def run_once(place: Place, contender: Contender) -> Figure:
    """One contender by itself."""
    with started(place, contender) as process:
        ready(process)
        return await _measured(process, place, contender)


@contextmanager
def started(place: Place, contender: Contender) -> Iterator["subprocess.Popen[str]"]:
    """The contender's process, which loads what it needs and waits; it is killed in the end."""
    with start(place, contender) as process:
        try:
            yield process
        finally:
            process.kill()


async def _measured(process: "subprocess.Popen[str]", place: Place, contender: Contender) -> Figure:
    """Fill the stream, let the contender work through it, and see that each message has its outcome: what it used."""
    assert process.stdout
    await prepare(place.broker_url, contender)
    began = time.perf_counter()
    tell(process, "go")
    await until_done(place.broker_url, contender.messages)
    handled = time.perf_counter() - began
    tell(process, "stop")
    used = json.loads(process.stdout.readline())
    exported = time.perf_counter() - began
    seconds = exported if contender.traced else handled
    return Figure(
        messages_per_second=contender.messages / seconds,
        cpu_micros_per_message=used["cpu_seconds"] / contender.messages * 1e6,
        memory_bytes=used["rss_bytes"],
    )


def ready(process: "subprocess.Popen[str]") -> None:
    """It has loaded what it needs."""
    assert process.stdout
    process.stdout.readline()


def tell(process: "subprocess.Popen[str]", word: str) -> None:
    """One line to the contender."""
    assert process.stdin
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def start(place: Place, contender: Contender) -> "subprocess.Popen[str]":
    """The contender's process, waiting for the start signal."""
    return subprocess.Popen(
        contender.command,
        env={**os.environ, **environment(place, contender)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def environment(place: Place, contender: Contender) -> dict[str, str]:
    """What a contender is told. jetmesh keeps its metrics in either case."""
    return {
        "NATS_URL": place.broker_url,
        "BENCHMARK_TRACED": str(int(contender.traced)),
        "OTEL_EXPORTER_OTLP_ENDPOINT": place.traces_url,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": place.metrics_url,
        "OTEL_TRACES_EXPORTER": "otlp" if contender.traced else "none",
    }


async def prepare(url: str, contender: Contender) -> None:
    """Streams and the durable as the mesh has them, empty; then the orders."""
    connection = Connection()
    await connection.open(url, "benchmark")
    client = await nats.connect(url)
    jetstream = client.jetstream()
    wanted = topology(SERVICES)
    for stream in wanted.streams:
        try:
            await jetstream.delete_stream(stream.name)
        except nats.js.errors.NotFoundError:
            continue
    await provision.apply(connection, await provision.plan(connection, wanted))
    await bulk.publish(url, PART, filling(contender))
    await connection.close()
    await client.close()


@cache
def filling(contender: Contender) -> Sequence[bytes]:
    """The orders, as they are published before each of its rounds."""
    orders = (placed(number) for number in range(contender.messages))
    frames = (
        bulk.Frame(
            f"orders.placed.{order.key}",
            encode_headers(contender.headers(number, order.key)),
            order.model_dump_json().encode(),
        )
        for number, order in enumerate(orders)
    )
    return list(bulk.chunks(PART, frames))


async def until_done(url: str, messages: int) -> None:
    """Until every order has its outcome and every delivery is acknowledged.

    Raises:
        TimeoutError: not in time.
        RuntimeError: fewer outcomes than orders.
    """
    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    async with asyncio.timeout(ROUND_SECONDS_MAX):
        while True:
            consumer = await jetstream.consumer_info(SOURCE, DURABLE)
            if consumer.num_pending == 0 and consumer.num_ack_pending == 0:
                break
            await asyncio.sleep(POLL_SECONDS)
    outcomes = (await jetstream.stream_info(payments.stream)).state.messages
    await connection.close()
    if outcomes < messages:
        raise RuntimeError(f"{outcomes} outcomes of {messages} orders")
