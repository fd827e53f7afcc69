"""What a customer sees of an order: its status, and its story without personal data."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from jetmesh import Stored
from jetmesh_contracts import (
    Event,
    OrderCancelled,
    OrderConfirmed,
    OrderGoodsSecured,
    OrderPaymentSecured,
    OrderRefused,
)

Status = Literal["placed", "payment_secured", "goods_secured", "confirmed", "cancelled", "refused"]

_STATUSES: Mapping[type[Event], Status] = {
    OrderRefused: "refused",
    OrderCancelled: "cancelled",
    OrderConfirmed: "confirmed",
    OrderGoodsSecured: "goods_secured",
    OrderPaymentSecured: "payment_secured",
}
"""The status that an event means, the one that says most first."""

ENDED = frozenset(status for event, status in _STATUSES.items() if event.ending)
"""The customer has an answer: nothing that they wait for follows these."""

_PUBLIC = frozenset(
    {"amount_minor", "currency", "detail", "goods", "lines", "reason", "shortages", "total_minor", "unit_price_minor"}
)
"""The only data that leave: a token may travel in a URL, so no event shows who the customer is or how they pay."""


class Happened(BaseModel):
    """One event of an order's story."""

    type: str = Field(examples=["orders.placed"])
    time: datetime
    data: dict[str, Any] = Field(description="The event's fields without personal data.")

    @classmethod
    def of(cls, event: Stored) -> Self:
        """The public part of the event."""
        public = {name: value for name, value in event.document.items() if name in _PUBLIC}
        return cls(type=event.type, time=datetime.fromisoformat(event.time), data=public)


class OrderStory(BaseModel):
    """An order as it stands, and everything that happened to it so far, oldest first."""

    order_id: str
    status: Status
    story: list[Happened]


def status_of(types: Iterable[str]) -> Status:
    """The status of an order with events of these types, in any order."""
    happened = frozenset(types)
    return next((status for event, status in _STATUSES.items() if event.type in happened), "placed")


def status_in(story: Iterable[Stored]) -> Status:
    """The status of an order with this story."""
    return status_of(event.type for event in story)


def end_of(story: Iterable[Stored]) -> dict[str, Status] | None:
    """What the customer is shown at the end; None: the order goes on."""
    status = status_in(story)
    return {"status": status} if status in ENDED else None
