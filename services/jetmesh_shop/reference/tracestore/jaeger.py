"""Spans asked for at Jaeger's HTTP API (the one behind its own pages), read as the same records."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import httpx

from jetmesh.operate.span_record import CONVERSATION_ID, SpanEvent, SpanLink, SpanRecord

TIMEOUT_SECONDS = 10.0
TRACES_MAX = 20
OF_THE_PROTOCOL = {"span.kind", "otel.status_code", "otel.status_description", "error"}
"""Tags that Jaeger makes of a span's fields; a record has the fields themselves."""

Json = Mapping[str, Any]


class JaegerTraces:
    """Implements ``Traces``. Raises ``httpx.HTTPError`` where Jaeger does not answer, or something else does.

    A search covers the last two days (Jaeger's own default).
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def spans_of(self, trace_id: str) -> list[SpanRecord]:
        """Every span of the trace, by start; empty for a trace that Jaeger does not have."""
        response = self._client.get(f"/api/traces/{trace_id}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return []
        with _is_jaegers():
            spans = [span for trace in _data(response) for span in _records(trace)]
            return sorted(spans, key=lambda span: span.start_unix_nano)

    def trace_ids_of(self, conversation_id: str) -> list[str]:
        """The traces with a span about this conversation, in whichever service (Jaeger searches one at a time)."""
        tags = json.dumps({CONVERSATION_ID: conversation_id})
        found = (self._search(service, tags) for service in self.services())
        with _is_jaegers():
            return sorted({trace["traceID"].zfill(32) for traces in found for trace in traces})

    def services(self) -> list[str]:
        """The services that Jaeger has spans of."""
        with _is_jaegers():
            return sorted(_data(self._client.get("/api/services")))

    def _search(self, service: str, tags: str) -> list[Json]:
        parameters = {"service": service, "tags": tags, "limit": str(TRACES_MAX)}
        return _data(self._client.get("/api/traces", params=parameters))


@contextmanager
def _is_jaegers() -> Iterator[None]:
    """Read an answer, which may be of anybody."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as strange:
        raise httpx.DecodingError(f"the answer is not Jaeger's ({type(strange).__name__})") from strange


def _data(response: httpx.Response) -> list[Any]:
    return response.raise_for_status().json()["data"] or []


def _records(trace: Json) -> Iterable[SpanRecord]:
    services = {process: each["serviceName"] for process, each in trace["processes"].items()}
    return (_record(span, services[span["processID"]]) for span in trace["spans"])


def _record(span: Json, service: str) -> SpanRecord:
    tags = _attributes(span["tags"])
    start_unix_nano = span["startTime"] * 1_000
    return SpanRecord(
        trace_id=span["traceID"].zfill(32),
        span_id=span["spanID"].zfill(16),
        parent_id=_parent_id(span),
        name=span["operationName"],
        kind=tags.get("span.kind", "internal"),
        service=service,
        start_unix_nano=start_unix_nano,
        end_unix_nano=start_unix_nano + span["duration"] * 1_000,
        status=tags.get("otel.status_code", "unset").lower(),
        status_message=tags.get("otel.status_description", ""),
        attributes={key: value for key, value in tags.items() if key not in OF_THE_PROTOCOL},
        links=tuple(SpanLink(each["traceID"].zfill(32), each["spanID"].zfill(16)) for each in _links(span)),
        events=tuple(map(_event, span["logs"] or ())),
    )


def _parent_id(span: Json) -> str:
    """The reference CHILD_OF; Jaeger keeps a parent that is linked to as well only as FOLLOWS_FROM."""
    own = [each for each in span["references"] if each["traceID"] == span["traceID"]]
    own.sort(key=lambda each: each["refType"] != "CHILD_OF")
    return own[0]["spanID"].zfill(16) if own else ""


def _links(span: Json) -> Iterable[Json]:
    return (each for each in span["references"] if each["refType"] == "FOLLOWS_FROM")


def _event(entry: Json) -> SpanEvent:
    fields = _attributes(entry["fields"])
    return SpanEvent(fields.pop("event", ""), entry["timestamp"] * 1_000, fields)


def _attributes(tags: Iterable[Json]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in tags}
