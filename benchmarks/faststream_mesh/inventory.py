"""Inventory: stock in a bucket, one key an article, taken and put back by compare and set."""

# mypy: disallow-untyped-decorators=False

from collections.abc import Sequence

from faststream.nats import NatsBroker
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from benchmarks.faststream_mesh.app import pulls, tell
from benchmarks.faststream_mesh.events import Goods, Line, Order, Refusal


def subscribe(broker: NatsBroker) -> None:
    """The subscribers of the service."""

    @broker.subscriber("orders.accepted", **pulls("ORDERS", "inventory-reserve"))
    async def reserve(order: Order) -> None:
        stock, reservations = await _buckets(broker)
        if not await take(stock, order.lines):
            refusal = Refusal(order_id=order.order_id, reason="out of stock")
            return await tell(broker, "inventory.rejected", refusal, order.order_id)
        goods = Goods(order_id=order.order_id, lines=order.lines)
        await reservations.put(order.order_id, goods.model_dump_json().encode())
        return await tell(broker, "inventory.reserved", goods, order.order_id)

    @broker.subscriber("orders.cancelled", **pulls("ORDERS", "inventory-release"))
    async def release(refusal: Refusal) -> None:
        stock, reservations = await _buckets(broker)
        try:
            entry = await reservations.get(refusal.order_id)
        except KeyNotFoundError:
            return
        goods = Goods.model_validate_json(entry.value or b"")
        for line in goods.lines:
            await move(stock, line.sku, line.quantity)
        await tell(broker, "inventory.released", goods, refusal.order_id)


async def take(stock: KeyValue, lines: Sequence[Line]) -> bool:
    """Everything or nothing: what was taken goes back where a later article is short."""
    for taken, line in enumerate(lines):
        if not await move(stock, line.sku, -line.quantity):
            for back in lines[:taken]:
                await move(stock, back.sku, back.quantity)
            return False
    return True


async def move(stock: KeyValue, sku: str, pieces: int) -> bool:
    """Compare and set until it holds; False where there are not so many."""
    while True:
        entry = await stock.get(sku)
        left = int(entry.value or b"0") + pieces
        if left < 0:
            return False
        try:
            await stock.update(sku, str(left).encode(), entry.revision)
        except KeyWrongLastSequenceError:
            continue
        return True


async def _buckets(broker: NatsBroker) -> tuple[KeyValue, KeyValue]:
    return await broker.key_value("stock", declare=False), await broker.key_value("reservations", declare=False)
