"""Events as NATS messages: writes CloudEvents 1.0 in binary mode, reads binary, structured and plain ones.

Binding: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
"""

import json
import re
import reprlib
import time
from base64 import b64decode
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from pydantic import BaseModel

from jetmesh.blob import has_blobs, require_own
from jetmesh.common import json_body
from jetmesh.event import Event, EventType
from jetmesh.failure import BrokenContract
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import TRACEPARENT, TRACESTATE, Headers, Nats, header_lines, lines_read
from jetmesh.jetstream.headers import CloudEvents as Ce

Writer: TypeAlias = Callable[[Event], bytes]

JSON = "application/json"
STRUCTURED = "application/cloudevents"
DATA = ("data", "data_base64")

LARGE_BYTES = 1 << 16
ATTRIBUTE_BYTES_MAX = 1_024
PASSED_ON = ("id", "correlationid", "causationid")
"""The longest attribute. Each event passes them on, so that a long one would make a later event too large."""

_UNENCODED = re.compile(r"[!#$&-~]*")
_INSTANT = r"[0-9T:.Z+-]{1,40}"
_OWN_FORM = re.compile(
    rf'NATS/1\.0\r\n{Ce.SPECVERSION}: 1\.0\r\n{Ce.ID}: ([^\r\n%"]+)\r\n{Ce.TYPE}: ([^\r\n]+)\r\n'
    rf'{Ce.SOURCE}: ([^\r\n%"]+)\r\n{Ce.SUBJECT}: ([^\r\n%"]+)\r\n{Ce.TIME}: ([^\r\n]+)\r\n'
    rf'{Ce.DATACONTENTTYPE}: {JSON}\r\n{Ce.CORRELATION_ID}: ([^\r\n%"]+)\r\n{Ce.CAUSATION_ID}: ([^\r\n%"]*)\r\n'
    rf"(?:traceparent: ([^\r\n]+)\r\n)?(?:{Ce.BEGAN}: ({_INSTANT})\r\n)?(?:{Nats.PREFIX}[^\r\n]+\r\n)*\r\n"
)
"""The fast path: a header block as `event_lines` and the guard write it, with nothing percent-encoded."""
_EVENT_LINES = (
    f"{Ce.SPECVERSION}: 1.0\r\n{Ce.ID}: %s\r\n{Ce.TYPE}: %s\r\n{Ce.SOURCE}: /jetmesh/%s\r\n{Ce.SUBJECT}: %s\r\n"
    f"{Ce.TIME}: %s\r\n{Ce.DATACONTENTTYPE}: {JSON}\r\n{Ce.CORRELATION_ID}: %s\r\n{Ce.CAUSATION_ID}: %s\r\n%s"
)
_PRINTABLE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


@dataclass(slots=True)
class Envelope:
    """A decoded delivery: the CloudEvents attributes, the trace context and the JSON body."""

    id: str
    type: str
    source: str
    time: str
    key: str
    correlation_id: str
    causation_id: str
    traceparent: str
    tracestate: str
    data: bytes
    delivery: RawDelivery = field(repr=False)
    first_time: str = ""

    @property
    def began(self) -> str:
        """When the trace began; a message from outside begins one."""
        if not self.first_time:
            self.first_time = _instant(self.delivery.timestamp)
        return self.first_time


