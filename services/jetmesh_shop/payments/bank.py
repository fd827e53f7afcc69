"""The sandbox bank's rules: Stripe's PaymentIntent, where the payment method's name decides. Nothing is stored here."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

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
    Refunded,
    Refused,
    Released,
)

State = Literal["processing", "held", "refused", "captured", "closed", "expired"]
Movement = Literal["held", "captured", "released", "refunded"]
Answer: TypeAlias = Held | Refused | Closed | Captured | CaptureRefused | Released | AlreadyCaptured | Refunded

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


@dataclass(frozen=True, slots=True)
class Hold:
    """The call that holds money."""

    key: str
    amount_minor: int
    currency: str
    payment_method: str


@dataclass(frozen=True, slots=True)
class Capture:
    """The call that takes the money that is held."""

    key: str


@dataclass(frozen=True, slots=True)
class Close:
    """The call that gives the money back and closes the key for good."""

    key: str


@dataclass(frozen=True, slots=True)
class Refund:
    """The call that gives back what was taken, and closes the key for good."""

    key: str


Call: TypeAlias = Hold | Capture | Close | Refund


class Intent(NamedTuple):
    """What the bank knows of one key; `failures` counts the passing ones of a flaky payment method."""

    state: State
    amount_minor: int = 0
    currency: str = ""
    payment_method: str = ""
    failures: int = 0

    def wants(self, hold: Hold) -> bool:
        """Whether `hold` asks for what this intent was made for."""
        return self[1:4] == (hold.amount_minor, hold.currency, hold.payment_method)


class Decision(NamedTuple):
    """The answer to a call; the intent, where it changed; and the movement of money, where there was one."""

    answer: Answer | BankUnavailable | KeyReused
    intent: Intent | None = None
    movement: Movement | None = None


def authorization_id(key: str) -> str:
    """The hold's name, the same at every call for the key."""
    return "pi_" + blake2b(key.encode(), digest_size=12).hexdigest()


def decide(call: Call, intent: Intent | None) -> Decision:
    """What the bank answers to `call`, given what it knows of the key."""
    match call:
        case Hold():
            return hold(call, intent)
        case Capture():
            return capture(call, intent)
        case Close():
            return close(intent)
        case Refund():
            return refund(intent)


def hold(call: Hold, intent: Intent | None) -> Decision:
    """A closed key comes first: it answers the same whatever is asked of it."""
    if intent is None:
        return authorize(call, failures=0)
    if intent.state in ("closed", "expired"):
        return Decision(Closed())
    if not intent.wants(call):
        return Decision(KeyReused(f"{call.key} was asked to hold something else before"))
    if intent.state == "processing":
        return authorize(call, intent.failures)
    if intent.state == "refused":
        return Decision(Refused(decline_reason(call.payment_method)))
    return Decision(Held(authorization_id(call.key)))


def authorize(call: Hold, failures: int) -> Decision:
    """The payment method's name decides."""
    terms = (call.amount_minor, call.currency, call.payment_method)
    if call.payment_method == FLAKY and failures < FLAKY_FAILURES:
        unavailable = BankUnavailable("the card's issuer does not answer")
        return Decision(unavailable, Intent("processing", *terms, failures + 1))
    if call.payment_method in HOLDING:
        return Decision(Held(authorization_id(call.key)), Intent("held", *terms), "held")
    return Decision(Refused(decline_reason(call.payment_method)), Intent("refused", *terms))


def decline_reason(payment_method: str) -> DeclineReason:
    """Why a payment method that holds nothing is refused."""
    return DECLINING.get(payment_method, "unknown_payment_method")


def capture(call: Capture, intent: Intent | None) -> Decision:
    """Money is taken once, and only from a hold that is still there."""
    if intent is not None and intent.state == "captured":
        return Decision(Captured(authorization_id(call.key)))
    if intent is None or intent.state != "held":
        return Decision(CaptureRefused(refusal(intent)))
    if intent.payment_method == HOLD_EXPIRES:
        return Decision(CaptureRefused("authorization_expired"), intent._replace(state="expired"), "released")
    if intent.payment_method == CAPTURE_FAILS:
        return Decision(CaptureRefused("capture_failed"))
    return Decision(Captured(authorization_id(call.key)), intent._replace(state="captured"), "captured")


def refusal(intent: Intent | None) -> CaptureRefusal:
    """Why there is nothing to capture."""
    if intent is None or intent.state in ("processing", "refused"):
        return "not_held"
    return "authorization_expired" if intent.state == "expired" else "closed"


def close(intent: Intent | None) -> Decision:
    """A key without an intent gets one that is closed, so that a hold still on its way finds it so."""
    if intent is None:
        return Decision(Released(), Intent("closed"))
    if intent.state == "captured":
        return Decision(AlreadyCaptured())
    if intent.state in ("closed", "expired"):
        return Decision(Released())
    return Decision(Released(), intent._replace(state="closed"), "released" if intent.state == "held" else None)


def refund(intent: Intent | None) -> Decision:
    """Money is given back once; where none was taken, the key is closed as ever."""
    if intent is None or intent.state != "captured":
        closed = close(intent)
        return Decision(Refunded(), closed.intent, closed.movement)
    return Decision(Refunded(), intent._replace(state="closed"), "refunded")
