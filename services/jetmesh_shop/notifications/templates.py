"""The mails about an order: subject, text and HTML, from plain values. How they look stands in `mail.html`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jetmesh_contracts.money import money
from jetmesh_shop.notifications.mailer import Mail

if TYPE_CHECKING:
    from jinja2 import Template

CANCELLATIONS = {
    "payment_declined": "your card was declined",
    "out_of_stock": "an article is out of stock",
    "timed_out": "we could not complete it in time",
    "customer_request": "you asked us to cancel it",
    "capture_failed": "the payment could not be taken",
    "authorization_expired": "the payment's authorization expired",
}


@dataclass(frozen=True, slots=True)
class Contents:
    """A mail's contents, without an address."""

    subject: str
    text: str
    html: str

    def to(self, address: str, message_id: str) -> Mail:
        """The mail to this address."""
        return Mail(message_id, address, self.subject, self.text, self.html)


def confirmation(order_id: str, lines: Iterable[tuple[str, int, int]], currency: str, total_minor: int) -> Contents:
    """The order is promised: its `lines` (article, quantity, price of one in minor units) and what it costs."""
    rows = [(f"{quantity} × {sku}", money(quantity * price, currency)) for sku, quantity, price in lines]
    said = "Thank you! Everything is in stock and your payment is secured. We charge your card when the order leaves."
    return _contents(f"Your order {order_id} is confirmed", said, [*rows, ("Total", money(total_minor, currency))])


def cancellation(order_id: str, reason: str) -> Contents:
    """The order will not be, and why; no money is taken."""
    said = f"We are sorry: your order was cancelled because {CANCELLATIONS.get(reason, 'it could not be completed')}."
    return _contents(
        f"Your order {order_id} was cancelled", f"{said} No money was taken, and anything held is released."
    )


def refusal(order_id: str, reason: str) -> Contents:
    """The order can't be taken as it is, and why, in words; nothing was held or reserved."""
    said = f"We can't take your order as it is: {reason.rstrip('.')}."
    return _contents(f"Your order {order_id} could not be taken", f"{said} Nothing was charged; please order again.")


def receipt(order_id: str, currency: str, amount_minor: int) -> Contents:
    """The money is taken."""
    rows = [("Paid by card", money(amount_minor, currency))]
    return _contents(f"Receipt for your order {order_id}", "We have received your payment. Thank you!", rows)


def delay(order_id: str) -> Contents:
    """No courier is free yet, or the one who had it is silent."""
    said = "We are sorry: your order comes later than we said. A courier brings it as soon as one of them is free."
    return _contents(f"Your order {order_id} takes a little longer", said)


def _contents(title: str, said: str, rows: Sequence[tuple[str, str]] = ()) -> Contents:
    """A title, a sentence and a table of amounts, whose last row is the sum."""
    table = "".join(f"  {name:<44} {amount:>18}\n" for name, amount in rows)
    text = f"{title}\n\n{said}\n\n{table}\njetmesh pizza\n"
    return Contents(subject=title, text=text, html=_page().render(title=title, said=said, rows=rows))


@cache
def _page() -> "Template":
    """Loaded for the first mail: every process of the mesh knows this service, and one of them sends mails."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    return pages.get_template("mail.html")