def now() -> str:
    """The time of the wall clock, RFC 3339 in UTC with microseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_to_the_second(seconds)}.{nanoseconds // 1_000:06d}Z"


@lru_cache(maxsize=2)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def instant_of(text: str) -> float:
    """A time in RFC 3339, in seconds since 1970.

    Raises:
        ValueError: the text is no time in RFC 3339.
    """
    if text.endswith("Z") and text[19:20] == ".":
        return _seconds_of(text[:19]) + float(text[19:-1])
    return datetime.fromisoformat(text).timestamp()


@lru_cache(maxsize=64)
def _seconds_of(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def event_lines(
    event_type: EventType,
    key: str,
    *,
    event_id: str,
    correlation_id: str,
    causation_id: str,
    more: str = "",
) -> str:
    """The header lines of an event in binary mode. `more` are the lines of its trace context and its `ce-begantime`.

    Correlation and causation are the CloudEvents extension of that name.
    """
    subject = encoded(key)
    correlation = subject if correlation_id == key else encoded(correlation_id)
    return _EVENT_LINES % (
        event_id, event_type.type, event_type.owner, subject, now(), correlation, encoded(causation_id), more,
    )  # fmt: skip


def cloud_event(
    event_type: EventType, key: str, *, event_id: str, correlation_id: str, causation_id: str, trace: Headers
) -> Headers:
    """The same headers as a mapping."""
    lines = event_lines(
        event_type, key, event_id=event_id, correlation_id=correlation_id, causation_id=causation_id,
        more=header_lines(trace),
    )  # fmt: skip
    return lines_read(lines)


def decode_envelope(delivery: RawDelivery) -> Envelope:
    """Decode a delivery: binary, structured, or plain with the missing attributes derived from its place in the stream.

    Raises:
        BrokenContract: naming the header or member that is wrong.
    """
    if written := decode_own_form(delivery):
        return written
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    if headers.get("content-type", "").lower().startswith(STRUCTURED):
        return _structured(delivery, headers)
    if Ce.SPECVERSION in headers:
        attributes = {name[3:]: _decoded(name, value) for name, value in headers.items() if name[:3] == Ce.PREFIX}
        _check(delivery, attributes)
        return _envelope(delivery, headers, _body(delivery), attributes)
    if strangers := [name for name in headers if name.startswith(Ce.PREFIX) and name != Ce.PREFIX]:
        raise BrokenContract(
            f"header {Ce.SPECVERSION}: missing, but {strangers[0]} is there; "
            f"send {Ce.SPECVERSION}: 1.0 or no {Ce.PREFIX} header"
        )
    return _envelope(delivery, headers, _body(delivery), {})


def decode_own_form(delivery: RawDelivery) -> Envelope | None:
    """The fast path: the envelope of a delivery that the runtime wrote; None if its headers have another form."""
    written = _OWN_FORM.fullmatch(delivery.header_block.decode("utf-8", "replace"))
    if written is None:
        return None
    event_id, event_type, source, key, time_, correlation_id, causation_id, traceparent, began = written.groups("")
    if event_type != delivery.type or key != delivery.key:
        return None
    return Envelope(
        event_id, event_type, source, time_, key, correlation_id, causation_id, traceparent, "",
        delivery.data, delivery, began,
    )  # fmt: skip


def _body(delivery: RawDelivery) -> bytes:
    try:
        return json_body.canonical(delivery.data)
    except json_body.Malformed as wrong:
        raise BrokenContract(f"body: {wrong}") from None


def json_object(body: bytes, otherwise: str) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        BrokenContract: it is no JSON, or no object, which `otherwise` says.
    """
    try:
        document = json_body.document(body)
    except json_body.Malformed as wrong:
        raise BrokenContract(f"body: {wrong}") from None
    if not isinstance(document, dict):
        raise BrokenContract(f"body: {otherwise}")
    return document


def _structured(delivery: RawDelivery, headers: Headers) -> Envelope:
    document = json_object(delivery.data, "a structured CloudEvent is a JSON object")
    if not document.keys() & set(DATA):
        raise BrokenContract("data: missing in the structured CloudEvent")
    attributes = {name: _text(value) for name, value in document.items() if name not in DATA and value is not None}
    _check(delivery, attributes)
    return _envelope(delivery, headers, _data(document), attributes)


def _data(document: Mapping[str, Any]) -> bytes:
    """The body of a structured event: JSON in `data`, or bytes in `data_base64` (some SDKs send JSON so)."""
    if "data" in document:
        return json.dumps(document["data"]).encode()
    try:
        data = b64decode(document["data_base64"], validate=True)
    except (TypeError, ValueError):
        raise BrokenContract("data_base64: not base64; encode the bytes in base64") from None
    try:
        return json_body.canonical(data)
    except json_body.Malformed as wrong:
        raise BrokenContract(f"data_base64: {wrong}") from None


