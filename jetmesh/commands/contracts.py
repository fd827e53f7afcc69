"""`jetmesh contracts`: the schemas of events, and whether a change of them breaks a consumer or producer."""

import asyncio
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from jetmesh import app as apps
from jetmesh import settings
from jetmesh.commands import options
from jetmesh.commands.target import connected
from jetmesh.common.console import Console
from jetmesh.common.terminal import say
from jetmesh.contracts import (
    compatibility,
    deployed,
    generate,
    lint,
    outside,
    package,
    readers,
    registry,
    releases,
    scaffold,
    schema,
)
from jetmesh.contracts.compatibility import Break, Mode, Side
from jetmesh.contracts.deployed import Deployed
from jetmesh.contracts.package import Package
from jetmesh.contracts.page import type_of
from jetmesh.contracts.readers import Readers
from jetmesh.contracts.registry import DeployedContract
from jetmesh.contracts.schema import FACTS, UNIT, Contract, Contracts
from jetmesh.service import Service
from jetmesh.settings import Settings


@click.group("contracts")
def contracts() -> None:
    """Schemas of events: show, check, lint and generate them."""


@contracts.command()
@click.argument("name", metavar="TYPE")
@options.app
@options.contracts
def show(name: str, app: str, contracts: str) -> None:
    """Print an event: its meaning, fields, example, owner, readers and versions."""
    found = package.load(contracts)
    event = found.event(name)
    known = Readers(_services(app), readers.registered(found.folder / "consumers"))
    contract = schema.contract(event)
    facts = contract.consumer[FACTS]
    console = Console()
    heading = f"  {facts['subject']}\n\n{contract.consumer['description']}\n"
    console.print(Text.assemble((name, "bold cyan"), heading))
    console.print(_fields(contract.consumer))
    rows = {
        "owner": facts["owner"],
        "from outside": f"publish on {name}, by a {contract.publisher}" if contract.from_outside else "no",
        "readers": "\n".join([*known.reactions(name), *(str(c) for c in known.consumers if name in c.events)])
        or "no consumer",
        "versions": _versions(found, name),
        "example": "\n".join(json.dumps(body, indent=2, ensure_ascii=False) for body in found.examples(name)[:1]),
    }
    console.print(_facts(rows))


