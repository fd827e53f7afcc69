"""What a customer sees of an order: its status, and its story without personal data."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from jetmesh_contracts import (
    Event,
    OrderCancelled,
    OrderConfirmed,
    OrderGoodsSecured,
    OrderPaymentSecured,
    OrderRefused,
    PaymentCaptured,
)
from jetmesh_shop.orders.edge.port import StoryEvent

Status = Literal["placed", "payment_secured", "goods_secured", "confirmed", "paid", "cancelled", "refused"]

_STATUSES: Mapping[type[Event], Status] = {
    OrderRefused: "refused",
    OrderCancelled: "cancelled",
    PaymentCaptured: "paid",
    OrderConfirmed: "confirmed",
    OrderGoodsSecured: "goods_secured",
    OrderPaymentSecured: "payment_secured",
}
"""The status that an event means, the one that says most first: events of several streams have no other order."""

ENDED = frozenset(status for event, status in _STATUSES.items() if event.ending)
"""The customer has an answer: nothing that they wait for follows these."""

_PUBLIC = frozenset(
    {"amount_minor", "currency", "detail", "goods", "lines", "reason", "shortages", "total_minor", "unit_price_minor"}
)
"""The only data that leave: a token may travel in a URL, so no event shows who the customer is or how they pay."""


_POSITION = "[A-Z0-9_]{1,32}:[0-9]{1,18}"
CURSOR_PATTERN = f"^({_POSITION}(,{_POSITION}){{0,7}})?$"


class Happened(BaseModel):
    """One event of an order's story."""

    type: str = Field(examples=["orders.placed"])
    time: datetime
    data: dict[str, Any] = Field(description="What the event tells, without personal data.")

    @classmethod
    def of(cls, event: StoryEvent) -> Self:
        """The public part of the event."""
        return cls(type=event.type, time=event.time, data={k: v for k, v in event.data.items() if k in _PUBLIC})


class OrderStory(BaseModel):
    """An order as it stands, and everything that happened to it so far, oldest first."""

    order_id: str
    status: Status
    story: list[Happened]


def status_of(types: Iterable[str]) -> Status:
    """How an order stands to which these types of events have happened, in whatever order they arrived."""
    happened = frozenset(types)
    return next((status for event, status in _STATUSES.items() if event.type in happened), "placed")


class Cursor:
    """How far a reader has come: its last sequence in each stream, written `ORDERS:12,PAYMENTS:7`.

    Streams are numbered apart, and the events of two of them may arrive in either order: so one number, or the last
    event's name, would not tell what the reader has seen.
    """

    def __init__(self, positions: Mapping[str, int] | None = None) -> None:
        self.positions = dict(positions or {})

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cursor that `str` wrote.

        Raises:
            ValueError: the text is not one.
        """
        if not re.fullmatch(CURSOR_PATTERN, text):
            raise ValueError("not a cursor")
        places = (place.split(":") for place in text.split(",") if place)
        return cls({stream: int(sequence) for stream, sequence in places})

    def __str__(self) -> str:
        return ",".join(f"{stream}:{sequence}" for stream, sequence in sorted(self.positions.items()))

    def within(self, story: Iterable[StoryEvent]) -> Self:
        """The cursor where it stands at an event of this story. A reader may send any other; and one of a stream that
        was made anew or restored since then says nothing about what the reader has seen."""
        places = {(event.stream, event.sequence) for event in story}
        return type(self)({stream: at for stream, at in self.positions.items() if (stream, at) in places})

    def is_new(self, event: StoryEvent) -> bool:
        """Whether the reader has not seen the event."""
        return event.sequence > self.positions.get(event.stream, 0)

    def advance(self, event: StoryEvent) -> None:
        """The reader has seen the event."""
        self.positions[event.stream] = event.sequence