def _text(value: Any) -> Any:
    """An attribute as canonical text: in JSON it may be an integer or a boolean (CloudEvents 1.0, type system)."""
    return json.dumps(value) if isinstance(value, int) else value


def _decoded(name: str, value: str) -> str:
    """A header's value without quotes and percent-encoding."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if "%" not in value:
        return value
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise BrokenContract(
            f"header {name}: percent-encoded bytes that are not UTF-8; encode the text as UTF-8 first"
        ) from None


def _envelope(delivery: RawDelivery, headers: Headers, data: bytes, attributes: Mapping[str, Any]) -> Envelope:
    """The envelope from the attributes; missing ones are derived."""
    key, carrier = delivery.key, headers if headers.get(TRACEPARENT) else attributes
    return Envelope(
        id=attributes.get("id") or delivery.position_id,
        type=delivery.type,
        source=attributes.get("source", ""),
        time=attributes.get("time") or _instant(delivery.timestamp),
        key=key,
        correlation_id=attributes.get("correlationid") or key,
        causation_id=attributes.get("causationid", ""),
        traceparent=carrier.get(TRACEPARENT, ""),
        tracestate=carrier.get(TRACESTATE, ""),
        data=data,
        delivery=delivery,
        first_time=began if key and re.fullmatch(_INSTANT, began := attributes.get("begantime", "")) else "",
    )


def _check(delivery: RawDelivery, attributes: Mapping[str, Any]) -> None:
    _check_attributes(attributes)
    _check_place(delivery, attributes)


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    """Check the attributes by CloudEvents, and that they declare a JSON body."""
    for name, value in attributes.items():
        if not isinstance(value, str):
            raise BrokenContract(f"CloudEvents attribute {name}: {_shown(value)} is not a string")
    version = attributes.get("specversion")
    if version != "1.0":
        raise BrokenContract(f"CloudEvents attribute specversion: {_shown(version)} is not known; send 1.0")
    for name in ("id", "type", "source"):
        if not attributes.get(name):
            raise BrokenContract(f"CloudEvents attribute {name}: missing; CloudEvents 1.0 requires it")
    for name in PASSED_ON:
        if len(attributes.get(name, "").encode()) > ATTRIBUTE_BYTES_MAX:
            raise BrokenContract(f"CloudEvents attribute {name}: longer than {ATTRIBUTE_BYTES_MAX} bytes")
    content = attributes.get("datacontenttype", JSON)
    if not content.lower().startswith(JSON):
        raise BrokenContract(f"CloudEvents attribute datacontenttype: {_shown(content)} is not {JSON}")


def _check_place(delivery: RawDelivery, attributes: Mapping[str, Any]) -> None:
    """Check that type and subject are those of the NATS subject."""
    if attributes["type"] != delivery.type:
        raise BrokenContract(
            f"CloudEvents attribute type: {_shown(attributes['type'])} does not belong on the subject "
            f"{delivery.subject}"
        )
    if delivery.key and attributes.get("subject", delivery.key) != delivery.key:
        raise BrokenContract(
            f"CloudEvents attribute subject: {_shown(attributes['subject'])} is not the key {delivery.key!r}"
        )


def _shown(value: Any) -> str:
    """A value for an error text: shortened, without control characters."""
    shown = repr(value[:80]) if isinstance(value, str) else reprlib.repr(value)
    return shown if shown.isprintable() else ascii(shown)


def _instant(timestamp: float) -> str:
    microseconds = int(timestamp * 1e6 + 0.5)
    return f"{_to_the_second(microseconds // 1_000_000)}.{microseconds % 1_000_000:06d}Z"


def encoded(value: str) -> str:
    """Percent-encoded as the binding demands: all but printable ASCII, also the quote and the percent sign."""
    return value if _UNENCODED.fullmatch(value) else quote(value, safe=_PRINTABLE)


def undecoded(delivery: RawDelivery) -> Envelope:
    """The fallback for a delivery that can't be decoded: enough to trace it and to store it as a dead letter."""
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    return Envelope(
        delivery.position_id, delivery.type, "", _instant(delivery.timestamp), delivery.key, delivery.key, "",
        headers.get(TRACEPARENT, ""), headers.get(TRACESTATE, ""), delivery.data, delivery,
    )  # fmt: skip


