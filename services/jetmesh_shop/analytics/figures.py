"""The business as metrics: how many orders came to what, and what was earned."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from jetmesh.sql import Warehouse
from jetmesh_shop.analytics.queries import QUERIES

READ_SECONDS = 15.0
COUNTED = {name: QUERIES[name] for name in ("orders", "revenue")}
STATUSES = ("placed", "confirmed", "cancelled", "refused")

Row = Mapping[str, Any]


class Figures:
    """Counters over the warehouse, read again a few times a minute; they go on where another replica left them."""

    def __init__(self, warehouse: Warehouse, meter: Meter) -> None:
        self._warehouse = warehouse
        self._orders: Row = {}
        self._revenue: Sequence[Row] = []
        meter.create_observable_counter("shop.orders", [self._count], "{order}", "Orders, by what came of them.")
        meter.create_observable_counter(
            "shop.revenue.minor", [self._earn], "{minor}", "Payments taken, in minor units."
        )

    async def watch(self) -> None:
        """Read until cancelled."""
        while True:
            rows = await self._warehouse.answers(COUNTED)
            self._orders, self._revenue = rows["orders"][0], rows["revenue"]
            await asyncio.sleep(READ_SECONDS)

    def _count(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self._orders[status], {"order.status": status}) for status in STATUSES if self._orders]

    def _earn(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(row["captured_minor"] or 0, {"currency": row["currency"]}) for row in self._revenue]
