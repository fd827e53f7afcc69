"""A second app on the broker: the example chat, in which each order of the shop has a room where it is told of.

It reads the shop's events by contract, and has two versions: the older one tells of confirmed orders, the newer one
also of cancelled ones. `CHAOS_CHAT` says which one a process is.
"""

import os
from collections.abc import Callable

from examples.chat.contract import MessageSent
from examples.chat.service import chat
from jetmesh import App
from jetmesh_contracts import OrderCancelled, OrderConfirmed

VERSION, OLDER, NEWER = "CHAOS_CHAT", "1.0.0", "1.1.0"
REFERENCE = "tests.chaos.second_app:SERVICES"


def told(order: OrderConfirmed | OrderCancelled) -> MessageSent:
    """What is said of an order; its id is what happened, so that it is told once."""
    return MessageSent(
        room_id=order.order_id, message_id=order.type.partition(".")[2], sender_id="shop", text=order.type
    )


async def tell_older(order: OrderConfirmed) -> MessageSent:
    """An order was confirmed: tell so in its room."""
    return told(order)


async def tell_newer(order: OrderConfirmed | OrderCancelled) -> MessageSent:
    """An order was confirmed or cancelled: tell so in its room."""
    return told(order)


def declared(tell: Callable[..., object]) -> None:
    """The reaction of this version, under the name that both have."""
    tell.__name__ = "tell"
    chat.on(since="beginning")(tell)


declared(tell_newer if os.environ.get(VERSION, NEWER) == NEWER else tell_older)
SERVICES = App([chat], name="chat", version=os.environ.get(VERSION, NEWER))
