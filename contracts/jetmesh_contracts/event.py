"""What every event shares: its type, its owner, its key, and how strictly it is read and written."""

from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

Token = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[!-)+,\-0-=?-~]+$",
        description="One NATS subject token: 1 to 64 printable ASCII characters, no space, '.', '*', '>' or '/'.",
    ),
]


class Event(BaseModel):
    """A fact in the past tense, immutable, recorded by the one service that owns its type.

    Strict where it is written (unknown fields and coerced values are refused), tolerant of unknown fields where it is
    read (`read`), so that a producer may add a field before its consumers know it.

    Class attributes: `type`, the CloudEvents type and the first two tokens of the subject; `owner`, the service that
    records it; `key_field`, the field that names the entity; `from_outside`, whether anybody may publish it, without
    a key in the subject, for its owner to check and record; `state`, whether its newest message per key replaces the
    older ones (a level) instead of telling one thing that happened.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", revalidate_instances="never")

    type: ClassVar[str]
    owner: ClassVar[str]
    key_field: ClassVar[str]
    from_outside: ClassVar[bool] = False
    state: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, type: str = "", owner: str = "", key_field: str = "", from_outside: bool = False, state: bool = False
    ) -> None:
        super().__init_subclass__()
        if type:
            cls.type, cls.from_outside, cls.state = type, from_outside, state
        cls.owner = owner or getattr(cls, "owner", "")
        cls.key_field = key_field or getattr(cls, "key_field", "")

    @property
    def key(self) -> str:
        """The entity that the event is about: the last token of its subject."""
        key: str = getattr(self, self.key_field)
        return key

    @classmethod
    def read(cls, data: bytes | str) -> Self:
        """The event in `data`, a JSON object; unknown fields are left out.

        Raises:
            pydantic.ValidationError: naming each field that the contract does not allow.
        """
        return cls.model_validate_json(data, extra="ignore")
