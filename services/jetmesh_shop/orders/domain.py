"""What orders decides: whether an order can be taken as it is, when it is promised, and when it will not be."""

from collections.abc import Mapping
from typing import Literal

from jetmesh import Fold
from jetmesh_contracts import (
    Event,
    GoodsRejected,
    GoodsReserved,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderGoodsSecured,
    OrderPaymentSecured,
    OrderPlaced,
    OrderRefused,
    PaymentAuthorized,
    PaymentCaptureFailed,
    PaymentDeclined,
)
from jetmesh_shop.addresses import Unmailable, mailable

Prices = Mapping[str, int]
"""The catalogue: article → price of one piece, in the minor unit of `CURRENCY`."""

CURRENCY = "EUR"
RefusalReason = Literal["unknown_article", "price_changed", "currency_not_sold", "email_unusable"]
Reason = Literal[
    "payment_declined", "out_of_stock", "timed_out", "customer_request", "capture_failed", "authorization_expired"
]


class Order(Fold):
    """What orders has recorded about one order."""

    @property
    def placed(self) -> OrderPlaced | None:
        """What was ordered."""
        return self.get(OrderPlaced)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing but an ending: it was refused, or archived. Whatever comes now comes too late."""
        return self.placed is None and self.has(OrderConfirmed, OrderCancelled, OrderRefused)


def check(order: OrderPlaced, prices: Prices, *, smtputf8: bool = False) -> OrderPlaced | OrderRefused:
    """The order as it stands, or why it can't be taken: an article or a price that is not the catalogue's, an address
    that no mail reaches. `smtputf8`: the mail server takes addresses that are not ASCII."""
    if order.currency != CURRENCY:
        return _refused(order, "currency_not_sold", f"prices are in {CURRENCY}, not in {order.currency}")
    for line in order.lines:
        price = prices.get(line.sku)
        if price is None:
            return _refused(order, "unknown_article", f"there is no article {line.sku}")
        if price != line.unit_price_minor:
            return _refused(order, "price_changed", f"{line.sku} costs {price}, not {line.unit_price_minor}")
    if reason := _unmailable(order.customer.email, smtputf8=smtputf8):
        return _refused(order, "email_unusable", reason)
    return order


def _unmailable(email: str, *, smtputf8: bool) -> str:
    """Why no mail can reach the address; empty where one can."""
    try:
        needs_smtputf8 = mailable(email).needs_smtputf8
    except Unmailable as reason:
        return str(reason)
    return "what stands before the @ must be ASCII" if needs_smtputf8 and not smtputf8 else ""


def promise(
    secured: PaymentAuthorized | GoodsReserved, placed: OrderPlaced, order: Order
) -> OrderPaymentSecured | OrderGoodsSecured | OrderConfirmed | None:
    """Both halves are there: the order is promised. One half: it is noted. Whichever comes first."""
    if order.has(OrderConfirmed, OrderCancelled):
        return None
    half: OrderPaymentSecured | OrderGoodsSecured
    other: type[Event]
    if isinstance(secured, PaymentAuthorized):
        half = OrderPaymentSecured(order_id=placed.order_id, authorization_id=secured.authorization_id)
        other = OrderGoodsSecured
    else:
        half, other = OrderGoodsSecured(order_id=placed.order_id), OrderPaymentSecured
    if order.has(other):
        return confirmation(placed)
    return None if order.has(type(half)) else half


def confirmation(placed: OrderPlaced) -> OrderConfirmed:
    """The promise, with all that those need who keep it."""
    return OrderConfirmed(
        order_id=placed.order_id,
        customer=placed.customer,
        lines=placed.lines,
        currency=placed.currency,
        total_minor=placed.total_minor,
    )


def cancellation(placed: OrderPlaced, reason: Reason) -> OrderCancelled:
    """The order will not be."""
    return OrderCancelled(
        order_id=placed.order_id,
        customer=placed.customer,
        currency=placed.currency,
        total_minor=placed.total_minor,
        reason=reason,
    )


def give_up(
    obstacle: PaymentDeclined | GoodsRejected | PaymentCaptureFailed | None, placed: OrderPlaced, order: Order
) -> OrderCancelled | None:
    """Something stands in the way, or the time is up: cancelled, unless it has ended already.

    A promised order is given up only where payments recorded that its money can't be taken: that excludes a capture.
    """
    if order.has(OrderCancelled) or (order.has(OrderConfirmed) and not isinstance(obstacle, PaymentCaptureFailed)):
        return None
    match obstacle:
        case PaymentDeclined():
            return cancellation(placed, "payment_declined")
        case GoodsRejected():
            return cancellation(placed, "out_of_stock")
        case PaymentCaptureFailed(reason=reason):
            return cancellation(placed, reason)
        case None:
            return cancellation(placed, "timed_out")


def withdraw(
    request: OrderCancellationRequested, placed: OrderPlaced, order: Order
) -> OrderCancelled | OrderCancellationRequested | None:
    """The customer changed their mind: cancelled at once, or, once the order is promised, a question to payments."""
    if order.has(OrderCancelled, OrderCancellationRequested):
        return None
    return request if order.has(OrderConfirmed) else cancellation(placed, "customer_request")


def _refused(order: OrderPlaced, reason: RefusalReason, detail: str) -> OrderRefused:
    return OrderRefused(order_id=order.order_id, customer=order.customer, reason=reason, detail=detail)
