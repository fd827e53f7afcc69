"""`jetmesh run`: services in this process."""

import signal
import sys

import click

from jetmesh.commands import options


@click.command()
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@options.app
def run(names: tuple[str, ...], app: str) -> None:
    """Run the services of these names (all, if none is named) until SIGTERM or Ctrl-C.

    Settings come from the environment: NATS_URL, the OTEL_* variables, JETMESH_*.
    """
    _stop_while_loading()
    from jetmesh import app as apps
    from jetmesh import process, settings, telemetry

    chosen = settings.read(settings.Settings)
    everyone = apps.load(app)
    services = apps.named(everyone, names)
    telemetry.start_logs("+".join(service.name for service in services), chosen.log_format, chosen.log_level)
    sys.exit(process.run(services, everyone, chosen))


def _stop_while_loading() -> None:
    """A process that is the first of its container ignores SIGTERM until it says what to do about it; and to load what
    the services need takes a second."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
