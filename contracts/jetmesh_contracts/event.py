"""What every event shares: its type, its owner, its key, and how strictly it is read and written."""

import builtins
import json
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from jetmesh_contracts.growing import READING

Token = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[!-)+,\-0-=?-~]+$",
        description="One NATS subject token.",
        json_schema_extra={"x-allowed": "1 to 64 printable ASCII characters, no space, '.', '*', '>' or '/'"},
    ),
]


NO_TOKENS = ("", "a.b", "a b", "*", ">")


class UnknownVersion(ValueError):
    """A body of a type that this version of the contracts does not read: a newer one, or another event."""


class Event(BaseModel):
    """A fact in the past tense, immutable, recorded by the one service that owns its type.

    Strict where it is written (unknown fields and coerced values are refused), tolerant of unknown fields where it is
    read (`read`), so that a producer may add a field before its consumers know it.

    Class attributes: `type`, the CloudEvents type and the first two tokens of the subject; `owner`, the service that
    records it; `key_field`, the field that names the entity; `from_outside`, whether it may be published without a key
    in the subject, for its owner to check and record; `publisher`, the kind of the broker's users who may do that
    (`client` are customers; `supplier`, `support` or `courier` have keys of their own); `state`, whether its newest
    message per key replaces the older ones (a level) instead of recording one fact; `ending`, whether it ends its
    owner's part of the key's story; `id_field`, the field that tells one event of this type about a key from another,
    which makes it an occurrence; `occurrence`, the same where only its cause tells them apart; `previous`, the version
    before this one (`orders.placed` of `orders.placed_v2`), whose bodies are read through `upcast`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", revalidate_instances="never")

    type: ClassVar[str]
    owner: ClassVar[str]
    key_field: ClassVar[str]
    from_outside: ClassVar[bool] = False
    publisher: ClassVar[str] = "client"
    state: ClassVar[bool] = False
    ending: ClassVar[bool] = False
    occurrence: ClassVar[bool] = False
    id_field: ClassVar[str] = ""
    previous: ClassVar["builtins.type[Event] | None"] = None

    def __init_subclass__(  # noqa: PLR0913  # the facts of a class, each by its name
        cls,
        *,
        type: str = "",
        owner: str = "",
        key_field: str = "",
        from_outside: bool = False,
        state: bool = False,
        ending: bool = False,
        occurrence: bool = False,
        id_field: str = "",
        previous: "builtins.type[Event] | None" = None,
    ) -> None:
        super().__init_subclass__()
        if type:
            cls.type, cls.from_outside, cls.state, cls.ending = type, from_outside, state, ending
            cls.occurrence, cls.id_field, cls.previous = occurrence or bool(id_field), id_field, previous
        cls.owner = owner or getattr(cls, "owner", "")
        cls.key_field = key_field or getattr(cls, "key_field", "")

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if cls.occurrence and (cls.state or cls.ending):
            other = "state" if cls.state else "ending"
            raise TypeError(f"{cls.__name__}: it is an occurrence and {other}=True; it can be one of them")
        if cls.id_field and not _is_token(cls, cls.id_field):
            raise TypeError(
                f"{cls.__name__}: id_field={cls.id_field!r} must name a field that is a Token: a part of a subject"
            )

    @property
    def key(self) -> str:
        """The entity that the event is about: the third token of its subject."""
        key: str = getattr(self, self.key_field)
        return key

    @classmethod
    def read(cls, data: bytes | str, recorded_as: str = "") -> Self:
        """The event in `data`, a JSON object; unknown fields are left out.

        `recorded_as` is the type it was recorded as: the body of an older version is lifted version by version.

        Raises:
            pydantic.ValidationError: naming each field that the contract of that version does not allow.
            UnknownVersion: this class reads no such type.
        """
        if recorded_as and recorded_as != cls.type:
            data = json.dumps(cls.upcast(cls._older(recorded_as).read(data, recorded_as).model_dump(mode="json")))
        return cls.model_validate_json(data, extra="ignore", context=READING)

    @classmethod
    def reads(cls) -> tuple[str, ...]:
        """The types whose bodies `read` takes: its own, then the older ones."""
        return (cls.type, *(cls.previous.reads() if cls.previous else ()))

    @staticmethod
    def upcast(body: dict[str, Any]) -> dict[str, Any]:
        """The body of the previous version as one of this version: a pure function, overridden by each new version."""
        return body

    @classmethod
    def _older(cls, recorded_as: str) -> "builtins.type[Event]":
        if cls.previous is None or recorded_as not in cls.reads():
            raise UnknownVersion(f"{recorded_as} is not known; {' and '.join(cls.reads())} can be read")
        return cls.previous


def _is_token(model: type[BaseModel], name: str) -> bool:
    """Whether a field takes nothing but tokens of a subject."""
    if (field := model.model_fields.get(name)) is None:
        return False
    annotation: Any = Annotated[field.annotation, field]
    taken = TypeAdapter(annotation)
    return not any(_takes(taken, text) for text in NO_TOKENS)


def _takes(taken: TypeAdapter[Any], text: str) -> bool:
    try:
        taken.validate_python(text)
    except ValidationError:
        return False
    return True
