"""Events on the wire: CloudEvents 1.0 over NATS, binary mode written, binary, structured and plain read.

Binding: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
"""

import json
import re
import time
import uuid
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha1
from typing import Any
from urllib.parse import quote, unquote

from jetmesh.event import EventType
from jetmesh.failure import BrokenContract

Headers = dict[str, str]

BEGAN = "ce-begantime"
"""When the first event of the story was stored (a CloudEvents extension): passed on from each event to the next."""
JSON = "application/json"
STRUCTURED = "application/cloudevents"
DATA = ("data", "data_base64")
MESSAGE_BYTES_MAX = (1 << 20) - (64 << 10)
"""The largest body and headers together: the server's limit of 1 MiB, less what a dead letter adds as evidence."""

_NAMESPACE = uuid.UUID("5b0f7a6e-2f0c-5d1f-9a53-0d3c6a2a1f57").bytes
_ENCODED = ("ce-id", "ce-source", "ce-correlationid", "ce-causationid")
"""The attributes that hold what others have chosen."""
_UNENCODED = re.compile(r"[!#$&-~]*")
_PRINTABLE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


@dataclass(slots=True)
class Delivery:
    """One message as the broker delivered it, not yet understood."""

    subject: str
    headers: Headers
    data: bytes
    reply: str
    stream: str
    sequence: int
    delivered: int
    timestamp: float
    raw_headers: bytes = b""
    held_since: float = 0.0
    shared: bool = False
    """Whether it came on a lane that serves reactions of different needs, and must not wait in its slot for one."""
    type: str = ""
    """The type that the subject says: its first two tokens."""
    key: str = ""
    """The key that the subject says: its third token; empty where the message came from outside."""

    def __post_init__(self) -> None:
        entity, _, rest = self.subject.partition(".")
        event, _, self.key = rest.partition(".")
        self.type = f"{entity}.{event}"


@dataclass(slots=True)
class Envelope:
    """A delivery understood: the CloudEvents attributes, the trace it continues, and the JSON body."""

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
    delivery: Delivery = field(repr=False)
    first_time: str = ""

    @property
    def began(self) -> str:
        """When the story began that this belongs to: what comes from outside begins one."""
        return self.first_time or _instant(self.delivery.timestamp)


