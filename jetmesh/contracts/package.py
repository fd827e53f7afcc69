"""A package of contracts: the classes of its events and requests, and the folder with generated files and releases."""

import importlib
import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from jetmesh.contracts.request_contract import request_contracts
from jetmesh.contracts.schema import Contracts, contract
from jetmesh.event import EventType
from jetmesh.request_model import RequestType
from jetmesh.service import Service
from jetmesh.settings import Project, read


class PackageError(ValueError):
    """No package of contracts can be found, or it is invalid."""


@dataclass(frozen=True, slots=True)
class Package:
    """Events, requests, and the folder that holds their `schemas/`, `examples/` and `consumers/`.

    In a repository the folder is the one with the package's pyproject.toml; in a wheel it is the package's own.
    """

    name: str
    events: tuple[EventType, ...]
    folder: Path
    requests: tuple[RequestType, ...] = ()

    def event(self, name: str = "") -> EventType:
        """The event of a type; if none is named, the first that may be published from outside.

        Raises:
            PackageError: there is none; the text names those that there are.
        """
        name = name or next((event.type for event in self.events if event.from_outside), "")
        for event in self.events:
            if event.type == name:
                return event
        raise PackageError(f"no event {name!r}; there are {', '.join(event.type for event in self.events)}")

    def example_files(self, name: str) -> list[Path]:
        """The examples of a type that were ever published, oldest first."""
        return sorted(self.folder.glob(f"examples/{name}/*.json"), key=lambda file: (len(file.stem), file.stem))

    def examples(self, name: str) -> list[Any]:
        """The bodies of these examples, newest first."""
        return [json.loads(file.read_text(encoding="utf-8")) for file in reversed(self.example_files(name))]

    def contracts(self) -> Contracts:
        """The contracts of the events as they are now, each with its newest example."""
        return {event.type: contract(event, self.examples(event.type)[:1]) for event in self.events}

    def release(self) -> Contracts:
        """All that other teams build on: the contracts of the events, and those of the requests and their responses."""
        return {**self.contracts(), **_of_requests(self.requests)}


def packages_of(services: Iterable[Service]) -> list[Package]:
    """The packages with events of these services: the one that is named here, and those that are installed.

    Raises:
        PackageError: one of them is invalid.
    """
    owners = {service.name for service in services}
    here = read(Project).contracts or _of_project(Path())
    names = dict.fromkeys([*filter(None, [here]), *sorted(p.value for p in entry_points(group="jetmesh.contracts"))])
    return [each for each in map(load, names) if any(event.owner in owners for event in each.events)]


def contracts_of(services: Iterable[Service]) -> Contracts:
    """The contracts of every event that these services read or record, for a mesh that names no package."""
    reactions = [reaction for service in services for reaction in service.reactions]
    events = dict.fromkeys(event for each in reactions for event in (*each.events, *each.outcomes))
    return {event.type: contract(event) for event in events}


def owned_by(services: Iterable[Service]) -> Contracts:
    """The contracts that an app of these services owns: of the events that they record, and the requests that they
    answer."""
    services = tuple(services)
    owners = {service.name for service in services}
    events = {name: each for name, each in contracts_of(services).items() if each.owner in owners}
    return {**events, **_of_requests(endpoint.request for each in services for endpoint in each.endpoints)}


def used_by(services: Iterable[Service]) -> Contracts:
    """The contracts of others that these services use: of the events that they read, and the requests that they ask."""
    services = tuple(services)
    all_ = {**contracts_of(services), **_of_requests(asked for each in services for asked in each.calls)}
    own = owned_by(services)
    return {name: each for name, each in all_.items() if name not in own}


def _of_requests(requests: Iterable[RequestType]) -> Contracts:
    return {each.type: each for request in requests for each in request_contracts(request)}


def project(package: Package) -> dict[str, Any]:
    """The table `[project]` of the package's pyproject.toml.

    Raises:
        PackageError: the package is installed from a wheel, which has no folder to write to.
    """
    file = package.folder / "pyproject.toml"
    if not file.is_file():
        raise PackageError(
            f"{package.name} is installed in {package.folder}; do this in the repository that it is from"
        )
    said: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))["project"]
    return said


def load(reference: str = "") -> Package:
    """The package of contracts of this import name: as given, else `JETMESH_CONTRACTS`, else `[tool.jetmesh] contracts`
    in this folder's pyproject.toml, else the only installed entry point of the group `jetmesh.contracts`.

    Raises:
        PackageError: nothing names a package, or it has no tuple `EVENTS`.
    """
    name = reference or read(Project).contracts or _of_project(Path()) or _installed()
    try:
        module = importlib.import_module(name)
        events: Sequence[EventType] = module.EVENTS
    except (ModuleNotFoundError, AttributeError) as missing:
        raise PackageError(f"contracts {name}: {missing}") from None
    requests: Sequence[RequestType] = getattr(module, "REQUESTS", ())
    return Package(name, tuple(events), _folder(Path(str(module.__file__)).parent), tuple(requests))


def _folder(package: Path) -> Path:
    return package.parent if (package.parent / "pyproject.toml").is_file() else package


def _of_project(folder: Path) -> str:
    file = folder / "pyproject.toml"
    if not file.is_file():
        return ""
    if str(folder.resolve()) not in sys.path:
        sys.path.insert(0, str(folder.resolve()))
    tools = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    return str(tools.get("jetmesh", {}).get("contracts", ""))


def _installed() -> str:
    found = sorted({point.value for point in entry_points(group="jetmesh.contracts")})
    if len(found) == 1:
        return found[0]
    where = "--contracts, JETMESH_CONTRACTS, or [tool.jetmesh] contracts in pyproject.toml"
    raise PackageError(
        f"several packages of contracts are installed ({', '.join(found)}): choose one with {where}" if found else
        f"no contracts: name their package with {where}"
    )  # fmt: skip
