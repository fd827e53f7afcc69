"""A base class for requests: a pydantic model that names the endpoint which answers it, and the type of the answer."""

from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from jetmesh.keyed_model import KeyedModel

Response = TypeVar("Response", bound=BaseModel)


class Request(KeyedModel, Generic[Response]):
    """A question to one service: `class StockOf(Request[Stock], type="inventory.stock_of", key_field="sku")`.

    `type` is the service that answers and the name of its endpoint; `key_field` names the field with the key whose
    story the endpoint reads, if it reads one. Written strictly, read tolerantly, as an event is.
    """

    type: ClassVar[str] = ""
    key_field: ClassVar[str] = ""

    def __init_subclass__(cls, *, type: str = "", key_field: str = "") -> None:
        super().__init_subclass__()
        cls.type = type or getattr(cls, "type", "")
        cls.key_field = key_field or getattr(cls, "key_field", "")


RequestType = type[Request[Any]]


def owner_of(request_type: RequestType) -> str:
    """The service that answers."""
    return request_type.type.partition(".")[0]


def endpoint_of(request_type: RequestType) -> str:
    """The name of its endpoint."""
    return request_type.type.partition(".")[2]


def response_of(request_type: RequestType) -> type[BaseModel] | None:
    """The type of the answer: that in the brackets of `Request[…]`; None if there is none."""
    for base in request_type.__mro__:
        arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args", ())
        if arguments and isinstance(arguments[0], type):
            found: type[BaseModel] = arguments[0]
            return found
    return None
