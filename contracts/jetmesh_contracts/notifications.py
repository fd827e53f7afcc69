"""What notifications tells the world: which mail went out. No address, no text: those stay with the mail."""

from pydantic import Field

from jetmesh_contracts.event import Event, Token


class NotificationEvent(Event, owner="notifications", key_field="order_id"):
    """An event about a mail to the customer of one order."""

    order_id: Token = Field(description="The order that the mail is about: the key.")
    message_id: str = Field(max_length=200, description="The mail's Message-ID, the same at every attempt.")


class ConfirmationSent(NotificationEvent, type="notifications.confirmation_sent", ending=True):
    """The customer was told that the order is promised.

    Recorded when the mail server has taken the mail.
    """


class CancellationSent(NotificationEvent, type="notifications.cancellation_sent", ending=True):
    """The customer was told that the order will not be, and why.

    Recorded when the mail server has taken the mail.
    """


class ReceiptSent(NotificationEvent, type="notifications.receipt_sent", ending=True):
    """The customer was told that the money is taken.

    Recorded when the mail server has taken the mail.
    """
