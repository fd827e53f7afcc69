"""One AsyncAPI 3 document of a mesh: channels are subjects, operations are the reactions and the events they record.

Specification: https://www.asyncapi.com/docs/reference/specification/v3.1.0. Schemas use only what AsyncAPI shares with
JSON Schema 2020-12; references point to `#/components/schemas`. Facts of JetStream that no binding has are
`x-jetstream-*`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jetmesh.contracts import access, requests
from jetmesh.contracts.schema import FACTS, Contract, Contracts, Schema, mapped
from jetmesh.event import INTAKE, EventType, stream_of
from jetmesh.jetstream.headers import TRACEPARENT, TRACESTATE, CloudEvents, Nats
from jetmesh.reaction import Reaction
from jetmesh.service import Service
from jetmesh.topology.outside import OutsideUser

VERSION = "3.1.0"

HEADERS: Schema = {
    "type": "object",
    "description": "CloudEvents 1.0 in binary mode (NATS protocol binding) and W3C Trace Context. A message that a "
    "service reads may lack all of them; values are percent-encoded outside printable ASCII.",
    "properties": {
        CloudEvents.SPECVERSION: {"type": "string", "const": "1.0"},
        CloudEvents.ID: {
            "type": "string", "description": "Unique per source; the same at every attempt to record the event.",
        },
        CloudEvents.TYPE: {
            "type": "string", "description": "The type of the event: the first two tokens of the subject.",
        },
        CloudEvents.SOURCE: {"type": "string", "description": "Who recorded it: `/jetmesh/<service>`."},
        CloudEvents.SUBJECT: {"type": "string", "description": "The key: the third token of the subject."},
        CloudEvents.TIME: {"type": "string", "format": "date-time", "description": "When it was recorded, in UTC."},
        CloudEvents.DATACONTENTTYPE: {"type": "string", "const": "application/json"},
        CloudEvents.CORRELATION_ID: {"type": "string", "description": "The key of the story that it belongs to."},
        CloudEvents.CAUSATION_ID: {"type": "string", "description": "The ce-id of the event that it follows from."},
        CloudEvents.BEGAN: {
            "type": "string", "format": "date-time", "description": "When the first event of the story was stored.",
        },
        TRACEPARENT: {"type": "string", "description": "The span that published it: the parent of what reacts."},
        TRACESTATE: {"type": "string", "description": "What other tracing systems passed on."},
        Nats.EXPECTED_LAST: {
            "type": "string", "description": "The guard: the sequence of the story's last event when this was decided.",
        },
        Nats.EXPECTED_LAST_SUBJECT: {"type": "string", "description": "The subjects of the story that it guards."},
        Nats.BATCH_ID: {"type": "string", "description": "The name of the batch that the event was recorded in."},
        Nats.BATCH_SEQUENCE: {"type": "string", "description": "The position of the event in its batch, from 1."},
        Nats.BATCH_COMMIT: {"type": "string", "description": "On the last event of a batch."},
    },
}  # fmt: skip
"""The headers of a recorded event; a message from outside has the headers that its publisher wrote."""


def document(
    info: dict[str, Any], contracts: Contracts, services: Sequence[Service], users: Sequence[OutsideUser] = ()
) -> dict[str, Any]:
    """The document of these contracts, with an operation for each event that a service reads or records, and for what
    each user outside may do."""
    return {
        "asyncapi": VERSION,
        "info": info,
        "defaultContentType": "application/json",
        "servers": access.SERVERS,
        "channels": {
            **dict(channel for contract in contracts.values() for channel in _channels(contract)),
            **dict(channel for service in services for channel in requests.channels(service)),
            **dict(access.channels(services)),
        },
        "operations": {
            **dict(operation for service in services for operation in _operations(service, contracts)),
            **dict(operation for service in services for operation in requests.operations(service)),
            **dict(access.operations(services, users)),
        },
        "components": {
            "messages": dict(message for contract in contracts.values() for message in _messages(contract)),
            "schemas": {
                "headers": HEADERS,
                **access.schemas(services),
                **_schemas(contracts),
                **requests.schemas(services),
            },
            "securitySchemes": access.SECURITY_SCHEMES,
        },
        **access.LIMITS,
        "x-refusals": access.REFUSALS,
        **access.streams(services),
        **_schedules(services),
    }


def _schedules(services: Sequence[Service]) -> dict[str, Any]:
    """What happens by the clock: no message begins it, so that no operation says it."""
    found = {
        f"{service.name}.{reaction.name}": {
            "cron": reaction.schedule.cron,
            "zone": reaction.schedule.zone,
            "missed": reaction.schedule.missed,
            "summary": reaction.meaning,
            "x-jetmesh-may-record": [outcome.type for outcome in reaction.outcomes],
        }
        for service in services
        for reaction in service.reactions
        if reaction.schedule
    }
    return {"x-jetmesh-schedules": found} if found else {}


def _channels(contract: Contract) -> Iterator[tuple[str, dict[str, Any]]]:
    facts = contract.consumer[FACTS]
    yield (
        contract.type,
        {
            "address": facts["subject"],
            "title": contract.type,
            "description": f"What {contract.owner} recorded, {_how_often(facts)}."
            + f" An ending: the part of {contract.owner} in the story is over with it." * bool(facts.get("ending")),
            "messages": {contract.type: _reference("messages", contract.type)},
            "parameters": dict(_parameters(contract)),
            "x-jetstream-stream": stream_of(contract.owner),
        },
    )
    if contract.from_outside:
        name = _intake(contract.type)
        yield (
            name,
            {
                "address": contract.type,
                "title": f"{contract.type} from outside",
                "description": f"Published by a {contract.publisher}; {contract.owner} checks it and records it under "
                "its key. `x-refusals` says what becomes of one that it does not take.",
                "messages": {name: _reference("messages", name)},
                "x-jetstream-stream": INTAKE,
            },
        )


def _how_often(facts: Mapping[str, Any]) -> str:
    if facts["state"]:
        return f"of which the newest message per {facts['key']} counts"
    if facts.get("occurrence"):
        return f"many messages per {facts['key']}, each with an id of its own as the last token of its subject"
    return f"one message per {facts['key']}"


def _parameters(contract: Contract) -> Iterator[tuple[str, dict[str, str]]]:
    facts = contract.consumer[FACTS]
    yield facts["key"], {"description": _meaning(contract.consumer, facts["key"])}
    if facts.get("id"):
        yield facts["id"], {"description": _meaning(contract.consumer, facts["id"])}
    elif facts.get("occurrence"):
        yield "id", {"description": "Derived from its cause: it tells one from another."}


def _meaning(schema: Schema, field: str) -> str:
    return str(schema["properties"][field].get("description", ""))


def _messages(contract: Contract) -> Iterator[tuple[str, dict[str, Any]]]:
    schema = contract.consumer
    meaning = str(schema["description"])
    message = {
        "name": contract.type,
        "title": schema["title"],
        "summary": meaning.partition("\n")[0],
        "description": meaning,
        "contentType": "application/json",
        "headers": _reference("schemas", "headers"),
        "payload": _reference("schemas", schema["title"]),
        "examples": [{"payload": example} for example in schema.get("examples", ())],
    }
    yield contract.type, message
    if contract.from_outside:
        closed = _reference("schemas", _closed(schema["title"]))
        headers = _reference("schemas", "headers.from_outside")
        yield _intake(contract.type), {**message, "payload": closed, "headers": headers}


def _operations(service: Service, contracts: Contracts) -> Iterator[tuple[str, dict[str, Any]]]:
    for reaction in service.reactions:
        events = () if reaction.form.keeps_all or reaction.form.is_foreign else reaction.events
        for event in events:
            yield f"{service.name}.{reaction.name}.{event.type}", _receive(service, reaction, event)
        if reaction.form.keeps_all:
            for contract in contracts.values():
                yield f"{service.name}.{reaction.name}.{contract.type}", _keep(service, reaction, contract)
    for event in service.records:
        yield f"{service.name}.record.{event.type}", _send(service, event)


def _receive(service: Service, reaction: Reaction, event: EventType) -> dict[str, Any]:
    outside = reaction.takes_from_outside(event)
    durable = f"{service.name}-intake" if outside else reaction.durable
    stream = INTAKE if outside else stream_of(event.owner)
    delay = {"x-jetmesh-after-seconds": reaction.delay.total_seconds()} if reaction.delay else {}
    at = {"x-jetmesh-at": reaction.at} if reaction.at else {}
    urgent = {"x-jetmesh-express": reaction.express} if event in reaction.urgent else {}
    return {
        **_operation("receive", service, _intake(event.type) if outside else event.type, reaction.meaning),
        "x-jetstream-consumer": {"stream": stream, "durable_name": durable, "ack_policy": "explicit"},
        "x-jetmesh-may-record": [outcome.type for outcome in reaction.outcomes],
        **delay,
        **at,
        **urgent,
    }


def _keep(service: Service, reaction: Reaction, contract: Contract) -> dict[str, Any]:
    consumer = {"stream": stream_of(contract.owner), "durable_name": reaction.durable, "ack_policy": "explicit"}
    return {
        **_operation("receive", service, contract.type, reaction.meaning),
        "x-jetstream-consumer": consumer,
        "x-jetmesh-may-record": [],
    }


def _send(service: Service, event: EventType) -> dict[str, Any]:
    said = (event.__doc__ or "").partition("\n")[0]
    return {**_operation("send", service, event.type, said), "x-jetstream-stream": service.stream}


def _operation(action: str, service: Service, channel: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{channel}"}],
        "summary": summary,
        "tags": [{"name": service.name}],
    }


def _schemas(contracts: Contracts) -> dict[str, Any]:
    """Every schema under its title; definitions that events share are schemas of their own.

    Raises:
        ValueError: two different schemas have one title.
    """
    found: dict[str, Any] = {}
    for contract in contracts.values():
        named = list(_lifted(contract.consumer, closed=False))
        if contract.from_outside:
            named += _lifted(contract.producer, closed=True)
        for name, schema in named:
            if found.setdefault(name, schema) != schema:
                raise ValueError(f"two different schemas are named {name}: rename one of the classes")
    return found


def _lifted(schema: Schema, *, closed: bool) -> Iterator[tuple[str, Any]]:
    def lift(node: dict[str, Any]) -> dict[str, Any]:
        if isinstance(reference := node.get("$ref"), str):
            name = reference.rpartition("/")[2]
            node["$ref"] = f"#/components/schemas/{_closed(name) if closed else name}"
        return node

    whole = mapped({name: value for name, value in schema.items() if name not in ("$schema", "$id")}, lift)
    definitions = whole.pop("$defs", {})
    for each in (whole, *definitions.values()):
        yield _closed(each["title"]) if closed else each["title"], each


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _closed(title: str) -> str:
    return f"{title}.closed"


def _intake(event: str) -> str:
    return f"{event}.from_outside"
