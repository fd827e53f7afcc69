"""Reserve the goods of an order when it is placed, release them when it is cancelled, and count restocks."""

from collections.abc import Sequence

from jetmesh import Retry, Service, Snapshot
from jetmesh_contracts import (
    GoodsRejected,
    GoodsReleased,
    GoodsReserved,
    OrderCancelled,
    OrderPlaced,
    StockLevel,
    StockRestocked,
)
from jetmesh_shop.fold import Fold
from jetmesh_shop.inventory import domain
from jetmesh_shop.inventory.domain import Reservation

inventory = Service("inventory")


@inventory.on_many(retry=Retry(attempts=None))
async def shelve(
    arrived: Sequence[OrderPlaced | OrderCancelled | StockRestocked], snapshot: Snapshot
) -> list[GoodsReserved | GoodsRejected | GoodsReleased | StockRestocked | StockLevel]:
    """Orders were placed or cancelled, goods arrived: decide them together, on one reading of the shelf."""
    reservations = await snapshot.stories(Reservation, GoodsReserved, domain.orders_of(arrived))
    restocks = await snapshot.stories(Fold, StockRestocked, domain.restocks_of(arrived))
    articles = domain.articles_of(arrived, reservations)
    levels = await snapshot.latest(StockLevel, articles)
    return domain.shelf(articles, levels).shelve(arrived, reservations, restocks)
