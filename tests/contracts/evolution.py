"""An evolution of orders.placed: the second version says in which language the customer is written to, and how."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from jetmesh_contracts import Event, OrderPlaced
from jetmesh_contracts.event import Token
from jetmesh_contracts.money import Currency
from jetmesh_contracts.orders import Email, Lines, Part

Language = Annotated[Literal["en", "de", "fr"], Field(description="ISO 639-1 code.")]


class Contact(Part):
    """How the customer is written to."""

    email: Email
    language: Language


class Buyer(Part):
    """Who ordered."""

    customer_id: Token
    contact: Contact


class OrderPlacedV2(
    Event, type="orders.placed_v2", owner="orders", key_field="order_id", from_outside=True, previous=OrderPlaced
):
    """A customer clicked "Buy", in a language."""

    order_id: Token
    buyer: Buyer
    lines: Lines
    currency: Currency
    payment_method: Token

    @staticmethod
    def upcast(body: dict[str, Any]) -> dict[str, Any]:
        """Version 1 knew no language: everybody was written to in English."""
        customer = body.pop("customer")
        contact = {"email": customer["email"], "language": "en"}
        return {**body, "buyer": {"customer_id": customer["customer_id"], "contact": contact}}

    def as_v1(self) -> OrderPlaced:
        """What those who know version 1 alone are told, for as long as there are any."""
        body = self.model_dump(mode="json", exclude={"buyer"})
        customer = {"customer_id": self.buyer.customer_id, "email": self.buyer.contact.email}
        return OrderPlaced.model_validate_json(json.dumps({**body, "customer": customer}))
