"""Take an order, promise it once payment and goods are secured, or cancel it."""

from dataclasses import dataclass
from datetime import timedelta

from jetmesh import NotYet, Retry, Service
from jetmesh_contracts import (
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
from jetmesh_shop.orders import domain
from jetmesh_shop.orders.domain import Order, Prices


@dataclass(frozen=True)
class Orders:
    """What orders needs: the catalogue's prices, and whether mail can go to addresses that are not ASCII."""

    prices: Prices
    smtputf8: bool = False


orders = Service("orders", Orders, claims=timedelta(hours=24))


@orders.intake
async def place(order: OrderPlaced, deps: Orders) -> OrderPlaced | OrderRefused:
    """Somebody clicked "Buy": check the order against the catalogue and record it."""
    return domain.check(order, deps.prices, smtputf8=deps.smtputf8)


@orders.on
async def promise(
    secured: PaymentAuthorized | GoodsReserved, order: Order
) -> OrderPaymentSecured | OrderGoodsSecured | OrderConfirmed | None:
    """The money is held, or the goods are reserved: promise the order once both are."""
    return None if order.is_over else domain.promise(secured, _placed(order), order)


@orders.on(retry=Retry(attempts=None))
async def give_up(
    obstacle: PaymentDeclined | GoodsRejected | PaymentCaptureFailed, order: Order
) -> OrderCancelled | None:
    """The money or the goods can't be had: cancel the order."""
    return None if order.is_over else domain.give_up(obstacle, _placed(order), order)


@orders.after(minutes=15)
async def time_out(placed: OrderPlaced, order: Order) -> OrderCancelled | None:
    """The time is up: cancel what has not ended."""
    return domain.give_up(None, placed, order)


@orders.intake
async def withdraw(
    request: OrderCancellationRequested, order: Order
) -> OrderCancelled | OrderCancellationRequested | None:
    """The customer does not want the order any more: cancel it, or ask payments if it is promised already."""
    return None if order.is_over else domain.withdraw(request, _placed(order), order)


def _placed(order: Order) -> OrderPlaced:
    """What was ordered. It was recorded before any reaction to it, so if it is missing, the replica lags."""
    if order.placed is None:
        raise NotYet("the order is not in the story that was read")
    return order.placed
