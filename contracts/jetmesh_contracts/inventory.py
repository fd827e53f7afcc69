"""The events of inventory: goods are reserved, rejected, released; the level of each article; a request for it."""

from typing import Annotated, ClassVar

from pydantic import Field

from jetmesh_contracts import units
from jetmesh_contracts.event import Event, Token
from jetmesh_contracts.orders import Part
from jetmesh_contracts.request import Request


class Goods(Part):
    """So many pieces of one article."""

    sku: Token = Field(description="The article.")
    quantity: Annotated[
        int, Field(ge=1, le=100_000, description="All lines of the order together.", json_schema_extra=units.PIECES)
    ]


class Shortage(Part):
    """An article that is not in stock in the wanted number."""

    sku: Token = Field(description="The article.")
    wanted: Annotated[int, Field(ge=1, description="How many.", json_schema_extra=units.PIECES)]
    available: Annotated[int, Field(ge=0, description="On the shelf at that moment.", json_schema_extra=units.PIECES)]


class ReservationEvent(Event, owner="inventory", key_field="order_id"):
    """An event about the goods of one order."""

    order_id: Token = Field(description="The order that the goods are for: the key.")


class GoodsReserved(ReservationEvent, type="inventory.reserved", ending=True):
    """Every article of the order was in stock and is reserved.

    Recorded together with the new levels of its articles.
    """

    goods: tuple[Goods, ...] = Field(min_length=1, description="The reserved pieces, each article once.")


class GoodsRejected(ReservationEvent, type="inventory.rejected", ending=True):
    """At least one article was not in stock in the wanted number; nothing is reserved.

    Recorded when the order was placed and the stock did not suffice.
    """

    shortages: tuple[Shortage, ...] = Field(min_length=1, description="Every article that was short.")


class GoodsReleased(ReservationEvent, type="inventory.released", ending=True):
    """The reserved goods of a cancelled order are in stock again; an empty list if none were reserved.

    Recorded after every cancellation of an order together with the new levels.
    """

    goods: tuple[Goods, ...] = Field(description="The released pieces, each article once.")


class StockRestocked(
    Event, type="stock.restocked", owner="inventory", key_field="restock_id", from_outside=True, ending=True
):
    """New pieces of an article arrived; counted once per restock id.

    Recorded together with the new level of the article.
    """

    publisher: ClassVar[str] = "supplier"

    restock_id: Token = Field(description="The delivery that brought the pieces: the key, counted once.")
    sku: Token = Field(description="The article.")
    quantity: Annotated[int, Field(ge=1, le=1_000_000, description="How many.", json_schema_extra=units.PIECES)]


class StockLevel(Event, type="stock.level", owner="inventory", key_field="sku", state=True):
    """The free stock of one article: the newest message counts.

    Recorded together with each event that changes it.
    """

    sku: Token = Field(description="The article.")
    available: Annotated[int, Field(ge=0, description="Free to be reserved.", json_schema_extra=units.PIECES)]


class Stock(Part):
    """The free stock of one article at the moment of the answer."""

    sku: Token = Field(description="The article.")
    available: Annotated[int, Field(ge=0, description="Free to be reserved.", json_schema_extra=units.PIECES)]


class StockOf(Request[Stock], type="inventory.stock_of", key_field="sku"):
    """How much of this article is free? A 404 where inventory has never counted any."""

    sku: Token = Field(description="The article.")
