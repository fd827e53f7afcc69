"""Reserve the goods of a placed order, release those of a cancelled one, count restocks, tell what is free."""

from collections.abc import Sequence

from jetmesh import Fold, Problem, Retry, Service, Snapshot
from jetmesh_contracts import (
    GoodsRejected,
    GoodsReleased,
    GoodsReserved,
    OrderCancelled,
    OrderPlaced,
    Stock,
    StockLevel,
    StockOf,
    StockRestocked,
)
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


@inventory.endpoint
async def stock_of(request: StockOf, article: Fold) -> Stock:
    """Somebody asks for the stock of an article: say how much is free."""
    level = article.get(StockLevel)
    if level is None:
        raise Problem(404, "There is no such article", f"No {request.sku} was ever counted.")
    return Stock(sku=request.sku, available=level.available)
