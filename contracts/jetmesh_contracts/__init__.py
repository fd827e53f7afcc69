"""The events that the teams of the order mesh share: data only, no broker, no runtime."""

from jetmesh_contracts.event import Event, Token, UnknownVersion
from jetmesh_contracts.growing import Grows
from jetmesh_contracts.inventory import (
    Goods,
    GoodsRejected,
    GoodsReleased,
    GoodsReserved,
    Shortage,
    StockLevel,
    StockRestocked,
)
from jetmesh_contracts.money import Currency, Minor
from jetmesh_contracts.notifications import CancellationSent, ConfirmationSent, ReceiptSent
from jetmesh_contracts.orders import (
    Customer,
    Line,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderGoodsSecured,
    OrderPaymentSecured,
    OrderPlaced,
    OrderRefused,
)
from jetmesh_contracts.payments import (
    PaymentAuthorized,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentDeclined,
    PaymentVoided,
)

EVENTS: tuple[type[Event], ...] = (
    OrderPlaced,
    OrderRefused,
    OrderPaymentSecured,
    OrderGoodsSecured,
    OrderConfirmed,
    OrderCancellationRequested,
    OrderCancelled,
    PaymentAuthorized,
    PaymentDeclined,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentVoided,
    GoodsReserved,
    GoodsRejected,
    GoodsReleased,
    StockRestocked,
    StockLevel,
    ConfirmationSent,
    CancellationSent,
    ReceiptSent,
)
"""Every event of the mesh, in the order of an order's life."""

__all__ = [
    "EVENTS",
    "CancellationSent",
    "ConfirmationSent",
    "Currency",
    "Customer",
    "Event",
    "Goods",
    "GoodsRejected",
    "GoodsReleased",
    "GoodsReserved",
    "Grows",
    "Line",
    "Minor",
    "OrderCancellationRequested",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderGoodsSecured",
    "OrderPaymentSecured",
    "OrderPlaced",
    "OrderRefused",
    "PaymentAuthorized",
    "PaymentCaptureFailed",
    "PaymentCaptured",
    "PaymentDeclined",
    "PaymentVoided",
    "ReceiptSent",
    "Shortage",
    "StockLevel",
    "StockRestocked",
    "Token",
    "UnknownVersion",
]
