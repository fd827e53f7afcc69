"""The audit of the reference mesh: the books of its streams, the bank's ledger, the stock, the mail sink."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from jetmesh.common.tables import sheet
from jetmesh.local.state import StateFolder
from jetmesh.operate.audit import AppAudit
from jetmesh.runtime.context import Context
from jetmesh_contracts.money import amount
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference import checks
from jetmesh_shop.reference.books import PLACED, ShopBooks, with_the_outside
from jetmesh_shop.reference.checks import addressee, outcome, sent_again, shelves

ENDS = ("confirmed", "cancelled", "refused", "pending")
LOST_SHOWN = 20


async def collect(context: Context, state: StateFolder, archive: Path | None = None) -> ShopBooks:
    """Read everything; raises what `jetmesh.operate.books.collect` raises."""
    return await AUDIT.collect(context, SERVICES, state.folder, archive or state.archive)


def unknown(books: ShopBooks) -> Iterator[str]:
    """The orders that were lost with the broker: money was moved or a mail went out for them."""
    asked = {message.body.get("order_id") for message in books.intake if message.type == PLACED}
    charged = {balance.key for balance in books.balances or ()}
    mailed = {addressee(message_id) for message_id in books.mails or ()}
    lost = sorted((charged | mailed) - asked - {key for key, story in books.stories.items() if checks.began(story)})
    shown = ", ".join(lost[:LOST_SHOWN]) + (f" and {len(lost) - LOST_SHOWN:,} more" if len(lost) > LOST_SHOWN else "")
    if lost:
        yield (
            f"{len(lost):,} orders came after the backup, and the bank or a customer's mailbox knows of them: {shown}. "
            f"Place them again under their ids (the bank answers as it did), or give their money back"
        )


def document(books: ShopBooks) -> dict[str, Any]:
    """The audit as JSON."""
    times = [message.unix_nano for message in [*books.intake, *books.events]] or [0]
    return {
        "orders": ends(books),
        "money": money(books),
        "stock": {sku: asdict(shelf) for sku, shelf in shelves(books).items()},
        "mails": None if books.mails is None else books.mails.total(),
        "mails_twice": len(sent_again(books)),
        "dead_letters": len(books.letters),
        "discarded": len(books.discarded),
        "delayed": len(books.delayed),
        "events": len(books.events),
        "seconds": round((max(times) - min(times)) / 1e9, 3),
    }


def ends(books: ShopBooks) -> dict[str, int]:
    """How many orders ended in which way."""
    counts = Counter(outcome(story) for story in books.stories.values())
    return {end: counts[end] for end in ENDS}


def money(books: ShopBooks) -> dict[str, Counter[str]]:
    """What the bank moved, in minor units, by currency."""
    sums: dict[str, Counter[str]] = {}
    for each in books.balances or ():
        row = {"held": each.held_minor, "captured": each.captured_minor, "released": each.released_minor}
        sums.setdefault(each.currency, Counter()).update(row | {"open": each.open_minor})
    return sums


def tables(books: ShopBooks) -> list[Table]:
    """How the orders ended; what the bank moved; what came in, went out and is there, by article."""
    return [_orders(books), *([] if books.balances is None else [_money(books)]), _stock(books)]


def _orders(books: ShopBooks) -> Table:
    counts = ends(books)
    mails = "–" if books.mails is None else f"{books.mails.total():,}"
    table = sheet("orders", *ENDS, "events", "mails", "dead letters")
    table.add_row(f"{sum(counts.values()):,}", *(f"{counts[end]:,}" for end in ENDS),
                  f"{len(books.events):,}", mails, f"{len(books.letters):,}")  # fmt: skip
    return table


def _money(books: ShopBooks) -> Table:
    table = sheet("money", "held", "= taken", "+ let go", "+ open")
    for currency, row in sorted(money(books).items()):
        table.add_row(currency, *(amount(minor, currency) for minor in row.values()))
    return table


def _stock(books: ShopBooks) -> Table:
    table = sheet("stock", "restocked", "– on the shelf", "= reserved", "– released", "sold")
    for sku, shelf in shelves(books).items():
        pieces = (shelf.restocked, shelf.level, shelf.reserved, shelf.released, shelf.out)
        table.add_row(sku, *(f"{count:,}" for count in pieces))
    return table


AUDIT = AppAudit(
    common=(),
    checks=checks.CHECKS,
    restored=checks.RESTORED,
    outside=with_the_outside,
    figures=document,
    tables=tables,
    unknown=unknown,
)
AFTER_CRASHES = replace(AUDIT, checks=[check for check in checks.CHECKS if check is not checks.no_mail_twice])
"""Where a service has crashed between SMTP and recording, a mail may have gone out again under its own Message-ID,
which mail clients show once: no offence then (`sent_again` has them)."""