def read_event(event_type: EventType, data: bytes, key_default: str = "") -> Any:
    """The event in a JSON body. `key_default` is its key if the body names none.

    Raises:
        BrokenContract: naming each field that the contract does not allow.
    """
    if len(data) > LARGE_BYTES and (fields := getattr(event_type, "model_fields", None)):
        try:
            data = json_body.lean(data, fields)
        except json_body.Malformed as wrong:
            raise BrokenContract(str(wrong)) from None
        except ValueError:
            pass  # the contract's own error is the better one
    try:
        return event_type.read(data)
    except ValueError as invalid:
        why = complaint(invalid)
    # Raised outside of the handler: pydantic's error holds the whole body, and ours would keep it alive.
    if key_default and (named := _with_key(event_type, data, key_default)):
        return read_event(event_type, named)
    raise BrokenContract(why)


def written_event(event: Event) -> bytes:
    """The JSON body of an event, as its contract allows it.

    Raises:
        BrokenContract: naming each field that the contract does not allow.
    """
    return writer_of(type(event))(event)


def writer_of(event_type: EventType) -> Writer:
    """What writes the bodies of this type, and raises what `written_event` raises: `model_copy(update=…)`,
    `model_construct` and a list that was changed afterwards pass by what the class checks."""
    written = _writer_of(event_type)
    if not has_blobs(event_type):
        return written

    def own(event: Event) -> bytes:
        require_own(event)
        return written(event)

    return own


def _writer_of(event_type: EventType) -> Writer:
    if not hasattr(event_type, "__pydantic_validator__"):
        return lambda event: event.model_dump_json().encode()
    model: Any = event_type
    is_usual, fields = model.model_dump_json is BaseModel.model_dump_json, frozenset(model.__pydantic_fields__)

    def written(event: Event) -> bytes:
        # What `model_dump_json` does, without the detour over a str.
        data: bytes = model.__pydantic_serializer__.to_json(event) if is_usual else event.model_dump_json().encode()
        try:
            model.__pydantic_validator__.validate_json(data)
        except ValueError as invalid:
            why = complaint(invalid)
        else:
            if {*event.__dict__} <= fields or not (unknown := _unknown(event, fields)):
                return data
            why = f"{unknown}: it has no such field"
        raise BrokenContract(
            f"{model.type} would break its contract: {why}; make the event with {model.__name__}(…), which "
            f"checks it, not by model_copy(update=…) or model_construct"
        )

    return written


def _unknown(event: Event, fields: Container[str]) -> str:
    """What `model_copy(update=…)` gave to an event beside its fields and what its class computes; empty: nothing."""
    return next((name for name in event.__dict__ if name not in fields and not hasattr(type(event), name)), "")


def _with_key(event_type: EventType, data: bytes, key: str) -> bytes | None:
    try:
        document = json_body.document(data)
    except json_body.Malformed:
        return None
    if not isinstance(document, dict) or event_type.key_field in document:
        return None
    return json.dumps({event_type.key_field: key, **document}).encode()


def complaint(invalid: ValueError) -> str:
    """Each wrong field and the reason, without the values: they may be personal data."""
    errors = getattr(invalid, "errors", None)
    if errors is None:
        return f"body: {invalid}"
    found = errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(str(part) for part in e['loc']) or 'body'}: {e['msg']}" for e in found[:10])
