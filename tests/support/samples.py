"""One order and what happens to it, as the events that tests begin with."""

from typing import Any

from jetmesh_contracts import (
    Customer,
    Goods,
    GoodsRejected,
    GoodsReserved,
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    Shortage,
    StockRestocked,
)

ADA = Customer(customer_id="c-7", email="ada@example.com")
PIZZA = Line(sku="pizza-margherita", quantity=2, unit_price_minor=1150)
TRUFFLE = Line(sku="truffle-special", quantity=1, unit_price_minor=4_900)


def placed(order_id: str = "o-1", *lines: Line, payment_method: str = "pm_card_visa") -> OrderPlaced:
    """An order, as its owner records it."""
    return OrderPlaced(
        order_id=order_id, customer=ADA, lines=lines or (PIZZA,), currency="EUR", payment_method=payment_method
    )


def body(order_id: Any = "o-1", **changes: Any) -> dict[str, Any]:
    """An order, as anybody may publish it, right or wrong; a change to None leaves the field out."""
    whole = {**placed().model_dump(mode="json"), "order_id": order_id, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def confirmed(order: OrderPlaced) -> OrderConfirmed:
    """The order is promised."""
    return OrderConfirmed(
        order_id=order.order_id,
        customer=order.customer,
        lines=order.lines,
        currency=order.currency,
        total_minor=order.total_minor,
    )


def cancelled(order: OrderPlaced, reason: Any = "out_of_stock") -> OrderCancelled:
    """The order will not be."""
    return OrderCancelled(
        order_id=order.order_id,
        customer=order.customer,
        currency=order.currency,
        total_minor=order.total_minor,
        reason=reason,
    )


def authorized(order: OrderPlaced, authorization_id: str = "pi_1") -> PaymentAuthorized:
    """The money is held."""
    return PaymentAuthorized(
        order_id=order.order_id,
        authorization_id=authorization_id,
        amount_minor=order.total_minor,
        currency=order.currency,
    )


def captured(order_id: str = "o-1") -> PaymentCaptured:
    """The money is taken."""
    return PaymentCaptured(
        order_id=order_id, authorization_id="pi_1", amount_minor=2300, currency="EUR", customer=ADA
    )  # fmt: skip


def declined(order: OrderPlaced) -> PaymentDeclined:
    """The bank refused."""
    return PaymentDeclined(order_id=order.order_id, reason="card_declined")


def reserved(order: OrderPlaced) -> GoodsReserved:
    """The goods are put aside."""
    return GoodsReserved(
        order_id=order.order_id, goods=tuple(Goods(sku=line.sku, quantity=line.quantity) for line in order.lines)
    )


def rejected(order: OrderPlaced, available: int = 0) -> GoodsRejected:
    """The first article was not there."""
    line = order.lines[0]
    return GoodsRejected(
        order_id=order.order_id, shortages=(Shortage(sku=line.sku, wanted=line.quantity, available=available),)
    )


def restocked(restock_id: str, sku: str = "pizza-margherita", quantity: int = 1_000) -> StockRestocked:
    """New pieces arrived."""
    return StockRestocked(restock_id=restock_id, sku=sku, quantity=quantity)
