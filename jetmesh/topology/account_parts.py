"""The parts of several apps in the accounts of one broker: each team writes its own, and they are merged.

A part is a JSON file with public keys alone. What it asks for is checked: another team wrote it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from jetmesh.event import stream_of
from jetmesh.jetstream.transport import API
from jetmesh.topology.accounts import CORE, AccountsPart, BrokerUser
from jetmesh.topology.names import is_endpoint

_PART = TypeAdapter(AccountsPart)
_KEY = re.compile(r"U[A-Z2-7]{55}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_EVENT = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_*>-]+)+")
"""The subject of an event, dead letter, timer or claim."""
_CALL = re.compile(rf"{re.escape(API)}\.CONSUMER\.(?:MSG\.NEXT|INFO)\.[A-Z0-9_-]+\.(?P<durable>[a-z][A-Za-z0-9_-]*)")
_ACK = re.compile(r"\$JS\.ACK\.[A-Z0-9_-]+\.(?P<durable>[a-z][A-Za-z0-9_-]*)\.>")
_GET = re.compile(rf"{re.escape(API)}\.DIRECT\.GET\.(?P<stream>[A-Z0-9_-]+)")


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
    for problem in (found for check in (_apps, _services, _events, _keys) for found in check(parts)):
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
    yield from (f"{name!r} is no name of an app, user or entity" for name in names if not _NAME.fullmatch(name))
    yield from (
        f"{user.name!r} is the name of the broker's own account" for user in part.users if stream_of(user.name) == CORE
    )
    for user in part.users:
        asked = (each.subject for each in user.imports if not _is_own(user, each.subject))
        yield from (f"user {user.name} asks for {subject}, which is not its own" for subject in asked)
        moved = (
            each.local for each in user.imports if each.local and not each.local.endswith(each.subject[len(API) :])
        )
        yield from (f"user {user.name} gives a call the name {local!r}" for local in moved)


def _is_own(user: BrokerUser, subject: str) -> bool:
    """Whether a user may ask for a subject: an event, or a call about its own durables and streams."""
    if pulled := _CALL.fullmatch(subject) or _ACK.fullmatch(subject):
        return user.is_service and pulled["durable"].startswith(f"{user.name}-")
    if read := _GET.fullmatch(subject):
        own = stream_of(user.name)
        return user.is_service and (read["stream"] == own or read["stream"].startswith((f"{own}-", f"{own}_")))
    return bool(_EVENT.fullmatch(subject))


def _apps(parts: Sequence[AccountsPart]) -> Iterable[str]:
    names = [part.app for part in parts]
    yield from (f"two parts are of the app {name}: keep the newer one" for name in names if names.count(name) > 1)


def _services(parts: Sequence[AccountsPart]) -> Iterable[str]:
    owners: dict[str, str] = {}
    for part, user in ((each, user) for each in parts for user in each.users if user.is_service):
        if (other := owners.setdefault(stream_of(user.name), part.app)) != part.app:
            yield f"service {user.name}: the apps {other} and {part.app} have one of this name: rename one"


def _events(parts: Sequence[AccountsPart]) -> Iterable[str]:
    """What an app publishes, no other app does: the first word of an event's type is one app's."""
    owners: dict[str, str] = {}
    for part, user in ((each, user) for each in parts for user in each.users):
        for subject in (each.subject for each in user.imports if _is_published(each.subject)):
            first, _, rest = subject.partition(".")
            entity = f"{first}.{rest.partition('.')[0]}" if first in ("dead", "timers", "claims") else first
            if (other := owners.setdefault(entity, part.app)) != part.app:
                yield f"{subject}: the apps {other} and {part.app} publish it: begin one's types with another word"


def _is_published(subject: str) -> bool:
    return not subject.startswith("$") and not is_endpoint(subject)


def _keys(parts: Sequence[AccountsPart]) -> Iterable[str]:
    owners: dict[str, str] = {}
    for part in parts:
        for user in part.users:
            for key in user.keys:
                if (other := owners.setdefault(key, f"{user.name} of {part.app}")) != f"{user.name} of {part.app}":
                    yield f"{other} and {user.name} of {part.app} have the same key: make a new one for one of them"
