"""Other teams in other languages: their own tools take what is generated, their programs order on the real mesh."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jetmesh.contracts.asyncapi import document
from jetmesh.contracts.package import contracts_of
from jetmesh.local.span_receiver import receiving
from jetmesh.testing import Broker, LocalMesh, MeshOf
from jetmesh_contracts import OrderConfirmed, StockRestocked
from jetmesh_shop.inventory.service import inventory
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.service import Orders, orders
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.service import Payments, payments
from tests.contracts.conftest import CONTRACTS, INTEROP, require, run
from tests.support import plant
from tests.support.questions import telling_states

TOTAL_MINOR = 580


@pytest_asyncio.fixture
async def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A trace store that the services export their spans to."""
    async with receiving(tmp_path / "traces.sqlite") as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        yield


@pytest_asyncio.fixture
async def mesh(traced: None, mesh_of: MeshOf, tmp_path: Path) -> AsyncIterator[LocalMesh]:
    """The services that promise an order, with cola on the shelf."""
    bank = SandboxBank(tmp_path / "bank.sqlite")
    trusting: Any = {"JETMESH_TRUST_TRACES": "true"}
    mesh = await mesh_of(orders, payments, inventory, dependencies=[Orders(PRICES), Payments(bank)], **trusting)
    restocked = StockRestocked(restock_id="r-1", sku="cola", quantity=100)
    await mesh.outside(restocked)
    await mesh.recorded(StockRestocked, restocked.key)
    yield mesh
    await bank.aclose()


async def said_by(*command: str | Path) -> dict[str, Any]:
    """The line of JSON that a program prints, while the mesh runs on in this process."""
    return dict(json.loads(await asyncio.to_thread(run, INTEROP, *command)))


async def confirmed(mesh: LocalMesh, order_id: str, said: dict[str, Any]) -> None:
    """The program read what was recorded, in the trace that it began: the mesh trusts it."""
    recorded = await mesh.recorded(OrderConfirmed, order_id)
    assert (said["order_id"], said["total_minor"], said["type"]) == (order_id, TOTAL_MINOR, "orders.confirmed")
    assert recorded.total_minor == TOTAL_MINOR
    assert said["received"].split("-")[1] == said["sent"].split("-")[1]
    assert said["received"] != said["sent"]


async def test_a_node_program_orders_and_reads_the_promise_in_its_own_trace(
    mesh: LocalMesh, broker: Broker, node_programs: Path
) -> None:
    said = await said_by(require("node"), node_programs / "shop.mjs", broker.url, "o-node")
    await confirmed(mesh, "o-node", said)


async def test_a_go_program_orders_and_reads_the_promise_in_its_own_trace(
    mesh: LocalMesh, broker: Broker, go_programs: Path
) -> None:
    said = await said_by(go_programs / "shop", broker.url, "o-go")
    await confirmed(mesh, "o-go", said)


def test_the_node_program_is_typed_by_the_generated_types(node_programs: Path) -> None:
    run(node_programs, node_programs / "node_modules/.bin/tsc", "-p", ".")


def test_the_typescript_compiler_refuses_a_field_that_no_event_has(node_programs: Path) -> None:
    wrong = (node_programs / "shop.mjs").read_text().replace("order_id: orderId", "orderid: orderId")
    settings = json.loads((node_programs / "tsconfig.json").read_text())
    (node_programs / "wrong.mjs").write_text(wrong)
    (node_programs / "wrong.json").write_text(json.dumps({**settings, "files": ["wrong.mjs"]}))
    with pytest.raises(AssertionError, match="'orderid' does not exist in type 'OrderPlaced'"):
        run(node_programs, node_programs / "node_modules/.bin/tsc", "-p", "wrong.json")


def test_the_generated_go_is_as_gofmt_leaves_it_and_go_vet_finds_nothing() -> None:
    go = require("go")
    assert run(CONTRACTS / "go", Path(go).with_name("gofmt"), "-l", ".") == ""
    run(CONTRACTS / "go", go, "vet", "./...")


def test_the_official_parser_takes_the_asyncapi_document(node_programs: Path) -> None:
    said = run(node_programs, require("node"), "asyncapi.mjs", CONTRACTS / "asyncapi" / "asyncapi.json")
    found = json.loads(said)
    assert found["complaints"] == []
    assert found["version"] == "3.1.0"
    assert found["channels"] > 20


def test_the_official_parser_takes_messages_of_others(node_programs: Path) -> None:
    made = document({"title": "plant", "version": "1.0.0"}, contracts_of(plant.APP), plant.APP)
    (node_programs / "plant.json").write_text(json.dumps(made))
    assert (
        json.loads(run(node_programs, require("node"), "asyncapi.mjs", node_programs / "plant.json"))["complaints"]
        == []
    )


def test_the_official_parser_takes_requests_and_replies(node_programs: Path) -> None:
    services = (telling_states(),)
    made = document({"title": "jobs", "version": "1.0.0"}, contracts_of(services), services)
    (node_programs / "jobs.json").write_text(json.dumps(made))
    found = json.loads(run(node_programs, require("node"), "asyncapi.mjs", node_programs / "jobs.json"))
    assert found["complaints"] == []
    operation = made["operations"]["work.state_of"]
    assert made["channels"]["work.state_of.request"]["address"] == "jetmesh.work.state_of"
    assert operation["reply"]["channel"] == {"$ref": "#/channels/work.state_of.reply"}
    assert made["components"]["schemas"]["StateOf"]["required"] == ["job_id"]
