"""`jetmesh bank`: switch an outage of the sandbox bank, and look into its ledger."""

from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from jetmesh.commands import options
from jetmesh.common.console import Console
from jetmesh.common.tables import sheet
from jetmesh.common.terminal import say
from jetmesh.common.terminal import show as show_document
from jetmesh.local.state import StateFolder
from jetmesh_shop.payments.ledger import Balance, Ledger, begin_outage, end_outage
from jetmesh_shop.reference.state import Stores


@click.group()
@options.state
@click.pass_context
def bank(context: click.Context, state: StateFolder) -> None:
    """The sandbox bank of the reference mesh: outages and the ledger."""
    path = Stores(state.folder).bank
    if not path.exists():
        raise click.ClickException(f"no bank at {path}: start the mesh first, or name its folder with --state")
    context.obj = path


@bank.command()
@click.argument("switch", type=click.Choice(["on", "off", "status"]))
@click.pass_obj
def outage(path: Path, switch: str) -> None:
    """Close the bank for every caller (on), open it again (off), or say which it is (status)."""
    if switch == "on":
        begin_outage(path)
    elif switch == "off":
        end_outage(path)
    since = Ledger(path).outage_since()
    say("the bank is open" if since is None else f"the bank is closed since {since:%Y-%m-%d %H:%M:%S} UTC")


@bank.group()
def ledger() -> None:
    """The bank's books."""


@ledger.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show(path: Path, as_json: bool) -> None:
    """What was held, captured and released, by currency; and what was captured more than once."""
    books = Ledger(path)
    totals = books.totals()
    twice = [balance.key for balance in books.balances() if balance.captures > 1]
    if as_json:
        show_document({"totals": [asdict(total) for total in totals], "captured_twice": twice})
        return
    console = Console()
    console.print(table(totals))
    console.print(f"captured twice: {', '.join(twice) or 'none'}")


def table(totals: list[Balance]) -> Table:
    """One row a currency, amounts in minor units."""
    ledger = sheet("in minor units", "holds", "captures", "releases", "held", "captured", "released", "open")
    for total in totals:
        counts = (total.holds, total.captures, total.releases)
        amounts = (total.held_minor, total.captured_minor, total.released_minor, total.open_minor)
        ledger.add_row(total.currency, *(f"{figure:,}" for figure in (*counts, *amounts)))
    return ledger
