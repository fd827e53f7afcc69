"""The order as peers would declare it: the contract's fields, without its patterns and its strictness."""

from pydantic import BaseModel

SOURCE, DURABLE = "ORDERS", "payments-authorize"
PLACED = "orders.placed.*"
AUTHORIZED = "payments.authorized.all"
"""A fixed subject, since that is what a peer's decorator takes; one of its own per order would cost it more."""

BATCH = 256


class Customer(BaseModel):
    """Who ordered."""

    customer_id: str
    email: str


class Line(BaseModel):
    """So many pieces at that price."""

    sku: str
    quantity: int
    unit_price_minor: int


class Order(BaseModel):
    """A customer clicked "Buy"."""

    order_id: str
    customer: Customer
    lines: list[Line]
    currency: str
    payment_method: str


class Authorized(BaseModel):
    """The bank holds the money."""

    order_id: str
    authorization_id: str
    amount_minor: int
    currency: str


def authorize(order: Order) -> Authorized:
    """What every contender decides."""
    return Authorized(
        order_id=order.order_id,
        authorization_id=f"pi_{order.order_id}",
        amount_minor=sum(line.quantity * line.unit_price_minor for line in order.lines),
        currency=order.currency,
    )
