"""All orders want one article, or a thousand: what the contention costs, and that nothing is sold that is not there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from benchmarks import meshes, workload
from benchmarks.figures import Row
from benchmarks.meshes import Drained, Running
from benchmarks.progress import Step
from benchmarks.scene import Shared
from jetmesh.jetstream import stream_reader
from jetmesh_contracts import GoodsReleased, GoodsReserved, OrderPlaced, StockLevel, StockRestocked

PART = "hot-article"
SHARE_THERE = 0.9
"""Of the hot article there are a tenth too few, so that the last orders must find the shelf empty."""


def part(count: int) -> Shared:
    """The same number of orders, first for a thousand articles."""

    async def ours(running: Running, step: Step) -> list[Row]:
        step("a thousand articles")
        many = await running.take(list(workload.good_orders("many", count, running.skus)))
        step("one hot article")
        orders = list(workload.good_orders("hot", count, [workload.HOT]))
        pieces = int(SHARE_THERE * _wanted(orders))
        await meshes.fill_shelves(running, workload.restocks([workload.HOT], pieces))
        return _rows(many, await running.take(orders), await _oversold(running))

    return Shared(ours)


def _rows(many: Drained, hot: Drained, oversold: int) -> list[Row]:
    ratio = hot.ended_seconds / many.ended_seconds
    return [
        _row("a thousand articles", many),
        replace(_row("one hot article", hot), ratio=ratio),
        Row(PART, "pieces of the hot article sold that were not there", "jetmesh", oversold, ""),
    ]


def _row(what: str, drained: Drained) -> Row:
    return Row(
        part=PART,
        what=f"{drained.orders:,} orders for {what}: to the last ending",
        who="jetmesh",
        value=drained.ended_seconds,
        unit="s",
        cpu_micros=drained.cpu_micros_per_order,
    )


def _wanted(orders: Sequence[OrderPlaced]) -> int:
    return sum(line.quantity for order in orders for line in order.lines)


async def _oversold(running: Running) -> int:
    """Pieces that are reserved and were never there, or that the level on the shelf does not account for."""
    stored = await stream_reader.read(running.client.connection, "INVENTORY")
    there, left = Counter[str](), Counter[str]()
    for message in stored:
        match message.type:
            case StockRestocked.type:
                restocked = StockRestocked.read(message.data)
                there[restocked.sku] += restocked.quantity
            case GoodsReserved.type:
                there.subtract({goods.sku: goods.quantity for goods in GoodsReserved.read(message.data).goods})
            case GoodsReleased.type:
                there.update({goods.sku: goods.quantity for goods in GoodsReleased.read(message.data).goods})
            case StockLevel.type:
                left[message.key] = StockLevel.read(message.data).available
    return sum(max(-there[sku], abs(there[sku] - left[sku])) for sku in there)
