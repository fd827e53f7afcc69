"""`jetmesh topology`: compares the streams and durables that the services need with those of the broker."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from jetmesh import app as apps
from jetmesh import settings
from jetmesh.commands import options
from jetmesh.commands.errors import advised
from jetmesh.commands.target import PATIENT_SECONDS, connected
from jetmesh.common.extras import brought_by
from jetmesh.common.terminal import say
from jetmesh.contracts import outside
from jetmesh.jetstream.errors import ApiError
from jetmesh.operate.deployment import AppPlan, Deployment, needed
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.since import FORMS, Since
from jetmesh.since import read as read_since
from jetmesh.topology import account_parts, accounts, chart, console_users, nack, nkeys
from jetmesh.topology.provision import Change, Drift
from jetmesh.topology.starting import Starts
from jetmesh.topology.tenants import on_wire

COLOURS = {Change.CREATE: "green", Change.UPDATE: "yellow", Change.AWAIT: "yellow", Change.KEEP: None}
"""The colours of changes; the others are red."""
PARTS = "parts"
"""The folder beside accounts.conf with the part of each app."""
REFUSED = 3
"""Exit status of a refused plan: a retry is useless, unlike after a failure to connect."""


@click.group()
def topology() -> None:
    """Make the broker's streams and durable consumers from the services' signatures. Deletes no message."""


prune = click.option(
    "--prune",
    is_flag=True,
    help="Remove the app's subjects, filters, durables and unread contracts that its services no longer declare.",
)
"""Without it they stay: a newer version may have added them. A durable that somebody pulls stays anyway."""
since = click.option(
    "--since",
    "said",
    multiple=True,
    metavar="REACTION=TIME",
    help="Which past events a new reaction (or all of a service) reads: now, beginning, or those since a time.",
)
team = click.option(
    "--team",
    "teams",
    multiple=True,
    metavar="TEAM",
    help="With --prune: also the durables of this team outside, which no file of the contracts declares any more.",
)
"""A team's durable holds what that team has not read yet: it is named before it goes."""
take_over = click.option(
    "--take-over",
    default="",
    metavar="APP",
    help="Own what this app owned: it was renamed, or its services moved here.",
)


@topology.command()
@prune
@team
@since
@take_over
@options.app
def plan(app: str, prune: bool, teams: Sequence[str], said: Sequence[str], take_over: str) -> None:
    """Show the difference between what the services need and what the broker has; exit 1 if there is one.

    Of a new reaction it shows how many past events it would read; what another app owns is refused, with both names.
    """
    found = asyncio.run(_planned(app, (prune, teams), take_over, said, carry_out=False))
    show(found)
    raise SystemExit(not found.is_done)


@topology.command()
@prune
@team
@since
@take_over
@options.app
def apply(app: str, prune: bool, teams: Sequence[str], said: Sequence[str], take_over: str) -> None:
    """Make the streams and durables that the services need; exit 3 if that would lose data or is impossible, if another
    app owns them, if a contract breaks a deployed one, or if nobody says which past events a new reaction shall read.

    Everything is checked before anything is changed, and nothing of another app is. Settings of operators stay, and so
    do the additions of a newer version: an older version can be applied again.
    """
    try:
        done = asyncio.run(_planned(app, (prune, teams), take_over, said, carry_out=True))
    except (ApiError, Drift) as refused:
        say(advised(str(refused), refused), fg="red", err=True)
        raise SystemExit(REFUSED) from None
    show(done, carried_out=True)


@topology.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--rotate", metavar="USER", help="Make a new key for this user; the old one stays valid.")
@click.option("--retire", metavar="USER", help="Remove the old key of this user.")
@click.option(
    "--add", metavar="USER", help="Make a key for another outside user: client-berlin has the permissions of client."
)
@click.option(
    "--tenant",
    default="",
    metavar="NAME",
    help="The app for this tenant by an account, with streams of its own; FOLDER is the tenant's.",
)
@options.app
def permissions(folder: Path, rotate: str | None, retire: str | None, add: str | None, tenant: str, app: str) -> None:
    """Write one account per user for a nats-server configuration, with the users' keys, into FOLDER.

    `include FOLDER/accounts.conf` in the server's configuration; after a change, reload it (`nats-server --signal
    reload`). A service is given FOLDER/<service>.nk as JETMESH_NATS_NKEY_SEED, FOLDER/<service>-micro.nk as
    JETMESH_NATS_MICRO_NKEY_SEED, and JETMESH_NATS_API_PREFIX=jetmesh.api.

    With JETMESH_TENANT the users are those of the tenant by this prefix, and may use nothing without it.

    Where several apps share the broker, accounts.conf has them all: FOLDER/parts/APP.json is this app's part, without
    secrets, and those of other apps are put beside it.
    """
    services, chosen = apps.load(app), settings.read(Settings)
    if tenant and chosen.tenant:
        raise click.UsageError(
            f"--tenant {tenant} is by an account, JETMESH_TENANT={chosen.tenant} by a prefix: leave one of them out"
        )
    if add:
        _check_outside(add, services)
    outsiders = outside.users(services)
    names = [*nkeys.users(services, folder, outsiders), *([add] if add else [])]
    if unknown := [user for user in (rotate, retire) if user and user not in names]:
        raise click.BadParameter(f"no user {unknown[0]!r}; there are {', '.join(names)}")
    names = list(dict.fromkeys(names))
    nkeys.ensure(folder, names)
    if rotate:
        nkeys.rotate(folder, rotate)
    if retire and not nkeys.retire(folder, retire):
        raise click.ClickException(f"{retire} has no old key")
    file = folder / "accounts.conf"
    limits = replace(accounts.OUTSIDE, connections=chosen.outside_connections)
    name = apps.name_of(services)
    keys = nkeys.ensure(folder, names)
    own = accounts.part_of(name, services, keys, chosen.split, limits, tenant)
    own = accounts.under_prefix(own, chosen.tenant, services, chosen.split)
    own = console_users.with_console(own, services, keys, chosen.split)
    part = accounts.with_outsiders(own, outsiders, keys, chosen.split, limits)
    account_parts.write(part, folder / PARTS / f"{name}{f'@{part.whose}' if part.whose else ''}.json")
    file.write_text(accounts.merged(account_parts.read(sorted((folder / PARTS).glob("*.json")))))
    others = ", ".join(name for name in names if name not in _of_services(services))
    say(f"{file}: {len(services)} services, {others}; the keys are next to it")


