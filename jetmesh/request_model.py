"""What the runtime needs of a request, and a base class: a pydantic model that names the endpoint which answers it, and
the type of the answer."""

import builtins
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel

from jetmesh.keyed_model import KeyedModel

Response = TypeVar("Response", bound=BaseModel)
Answer = TypeVar("Answer", bound=BaseModel, covariant=True)


class AnyRequest(Protocol[Answer]):
    """A question to one service. Any pydantic class with these members is one, such as `Request`: a package of
    contracts needs no runtime."""

    type: ClassVar[str]
    key_field: ClassVar[str]

    @classmethod
    def response(cls) -> builtins.type[Answer] | None:
        """The type of the answer; None if the class names none."""

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The request in a JSON body; raises a ValidationError that names each wrong field."""

    @property
    def key(self) -> str:
        """The key whose story is read."""

    def model_dump_json(self) -> str:
        """The JSON body."""

    @classmethod
    def model_json_schema(cls, *, mode: Literal["validation", "serialization"] = "validation") -> dict[str, Any]:
        """The JSON Schema of the body."""


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

    @classmethod
    def response(cls) -> builtins.type[Response] | None:
        """The type of the answer: that in the brackets of `Request[…]`; None if there is none."""
        for base in cls.__mro__:
            arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args", ())
            if arguments and isinstance(arguments[0], builtins.type):
                found: builtins.type[Response] = arguments[0]
                return found
        return None


RequestType = type[AnyRequest[Any]]


def owner_of(request_type: RequestType) -> str:
    """The service that answers."""
    return request_type.type.partition(".")[0]


def endpoint_of(request_type: RequestType) -> str:
    """The name of its endpoint."""
    return request_type.type.partition(".")[2]


def is_request(declared: Any) -> bool:
    """Whether something is the class of a request."""
    members = ("type", "key_field", "response", "read")
    return isinstance(declared, type) and issubclass(declared, BaseModel) and all(hasattr(declared, m) for m in members)
