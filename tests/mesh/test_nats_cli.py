"""The real `nats` CLI as somebody outside: it places orders in every way that CloudEvents allow, and reads a story."""

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jetmesh.testing import Broker
from jetmesh_contracts import OrderPlaced
from jetmesh_shop.flow import SERVICES
from tests.mesh.whole import Whole
from tests.support.programs import program
from tests.support.samples import body

Nats = Callable[..., Awaitable[str]]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLOUD = [
    "-H",
    "ce-specversion:1.0",
    "-H",
    "ce-id:e-1",
    "-H",
    "ce-type:orders.placed",
    "-H",
    "ce-source:/shop",
    "-H",
    f"traceparent:00-{TRACE}-00f067aa0ba902b7-01",
]


@pytest.fixture
def nats(broker: Broker) -> Nats:
    """Runs the CLI against the test's broker; what it printed."""
    binary = program("nats")

    async def run(*arguments: str) -> str:
        pipe = asyncio.subprocess.PIPE
        command = [binary, "--server", broker.url, *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        said, complaint = await process.communicate()
        assert process.returncode == 0, complaint.decode()
        return said.decode() + complaint.decode()

    return run


async def confirmed_once(whole: Whole, order_id: str) -> None:
    endings = await whole.ended(order_id)
    assert endings == {order_id: "confirmed"}
    await whole.is_balanced(endings)


async def test_a_body_alone_is_an_order(whole: Whole, nats: Nats) -> None:
    await nats("pub", "orders.placed", json.dumps(body("o-1042")))
    await confirmed_once(whole, "o-1042")


async def test_the_line_in_the_readme_works_as_printed(whole: Whole, nats: Nats) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    line = re.search(r"^nats (pub orders\.placed '.*?')$", readme, re.DOTALL | re.MULTILINE)
    assert line is not None
    await nats(*shlex.split(line[1]))
    await confirmed_once(whole, "o-1042")


async def test_a_binary_cloud_event_is_the_cause_and_not_the_trace(whole: Whole, nats: Nats) -> None:
    await nats("pub", "orders.placed", json.dumps(body("o-1042")), *CLOUD)
    await confirmed_once(whole, "o-1042")
    story = await whole.mesh.story("o-1042")
    assert all(TRACE not in stored.headers.get("traceparent", "") for stored in story)
    placed = next(stored for stored in story if stored.type == OrderPlaced.type)
    assert placed.headers["ce-causationid"] == "e-1"


async def test_a_structured_cloud_event_is_an_order(whole: Whole, nats: Nats) -> None:
    event: dict[str, Any] = {"specversion": "1.0", "id": "e-1", "type": "orders.placed", "source": "/shop"}
    event |= {"datacontenttype": "application/json", "data": body("o-1042")}
    await nats("pub", "orders.placed", json.dumps(event), "-H", "Content-Type:application/cloudevents+json")
    await confirmed_once(whole, "o-1042")


async def test_an_order_that_is_published_twice_is_one_order(whole: Whole, nats: Nats) -> None:
    await nats("pub", "orders.placed", json.dumps(body("o-1042")), "--count", "2")
    await confirmed_once(whole, "o-1042")
    assert len(whole.mails()) == 2


async def test_the_cli_reads_the_story_back(whole: Whole, nats: Nats) -> None:
    await nats("pub", "orders.placed", json.dumps(body("o-1042")))
    await confirmed_once(whole, "o-1042")
    told = await nats("sub", "--stream", "ORDERS", "*.*.o-1042", "--last-per-subject", "--count", "3")
    for subject in ("orders.placed.o-1042", "orders.confirmed.o-1042", "secured.o-1042"):
        assert subject in told
    last = await nats("stream", "get", "PAYMENTS", "--last-for", "payments.captured.o-1042", "--json")
    assert json.loads(last)["subject"] == "payments.captured.o-1042"


async def test_the_cli_sees_the_mesh_as_micro_services(whole: Whole, nats: Nats) -> None:
    listed = await nats("micro", "ls", "--json")
    names = {service["name"] for service in json.loads(listed)}
    assert names == {service.name for service in SERVICES}
    assert "orders.placed -> payments.authorized, payments.declined" in await nats("micro", "info", "payments")
    assert "payments" in await nats("micro", "ping")
    assert "health" in await nats("micro", "stats", "payments")
