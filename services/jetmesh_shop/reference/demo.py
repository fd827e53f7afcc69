"""`jetmesh demo`: the whole mesh on one machine, with one command."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress

import click
import httpx

from jetmesh import settings
from jetmesh.commands import options
from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError
from jetmesh.local.lifecycle import clear
from jetmesh.local.state import State
from jetmesh.local.supervisor import StartFailed
from jetmesh.settings import Settings
from jetmesh.topology.provision import Drift
from jetmesh_shop.reference import ports
from jetmesh_shop.reference.fleet import fleet, their_broker
from jetmesh_shop.reference.play import Play, Wishes
from jetmesh_shop.reference.state import Stores
from jetmesh_shop.reference.voice import Voice

INTERRUPTED = 130


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
def demo(state: State, wanted: dict[str, int], *, free: bool, **wishes: object) -> None:
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


async def _demo(state: State, wanted: dict[str, int], asked: Wishes, *, free: bool) -> int:
    voice = Voice(aside=asked.as_json)
    with state.held(Stores.of(state).all):
        await clear(state, voice.tell)
        theirs = their_broker()
        found = ports.chosen(wanted, free=free, own_broker=not theirs)
        return await _until_stopped(Play(fleet(state, found, theirs, own_broker=not theirs), asked, voice))


async def _until_stopped(play: Play) -> int:
    """Play until the end or a signal, and stop everything in any case."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    playing, stop = asyncio.create_task(play.perform()), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({playing, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            playing.cancel()
            with suppress(asyncio.CancelledError):
                await playing
            return INTERRUPTED if play.asked.leave else 0
        return playing.result()
    except (StartFailed, ApiError, Drift, Unavailable, TimeoutError, httpx.HTTPError) as failed:
        raise click.ClickException(str(failed)) from failed
    finally:
        stop.cancel()
        with play.voice.step("stopped", "stopping"):
            await play.mesh.stop()
