"""What every request shares: its type, the type of its response, its key, and how strictly it is read and written."""

import builtins
from typing import ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict

Response = TypeVar("Response", bound=BaseModel)


class Request(BaseModel, Generic[Response]):
    """A question to one service, which answers it and records nothing: `class StockOf(Request[Stock], type=…)`.

    Class attributes: `type`, the service that answers and the name of its endpoint; `key_field`, the field that names
    the key whose story is read.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    type: ClassVar[str] = ""
    key_field: ClassVar[str] = ""

    def __init_subclass__(cls, *, type: str = "", key_field: str = "") -> None:
        super().__init_subclass__()
        cls.type, cls.key_field = type or cls.type, key_field or cls.key_field

    @property
    def key(self) -> str:
        """The key whose story is read."""
        key: str = getattr(self, self.key_field)
        return key

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The request in a JSON body; unknown fields are left out.

        Raises:
            pydantic.ValidationError: naming each field that is wrong.
        """
        return cls.model_validate_json(data, extra="ignore")

    @classmethod
    def response(cls) -> builtins.type[Response] | None:
        """The type of the response: that in the brackets."""
        for base in cls.__mro__:
            for found in getattr(base, "__pydantic_generic_metadata__", {}).get("args", ()):
                if isinstance(found, builtins.type):
                    return found
        return None
