"""`POST /orders`: read the order exactly once, give it an id, have it stored, say what became of it."""

import json
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote
from uuid import NAMESPACE_DNS, uuid4, uuid5

from pydantic import BaseModel, ConfigDict, Field, WrapValidator
from pydantic_core import to_json
from starlette.responses import Response

from jetmesh import Problem, TooLarge
from jetmesh.http import BAD_HEADER, OF_A_BODY, TOO_LARGE, IdempotencyKey, Router, name_key, problem_responses
from jetmesh_contracts import OrderPlaced, OrderRefused
from jetmesh_contracts.event import Token
from jetmesh_shop.orders.edge.port import Placement
from jetmesh_shop.orders.edge.problems import INVALID_ORDER, KEY_REUSED, ORDER_EXISTS, REFUSED
from jetmesh_shop.orders.edge.state import Edge, TheEdge

LOCATION: dict[str, Any] = {
    "headers": {"Location": {"description": "The order.", "schema": {"type": "string", "format": "uri-reference"}}}
}
_ORDER_IDS = uuid5(NAMESPACE_DNS, "orders.jetmesh")

EXAMPLE_ORDER: dict[str, Any] = {
    "order_id": "o-1042",
    "customer": {"customer_id": "c-7", "email": "ada@example.com"},
    "lines": [{"sku": "pizza-margherita", "quantity": 2, "unit_price_minor": 1150}],
    "currency": "EUR",
    "payment_method": "pm_card_visa",
}


class Order(OrderPlaced):
    """An order; without order_id it gets one, from the Idempotency-Key where there is one."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE_ORDER})

    order_id: Token = ""

    def placed(self, idempotency_key: str | None) -> OrderPlaced:
        """The event. The same Idempotency-Key gives the same id, so that a retry is the same order."""
        own = self.order_id or f"o-{uuid5(_ORDER_IDS, idempotency_key) if idempotency_key else uuid4()}"
        return OrderPlaced(**{**dict(self), "order_id": own})


# Contracts are strict about types as JSON has them: an array is no tuple in Python.
OrderAsSent = Annotated[Order, WrapValidator(lambda sent, _: Order.model_validate_json(to_json(sent)))]


class Receipt(BaseModel):
    """What the customer gets for an order that is stored."""

    order_id: str
    status: str = Field(default="placed", examples=["placed"])
    total_minor: int = Field(description="What the customer pays, in the currency's minor unit.")
    currency: str
    token: str = Field(description="Opens this order: keep it, it is what makes the order yours.")
    links: dict[str, str]


router = Router(tags=["orders"])


@router.post(
    "/orders", operation_id="placeOrder", summary="Place an order", status_code=201,
    response_description="The order is stored.",
    responses={
        201: LOCATION,
        200: {"model": Receipt, "description": "The same order was stored before.", **LOCATION},
        **problem_responses(*OF_A_BODY, BAD_HEADER, ORDER_EXISTS, INVALID_ORDER, KEY_REUSED, REFUSED),
    },
)  # fmt: skip
async def place(response: Response, order: OrderAsSent, edge: TheEdge, key: IdempotencyKey) -> Receipt:
    """A customer clicked "Buy": store the order, once, however often it is sent. Its Idempotency-Key is remembered for
    24 hours."""
    placed = order.placed(key)
    name_key(placed.order_id)
    if key:
        await _claim(edge, key, placed)
    response.status_code = _status(placed, await _record(edge, placed))
    response.headers["Location"] = path_of(placed.order_id)
    return Receipt(
        order_id=placed.order_id,
        total_minor=placed.total_minor,
        currency=placed.currency,
        token=edge.tokens.token(placed.order_id),
        links=links_of(placed.order_id),
    )


async def _claim(edge: Edge, key: str, order: OrderPlaced) -> None:
    claimed = json.dumps([sha256(order.model_dump_json().encode()).hexdigest(), order.order_id])
    if await edge.orders.claim(key, claimed) != claimed:
        raise KEY_REUSED.problem("Send another order under a new Idempotency-Key, and the same one unchanged.")


async def _record(edge: Edge, order: OrderPlaced) -> Placement:
    try:
        return await edge.orders.place(order)
    except TooLarge:
        detail = "Send fewer lines, or shorter ones: the record of the order is too large."
        raise TOO_LARGE.problem(detail) from None


def _status(order: OrderPlaced, placement: Placement) -> int:
    if isinstance(placement.recorded, OrderRefused):
        raise refusal(placement.recorded)
    if placement.recorded != order:
        raise ORDER_EXISTS.problem("Send this order under a new order_id, or the earlier one unchanged.")
    return 201 if placement.is_new else 200


def path_of(order_id: str) -> str:
    """The path of the order."""
    return f"/orders/{quote(order_id, safe='')}"


def links_of(order_id: str) -> dict[str, str]:
    """The order, its live story, and (DELETE) its cancellation."""
    path = path_of(order_id)
    return {"self": path, "events": f"{path}/events", "cancel": path}


_REFUSED_FIELDS = {
    "unknown_article": ("#/lines", "Order articles of the catalogue."),
    "price_changed": ("#/lines", "Send the catalogue's price."),
    "currency_not_sold": ("#/currency", "Send a currency that is sold."),
    "email_unusable": ("#/customer/email", "Send an address that a mail can reach, such as ada@example.com."),
}


def refusal(refused: OrderRefused) -> Problem:
    """What can't be taken, at the field in question. The refusal is recorded: it stays under this id."""
    pointer, fix = _REFUSED_FIELDS.get(refused.reason, ("#", "Send another order."))
    return REFUSED.problem(
        f"{refused.detail.rstrip('.')}. Send the corrected order under a new order_id and Idempotency-Key.",
        errors=[{"pointer": pointer, "message": refused.detail, "fix": fix}],
        reason=refused.reason,
        order_id=refused.order_id,
    )
