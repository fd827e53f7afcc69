"""More than one of each: the work is shared; of analytics one writes, and the other stands by and takes over."""

import asyncio
from pathlib import Path

from jetmesh_shop.analytics.adapters import read_report
from jetmesh_shop.analytics.service import analytics
from jetmesh_shop.flow import SERVICES
from tests.mesh.whole import Whole
from tests.support.samples import body


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
    report = read_report(folder / "analytics.duckdb")
    return int(report["orders"][0]["placed"])


async def test_replicas_share_the_work_and_double_nothing(whole: Whole) -> None:
    for service in SERVICES:
        if service is not analytics:
            await whole.mesh.start(service)
    orders = [f"o-{number}" for number in range(40)]
    await asyncio.gather(*(whole.mesh.publish("orders.placed", body(key)) for key in orders for _ in range(2)))
    await whole.is_balanced(await whole.ended(*orders))
    assert await whole.level("pizza-margherita") == 1_000 - 2 * len(orders)
