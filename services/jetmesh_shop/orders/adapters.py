"""The orders as the HTTP edge sees them, on the mesh."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import jetmesh
from jetmesh import AlreadyThere, Context, Stored
from jetmesh_contracts import OrderCancellationRequested, OrderPlaced, OrderRefused
from jetmesh_shop.orders import domain
from jetmesh_shop.orders.edge.port import AlreadyPlaced, Claim, Conflict, Placed, Placement, Refused, StoryEvent
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
            return _known(order, answer.story)
        if isinstance(outcome, OrderRefused):
            return Refused(outcome.reason, outcome.detail)
        return Placed()

    async def claim(self, claimed: Claim) -> Claim:
        """Who took the Idempotency-Key first."""
        value = json.dumps([claimed.fingerprint, claimed.order_id]).encode()
        fingerprint, order_id = json.loads(await jetmesh.claim(self._mesh, orders, claimed.idempotency_key, value))
        return Claim(claimed.idempotency_key, fingerprint, order_id)

    async def story(self, order_id: str) -> Sequence[StoryEvent]:
        """What orders recorded about the order."""
        stored = await self._mesh.story(orders, order_id)
        return [_story_event(told) for message in stored for told in message.endings()]

    async def request_cancellation(self, order_id: str) -> None:
        """Publish that the customer asks to cancel the order; the intake decides."""
        await self._mesh.publish(OrderCancellationRequested(order_id=order_id))


def _known(order: OrderPlaced, story: Sequence[Stored]) -> Placement:
    """What is recorded under this id already: the same order, another one, or an unreadable event."""
    with suppress(ValueError):
        for message in story:
            if message.type == OrderPlaced.type:
                return AlreadyPlaced() if OrderPlaced.read(message.data) == order else Conflict()
            if message.type == OrderRefused.type:
                refused = OrderRefused.read(message.data)
                return Refused(refused.reason, refused.detail)
    return Conflict()


def _story_event(message: Stored) -> StoryEvent:
    return StoryEvent(
        type=message.type,
        time=datetime.fromisoformat(message.time),
        sequence=message.sequence,
        data=message.document,
    )
