"""A base class for events: a pydantic model whose class keywords say what the runtime needs."""

from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

Token = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-)+,\-0-=?-~]+$")]
"""One token of a NATS subject: printable ASCII without space, '.', '*', '>' or '/'. Every key is one."""


class EventModel(BaseModel):
    """An event as a pydantic model; a package of contracts may bring a base class of its own (`jetmesh.Event`).

    It is strict where it is written: no unknown field, no value of another type. It is tolerant where it is read: a
    field that it does not know is left out, so that a producer can add one first.

    Class keywords: `type`, the CloudEvents type and the first two tokens of the subject; `owner`, the service that
    records it; `key_field`, the field that names the entity; `from_outside`, whether anybody may publish it without a
    key in the subject, for its owner to check and record; `state`, whether its newest message per key replaces the
    older ones; `ending`, whether its owner's part of the key's story is over with it. `owner` and `key_field` are
    inherited.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    type: ClassVar[str]
    owner: ClassVar[str]
    key_field: ClassVar[str]
    from_outside: ClassVar[bool] = False
    state: ClassVar[bool] = False
    ending: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        type: str = "",
        owner: str = "",
        key_field: str = "",
        from_outside: bool = False,
        state: bool = False,
        ending: bool = False,
    ) -> None:
        super().__init_subclass__()
        if type:
            cls.type, cls.from_outside, cls.state, cls.ending = type, from_outside, state, ending
        cls.owner = owner or getattr(cls, "owner", "")
        cls.key_field = key_field or getattr(cls, "key_field", "")

    @property
    def key(self) -> str:
        """The entity that the event is about: the last token of its subject."""
        key: str = getattr(self, self.key_field)
        return key

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The event in a JSON body.

        Raises:
            pydantic.ValidationError: naming each field that is wrong.
        """
        return cls.model_validate_json(data, extra="ignore")
