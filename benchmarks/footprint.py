"""What one order takes: messages, disk, network, processor, spans; and what the broker holds for each subject."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks import bulk, mesh, meshes, servers, workload
from benchmarks.figures import Row
from benchmarks.meshes import Running
from benchmarks.processes import memory_bytes, memory_bytes_max
from benchmarks.progress import Step
from benchmarks.scene import Shared
from jetmesh.jetstream import stream_reader, subject
from jetmesh.jetstream.api import request
from jetmesh.jetstream.message import Guard, Message
from jetmesh.runtime.context import Context
from jetmesh.telemetry.otlp import parse_traceparent
from jetmesh.topology.streams import topology
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES

PART = "footprint"
KEYS = 200_000
MARKERS = 600_000
TRACES_LOOKED_AT = 100
EVENT_BYTES = 400
MARKER = b'{"keys.confirmed":[1234567,"2026-11-29T12:00:00Z"]}'
REST_SECONDS = 200.0


SPLITTABLE = [
    service.stream
    for service in SERVICES
    if service.records and not any(reaction.form.is_joint for reaction in service.reactions)
]
"""Streams that are written event by event, and so can be split."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a stream keeps."""

    messages: int = 0
    bytes: int = 0
    subjects: int = 0

    def __add__(self, other: "Kept") -> "Kept":
        return Kept(self.messages + other.messages, self.bytes + other.bytes, self.subjects + other.subjects)

    def __sub__(self, other: "Kept") -> "Kept":
        return Kept(self.messages - other.messages, self.bytes - other.bytes, self.subjects - other.subjects)


def part(count: int) -> Shared:
    """A mesh that takes so many orders, a stream that keeps many keys, and one of markers that nobody asks for."""
    markers = Markers()

    async def ours(running: Running, step: Step) -> list[Row]:
        step(f"what {count:,} orders take")
        orders = list(workload.orders(PART, count, running.skus))
        rows = await _of_orders(running, orders)
        rows.append(_row("spans of an order", await _spans(running, orders), ""))
        step(f"what {KEYS:,} subjects take")
        rows.append(_row("broker: memory of a subject", await _memory_of_a_subject(), "B"))
        step(f"what {MARKERS:,} markers take, at rest")
        return [*rows, *await markers.rows()]

    return Shared(ours, beforehand=markers.fill)


class Markers:
    """What stays of archived orders, in a broker of its own. It lets go of the index of a block that nobody asks for
    two minutes: other parts are measured meanwhile."""

    async def fill(self, stack: AsyncExitStack, step: Step) -> None:
        """Store them; from now on nobody asks for them."""
        step(f"storing {MARKERS:,} markers")
        self._broker = stack.enter_context(servers.broker(servers.DEFAULT_SYNC))
        async with meshes.connected(self._broker.url) as client:
            self._before = memory_bytes(self._broker.pid)
            await _fill(client, self._broker.url, subject.MARKER, MARKER, MARKERS)
            self._bytes = (await request(client.connection, "STREAM.INFO.KEYS", strict=True))["state"]["bytes"]
        self._began = time.monotonic()

    async def rows(self) -> list[Row]:
        """Once they have been at rest for long enough."""
        await asyncio.sleep(max(0.0, self._began + REST_SECONDS - time.monotonic()))
        at_rest = memory_bytes(self._broker.pid) - self._before
        return [
            _row("broker: memory of a marker, at rest", at_rest / MARKERS, "B"),
            _row("disk of a marker, one copy", self._bytes / MARKERS, "B"),
        ]


