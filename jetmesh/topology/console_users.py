"""The users of the console: what it may ask of the broker, only to look or also to operate one app.

It describes streams and durables, and reads the messages of its app's streams and of those that its services read. One
that operates also replays dead letters to the app's reactions, removes letters and brings them back, logs that, and
pauses the app's durables. Neither records an event, makes, changes, purges or deletes a stream, or makes or deletes a
durable.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from jetmesh.event import INTAKE, stream_of
from jetmesh.jetstream.transport import API
from jetmesh.service import Service
from jetmesh.topology import names, partitions
from jetmesh.topology.accounts import CONSOLE, SERVICE, VIEWER, AccountsPart, BrokerUser, Import, api
from jetmesh.topology.names import APPS_BUCKET, CONTRACTS_BUCKET, DEAD_LETTERS, RESTORING, endpoint_subject
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import WHOLE, topology

OF_ALL = (INTAKE, DEAD_LETTERS, f"KV_{APPS_BUCKET}", f"KV_{CONTRACTS_BUCKET}")
"""The streams that all apps of a broker share."""
WITHOUT_MESSAGES = ("INFO", "STREAM.NAMES", f"STREAM.INFO.{RESTORING}")
"""What may be asked of the whole broker: sizes and names."""
OF_OLD = "CONSUMER.LIST.*"
"""What parts of an earlier version ask as well."""
DESCRIBED = ("STREAM.INFO.{}", "CONSUMER.NAMES.{}", "CONSUMER.LIST.{}", "CONSUMER.INFO.{}.*")
READ = ("STREAM.MSG.GET.{}", "DIRECT.GET.{}")
REMOVE = f"STREAM.MSG.DELETE.{DEAD_LETTERS}"
OF_LETTERS = (names.dead_letters_of, names.dead_log_of, names.due_subjects)
"""What is written about a service's letters: a letter that is brought back, the log, a message that is replayed."""
_ABOUT = re.compile(
    r"(?:STREAM\.INFO|STREAM\.MSG\.GET|DIRECT\.GET|CONSUMER\.NAMES|CONSUMER\.LIST)\.(?P<stream>[\w-]+)"
    r"|CONSUMER\.INFO\.(?P<of>[\w-]+)\.\*|CONSUMER\.PAUSE\.[\w-]+\.(?P<durable>[\w-]+)"
)


def viewer_imports(services: Sequence[Service], split: Partitions = WHOLE) -> list[Import]:
    """What a console may ask that changes nothing."""
    found = [_call(each) for each in (*WITHOUT_MESSAGES, *_about(services, split))]
    for service in services:
        asked = (f"$SRV.STATS.{service.name}", endpoint_subject(service.name, "health"))
        found += [Import(subject, is_stream=True) for subject in asked]
    return list(dict.fromkeys(found))


def operator_imports(services: Sequence[Service], split: Partitions = WHOLE) -> list[Import]:
    """What a console may ask that operates an app."""
    found = [*viewer_imports(services, split), _call(REMOVE)]
    durables = topology(services, split=split).consumers
    found += [_call(f"CONSUMER.PAUSE.{each.stream}.{each.durable}") for each in durables]
    for service in services:
        found += [Import(of(service.name)) for of in OF_LETTERS]
    return list(dict.fromkeys(found))


def with_console(
    part: AccountsPart, services: Sequence[Service], keys: Mapping[str, Sequence[str]], split: Partitions = WHOLE
) -> AccountsPart:
    """The part of an app with the users of its console."""
    asked = {CONSOLE: operator_imports, VIEWER: viewer_imports}
    more = (
        BrokerUser(name, tuple(keys[name]), tuple(imports(services, split)), SERVICE, is_console=True)
        for name, imports in asked.items()
    )
    return replace(part, users=(*part.users, *more))


def is_own(subject: str, services: Collection[str], read: Collection[str]) -> bool:
    """Whether the console of these services may ask for a subject; `read` are the streams that they pull from."""
    told = {f"$SRV.STATS.{name}" for name in services} | {endpoint_subject(name, "health") for name in services}
    told |= {of(name) for name in services for of in OF_LETTERS}
    call = subject.removeprefix(f"{API}.")
    if subject in told or (subject != call and call in (*WITHOUT_MESSAGES, OF_OLD, REMOVE)):
        return True
    asked = _ABOUT.fullmatch(call) if subject != call else None
    if asked is None:
        return False
    if durable := asked["durable"]:
        return any(durable.startswith(f"{name}-") for name in services)
    stream = re.sub(r"-\d+$", "", asked["stream"] or asked["of"])
    own = {of(stream_of(name)) for name in services for of in (str, *names.BESIDE)}
    return stream in {*own, *OF_ALL, *(re.sub(r"-\d+$", "", each) for each in read)}


def _about(services: Sequence[Service], split: Partitions) -> Iterator[str]:
    """The calls about single streams: those of the app, those that it reads, and those of all apps."""
    needed = topology(services, split=split)
    read = dict.fromkeys([*(durable.stream for durable in needed.durables), *OF_ALL])
    read |= dict.fromkeys(part for each in services if each.records for part in partitions.names(each.stream, split))
    described = read | dict.fromkeys(stream.name for stream in needed.streams)
    yield from (of.format(stream) for stream in described for of in DESCRIBED)
    yield from (of.format(stream) for stream in read for of in READ)
    yield from (f"STREAM.INFO.{stream.conflicting}" for stream in needed.streams if stream.conflicting)


def _call(call: str) -> Import:
    """A call of the JetStream API; a direct get may have several answers."""
    return api(call, is_stream=call.startswith("DIRECT.GET."))[0]