def _fields(of: schema.Schema) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("field", "type", "unit", "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "field")
    for field in schema.fields(of):
        name = field.path if field.required else f"{field.path}?"
        said = str(field.schema.get("description", "")).partition("\n")[0]
        table.add_row(name, type_of(field.schema), str(field.schema.get(UNIT, "")), said)
    return table


def _facts(rows: dict[str, str]) -> Table:
    table = Table(box=None, padding=(1, 2, 0, 0), show_header=False)
    for label, value in rows.items():
        table.add_row(Text(label, "dim"), value)
    return table


def _versions(found: Package, name: str) -> str:
    return ", ".join(event.type for event in found.events if _family(event.type) == _family(name))


def _family(name: str) -> str:
    return re.sub(r"_v\d+$", "", name)


@contracts.command()
@click.option(
    "--against",
    default="",
    metavar="REF|FILE|nats",
    help="A git commit or tag, a bundle in a file, or `nats` (deployed); else the releases of the package.",
)
@click.option(
    "--mode", type=click.Choice([mode.value for mode in Mode]), default=Mode.FULL_TRANSITIVE.value, show_default=True
)
@options.app
@options.contracts
def check(against: str, mode: str, app: str, contracts: str) -> None:
    """List breaking changes from earlier contracts to the current ones, and whom they affect; exit 1 if there are any.

    Backward: new consumers read what old producers wrote. Forward: old consumers read what new producers write. Full:
    both. Transitive: against every release, not only the last.
    """
    found = package.load(contracts)
    chosen = Mode(mode)
    past = _past(found, against)
    broken = _broken(found, past, chosen, app)
    compared = len(past) if chosen.transitive else 1
    say(
        f"{len(found.events) + len(found.requests)} contracts, {compared} compared with, {len(broken)} breaking changes"
    )
    raise SystemExit(bool(broken))


def _broken(found: Package, past: Sequence[Contracts], mode: Mode, app: str) -> list[tuple[Break, list[str]]]:
    """The breaking changes, each with those it affects."""
    services = _services(app)
    known = Readers(
        services, readers.registered(found.folder / "consumers"), outside.producers(found.folder / "producers")
    )
    old: Contracts = {name: contract for release in past for name, contract in release.items()}
    new = found.release()
    changes = compatibility.check(new, past, mode)
    changes += compatibility.removed_examples(old, found.examples)
    changes += compatibility.unrecorded({name: new[name] for name in old.keys() & new.keys()}, services)
    broken = readers.counted(changes, known, old)
    for each, whom in broken:
        _report(each, whom)
    return broken


@contracts.command()
@options.app
@options.contracts
def release(app: str, contracts: str) -> None:
    """Write the contracts to releases/VERSION.json, with the package's version; `check` compares with it from then on.

    If they break an earlier release, nothing is written; exit 1.
    """
    found = package.load(contracts)
    version = package.project(found)["version"]
    try:
        past = releases.released(found.folder)
    except releases.NoRelease:
        past = []
    if _broken(found, past, Mode.FULL_TRANSITIVE, app):
        raise SystemExit(1)
    say(f"released: {releases.write(found.folder, version, found.release())}")


def _report(found: Break, whom: Sequence[str]) -> None:
    say(f"{found.event}{f' {found.field}' if found.field else ''}: {found.rule}", fg="red", bold=True)
    way = (
        "old consumers read what new producers write"
        if found.side is Side.CONSUMER
        else "new consumers read what old producers wrote"
    )
    say(f"    {found.detail}  ({found.side.value} side: {way})")
    say(f"    breaks {', '.join(whom) or 'no known reader: no service and no registered consumer reads it'}")


def _past(found: Package, against: str) -> list[Contracts]:
    if against == "nats":
        new = found.contracts()
        return [registry.owned(release, new) for release in asyncio.run(_deployed())]
    if against and Path(against).is_file():
        return releases.from_file(Path(against))
    return [releases.at(found.folder, against)] if against else releases.released(found.folder)


async def _deployed() -> list[Contracts]:
    async with connected() as (connection, _):
        return await registry.history(connection)


@contracts.command()
@options.contracts
def publish(contracts: str) -> None:
    """Write the contracts to the broker's registry, as `topology apply` does: they are the deployed ones then.

    An event keeps the app that owns it, and none is removed: `jetmesh contracts retire` does that.
    """
    for name in asyncio.run(_publish(package.load(contracts).contracts())):
        say(f"written: {name}")


async def _publish(found: Contracts) -> list[str]:
    async with connected() as (connection, chosen):
        return await registry.publish(connection, found, chosen.replicas)


@contracts.command("deployed")
def deployed_() -> None:
    """List the deployed events: the service and the app that own each, the app's version, and who reads it."""
    entries, known = asyncio.run(_registered())
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("event", "owner", "app", "since version", "readers"):
        table.add_column(column, overflow="fold", no_wrap=column == "event")
    for name, entry in entries.items():
        whom = "\n".join(deployed.readers(known.values(), name)) or "no app"
        table.add_row(name, entry.contract.owner, entry.app or "-", entry.version or "-", whom)
    Console().print(table)


@contracts.command()
@click.argument("name", metavar="TYPE")
@click.option("--reason", required=True, help="Why nobody needs it any more; the registry's history keeps it.")
@click.option("--force", is_flag=True, help="Retire it although somebody reads it.")
@options.contracts
def retire(name: str, reason: str, force: bool, contracts: str) -> None:
    """Take an event, a request or a response out of the broker's registry: it is compared with no more.

    Refused while a deployed service records or answers it, and, without --force, while a deployed app or a registered
    consumer reads or asks it; exit 1. What is stored in streams stays.
    """
    entries, known = asyncio.run(_registered())
    if name not in entries:
        raise LookupError(f"no contract {name} is deployed; there are {', '.join(entries) or 'none'}")
    if whom := deployed.recorders(known.values(), name):
        raise click.ClickException(f"{', '.join(whom)} records {name}: first apply a version that does not")
    if whom := deployed.answering(known.values(), name):
        raise click.ClickException(f"{', '.join(whom)} answers {name}: first apply a version that does not")
    whom = [*deployed.readers(known.values(), name), *_consumers_of(entries[name].contract, contracts)]
    used = "asked" if entries[name].contract.part else "read"
    if whom and not force:
        raise click.ClickException(f"{name} is still {used} by {', '.join(whom)}: tell them, or retire it with --force")
    asyncio.run(_retire(name, reason))
    although = f", although it is {used} by {', '.join(whom)}" if whom else ""
    say(f"retired: {name}{although}")


def _consumers_of(contract: Contract, contracts: str) -> list[str]:
    """The consumers of other teams that are registered beside the package of contracts, if there is one here."""
    try:
        folder = package.load(contracts).folder
    except package.PackageError:
        return []
    known = Readers((), readers.registered(folder / "consumers"))
    return known.asking(contract.about) if contract.part else known.of(contract.type)


async def _registered() -> tuple[dict[str, DeployedContract], dict[str, Deployed]]:
    async with connected() as (connection, _):
        return await registry.entries(connection), await deployed.fetch(connection)


async def _retire(name: str, reason: str) -> None:
    async with connected() as (connection, _):
        await registry.retire(connection, name, reason)


@contracts.command("lint")
@options.contracts
def lint_(contracts: str) -> None:
    """Check the rules for names and for growing; exit 1 if one is broken."""
    found = package.load(contracts)
    known = found.release()
    said = [str(finding) for finding in (*lint.lint(known), *lint.lint_classes((*found.events, *found.requests)))]
    said += outside.unknown(found)
    for line in said:
        say(line, fg="red")
    say(f"{len(found.events) + len(found.requests)} contracts, {len(said)} findings")
    raise SystemExit(bool(said))


@contracts.command("generate")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 1 if a file is not current.")
@click.option(
    "--document",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the AsyncAPI document and its page alone, into this folder, for the tenant of JETMESH_TENANT.",
)
@options.app
@options.contracts
def generate_(only_check: bool, document: Path | None, app: str, contracts: str) -> None:
    """Write schemas, the AsyncAPI document and its page, TypeScript and Go types next to the package.

    What is next to the package is for every tenant, and has the names without a prefix.
    """
    found = package.load(contracts)
    if document:
        tenant = settings.read(Settings).tenant
        for file in generate.write(generate.documents(found, _services(app), document, tenant), document):
            say(f"written: {file}")
        return
    wanted = generate.files(found, _services(app))
    changed = generate.stale(wanted, found.folder) if only_check else generate.write(wanted, found.folder)
    for file in changed:
        say(f"{'not current' if only_check else 'written'}: {file.relative_to(found.folder)}")
    say(f"{len(wanted) - len(changed)} of {len(wanted)} files were current")
    raise SystemExit(only_check and bool(changed))


@contracts.command()
@options.contracts
def bundle(contracts: str) -> None:
    """Print all contracts as one JSON object, for `check --against FILE`."""
    say(schema.text(schema.bundle(package.load(contracts).release())), end=False)


@contracts.command()
@click.argument("name", metavar="TYPE")
@options.owner
@options.key
@click.option("--tests", type=click.Path(path_type=Path), default=Path("tests/contracts"), show_default=True)
@options.contracts
def new(name: str, owner: str, key: str, tests: Path, contracts: str) -> None:
    """Make a new event: its class, example and test."""
    for file in scaffold.write(package.load(contracts), scaffold.Draft.of(name, owner, key), tests):
        say(f"written: {os.path.relpath(file)}")
    say("next: describe it, add its fields, then run `ruff check --fix` and `jetmesh contracts generate`")


def _services(app: str) -> Sequence[Service]:
    """The services, to name the readers; none if there is no app: another team has only the contracts."""
    try:
        return apps.load(app)
    except apps.AppError as error:
        if app:
            raise
        say(f"without services: {error}", fg="yellow", err=True)
        return ()
