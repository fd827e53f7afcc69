"""The sandbox bank's rules: Stripe's PaymentIntent, where the payment method's name decides. Nothing is stored here."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from jetmesh_shop.payments.gateway import (
    AlreadyCaptured,
    BankUnavailable,
    Captured,
    CaptureRefusal,
    CaptureRefused,
    Closed,
    DeclineReason,
    Held,
    KeyReused,
    Refused,
    Released,
)

State = Literal["processing", "held", "refused", "captured", "closed", "expired"]
Movement = Literal["held", "captured", "released", "refunded"]
Answer = TypeVar("Answer")

PAYING = frozenset({"pm_card_visa", "pm_card_mastercard", "pm_card_amex"})
CAPTURE_FAILS, HOLD_EXPIRES, FLAKY = "pm_sandbox_captureFails", "pm_sandbox_holdExpires", "pm_sandbox_flaky"
HOLDING = PAYING | {CAPTURE_FAILS, HOLD_EXPIRES, FLAKY}
DECLINING: dict[str, DeclineReason] = {
    "pm_card_visa_chargeDeclined": "card_declined",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_visa_chargeDeclinedLostCard": "card_declined",
    "pm_card_visa_chargeDeclinedStolenCard": "card_declined",
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": "other",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
    "pm_card_chargeDeclinedIncorrectCvc": "card_declined",
    "pm_card_chargeDeclinedProcessingError": "other",
    "pm_card_radarBlock": "fraud_suspected",
}
FLAKY_FAILURES = 2


class Intent(NamedTuple):
    """What the bank knows of one key; `failures` counts the passing ones of a flaky payment method."""

    state: State
    amount_minor: int = 0
    currency: str = ""
    payment_method: str = ""
    failures: int = 0

    @property
    def terms(self) -> "Terms":
        """What its hold asked for."""
        return Terms(*self[1:4])


class Terms(NamedTuple):
    """What a hold asks for."""

    amount_minor: int
    currency: str
    payment_method: str


class Decision(NamedTuple, Generic[Answer]):
    """The answer to a call; the intent, where it changed; and the movement of money, where there was one."""

    answer: Answer | BankUnavailable | KeyReused
    intent: Intent | None = None
    movement: Movement | None = None


Rule: TypeAlias = Callable[[str, Intent | None], Decision[Answer]]
"""What the bank answers to a call, given the key and what it knows of it."""


def authorization_id(key: str) -> str:
    """The hold's name, the same at every call for the key."""
    return "pi_" + blake2b(key.encode(), digest_size=12).hexdigest()


def hold(key: str, intent: Intent | None, terms: Terms) -> Decision[Held | Refused | Closed]:
    """A closed key comes first: it answers the same whatever is asked of it."""
    if intent is None:
        return authorize(key, terms, failures=0)
    if intent.state in ("closed", "expired"):
        return Decision(Closed())
    if intent.terms != terms:
        return Decision(KeyReused(f"{key} was asked to hold something else before"))
    if intent.state == "processing":
        return authorize(key, terms, intent.failures)
    if intent.state == "refused":
        return Decision(Refused(decline_reason(terms.payment_method)))
    return Decision(Held(authorization_id(key)))


def authorize(key: str, terms: Terms, failures: int) -> Decision[Held | Refused | Closed]:
    """The payment method's name decides."""
    if terms.payment_method == FLAKY and failures < FLAKY_FAILURES:
        unavailable = BankUnavailable("the card's issuer does not answer")
        return Decision(unavailable, Intent("processing", *terms, failures + 1))
    if terms.payment_method in HOLDING:
        return Decision(Held(authorization_id(key)), Intent("held", *terms), "held")
    return Decision(Refused(decline_reason(terms.payment_method)), Intent("refused", *terms))


def decline_reason(payment_method: str) -> DeclineReason:
    """Why a payment method that holds nothing is refused."""
    return DECLINING.get(payment_method, "unknown_payment_method")


def capture(key: str, intent: Intent | None) -> Decision[Captured | CaptureRefused]:
    """Money is taken once, and only from a hold that is still there."""
    if intent is not None and intent.state == "captured":
        return Decision(Captured(authorization_id(key)))
    if intent is None or intent.state != "held":
        return Decision(CaptureRefused(refusal(intent)))
    if intent.payment_method == HOLD_EXPIRES:
        return Decision(CaptureRefused("authorization_expired"), intent._replace(state="expired"), "released")
    if intent.payment_method == CAPTURE_FAILS:
        return Decision(CaptureRefused("capture_failed"))
    return Decision(Captured(authorization_id(key)), intent._replace(state="captured"), "captured")


def refusal(intent: Intent | None) -> CaptureRefusal:
    """Why there is nothing to capture."""
    if intent is None or intent.state in ("processing", "refused"):
        return "not_held"
    return "authorization_expired" if intent.state == "expired" else "closed"


def close(_key: str, intent: Intent | None) -> Decision[Released | AlreadyCaptured]:
    """A key without an intent gets one that is closed, so that a hold still on its way finds it so."""
    if intent is None:
        return Decision(Released(), Intent("closed"))
    if intent.state == "captured":
        return Decision(AlreadyCaptured())
    if intent.state in ("closed", "expired"):
        return Decision(Released())
    return Decision(Released(), intent._replace(state="closed"), "released" if intent.state == "held" else None)


def refund(key: str, intent: Intent | None) -> Decision[None]:
    """Money is given back once; where none was taken, the key is closed as ever."""
    if intent is None or intent.state != "captured":
        return Decision(None, *close(key, intent)[1:])
    return Decision(None, intent._replace(state="closed"), "refunded")
