"""The audit of the reference mesh: the books of its streams, the bank's ledger, the stock, the mail sink."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from jetmesh.common.tables import sheet
from jetmesh.local.state import State
from jetmesh.operate.audit import Audit
from jetmesh.runtime.context import Context
from jetmesh_contracts.money import amount
from jetmesh_shop.reference.checks import findings, outcome, sent_again, shelves
from jetmesh_shop.reference.facts import Facts, collect

ENDS = ("confirmed", "cancelled", "refused", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopAudit(Audit):
    """The audit, and what it goes by."""

    facts: Facts


async def audit(context: Context, state: State, archive: Path) -> Audit:
    """The audit of this app, for `jetmesh audit`."""
    return audited(await collect(context, state, archive))


def audited(facts: Facts, *, crashed: bool = False) -> ShopAudit:
    """The checks of the books, and their figures."""
    tables = [orders_table(facts), *([] if facts.balances is None else [money_table(facts)]), stock_table(facts)]
    return ShopAudit(findings(facts, crashed=crashed), document(facts), tables, facts=facts)


def document(facts: Facts) -> dict[str, Any]:
    """The audit as JSON."""
    first, last = span_seconds(facts)
    return {
        "orders": ends(facts),
        "money": money(facts),
        "stock": {sku: {"restocked": s.restocked, "reserved": s.reserved, "released": s.released, "level": s.level}
                  for sku, s in shelves(facts).items()},
        "mails": None if facts.mails is None else facts.mails.total(),
        "mails_twice": len(sent_again(facts)),
        "dead_letters": len(facts.letters),
        "discarded": len(facts.discarded),
        "set_aside": len(facts.delayed),
        "events": len(facts.events),
        "seconds": round(last - first, 3),
    }  # fmt: skip


def ends(facts: Facts) -> dict[str, int]:
    """How many orders ended in which way."""
    counts = Counter(outcome(story) for story in facts.stories.values())
    return {end: counts[end] for end in ENDS}


def money(facts: Facts) -> dict[str, dict[str, int]]:
    """What the bank moved, in minor units, by currency."""
    sums: dict[str, dict[str, int]] = {}
    for balance in facts.balances or ():
        row = sums.setdefault(balance.currency, {"held": 0, "captured": 0, "released": 0, "open": 0})
        row["held"] += balance.held_minor
        row["captured"] += balance.captured_minor
        row["released"] += balance.released_minor
        row["open"] += balance.open_minor
    return sums


def span_seconds(facts: Facts) -> tuple[float, float]:
    """When the first and the last message were stored, Unix time; twice 0 where there is none."""
    times = [message.unix_nano for message in [*facts.intake, *facts.events]]
    return (min(times) / 1e9, max(times) / 1e9) if times else (0.0, 0.0)


def orders_table(facts: Facts) -> Table:
    """How the orders ended, and what else there is."""
    counts = ends(facts)
    mails = "–" if facts.mails is None else f"{facts.mails.total():,}"
    table = sheet("orders", *ENDS, "events", "mails", "dead letters")
    table.add_row(f"{sum(counts.values()):,}", *(f"{counts[end]:,}" for end in ENDS),
                  f"{len(facts.events):,}", mails, f"{len(facts.letters):,}")  # fmt: skip
    return table


def money_table(facts: Facts) -> Table:
    """What the bank moved."""
    table = sheet("money", "held", "= taken", "+ let go", "+ open")
    for currency, row in sorted(money(facts).items()):
        table.add_row(currency, *(amount(minor, currency) for minor in row.values()))
    return table


def stock_table(facts: Facts) -> Table:
    """What came in, went out and is there, by article."""
    table = sheet("stock", "restocked", "– on the shelf", "= reserved", "– released", "sold")
    for sku, shelf in shelves(facts).items():
        pieces = (shelf.restocked, shelf.level, shelf.reserved, shelf.released, shelf.out)
        table.add_row(sku, *(f"{count:,}" for count in pieces))
    return table
