"""One NATS account per service, with imports of exactly what it may pull, acknowledge, record and read.

Subject permissions inside one account leave a hole: whoever may pull may name any reply subject, and so have the broker
publish what it pulled wherever it likes. An account has no subjects but its own and those that it imports.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jetmesh import partitions
from jetmesh.event import entity_of
from jetmesh.mesh import endpoint_subject
from jetmesh.partitions import Partitions
from jetmesh.service import Service
from jetmesh.topology import WHOLE, Consumer, consumers_of

CORE = "MESH"
"""The account that has JetStream, and everything in it; people who operate the mesh are its users."""
CLIENT = "CLIENT"
"""The account of people and other teams: they may publish what is open to everybody, and nothing else."""
API_PREFIX = "jetmesh.api"
"""Where a service finds `$JS.API.CONSUMER.INFO`: an import of it under its own name would be answered locally."""


@dataclass(frozen=True, slots=True)
class Import:
    """A subject of the core account that another account may send to."""

    subject: str
    is_stream: bool = False
    """Whether several answers come: a pull, or a reading of several messages."""
    local: str = ""
    """The subject under which the importing account knows it; empty: the same."""


def imports_of(service: Service, services: Sequence[Service], split: Partitions = WHOLE) -> list[Import]:
    """Everything that a service may say, from its declarations."""
    found: list[Import] = []
    for consumer in consumers_of(service, services, split=split):
        found += _pulling(consumer)
    for event in service.records:
        found.append(Import(f"{event.type}.*"))
        if event.from_outside:
            found.append(Import(event.type))
    if service.records:
        parts = partitions.names(service.stream, split)
        found += [Import(f"$JS.API.DIRECT.GET.{part}", is_stream=True) for part in parts]
    if service.claims is not None:
        found.append(Import(f"claims.{service.name}.*"))
        found.append(Import(f"$JS.API.DIRECT.GET.{service.stream}_CLAIMS", is_stream=True))
    found.append(Import(f"dead.{service.name}.>"))
    found.append(Import(f"timers.{service.name}.>"))
    return list(dict.fromkeys(found))


def imports_of_clients(services: Sequence[Service]) -> list[Import]:
    """What everybody may publish: the types that are declared `from_outside`, without a key."""
    events = (e for service in services for r in service.reactions for e in r.events if r.takes_from_outside(e))
    return [Import(event_type) for event_type in dict.fromkeys(event.type for event in events)]


def configuration(services: Sequence[Service], keys: Mapping[str, Sequence[str]], split: Partitions = WHOLE) -> str:
    """The `accounts` block of a nats-server configuration, with the mappings of streams that are split.

    `keys` names the public nkeys of each user: of every service by its name, of `client`, and of `operator`; two keys
    for one name are both good, so that keys can be rotated while they are in use. `<service>-micro` may answer
    `nats micro` for the service.
    """
    granted = {service.stream: imports_of(service, services, split) for service in services}
    granted[CLIENT] = imports_of_clients(services)
    users = {service.stream: keys[service.name] for service in services} | {CLIENT: keys["client"]}
    blocks = [_core(services, granted, keys, mappings(services, split))]
    blocks += [_account(name, users[name], imports) for name, imports in granted.items()]
    return "accounts {\n" + "\n".join(blocks) + "\n}\n"


def mappings(services: Sequence[Service], split: Partitions) -> dict[str, str]:
    """How the broker routes the events of streams that are split: from, to."""
    owners = [service for service in services if service.stream in split]
    entities = [(entity_of(event), split[owner.stream]) for owner in owners for event in owner.records]
    return dict(partitions.mapping(entity, count) for entity, count in entities)


def _pulling(consumer: Consumer) -> Iterable[Import]:
    place = f"{consumer.stream}.{consumer.durable}"
    yield Import(f"$JS.API.CONSUMER.MSG.NEXT.{place}", is_stream=True)
    yield Import(f"$JS.ACK.{place}.>")
    yield Import(f"$JS.API.CONSUMER.INFO.{place}", local=f"{API_PREFIX}.CONSUMER.INFO.{place}")


def _core(
    services: Sequence[Service],
    granted: Mapping[str, Sequence[Import]],
    keys: Mapping[str, Sequence[str]],
    mapped: Mapping[str, str],
) -> str:
    exports: dict[Import, list[str]] = {}
    for account, imports in granted.items():
        for imported in imports:
            exports.setdefault(Import(imported.subject, imported.is_stream), []).append(account)
    lines = [_export(export, to) for export, to in exports.items()]
    users = [f"      {{nkey: {key}}}" for key in keys["operator"]]
    users += [_micro(service.name, key) for service in services for key in keys.get(f"{service.name}-micro", ())]
    return "\n".join(
        [
            f"  {CORE}: {{",
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


def _mappings(mapped: Mapping[str, str]) -> Iterable[str]:
    if mapped:
        pairs = ", ".join(f'"{source}": "{to}"' for source, to in mapped.items())
        yield f"    mappings: {{{pairs}}}"


def _export(export: Import, accounts: Sequence[str]) -> str:
    kind = ", response_type: stream" if export.is_stream else ""
    return f'      {{service: "{export.subject}"{kind}, accounts: [{", ".join(accounts)}]}}'


def _micro(service: str, key: str) -> str:
    """A user that may only answer: discovery, and the endpoints of its service."""
    verbs = ["PING", "INFO", "STATS"]
    heard = [f"$SRV.{verb}" for verb in verbs] + [f"$SRV.{verb}.{service}" for verb in verbs]
    heard += [f"$SRV.{verb}.{service}.*" for verb in verbs] + [endpoint_subject(service, "*")]
    subjects = ", ".join(f'"{subject}"' for subject in heard)
    return (
        f"      {{nkey: {key}, permissions: {{subscribe: {{allow: [{subjects}]}}, "
        f'publish: {{deny: [">"]}}, allow_responses: {{max: 1, ttl: "10s"}}}}}}'
    )


def _account(name: str, keys: Sequence[str], imports: Sequence[Import]) -> str:
    users = ", ".join(f"{{nkey: {key}}}" for key in keys)
    lines = [_import(imported) for imported in imports]
    return "\n".join([f"  {name}: {{", f"    users: [{users}]", "    imports: [", *lines, "    ]", "  }"])


def _import(imported: Import) -> str:
    local = f', to: "{imported.local}"' if imported.local else ""
    return f'      {{service: {{account: {CORE}, subject: "{imported.subject}"}}{local}}}'
