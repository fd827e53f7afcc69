"""The events of notifications: which mail was sent. They have no address and no text: only the mail has these."""

from pydantic import Field

from jetmesh_contracts.event import Event, Token


class NotificationEvent(Event, owner="notifications", key_field="order_id"):
    """An event about a mail to the customer of one order."""

    order_id: Token = Field(description="The order that the mail is about: the key.")
    message_id: str = Field(max_length=200, description="The mail's Message-ID, the same at every attempt.")


class ConfirmationSent(NotificationEvent, type="notifications.confirmation_sent", ending=True):
    """The mail that confirms the order was sent.

    Recorded when the mail server has taken the mail.
    """


class CancellationSent(NotificationEvent, type="notifications.cancellation_sent", ending=True):
    """The mail that the order is refused or cancelled, with the reason, was sent.

    Recorded when the mail server has taken the mail.
    """


class ReceiptSent(NotificationEvent, type="notifications.receipt_sent", ending=True):
    """The receipt for the payment was sent.

    Recorded when the mail server has taken the mail.
    """


class DelaySent(NotificationEvent, type="notifications.delay_sent", ending=True):
    """The mail that the delivery is late was sent.

    Recorded when the mail server has taken the mail.
    """
