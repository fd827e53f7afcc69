"""The spans of a local mesh in one SQLite file: OTLP requests are kept as they came, compressed, each with the ids of
its traces beside it. One process writes, any number read at the same time (WAL)."""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from jetmesh.operate.span_record import CONVERSATION_ID, SpanEvent, SpanLink, SpanRecord, UnreadableTraces

SPANS_MAX = 2_000_000
"""About 80,000 stories of the reference mesh."""
EVICTED_SHARE = 0.05
"""Removed at once when the store is full: each time looks through all conversations, so it is done rarely."""
TRACE_ID_BYTES = 16
KINDS = dict(enumerate(("unspecified", "internal", "server", "client", "producer", "consumer")))
STATUSES = dict(enumerate(("unset", "ok", "error")))

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, spans INTEGER NOT NULL, trace_ids BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS conversations (
    conversation_id TEXT NOT NULL, trace_id BLOB NOT NULL, last_request INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, trace_id)
) WITHOUT ROWID;
"""
MENTION = """
INSERT INTO conversations VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET last_request = excluded.last_request
"""
LAST_TO_GO = """
SELECT max(id) FROM (SELECT id, sum(spans) OVER (ORDER BY id DESC) AS since FROM requests)
WHERE since > ? AND id < (SELECT max(id) FROM requests)
"""


class MalformedSpans(ValueError):
    """The body is no OTLP request for traces; the message says what is wrong with it."""


class Damaged(UnreadableTraces):
    """The file holds no traces; the text names it and the fix."""


class TraceWriter:
    """Keeps the most recent spans; calls come from one thread at a time."""

    def __init__(self, path: Path, spans_max: int = SPANS_MAX) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._spans_max = spans_max
        with _sound(path):
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            # A power cut may cost the last spans, never the file.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(SCHEMA)
            self.spans = self._count()

    def add(self, body: bytes) -> None:
        """Keeps one OTLP request for traces, whole or not at all. Raises ``MalformedSpans``."""
        spans = [span for _, span in _spans(_parsed(body))]
        if any(len(span.trace_id) != TRACE_ID_BYTES for span in spans):
            raise MalformedSpans(f"a trace_id has not {TRACE_ID_BYTES} bytes")
        if spans:
            with self._database:
                self._database.execute("BEGIN")
                self._insert(spans, body)
            self.spans += len(spans)
        if self.spans > self._spans_max:
            self._evict()

    def close(self) -> None:
        """Ends writing; readers go on."""
        self._database.close()

    def _insert(self, spans: list[Span], body: bytes) -> None:
        trace_ids = b"".join({span.trace_id for span in spans})
        conversations = {(name, span.trace_id) for span in spans if (name := _conversation(span))}
        row = self._database.execute("INSERT INTO requests VALUES (NULL, ?, ?)", (len(spans), trace_ids)).lastrowid
        self._database.execute("INSERT INTO bodies VALUES (?, ?)", (row, zlib.compress(body, 1)))
        self._database.executemany(MENTION, ((*pair, row) for pair in conversations))

    def _evict(self) -> None:
        """Removes the oldest requests; the newest one always stays."""
        share = self._spans_max * (1 - EVICTED_SHARE)
        with self._database:
            self._database.execute("BEGIN")
            [(last,)] = self._database.execute(LAST_TO_GO, (share,))
            self._database.execute("DELETE FROM requests WHERE id <= ?", (last,))
            self._database.execute("DELETE FROM bodies WHERE id <= ?", (last,))
            self._database.execute("DELETE FROM conversations WHERE last_request <= ?", (last,))
        self.spans = self._count()

    def _count(self) -> int:
        return int(self._database.execute("SELECT coalesce(sum(spans), 0) FROM requests").fetchone()[0])


class TraceStore:
    """Reads what another process writes; implements ``Traces``. Raises ``FileNotFoundError`` where no store is, and
    ``Damaged`` where the file is something else."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no trace store at {path}")
        self._path = path
        self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._database.close()

    def spans_of(self, trace_id: str) -> list[SpanRecord]:
        """Every kept span of the trace, by start. Looks through the ids of all requests: some 10 ms in a full store."""
        wanted = bytes.fromhex(trace_id)
        kept = self._kept("JOIN requests USING (id) WHERE instr(trace_ids, ?)", wanted)
        spans = {span.span_id: _record(service, span) for service, span in kept if span.trace_id == wanted}
        return sorted(spans.values(), key=lambda span: span.start_unix_nano)

    def trace_ids_of(self, conversation_id: str) -> list[str]:
        """The traces with a span about this conversation (an order's id); a healthy order has exactly one."""
        query = "SELECT trace_id FROM conversations WHERE conversation_id = ? ORDER BY trace_id"
        with _sound(self._path):
            return [trace_id.hex() for (trace_id,) in self._database.execute(query, (conversation_id,))]

    def spans(self) -> Iterator[SpanRecord]:
        """Every kept span in order of arrival, one at a time. A span whose exporter sent it again (its first answer was
        lost) comes twice."""
        return (_record(service, span) for service, span in self._kept())

    def ids(self) -> set[tuple[str, str]]:
        """Trace and span id of every kept span."""
        return {(span.trace_id.hex(), span.span_id.hex()) for _, span in self._kept()}

    def _kept(self, condition: str = "", *parameters: bytes) -> Iterator[tuple[str, Span]]:
        query = f"SELECT body FROM bodies {condition} ORDER BY id"
        with _sound(self._path):
            for (body,) in self._database.execute(query, parameters):
                # Earlier versions kept gzip as it came: 32 tells zlib to take either.
                yield from _spans(_parsed(zlib.decompress(body, 32 + zlib.MAX_WBITS)))


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, zlib.error) as error:
        raise Damaged(
            f"the traces {path} can't be used ({error}): move the file away, and new ones are kept"
        ) from error


def _parsed(body: bytes) -> ExportTraceServiceRequest:
    try:
        return ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise MalformedSpans("the body is no ExportTraceServiceRequest") from error


def _spans(request: ExportTraceServiceRequest) -> Iterator[tuple[str, Span]]:
    """Each span, and the service that it is of."""
    for resource_spans in request.resource_spans:
        names = (each.value.string_value for each in resource_spans.resource.attributes if each.key == "service.name")
        service = next(names, "unknown_service")
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield service, span


def _conversation(span: Span) -> str:
    return next((each.value.string_value for each in span.attributes if each.key == CONVERSATION_ID), "")


def _record(service: str, span: Span) -> SpanRecord:
    return SpanRecord(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        KINDS.get(span.kind, "unspecified"),
        service,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        STATUSES.get(span.status.code, "unset"),
        span.status.message,
        _attributes(span.attributes),
        tuple(SpanLink(each.trace_id.hex(), each.span_id.hex(), _attributes(each.attributes)) for each in span.links),
        tuple(SpanEvent(each.name, each.time_unix_nano, _attributes(each.attributes)) for each in span.events),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


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
