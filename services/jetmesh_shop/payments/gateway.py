"""The payment gateway as payments sees it: hold, capture, close, each idempotent by the order's key."""

from dataclasses import dataclass
from typing import Literal, Protocol

from jetmesh import Unavailable

DeclineReason = Literal[
    "card_declined", "insufficient_funds", "expired_card", "fraud_suspected", "unknown_payment_method", "other"
]
CaptureRefusal = Literal["capture_failed", "authorization_expired", "closed", "not_held"]


@dataclass(frozen=True, slots=True)
class Held:
    """The money is held on the customer's card."""

    authorization_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The bank will not hold the money; asking again gives the same answer."""

    reason: DeclineReason


@dataclass(frozen=True, slots=True)
class Closed:
    """The key was closed: it holds nothing and never will."""


@dataclass(frozen=True, slots=True)
class Captured:
    """The held money is taken."""

    authorization_id: str


@dataclass(frozen=True, slots=True)
class CaptureRefused:
    """The bank will not take the money; asking again gives the same answer."""

    reason: CaptureRefusal


@dataclass(frozen=True, slots=True)
class Released:
    """The key is closed: what was held, if anything, is given back."""


@dataclass(frozen=True, slots=True)
class AlreadyCaptured:
    """The money was taken before: the key can't be closed any more."""


class BankUnavailable(Unavailable):
    """The bank did not answer or could not: whether it acted is unknown. Ask again with the same key."""


class KeyReused(Exception):
    """A hold under a known key asks for another amount, currency or payment method: an error of the caller."""


class Gateway(Protocol):
    """Stripe's PaymentIntent in four calls: one intent per order, created by the first call.

    Every call may be repeated and answers the same; every call may raise BankUnavailable.
    """

    async def hold(
        self, order_key: str, amount_minor: int, currency: str, payment_method: str
    ) -> Held | Refused | Closed:
        """Hold the money. Raises KeyReused if the key was used for another hold."""
        ...

    async def capture(self, order_key: str) -> Captured | CaptureRefused:
        """Take the money that is held."""
        ...

    async def close(self, order_key: str) -> Released | AlreadyCaptured:
        """Give back what is held and refuse later holds for good, also when no hold was seen yet."""
        ...

    async def refund(self, order_key: str) -> None:
        """Give back what was taken, if anything, and refuse later holds for good."""
        ...