async def _of_orders(running: Running, orders: Sequence[OrderPlaced]) -> list[Row]:
    kept, carried = await _kept(running), await _carried(running)
    drained = await running.take(orders)
    carried = await _carried(running) - carried
    grown = {name: after - kept[name] for name, after in (await _kept(running)).items()}
    whole, share = sum(grown.values(), Kept()), 1 / len(orders)
    busiest = max(SPLITTABLE, key=lambda name: grown[name].messages)
    each = share * grown[busiest].messages
    return [
        _row("messages kept of an order", share * whole.messages, ""),
        _row(f"messages kept of an order in {busiest}, the busiest that can be split", each, ""),
        _row("subjects kept of an order", share * whole.subjects, ""),
        _row("disk of an order, one copy", share * whole.bytes, "B"),
        _row("network of an order, to and from the broker", share * carried, "B"),
        _row("CPU of an order, five services", drained.cpu_micros_per_order, "µs"),
        _row("CPU of an order, the broker", drained.broker_cpu_micros_per_order, "µs"),
        _row("markers that stay of an order once it is archived", share * await _owners(running, orders), ""),
    ]


async def _owners(running: Running, orders: Sequence[OrderPlaced]) -> int:
    """How many services have recorded something about the orders, each counted for each order."""
    keys = {order.key for order in orders}
    streams = [service.stream for service in SERVICES if service.records]
    return sum(
        [
            len({message.key for message in await stream_reader.read(running.client.connection, stream)} & keys)
            for stream in streams
        ]
    )


def _row(what: str, value: float, unit: str) -> Row:
    return Row(PART, what, "jetmesh", value, unit)


async def _kept(running: Running) -> dict[str, Kept]:
    """What each stream keeps."""
    connection = running.client.connection
    names = [stream.name for stream in topology(SERVICES).streams]
    states = {name: (await request(connection, f"STREAM.INFO.{name}", strict=True))["state"] for name in names}
    return {
        name: Kept(state["messages"], state["bytes"], state.get("num_subjects", 0)) for name, state in states.items()
    }


async def _carried(running: Running) -> int:
    """The bytes that went into and out of the broker."""
    async with httpx.AsyncClient(trust_env=False) as client:
        page: dict[str, Any] = (await client.get(f"{running.monitor_url}/varz")).json()
    return int(page["in_bytes"]) + int(page["out_bytes"])


async def _spans(running: Running, orders: Sequence[OrderPlaced]) -> float:
    """The spans of one order's trace, on average of some. The services have stopped by then, and so sent their last."""
    await asyncio.to_thread(running.processes.stop, *running.processes)
    chosen = random.Random(0).sample(orders, min(TRACES_LOOKED_AT, len(orders)))
    counts = []
    async with httpx.AsyncClient(base_url=running.jaeger_url, trust_env=False, timeout=30) as client:
        for order in chosen:
            context = parse_traceparent((await mesh.traceparents(running, order.key))[0])
            assert context is not None
            answer = await client.get(f"/api/traces/{context.trace_id:032x}")
            counts.append(len(answer.json()["data"][0]["spans"]))
    return sum(counts) / len(counts)


async def _memory_of_a_subject() -> float:
    """How much the broker grows for each subject, by its largest resident set."""
    with servers.broker(servers.DEFAULT_SYNC) as broker:
        async with meshes.connected(broker.url) as client:
            before = memory_bytes_max(broker.pid)
            await _fill(client, broker.url, "placed", b"x" * EVENT_BYTES, KEYS)
            return (memory_bytes_max(broker.pid) - before) / KEYS


async def _fill(client: Context, url: str, event: str, body: bytes, count: int) -> None:
    """A stream with so many keys, a message of each."""
    config = {"name": "KEYS", "subjects": ["keys.*.*"], "storage": "file", "allow_direct": True}
    await request(client.connection, "STREAM.CREATE.KEYS", config, strict=True)
    keys = (f"o-{number:08}" for number in range(count))
    messages = (Message(f"keys.{event}.{key}", body, {}, Guard(f"keys.*.{key}", 0)) for key in keys)
    frames = (bulk.Frame(message.subject, message.encoded(), body) for message in messages)
    await bulk.publish(url, PART, bulk.chunks(PART, frames))
