"""What payments decides: the bank's answers in our words."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from jetmesh_contracts import (
    Event,
    OrderConfirmed,
    OrderPlaced,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentDeclined,
    PaymentVoided,
)
from jetmesh_shop.payments.gateway import Captured, CaptureRefused, Held, Refused


@dataclass(frozen=True, slots=True)
class Payment:
    """What payments has recorded about one order."""

    authorized: PaymentAuthorized | None = None
    declined: bool = False
    captured: bool = False
    capture_failed: bool = False
    voided: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether no more money can be taken: of an archived payment that failed, only the void is left."""
        return self.captured or self.capture_failed or self.voided

    def evolve(self, event: Event) -> Self:
        """The payment after `event`."""
        match event:
            case PaymentAuthorized():
                return replace(self, authorized=event)
            case PaymentDeclined():
                return replace(self, declined=True)
            case PaymentCaptured():
                return replace(self, captured=True)
            case PaymentCaptureFailed():
                return replace(self, capture_failed=True)
            case PaymentVoided():
                return replace(self, voided=True)
            case _:
                return self


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
