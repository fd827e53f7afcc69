"""Which mesh a command connects to: the one that `NATS_URL` names, else the one that runs on the state folder."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from jetmesh import settings
from jetmesh.jetstream.transport import Transport
from jetmesh.local import endpoints as endpoints_file
from jetmesh.local.state import StateFolder
from jetmesh.runtime.context import Context, connect
from jetmesh.settings import Settings
from jetmesh.telemetry import providers

CONNECT_SECONDS = 3
PATIENT_SECONDS = 30
"""How long a command waits for a broker that may be starting."""
CONNECT_SECONDS_VARIABLE = settings.variable(Settings, "connect_seconds")
STATE_VARIABLE = settings.variable(Settings, "state")
TENANT_VARIABLE = settings.variable(Settings, "tenant")
NATS_ARGUMENTS = {
    "-s": "NATS_URL",
    "--server": "NATS_URL",
    "--nkey": "JETMESH_NATS_NKEY_SEED",
    "--inbox-prefix": "JETMESH_NATS_INBOX_PREFIX",
    "--tlsca": "JETMESH_NATS_TLS_CA",
    "--tlscert": "JETMESH_NATS_TLS_CERTIFICATE",
    "--tlskey": "JETMESH_NATS_TLS_KEY",
}
"""The arguments of the `nats` CLI that `endpoints.json` may hold, and the variables with the same meaning."""


class Unreachable(click.ClickException):
    """The command could not connect to a broker."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Target:
    """The settings to connect to a mesh, where they were found, and the endpoints of a mesh that runs here."""

    settings: Settings
    found: str
    variables: Mapping[str, str]
    endpoints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, str]:
        """Where the value of each variable came from."""
        environment = settings.environment()
        mine = {name for name, value in self.variables.items() if environment.get(name) == value}
        found = {name: "environment" if name in mine else self.found for name in self.variables}
        if CONNECT_SECONDS_VARIABLE not in mine:
            found[CONNECT_SECONDS_VARIABLE] = "the command's default, short for use at a terminal"
        return found


def settings_of_target(
    environment: Mapping[str, str] | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    state: StateFolder | None = None,
) -> Target:
    """The mesh that `NATS_URL` names, else the one on the state folder (that of the environment if none is given), else
    the broker at the default address. `connect_seconds` is the time to wait for a broker if `JETMESH_CONNECT_SECONDS`
    is not set.

    Raises:
        SettingsError: a variable is invalid.
    """
    variables = settings.environment() if environment is None else {n: v for n, v in environment.items() if v}
    variables.setdefault(CONNECT_SECONDS_VARIABLE, str(connect_seconds))
    if state is not None:
        variables[STATE_VARIABLE] = str(state.folder)
    chosen = settings.read(Settings, variables)
    if "NATS_URL" in variables:
        return Target(chosen, "NATS_URL", variables)
    endpoints = endpoints_file.read(StateFolder(chosen.state).endpoints)
    if endpoints is None:
        return Target(chosen, f"the default: NATS_URL is not set, and no mesh runs in {chosen.state}", variables)
    variables |= variables_of(endpoints["nats_args"], str(endpoints.get("tenant") or ""))
    return Target(settings.read(Settings, variables), f"the mesh in {chosen.state}", variables, endpoints)


@asynccontextmanager
async def reach(target: Target) -> AsyncIterator[Context]:
    """A connection to the mesh, without traces.

    Raises:
        Unreachable: no broker answers there, or it refuses this user.
    """
    logging.getLogger("jetmesh.connection").setLevel(logging.ERROR)  # the failure is reported once, below
    try:
        async with connect(target.settings, providers.start("jetmesh", {}), "jetmesh-cli") as mesh:
            yield mesh
    except ConnectionError as unreachable:
        raise Unreachable(f"{unreachable} (address from {target.found})") from None


@asynccontextmanager
async def connected(connect_seconds: float = CONNECT_SECONDS) -> AsyncIterator[tuple[Transport, Settings]]:
    """A connection to the mesh of the environment, else to the one on the state folder, with the settings used.

    Raises:
        Unreachable: no broker answers there, or it refuses this user.
        SettingsError: a variable is invalid.
    """
    async with reach(settings_of_target(connect_seconds=connect_seconds)) as mesh:
        yield mesh.connection, mesh.settings


@asynccontextmanager
async def reach_running(state: StateFolder) -> AsyncIterator[Context]:
    """A connection to the mesh that runs on the folder, else to the one that `NATS_URL` names.

    Raises:
        click.ClickException: there is neither.
    """
    running = endpoints_file.read(state.endpoints) if state.is_held else None
    if running is None and "NATS_URL" not in settings.environment():
        raise click.ClickException(
            f"no mesh runs in {state.folder}: start one with `jetmesh dev`, or name a broker with NATS_URL"
        )
    told = running or {"nats_args": ()}
    async with connected_with(told["nats_args"], str(told.get("tenant") or "")) as mesh:
        yield mesh


@asynccontextmanager
async def connected_with(nats_args: Sequence[str] = (), tenant: str = "") -> AsyncIterator[Context]:
    """A connection by these arguments of the `nats` CLI, else by `NATS_URL`, for this tenant, else that of the
    environment.

    Raises:
        Unreachable: no broker answers there, or it refuses this user.
    """
    found = "endpoints.json" if nats_args else "NATS_URL"
    variables = {**settings.environment(), **variables_of(nats_args, tenant)}
    variables.setdefault(CONNECT_SECONDS_VARIABLE, str(CONNECT_SECONDS))
    async with reach(Target(settings.read(Settings, variables), found, variables)) as mesh:
        yield mesh


def variables_of(arguments: Sequence[str], tenant: str = "") -> dict[str, str]:
    """The variables with the same meaning as these arguments of the `nats` CLI, and that of a tenant."""
    pairs = zip(arguments[::2], arguments[1::2], strict=False)
    found = {NATS_ARGUMENTS[name]: value for name, value in pairs if name in NATS_ARGUMENTS}
    return found | ({TENANT_VARIABLE: tenant} if tenant else {})
