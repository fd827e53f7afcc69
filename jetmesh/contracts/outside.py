"""Who is outside of an app and has an account of its own: `consumers/<team>.yaml` and `producers/<team>.yaml` beside a
package of contracts.

A team with a file in both folders is one user. What a file asks for is checked before anything is made of it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jetmesh.contracts import readers
from jetmesh.contracts.package import Package, packages_of
from jetmesh.contracts.readers import Producer, Reader
from jetmesh.event import EventType, is_occurrence, stream_of
from jetmesh.service import Service
from jetmesh.topology import accounts
from jetmesh.topology.names import endpoint_subject
from jetmesh.topology.outside import OutsideDurable, OutsideUser
from jetmesh.topology.streams import consumers_of, taken

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class OutsideError(ValueError):
    """A declaration is wrong; the text has a line for each file, field and fix."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A file, and what it says."""

    file: Path
    said: Reader | Producer

    def wrong(self, field: str, words: str) -> str:
        """A sentence that one of its fields is wrong."""
        return f"{self.file}: {field}: {words}"

    @property
    def asks_for_an_account(self) -> bool:
        """Whether it names what takes an account; a list of the fields that a team reads does not."""
        said = self.said
        return isinstance(said, Producer) or bool(said.durables or said.follows or said.asks)


def declarations(folder: Path) -> list[Declaration]:
    """Those of a package of contracts; none where it has no such folders.

    Raises:
        ValueError: a file is invalid; the text names the file and the member.
    """
    found = [Declaration(file, readers.parsed(file, Reader)) for file in _files(folder / "consumers")]
    return [*found, *(Declaration(file, readers.parsed(file, Producer)) for file in _files(folder / "producers"))]


def producers(folder: Path) -> list[Producer]:
    """Those that are registered in a folder of YAML files."""
    return [readers.parsed(file, Producer) for file in _files(folder)]


def users(services: Sequence[Service]) -> tuple[OutsideUser, ...]:
    """The users outside of this app, as the packages with its events declare them.

    Raises:
        OutsideError: a declaration is wrong.
    """
    return tuple(user for package in packages_of(services) for user in users_of(package, services))


def users_of(package: Package, services: Sequence[Service]) -> list[OutsideUser]:
    """The users outside of this app that one package declares.

    Raises:
        OutsideError: a declaration is wrong.
    """
    access = _Access(package, services)
    if wrong := list(access.problems()):
        raise OutsideError("\n".join(wrong))
    found: dict[str, OutsideUser] = {}
    for user in access.users():
        found[user.name] = _both(found.get(user.name), user)
    return list(found.values())


def unknown(package: Package) -> Iterator[str]:
    """What the declarations of a package name, and its contracts do not have: misspelled, or removed since."""
    contracts = package.contracts()
    for each in declarations(package.folder):
        if isinstance(each.said, Reader):
            yield from (each.wrong("events", words) for words in readers.strangers(each.said, contracts))
        else:
            missing = (name for name in each.said.events if name not in contracts)
            yield from (each.wrong("events", f"no event {name}; {_there_are(contracts)}") for name in missing)


