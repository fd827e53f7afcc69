"""What inventory tells the world: goods are reserved, rejected, released; and what is on the shelf."""

from typing import Annotated

from pydantic import Field

from jetmesh_contracts.event import Event, Token
from jetmesh_contracts.orders import Part


class Goods(Part):
    """So many pieces of one article."""

    sku: Token
    quantity: Annotated[int, Field(ge=1, le=100_000, description="Pieces, all lines of the order together.")]


class Shortage(Part):
    """An article that was wanted and is not there in this number."""

    sku: Token
    wanted: Annotated[int, Field(ge=1, description="Pieces.")]
    available: Annotated[int, Field(ge=0, description="Pieces on the shelf at that moment.")]


class ReservationEvent(Event, owner="inventory", key_field="order_id"):
    """An event about the goods of one order."""

    order_id: Token


class GoodsReserved(ReservationEvent, type="inventory.reserved"):
    """Every article of the order was there and is put aside."""

    goods: tuple[Goods, ...] = Field(min_length=1)


class GoodsRejected(ReservationEvent, type="inventory.rejected"):
    """At least one article was not there in the number wanted; nothing is put aside."""

    shortages: tuple[Shortage, ...] = Field(min_length=1)


class GoodsReleased(ReservationEvent, type="inventory.released"):
    """The goods of a cancelled order are back on the shelf; none, where none were reserved."""

    goods: tuple[Goods, ...]


class StockRestocked(Event, type="stock.restocked", owner="inventory", key_field="restock_id", from_outside=True):
    """New pieces of an article arrived; counted once per restock id."""

    restock_id: Token
    sku: Token
    quantity: Annotated[int, Field(ge=1, le=1_000_000, description="Pieces.")]


class StockLevel(Event, type="stock.level", owner="inventory", key_field="sku", state=True):
    """What is free on the shelf of one article: the newest message counts."""

    sku: Token
    available: Annotated[int, Field(ge=0, description="Pieces that are free to be reserved.")]
