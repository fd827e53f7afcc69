"""`jetmesh flow`: which reaction handles which event."""

import click
from rich.table import Table
from rich.text import Text

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.common.console import Console
from jetmesh.common.terminal import say
from jetmesh.operate import flow as flows


@click.command()
@click.option("--mermaid", "form", flag_value="mermaid", help="A Mermaid flowchart.")
@click.option("--markdown", "form", flag_value="markdown", help="A Markdown table.")
@options.app
def flow(form: str | None, app: str) -> None:
    """Print which reaction handles which event, and what it may record, from the services' signatures."""
    services = apps.load(app)
    if form == "mermaid":
        say(flows.mermaid(services))
    elif form == "markdown":
        say(flows.markdown(services))
    else:
        Console().print(_table(flows.rows(services)))


def _table(rows: list[flows.FlowRow]) -> Table:
    table = Table(show_lines=True, box=None, padding=(0, 2, 0, 0))
    table.add_column("what happened", style="cyan")
    table.add_column("who reacts")
    table.add_column("what may happen next", style="green")
    for row in rows:
        reaction = Text.assemble((row.reaction, "bold"), f"\n{row.meaning}")
        table.add_row(row.happened, reaction, row.outcomes.replace(" / ", "\n"))
    return table
