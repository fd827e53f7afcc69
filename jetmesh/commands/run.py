"""`jetmesh run`: runs services in this process."""

import sys

import click

from jetmesh import app as apps
from jetmesh import settings
from jetmesh.commands import options
from jetmesh.process import process
from jetmesh.telemetry import logs


@click.command()
@click.argument("names", nargs=-1, metavar="[SERVICE]...")
@options.app
def run(names: tuple[str, ...], app: str) -> None:
    """Run the named services (default: all) until SIGTERM or Ctrl-C.

    Settings come from the environment: NATS_URL, the OTEL_* variables, JETMESH_*.
    """
    chosen = settings.read(settings.Settings)
    everyone = apps.load(app)
    services = apps.named(everyone, names)
    logs.start_logs("+".join(service.name for service in services), chosen.log_format, chosen.log_level)
    sys.exit(process.run(services, everyone, chosen))
