"""A base class for events: a pydantic model whose class keywords say what the runtime needs."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from jetmesh.keyed_model import KeyedModel

Token = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-)+,\-0-=?-~]+$")]
"""One token of a NATS subject: printable ASCII without space, '.', '*', '>' or '/'. Every key is one."""

NO_TOKENS = ("", "a.b", "a b", "*", ">")
NO_INSTANTS = (datetime(2026, 1, 1), date(2026, 1, 1), "soon", b"soon", True)  # noqa: DTZ001  (it must be refused)


class EventModel(KeyedModel):
    """An event as a pydantic model; a package of contracts may bring a base class of its own (`jetmesh.Event`).

    It is strict where it is written: no unknown field, no value of another type. It is tolerant where it is read: a
    field that it does not know is left out, so that a producer can add one first.

    Class keywords: `type`, the CloudEvents type and the first two tokens of the subject; `owner`, the service that
    records it; `key_field`, the field that names the entity; `from_outside`, whether anybody may publish it without a
    key in the subject, for its owner to check and record; `state`, whether its newest message per key replaces the
    older ones; `ending`, whether its owner's part of the key's story is over with it; `id_field`, the field that tells
    one event of this type about a key from another, which makes it an occurrence; `occurrence`, the same where only
    its cause tells them apart. `owner` and `key_field` are inherited.

    Raises:
        TypeError: the keywords contradict one another, or a class names a field as its id that is no token.
    """

    type: ClassVar[str]
    owner: ClassVar[str]
    from_outside: ClassVar[bool] = False
    state: ClassVar[bool] = False
    ending: ClassVar[bool] = False
    occurrence: ClassVar[bool] = False
    id_field: ClassVar[str] = ""

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
    ) -> None:
        super().__init_subclass__()
        if type:
            cls.type, cls.from_outside, cls.state, cls.ending = type, from_outside, state, ending
            cls.occurrence, cls.id_field = occurrence or bool(id_field), id_field
        cls.owner = owner or getattr(cls, "owner", "")
        cls.key_field = key_field or getattr(cls, "key_field", "")

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if cls.occurrence and (cls.state or cls.ending):
            other = "state" if cls.state else "ending"
            raise TypeError(f"{cls.__name__}: it is an occurrence and {other}=True; it can be one of them")
        if cls.id_field and not is_token(cls, cls.id_field):
            raise TypeError(
                f"{cls.__name__}: id_field={cls.id_field!r} must name a field that is a Token: a part of a subject"
            )


def is_token(model: type, name: str) -> bool:
    """Whether a field of a pydantic model takes nothing but tokens of a subject; other classes are believed."""
    return _takes_none_of(model, name, NO_TOKENS)


def is_aware(model: type, name: str) -> bool:
    """Whether a field of a pydantic model takes no time without a zone, and no text; other classes are believed."""
    return _takes_none_of(model, name, NO_INSTANTS)


def _takes_none_of(model: type, name: str, values: Sequence[object]) -> bool:
    fields: dict[str, FieldInfo] | None = getattr(model, "model_fields", None)
    if fields is None or (field := fields.get(name)) is None:
        return fields is None
    annotation: Any = Annotated[field.annotation, field]
    taken = TypeAdapter(annotation)
    return not any(_takes(taken, value) for value in values)


def _takes(taken: TypeAdapter[Any], value: object) -> bool:
    try:
        taken.validate_python(value)
    except ValidationError:
        return False
    return True
