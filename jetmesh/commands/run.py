"""`jetmesh run`: runs services in this process."""

import sys
from collections.abc import Sequence

import click

from jetmesh import app as apps
from jetmesh import settings
from jetmesh.commands import options
from jetmesh.process import process
from jetmesh.runtime.runner import delay_variable
from jetmesh.service import Service
from jetmesh.telemetry import logs


def check_services(everyone: Sequence[Service], chosen: settings.Settings) -> None:
    """Check the settings that name a service or a reaction.

    Raises:
        SettingsError: there is none of that name.
    """
    deadlines = {delay_variable(r) for service in everyone for r in service.reactions if r.form.is_delayed}
    if wrong := sorted(chosen.after_seconds.keys() - deadlines):
        there = ", ".join(f"JETMESH_AFTER_{name}_SECONDS" for name in sorted(deadlines)) or "none"
        raise settings.SettingsError(
            f"settings: JETMESH_AFTER_{wrong[0]}_SECONDS: no deadline has this name; there is {there}"
        )
    names = {service.name for service in everyone}
    if strangers := chosen.partitions.keys() - names:
        raise settings.SettingsError(
            f"settings: JETMESH_PARTITIONS: no service {min(strangers)}; there are {', '.join(sorted(names))}"
        )


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
    check_services(everyone, chosen)
    logs.start_logs("+".join(service.name for service in services), chosen.log_format, chosen.log_level)
    sys.exit(process.run(services, everyone, chosen))
