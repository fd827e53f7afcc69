"""The demo's stock: delivered once, by fixed restock ids, however often the demo starts."""

import asyncio
import time

from jetmesh.jetstream.message import Message
from jetmesh.runtime.context import Context
from jetmesh_contracts import StockRestocked
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.reference.mix import SCARCE

PLENTY_PIECES, SCARCE_PIECES = 1_000_000, 10
STREAM = "INVENTORY"
SECONDS_MAX = 30.0
POLL_SECONDS = 0.05


def deliveries() -> list[StockRestocked]:
    """What is on the shelf when the mesh opens."""
    return [
        StockRestocked(restock_id=f"opening-{sku}", sku=sku, quantity=SCARCE_PIECES if sku == SCARCE else PLENTY_PIECES)
        for sku in PRICES
    ]


async def seed(context: Context) -> int:
    """Publish, from outside, the deliveries that inventory has not counted yet, and wait until it has; how many.

    Raises:
        TimeoutError: inventory does not count them.
    """
    missing = await _missing(context)
    for delivery in missing:
        await context.publisher.record(Message(delivery.type, delivery.model_dump_json().encode(), {}))
    deadline = time.monotonic() + SECONDS_MAX
    while await _missing(context):
        if time.monotonic() > deadline:
            raise TimeoutError(f"inventory did not count its opening stock within {SECONDS_MAX:g} s")
        await asyncio.sleep(POLL_SECONDS)
    return len(missing)


async def _missing(context: Context) -> list[StockRestocked]:
    wanted = {f"{delivery.type}.{delivery.key}": delivery for delivery in deliveries()}
    counted = {message.subject for message in await context.direct_get.last(STREAM, list(wanted))}
    return [delivery for subject, delivery in wanted.items() if subject not in counted]
