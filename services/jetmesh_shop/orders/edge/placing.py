"""`POST /orders`: read the order exactly once, give it an id, have it stored, say what became of it."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote
from uuid import NAMESPACE_DNS, uuid4, uuid5

from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from jetmesh import MalformedJson, TooLarge, read_json
from jetmesh_contracts.orders import OrderPlaced
from jetmesh_shop.orders.edge.limits import Limits, Slots, answered_within, read_body
from jetmesh_shop.orders.edge.outside import name_order
from jetmesh_shop.orders.edge.port import AlreadyPlaced, Claim, Conflict, Orders, Placed, Placement, Refused
from jetmesh_shop.orders.edge.problems import (
    BAD_HEADER,
    INVALID_ORDER,
    KEY_REUSED,
    MALFORMED,
    ORDER_EXISTS,
    REFUSED,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
    field_errors,
)
from jetmesh_shop.orders.edge.tokens import Tokens

KEY_PATTERN = r'^("[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})$'
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="Makes a retry the same order (draft-ietf-httpapi-idempotency-key-header): 1 to 255 printable "
        "characters, best a UUID in quotes; remembered for 24 hours.",
        examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
    ),
]
_JSON = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
_ORDER_IDS = uuid5(NAMESPACE_DNS, "orders.jetmesh")


EXAMPLE_ORDER: dict[str, Any] = {
    "order_id": "o-1042",
    "customer": {"customer_id": "c-7", "email": "ada@example.com"},
    "lines": [{"sku": "pizza-margherita", "quantity": 2, "unit_price_minor": 1150}],
    "currency": "EUR",
    "payment_method": "pm_card_visa",
}
EXAMPLE_RECEIPT: dict[str, Any] = {
    "order_id": "o-1042",
    "status": "placed",
    "total_minor": 2300,
    "currency": "EUR",
    "token": "kWn4bY1v3m0c6T1uO8xN0c8ZQv7m1q0oZl0n2b8m7xE",
    "links": {"self": "/orders/o-1042", "events": "/orders/o-1042/events", "cancel": "/orders/o-1042"},
}


class Receipt(BaseModel):
    """What the customer gets for an order that is stored."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE_RECEIPT})

    order_id: str
    status: str = Field(default="placed", examples=["placed"])
    total_minor: int = Field(description="What the customer pays, in the currency's minor unit.")
    currency: str
    token: str = Field(description="Opens this order: keep it, it is what makes the order yours.")
    links: dict[str, str]


class Placing:
    """The route that places orders."""

    def __init__(self, orders: Orders, tokens: Tokens, limits: Limits) -> None:
        self._orders, self._tokens, self._limits = orders, tokens, limits
        self._slots = Slots(limits.placing_max)

    async def place(self, request: Request, response: Response, idempotency_key: IdempotencyKey = None) -> Receipt:
        """A customer clicked "Buy": store the order, once, however often it is sent."""
        require_one_key(request.headers)
        require_json(request.headers)
        key = idempotency_key and idempotency_key.strip('"')
        self._slots.require()
        with self._slots:
            order = read_order(await read_body(request, self._limits), order_id_for(key))
            name_order(order.order_id)
            async with answered_within(self._limits.answer_timeout_seconds):
                if key:
                    await self._claim(key, order)
                response.status_code = _status(order, await self._place(order))
        response.headers.update({"Location": path_of(order.order_id), "Cache-Control": "no-store"})
        return self._receipt(order)

    async def _place(self, order: OrderPlaced) -> Placement:
        try:
            return await self._orders.place(order)
        except TooLarge:
            raise Problem(
                TOO_LARGE, "Send fewer lines, or shorter ones: the record of the order is too large."
            ) from None

    async def _claim(self, key: str, order: OrderPlaced) -> None:
        claim = Claim(key, sha256(order.model_dump_json().encode()).hexdigest(), order.order_id)
        if await self._orders.claim(claim) != claim:
            raise Problem(KEY_REUSED, "Send another order under a new Idempotency-Key, and the same one unchanged.")

    def _receipt(self, order: OrderPlaced) -> Receipt:
        return Receipt(
            order_id=order.order_id,
            total_minor=order.total_minor,
            currency=order.currency,
            token=self._tokens.token(order.order_id),
            links=links_of(order.order_id),
        )


