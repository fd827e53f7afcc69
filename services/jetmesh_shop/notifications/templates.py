"""The mails about an order: subject, text and HTML, from plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from jetmesh_contracts.money import money
from jetmesh_shop.notifications.mailer import Mail

CANCELLATIONS = {
    "payment_declined": "your card was declined",
    "out_of_stock": "an article is out of stock",
    "timed_out": "we could not complete it in time",
    "customer_request": "you asked us to cancel it",
    "capture_failed": "the payment could not be taken",
    "authorization_expired": "the payment's authorization expired",
}
ROW = (
    '<tr style="{style}"><td style="padding:10px 0;border-top:1px solid #ece7df">{name}</td>'
    '<td style="padding:10px 0;border-top:1px solid #ece7df;text-align:right;white-space:nowrap">{amount}</td></tr>'
)
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body style="margin:0;padding:32px 12px;background:#f6f3ee;color:#2b2622;font:16px/1.5 system-ui,sans-serif">
<table role="presentation" align="center" width="100%" style="max-width:560px;margin:0 auto;border-spacing:0">
<tr><td style="padding:0 8px 16px;color:#b4472e;font-weight:700;letter-spacing:.04em">jetmesh pizza</td></tr>
<tr><td style="padding:32px;background:#fff;border-radius:12px">
<h1 style="margin:0 0 12px;font-size:22px;line-height:1.3">{title}</h1>
<p style="margin:0 0 20px">{said}</p>
<table width="100%" style="border-spacing:0">
{rows}
</table>
</td></tr>
<tr><td style="padding:16px 8px;color:#8a8178;font-size:13px">You get this mail because you placed an order.</td></tr>
</table>
</body>
</html>
"""


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


def _contents(title: str, said: str, rows: Sequence[tuple[str, str]] = ()) -> Contents:
    """A title, a sentence and a table of amounts, whose last row is the sum."""
    return Contents(subject=title, text=as_text(title, said, rows), html=as_html(title, said, rows))


def as_text(title: str, said: str, rows: Iterable[tuple[str, str]]) -> str:
    """The text for readers of plain text."""
    table = "".join(f"  {name:<44} {amount:>18}\n" for name, amount in rows)
    return f"{title}\n\n{said}\n\n{table}\njetmesh pizza\n"


def as_html(title: str, said: str, rows: Sequence[tuple[str, str]]) -> str:
    """The page with its style inline, since mail programs drop style sheets."""
    last = len(rows) - 1
    table = (row(*cells, is_sum=number == last) for number, cells in enumerate(rows))
    return PAGE.format(title=escape(title), said=escape(said), rows="\n".join(table))


def row(name: str, amount: str, *, is_sum: bool) -> str:
    """One row of the table of amounts."""
    return ROW.format(name=escape(name), amount=escape(amount), style="font-weight:700" if is_sum else "")
