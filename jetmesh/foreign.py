"""Foreign messages: on anybody's subjects, in anybody's format, with a decoder that makes events of them."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias, get_type_hints

from jetmesh.event import Event, EventType

EPOCH = datetime.fromtimestamp(0, UTC)
_TOKEN = re.compile(r"[^\s.*>{}]+|\*|>|\{[A-Za-z_]\w*\}")
_NAMED = re.compile(r"\{(\w+)\}")
_STREAM = re.compile(r"[^\s.*>/\\]{1,255}")


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message of a foreign stream, as a decoder gets it: `tokens` are those of the subject that the pattern of
    `@service.listen` names."""

    subject: str
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    stream: str = ""
    sequence: int = 0
    time: datetime = EPOCH


Decoder: TypeAlias = Callable[[ForeignMessage], Event]


@dataclass(frozen=True, slots=True)
class Listens:
    """What a reaction listens to: `pattern` is a subject with `*` or `{name}` for one token and `>` for the rest."""

    pattern: str
    stream: str
    decode: Decoder | None = None
    """None: the body is JSON, and the named tokens are fields beside it."""

    @property
    def subject(self) -> str:
        """The filter of its durable."""
        return _NAMED.sub("*", self.pattern)

    @property
    def names(self) -> dict[str, int]:
        """The named tokens, and where in the subject they are."""
        tokens = enumerate(self.pattern.split("."))
        return {found[1]: place for place, token in tokens if (found := _NAMED.fullmatch(token))}


def problems(listens: Listens, event: EventType) -> Iterator[tuple[str, str]]:
    """What is wrong with a declaration that listens for `event`, and the fix."""
    pattern: Any = listens.pattern
    if not isinstance(pattern, str):
        yield f"listens to {pattern!r}, which is no subject", 'write it as text, such as "telemetry.{plant_id}.temp"'
        return
    tokens = listens.pattern.split(".")
    if not all(map(_TOKEN.fullmatch, tokens)) or ">" in tokens[:-1]:
        fix = "write tokens with dots between them: `*` or `{name}` is any one token, `>` at the end is the rest"
        yield f"listens to {listens.pattern!r}, which is no subject", fix
    if len(listens.names) < len(_NAMED.findall(listens.pattern)):
        yield f"listens to {listens.pattern!r}, which names two tokens alike", "give each a name of its own"
    if not _STREAM.fullmatch(str(listens.stream)):
        yield f"declares stream={listens.stream!r}", "write the name of a stream, such as `nats stream ls` shows"
    if listens.decode is None:
        yield from _unknown_fields(listens, event)
    else:
        yield from _no_decoder(listens.decode, event)


def _unknown_fields(listens: Listens, event: EventType) -> Iterator[tuple[str, str]]:
    """The named tokens that are no fields of the event; a class that is no pydantic model is believed."""
    fields = getattr(event, "model_fields", listens.names)
    if unknown := [name for name in listens.names if name not in fields]:
        fix = f"name a field, or write a function `decode=` that makes a {event.__name__} of the message"
        yield f"listens to {listens.pattern!r}, and {event.__name__} has no field {unknown[0]!r}", fix


def _no_decoder(decode: Any, event: EventType) -> Iterator[tuple[str, str]]:
    fix = f"write a function from a ForeignMessage to a {event.__name__}, or leave `decode` out: the body is JSON then"
    named = getattr(decode, "__name__", repr(decode))
    if isinstance(decode, type) or not callable(decode):
        yield f"declares decode={named}, which is no decoder of a {event.__name__}", fix
    elif inspect.iscoroutinefunction(decode):
        yield f"declares decode={named}, which is async", "write `def`: a decoder reads its message and nothing else"
    elif not _takes_one(decode):
        yield f"declares decode={named}, which can't be called with one message", fix
    elif (made := _returned(decode)) not in (event, Any):
        yield f"declares decode={named}, which returns {getattr(made, '__name__', made)}, not {event.__name__}", fix


def _takes_one(decode: Decoder) -> bool:
    try:
        inspect.signature(decode).bind(None)
    except TypeError:
        return False
    return True


def _returned(decode: Decoder) -> Any:
    """What a decoder says that it returns; Any where it says nothing."""
    try:
        return get_type_hints(decode).get("return", Any)
    except (NameError, TypeError):
        return Any