def path_of(order_id: str) -> str:
    """The path of the order."""
    return f"/orders/{quote(order_id, safe='')}"


def links_of(order_id: str) -> dict[str, str]:
    """The order, its live story, and (DELETE) its cancellation."""
    path = path_of(order_id)
    return {"self": path, "events": f"{path}/events", "cancel": path}


def _status(order: OrderPlaced, placement: Placement) -> int:
    match placement:
        case Placed():
            return 201
        case AlreadyPlaced():
            return 200
        case Conflict():
            raise Problem(ORDER_EXISTS, "Send this order under a new order_id, or the earlier one unchanged.")
        case Refused():
            raise refusal(order, placement)


def require_one_key(headers: Headers) -> None:
    """Raise a `Problem` (400) where the Idempotency-Key is repeated."""
    if len(headers.getlist("idempotency-key")) > 1:
        raise Problem(BAD_HEADER, "Send one Idempotency-Key.")


def require_json(headers: Headers) -> None:
    """Raise a `Problem` (415) unless the body is said to be plain JSON."""
    if not _JSON.fullmatch(", ".join(headers.getlist("content-type"))):
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send the order as Content-Type: application/json, in UTF-8.")
    if headers.get("content-encoding", "identity") != "identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "Send the order without Content-Encoding.")


def order_id_for(key: str | None) -> str:
    """The id of an order that brings none: the same for the same Idempotency-Key, so that a retry is the same order."""
    return f"o-{uuid5(_ORDER_IDS, key) if key else uuid4()}"


def read_order(data: bytes, order_id: str) -> OrderPlaced:
    """The order in the body, under `order_id` where it brings no id of its own.

    Raises:
        Problem: 400 where the body is no JSON, 422 naming each field that the contract does not allow.
    """
    try:
        document = read_json(data)
    except MalformedJson as error:
        raise Problem(MALFORMED, f"Send one JSON object in UTF-8: {error}.") from None
    if isinstance(document, dict):
        document = {"order_id": order_id, **document}
    try:
        return _addressable(OrderPlaced.model_validate_json(to_json(document)))
    except ValidationError as error:
        raise _invalid(field_errors(error.errors(include_url=False, include_input=False))) from None


def _invalid(errors: Sequence[FieldError]) -> Problem:
    return Problem(INVALID_ORDER, "Mend the fields in errors and send the order again.", errors=errors)


_SLASH = FieldError(
    pointer="#/order_id", message="The id has a slash.", fix="Send an id that is one segment of a path."
)


def _addressable(order: OrderPlaced) -> OrderPlaced:
    """Refuse an id with a slash: it is a subject token, but no segment of a path."""
    if "/" in order.order_id:
        raise _invalid([_SLASH])
    return order


_REFUSED_FIELDS = {
    "unknown_article": ("#/lines", "Order articles of the catalogue."),
    "price_changed": ("#/lines", "Send the catalogue's price."),
    "currency_not_sold": ("#/currency", "Send a currency that is sold."),
    "email_unusable": ("#/customer/email", "Send an address that a mail can reach, such as ada@example.com."),
}


def refusal(order: OrderPlaced, refused: Refused) -> Problem:
    """What can't be taken, at the field in question. The refusal is recorded: it stays under this id."""
    pointer, fix = _REFUSED_FIELDS.get(refused.reason, ("#", "Send another order."))
    return Problem(
        REFUSED,
        f"{refused.detail.rstrip('.')}. Send the corrected order under a new order_id and Idempotency-Key.",
        errors=[FieldError(pointer=pointer, message=refused.detail, fix=fix)],
        reason=refused.reason,
        order_id=order.order_id,
    )
