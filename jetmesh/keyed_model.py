"""What events and requests have in common: a pydantic model about a key, strict where it is written, tolerant where it
is read."""

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict


class KeyedModel(BaseModel):
    """A body about a key: `key_field` names its field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    key_field: ClassVar[str]

    @property
    def key(self) -> str:
        """The entity that it is about: a part of the subject."""
        key: str = getattr(self, self.key_field)
        return key

    @classmethod
    def read(cls, data: bytes) -> Self:
        """What a JSON body says.

        Raises:
            pydantic.ValidationError: naming each field that is wrong.
        """
        return cls.model_validate_json(data, extra="ignore")