class _Access:
    """What the declarations of a package ask for of the services of one app."""

    def __init__(self, package: Package, services: Sequence[Service]) -> None:
        self._package, self._services = package, services
        self._events: Mapping[str, EventType] = {event.type: event for event in package.events}
        self._owners = {service.name for service in services}
        self._taken = {name for service in services for name in taken(service)}
        self._endpoints = {e.request.type: endpoint_subject(s.name, e.name) for s in services for e in s.endpoints}
        self._durables = {durable.durable for service in services for durable in consumers_of(service, services)}
        self._declared = [each for each in declarations(package.folder) if each.asks_for_an_account]

    def users(self) -> Iterator[OutsideUser]:
        """One for each declaration that asks this app for something."""
        for each in self._of_this_app():
            said = each.said
            asks = tuple(self._endpoints[name] for name in said.asks)
            if isinstance(said, Producer):
                yield OutsideUser(said.team, publishes=self._types(said.events), asks=asks)
                continue
            durables = (
                OutsideDurable(f"{said.team}-{name}", self._types(durable.events), durable.since)
                for name, durable in said.durables.items()
            )
            yield OutsideUser(said.team, tuple(durables), self._types(said.follows), asks=asks)

    def problems(self) -> Iterator[str]:
        """A line for each field that is wrong."""
        yield from unknown(self._package)
        for each in self._of_this_app():
            yield from (each.wrong("team", words) for words in self._misnamed(each))
            yield from (each.wrong("asks", words) for words in self._unanswered(each.said.asks))
            if isinstance(each.said, Producer):
                yield from (each.wrong("events", words) for words in self._untaken(each.said.events))
            else:
                yield from self._unreadable(each, each.said)

    def _of_this_app(self) -> Iterator[Declaration]:
        """Two apps may share a package of contracts: a declaration that names what is the other's alone is its."""
        for each in self._declared:
            names = set(_named(each.said))
            if not names or any(not self._owner_elsewhere(name) for name in names):
                yield each

    def _owner_elsewhere(self, name: str) -> str:
        """The service of another app that owns an event or answers a request; empty if none is known."""
        event = self._events.get(name)
        owner = event.owner if event else name.partition(".")[0]
        known = {each.owner for each in self._events.values()}
        return owner if owner in known - self._owners else ""

    def _types(self, names: Iterable[str]) -> tuple[EventType, ...]:
        return tuple(self._events[name] for name in names)

    def _misnamed(self, each: Declaration) -> Iterator[str]:
        name = each.said.team
        if name != each.file.stem or not accounts.USER.fullmatch(name):
            yield f"{name!r} is also the name of a user: the file's name, {each.file.stem!r}, in small letters"
        kinds = accounts.published(self._services)
        services = [user for service in self._owners for user in (service, f"{service}-micro")]
        if stream_of(name) in map(
            stream_of, (*services, accounts.CONSOLE, accounts.VIEWER, accounts.OPERATOR, accounts.CORE)
        ):
            yield f"{name!r} is a user of the broker already: give the team and its file another name"
        if kind := accounts.kind_of(name, kinds):
            yield f"{name!r} is a user of the kind {kind}: give the team and its file another name"

    def _unanswered(self, asks: Iterable[str]) -> Iterator[str]:
        for name in asks:
            if name not in self._endpoints:
                yield f"no service of this app answers {name}; {_there_are(self._endpoints)}"

    def _untaken(self, events: Iterable[str]) -> Iterator[str]:
        for name in events:
            if name in self._events and name not in self._taken:
                yield f"{name} is taken from outside by no service of this app; {_there_are(sorted(self._taken))}"

    def _unreadable(self, each: Declaration, said: Reader) -> Iterator[str]:
        for name, durable in said.durables.items():
            field = f"durables.{name}"
            if not _NAME.fullmatch(name):
                yield each.wrong(field, "name it with small letters, digits, - and _, 32 at most")
            if f"{said.team}-{name}" in self._durables:
                yield each.wrong(field, f"a service has the durable {said.team}-{name}: give it another name")
            yield from (each.wrong(f"{field}.events", words) for words in self._not_read(said, durable.events))
            if len({self._events[event].owner for event in durable.events if event in self._events}) != 1:
                yield each.wrong(f"{field}.events", "name events of one owner; make a durable for each of several")
        yield from (each.wrong("follows", words) for words in self._not_read(said, said.follows))
        for event in self._types(name for name in said.follows if name in self._events):
            if is_occurrence(event):
                yield each.wrong("follows", f"{event.type} happens many times about a key: read it with a durable")

    def _not_read(self, said: Reader, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            if name not in said.events:
                yield f"{name} is not under `events`: name there which of its fields are read"
            elif owner := self._owner_elsewhere(name):
                yield f"{name} is of {owner}, a service of another app: declare it in that app's contracts"


def _named(said: Reader | Producer) -> Iterator[str]:
    """The events and endpoints that a declaration asks for."""
    yield from said.asks
    if isinstance(said, Producer):
        yield from said.events
    else:
        yield from (*said.follows, *(name for durable in said.durables.values() for name in durable.events))


def _both(first: OutsideUser | None, second: OutsideUser) -> OutsideUser:
    """One user who may do what both may."""
    if first is None:
        return second
    return replace(
        first,
        durables=(*first.durables, *second.durables),
        follows=(*first.follows, *second.follows),
        publishes=(*first.publishes, *second.publishes),
        asks=tuple(dict.fromkeys((*first.asks, *second.asks))),
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _there_are(names: Iterable[str]) -> str:
    return f"there are {', '.join(names) or 'none'}"
