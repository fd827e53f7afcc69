"""Spans asked for at Jaeger's HTTP API (the one behind its own pages), read as the same records."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import urlencode

from jetmesh.common.http import NO_ANSWER, get
from jetmesh.operate.span_record import CONVERSATION_ID, SpanEvent, SpanLink, SpanRecord, UnreadableTraces

TIMEOUT_SECONDS = 10.0
TRACES_MAX = 20
OF_THE_PROTOCOL = {"span.kind", "otel.status_code", "otel.status_description", "error"}
"""Tags that Jaeger makes of a span's fields; a record has the fields themselves."""

Json = Mapping[str, Any]


class JaegerTraces:
    """Implements `Traces`. A search covers the last two days (Jaeger's own default)."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing: no connection outlives its answer."""

    def spans_of(self, trace_id: str) -> list[SpanRecord]:
        """Every span of the trace, by start; empty for a trace that Jaeger does not have."""
        with self._readable():
            try:
                found = _data(get(f"{self._url}/api/traces/{trace_id}", TIMEOUT_SECONDS))
            except HTTPError as refused:
                if refused.code == HTTPStatus.NOT_FOUND:
                    return []
                raise
            spans = [span for trace in found for span in _records(trace)]
            return sorted(spans, key=lambda span: span.start_unix_nano)

    def trace_ids_of(self, conversation_id: str) -> list[str]:
        """The traces with a span about this conversation, in whichever service (Jaeger searches one at a time)."""
        tags = json.dumps({CONVERSATION_ID: conversation_id})
        with self._readable():
            services = sorted(_data(get(f"{self._url}/api/services", TIMEOUT_SECONDS)))
            found = [self._search(service, tags) for service in services]
            return sorted({trace["traceID"].zfill(32) for traces in found for trace in traces})

    def _search(self, service: str, tags: str) -> list[Json]:
        query = urlencode({"service": service, "tags": tags, "limit": TRACES_MAX})
        return _data(get(f"{self._url}/api/traces?{query}", TIMEOUT_SECONDS))

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Read an answer; another program may have sent it, or none."""
        try:
            yield
        except NO_ANSWER as nobody:
            raise UnreadableTraces(f"JETMESH_JAEGER_URL: no spans of Jaeger at {self._url}: {nobody}") from nobody
        except (LookupError, TypeError, AttributeError) as strange:
            words = f"{self._url} answers, and not as Jaeger does ({type(strange).__name__})"
            raise UnreadableTraces(f"JETMESH_JAEGER_URL: {words}") from strange


def _data(answer: bytes) -> list[Any]:
    return json.loads(answer)["data"] or []


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
