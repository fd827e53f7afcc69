"""The HTTP edge of orders: place an order, read its story, follow it as it happens, ask to cancel it."""

from jetmesh_shop.orders.edge.app import create_app
from jetmesh_shop.orders.edge.limits import Limits
from jetmesh_shop.orders.edge.port import (
    AlreadyPlaced,
    Claim,
    Conflict,
    Orders,
    Placed,
    Placement,
    Refused,
    StoryEvent,
    TooLarge,
    Unavailable,
)
from jetmesh_shop.orders.edge.tokens import Tokens

__all__ = [
    "AlreadyPlaced",
    "Claim",
    "Conflict",
    "Limits",
    "Orders",
    "Placed",
    "Placement",
    "Refused",
    "StoryEvent",
    "Tokens",
    "TooLarge",
    "Unavailable",
    "create_app",
]
