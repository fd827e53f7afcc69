"""`/mesh/contracts`: every event with its meaning, fields, example, owner, readers, and what a change breaks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.console.desk import Desk, desk_of
from jetmesh.contracts import compatibility, deployed, outside, package, readers, registry, releases
from jetmesh.contracts.compatibility import Break, Side
from jetmesh.contracts.deployed import Deployed
from jetmesh.contracts.package import Package
from jetmesh.contracts.readers import Reader, Readers
from jetmesh.contracts.registry import DeployedContract
from jetmesh.contracts.releases import NoRelease
from jetmesh.contracts.schema import FACTS, Contract, Contracts, Field, fields

RULES = ("enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "format")


@dataclass(frozen=True, slots=True)
class EarlierContract:
    """An earlier contract of an event, and what the present one breaks for those who know that one."""

    name: str
    is_same: bool
    broken: Sequence[tuple[Break, list[str]]]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The contracts of an app, and who reads them."""

    contracts: Contracts
    readers: Readers
    apps: Mapping[str, Deployed]
    on_broker: Mapping[str, DeployedContract]
    releases: Mapping[str, Contracts]

    def readers_of(self, name: str) -> list[str]:
        """All readers of a type: reactions, registered teams, other apps on the broker."""
        others = deployed.readers(self.apps.values(), name)
        return list(dict.fromkeys([*self.readers.of(name), *others]))

    def teams_of(self, name: str) -> list[Reader]:
        """The registered teams that read a type."""
        return [team for team in self.readers.consumers if name in team.events]

    def without(self, name: str, field: Field) -> list[str]:
        """Whom it breaks if this field is removed."""
        removed = Break(name, "field-removed", field.path, Side.CONSUMER, "", only_if_read=not field.required)
        return self.readers.broken(removed, self.contracts[name])

    def writers_of(self, name: str) -> list[str]:
        """Who writes a type: its owner, teams, and who may publish it from outside."""
        return self.readers.broken(Break(name, "field-required", "", Side.PRODUCER, ""), self.contracts[name])

    def versions(self, name: str) -> list[EarlierContract]:
        """The releases that have it, oldest first, and what is on the broker."""
        earlier = {version: release[name] for version, release in self.releases.items() if name in release}
        if there := self.on_broker.get(name):
            earlier["on the broker"] = there.contract
        return [self._version(title, old, self.contracts[name]) for title, old in earlier.items()]

    def _version(self, title: str, old: Contract, new: Contract) -> EarlierContract:
        found = compatibility.compare({new.type: old}, {new.type: new})
        return EarlierContract(title, _is_same(old, new), readers.counted(found, self.readers, {new.type: old}))


async def contracts(request: Request) -> Response:
    """All events, by owner."""
    desk = desk_of(request)
    found = await _catalogue(desk)
    owners: dict[str, list[Contract]] = {}
    for contract in found.contracts.values():
        owners.setdefault(contract.owner, []).append(contract)
    return desk.page(request, "contracts.html", owners=owners, catalogue=found, facts=FACTS)


async def contract(request: Request) -> Response:
    """One event."""
    desk, name = desk_of(request), request.path_params["type"]
    found = await _catalogue(desk)
    if name not in found.contracts:
        raise HTTPException(404, f"The app has no event {name}.")
    one = found.contracts[name]
    schema = one.consumer
    return desk.page(
        request, "contract.html", name=name, schema=schema, facts=schema[FACTS], fields=list(fields(schema)),
        readers=found.readers_of(name), writers=found.writers_of(name),
        versions=found.versions(name), teams=found.teams_of(name),
        without={field.path: found.without(name, field) for field in fields(schema)},
        family=[other for other in found.contracts if _family(other) == _family(name)],
        example=_example(schema), on_broker=found.on_broker.get(name),
        is_current=_is_current(found, name), described=described,
    )  # fmt: skip


def fields_of(desk: Desk, name: str) -> list[Field]:
    """The fields of an event by its contract; none if the app has no contract of this name."""
    known = dict(package.contracts_of(desk.services))
    return list(fields(known[name].consumer)) if name in known else []


def described(schema: Mapping[str, Any]) -> str:
    """The type of a field and what it allows, in words."""
    kind = " or ".join(str(each["type"]) for each in schema.get("anyOf", [schema]) if "type" in each)
    rules = (f"{name} {_words(schema[name])}" for name in RULES if name in schema)
    return ", ".join([kind or "anything", *rules])


def _words(rule: Any) -> str:
    return ", ".join(map(str, rule)) if isinstance(rule, list) else str(rule)


def _family(name: str) -> str:
    """The name that all versions of a type share: `_v2` and the like are left out."""
    return re.sub(r"_v\d+$", "", name)


def _releases(packages: Iterable[Package]) -> dict[str, Contracts]:
    """The releases of these packages, each with the package's name and its version."""
    found: dict[str, Contracts] = {}
    for each in packages:
        for version, contracts in releases.by_version(each.folder).items():
            found[f"{each.name} {version}"] = contracts
    return found


def _example(schema: Mapping[str, Any]) -> Any:
    return next(iter(schema.get("examples", ())), None)


def _is_current(found: Catalogue, name: str) -> bool:
    there = found.on_broker.get(name)
    return there is not None and _is_same(there.contract, found.contracts[name])


def _is_same(one: Contract, other: Contract) -> bool:
    """Whether they say the same; the examples, which the broker does not keep, say nothing more."""
    return _rules(one) == _rules(other)


def _rules(contract: Contract) -> list[dict[str, Any]]:
    schemas = contract.producer, contract.consumer
    return [{name: said for name, said in schema.items() if name != "examples"} for schema in schemas]


async def _catalogue(desk: Desk) -> Catalogue:
    connection = desk.link.context.connection
    packages = package.packages_of(desk.services)
    known = dict(package.contracts_of(desk.services))
    for each in packages:
        known |= {name: contract for name, contract in each.contracts().items() if name in known}
    consumers = [reader for each in packages for reader in readers.registered(each.folder / "consumers")]
    producers = [team for each in packages for team in outside.producers(each.folder / "producers")]
    try:
        on_broker: Mapping[str, DeployedContract] = await registry.entries(connection)
    except (NoRelease, ValueError):
        on_broker = {}
    apps = await deployed.fetch(connection)
    others = {name: app for name, app in apps.items() if name != desk.app_name}
    return Catalogue(
        dict(sorted(known.items())),
        Readers(desk.services, consumers, producers),
        others,
        on_broker,
        _releases(packages),
    )


ROUTES = [Route("/mesh/contracts", contracts), Route("/mesh/contracts/{type}", contract)]
