"""The events of orders: an order is placed, waits for its payment and its goods, and ends once."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from jetmesh_contracts import units
from jetmesh_contracts.event import Event, Token
from jetmesh_contracts.growing import Grows
from jetmesh_contracts.money import Currency, Minor

Email = Annotated[
    str,
    Field(
        max_length=254,
        pattern=r"^[^@\x00-\x20\x7f-\xa0]+@[^@\x00-\x20\x7f-\xa0]+\.[^@\x00-\x20\x7f-\xa0]+$",
        description="An e-mail address: personal data.",
        json_schema_extra={"x-allowed": "an address such as ada@example.com"},
    ),
]
Quantity = Annotated[int, Field(ge=1, le=1_000, description="How many.", json_schema_extra=units.PIECES)]


class Part(BaseModel):
    """A part of an event, under the same rules: strict, immutable, no unknown fields when it is written."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Customer(Part):
    """Who ordered. The e-mail is personal data: it is in the events that need it and nowhere else."""

    customer_id: Token = Field(description="The shop's name of the customer.")
    email: Email


class Line(Part):
    """So many pieces of one article at the price that the customer saw."""

    sku: Token = Field(description="The article.")
    quantity: Quantity
    unit_price_minor: Minor = Field(description="The price of one piece that the customer saw.")


Lines = Annotated[tuple[Line, ...], Field(min_length=1, max_length=100, description="What is ordered.")]


class OrderEvent(Event, owner="orders", key_field="order_id"):
    """An event about one order."""

    order_id: Token = Field(description="The order: the key, the last token of the subject.")


class OrderPlaced(OrderEvent, type="orders.placed", from_outside=True):
    """A customer clicked "Buy". Published without a key in the subject, it asks orders to check and record it.

    Recorded once per order, when orders has checked the message from outside.
    """

    customer: Customer = Field(description="Who ordered, with the address that a mail needs.")
    lines: Lines
    currency: Currency
    payment_method: Token = Field(description="The payment gateway's name of the customer's means of payment.")

    @property
    def total_minor(self) -> int:
        """What the customer pays: computed from the lines, never sent."""
        return sum(line.quantity * line.unit_price_minor for line in self.lines)


class OrderRefused(OrderEvent, type="orders.refused", ending=True):
    """The order can't be taken as it is: nothing was held, nothing was reserved.

    Recorded instead of orders.placed, when the check fails.
    """

    customer: Customer = Field(description="Who ordered, with the address that a mail needs.")
    reason: Annotated[
        Literal["unknown_article", "price_changed", "currency_not_sold", "email_unusable", "other"], Grows("other")
    ] = Field(description="Why, as one word that programs can act on.")
    detail: str = Field(max_length=500, description="The reason in words, with the article or price in question.")


class OrderPaymentSecured(OrderEvent, type="orders.payment_secured"):
    """The money is held; the goods are still open.

    Recorded when the authorization arrives before the goods.
    """

    authorization_id: Token = Field(description="The payment gateway's name of the hold.")


class OrderGoodsSecured(OrderEvent, type="orders.goods_secured"):
    """The goods are reserved; the payment is still open.

    Recorded when the goods arrive before the authorization.
    """


class OrderConfirmed(OrderEvent, type="orders.confirmed", ending=True):
    """Payment and goods are secured: the order is promised to the customer.

    Recorded when the second of both is there; it is cancelled later only if its money can't be taken.
    """

    customer: Customer = Field(description="Who ordered, with the address that a mail needs.")
    lines: Lines
    currency: Currency
    total_minor: Minor = Field(description="What the customer pays: the sum over the lines.")


class OrderCancellationRequested(OrderEvent, type="orders.cancellation_requested", from_outside=True):
    """The customer asks to cancel the order. It is cancelled unless the money is taken already.

    Recorded when the order is confirmed already; payments decides.
    """

    publisher: ClassVar[str] = "support"


class OrderCancelled(OrderEvent, type="orders.cancelled", ending=True):
    """The order is cancelled: money that was held and goods that were reserved are given back.

    Recorded when the first of the reasons below is known.
    """

    customer: Customer = Field(description="Who ordered, with the address that a mail needs.")
    currency: Currency
    total_minor: Minor = Field(description="What the customer pays: the sum over the lines.")
    reason: Literal[
        "payment_declined", "out_of_stock", "timed_out", "customer_request", "capture_failed", "authorization_expired"
    ] = Field(description="Why, as one word that programs can act on.")
