"""What payments decides: the bank's answers in our words."""

from typing import Literal

from jetmesh import Fold
from jetmesh_contracts import (
    OrderConfirmed,
    OrderPlaced,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentDeclined,
    PaymentVoided,
)
from jetmesh_shop.payments.gateway import Captured, CaptureRefused, Held, Refused


class Payment(Fold):
    """What payments has recorded about one order."""

    @property
    def has_ended(self) -> bool:
        """Whether no more money can be taken: of an archived payment that failed, only the void is left."""
        return self.has(PaymentCaptured, PaymentCaptureFailed, PaymentVoided)


def authorization(order: OrderPlaced, answer: Held | Refused) -> PaymentAuthorized | PaymentDeclined:
    """What the bank said to a hold."""
    match answer:
        case Held(authorization_id):
            return PaymentAuthorized(
                order_id=order.order_id,
                authorization_id=authorization_id,
                amount_minor=order.total_minor,
                currency=order.currency,
            )
        case Refused(reason):
            return PaymentDeclined(order_id=order.order_id, reason=reason)


def capture(order: OrderConfirmed, answer: Captured | CaptureRefused) -> PaymentCaptured | PaymentCaptureFailed:
    """What the bank said to a capture. A closed hold of a promised order was closed on the customer's request."""
    match answer:
        case Captured(authorization_id):
            return PaymentCaptured(
                order_id=order.order_id,
                authorization_id=authorization_id,
                amount_minor=order.total_minor,
                currency=order.currency,
                customer=order.customer,
            )
        case CaptureRefused("authorization_expired"):
            return failed(order.order_id, "authorization_expired")
        case CaptureRefused("closed"):
            return failed(order.order_id, "customer_request")
        case CaptureRefused():
            return failed(order.order_id, "capture_failed")


def failed(
    order_id: str, reason: Literal["capture_failed", "authorization_expired", "customer_request"]
) -> PaymentCaptureFailed:
    """The money will not be taken."""
    return PaymentCaptureFailed(order_id=order_id, reason=reason)
