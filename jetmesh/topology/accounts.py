"""One NATS account per user, with imports of exactly the subjects that it may pull, acknowledge, record and publish.

Subject permissions inside one account are not enough: a user that may pull can name any reply subject, and so let the
broker publish there. An account has only its own subjects and those that it imports.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jetmesh.blob import bucket_of, description_of, has_blobs, pieces_of
from jetmesh.event import EventType, entity_of, publisher_of, stream_of
from jetmesh.jetstream.limits import PAYLOAD_BYTES_MAX
from jetmesh.jetstream.subject import subjects_of
from jetmesh.jetstream.tenant_names import to_wire
from jetmesh.jetstream.transport import API
from jetmesh.request_model import endpoint_of, owner_of
from jetmesh.service import Service
from jetmesh.topology import names, partitions, tenants
from jetmesh.topology.names import endpoint_subject
from jetmesh.topology.outside import OutsideUser, durables_of, newest
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import WHOLE, Consumer, consumers_of, is_limited, reacts_singly

CORE = "MESH"
"""The account that has JetStream and all streams; operators are its users."""
OPERATOR = "operator"
CONSOLE, VIEWER = "console", "console-viewer"
"""The users of a console that operates an app, and of one that only looks (`jetmesh.topology.console_users`)."""
API_PREFIX = "jetmesh.api"
"""The prefix under which a service imports the JetStream API: under `$JS.API` its own account would answer."""
SYSTEM = "$SYS.>"
"""The server's own subjects in every account; they show the addresses of connections."""


@dataclass(frozen=True, slots=True)
class Import:
    """A subject of the core account that another account may send to."""

    subject: str
    is_stream: bool = False
    """Whether there are several answers: to a pull, or to a direct get of several messages."""
    local: str = ""
    """The subject in the importing account; empty: the same."""


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """Limits of one account: connections on each server; subscriptions and message size per connection."""

    connections: int
    subscriptions: int
    payload_bytes: int = PAYLOAD_BYTES_MAX


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """One user with an account of its own: its public keys, what it may send to, its limits, and whether it is a
    service, the console, or somebody outside."""

    name: str
    keys: tuple[str, ...]
    imports: tuple[Import, ...]
    limits: AccountLimits
    is_service: bool = False
    is_console: bool = False


@dataclass(frozen=True, slots=True)
class AccountsPart:
    """What one app needs in the accounts of a broker: its users, its operators' keys, the keys that answer `nats micro`
    for each service, and the number of partitions of each entity that is split.

    The same app may be there once for each tenant: a `tenant` has streams of its own in an account of its own, a
    `prefix` has them in the account of all, under the names of `jetmesh.jetstream.tenant_names`. Its part holds the
    names without the prefix, so that it can ask for nothing else; its operators may use its `streams`."""

    app: str
    users: tuple[BrokerUser, ...]
    operators: tuple[str, ...]
    micro: Mapping[str, tuple[str, ...]]
    split: Mapping[str, int]
    tenant: str = ""
    prefix: str = ""
    streams: tuple[str, ...] = ()

    @property
    def whose(self) -> str:
        """The tenant that it is of, in the names of keys and files; empty: the app is there once."""
        return self.tenant or self.prefix

    @property
    def core(self) -> str:
        """The account that has its streams."""
        return f"{CORE}_{stream_of(self.tenant)}" if self.tenant else CORE


_KIND = re.compile("[a-z][a-z0-9]{0,31}")
USER = re.compile("[a-z][a-z0-9-]{0,62}[a-z0-9]")
"""The names that an outside user may have."""
OUTSIDE = AccountLimits(connections=256, subscriptions=64)
SERVICE = AccountLimits(connections=1_024, subscriptions=1_024)


def imports_of(service: Service, services: Sequence[Service], split: Partitions = WHOLE) -> list[Import]:
    """Every subject that a service may publish to, from its declarations."""
    found: list[Import] = []
    for consumer in consumers_of(service, services, split=split):
        found += _pulling(consumer)
    for event in service.records:
        found.append(Import(subjects_of(event)))
        if event.from_outside:
            found.append(Import(event.type))
    if service.records:
        parts = partitions.names(service.stream, split)
        found += [each for part in parts for each in api(f"DIRECT.GET.{part}", is_stream=True)]
    if service.claims is not None:
        found.append(Import(names.claim_subjects(service.name)))
        found += api(f"DIRECT.GET.{names.claims_of(service.stream)}", is_stream=True)
    found += _putting(service.records)
    taken = [event for reaction in service.reactions for event in reaction.events]
    found += _reading([*service.records, *taken])
    if is_limited(service):
        found.append(Import(names.limit_subjects(service.name)))
        found += api(f"DIRECT.GET.{names.limits_of(service.stream)}", is_stream=True)
    if reacts_singly(service):
        found += api(f"DIRECT.GET.{names.timers_of(service.stream)}", is_stream=True)
    found += [Import(endpoint_subject(owner_of(asked), endpoint_of(asked))) for asked in service.calls]
    found.append(Import(names.dead_letters_of(service.name)))
    found.append(Import(names.timer_subjects(service.name)))
    return list(dict.fromkeys(found))


