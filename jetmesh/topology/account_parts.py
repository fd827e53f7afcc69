"""The parts of several apps in the accounts of one broker: each team writes its own, and they are merged.

A part is a JSON file with public keys alone. What it asks for is checked: another team wrote it.
"""

import json
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from jetmesh.blob import bucket_stream, is_bucket
from jetmesh.event import stream_of
from jetmesh.jetstream.transport import API
from jetmesh.topology import console_users
from jetmesh.topology.accounts import API_PREFIX, CORE, OPERATOR, AccountsPart, BrokerUser
from jetmesh.topology.names import is_endpoint

_PART = TypeAdapter(AccountsPart)
_KEY = re.compile(r"U[A-Z2-7]{55}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_EVENT = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_*>-]+)+")
"""The subject of an event, dead letter, timer, claim or limit."""
_CALL = re.compile(rf"{re.escape(API)}\.CONSUMER\.(?:MSG\.NEXT|INFO)\.[A-Z0-9_-]+\.(?P<durable>[a-z][A-Za-z0-9_-]*)")
_ACK = re.compile(r"\$JS\.ACK\.[A-Z0-9_-]+\.(?P<durable>[a-z][A-Za-z0-9_-]*)\.>")
_PUT = re.compile(r"\$O\.(?P<bucket>[A-Z0-9_]+)\.[CM]\.\*")
_GET = re.compile(rf"{re.escape(API)}\.DIRECT\.GET\.(?P<stream>[A-Z0-9_-]+)")
OF_A_SERVICE = ("dead", "dead_log", "timers", "due", "claims", "limits")
"""The first tokens of subjects whose second names a service."""
_NEWEST = re.compile(rf"{_GET.pattern}\.{_EVENT.pattern}")
"""The newest event of a type about a key."""


class PartError(ValueError):
    """A part can't be read, or two parts can't be merged; the text names the apps and the user."""


def write(part: AccountsPart, file: Path) -> None:
    """Write an app's part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(part), indent=2) + "\n", "utf-8")


def read(files: Iterable[Path]) -> list[AccountsPart]:
    """The parts in these files, checked alone and together.

    Raises:
        PartError: one is no part, asks for what is not its own, or two have the same app, service, event or key.
    """
    parts = [_read(file) for file in files]
    for problem in (found for check in (_apps, _services, _durables, _events, _keys) for found in check(parts)):
        raise PartError(problem)
    return parts


def _read(file: Path) -> AccountsPart:
    try:
        part = _PART.validate_json(file.read_bytes())
    except ValidationError as wrong:
        first = wrong.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise PartError(f"{file}: {field}: {first['msg']}; `jetmesh topology permissions` writes it") from None
    for problem in _wrong(part):
        raise PartError(f"{file}: {problem}")
    return part


def _wrong(part: AccountsPart) -> Iterable[str]:
    keys = [
        *part.operators,
        *(k for keys in part.micro.values() for k in keys),
        *(k for u in part.users for k in u.keys),
    ]
    yield from (f"{key!r} is no public key of a user" for key in keys if not _KEY.fullmatch(key))
    names = [part.app, *part.micro, *(user.name for user in part.users), *part.split]
    names += filter(None, [part.tenant, part.prefix])
    yield from (f"{name!r} is no name of an app, user or entity" for name in names if not _NAME.fullmatch(name))
    yield from (
        f"{user.name!r} is the name of the broker's own account" for user in part.users if stream_of(user.name) == CORE
    )
    services = {user.name for user in part.users if user.is_service}
    streams, pulled = set(map(stream_of, services)), _pulled(part)
    for user in part.users:
        is_own = partial(console_users.is_own, services=services, read=pulled) if user.is_console else None
        is_own = is_own or partial(_is_own, user, streams=streams)
        asked = (each.subject for each in user.imports if not is_own(each.subject))
        yield from (f"user {user.name} asks for {subject}, which is not its own" for subject in asked)
        moved = (each for each in user.imports if each.local not in ("", f"{API_PREFIX}{each.subject[len(API) :]}"))
        yield from (f"user {user.name} gives {each.subject} the name {each.local!r}" for each in moved)
    yield from (f"{name} is no service of it, and it would answer for it" for name in part.micro.keys() - services)
    entities = {each.subject.partition(".")[0] for user in part.users for each in user.imports}
    yield from (f"it would split {name}, which it does not publish" for name in part.split.keys() - entities)


def _pulled(part: AccountsPart) -> set[str]:
    """The streams that the services of a part pull from."""
    subjects = (each.subject for user in part.users if user.is_service for each in user.imports)
    return {subject.split(".")[2] for subject in subjects if _ACK.fullmatch(subject)}


def _is_own(user: BrokerUser, subject: str, streams: Container[str]) -> bool:
    """Whether a user may ask for a subject: an event, a call about its own durables and streams, or the newest event of
    a type in one of its app's `streams`."""
    if pulled := _CALL.fullmatch(subject) or _ACK.fullmatch(subject):
        return pulled["durable"].startswith(f"{user.name}-")
    if found := _NEWEST.fullmatch(subject):
        return re.sub(r"-\d+$", "", found["stream"]) in streams
    if read := _GET.fullmatch(subject):
        own = stream_of(user.name)
        if is_bucket(read["stream"]):
            return user.is_service or read["stream"].removeprefix(bucket_stream("")) in streams
        return user.is_service and (read["stream"] == own or read["stream"].startswith((f"{own}-", f"{own}_")))
    if put := _PUT.fullmatch(subject):
        return put["bucket"] == stream_of(user.name) if user.is_service else put["bucket"] in streams
    return bool(_EVENT.fullmatch(subject))


