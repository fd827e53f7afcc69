"""The audit of the reference mesh: the books of its streams, the bank's ledger, the stock, the mail sink."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from jetmesh.common.tables import sheet
from jetmesh.local.state import StateFolder
from jetmesh.operate.audit import Audit
from jetmesh.runtime.context import Context
from jetmesh_contracts.money import amount
from jetmesh_shop.reference.books import ShopBooks, collect
from jetmesh_shop.reference.checks import findings, outcome, sent_again, shelves

ENDS = ("confirmed", "cancelled", "refused", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopAudit(Audit):
    """The audit, and what it goes by."""

    books: ShopBooks


async def audit(context: Context, state: StateFolder, archive: Path) -> Audit:
    """The audit of this app, for `jetmesh audit`."""
    return audited(await collect(context, state, archive))


def audited(books: ShopBooks, *, crashed: bool = False) -> ShopAudit:
    """The checks of the books, and their figures."""
    tables = [orders_table(books), *([] if books.balances is None else [money_table(books)]), stock_table(books)]
    return ShopAudit(findings(books, crashed=crashed), document(books), tables, books=books)


def document(books: ShopBooks) -> dict[str, Any]:
    """The audit as JSON."""
    first, last = span_seconds(books)
    return {
        "orders": ends(books),
        "money": money(books),
        "stock": {sku: {"restocked": s.restocked, "reserved": s.reserved, "released": s.released, "level": s.level}
                  for sku, s in shelves(books).items()},
        "mails": None if books.mails is None else books.mails.total(),
        "mails_twice": len(sent_again(books)),
        "dead_letters": len(books.letters),
        "discarded": len(books.discarded),
        "delayed": len(books.delayed),
        "events": len(books.events),
        "seconds": round(last - first, 3),
    }  # fmt: skip


def ends(books: ShopBooks) -> dict[str, int]:
    """How many orders ended in which way."""
    counts = Counter(outcome(story) for story in books.stories.values())
    return {end: counts[end] for end in ENDS}


def money(books: ShopBooks) -> dict[str, dict[str, int]]:
    """What the bank moved, in minor units, by currency."""
    sums: dict[str, dict[str, int]] = {}
    for balance in books.balances or ():
        row = sums.setdefault(balance.currency, {"held": 0, "captured": 0, "released": 0, "open": 0})
        row["held"] += balance.held_minor
        row["captured"] += balance.captured_minor
        row["released"] += balance.released_minor
        row["open"] += balance.open_minor
    return sums


def span_seconds(books: ShopBooks) -> tuple[float, float]:
    """When the first and the last message were stored, Unix time; twice 0 where there is none."""
    times = [message.unix_nano for message in [*books.intake, *books.events]]
    return (min(times) / 1e9, max(times) / 1e9) if times else (0.0, 0.0)


def orders_table(books: ShopBooks) -> Table:
    """How the orders ended, and what else there is."""
    counts = ends(books)
    mails = "–" if books.mails is None else f"{books.mails.total():,}"
    table = sheet("orders", *ENDS, "events", "mails", "dead letters")
    table.add_row(f"{sum(counts.values()):,}", *(f"{counts[end]:,}" for end in ENDS),
                  f"{len(books.events):,}", mails, f"{len(books.letters):,}")  # fmt: skip
    return table


def money_table(books: ShopBooks) -> Table:
    """What the bank moved."""
    table = sheet("money", "held", "= taken", "+ let go", "+ open")
    for currency, row in sorted(money(books).items()):
        table.add_row(currency, *(amount(minor, currency) for minor in row.values()))
    return table


def stock_table(books: ShopBooks) -> Table:
    """What came in, went out and is there, by article."""
    table = sheet("stock", "restocked", "– on the shelf", "= reserved", "– released", "sold")
    for sku, shelf in shelves(books).items():
        pieces = (shelf.restocked, shelf.level, shelf.reserved, shelf.released, shelf.out)
        table.add_row(sku, *(f"{count:,}" for count in pieces))
    return table
