"""Spans as OTLP protobuf, assembled from bytes without message objects; opentelemetry-proto 1.x numbers the fields."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import EventBase
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState
from opentelemetry.trace.span import DEFAULT_TRACE_STATE
from opentelemetry.util.types import AnyValue, Attributes

VALUE_LENGTH_MAX = 16_384
"""Characters (or bytes) of one attribute value that are kept; a receiver refuses a whole batch above 4 MiB."""

UNSET = Status(StatusCode.UNSET)
"""The status of a span without a set status."""

_CACHED_TEXT_LENGTH_MAX = 64
_CHILD = struct.Struct("<2s16s2s8s2s8scQcQ2sI")
_ROOT = struct.Struct("<2s16s2s8scQcQ2sI")
_LINKED = struct.Struct("<2s16s2s8s")
_PLAIN_LINK = struct.Struct("<2s2s16s2s8scI")
_LINK_FLAGS = struct.Struct("<cI")
_DOUBLE = struct.Struct("<cd")
_FIXED64 = struct.Struct("<cQ")
_KNOWN_IF_REMOTE = 0x100
_IS_REMOTE = 0x300
_NO_STATUS = b"\x7a\x00"
_INT64 = range(-(1 << 63), 1 << 63)
_ONE_BYTE, _SMALL = 0x80, 0x400


class FinishedSpan(Protocol):
    """The members of a span that the encoder reads; the SDK's `ReadableSpan` has them as well."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> SpanKind: ...
    @property
    def context(self) -> SpanContext: ...
    @property
    def parent(self) -> SpanContext | None: ...
    @property
    def start_time(self) -> int | None: ...
    @property
    def end_time(self) -> int | None: ...
    @property
    def attributes(self) -> Attributes: ...
    @property
    def events(self) -> Sequence[EventBase]: ...
    @property
    def links(self) -> Sequence[Link]: ...
    @property
    def status(self) -> Status: ...


class Description:
    """What many spans have in common: the name, the kind and constant attributes, encoded once, and the keys of those
    that each has for itself, which are `texts` and natural `numbers`."""

    __slots__ = ("_encoded", "_number_heads", "_text_heads", "attributes", "keys", "kind", "name", "numbers", "texts")

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, AnyValue],
        texts: Sequence[str] = (),
        numbers: Sequence[str] = (),
    ) -> None:
        self.name, self.kind, self.attributes, self.texts, self.numbers = name, kind, attributes, texts, numbers
        self.keys = frozenset((*attributes, *texts, *numbers))
        self._encoded = _name_and_kind(name, kind) + _attributes(b"\x4a", attributes)
        self._text_heads, self._number_heads = [*map(_heads, texts)], [*map(_number_heads, numbers)]

    def all_attributes(self, texts: Sequence[str], numbers: Sequence[int]) -> dict[str, AnyValue]:
        """The attributes of a span with these values of its own."""
        own_texts, own_numbers = zip(self.texts, texts, strict=True), zip(self.numbers, numbers, strict=True)
        return {**self.attributes, **dict(own_texts), **dict(own_numbers)}

    def encode(self, texts: Sequence[str], numbers: Sequence[int]) -> bytes:
        """Name, kind and attributes. Most texts are ASCII, and so short that a length is one byte: everything is ASCII
        then, and is joined as text."""
        try:
            text = "".join([heads[len(own)] + own for heads, own in zip(self._text_heads, texts, strict=True)])
            encoded = self._encoded + text.encode("ascii")
        except (IndexError, UnicodeEncodeError):
            encoded = self._encoded + _attributes(b"\x4a", dict(zip(self.texts, texts, strict=True)))
        for number_heads, number in zip(self._number_heads, numbers, strict=True):
            digits = _varint(number)
            encoded += number_heads[len(digits)] + digits
        return encoded


def encode_span(span: FinishedSpan) -> bytes:
    """A `Span` after its length; `encode_request` adds the field tag."""
    return _span(span, _name_and_kind(span.name, span.kind), span.attributes)


def encode_described(
    span: FinishedSpan, description: Description, texts: Sequence[str], numbers: Sequence[int], more: Attributes
) -> bytes:
    """The same of a span with values of its own for the keys of a description, and `more` attributes."""
    return _span(span, description.encode(texts, numbers), more)