def _apps(parts: Sequence[AccountsPart]) -> Iterable[str]:
    names = [(*_tenant(part), part.app) for part in parts]
    twice = (part for part, name in zip(parts, names, strict=True) if names.count(name) > 1)
    yield from (f"two parts are of the app {part.app}{_of_tenant(part)}: keep the newer one" for part in twice)


def _of_tenant(part: AccountsPart) -> str:
    return f" of the tenant {part.whose}" if part.whose else ""


def _tenant(part: AccountsPart) -> tuple[str, str]:
    """Whose streams it speaks of: names of different tenants do not meet."""
    return part.tenant, part.prefix


def _services(parts: Sequence[AccountsPart]) -> Iterable[str]:
    owners: dict[tuple[str, str, str], str] = {}
    for part, user in ((each, user) for each in parts for user in each.users if user.is_service or _pulls(user)):
        if (other := owners.setdefault((*_tenant(part), stream_of(user.name)), part.app)) != part.app:
            kind = "service" if user.is_service else "user"
            yield f"{kind} {user.name}: the apps {other} and {part.app} have one of this name: rename one"


def _durables(parts: Sequence[AccountsPart]) -> Iterable[str]:
    """A durable is pulled by one user."""
    owners: dict[tuple[str, str, str], str] = {}
    for part, user in ((each, user) for each in parts for user in each.users):
        mine = f"{user.name} of {part.app}"
        for place in (each.subject for each in user.imports if _ACK.fullmatch(each.subject)):
            if (other := owners.setdefault((*_tenant(part), place), mine)) != mine:
                durable = "/".join(place.split(".")[2:4])
                yield f"durable {durable}: {other} and {mine} would pull it: rename one of the users"


def _pulls(user: BrokerUser) -> bool:
    return any(_ACK.fullmatch(each.subject) for each in user.imports)


def _events(parts: Sequence[AccountsPart]) -> Iterable[str]:
    """What an app publishes, no other app does: the first word of an event's type is one app's."""
    owners: dict[tuple[str, str, str], str] = {}
    for part, user in ((each, user) for each in parts for user in each.users):
        for subject in (each.subject for each in user.imports if _is_published(each.subject)):
            first, _, rest = subject.partition(".")
            entity = f"{first}.{rest.partition('.')[0]}" if first in OF_A_SERVICE else first
            if (other := owners.setdefault((*_tenant(part), entity), part.app)) != part.app:
                yield f"{subject}: the apps {other} and {part.app} publish it: begin one's types with another word"


def _is_published(subject: str) -> bool:
    return not subject.startswith("$") and not is_endpoint(subject)


def _keys(parts: Sequence[AccountsPart]) -> Iterable[str]:
    owners: dict[str, str] = {}
    for part in parts:
        for name, key in _named_keys(part):
            mine = f"{name} of {part.app}{_of_tenant(part)}"
            if (other := owners.setdefault(key, mine)) != mine:
                yield f"{other} and {mine} have the same key: make a new one for one of them"


def _named_keys(part: AccountsPart) -> Iterable[tuple[str, str]]:
    yield from ((user.name, key) for user in part.users for key in user.keys)
    yield from ((f"{service}-micro", key) for service, keys in part.micro.items() for key in keys)
    if part.whose:
        yield from ((OPERATOR, key) for key in part.operators)
