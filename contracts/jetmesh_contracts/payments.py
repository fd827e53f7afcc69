"""The events of payments: money is held, and then taken or given back."""

from typing import Annotated, Literal

from pydantic import Field

from jetmesh_contracts.event import Event, Token
from jetmesh_contracts.growing import Grows
from jetmesh_contracts.money import Currency, Minor
from jetmesh_contracts.orders import Customer


class PaymentEvent(Event, owner="payments", key_field="order_id"):
    """An event about the payment of one order."""

    order_id: Token = Field(description="The order that is paid: the key.")


class PaymentAuthorized(PaymentEvent, type="payments.authorized"):
    """The bank holds the money; a capture takes it, a void gives it back.

    Recorded when the bank answered to the order that was placed.
    """

    authorization_id: Token = Field(description="The payment gateway's name of the hold.")
    amount_minor: Minor = Field(description="The order's total.")
    currency: Currency


class PaymentDeclined(PaymentEvent, type="payments.declined", ending=True):
    """The bank refused; nothing is held, nothing has to be undone.

    Recorded when the bank answered to the order that was placed.
    """

    reason: Annotated[
        Literal[
            "card_declined", "insufficient_funds", "expired_card", "fraud_suspected", "unknown_payment_method", "other"
        ],
        Grows("other"),
    ] = Field(description="Why, as one word that programs can act on. More may come: they are read as `other`.")


class PaymentCaptured(PaymentEvent, type="payments.captured", ending=True):
    """The money is taken. The event has the data for a receipt.

    Recorded when the order was confirmed and the bank took the money.
    """

    authorization_id: Token = Field(description="The payment gateway's name of the hold.")
    amount_minor: Minor = Field(description="The order's total.")
    currency: Currency
    customer: Customer = Field(description="Who ordered, with the address that a mail needs.")


class PaymentCaptureFailed(PaymentEvent, type="payments.capture_failed"):
    """The money of a confirmed order can't be taken, now or later: the order is cancelled.

    Recorded when the bank refuses to take what it held.
    """

    reason: Literal["capture_failed", "authorization_expired", "customer_request"] = Field(
        description="Why, as one word that programs can act on."
    )


class PaymentVoided(PaymentEvent, type="payments.voided", ending=True):
    """The payment is closed at the bank: held money is given back, and a later hold is refused.

    Recorded after every cancellation of an order, even if nothing was held.
    """
