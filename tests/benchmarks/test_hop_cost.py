"""A guard against slow creep: the calls that one hop takes, in Python and into C, whatever machine counts them."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from benchmarks.contenders.jetmesh_hop import SERVICES, payments
from benchmarks.hop import mesh_headers, placed
from benchmarks.receiver import Receiver
from jetmesh.jetstream.headers import encode_headers
from jetmesh.testing import LocalMesh, MeshOf

HOPS = 400
WITHIN_SECONDS = 60.0
UNTRACED_CALLS_MAX = 272
TRACED_CALLS_MAX = 378
"""What a hop takes, and a tenth. Lower them when it takes less; before you raise them, profile."""


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
    """The service stands; then orders arrive all at once, ready as bytes: sending them costs next to nothing."""
    await mesh.start(payments)
    handled = await acknowledgements(mesh)
    orders = [placed(number) for number in range(HOPS)]
    messages = [
        (f"{order.type}.{order.key}", order.model_dump_json().encode(), encode_headers(mesh_headers(number, order.key)))
        for number, order in enumerate(orders)
    ]
    with counted() as calls:
        for subject, data, headers in messages:
            mesh.context.connection.send(subject, data, headers=headers)
        await asyncio.wait_for(handled.wait(), WITHIN_SECONDS)
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


@pytest.fixture
async def mesh(mesh_of: MeshOf) -> LocalMesh:
    return await mesh_of(*SERVICES, start=False)


async def test_an_untraced_hop_takes_no_more_calls_than_it_did(mesh: LocalMesh) -> None:
    assert await calls_per_hop(mesh) <= UNTRACED_CALLS_MAX


@pytest.mark.usefixtures("tracing")
async def test_a_traced_hop_takes_no_more_calls_than_it_did(mesh: LocalMesh) -> None:
    assert await calls_per_hop(mesh) <= TRACED_CALLS_MAX
