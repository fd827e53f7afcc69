"""What a program of another team must know of the broker, as parts of the AsyncAPI document: servers, keys, limits,
streams, foreign streams, dead letters, and what the users outside may do."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from jetmesh.cloudevents import STRUCTURED
from jetmesh.contracts import requests
from jetmesh.contracts.schema import Schema
from jetmesh.event import INTAKE, EventType, stream_of
from jetmesh.foreign import Listens
from jetmesh.jetstream.headers import CONTENT_TYPE, TRACEPARENT, TRACESTATE, CloudEvents, Jetmesh, Nats
from jetmesh.jetstream.limits import HEADER_BYTES_MAX, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, SUBJECT_BYTES_MAX
from jetmesh.jetstream.subject import subject_of
from jetmesh.reaction import Reaction
from jetmesh.service import Service
from jetmesh.topology.accounts import API_PREFIX
from jetmesh.topology.names import DEAD_LETTERS, dead_letter
from jetmesh.topology.outside import OutsideDurable, OutsideUser
from jetmesh.topology.streams import Consumer, topology

NKEY = "nkey"
DEAD = "dead_letters"
SECURITY = [{"$ref": f"#/components/securitySchemes/{NKEY}"}]

SERVERS: dict[str, Any] = {
    "local": {
        "host": "localhost:4222", "protocol": "nats", "description": "A mesh on one machine.", "security": SECURITY,
    },
    "mesh": {
        "host": "{host}:4222", "protocol": "nats", "security": SECURITY,
        "description": "The brokers of a mesh; with `tls://` where it has certificates. A user with an account of its "
        f"own finds the JetStream API under the prefix `{API_PREFIX}`, and gets answers on inboxes that begin with "
        "`_INBOX_<user>.`: tell the client both.",
        "variables": {"host": {"description": "One of its names; ask the operators."}},
    },
}  # fmt: skip
SECURITY_SCHEMES: dict[str, Any] = {
    NKEY: {
        "type": "asymmetricEncryption",
        "description": "An nkey (Ed25519): the client signs the server's nonce with the seed of its user, which the "
        "operators make (`keys/<user>.nk`). A user may do what is declared for it and nothing else; what it may not "
        "publish or hear is an error of the connection, `Permissions Violation`, and not of the call.",
    }
}
LIMITS: dict[str, int] = {
    "x-max-payload-bytes": PAYLOAD_BYTES_MAX,
    "x-event-bytes-max": MESSAGE_BYTES_MAX,
    "x-header-bytes-max": HEADER_BYTES_MAX,
    "x-subject-bytes-max": SUBJECT_BYTES_MAX,
}
"""What the brokers take: a message (`max_payload`, headers and body), an event or a message from outside (the same
without room for evidence), its headers, its subject. More is refused at once, or ends the connection."""

_TEXT: Schema = {"type": "string"}
OUTSIDE_HEADERS: Schema = {
    "type": "object",
    "description": "CloudEvents 1.0 in binary mode. All may be left out: what is missing is derived from the place of "
    f"the message. With `{CloudEvents.SPECVERSION}` those that CloudEvents requires must be there: `{CloudEvents.ID}`, "
    f"`{CloudEvents.SOURCE}`, `{CloudEvents.TYPE}`. Structured mode is taken too (`{CONTENT_TYPE}: {STRUCTURED}`). "
    f"Values outside printable ASCII are percent-encoded. `{Nats.MSG_ID}` is ignored: the key tells a second copy.",
    "properties": {
        CloudEvents.SPECVERSION: {"type": "string", "const": "1.0"},
        CloudEvents.ID: {**_TEXT, "description": f"Unique per source: `{CloudEvents.CAUSATION_ID}` of the result."},
        CloudEvents.TYPE: {**_TEXT, "description": "The type: the subject."},
        CloudEvents.SOURCE: {**_TEXT, "description": "Who published it."},
        CloudEvents.SUBJECT: {**_TEXT, "description": "The key: the same as in the body."},
        CloudEvents.TIME: {**_TEXT, "format": "date-time", "description": "When it was published."},
        CloudEvents.DATACONTENTTYPE: {"type": "string", "const": "application/json"},
        TRACEPARENT: {**_TEXT, "description": "The span that publishes it: linked to what the owner records."},
        TRACESTATE: {**_TEXT, "description": "What other tracing systems passed on."},
    },
}  # fmt: skip
DEAD_HEADERS: Schema = {
    "type": "object",
    "description": "The original headers, and the evidence.",
    "properties": {
        Jetmesh.SERVICE: {**_TEXT, "description": "The service that gave it up."},
        Jetmesh.REACTION: {**_TEXT, "description": "Its reaction."},
        Jetmesh.ERROR_TYPE: {**_TEXT, "description": "The kind of error."},
        Jetmesh.REASON: {**_TEXT, "description": "What is wrong: the field, never its value."},
        Jetmesh.TRACEBACK_DIGEST: {**_TEXT, "description": "The same for errors of the same kind at the same place."},
        Jetmesh.FRAME: {**_TEXT, "description": "Where in the service's own code it was raised."},
        Jetmesh.TRACEBACK: {**_TEXT, "description": "The end of the traceback, percent-encoded."},
        Jetmesh.TRACEPARENT: {**_TEXT, "description": "The span of the last attempt."},
        Jetmesh.OMITTED_BYTES: {**_TEXT, "description": "How much of a large message was left out."},
        Jetmesh.ATTEMPTS: {**_TEXT, "description": "How often it was delivered."},
        Jetmesh.SUBJECT: {**_TEXT, "description": "The subject of the original message."},
        Jetmesh.STREAM: {**_TEXT, "description": "Its stream."},
        Jetmesh.SEQUENCE: {**_TEXT, "description": "Its sequence there: that of the publisher's acknowledgement."},
        Jetmesh.FIRST_TIME: {**_TEXT, "description": "When it was stored, in seconds since 1970."},
        Jetmesh.LAST_TIME: {**_TEXT, "format": "date-time", "description": "When it was given up."},
    },
}
DEAD_CHANNEL: dict[str, Any] = {
    "address": dead_letter("{service}.{reaction}.{stream}.{sequence}.{stamp}"),
    "title": "dead letters",
    "description": "Deliveries that were given up: the original body, with the evidence in its headers. Operators "
    "read, replay and discard them.",
    "parameters": {
        "service": {"description": "The service that gave it up."},
        "reaction": {"description": "Its reaction."},
        "stream": {"description": "The stream of the original message."},
        "sequence": {"description": "Its sequence there."},
        "stamp": {"description": "When it was stored, in microseconds since 1970."},
    },
    "messages": {
        "dead_letter": {"title": "a dead letter", "headers": {"$ref": "#/components/schemas/dead_letter.headers"}}
    },
    "x-jetstream-stream": DEAD_LETTERS,
}
REFUSALS = (
    "The broker answers the publish of a message from outside once it has stored it (`stream`, `seq`). With no answer, "
    "or with `error`, it is not stored: publish it again. Stored is not yet recorded: the owner checks it. What breaks "
    "the contract, or contradicts what is recorded about its key, becomes a dead letter with the field and the reason, "
    "and is not tried again; the same message again is taken for the same. A publisher learns what became of it by "
    "asking for the newest event about its key (`follows` of its consumer file), or from the operators (`jetmesh dlq`)."
    " A larger message than the limits allow is refused at once, or ends the connection."
)
"""What becomes of a message from outside that is not taken."""


def channels(services: Sequence[Service]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The dead letters, and what the services listen to in streams of others."""
    if services:
        yield DEAD, DEAD_CHANNEL
    for reaction in _listening(services):
        assert reaction.listens
        yield _foreign(reaction), _foreign_channel(reaction, reaction.listens)


