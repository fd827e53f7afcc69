"""Hold the money when an order is placed, take it when the order is confirmed, let it go when it is cancelled."""

from dataclasses import dataclass

from jetmesh import NotYet, Retry, Service
from jetmesh_contracts import (
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentDeclined,
    PaymentVoided,
)
from jetmesh_shop.payments import domain
from jetmesh_shop.payments.domain import Payment
from jetmesh_shop.payments.gateway import AlreadyCaptured, Closed, Gateway

NEVER_GIVE_UP = Retry(attempts=None)


@dataclass(frozen=True)
class Payments:
    """What payments needs: a payment gateway. Every call is idempotent by the order's key."""

    gateway: Gateway


payments = Service("payments", Payments)


@payments.begins(needs=Gateway)
async def authorize(order: OrderPlaced, deps: Payments) -> PaymentAuthorized | PaymentDeclined:
    """An order was placed: hold its total on the customer's card."""
    answer = await deps.gateway.hold(order.order_id, order.total_minor, order.currency, order.payment_method)
    if isinstance(answer, Closed):
        raise NotYet("the payment was closed before it was held; the story will say so")
    return domain.authorization(order, answer)


@payments.on(needs=Gateway, retry=NEVER_GIVE_UP)
async def capture(
    order: OrderConfirmed, payment: Payment, deps: Payments
) -> PaymentCaptured | PaymentCaptureFailed | None:
    """The order is promised: take the money that is held."""
    if payment.has_ended:
        return None
    if not payment.has(PaymentAuthorized):
        raise NotYet("the authorization is not in the story that was read")
    return domain.capture(order, await deps.gateway.capture(order.order_id))


@payments.on(needs=Gateway, retry=NEVER_GIVE_UP)
async def void(order: OrderCancelled, payment: Payment, deps: Payments) -> PaymentVoided | None:
    """The order will not be: close the payment at the bank for good, also when no hold is seen yet."""
    if payment.has(PaymentVoided, PaymentDeclined):
        return None
    if isinstance(await deps.gateway.close(order.order_id), AlreadyCaptured):
        if payment.has(PaymentCaptured):
            raise NotYet("the order is cancelled, but its money is taken: a person must look")
        # It was taken in a time that a restore has undone.
        await deps.gateway.refund(order.order_id)
    return PaymentVoided(order_id=order.order_id)


@payments.on(needs=Gateway, retry=NEVER_GIVE_UP)
async def withdraw(
    request: OrderCancellationRequested, payment: Payment, deps: Payments
) -> PaymentCaptureFailed | None:
    """The customer does not want a promised order any more: close the payment, unless the money is taken."""
    if payment.has_ended:
        return None
    if isinstance(await deps.gateway.close(request.order_id), AlreadyCaptured):
        raise NotYet("the money is taken; the story will say so")
    return domain.failed(request.order_id, "customer_request")
