"""Orders: accept what the catalogue has, join payment and goods, give up where one can't be had."""

# mypy: disallow-untyped-decorators=False

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from faststream.nats import NatsBroker
from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import BaseModel

from benchmarks.faststream_mesh.app import pulls, tell
from benchmarks.faststream_mesh.events import Goods, Order, Payment, Refusal


class State(BaseModel):
    """What is known about an order, in the bucket `orders`."""

    order: Order
    paid: bool = False
    reserved: bool = False
    status: Literal["open", "confirmed", "cancelled"] = "open"


def subscribe(broker: NatsBroker) -> None:
    """The subscribers of the service."""
    prices = json.loads(Path(os.environ["JETMESH_CATALOGUE"]).read_text())

    @broker.subscriber("orders.placed", **pulls("INTAKE", "orders-place"))
    async def place(order: Order) -> None:
        if any(prices.get(line.sku) != line.unit_price_minor for line in order.lines):
            refusal = Refusal(order_id=order.order_id, reason="unknown article or another price")
            return await tell(broker, "orders.refused", refusal, order.order_id)
        bucket = await broker.key_value("orders", declare=False)
        await bucket.put(order.order_id, State(order=order).model_dump_json().encode())
        return await tell(broker, "orders.accepted", order, order.order_id)

    @broker.subscriber("payments.authorized", **pulls("PAYMENTS", "orders-paid"))
    async def paid(payment: Payment) -> None:
        await secured(broker, payment.order_id, "paid")

    @broker.subscriber("inventory.reserved", **pulls("INVENTORY", "orders-reserved"))
    async def reserved(goods: Goods) -> None:
        await secured(broker, goods.order_id, "reserved")

    @broker.subscriber("payments.declined", **pulls("PAYMENTS", "orders-declined"))
    async def declined(refusal: Refusal) -> None:
        await give_up(broker, refusal)

    @broker.subscriber("inventory.rejected", **pulls("INVENTORY", "orders-rejected"))
    async def rejected(refusal: Refusal) -> None:
        await give_up(broker, refusal)


async def secured(broker: NatsBroker, order_id: str, half: Literal["paid", "reserved"]) -> None:
    """One half is there; confirm once both are. What was confirmed before is said again: the stream drops doubles."""

    def note(state: State) -> State:
        noted = state.model_copy(update={half: True})
        return noted.model_copy(update={"status": "confirmed"}) if noted.paid and noted.reserved else noted

    state = await change(broker, order_id, note)
    if state.status == "confirmed":
        await tell(broker, "orders.confirmed", state.order, order_id)


async def give_up(broker: NatsBroker, refusal: Refusal) -> None:
    """Cancel, unless it is confirmed."""
    state = await change(broker, refusal.order_id, lambda state: state.model_copy(update={"status": "cancelled"}))
    if state.status == "cancelled":
        await tell(broker, "orders.cancelled", refusal, refusal.order_id)


async def change(broker: NatsBroker, order_id: str, decide: Callable[[State], State]) -> State:
    """Compare and set until it holds; what has ended stays as it is."""
    bucket: KeyValue = await broker.key_value("orders", declare=False)
    while True:
        entry = await bucket.get(order_id)
        state = State.model_validate_json(entry.value or b"")
        if state.status != "open":
            return state
        changed = decide(state)
        try:
            await bucket.update(order_id, changed.model_dump_json().encode(), entry.revision)
        except KeyWrongLastSequenceError:
            continue
        return changed
