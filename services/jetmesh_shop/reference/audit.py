"""`jetmesh audit`: the books, from the streams, the bank's ledger, the stock and the mail sink alone."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jetmesh.commands import options
from jetmesh.commands.target import reach_running
from jetmesh.common.console import Console
from jetmesh.common.terminal import show
from jetmesh.common.visible import visible
from jetmesh.local.state import State
from jetmesh_contracts.money import amount
from jetmesh_shop.reference.checks import Finding, findings, outcome, sent_again, shelves
from jetmesh_shop.reference.facts import Facts, collect
from jetmesh_shop.reference.sheets import sheet

OFFENCES_SHOWN = 10
ENDS = ("confirmed", "cancelled", "refused", "pending")


@dataclass(frozen=True, slots=True)
class Audit:
    """The books and what is wrong with them."""

    facts: Facts
    findings: Sequence[Finding]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.offences for finding in self.findings)


@click.command()
@options.state
@options.archive
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def audit(state: State, archive: Path | None, as_json: bool) -> None:
    """Check that nothing was lost and nothing happened twice; exit 1 with the offending ids otherwise.

    Goes by the streams, the archive, the bank's ledger, the stock and the mail sink alone, past all services. The
    ledger and the mails are those of the state folder.
    """
    done = asyncio.run(_audit(state, archive))
    if as_json:
        show(document(done))
    else:
        Console().print(render(done))
    raise SystemExit(not done.is_clean)


async def _audit(state: State, archive: Path | None) -> Audit:
    async with reach_running(state) as mesh:
        facts = await collect(mesh, state, archive)
    return Audit(facts, findings(facts))


def document(done: Audit) -> dict[str, Any]:
    """The audit as JSON."""
    first, last = span_seconds(done.facts)
    return {
        "clean": done.is_clean,
        "orders": ends(done.facts),
        "money": money(done.facts),
        "stock": {sku: {"restocked": s.restocked, "reserved": s.reserved, "released": s.released, "level": s.level}
                  for sku, s in shelves(done.facts).items()},
        "mails": None if done.facts.mails is None else done.facts.mails.total(),
        "mails_twice": len(sent_again(done.facts)),
        "dead_letters": len(done.facts.letters),
        "discarded": len(done.facts.discarded),
        "set_aside": len(done.facts.aside),
        "events": len(done.facts.events),
        "seconds": round(last - first, 3),
        "offences": {finding.check: list(finding.offences) for finding in done.findings if finding.offences},
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


def render(done: Audit) -> RenderableType:
    """The books as tables, then each check with its offences."""
    facts = done.facts
    parts: list[RenderableType] = [orders_table(facts), Text()]
    if facts.balances is not None:
        parts += [money_table(facts), Text()]
    parts += [stock_table(facts), Text(), *map(verdict, done.findings), Text(), conclusion(done)]
    return Group(*parts)


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


def verdict(finding: Finding) -> Text:
    """One line for a check that holds; the offences below one that does not."""
    if not finding.offences:
        return Text.assemble(("✓ ", "green"), finding.check)
    line = Text.assemble(("✗ ", "bold red"), (finding.check, "bold"), (f": {len(finding.offences):,}", "bold red"))
    for offence in finding.offences[:OFFENCES_SHOWN]:
        line.append(f"\n    {visible(offence)}", "red")
    if len(finding.offences) > OFFENCES_SHOWN:
        line.append(f"\n    … and {len(finding.offences) - OFFENCES_SHOWN:,} more (--json has all)", "dim")
    return line


def conclusion(done: Audit) -> Text:
    """The last line."""
    wrong = sum(len(finding.offences) for finding in done.findings)
    if wrong:
        return Text(f"The books do not balance: {wrong:,} {'offence' if wrong == 1 else 'offences'}.", "bold red")
    return Text("The books balance: nothing lost, nothing twice.", "bold green")
