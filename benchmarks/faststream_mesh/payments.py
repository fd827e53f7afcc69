"""Payments: hold, take and let go, at the same sandbox bank as the mesh's."""

# mypy: disallow-untyped-decorators=False

import os
from pathlib import Path

from faststream.nats import NatsBroker

from benchmarks.faststream_mesh.app import pulls, tell
from benchmarks.faststream_mesh.events import Order, Payment, Refusal
from jetmesh_shop.payments.adapters import SandboxBank
from jetmesh_shop.payments.gateway import Captured, Held


def subscribe(broker: NatsBroker) -> None:
    """The subscribers of the service."""
    bank = SandboxBank(Path(os.environ["JETMESH_STATE"], "bank.sqlite"))

    @broker.subscriber("orders.accepted", **pulls("ORDERS", "payments-authorize"))
    async def authorize(order: Order) -> None:
        answer = await bank.hold(order.order_id, order.total_minor, order.currency, order.payment_method)
        if isinstance(answer, Held):
            await tell(broker, "payments.authorized", _payment(order, answer.authorization_id), order.order_id)
        else:
            refusal = Refusal(order_id=order.order_id, reason="payment declined")
            await tell(broker, "payments.declined", refusal, order.order_id)

    @broker.subscriber("orders.confirmed", **pulls("ORDERS", "payments-capture"))
    async def capture(order: Order) -> None:
        answer = await bank.capture(order.order_id)
        if isinstance(answer, Captured):
            await tell(broker, "payments.captured", _payment(order, answer.authorization_id), order.order_id)

    @broker.subscriber("orders.cancelled", **pulls("ORDERS", "payments-void"))
    async def void(refusal: Refusal) -> None:
        await bank.close(refusal.order_id)
        await tell(broker, "payments.voided", refusal, refusal.order_id)


def _payment(order: Order, authorization_id: str) -> Payment:
    return Payment(
        order_id=order.order_id,
        authorization_id=authorization_id,
        amount_minor=order.total_minor,
        currency=order.currency,
    )
