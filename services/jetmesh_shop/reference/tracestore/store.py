"""The spans in one SQLite file: requests are kept as they came, compressed, each with the ids of its traces beside it.

One process writes, any number read at the same time (WAL).
"""

import sqlite3
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from jetmesh.operate.span_record import SpanRecord, UnreadableTraces
from jetmesh_shop.reference.tracestore.lens import contents_of, records_of

SPANS_MAX = 500_000
EVICTED_SHARE = 0.05
"""Removed at once when the store is full: each time looks through all conversations, so it is done rarely."""
REFRESH = 50
"""After how many requests a conversation that goes on is noted again; so long it may outlive its spans."""

ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS

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


class TraceWriter:
    """Keeps the most recent spans; calls come from one thread at a time."""

    def __init__(self, path: Path, spans_max: int = SPANS_MAX) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _sound(path):
            self._open(path, spans_max)

    def _open(self, path: Path, spans_max: int) -> None:
        self.spans_max = spans_max
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        # A power cut may cost the last spans, never the file.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(SCHEMA)
        self._kept: deque[tuple[int, int]] = deque(self._database.execute("SELECT id, spans FROM requests ORDER BY id"))
        self._mentioned: dict[tuple[str, bytes], int] = {}
        self.spans = sum(spans for _, spans in self._kept)

    def add(self, body: bytes, compressed: bytes | None = None) -> int:
        """Keeps one OTLP request for traces, whole or not at all; how many spans it held. Raises ``Malformed``.

        ``compressed`` is the same body as it came, where it came in gzip.
        """
        spans, trace_ids, conversations = contents_of(body)
        if not spans:
            return 0
        request = self._kept[-1][0] + 1 if self._kept else 1
        mentions = [pair for pair in conversations if request - self._mentioned.get(pair, -REFRESH) >= REFRESH]
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute("INSERT INTO requests VALUES (?, ?, ?)", (request, spans, b"".join(trace_ids)))
            self._database.execute("INSERT INTO bodies VALUES (?, ?)", (request, compressed or zlib.compress(body, 1)))
            self._database.executemany(MENTION, ((*pair, request) for pair in mentions))
        self._mentioned.update(dict.fromkeys(mentions, request))
        self._kept.append((request, spans))
        self.spans += spans
        self._evict()
        return spans

    def close(self) -> None:
        """Ends writing; readers go on."""
        self._database.close()

    def _evict(self) -> None:
        """Once there are too many spans, removes the oldest requests; the newest one always stays."""
        if self.spans <= self.spans_max:
            return
        last = 0
        while len(self._kept) > 1 and self.spans > self.spans_max * (1 - EVICTED_SHARE):
            last, spans = self._kept.popleft()
            self.spans -= spans
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM requests WHERE id <= ?", (last,))
            self._database.execute("DELETE FROM bodies WHERE id <= ?", (last,))
            self._database.execute("DELETE FROM conversations WHERE last_request <= ?", (last - REFRESH,))
        self._mentioned = {pair: request for pair, request in self._mentioned.items() if request > last - REFRESH}


class Damaged(UnreadableTraces):
    """The file holds no traces; the text names it and the fix."""


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, zlib.error) as error:
        raise Damaged(
            f"the traces {path} can't be used ({error}): move the file away, and new ones are kept"
        ) from error


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
        bodies = self._bodies("JOIN requests USING (id) WHERE instr(trace_ids, ?)", wanted)
        spans = (span for body in bodies for span in records_of(body, wanted))
        return sorted({span.span_id: span for span in spans}.values(), key=lambda span: span.start_unix_nano)

    def trace_ids_of(self, conversation_id: str) -> list[str]:
        """The traces with a span about this conversation (an order's id); a healthy order has exactly one."""
        query = "SELECT trace_id FROM conversations WHERE conversation_id = ? ORDER BY trace_id"
        with _sound(self._path):
            return [trace_id.hex() for (trace_id,) in self._database.execute(query, (conversation_id,))]

    def spans(self) -> Iterator[SpanRecord]:
        """Every kept span in order of arrival, one at a time, for audits of any size.

        A span whose exporter sent it again (its first answer was lost) comes twice.
        """
        return (span for body in self._bodies() for span in records_of(body))

    def spans_by_trace(self) -> dict[str, list[SpanRecord]]:
        """Every kept span under its trace's id, read in one pass; takes about 2 kB of memory a span."""
        traces: defaultdict[str, dict[str, SpanRecord]] = defaultdict(dict)
        for span in self.spans():
            traces[span.trace_id][span.span_id] = span
        return {trace_id: list(spans.values()) for trace_id, spans in traces.items()}

    def _bodies(self, condition: str = "", *parameters: bytes) -> Iterator[bytes]:
        query = f"SELECT body FROM bodies {condition} ORDER BY id"
        with _sound(self._path):
            yield from (zlib.decompress(body, ZLIB_OR_GZIP) for (body,) in self._database.execute(query, parameters))
