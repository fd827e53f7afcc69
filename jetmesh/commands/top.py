"""`jetmesh top`: shows the mesh at work in the terminal."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jetmesh import app as apps
from jetmesh.commands import options
from jetmesh.commands.target import reach, settings_of_target
from jetmesh.common.console import Console, field
from jetmesh.common.terminal import show
from jetmesh.operate.overview import Overview, ReactionRow, Readings, StreamState, look, waiting
from jetmesh.service import Service

WIDE = 110
"""A terminal with so many columns has room for every number."""
BREAKERS = {"open": "bold red", "half-open": "yellow", "closed": "dim"}


@click.command()
@click.option("--once", is_flag=True, help="Print one picture and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print one reading as a JSON object and exit.")
@click.option(
    "--interval", type=options.Figure(min=0.5), default=1.0, show_default=True, help="Seconds between readings."
)
@options.app
def top(once: bool, as_json: bool, interval: float, app: str) -> None:
    """Show rates, lag, latencies, failures and circuit breakers, by service and reaction, until Ctrl-C."""
    services = apps.load(app)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_once(services, as_json) if once or as_json else _live(services, interval))


async def _once(services: Sequence[Service], as_json: bool) -> None:
    async with reach(settings_of_target()) as mesh:
        overview = await look(mesh.connection, services, split=mesh.settings.split)
    if as_json:
        show(asdict(overview), indent=2)
    else:
        console = Console()
        console.print(picture(overview, console.width))


async def _live(services: Sequence[Service], interval_seconds: float) -> None:
    console = Console()
    overview: Overview | None = None
    async with reach(settings_of_target()) as mesh:
        readings = Readings(mesh.connection, services, mesh.settings.split)
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                overview = await readings.read(overview)
                live.update(picture(overview, console.width), refresh=True)
                await asyncio.sleep(interval_seconds)


def picture(overview: Overview, width: int) -> RenderableType:
    """One reading, for a terminal of `width` columns."""
    wide = width >= WIDE
    parts: list[RenderableType] = [_headline(overview), "", _reactions(overview, wide=wide), ""]
    parts += [field(f"▲ the circuit breaker {name} is {state}", "red") for name, state in overview.breakers.items()]
    if overview.missing:
        parts.append(field(f"▲ no answer from {', '.join(overview.missing)}", "yellow"))
    parts += [
        field(f"▲ {row.service}.{row.name} is {row.lag.paused}", "yellow") for row in overview.rows if row.lag.paused
    ]
    parts += [
        field(f"▲ {row.service}.{row.name} {_limit(row)}", "yellow") for row in overview.rows if row.limit_waiting
    ]
    parts += [field(f"▲ orphan {orphan}", "yellow") for orphan in overview.orphans]
    return Group(*parts, _streams(overview.streams, wide=wide))


def _headline(overview: Overview) -> Text:
    rows = overview.rows
    text = Text("jetmesh", style="bold", no_wrap=True)
    text.append(f"  {time.strftime('%H:%M:%S', time.localtime(overview.at))}", style="dim")
    text.append(f"  {sum(overview.instances.values())} processes")
    text.append(f"  {sum(row.attempts_per_second for row in rows):,.1f}/s")
    text.append(f"  lag {waiting(rows):,}")
    letters = f"  {overview.dead_letters:,} dead letters"
    return text.append(letters, style="red" if overview.dead_letters else "green")


def _reactions(overview: Overview, *, wide: bool) -> Table:
    """One line per reaction; in a narrow terminal without the median, redeliveries and failures."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=wide)
    table.add_column("reaction", no_wrap=True)
    numbers = ["rate/s", "lag", "in flight", *(["again", "failed/s", "p50 ms"] if wide else []), "p95 ms", "dead"]
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("breaker", no_wrap=True)
    service = ""
    for row in overview.rows:
        if row.service != service:
            service = row.service
            table.add_row(Text.assemble((service, "bold cyan"), (_replicas(overview, service), "dim")))
        table.add_row(
            Text(f"  {row.name}"), *_numbers(row, wide=wide), Text(_breaker(row), style=BREAKERS[row.breaker])
        )
    return table


def _replicas(overview: Overview, service: str) -> str:
    count = overview.instances.get(service, 0)
    return " not running" if count == 0 else f" ×{count}" if count > 1 else ""


def _numbers(row: ReactionRow, *, wide: bool) -> list[Text]:
    rate = row.attempts_per_second if row.settled_per_second is None else row.settled_per_second
    lag_style = "dim" if row.waits or row.lag.paused else ""
    more = [
        _number(row.lag.redelivered, style="yellow"),
        _number(row.failed_per_second, style="yellow"),
        _number(row.p50_ms),
    ]
    return [
        _number(rate),
        _number(row.lag.pending, style=lag_style),
        _number(row.lag.ack_pending, style=lag_style),
        *(more if wide else []),
        _number(row.p95_ms),
        _number(row.dead_letters, style="yellow"),
    ]


def _number(value: float, style: str = "") -> Text:
    if not value:
        return Text("·", style="dim")
    decimals = 0 if isinstance(value, int) or value >= 100 else 1 if value >= 1 else 2
    return Text(f"{value:,.{decimals}f}", style=style)


def _limit(row: ReactionRow) -> str:
    later = f"; the next begins in {row.limit_opens_in_seconds:.0f} s" if row.limit_opens_in_seconds >= 1 else ""
    return f"waits for its rate limit: {row.limit_waiting} deliveries{later}"


def _breaker(row: ReactionRow) -> str:
    return row.breaker if row.breaker != "closed" else "paused" if row.lag.paused else ""


def _streams(streams: Sequence[StreamState], *, wide: bool) -> Table:
    """The streams side by side, as many as fit."""
    table = Table.grid(padding=(0, 3, 0, 0))
    cells = [_stream(stream) for stream in streams if stream.messages]
    columns = 4 if wide else 3
    for start in range(0, len(cells), columns):
        table.add_row(*cells[start : start + columns])
    return table


def _stream(stream: StreamState) -> Text:
    return Text.assemble((stream.name, "bold"), f" {stream.messages:,} ", (_size(stream.bytes), "dim"))


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"