@topology.command("accounts")
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
def accounts_(parts: Sequence[Path]) -> None:
    """Print the accounts of all apps of a broker, merged from the PARTS that `permissions` of each app has written.

    Refused where two apps have a service, an event or a key in common, or a part asks for what is not its app's own.
    """
    say(accounts.merged(account_parts.read(parts)), end=False)


@topology.command()
@click.option("--format", "kind", type=click.Choice(["nack"]), required=True, help="nack: jetstream.nats.io/v1beta2.")
@click.option("--account", default="", metavar="NAME", help="NACK's Account object that the streams belong to.")
@options.app
def export(kind: str, account: str, app: str) -> None:
    """Print streams and durables as custom resources, for a cluster whose operator makes them.

    Each stream has JETMESH_REPLICAS replicas. Settings that the resources can't express are reported on stderr.
    """
    with brought_by("contracts", f"--format {kind}"):
        import yaml
    chosen = settings.read(Settings)
    exported = nack.export(on_wire(needed(apps.load(app), chosen), chosen.tenant), account)
    say(yaml.safe_dump_all(exported.resources, sort_keys=False, explicit_start=True), end=False)
    for whose, field, value in exported.missing:
        say(f"{whose}: {kind} has no field for {field}: {value!r}; set it by hand", fg="red", err=True)
    for field, version in exported.needs_version.items():
        say(f"{field} needs NACK {version} or newer: older ones drop it", fg="yellow", err=True)
    hint = "the contracts are not part of it: `jetmesh topology apply` publishes them once the streams are there"
    say(hint, fg="yellow", err=True)


@topology.command()
@options.app
def values(app: str) -> None:
    """Print values for the Helm chart: for each service the durables whose lag KEDA scales on, without deadlines.

    With the partitions of JETMESH_PARTITIONS.
    """
    with brought_by("contracts", "YAML"):
        import yaml
    chosen = settings.read(Settings)
    wanted = chart.values(needed(apps.load(app), chosen), chosen.tenant)
    say(yaml.safe_dump(wanted, sort_keys=False), end=False)


def _check_outside(user: str, services: Sequence[Service]) -> None:
    kinds = accounts.published(services)
    if user in kinds or not accounts.kind_of(user, kinds) or not accounts.USER.fullmatch(user):
        raise click.BadParameter(
            f"{user!r}: write one of {', '.join(kinds)}, a dash and small letters or digits", param_hint="--add"
        )


def _of_services(services: Sequence[Service]) -> set[str]:
    return {name for service in services for name in (service.name, f"{service.name}-micro")}


def show(found: AppPlan, *, carried_out: bool = False) -> None:
    """Print a plan: what is refused, each change in its colour, and the result."""
    for refused in found.refusals:
        say(f"refuse {refused}", fg="red")
    steps = found.steps
    changes = [step for step in steps if step.change is not Change.KEEP]
    for step in changes:
        say(str(step), fg=COLOURS.get(step.change, "red"))
    for step in steps:
        if step.kept:
            say(f"kept at {step.kind} {step.name}, though not declared here: {'; '.join(step.kept)}")
    for note in found.notes:
        say(note, fg="yellow")
    awaited = [step for step in changes if step.change is Change.AWAIT]
    if carried_out and awaited:
        say(f"{len(steps) - len(awaited)} of {len(steps)} streams and durables are as needed, the others wait")
    elif carried_out or not changes:
        say(f"all {len(steps)} streams and durables are as needed")
    else:
        say(f"{len(changes)} of {len(steps)} streams and durables are not as needed")


def _starts(said: Sequence[str], services: Sequence[Service]) -> Starts:
    """What `--since` says: `notifications.send=now`, or `notifications=now` for all of a service."""
    known = {name for s in services for name in (s.name, *(f"{s.name}.{reaction.name}" for reaction in s.reactions))}
    found: dict[str, Since] = {}
    for each in said:
        name, _, when = each.partition("=")
        if name not in known:
            raise click.BadParameter(
                f"no reaction {name!r}; there are {', '.join(sorted(known))}", param_hint="--since"
            )
        try:
            found[name] = read_since(when)
        except ValueError:
            raise click.BadParameter(f"{each!r}: write {name}= and {FORMS}", param_hint="--since") from None
    return Starts(found)


async def _planned(
    app: str, goes: tuple[bool, Sequence[str]], take_over: str, said: Sequence[str], *, carry_out: bool
) -> AppPlan:
    services, (prune, teams) = apps.load(app), goes
    if teams and not prune:
        raise click.UsageError("--team says whose durables --prune removes as well: give both")
    starts = _starts(said, services)
    async with connected(PATIENT_SECONDS) as (connection, chosen):
        deployment = Deployment(connection, services, chosen, prune, take_over, starts, teams)
        return await (deployment.apply() if carry_out else deployment.plan())
