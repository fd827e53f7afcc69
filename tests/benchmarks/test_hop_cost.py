"""A guard against slow creep: the calls that one delivery takes, in Python and into C, whatever machine counts them."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import pytest

from benchmarks.contenders.jetmesh_hop import SERVICES, payments
from benchmarks.hop import mesh_headers, placed
from benchmarks.receiver import Receiver
from jetmesh import Event, Recorded, Service, Snapshot
from jetmesh.cloudevents import cloud_event
from jetmesh.jetstream.headers import encode_headers
from jetmesh.jetstream.store_pace import StorePace
from jetmesh.testing import LocalMesh, MeshOf
from tests.support.jobs import Asked, Finished, Work, work

HOPS = 400
WITHIN_SECONDS = 60.0
UNTRACED_CALLS_MAX = 244
TRACED_CALLS_MAX = 340
MANY_CALLS_MAX = 200
SINK_CALLS_MAX = 84
ALONE_CALLS_MAX = 455
TRACED_ALONE_CALLS_MAX = 555
"""What one takes, and a little. Lower them when it takes less; before you raise them, profile."""


class Calls:
    """How many functions were called, of Python and of C."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.count += event in ("call", "c_call")


@contextmanager
def counted() -> Iterator[Calls]:
    """The calls of this thread inside the block: those of the event loop, and so of everything that runs on it."""
    calls = Calls()
    sys.setprofile(calls)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def calls_per_hop(mesh: LocalMesh) -> float:
    """Those of a reaction to one event."""
    orders = [placed(number) for number in range(HOPS)]
    headers = [mesh_headers(number, order.key) for number, order in enumerate(orders)]
    return await calls_per_delivery(mesh, payments, orders, headers)


async def calls_per_delivery(
    mesh: LocalMesh, service: Service, events: Sequence[Event], headers_of: Sequence[dict[str, str]]
) -> float:
    """The service stands; then events arrive all at once, ready as bytes: sending them costs next to nothing."""
    await mesh.start(service)
    handled = await acknowledgements(mesh)
    messages = [
        (f"{event.type}.{event.key}", event.model_dump_json().encode(), encode_headers(headers))
        for event, headers in zip(events, headers_of, strict=True)
    ]
    with counted() as calls:
        for subject, data, headers in messages:
            mesh.context.connection.send(subject, data, headers=headers)
        await asyncio.wait_for(handled.wait(), WITHIN_SECONDS)
    return calls.count / HOPS


async def calls_alone(mesh: LocalMesh) -> float:
    """Those of a hop, with the client that sends it, where each delivery arrives after the event of the one before is
    recorded: its task, its write and its reading of an answer are its own."""
    await mesh.start(payments)
    connection, recorded = mesh.context.connection, asyncio.Event()
    messages = [
        (f"{order.type}.{order.key}", order.model_dump_json().encode(), encode_headers(mesh_headers(number, order.key)))
        for number, order in enumerate(placed(number) for number in range(HOPS))
    ]
    await connection.listen("payments.>", lambda *_: recorded.set())
    async with asyncio.timeout(WITHIN_SECONDS):
        with counted() as calls:
            for subject, data, headers in messages:
                connection.send(subject, data, headers=headers)
                await recorded.wait()
                recorded.clear()
    return calls.count / HOPS


async def acknowledgements(mesh: LocalMesh) -> asyncio.Event:
    """Set once every hop has ended: its event is recorded, its span told, its delivery acknowledged. Listening costs a
    few calls a hop; asking again and again, more."""
    done, seen = asyncio.Event(), iter(range(1, HOPS))

    def take(_subject: str, _reply: str, _headers: bytes, _data: bytes) -> None:
        if next(seen, None) is None:
            done.set()

    await mesh.context.connection.listen("$JS.ACK.>", take)
    return done


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield


@pytest.fixture(autouse=True)
def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bursts are recorded in batches here: of messages that go alone the answers come in as many pieces as the broker
    finds time for, and each piece costs a few calls."""

    async def is_quick(_pace: StorePace, _stream: str, _last: int) -> bool:
        return False

    monkeypatch.setattr(StorePace, "is_quick", is_quick)


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    return await mesh_of(*SERVICES, start=False)


async def test_an_untraced_hop_takes_no_more_calls_than_it_did(mesh: LocalMesh) -> None:
    assert await calls_per_hop(mesh) <= UNTRACED_CALLS_MAX


@pytest.mark.usefixtures("tracing")
async def test_a_traced_hop_takes_no_more_calls_than_it_did(mesh: LocalMesh) -> None:
    assert await calls_per_hop(mesh) <= TRACED_CALLS_MAX


async def test_a_hop_alone_takes_no_more_calls_than_it_did(mesh: LocalMesh) -> None:
    assert await calls_alone(mesh) <= ALONE_CALLS_MAX


@pytest.mark.usefixtures("tracing")
async def test_a_traced_hop_alone_takes_no_more_calls_than_it_did(mesh: LocalMesh) -> None:
    assert await calls_alone(mesh) <= TRACED_ALONE_CALLS_MAX


def headers_of(event: Event) -> dict[str, str]:
    """As its owner writes them."""
    return cloud_event(
        type(event), event.key, event_id=f"id-{event.key}", correlation_id=event.key, causation_id="", trace={}
    )


def together() -> Service:
    """A service that finishes jobs together."""
    service = work()

    @service.on_many
    async def finish(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]:
        """Jobs are asked for: do them together."""
        stories = await snapshot.stories(Work, Finished, [one.job_id for one in asked])
        return [Finished(job_id=one.job_id) for one in asked if not stories[one.job_id].finished]

    return service


def keeping() -> Service:
    """A service that keeps jobs."""
    service = work()

    @service.begins
    async def finish(asked: Asked) -> Finished:
        """A job is asked for: do it."""
        return Finished(job_id=asked.job_id)

    @service.sink
    async def keep(events: Sequence[Recorded]) -> None:
        """Something happened: keep it."""

    return service


async def test_a_delivery_of_a_reaction_to_many_takes_no_more_calls_than_it_did(mesh_of: MeshOf) -> None:
    service, asked = together(), [Asked(job_id=f"j-{number}") for number in range(HOPS)]
    mesh = await mesh_of(service, start=False)
    calls = await calls_per_delivery(mesh, service, asked, [*map(headers_of, asked)])
    assert calls <= MANY_CALLS_MAX


async def test_a_delivery_of_a_sink_takes_no_more_calls_than_it_did(mesh_of: MeshOf) -> None:
    service, finished = keeping(), [Finished(job_id=f"j-{number}") for number in range(HOPS)]
    mesh = await mesh_of(service, start=False)
    calls = await calls_per_delivery(mesh, service, finished, [*map(headers_of, finished)])
    assert calls <= SINK_CALLS_MAX
