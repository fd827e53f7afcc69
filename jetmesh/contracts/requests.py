"""The endpoints of services in the AsyncAPI document: a channel with the request, and a reply without an address of its
own, which holds the response or a problem document."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from jetmesh.contracts.schema import Schema, mapped
from jetmesh.jetstream.headers import CONTENT_TYPE, Nats
from jetmesh.problem import MEDIA_TYPE
from jetmesh.reaction import EndpointDeclaration
from jetmesh.request_model import RequestType
from jetmesh.service import Service
from jetmesh.topology.names import endpoint_subject
from jetmesh.topology.outside import OutsideUser

PROBLEM = "problem"
PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "title": PROBLEM,
    "description": "Why there is no response (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Identifies the kind of problem."},
        "title": {"type": "string", "description": "The kind of problem, in words."},
        "status": {"type": "integer", "description": "An HTTP status code."},
        "detail": {"type": "string", "description": "What is wrong this time, and what to do."},
    },
}
PROBLEM_HEADERS: Schema = {
    "type": "object",
    "description": "The headers of ADR-32 that say that there is no response.",
    "properties": {
        Nats.SERVICE_ERROR: {"type": "string", "description": "The kind of problem, in words."},
        Nats.SERVICE_ERROR_CODE: {"type": "string", "description": "The status, as text."},
        CONTENT_TYPE: {"type": "string", "const": MEDIA_TYPE},
    },
}


def channels(service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each endpoint the subject that it listens on, and where its answer arrives."""
    for endpoint in service.endpoints:
        asked, answered = endpoint.request, endpoint.response
        messages = {"request": _message(asked.__name__, asked)}
        yield (
            _name(endpoint),
            {
                "address": endpoint_subject(service.name, endpoint.name),
                "title": asked.type,
                "description": endpoint.meaning,
                "messages": messages,
            },
        )
        problem = {"contentType": MEDIA_TYPE, "headers": PROBLEM_HEADERS, "payload": _reference(PROBLEM)}
        yield (
            _reply(endpoint),
            {
                "address": None,
                "title": f"the answer to {asked.type}",
                "messages": {"response": _message(answered.__name__, answered), PROBLEM: problem},
            },
        )


def operations(service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    """Receive the request, and answer on its reply subject."""
    for endpoint in service.endpoints:
        yield (
            f"{service.name}.{endpoint.name}",
            _operation("receive", service.name, endpoint.request.type, endpoint.meaning),
        )


def asked_by(user: OutsideUser) -> Iterator[tuple[str, dict[str, Any]]]:
    """A user outside sends a request, and reads the answer on a subject of its own inboxes."""
    for subject in user.asks:
        name = subject.partition(".")[2]
        yield f"{user.name}.ask.{name}", _operation("send", user.name, name, f"Ask {name}.")


def schemas(services: Sequence[Service]) -> dict[str, Any]:
    """The schemas of all requests and responses, by the names of their classes."""
    endpoints = [endpoint for service in services for endpoint in service.endpoints]
    found: dict[str, Any] = {PROBLEM: PROBLEM_SCHEMA} if endpoints else {}
    for endpoint in endpoints:
        found |= _lifted(endpoint.request, "validation")
        found |= _lifted(endpoint.response, "serialization")
    return found


def _lifted(model: type[BaseModel] | RequestType, mode: Any) -> dict[str, Any]:
    """The schema of a class and those of the classes in it, each under its own name."""

    def lift(node: dict[str, Any]) -> dict[str, Any]:
        if isinstance(reference := node.get("$ref"), str):
            node["$ref"] = f"#/components/schemas/{reference.rpartition('/')[2]}"
        return node

    whole = mapped(model.model_json_schema(mode=mode), lift)
    return {model.__name__: whole, **whole.pop("$defs", {})}


def _message(title: str, model: type[BaseModel] | RequestType) -> dict[str, Any]:
    return {"title": title, "contentType": "application/json", "payload": _reference(model.__name__)}


def _operation(action: str, who: str, name: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}.request"},
        "messages": [{"$ref": f"#/channels/{name}.request/messages/request"}],
        "summary": summary,
        "tags": [{"name": who}],
        "reply": {
            "address": {"location": "$message.header#/reply", "description": "The reply subject of the request."},
            "channel": {"$ref": f"#/channels/{name}.reply"},
        },
    }


def _reference(schema: str) -> Mapping[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _name(endpoint: EndpointDeclaration) -> str:
    return f"{endpoint.request.type}.request"


def _reply(endpoint: EndpointDeclaration) -> str:
    return f"{endpoint.request.type}.reply"
