"""What payments tells the world: money is held, and then taken or given back."""

from typing import Literal

from pydantic import Field

from jetmesh_contracts.event import Event, Token
from jetmesh_contracts.money import Currency, Minor
from jetmesh_contracts.orders import Customer


class PaymentEvent(Event, owner="payments", key_field="order_id"):
    """An event about the payment of one order."""

    order_id: Token


class PaymentAuthorized(PaymentEvent, type="payments.authorized"):
    """The bank holds the money; a capture takes it, a void gives it back."""

    authorization_id: Token = Field(description="The payment gateway's name of the hold.")
    amount_minor: Minor
    currency: Currency


class PaymentDeclined(PaymentEvent, type="payments.declined"):
    """The bank refused; nothing is held, nothing has to be undone."""

    reason: Literal[
        "card_declined", "insufficient_funds", "expired_card", "fraud_suspected", "unknown_payment_method", "other"
    ]


class PaymentCaptured(PaymentEvent, type="payments.captured"):
    """The money is taken. Carries what a receipt needs."""

    authorization_id: Token
    amount_minor: Minor
    currency: Currency
    customer: Customer


class PaymentCaptureFailed(PaymentEvent, type="payments.capture_failed"):
    """The money of a confirmed order can't be taken, now or later: the order is cancelled for it."""

    reason: Literal["capture_failed", "authorization_expired", "customer_request"]


class PaymentVoided(PaymentEvent, type="payments.voided"):
    """The payment is closed at the bank: what was held is given back, and a hold that comes later is refused."""
