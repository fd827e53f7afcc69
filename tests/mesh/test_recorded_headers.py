"""The AsyncAPI document lists the headers of a recorded event: all that are written, and none that is not."""

from pathlib import Path

import pytest

from jetmesh.contracts.asyncapi import HEADERS
from jetmesh.testing import MeshOf
from jetmesh_contracts import OrderGoodsSecured
from jetmesh_shop.inventory.service import inventory
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.orders.service import Orders, orders
from tests.mesh.spans import traced
from tests.support import samples

GIVEN = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "theirs=1"}
ADDED = {"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"}
"""Not stored: the server adds them to what it answers with."""


async def test_the_document_lists_the_headers_of_recorded_events(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = samples.placed()
    async with traced(tmp_path, monkeypatch):
        mesh = await mesh_of(orders, inventory, dependencies=[Orders(PRICES)], JETMESH_TRUST_TRACES="true")
        await mesh.outside(samples.restocked("r-1", order.lines[0].sku))
        await mesh.settled()
        await mesh.publish("orders.placed", order.model_dump(mode="json"), GIVEN)
        await mesh.recorded(OrderGoodsSecured, order.order_id)
        await mesh.settled()
        stored = [
            each for stream in ("ORDERS", "INVENTORY") for each in await mesh.context.direct_get.last(stream, [">"])
        ]
    assert {name for each in stored for name in each.headers} - ADDED == set(HEADERS["properties"])