def outside_imports(user: OutsideUser, split: Partitions = WHOLE) -> list[Import]:
    """Every subject that a user outside of the app may publish to, from its declaration."""
    found = [*(Import(event.type) for event in user.publishes), *_putting(user.publishes)]
    found += _reading([*(event for durable in user.durables for event in durable.events), *user.follows])
    for durable in durables_of(user, split):
        found += _pulling(durable)
    found += [each for event in user.follows for place in newest(event, split) for each in api(f"DIRECT.GET.{place}")]
    found += [Import(subject) for subject in user.asks]
    return list(dict.fromkeys(found))


def _putting(events: Iterable[EventType]) -> list[Import]:
    """What stores the objects that these events name."""
    return [Import(of(bucket)) for bucket in _buckets(events) for of in (pieces_of, description_of)]


def _reading(events: Iterable[EventType]) -> list[Import]:
    """What reads them."""
    return [each for bucket in _buckets(events) for each in api(f"DIRECT.GET.{names.blobs_of(bucket)}", is_stream=True)]


def _buckets(events: Iterable[EventType]) -> Iterable[str]:
    return dict.fromkeys(bucket_of(event.owner) for event in events if has_blobs(event))


def published(services: Sequence[Service]) -> Mapping[str, Sequence[EventType]]:
    """The types that each kind of outside user may publish, without a key.

    Raises:
        ValueError: a contract names a publisher that can't be a user.
    """
    found: dict[str, list[EventType]] = {}
    for event in _from_outside(services):
        kind = publisher_of(event)
        if not _KIND.fullmatch(kind) or stream_of(kind) == CORE or kind in (OPERATOR, CONSOLE):
            raise ValueError(
                f"{event.type}: publisher {kind!r}: write small letters and digits, and no name of another user"
            )
        found.setdefault(kind, []).append(event)
    return found


def inbox_of(user: str) -> str:
    """The prefix of an outside user's inboxes, for `nats --inbox-prefix`."""
    return f"_INBOX_{user}"


def kind_of(user: str, kinds: Iterable[str]) -> str:
    """The kind of a user: `client` for `client` and for `client-berlin`; empty if it is of no kind."""
    return max((kind for kind in kinds if user == kind or user.startswith(f"{kind}-")), key=len, default="")


def configuration(
    services: Sequence[Service],
    keys: Mapping[str, Sequence[str]],
    split: Partitions = WHOLE,
    outside: AccountLimits = OUTSIDE,
) -> str:
    """The `accounts` block of a nats-server configuration for one app, with the mappings of streams that are split."""
    return merged([part_of("", services, keys, split, outside)])


def part_of(
    app: str,
    services: Sequence[Service],
    keys: Mapping[str, Sequence[str]],
    split: Partitions = WHOLE,
    outside: AccountLimits = OUTSIDE,
    tenant: str = "",
) -> AccountsPart:
    """An app's part of the accounts of a broker, for one tenant if it has several.

    `keys` are the public nkeys of each user (`jetmesh.topology.nkeys.users`); a user may have two, so that keys can be
    rotated while they are in use. `<service>-micro` may answer `nats micro` for the service. `outside` are the limits
    of each user that is not a service.
    """
    open_to = {
        kind: (*(Import(event.type) for event in events), *_putting(events))
        for kind, events in published(services).items()
    }
    users = [
        BrokerUser(service.name, tuple(keys[service.name]), tuple(imports_of(service, services, split)), SERVICE, True)
        for service in services
    ]
    known = {user.name for user in users}
    kinds = {name: kind_of(name, open_to) for name in keys if name not in known}
    users += [BrokerUser(name, tuple(keys[name]), open_to[kind], outside) for name, kind in kinds.items() if kind]
    micro = {service.name: tuple(keys.get(f"{service.name}-micro", ())) for service in services}
    return AccountsPart(app, tuple(users), tuple(keys[OPERATOR]), micro, _split_entities(services, split), tenant)


