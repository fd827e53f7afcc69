"""What events and reasons mean, in words for the customer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jetmesh_contracts.money import money
from jetmesh_shop.shop.articles import ARTICLES


class Refusal(NamedTuple):
    """Why something will not be, and what the customer can do."""

    title: str
    advice: str


DECLINED = {
    "card_declined": Refusal("Your bank declined the card.", "Nothing was charged. Ask your bank, or pay another way."),
    "insufficient_funds": Refusal(
        "There is not enough money on the card.", "Nothing was charged. Pay another way, or order less."
    ),
    "expired_card": Refusal("The card has expired.", "Nothing was charged. Pay with a card that is valid."),
    "fraud_suspected": Refusal(
        "The bank took the payment for fraud.", "Nothing was charged. Ask your bank, or pay another way."
    ),
    "unknown_payment_method": Refusal(
        "The bank does not know this way to pay.", "Nothing was charged. Pay another way."
    ),
    "other": Refusal("The bank declined the payment.", "Nothing was charged. Pay another way, or try again later."),
}
CANCELLED = {
    "payment_declined": DECLINED["other"],
    "out_of_stock": Refusal("There is not enough in stock.", "Nothing was charged. Order less, or come back later."),
    "timed_out": Refusal("It took too long.", "What was held was given back. Order again."),
    "customer_request": Refusal("You cancelled the order.", "What was held was given back."),
    "capture_failed": Refusal(
        "The bank held the money, but would not pay it.", "Nothing was charged. Pay another way."
    ),
    "authorization_expired": Refusal(
        "The bank's hold expired.", "Nothing was charged. Order again, or pay another way."
    ),
}
REFUSED = {
    "unknown_article": Refusal("An article is no longer sold.", "Take it out of the basket."),
    "price_changed": Refusal("A price has changed.", "Look at the catalogue again."),
    "currency_not_sold": Refusal("We do not sell in this currency.", "Order in euros."),
    "email_unusable": Refusal("No mail reaches this address.", "Order again with another address."),
}
UNKNOWN = Refusal("The order will not be.", "Nothing was charged.")

EVENTS = {
    "orders.placed": "Order taken",
    "orders.refused": "Order refused",
    "orders.payment_secured": "Payment is secured",
    "orders.goods_secured": "Goods are secured",
    "orders.confirmed": "Order promised",
    "orders.cancellation_requested": "Cancellation asked for",
    "orders.cancelled": "Order cancelled",
    "payments.authorized": "Money held",
    "payments.declined": "Payment declined",
    "payments.captured": "Money taken",
    "payments.capture_failed": "Money could not be taken",
    "payments.voided": "Hold given back",
    "inventory.reserved": "Goods reserved",
    "inventory.rejected": "Not enough in stock",
    "inventory.released": "Goods back on the shelf",
    "notifications.confirmation_sent": "Confirmation sent",
    "notifications.receipt_sent": "Receipt sent",
    "notifications.cancellation_sent": "Cancellation sent",
    "notifications.delay_sent": "Told that it takes longer",
    "delivery.queued": "Waits for a courier",
    "delivery.delayed": "Takes longer than promised",
    "delivery.dispatched": "On its way",
    "delivery.reassigned": "Its courier is silent: somebody else brings it",
    "delivery.delivered": "Delivered",
    "delivery.cancelled": "Nothing to deliver",
}
BAD = frozenset(
    {"orders.refused", "orders.cancelled", "payments.declined", "payments.capture_failed", "inventory.rejected"}
)


def goods(lines: Any) -> str:
    """Articles as people list them: 2 × Cola, 1 × Tiramisù."""
    return ", ".join(f"{line.get('quantity')} × {article(line.get('sku'))}" for line in _dicts(lines))


def article(sku: Any) -> str:
    """The article's name."""
    return ARTICLES[sku].name if sku in ARTICLES else str(sku)


def shortage(data: Mapping[str, Any]) -> str:
    """What was short: `Truffle special: 12 wanted, 10 there`."""
    short = (
        f"{article(each.get('sku'))}: {each.get('wanted')} wanted, {each.get('available')} there"
        for each in _dicts(data.get("shortages"))
    )
    return "; ".join(short)


def detail(kind: str, data: Mapping[str, Any]) -> str:
    """What else an event says."""
    match kind:
        case "orders.placed":
            return goods(data.get("lines"))
        case "payments.authorized" | "payments.captured":
            return amount(data)
        case "payments.declined":
            return DECLINED.get(str(data.get("reason")), DECLINED["other"]).title
        case "inventory.rejected":
            return shortage(data)
        case "inventory.reserved" | "inventory.released":
            return goods(data.get("goods"))
        case "orders.refused":
            return str(data.get("detail", ""))
        case "payments.capture_failed" | "orders.cancelled":
            return CANCELLED.get(str(data.get("reason")), UNKNOWN).title
    return ""


def amount(data: Mapping[str, Any]) -> str:
    """Money in an event; empty where it has none."""
    try:
        return money(data["amount_minor"], data["currency"])
    except (KeyError, TypeError):
        return ""


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
