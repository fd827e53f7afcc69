"""What `/openapi.json` says beyond what FastAPI reads from the routes: problems, the order's body, the live story."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from jetmesh_contracts.orders import OrderPlaced
from jetmesh_shop.orders.edge import problems
from jetmesh_shop.orders.edge.placing import EXAMPLE_ORDER
from jetmesh_shop.orders.edge.problems import MEDIA_TYPE, Kind, ProblemDocument
from jetmesh_shop.orders.edge.stories import Happened, ServerSentEvent

Json = dict[str, Any]
Responses = dict[int | str, Json]

_ALWAYS = (problems.TOO_MANY_REQUESTS, problems.INTERNAL, problems.UNAVAILABLE)
_RETRY_AFTER: Json = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_STREAM_EXAMPLE = (
    'data: {"type":"orders.placed","time":"2026-03-01T12:00:00Z","data":{"currency":"EUR"}}\nid: ORDERS:12\n\n'
    'event: end\ndata: {"status":"confirmed"}\nid: ORDERS:14\n\n'
)
ORDER_BODY: Json = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}, "example": EXAMPLE_ORDER}},
    }
}
LOCATION: Json = {
    "headers": {"Location": {"description": "The order.", "schema": {"type": "string", "format": "uri-reference"}}}
}
LIVE: Responses = {
    200: {
        "description": "Server-sent events: the story so far, then live, until the event `end`.",
        "content": {
            "text/event-stream": {
                "schema": {"$ref": "#/components/schemas/ServerSentEvent"},
                "example": _STREAM_EXAMPLE,
            }
        },
    },
    204: {"description": "The reader has seen the end."},
}


def problem_responses(*kinds: Kind) -> Responses:
    """The responses of these kinds and of those that any request may get, by status."""
    by_status: dict[int, list[Kind]] = {}
    for kind in (*kinds, *_ALWAYS):
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _response(same) for status, same in sorted(by_status.items())}


def _response(kinds: list[Kind]) -> Json:
    examples = {
        kind.slug: {"value": {"type": kind.type, "title": kind.title, "status": kind.status, "detail": "What to do."}}
        for kind in kinds
    }
    response: Json = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}, "examples": examples}},
    }
    return {**response, "headers": _RETRY_AFTER} if kinds[0].status in (429, 503) else response


def describe(app: FastAPI) -> None:
    """Have the app's document carry the schemas that no route declares."""
    generated: Callable[[], Json] = app.openapi

    def openapi() -> Json:
        document = generated()
        schemas: Json = document["components"]["schemas"]
        schemas.update(_schemas())
        # A header that has not its form is a problem (400): FastAPI's own answer (422) does not occur.
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _schemas() -> Json:
    models = [(model, "validation") for model in (OrderPlaced, ProblemDocument, ServerSentEvent, Happened)]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: Json = definitions["$defs"]
    return {**schemas, "Order": _order_schema(schemas.pop("OrderPlaced"))}


def _order_schema(placed: Json) -> Json:
    """The order as it may be sent: its id is optional, and a segment of a path."""
    order_id = {**placed["properties"]["order_id"], "not": {"pattern": "/"}}
    return {
        **placed,
        "title": "Order",
        "description": "An order; without order_id it gets one, from the Idempotency-Key where there is one.",
        "required": [name for name in placed["required"] if name != "order_id"],
        "properties": {**placed["properties"], "order_id": order_id},
    }