def under_prefix(
    part: AccountsPart, prefix: str, services: Sequence[Service], split: Partitions = WHOLE
) -> AccountsPart:
    """The part of an app for a tenant by a prefix; without one the part as it is."""
    return replace(part, prefix=prefix, streams=tenants.streams_of(services, split)) if prefix else part


def with_outsiders(
    part: AccountsPart,
    outsiders: Sequence[OutsideUser],
    keys: Mapping[str, Sequence[str]],
    split: Partitions = WHOLE,
    limits: AccountLimits = OUTSIDE,
) -> AccountsPart:
    """The part of an app with the users outside that its contracts declare."""
    more = (BrokerUser(u.name, tuple(keys[u.name]), tuple(outside_imports(u, split)), limits) for u in outsiders)
    return replace(part, users=(*part.users, *more))


def merged(parts: Sequence[AccountsPart]) -> str:
    """The `accounts` block for the apps of a broker together. A user's account has his name; where users of two apps
    have the same one, also the app's; a tenant's have the tenant's in front."""
    blocks: list[str] = []
    for tenant in dict.fromkeys(part.tenant for part in parts):
        theirs = [_on_wire(part) for part in parts if part.tenant == tenant]
        accounts = _account_names(theirs)
        blocks.append(_core(theirs, accounts))
        blocks += [_account(user, accounts[_key(part, user)], part.core) for part in theirs for user in part.users]
    return "accounts {\n" + "\n".join(blocks) + "\n}\n"


def _on_wire(part: AccountsPart) -> AccountsPart:
    """A part whose users ask for the subjects as the broker has them."""
    if not part.prefix:
        return part
    names, services = to_wire(part.prefix), to_wire(part.prefix, f"{API_PREFIX}.")

    def named(each: Import) -> Import:
        return replace(each, subject=names.subject(each.subject), local=each.local and services.subject(each.local))

    users = (replace(user, imports=tuple(map(named, user.imports))) for user in part.users)
    return replace(part, users=tuple(users))


def _key(part: AccountsPart, user: BrokerUser) -> tuple[str, str, str]:
    return part.prefix, part.app, user.name


def _account_names(parts: Sequence[AccountsPart]) -> Mapping[tuple[str, str, str], str]:
    """The account of each app's users, of one core account."""
    plain = [(part.prefix, stream_of(user.name)) for part in parts for user in part.users]
    found: dict[tuple[str, str, str], str] = {}
    for part, user in ((each, user) for each in parts for user in each.users):
        name = stream_of(user.name)
        front = [part.tenant, *([part.app] if plain.count((part.prefix, name)) > 1 else ())]
        whole = "__".join([*(stream_of(each) for each in front if each), name])
        found[_key(part, user)] = f"{part.prefix}_{whole}" if part.prefix else whole
    return found


def mappings(services: Sequence[Service], split: Partitions) -> dict[str, str]:
    """The broker's subject mappings for the streams that are split: from, to."""
    return partitions.mappings(_split_entities(services, split))


def _split_entities(services: Sequence[Service], split: Partitions) -> dict[str, int]:
    owners = [service for service in services if service.stream in split]
    return {entity_of(event): split[owner.stream] for owner in owners for event in owner.records}


def _from_outside(services: Sequence[Service]) -> Iterator[EventType]:
    found = (e for service in services for r in service.reactions for e in r.events if r.takes_from_outside(e))
    yield from dict.fromkeys(found)


def _pulling(consumer: Consumer) -> Iterable[Import]:
    place = f"{consumer.stream}.{consumer.durable}"
    yield from api(f"CONSUMER.MSG.NEXT.{place}", is_stream=True)
    yield Import(f"$JS.ACK.{place}.>")
    yield from api(f"CONSUMER.INFO.{place}")


def api(call: str, *, is_stream: bool = False) -> list[Import]:
    """A call of the JetStream API under the services' prefix. Pulls and direct gets also have their usual names: an
    older version of a service uses those during an upgrade."""
    found = [Import(f"{API}.{call}", is_stream, f"{API_PREFIX}.{call}")]
    return [*found, Import(f"{API}.{call}", is_stream)] if is_stream else found