def _span(span: FinishedSpan, described: bytes, attributes: Attributes) -> bytes:
    parts = [_ids_and_times(span), described, _attributes(b"\x4a", attributes)]
    _, _, _, _, trace_state, _ = span.context
    if trace_state is not DEFAULT_TRACE_STATE and trace_state:
        parts.append(_trace_state(b"\x1a", trace_state))
    if span.events:
        parts.extend(map(_event, span.events))
    if span.links:
        parts.extend(map(_link, span.links))
    parts.append(_NO_STATUS if span.status is UNSET else _status(span.status))
    return _sized(b"".join(parts))


@lru_cache(maxsize=1024)
def _heads(key: str) -> tuple[str, ...]:
    """The bytes before the text of an attribute of this key, by the text's length, for as long as a length is one
    byte."""
    named = _key(key).decode("latin-1")
    short = range(max(0, _ONE_BYTE - 4 - len(named)))
    return tuple(f"\x4a{chr(len(named) + 4 + n)}{named}\x12{chr(n + 2)}\x0a{chr(n)}" for n in short)


@lru_cache(maxsize=1024)
def _number_heads(key: str) -> tuple[bytes, ...]:
    """The bytes before the varint of a natural number of this key, by the length of the varint."""
    named = _key(key)
    return tuple(b"\x4a" + _varint(len(named) + 3 + n) + named + b"\x12" + _varint(n + 1) + b"\x18" for n in range(10))


def encode_scope(scope: InstrumentationScope) -> tuple[bytes, bytes]:
    """The bytes before and after the spans of one `ScopeSpans`: the scope, the URL of its schema."""
    version = _text(b"\x12", scope.version) if scope.version else b""
    body = _text(b"\x0a", scope.name) + version + _attributes(b"\x1a", scope.attributes)
    return b"\x0a" + _sized(body), _text(b"\x1a", scope.schema_url) if scope.schema_url else b""


def encode_resource(resource: Resource) -> tuple[bytes, bytes]:
    """The bytes before and after the scopes of one `ResourceSpans`: the resource, the URL of its schema."""
    body = _attributes(b"\x0a", resource.attributes)
    return b"\x0a" + _sized(body), _text(b"\x1a", resource.schema_url) if resource.schema_url else b""


def encode_request(resource: tuple[bytes, bytes], scopes: Mapping[tuple[bytes, bytes], Iterable[bytes]]) -> bytes:
    """`ExportTraceServiceRequest` of encoded spans, by the encoded scope they belong to. It may have a megabyte, and is
    put together once: new pages of memory cost more than all the rest."""
    head, schema_url = resource
    parts = [head, *chain.from_iterable(_scope_spans(scope, spans) for scope, spans in scopes.items()), schema_url]
    return b"".join((b"\x0a", _varint(sum(map(len, parts))), *parts))


def _scope_spans(scope: tuple[bytes, bytes], spans: Iterable[bytes]) -> list[bytes]:
    head, schema_url = scope
    parts = [head, *chain.from_iterable(zip(repeat(b"\x12"), spans)), schema_url]
    return [b"\x12", _varint(sum(map(len, parts))), *parts]


