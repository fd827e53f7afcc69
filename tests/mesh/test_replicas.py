"""More than one of each: the work is shared; of analytics one writes, and the other stands by and takes over."""

import asyncio
from pathlib import Path

from jetmesh.sql import Warehouse
from jetmesh.testing import MeshOf
from jetmesh_contracts import GoodsRejected, GoodsReserved, StockLevel
from jetmesh_shop.analytics.queries import ORDERS, QUERIES
from jetmesh_shop.analytics.service import analytics
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.inventory.service import inventory
from tests.mesh.whole import Whole
from tests.support.samples import TRUFFLE, body, cancelled, placed, restocked


async def test_a_second_analytics_stands_by_and_takes_over(whole: Whole, tmp_path: Path) -> None:
    await whole.mesh.publish("orders.placed", body("o-1"))
    await whole.ended("o-1")
    (first,) = [replica for replica in whole.mesh.replicas if replica.service is analytics]
    starting = asyncio.ensure_future(whole.mesh.start(analytics))
    second = await whole.mesh.until(lambda: whole.mesh.replicas[-1] if whole.mesh.replicas[-1] is not first else None)
    await whole.mesh.until(lambda: second.health.why_not == "waiting for what the service needs")
    whole.mesh.replicas.remove(first)
    await first.stop()
    await starting
    await whole.mesh.publish("orders.placed", body("o-2"))
    await whole.ended("o-2")
    await whole.mesh.stop(analytics)
    assert await asyncio.to_thread(_placed, tmp_path) == 2


def _placed(folder: Path) -> int:
    report = Warehouse.read(folder / "analytics.duckdb", QUERIES, ORDERS)
    return int(report["orders"][0]["placed"])


async def test_replicas_share_the_work_and_double_nothing(whole: Whole) -> None:
    for service in SERVICES:
        if service is not analytics:
            await whole.mesh.start(service)
    orders = [f"o-{number}" for number in range(40)]
    await asyncio.gather(*(whole.mesh.publish("orders.placed", body(key)) for key in orders for _ in range(2)))
    await whole.is_balanced(await whole.ended(*orders))
    assert await whole.level("pizza-margherita") == 1_000 - 2 * len(orders)


async def test_a_hot_article_is_never_oversold(mesh_of: MeshOf) -> None:
    """300 orders for 10 pieces, each placed twice, some cancelled, with two replicas."""
    mesh = await mesh_of(inventory)
    await mesh.start(inventory)
    await mesh.outside(restocked("r-1", "truffle-special", 10))
    await mesh.outside(restocked("r-1", "truffle-special", 10))
    level = await mesh.recorded(StockLevel, "truffle-special")
    assert level.available == 10
    orders = [placed(f"o-{number}", TRUFFLE) for number in range(300)]
    await asyncio.gather(*(mesh.record(order) for order in [*orders, *orders]))
    await asyncio.gather(*(mesh.record(cancelled(order)) for order in orders[::10]))
    await mesh.settled()
    types = {order.order_id: await mesh.types(order.order_id) for order in orders}
    kept = [key for key, found in types.items() if GoodsReserved.type in found and "inventory.released" not in found]
    ended = [
        key for key, found in types.items() if found & {GoodsReserved.type, GoodsRejected.type, "inventory.released"}
    ]
    level = await mesh.recorded(StockLevel, "truffle-special")
    assert len(ended) == 300
    assert level.available + len(kept) == 10
    assert await mesh.dead_letters() == []
