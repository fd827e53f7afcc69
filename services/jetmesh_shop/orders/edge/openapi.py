"""What `/openapi.json` says about each route: written by hand, since the routes read their bodies themselves."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from jetmesh_contracts.orders import OrderPlaced
from jetmesh_shop.orders.edge import problems
from jetmesh_shop.orders.edge.following import CancellationAccepted
from jetmesh_shop.orders.edge.placing import KEY_PATTERN, Receipt
from jetmesh_shop.orders.edge.problems import MEDIA_TYPE, Kind
from jetmesh_shop.orders.edge.stories import CURSOR_PATTERN, Happened, OrderStory

Json = dict[str, Any]

TAGS: list[Json] = [{"name": "orders", "description": "An order belongs to whoever holds the token of its creation."}]

EXAMPLE_ORDER: Json = {
    "order_id": "o-1042",
    "customer": {"customer_id": "c-7", "email": "ada@example.com"},
    "lines": [{"sku": "pizza-margherita", "quantity": 2, "unit_price_minor": 1150}],
    "currency": "EUR",
    "payment_method": "pm_card_visa",
}
_EXAMPLE_RECEIPT: Json = {
    "order_id": "o-1042",
    "status": "placed",
    "total_minor": 2300,
    "currency": "EUR",
    "token": "kWn4bY1v3m0c6T1uO8xN0c8ZQv7m1q0oZl0n2b8m7xE",
    "links": {"self": "/orders/o-1042", "events": "/orders/o-1042/events", "cancel": "/orders/o-1042"},
}
_EXAMPLE_STREAM = (
    'data: {"type":"orders.placed","time":"2026-03-01T12:00:00Z","data":{"currency":"EUR"}}\nid: ORDERS:12\n\n'
    'event: end\ndata: {"status":"confirmed"}\nid: ORDERS:14\n\n'
)

_PROBLEM_SCHEMA: Json = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What to do about it."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
        "reason": {"type": "string", "description": "Why the catalogue refused the order."},
        "order_id": {"type": "string", "description": "The id under which the refusal is recorded."},
    },
}
_FIELD_ERROR_SCHEMA: Json = {
    "type": "object",
    "description": "One wrong field.",
    "required": ["pointer", "message", "fix"],
    "properties": {
        "pointer": {"type": "string", "examples": ["#/lines/0/quantity"]},
        "message": {"type": "string", "examples": ["Input should be greater than or equal to 1"]},
        "fix": {"type": "string", "examples": ["Send 1 or more."]},
    },
}
_SERVER_SENT_EVENT_SCHEMA: Json = {
    "type": "object",
    "description": "One server-sent event of the stream.",
    "required": ["data", "id"],
    "properties": {
        "event": {"type": "string", "enum": ["message", "end"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "JSON: a Happened for a message, the status of the order for the end.",
        },
        "id": {"type": "string", "pattern": CURSOR_PATTERN, "description": "For Last-Event-ID."},
    },
}

_ORDER_ID: Json = {
    "name": "order_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    "example": "o-1042",
}
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes a retry the same order (draft-ietf-httpapi-idempotency-key-header); remembered for 24 hours.",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}
_LAST_EVENT_ID: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Where to go on: the id of the last event received.",
    "schema": {"type": "string", "pattern": CURSOR_PATTERN},
}
_RETRY_AFTER: Json = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def _problems(*kinds: Kind) -> Json:
    """The responses of these kinds, by status."""
    always = (problems.TOO_MANY_REQUESTS, problems.INTERNAL, problems.UNAVAILABLE)
    by_status: dict[int, list[Kind]] = {}
    for kind in (*kinds, *always):
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem_response(same) for status, same in sorted(by_status.items())}


def _problem_response(kinds: list[Kind]) -> Json:
    examples = {kind.slug: {"value": {"type": kind.type, "title": kind.title, "status": kind.status}} for kind in kinds}
    for example in examples.values():
        example["value"]["detail"] = "What to do about it."
    response: Json = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }
    return {**response, "headers": _RETRY_AFTER} if kinds[0].status in (429, 503) else response


def _json(description: str, model: str, example: Json | None = None, headers: Json | None = None) -> Json:
    content: Json = {"schema": {"$ref": f"#/components/schemas/{model}"}}
    if example:
        content["example"] = example
    response: Json = {"description": description, "content": {"application/json": content}}
    return {**response, "headers": headers} if headers else response


def _operation(summary: str, responses: Json, **described: Any) -> Json:
    """The arguments of a route whose operation is described here alone, its usual response first."""
    return {
        "summary": summary,
        "tags": ["orders"],
        "status_code": int(next(iter(responses))),
        "response_class": Response,
        "response_model": None,
        "openapi_extra": {"responses": responses, **described},
    }


_LOCATION: Json = {"Location": {"description": "The order.", "schema": {"type": "string", "format": "uri-reference"}}}

PLACE = _operation(
    "Place an order",
    {
        "201": _json("The order is stored.", "Receipt", _EXAMPLE_RECEIPT, _LOCATION),
        "200": _json("The same order was stored before.", "Receipt", _EXAMPLE_RECEIPT, _LOCATION),
        **_problems(
            problems.MALFORMED,
            problems.BAD_HEADER,
            problems.BODY_TIMEOUT,
            problems.ORDER_EXISTS,
            problems.TOO_LARGE,
            problems.UNSUPPORTED_MEDIA_TYPE,
            problems.INVALID_ORDER,
            problems.KEY_REUSED,
            problems.REFUSED,
        ),
    },
    operationId="placeOrder",
    parameters=[_IDEMPOTENCY_KEY],
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}, "example": EXAMPLE_ORDER}},
    },
)
_OF_ONE_ORDER = (problems.UNAUTHORIZED, problems.FORBIDDEN, problems.NOT_FOUND)

SHOW = _operation(
    "Show an order and its story",
    {"200": _json("The order as it stands.", "OrderStory"), **_problems(*_OF_ONE_ORDER)},
    operationId="showOrder",
    parameters=[_ORDER_ID],
    security=[{"bearer": []}],
)
FOLLOW = _operation(
    "Follow an order as it happens",
    {
        "200": {
            "description": "Server-sent events: the story so far, then live, until the event `end`.",
            "content": {
                "text/event-stream": {
                    "schema": {"$ref": "#/components/schemas/ServerSentEvent"},
                    "example": _EXAMPLE_STREAM,
                }
            },
        },
        "204": {"description": "The reader has seen the end."},
        **_problems(problems.BAD_HEADER, *_OF_ONE_ORDER),
    },
    operationId="followOrder",
    parameters=[_ORDER_ID, _LAST_EVENT_ID],
    security=[{"bearer": []}, {"accessToken": []}],
)
CANCEL = _operation(
    "Ask to cancel an order",
    {"202": _json("The wish is recorded.", "CancellationAccepted"), **_problems(problems.TOO_LATE, *_OF_ONE_ORDER)},
    operationId="cancelOrder",
    parameters=[_ORDER_ID],
    security=[{"bearer": []}],
)

_SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The token of the order's creation."},
    "accessToken": {"type": "apiKey", "in": "query", "name": "access_token", "description": "For EventSource."},
}


def describe(app: FastAPI) -> None:
    """Have the app's document carry the schemas that the operations name."""
    generated: Callable[[], Json] = app.openapi

    def openapi() -> Json:
        document = generated()
        document["components"] = {"schemas": _schemas(), "securitySchemes": _SECURITY_SCHEMES}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _schemas() -> Json:
    models: list[type[BaseModel]] = [OrderPlaced, Receipt, OrderStory, Happened, CancellationAccepted]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: Json = definitions["$defs"]
    schemas["Order"] = _order_schema(schemas.pop("OrderPlaced"))
    return {
        **schemas,
        "ServerSentEvent": _SERVER_SENT_EVENT_SCHEMA,
        "Problem": _PROBLEM_SCHEMA,
        "FieldError": _FIELD_ERROR_SCHEMA,
    }


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