def derived_id(*parts: str) -> str:
    """The same id for the same parts, for ever (UUID version 5): a retry records the same event."""
    digest = sha1(_NAMESPACE + "/".join(parts).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def now() -> str:
    """The time of the wall clock, RFC 3339 in UTC with microseconds."""
    return _instant(time.time())


@lru_cache(maxsize=2)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def decode_headers(raw: bytes) -> Headers:
    """The header block of a NATS message; of repeated names the last counts, bytes that are no UTF-8 are replaced."""
    text = raw.decode("utf-8", "replace")
    try:  # the way every client writes them
        return dict([line.split(": ", 1) for line in text[10:-4].split("\r\n")])
    except ValueError:
        lines = [line.partition(":") for line in text.split("\r\n")[1:]]
        return {name: value.strip() for name, colon, value in lines if colon}


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """A NATS header block (ADR-4). Line breaks in values become spaces, so that no value can add a header."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    if text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1:
        text = "\r\n".join(" ".join(line.splitlines()) for line in lines)
    return b"NATS/1.0\r\n" + text.encode() + b"\r\n\r\n"


def cloud_event(
    event_type: EventType, key: str, *, event_id: str, correlation_id: str, causation_id: str, trace: Headers
) -> Headers:
    """The headers of an event in binary mode; `trace` is the W3C trace context of its publish span.

    Correlation and causation are the CloudEvents extension of that name.
    """
    return {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-type": event_type.type,
        "ce-source": f"/jetmesh/{event_type.owner}",
        "ce-subject": _encoded(key),
        "ce-time": now(),
        "ce-datacontenttype": JSON,
        "ce-correlationid": _encoded(correlation_id),
        "ce-causationid": _encoded(causation_id),
        **trace,
    }


def understand(delivery: Delivery) -> Envelope:
    """The envelope of a delivery: binary, structured, or plain with what is missing derived from where it stands.

    Raises:
        BrokenContract: naming the header or member that is wrong.
    """
    headers = delivery.headers
    if "ce-id" in headers and "ce-specversion" in headers and "content-type" not in headers:
        return _binary(delivery, headers)
    headers = {name.lower(): value for name, value in headers.items()}
    if headers.get("content-type", "").lower().startswith(STRUCTURED):
        return _structured(delivery, headers)
    if "ce-specversion" in headers:
        return _binary(delivery, headers)
    if strangers := [name for name in headers if name.startswith("ce-") and name != "ce-"]:
        raise BrokenContract(
            f"header ce-specversion: missing, but {strangers[0]} is there; send ce-specversion: 1.0 or no ce- header"
        )
    return _envelope(delivery, headers, delivery.data, {})


def _binary(delivery: Delivery, headers: Headers) -> Envelope:
    if _is_as_we_write(delivery, headers):
        return Envelope(
            headers["ce-id"],
            delivery.type,
            headers["ce-source"],
            headers.get("ce-time") or _instant(delivery.timestamp),
            delivery.key,
            headers.get("ce-correlationid") or delivery.key,
            headers.get("ce-causationid", ""),
            headers.get("traceparent", ""),
            headers.get("tracestate", ""),
            delivery.data,
            delivery,
        )
    attributes = {name[3:]: _decoded(name, value) for name, value in headers.items() if name[:3] == "ce-"}
    return _envelope(delivery, headers, delivery.data, attributes)


def _is_as_we_write(delivery: Delivery, headers: Headers) -> bool:
    """Whether all of it is as `cloud_event` writes it, with nothing encoded: most of what is read is."""
    return (
        headers["ce-specversion"] == "1.0"
        and headers.get("ce-type") == delivery.type
        and headers.get("ce-subject") == delivery.key
        and headers.get("ce-datacontenttype") == JSON
        and bool(headers["ce-id"] and headers.get("ce-source"))
        and not any("%" in headers.get(name, "") for name in _ENCODED)
    )


def _structured(delivery: Delivery, headers: Headers) -> Envelope:
    try:
        document = json.loads(delivery.data)
    except (ValueError, RecursionError) as wrong:
        raise BrokenContract(f"body: not JSON ({wrong})") from None
    if not isinstance(document, dict):
        raise BrokenContract("body: a structured CloudEvent is a JSON object")
    attributes = {name: _text(value) for name, value in document.items() if name not in DATA and value is not None}
    return _envelope(delivery, headers, _data(document), attributes)


def _data(document: Mapping[str, Any]) -> bytes:
    """The body in a structured event: JSON as it stands, or bytes in base64 (some SDKs write JSON so, too)."""
    if "data" in document:
        return json.dumps(document["data"]).encode()
    if "data_base64" not in document:
        raise BrokenContract("data: missing in the structured CloudEvent")
    try:
        return b64decode(document["data_base64"], validate=True)
    except (TypeError, ValueError):
        raise BrokenContract("data_base64: not base64") from None


def _text(value: Any) -> Any:
    """An attribute's canonical text: JSON also has integers and booleans for it (CloudEvents 1.0, type system)."""
    return json.dumps(value) if isinstance(value, int) else value


def _decoded(name: str, value: str) -> str:
    """A header's value: perhaps quoted, percent-encoded once."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if "%" not in value:
        return value
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise BrokenContract(f"header {name}: percent-encoded bytes that are no UTF-8") from None


def _envelope(delivery: Delivery, headers: Headers, data: bytes, attributes: Mapping[str, Any]) -> Envelope:
    """Check the attributes that are there, derive those that are not."""
    _check(delivery, attributes)
    key = delivery.key
    event_id = attributes.get("id") or derived_id(delivery.stream, str(delivery.timestamp), str(delivery.sequence))
    return Envelope(
        id=event_id,
        type=delivery.type,
        source=attributes.get("source", ""),
        time=attributes.get("time") or _instant(delivery.timestamp),
        key=key,
        correlation_id=attributes.get("correlationid") or key,
        causation_id=attributes.get("causationid", ""),
        traceparent=headers.get("traceparent") or attributes.get("traceparent", ""),
        tracestate=headers.get("tracestate", ""),
        data=data,
        delivery=delivery,
        first_time=attributes.get("begantime", "") if key else "",
    )


def _check(delivery: Delivery, attributes: Mapping[str, Any]) -> None:
    if not attributes:
        return
    for name, value in attributes.items():
        if not isinstance(value, str):
            raise BrokenContract(f"CloudEvents attribute {name}: {value!r} is no string")
    version = attributes.get("specversion")
    if version != "1.0":
        raise BrokenContract(f"CloudEvents attribute specversion: {version!r} is not known; send 1.0")
    for name in ("id", "type", "source"):
        if not attributes.get(name):
            raise BrokenContract(f"CloudEvents attribute {name}: missing; CloudEvents 1.0 requires it")
    if attributes["type"] != delivery.type:
        raise BrokenContract(
            f"CloudEvents attribute type: {attributes['type']!r} does not belong on the subject {delivery.subject}"
        )
    if delivery.key and attributes.get("subject", delivery.key) != delivery.key:
        raise BrokenContract(
            f"CloudEvents attribute subject: {attributes['subject']!r} is not the key {delivery.key!r}"
        )
    content = attributes.get("datacontenttype", JSON)
    if not content.lower().startswith(JSON):
        raise BrokenContract(f"CloudEvents attribute datacontenttype: {content!r} is not {JSON}")


def _instant(timestamp: float) -> str:
    seconds, microseconds = divmod(round(timestamp * 1e6), 1_000_000)
    return f"{_to_the_second(seconds)}.{microseconds:06d}Z"


def _encoded(value: str) -> str:
    """Percent-encoded as the binding asks: what is not printable ASCII, the quote and the percent sign itself."""
    return value if _UNENCODED.fullmatch(value) else quote(value, safe=_PRINTABLE)


def bare(delivery: Delivery) -> Envelope:
    """The envelope of a delivery that can't be understood: enough to trace it and to bury it."""
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    event_id = derived_id(delivery.stream, str(delivery.timestamp), str(delivery.sequence))
    return Envelope(
        event_id, delivery.type, "", _instant(delivery.timestamp), delivery.key, delivery.key, "",
        headers.get("traceparent", ""), headers.get("tracestate", ""), delivery.data, delivery,
    )  # fmt: skip


def read_event(event_type: EventType, data: bytes, key_default: str = "") -> Any:
    """The event in a JSON body. `key_default` is its key where the body names none.

    Raises:
        BrokenContract: naming each field that the contract does not allow.
    """
    try:
        return event_type.read(data)
    except ValueError as invalid:
        if key_default and (named := _with_key(event_type, data, key_default)):
            return read_event(event_type, named)
        raise BrokenContract(_complaint(invalid)) from None


def _with_key(event_type: EventType, data: bytes, key: str) -> bytes | None:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or event_type.key_field in body:
        return None
    return json.dumps({event_type.key_field: key, **body}).encode()


def _complaint(invalid: ValueError) -> str:
    """Each wrong field with what is wrong about it, without the values: they may be personal data."""
    errors = getattr(invalid, "errors", None)
    if errors is None:
        return f"body: {invalid}"
    found = errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(str(part) for part in e['loc']) or 'body'}: {e['msg']}" for e in found[:10])
