"""What inventory decides: whom the goods on the shelf go to, many orders at a time."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jetmesh import Fold
from jetmesh_contracts import (
    Goods,
    GoodsRejected,
    GoodsReleased,
    GoodsReserved,
    OrderCancelled,
    OrderPlaced,
    Shortage,
    StockLevel,
    StockRestocked,
)

Arrived = OrderPlaced | OrderCancelled | StockRestocked
ShelfEvent = GoodsReserved | GoodsRejected | GoodsReleased | StockRestocked | StockLevel


class Reservation(Fold):
    """What inventory has recorded about one order."""

    @property
    def reserved(self) -> GoodsReserved | None:
        """The goods that are the order's."""
        return self.get(GoodsReserved)

    @property
    def has_ended(self) -> bool:
        """Whether nothing can be reserved any more."""
        return self.has(GoodsRejected, GoodsReleased)


def orders_of(arrived: Iterable[Arrived]) -> list[str]:
    """The orders that a batch is about."""
    return [event.order_id for event in arrived if not isinstance(event, StockRestocked)]


def restocks_of(arrived: Iterable[Arrived]) -> list[str]:
    """The restocks in a batch."""
    return [event.restock_id for event in arrived if isinstance(event, StockRestocked)]


def articles_of(arrived: Iterable[Arrived], reservations: Mapping[str, Reservation]) -> set[str]:
    """The shelves that a batch concerns."""
    articles: set[str] = set()
    for event in arrived:
        if isinstance(event, StockRestocked):
            articles.add(event.sku)
        elif isinstance(event, OrderPlaced):
            articles.update(line.sku for line in event.lines)
        elif reserved := reservations[event.order_id].reserved:
            articles.update(goods.sku for goods in reserved.goods)
    return articles


@dataclass(slots=True)
class Shelf:
    """The free pieces of every article that a batch concerns, while it is decided."""

    available: dict[str, int]

    def shelve(
        self, arrived: Sequence[Arrived], reservations: Mapping[str, Reservation], restocks: Mapping[str, Fold]
    ) -> list[ShelfEvent]:
        """Decide the batch in its order. Every level that was read is part of what is recorded, also when it has not
        changed: a decision is guarded only by what stands in its commit."""
        outcomes: list[ShelfEvent] = []
        for event in arrived:
            outcome: ShelfEvent | None
            if isinstance(event, StockRestocked):
                outcome = None if restocks[event.restock_id].has(StockRestocked) else self.restock(event)
            elif isinstance(event, OrderPlaced):
                outcome = self.reserve(event, reservations[event.order_id])
            else:
                outcome = self.release(event, reservations[event.order_id])
            if outcome is not None:
                outcomes.append(outcome)
        if outcomes:
            outcomes += [StockLevel(sku=sku, available=free) for sku, free in sorted(self.available.items())]
        return outcomes

    def restock(self, event: StockRestocked) -> StockRestocked:
        """New pieces arrived: they are free."""
        self.available[event.sku] += event.quantity
        return event

    def reserve(self, order: OrderPlaced, known: Reservation) -> GoodsReserved | GoodsRejected | None:
        """Everything that the order wants, or nothing."""
        if known.reserved or known.has_ended:
            return None
        wanted = Counter[str]()
        for line in order.lines:
            wanted[line.sku] += line.quantity
        short = tuple(
            Shortage(sku=sku, wanted=pieces, available=self.available[sku])
            for sku, pieces in wanted.items()
            if self.available[sku] < pieces
        )
        if short:
            return GoodsRejected(order_id=order.order_id, shortages=short)
        for sku, pieces in wanted.items():
            self.available[sku] -= pieces
        goods = tuple(Goods(sku=sku, quantity=pieces) for sku, pieces in wanted.items())
        return GoodsReserved(order_id=order.order_id, goods=goods)

    def release(self, order: OrderCancelled, known: Reservation) -> GoodsReleased | None:
        """Whatever was reserved; recorded also when nothing is seen, so that a late reservation ends here."""
        if known.has_ended:
            return None
        goods = known.reserved.goods if known.reserved else ()
        for item in goods:
            self.available[item.sku] += item.quantity
        return GoodsReleased(order_id=order.order_id, goods=goods)


def shelf(articles: Iterable[str], levels: Mapping[str, StockLevel]) -> Shelf:
    """The shelf as it was read; an article that was never restocked has none."""
    return Shelf({sku: levels[sku].available if sku in levels else 0 for sku in articles})
