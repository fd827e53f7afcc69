"""The HTTP edge of orders: place an order, read its story, follow it as it happens, ask to cancel it."""

from services.orders.edge.app import create_app
from services.orders.edge.limits import Limits
from services.orders.edge.port import (
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
from services.orders.edge.tokens import Tokens

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
