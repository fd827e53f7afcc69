"""Lists of values that may grow without a new version: a reader that does not know a value reads the catch-all."""

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

READING = {"reading": True}
"""The validation context of `Event.read`."""


@dataclass(frozen=True, slots=True)
class Grows:
    """Annotates a Literal of texts: `Annotated[Literal["lost", "other"], Grows("other")]`.

    A producer may write only values of the list. A reader reads any other value as `unknown`, which is in the list; in
    the schema of consumers the list is `x-values`, and any text is allowed.
    """

    unknown: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        listed = handler(schema)
        if handler.mode == "serialization":
            return listed
        return {"type": "string", "x-values": listed["enum"], "x-unknown": self.unknown}

    def _validate(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValidationError:
            if info.context is READING and isinstance(value, str):
                return self.unknown
            raise
