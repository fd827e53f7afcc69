"""OTLP traces seen no deeper than needed: parsing every attribute of every span is what costs.

The messages are the official ones with one field declared as bytes, which is the same on the wire.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from jetmesh.operate.span_record import CONVERSATION_ID, SpanEvent, SpanLink, SpanRecord

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")

TRACE_ID_BYTES = 16
CONVERSATION_FIELD = bytes((0x0A, len(CONVERSATION_ID))) + CONVERSATION_ID.encode() + b"\x12"
"""How a KeyValue with this key reads on the wire; the length of its AnyValue follows."""


class Malformed(ValueError):
    """The body is no OTLP request for traces; the message says what is wrong with it."""


def contents_of(body: bytes) -> tuple[int, set[bytes], set[tuple[str, bytes]]]:
    """How many spans a request holds, their trace ids, and the (conversation id, trace id) pairs among them.

    Raises ``Malformed``. (What is inside an attribute is not looked at, save for the conversation id.)
    """
    count, trace_ids, found = 0, set(), set()
    for (_, span), (_, raw) in zip(_spans(_Request, body), _spans(_RawRequest, body), strict=True):
        count += 1
        trace_ids.add(trace_id := span.trace_id)
        at = raw.find(CONVERSATION_FIELD)
        if at >= 0:
            value_at = at + len(CONVERSATION_FIELD) + 1
            found.add((raw[value_at : value_at + raw[value_at - 1]], trace_id))
    if any(len(trace_id) != TRACE_ID_BYTES for trace_id in trace_ids):
        raise Malformed(f"a trace_id has not {TRACE_ID_BYTES} bytes")
    return count, trace_ids, {(_conversation_id(value), trace_id) for value, trace_id in found}


def records_of(body: bytes, trace_id: bytes | None = None) -> Iterator[SpanRecord]:
    """The spans of a request, or only those of one trace."""
    for service, span in _spans(_Request, body):
        if trace_id is None or span.trace_id == trace_id:
            yield _record(service, span)


def _spans(request_type: Any, body: bytes) -> Iterator[tuple[str, Any]]:
    try:
        request = request_type.FromString(body)
    except DecodeError as error:
        raise Malformed("the body is no ExportTraceServiceRequest") from error
    for resource_spans in request.resource_spans:
        service = _service(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield service, span


def _service(resource: Any) -> str:
    names = (each.value.string_value for each in resource.attributes if each.key == "service.name")
    return next(names, "unknown_service")


def _conversation_id(value: bytes) -> str:
    try:
        return AnyValue.FromString(value).string_value
    except DecodeError as error:
        raise Malformed(f"the value of {CONVERSATION_ID} cannot be parsed") from error


def _record(service: str, span: Any) -> SpanRecord:
    return SpanRecord(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        _named(KINDS, span.kind),
        service,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _named(STATUSES, span.status.code),
        span.status.message,
        dict(map(_attribute, span.attributes)),
        tuple(map(_link, span.links)),
        tuple(map(_event, span.events)),
    )


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else names[0]


def _link(link: Any) -> SpanLink:
    return SpanLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))


def _event(event: Any) -> SpanEvent:
    return SpanEvent(event.name, event.time_unix_nano, _attributes(event.attributes))


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


@lru_cache(maxsize=4096)
def _attribute(raw: bytes) -> tuple[str, Any]:
    """One attribute; most of them say the same in a hundred thousand spans, so the cache does most of the work."""
    try:
        pair = KeyValue.FromString(raw)
    except DecodeError:
        return "", None
    value = pair.value
    return pair.key, value.string_value or _value(value)


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(each) for each in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case scalar:
            return getattr(value, scalar)


def _request_type(message: str, field: str) -> Any:
    """ExportTraceServiceRequest with this field of this message declared as bytes."""
    pool = DescriptorPool()
    _declare(trace_service_pb2.DESCRIPTOR, pool, message, field)
    return GetMessageClass(pool.FindMessageTypeByName(trace_service_pb2.ExportTraceServiceRequest.DESCRIPTOR.full_name))


def _declare(file: FileDescriptor, pool: DescriptorPool, message: str, field: str) -> None:
    for dependency in file.dependencies:
        _declare(dependency, pool, message, field)
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    for each in (each for owner in proto.message_type if owner.name == message for each in owner.field):
        if each.name == field:
            each.type = FieldDescriptorProto.TYPE_BYTES
            each.ClearField("type_name")
    pool.Add(proto)


_Request = _request_type("Span", "attributes")
_RawRequest = _request_type("ScopeSpans", "spans")