def _ids_and_times(span: FinishedSpan) -> bytes:
    trace_id, span_id, _, _, _, _ = span.context
    start_time, end_time, parent = span.start_time, span.end_time, span.parent
    if parent is None:
        return _ROOT.pack(
            b"\x0a\x10", trace_id.to_bytes(16, "big"), b"\x12\x08", span_id.to_bytes(8, "big"),
            b"\x39", start_time, b"\x41", end_time, b"\x85\x01", _KNOWN_IF_REMOTE,
        )  # fmt: skip
    _, parent_id, is_remote, _, _, _ = parent
    return _CHILD.pack(
        b"\x0a\x10", trace_id.to_bytes(16, "big"), b"\x12\x08", span_id.to_bytes(8, "big"),
        b"\x22\x08", parent_id.to_bytes(8, "big"),
        b"\x39", start_time, b"\x41", end_time, b"\x85\x01", _IS_REMOTE if is_remote else _KNOWN_IF_REMOTE,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _name_and_kind(name: str, kind: SpanKind) -> bytes:
    return _text(b"\x2a", name) + b"\x30" + _varint(kind.value + 1)


def _trace_state(tag: bytes, trace_state: TraceState) -> bytes:
    return _text(tag, trace_state.to_header())


def _event(event: EventBase) -> bytes:
    time = _FIXED64.pack(b"\x09", event.timestamp)
    return b"\x5a" + _sized(time + _text(b"\x12", event.name) + _attributes(b"\x1a", event.attributes))


def _link(link: Link) -> bytes:
    trace, span, is_remote, _, trace_state, _ = link.context
    trace_id, span_id = trace.to_bytes(16, "big"), span.to_bytes(8, "big")
    flags, attributes = _IS_REMOTE if is_remote else _KNOWN_IF_REMOTE, link.attributes
    if trace_state is DEFAULT_TRACE_STATE and not attributes:
        return _PLAIN_LINK.pack(b"\x6a\x21", b"\x0a\x10", trace_id, b"\x12\x08", span_id, b"\x35", flags)
    state = _trace_state(b"\x1a", trace_state) if trace_state else b""
    ids = _LINKED.pack(b"\x0a\x10", trace_id, b"\x12\x08", span_id)
    return b"\x6a" + _sized(ids + state + _attributes(b"\x22", attributes) + _LINK_FLAGS.pack(b"\x35", flags))


def _status(status: Status) -> bytes:
    if status.status_code is StatusCode.UNSET:
        return _NO_STATUS
    description = _text(b"\x12", status.description) if status.description else b""
    return b"\x7a" + _sized(description + b"\x18" + _varint(status.status_code.value))


def _attributes(tag: bytes, attributes: Attributes) -> bytes:
    """Repeated `KeyValue`, each under the tag of the message it belongs to."""
    if not attributes:
        return b""
    return tag + tag.join(
        [
            _short_text_attribute(key, value)
            if type(value) is str and len(value) <= _CACHED_TEXT_LENGTH_MAX
            else _attribute(key, value)
            for key, value in attributes.items()
        ]
    )


# Most attributes repeat from span to span (a subject, a service, an operation), and an order's id in several spans.
@lru_cache(maxsize=4096)
def _short_text_attribute(key: str, text: str) -> bytes:
    return _attribute(key, text)


def _attribute(key: str, value: AnyValue) -> bytes:
    return _sized(_key(key) + b"\x12" + _sized(_value(value)))


@lru_cache(maxsize=1024)
def _key(key: str) -> bytes:
    return _text(b"\x0a", key)


def _value(value: AnyValue) -> bytes:
    """`AnyValue`; a value that OTLP has no type for (a UUID, a Decimal, an integer beyond 64 bits) is sent as text."""
    match value:
        case str():
            return _text(b"\x0a", value[:VALUE_LENGTH_MAX])
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int() if value in _INT64:
            return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            return _DOUBLE.pack(b"\x21", value)
        case bytes():
            return b"\x3a" + _sized(value[:VALUE_LENGTH_MAX])
        case None:
            return b""
        case Mapping():
            return b"\x32" + _sized(_attributes(b"\x0a", {str(key): inner for key, inner in value.items()}))
        case Sequence():
            return b"\x2a" + _sized(b"".join([b"\x0a" + _sized(_value(inner)) for inner in value]))
        case _:
            return _text(b"\x0a", str(value)[:VALUE_LENGTH_MAX])


def _text(tag: bytes, text: str) -> bytes:
    return tag + _sized(text.encode("utf-8", "replace"))


def _sized(payload: bytes) -> bytes:
    size = len(payload)
    return (_VARINTS[size] if size < _SMALL else _varint(size)) + payload


def _varint(number: int) -> bytes:
    if number < _SMALL:
        return _VARINTS[number]
    return bytes((number & 0x7F | 0x80,)) + _varint(number >> 7)


_VARINTS: tuple[bytes, ...] = tuple(bytes((number,)) for number in range(_ONE_BYTE))
_VARINTS += tuple(bytes((number & 0x7F | 0x80, number >> 7)) for number in range(_ONE_BYTE, _SMALL))
"""Those of small numbers, such as the length of a span."""
