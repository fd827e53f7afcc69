"""`jetmesh flow`: who reacts to what."""

import click
from rich.console import Console
from rich.table import Table

from jetmesh import app as apps
from jetmesh import flow as flows
from jetmesh.commands import options


@click.command()
@click.option("--mermaid", "form", flag_value="mermaid", help="A Mermaid flowchart.")
@click.option("--markdown", "form", flag_value="markdown", help="A Markdown table.")
@options.app
def flow(form: str | None, app: str) -> None:
    """Print who reacts to what, and what may happen next, from the services' signatures."""
    services = apps.load(app)
    if form == "mermaid":
        click.echo(flows.mermaid(services))
    elif form == "markdown":
        click.echo(flows.markdown(services))
    else:
        Console().print(_table(flows.rows(services)))


def _table(rows: list[flows.Row]) -> Table:
    table = Table(show_lines=True, box=None, padding=(0, 2, 0, 0))
    table.add_column("what happened", style="cyan")
    table.add_column("who reacts")
    table.add_column("what may happen next", style="green")
    for row in rows:
        table.add_row(row.happened, f"[bold]{row.reaction}[/]\n{row.meaning}", row.outcomes.replace(" / ", "\n"))
    return table
