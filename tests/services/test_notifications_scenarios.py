"""Notifications: one mail of a kind about an order, with the same Message-ID at every attempt."""

from dataclasses import dataclass, field

from jetmesh.testing import given
from jetmesh_contracts import CancellationSent, ConfirmationSent, OrderRefused, PaymentCaptured, ReceiptSent
from jetmesh_shop.notifications.mailer import Mail, MailRefused, MailUnavailable, message_id
from jetmesh_shop.notifications.service import Notifications, apologize, confirm, thank
from tests.support.samples import ADA, cancelled, confirmed, placed

ORDER = placed()
CAPTURED = PaymentCaptured(order_id="o-1", authorization_id="pi_1", amount_minor=2300, currency="EUR", customer=ADA)


@dataclass
class Outbox:
    """A mailer that keeps what it was given, or fails as it was told."""

    mails: list[Mail] = field(default_factory=list)
    failure: Exception | None = None

    async def send(self, mail: Mail) -> None:
        if self.failure:
            raise self.failure
        self.mails.append(mail)


async def test_a_promised_order_is_confirmed_by_mail() -> None:
    outbox = Outbox()
    sent = ConfirmationSent(order_id="o-1", message_id=message_id("confirmation", "o-1"))
    await given().when(confirm, confirmed(ORDER), Notifications(outbox)).then(sent)
    assert {mail.message_id for mail in outbox.mails} == {sent.message_id}
    assert {mail.to for mail in outbox.mails} == {"ada@example.com"}


async def test_a_mail_that_went_out_is_not_sent_again() -> None:
    outbox = Outbox()
    sent = ConfirmationSent(order_id="o-1", message_id="<m>")
    await given(sent).when(confirm, confirmed(ORDER), Notifications(outbox)).then()
    assert outbox.mails == []


async def test_a_cancellation_and_a_refusal_are_told_with_their_reason() -> None:
    outbox = Outbox()
    sent = CancellationSent(order_id="o-1", message_id=message_id("cancellation", "o-1"))
    refused = OrderRefused(order_id="o-1", customer=ADA, reason="price_changed", detail="cola costs 290, not 1")
    await given().when(apologize, cancelled(ORDER), Notifications(outbox)).then(sent)
    await given().when(apologize, refused, Notifications(outbox)).then(sent)
    assert "cola costs 290, not 1" in outbox.mails[-1].text


async def test_a_captured_payment_is_receipted_beside_the_confirmation() -> None:
    confirmation = ConfirmationSent(order_id="o-1", message_id="<m>")
    sent = ReceiptSent(order_id="o-1", message_id=message_id("receipt", "o-1"))
    await given(confirmation).when(thank, CAPTURED, Notifications(Outbox())).then(sent)


async def test_a_server_that_does_not_take_the_mail_records_nothing() -> None:
    for failure in (MailUnavailable("busy"), MailRefused("no such user")):
        deps = Notifications(Outbox(failure=failure))
        await given().when(thank, CAPTURED, deps).then_raises(type(failure))
