"""Tell the customer: the order is promised, the order will not be, the money is taken, the courier is late."""

from dataclasses import dataclass

from jetmesh import Retry, Service
from jetmesh_contracts import (
    CancellationSent,
    ConfirmationSent,
    DelaySent,
    DeliveryDelayed,
    OrderCancelled,
    OrderConfirmed,
    OrderRefused,
    PaymentCaptured,
    ReceiptSent,
)
from jetmesh_shop.notifications import templates
from jetmesh_shop.notifications.mailer import Mailer, message_id

PATIENT = Retry(attempts=20, longest_seconds=3_600)


@dataclass(frozen=True)
class Notifications:
    """The dependency of notifications: it sends mail. The Message-ID is the same at every attempt."""

    mailer: Mailer


notifications = Service("notifications", Notifications)


@notifications.on(needs=Mailer, retry=PATIENT)
async def confirm(order: OrderConfirmed, deps: Notifications) -> ConfirmationSent:
    """The order is promised: send the confirmation."""
    lines = [(line.sku, line.quantity, line.unit_price_minor) for line in order.lines]
    contents = templates.confirmation(order.order_id, lines, order.currency, order.total_minor)
    sent = message_id("confirmation", order.order_id)
    await deps.mailer.send(contents.to(order.customer.email, sent))
    return ConfirmationSent(order_id=order.order_id, message_id=sent)


@notifications.on(needs=Mailer, retry=PATIENT)
async def apologize(order: OrderCancelled | OrderRefused, deps: Notifications) -> CancellationSent | None:
    """The order will not be: say so, and why."""
    if isinstance(order, OrderRefused):
        if order.reason == "email_unusable":
            return None
        contents = templates.refusal(order.order_id, order.detail)
    else:
        contents = templates.cancellation(order.order_id, order.reason)
    sent = message_id("cancellation", order.order_id)
    await deps.mailer.send(contents.to(order.customer.email, sent))
    return CancellationSent(order_id=order.order_id, message_id=sent)


@notifications.on(needs=Mailer, retry=PATIENT)
async def thank(payment: PaymentCaptured, deps: Notifications) -> ReceiptSent:
    """The money is taken: send the receipt."""
    contents = templates.receipt(payment.order_id, payment.currency, payment.amount_minor)
    sent = message_id("receipt", payment.order_id)
    await deps.mailer.send(contents.to(payment.customer.email, sent))
    return ReceiptSent(order_id=payment.order_id, message_id=sent)


@notifications.on(needs=Mailer, retry=PATIENT)
async def soothe(order: DeliveryDelayed, deps: Notifications) -> DelaySent:
    """No courier was free, or one was silent, for too long: say that the order comes later."""
    sent = message_id("delay", order.order_id)
    await deps.mailer.send(templates.delay(order.order_id).to(order.customer.email, sent))
    return DelaySent(order_id=order.order_id, message_id=sent)
