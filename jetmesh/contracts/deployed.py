"""The apps that are deployed on a broker: a JetStream KV bucket in which each app says what it records and reads.

So an app is told at `topology plan` that another one owns its event or the name of its service, and nobody retires an
event that another app still reads.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from jetmesh.contracts.bucket import Bucket
from jetmesh.contracts.request_contract import names_of
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import delete_message
from jetmesh.jetstream.errors import ApiError, ErrorCode
from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.transport import Transport
from jetmesh.reaction import Reaction
from jetmesh.service import Service
from jetmesh.topology.names import APPS_BUCKET
from jetmesh.topology.streams import taken

BUCKET = APPS_BUCKET
STREAM = f"KV_{BUCKET}"
APPS = Bucket(BUCKET, {"allow_msg_ttl": True})
LOCK = "_applying"
"""The key of the lock: no app can have this name."""
LOCK_TTL = "120s"
"""After this time the lock of a command that was killed is gone."""
LOCK_WAIT_SECONDS = 30.0
LOCK_POLL_SECONDS = 0.2


class Awaited(BaseModel):
    """A durable that an app could not make, since the stream of another app was not there yet: that app makes it."""

    model_config = ConfigDict(frozen=True)

    stream: str
    config: Mapping[str, Any]


class Deployed(BaseModel):
    """What an app said when it was applied: the types that each of its services records, and who reads which type; the
    contracts of the requests that each answers, and who asks which."""

    model_config = ConfigDict(frozen=True)

    app: str
    version: str = ""
    records: Mapping[str, tuple[str, ...]] = {}
    reads: Mapping[str, tuple[str, ...]] = {}
    answers: Mapping[str, tuple[str, ...]] = {}
    asks: Mapping[str, tuple[str, ...]] = {}
    awaits: tuple[Awaited, ...] = ()

    def __str__(self) -> str:
        return f"the app {self.app} {self.version}".rstrip()

    @property
    def entities(self) -> dict[str, str]:
        """The service that records events of each entity."""
        return {name.partition(".")[0]: service for service, types in self.records.items() for name in types}


def of(services: Sequence[Service], app: str, version: str) -> Deployed:
    """What an app of these services says of itself."""
    reads: dict[str, list[str]] = {}
    for reaction in (each for service in services for each in service.reactions):
        for name in _read_from_others(reaction):
            reads.setdefault(name, []).append(f"{reaction.service}.{reaction.name}")
    return Deployed(
        app=app,
        version=version,
        records={service.name: tuple(sorted(_owned(service))) for service in services},
        reads={name: tuple(reactions) for name, reactions in reads.items()},
        answers={s.name: tuple(n for e in s.endpoints for n in names_of(e.request)) for s in services if s.endpoints},
        asks=_asked(services),
    )


def _asked(services: Sequence[Service]) -> Mapping[str, tuple[str, ...]]:
    """The services that ask, by the contracts of what they ask."""
    named = [(name, service.name) for service in services for asked in service.calls for name in names_of(asked)]
    return {name: tuple(service for each, service in named if each == name) for name, _ in named}


def _owned(service: Service) -> set[str]:
    """The types of a service: what it records, and what it takes from outside."""
    return {event.type for event in service.records} | taken(service)


def _read_from_others(reaction: Reaction) -> list[str]:
    """The types of other services that a reaction reads."""
    return [event.type for event in reaction.events if event.owner != reaction.service]


async def fetch(connection: Transport) -> dict[str, Deployed]:
    """The deployed apps, by name; none where no app was ever deployed with a name."""
    if not await APPS.exists(connection):
        return {}
    values = await APPS.values(connection)
    bucket = APPS.on_broker(connection)
    return {name: _parsed(name, found[-1], bucket) for name, found in values.items() if name != LOCK}


def _parsed(name: str, value: bytes, bucket: str) -> Deployed:
    try:
        return Deployed.model_validate_json(value)
    except ValidationError as wrong:
        fix = f"`nats kv purge {bucket} {name}` removes it, and `jetmesh topology apply` of that app writes it again"
        raise ValueError(
            f"the app {name} in the bucket {bucket} can't be read ({wrong.errors()[0]['msg']}): {fix}"
        ) from None


async def write(connection: Transport, mine: Deployed, before: Deployed | None) -> None:
    """Say what this app records and reads now."""
    if mine != before:
        await APPS.put(connection, mine.app, mine.model_dump_json().encode())


async def remove(connection: Transport, app: str) -> None:
    """Take an app off the list: another one has taken over what it owned."""
    await APPS.delete(connection, app)


def conflicts(mine: Deployed, others: Iterable[Deployed]) -> list[str]:
    """Why this app can't be deployed beside the others: each second owner of a service's name or of an entity, and an
    app of the same name that is another one."""
    return [
        words for other in others for words in (_namesake(mine, other) if other.app == mine.app else _both(mine, other))
    ]


def _namesake(mine: Deployed, other: Deployed) -> Iterable[str]:
    if other.records and not mine.records.keys() & other.records.keys():
        theirs = ", ".join(sorted(other.records))
        yield (
            f"app {mine.app}: an app of this name is deployed with the services {theirs}, and none of them is here: "
            f"name this one otherwise, App(services, name=…)"
        )


def _both(mine: Deployed, other: Deployed) -> Iterable[str]:
    for service in sorted(mine.records.keys() & other.records.keys()):
        yield f"service {service}: {other} has one of this name, and {mine} would have a second: rename it"
    theirs = other.entities
    for entity, service in sorted(mine.entities.items()):
        if entity in theirs:
            yield (
                f"entity {entity}: {theirs[entity]} of {other} records its events, and {service} of {mine} would as "
                f"well: begin the type with another word"
            )


def readers(apps: Iterable[Deployed], name: str) -> list[str]:
    """Who reads a type, or asks the request of a contract, of all apps."""
    return [f"{who} of {app}" for app in apps for who in (*app.reads.get(name, ()), *app.asks.get(name, ()))]


def recorders(apps: Iterable[Deployed], name: str) -> list[str]:
    """Who records a type, of all apps."""
    return [f"{service} of {app}" for app in apps for service, types in app.records.items() if name in types]


def answering(apps: Iterable[Deployed], name: str) -> list[str]:
    """Who answers the request of a contract, of all apps."""
    return [f"{service} of {app}" for app in apps for service, names in app.answers.items() if name in names]


def is_older(version: str, than: str) -> bool:
    """Whether a version is older than another one; of versions without numbers nothing is known."""
    return bool(version and than) and _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


@asynccontextmanager
async def applying(connection: Transport, app: str, replicas: int) -> AsyncIterator[None]:
    """For the block no other app on this broker is applied: two could overwrite one another's part of a shared stream.

    Raises:
        Unavailable: another one is being applied, and does not end.
    """
    await APPS.make(connection, replicas)
    sequence = await _locked(connection, app)
    try:
        yield
    finally:
        with suppress(Unavailable, ApiError):  # it ends by itself
            await delete_message(connection, STREAM, sequence)


async def _locked(connection: Transport, app: str) -> int:
    headers: dict[str, Any] = {Nats.EXPECTED_LAST: "0", Nats.TTL: LOCK_TTL}
    for _ in range(round(LOCK_WAIT_SECONDS / LOCK_POLL_SECONDS)):
        try:
            return await APPS.put(connection, LOCK, app.encode(), headers)
        except ApiError as refused:
            if refused.error_code not in (ErrorCode.WRONG_LAST_SEQUENCE, ErrorCode.WRONG_LAST_SEQUENCE_CONSTANT):
                raise
        await asyncio.sleep(LOCK_POLL_SECONDS)
    raise Unavailable(
        f"another `jetmesh topology apply` is under way on this broker: run it again; one that was killed keeps others "
        f"waiting for {LOCK_TTL}"
    )