def _core(parts: Sequence[AccountsPart], accounts: Mapping[tuple[str, str, str], str]) -> str:
    exports: dict[Import, list[str]] = {}
    for part, user in ((each, user) for each in parts for user in each.users):
        for imported in user.imports:
            to = exports.setdefault(Import(imported.subject, imported.is_stream), [])
            to.append(accounts[_key(part, user)])
    lines = [_export(export, to) for export, to in exports.items()]
    users = list(dict.fromkeys(line for part in parts for line in _operators(part)))
    users += [_micro(part, service, key) for part in parts for service, keys in part.micro.items() for key in keys]
    mapped = {source: to for part in parts for source, to in _routes(part)}
    return "\n".join(
        [
            f"  {parts[0].core}: {{",
            "    jetstream: enabled",
            *_mappings(mapped),
            "    users: [",
            *users,
            "    ]",
            "    exports: [",
            *lines,
            "    ]",
            "  }",
        ]
    )


def _operators(part: AccountsPart) -> Iterable[str]:
    """Those of a tenant by a prefix may use what is the tenant's, and those of the account everything in it."""
    may = _list(tenants.operator_subjects(part.prefix, part.streams, part.micro)) if part.prefix else ""
    heard = _list(["_INBOX.>", f"{part.prefix}.>"])
    allowed = f", permissions: {{publish: {{allow: {may}}}, subscribe: {{allow: {heard}}}}}" if may else ""
    yield from (f"      {{nkey: {key}{allowed}}}" for key in part.operators)


def _routes(part: AccountsPart) -> Iterable[tuple[str, str]]:
    front = f"{part.prefix}." if part.prefix else ""
    yield from ((f"{front}{source}", f"{front}{to}") for source, to in partitions.mappings(part.split).items())


def _mappings(mapped: Mapping[str, str]) -> Iterable[str]:
    if mapped:
        pairs = ", ".join(f'"{source}": "{to}"' for source, to in mapped.items())
        yield f"    mappings: {{{pairs}}}"


def _export(export: Import, accounts: Sequence[str]) -> str:
    kind = ", response_type: stream" if export.is_stream else ""
    return f'      {{service: "{export.subject}"{kind}, accounts: [{", ".join(accounts)}]}}'


def _micro(part: AccountsPart, service: str, key: str) -> str:
    """A user that may only answer: to discovery, and at the endpoints of its service."""
    verbs = ["PING", "INFO", "STATS"]
    heard = [f"$SRV.{verb}" for verb in verbs] + [f"$SRV.{verb}.{service}" for verb in verbs]
    heard += [f"$SRV.{verb}.{service}.*" for verb in verbs] + [endpoint_subject(service, "*")]
    if part.prefix:
        heard = list(map(to_wire(part.prefix).subject, heard))
    answers = 'publish: {deny: [">"]}, allow_responses: {max: 1, ttl: "10s"}'
    return f"      {{nkey: {key}, permissions: {{subscribe: {{allow: {_list(heard)}}}, {answers}}}}}"


def _outside_permissions(user: str, imports: Sequence[Import]) -> str:
    """Publish to the imported subjects and get the answers, but not the server's own subjects."""
    allowed = _list([imported.local or imported.subject for imported in imports])
    return f"publish: {{allow: {allowed}}}, subscribe: {{allow: {_list([f'{inbox_of(user)}.>'])}}}"


def _list(subjects: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{subject}"' for subject in subjects) + "]"


INSIDE_PERMISSIONS = f"publish: {{deny: {_list([SYSTEM])}}}, subscribe: {{allow: {_list(['_INBOX.>'])}}}"
"""The account has no other subjects, so that it suffices to deny the server's; a list of allowed ones costs more."""


def _account(user: BrokerUser, account: str, core: str) -> str:
    permissions = (
        INSIDE_PERMISSIONS if user.is_service or user.is_console else _outside_permissions(user.name, user.imports)
    )
    users = ", ".join(f"{{nkey: {key}, permissions: {{{permissions}}}}}" for key in user.keys)
    limits = user.limits
    most = f"max_connections: {limits.connections}, max_subscriptions: {limits.subscriptions}"
    lines = [_import(imported, core) for imported in user.imports]
    return "\n".join(
        [
            f"  {account}: {{",
            f"    users: [{users}]",
            f"    limits: {{{most}, max_payload: {limits.payload_bytes}}}",
            "    imports: [",
            *lines,
            "    ]",
            "  }",
        ]
    )


def _import(imported: Import, core: str) -> str:
    local = f', to: "{imported.local}"' if imported.local else ""
    return f'      {{service: {{account: {core}, subject: "{imported.subject}"}}{local}}}'
