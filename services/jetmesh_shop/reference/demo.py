"""`jetmesh demo`: the whole mesh on one machine, with one command: everything up, a first order and its story, many
orders, the summary."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import click
import httpx

from jetmesh import settings
from jetmesh.commands import options
from jetmesh.commands.target import connected_with
from jetmesh.common.signals import until_signalled
from jetmesh.common.terminal import show
from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.local.lifecycle import Lifecycle, clear, provide
from jetmesh.local.plan import their_broker
from jetmesh.local.state import StateFolder
from jetmesh.local.supervisor import StartFailed
from jetmesh.operate.key_history import follow
from jetmesh.operate.load import publish_all
from jetmesh.operate.progress import Count, at_rest, endings
from jetmesh.runtime.context import Context
from jetmesh.settings import Settings
from jetmesh.topology.provision import Drift
from jetmesh.topology.streams import topology
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.service import orders as orders_service
from jetmesh_shop.reference import mix, placing, ports, stock, summary
from jetmesh_shop.reference.audit import AUDIT, collect
from jetmesh_shop.reference.fleet import Fleet, fleet, sent_on_to
from jetmesh_shop.reference.state import Stores
from jetmesh_shop.reference.voice import Voice

INTERRUPTED = 130
FIRST_STORY_SECONDS = 30.0
NEEDED = topology(SERVICES, app=SERVICES.name)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the demo is asked to do once the mesh runs."""

    orders: int
    via: str
    seed: int
    leave: bool
    as_json: bool

    @property
    def deadline_seconds(self) -> float:
        """How long all orders may take to end."""
        return 120 + self.orders / 25


class Play:
    """What happens, in its order."""

    def __init__(self, fleet: Fleet, asked: Wishes, voice: Voice) -> None:
        self.asked, self.voice, self._fleet = asked, voice, fleet
        self.mesh = Lifecycle(fleet.mesh.state, fleet.endpoints, voice.tell)

    async def perform(self) -> int:
        """Everything up, the first order, those asked for, and then either the summary or no end; the exit status."""
        await self._foundation()
        async with connected_with(self._fleet.mesh.nats_args("operator")) as mesh:
            await self._services(mesh)
            self.mesh.announce()
            first = await self._first_order(mesh)
            placed = [first]
            if self.asked.orders or self.asked.leave:
                async with endings(mesh, [orders_service]) as count:
                    placed = await self._orders(mesh) or placed
                    if self.asked.leave:
                        await self._until_ended(mesh, count)
            if self.asked.leave:
                return await self._summary(mesh, placed)
            self._invite(first)
            await asyncio.Event().wait()
            return 0

    async def _foundation(self) -> None:
        fleet = self._fleet
        with self.voice.step("broker") as said:
            await self.mesh.start_foundation(fleet.foundation())
            said.append(fleet.mesh.nats_url)
        onward = sent_on_to()
        with self.voice.step("traces") as said:
            said.append(f"{fleet.traces_url}{f', and on to {onward}' if onward else ''}")
        with self.voice.step("mail") as said:
            said.append(fleet.smtp_url)

    async def _services(self, context: Context) -> None:
        with self.voice.step("topology") as said:
            made = await provide(context.connection, NEEDED)
            said.append(f"{len(NEEDED.streams)} streams, {len(NEEDED.consumers)} durables; {made or 'none'} made now")
        with self.voice.step("services") as said:
            await self.mesh.start_services(self._fleet.services())
            said.append(", ".join(self._fleet.mesh.health_ports))
        with self.voice.step("stock") as said:
            new = await stock.seed(context)
            said.append(f"{new} articles delivered" if new else "as it was left")

    async def _first_order(self, context: Context) -> str:
        """Place an order over HTTP, and tell its story as it happens."""
        order = mix.first(mix.fresh_id())
        self.voice.opening(order.order_id)
        async with placing.browser(self._fleet.http_url) as client:
            click_time = time.time()
            placing_it = asyncio.create_task(placing.post(client, order))
            async for event in follow(context, SERVICES, order.order_id, FIRST_STORY_SECONDS):
                self.voice.event(event, click_time)
            await placing_it
        return order.order_id

    async def _orders(self, context: Context) -> list[str]:
        """Place the orders asked for; their ids."""
        orders = list(mix.orders(secrets.token_hex(3), self.asked.orders, self.asked.seed))
        if orders:
            began = time.monotonic()
            self.voice.console.print()
            with self.voice.bar("placed", len(orders)) as update:
                placed = partial(update, advance=1)
                if self.asked.via == "http":
                    await placing.over_http(self._fleet.http_url, orders, placed)
                else:
                    await publish_all(context, orders, placed)
            seconds = time.monotonic() - began
            self.voice.console.print(f"{len(orders):,} orders placed over {self.asked.via.upper()} in {seconds:.1f} s")
        return [order.order_id for order in orders]

    async def _until_ended(self, context: Context, count: Count) -> None:
        """Wait until every order has ended and no delivery is pending, or the time is up."""
        with self.voice.bar("ended", self.asked.orders) as update:

            async def ended() -> bool:
                update(completed=(done := await count()))
                return done >= self.asked.orders

            if not await at_rest(context.connection, NEEDED.work, ended, self.asked.deadline_seconds):
                self.voice.tell(f"not everything has ended within {self.asked.deadline_seconds:.0f} s")

    async def _summary(self, context: Context, placed: Sequence[str]) -> int:
        """Stop the services, so that their last spans are there; audit; say how it went."""
        with self.voice.step("services") as said:
            await self.mesh.stop_services()
            said.append("stopped, each after what it had in flight")
        done = AUDIT.of(await collect(context, self._fleet.mesh.state))
        found = summary.summarize(done, placed, self._fleet.stores.traces)
        self.voice.show(done.as_tables())
        self.voice.show(summary.render(found))
        if self.asked.as_json:
            show(found)
        return 0 if summary.is_good(found) else 1

    def _invite(self, first: str) -> None:
        nats_args = self._fleet.mesh.nats_args("client")
        self.voice.invitation(self._fleet, first, mix.small(mix.fresh_id()), nats_args)


