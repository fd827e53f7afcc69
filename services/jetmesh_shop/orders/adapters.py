"""The orders as the HTTP edge sees them, on the mesh."""

from collections.abc import Sequence
from contextlib import suppress

from jetmesh import AlreadyThere, Context, Stored, claim
from jetmesh_contracts import OrderCancellationRequested, OrderPlaced, OrderRefused
from jetmesh_shop.orders import domain
from jetmesh_shop.orders.edge.port import Placement
from jetmesh_shop.orders.service import orders


class MeshOrders:
    """Places orders under the guard of their id, and reads what orders recorded about them."""

    def __init__(self, context: Context, prices: domain.Prices, *, smtputf8: bool = False) -> None:
        self._mesh, self._prices, self._smtputf8 = context, prices, smtputf8

    async def place(self, order: OrderPlaced) -> Placement:
        """Record the order, or its refusal."""
        outcome = domain.check(order, self._prices, smtputf8=self._smtputf8)
        answer = await self._mesh.record_first(orders, outcome)
        if isinstance(answer, AlreadyThere):
            return Placement(_first(answer.story))
        return Placement(outcome, is_new=True)

    async def claim(self, idempotency_key: str, value: str) -> str:
        """The value of whoever took the key first."""
        return (await claim(self._mesh, orders, idempotency_key, value.encode())).decode()

    async def story(self, order_id: str) -> Sequence[Stored]:
        """What orders recorded about the order."""
        return [event for message in await self._mesh.story(orders, order_id) for event in message.endings()]

    async def request_cancellation(self, order_id: str) -> None:
        """Publish that the customer asks to cancel the order; the intake decides."""
        await self._mesh.publish(OrderCancellationRequested(order_id=order_id))


def _first(story: Sequence[Stored]) -> OrderPlaced | OrderRefused | None:
    """The order, or its refusal, as it was recorded; None if nobody can read it."""
    for message in story:
        for event in (OrderPlaced, OrderRefused):
            if message.type == event.type:
                with suppress(ValueError):
                    return event.read(message.data)
    return None