def operations(services: Sequence[Service], users: Sequence[OutsideUser]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The reactions that listen, and what the users outside may do."""
    for reaction in _listening(services):
        assert reaction.listens
        yield (
            f"{reaction.service}.{reaction.name}.{_foreign(reaction)}",
            {
                **_operation("receive", reaction.service, _foreign(reaction), "foreign", reaction.meaning),
                "x-jetstream-consumer": _consumer(reaction.listens.stream, reaction.durable),
                "x-jetmesh-may-record": [outcome.type for outcome in reaction.outcomes],
            },
        )
    for user in users:
        for durable in user.durables:
            for event in durable.events:
                yield (
                    f"{user.name}.{durable.name.removeprefix(f'{user.name}-')}.{event.type}",
                    _pull(user, durable, event),
                )
        for event in user.follows:
            yield f"{user.name}.follow.{event.type}", _follow(user, event)
        for event in user.publishes:
            channel = f"{event.type}.from_outside"
            yield f"{user.name}.publish.{event.type}", _operation("send", user.name, channel, channel, "From outside.")
        yield from requests.asked_by(user)


def schemas(services: Sequence[Service]) -> dict[str, Schema]:
    """The schemas of headers."""
    return {"headers.from_outside": OUTSIDE_HEADERS, **({"dead_letter.headers": DEAD_HEADERS} if services else {})}


def streams(services: Sequence[Service]) -> dict[str, Any]:
    """The streams of the services, with what a reader must know of each."""
    known = ("subjects", "retention", "storage", "discard", "max_msg_size", "max_bytes", "max_age", "allow_direct")
    found = {
        each.name: {name: each.config[name] for name in known if name in each.config}
        for each in topology(services).streams
        if each.name in (INTAKE, DEAD_LETTERS, *(service.stream for service in services))
    }
    return {"x-jetstream-streams": found} if services else {}


def parameter(name: str) -> str:
    """A name of a parameter in an address."""
    return f"{{{name}}}"


def _pull(user: OutsideUser, durable: OutsideDurable, event: EventType) -> dict[str, Any]:
    words = f"Pull {event.type} from the durable {durable.name}, and acknowledge each."
    stream = stream_of(event.owner)
    return {
        **_operation("receive", user.name, event.type, event.type, words),
        "x-jetstream-consumer": {
            **_consumer(stream, durable.name),
            "begins": str(durable.since),
            "pull": f"{API_PREFIX}.CONSUMER.MSG.NEXT.{stream}.{durable.name}",
        },
    }


def _follow(user: OutsideUser, event: EventType) -> dict[str, Any]:
    words = f"Ask for the newest {event.type} about a key."
    subject = subject_of(event, parameter(event.key_field))
    return {
        **_operation("receive", user.name, event.type, event.type, words),
        "x-jetstream-direct-get": f"{API_PREFIX}.DIRECT.GET.{stream_of(event.owner)}.{subject}",
    }


def _consumer(stream: str, durable: str) -> dict[str, Any]:
    config = Consumer(
        stream,
        durable,
        "",
        (),
    ).config
    return {
        "stream": stream,
        "durable_name": durable,
        "ack_policy": config["ack_policy"],
        "ack_wait_seconds": config["ack_wait"] / 1e9,
        "max_deliver": config["max_deliver"],
    }


def _operation(action: str, who: str, channel: str, message: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
        "summary": summary,
        "tags": [{"name": who}],
    }


def _listening(services: Sequence[Service]) -> list[Reaction]:
    return [reaction for service in services for reaction in service.reactions if reaction.listens]


def _foreign(reaction: Reaction) -> str:
    return f"{reaction.service}.{reaction.name}.foreign"


def _foreign_channel(reaction: Reaction, listens: Listens) -> dict[str, Any]:
    address, names = _address(listens.pattern)
    made = ", ".join(event.type for event in reaction.events)
    content = "application/octet-stream" if listens.decode else "application/json"
    found = {
        "address": address,
        "title": f"{listens.pattern} of others",
        "description": f"Messages that are no events of the mesh. {reaction.service} makes events of them: {made}.",
        "messages": {"foreign": {"title": "a message of others", "contentType": content}},
        "x-jetstream-stream": listens.stream,
    }
    parameters = {name: {"description": "A token of the subject."} for name in names}
    return {**found, "parameters": parameters} if parameters else found


def _address(pattern: str) -> tuple[str, list[str]]:
    """The subject as an address: each wildcard is a parameter."""
    tokens, names = pattern.split("."), []
    for place, token in enumerate(tokens):
        if token in ("*", ">"):
            tokens[place] = parameter("rest" if token == ">" else f"token_{place + 1}")
        if found := re.fullmatch(r"\{(\w+)\}", tokens[place]):
            names.append(found[1])
    return ".".join(tokens), names