def _port(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> dict[str, int]:
    """`NAME=NUMBER`, as often as wanted."""
    wanted = {}
    for value in values:
        name, _, number = value.partition("=")
        if name not in ports.WHAT or not number.isdecimal() or not 0 < int(number) < 65_536:
            raise click.BadParameter(f"{value!r}: write NAME=NUMBER, with a NAME of {', '.join(ports.WHAT)}")
        wanted[name] = int(number)
    return wanted


@click.command()
@options.state
@click.option("--orders", type=click.IntRange(0), default=0, metavar="N", help="Place N orders: most good, some not.")
@click.option("--via", type=click.Choice(["nats", "http"]), default="nats", show_default=True, help="How they go in.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same orders.")
@click.option("--exit", "leave", is_flag=True, help="Wait until all orders have ended, audit, say how it went, stop.")
@click.option("--json", "as_json", is_flag=True, help="With --exit: the summary as one JSON object.")
@click.option("--port", "wanted", multiple=True, callback=_port, metavar="NAME=NUMBER",
              help=f"Another port for {', '.join(ports.WHAT)}; may be repeated.")  # fmt: skip
@click.option("--free-ports", "free", is_flag=True, help="Any free ports instead of the usual ones.")
def demo(state: StateFolder, wanted: dict[str, int], *, free: bool, **wishes: object) -> None:
    """Run the whole mesh on this machine: broker, five services, mail, traces.

    Places a first order and prints its story as it happens, then goes on until Ctrl-C. The data stay in the state
    folder: a second start goes on with them. NATS_URL names a broker to use instead of an own one; traces also go to
    OTEL_EXPORTER_OTLP_ENDPOINT, or to a Jaeger on localhost:4317.
    """
    asked = Wishes(**wishes)  # type: ignore[arg-type]
    if settings.read(Settings).partitions:
        raise click.UsageError("the demo's broker routes nothing by key: unset JETMESH_PARTITIONS")
    if asked.as_json and not asked.leave:
        raise click.UsageError("--json goes with --exit: it prints the summary")
    raise SystemExit(asyncio.run(_demo(state, wanted, asked, free=free)))


async def _demo(state: StateFolder, wanted: dict[str, int], asked: Wishes, *, free: bool) -> int:
    voice = Voice(aside=asked.as_json)
    with state.held(Stores(state.folder).all):
        await clear(state, voice.tell)
        theirs = their_broker()
        found = ports.chosen(wanted, free=free, own_broker=not theirs)
        play = Play(fleet(state, found, theirs, own_broker=not theirs), asked, voice)
        try:
            status = await until_signalled(play.perform())
        except (StartFailed, ApiError, Drift, Unavailable, TimeoutError, httpx.HTTPError) as failed:
            raise click.ClickException(str(failed)) from failed
        finally:
            with voice.step("stopped", "stopping"):
                await play.mesh.stop()
    if status is None:
        return INTERRUPTED if asked.leave else 0
    return status
