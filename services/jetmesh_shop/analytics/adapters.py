"""The world outside analytics: the warehouse, one DuckDB file with every event once."""

import asyncio
import fcntl
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO, TypeVar

import duckdb

from jetmesh import Recorded
from jetmesh_shop.analytics.queries import ORDERS, QUERIES
from jetmesh_shop.files import Unusable, usable

T = TypeVar("T")
Row = dict[str, Any]

# DuckDB takes 80 % of the machine's memory and all its cores if nothing limits it; a report may spill to the disk.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "64MB",
    "threads": 1,
    "autoinstall_known_extensions": False,
}
"""A file of another kind is damaged: nothing is fetched from the network to read it all the same."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    stream VARCHAR NOT NULL, sequence BIGINT NOT NULL, type VARCHAR NOT NULL, key VARCHAR NOT NULL,
    time TIMESTAMP NOT NULL, id VARCHAR NOT NULL, source VARCHAR NOT NULL, trace_id VARCHAR,
    causation_id VARCHAR, data JSON NOT NULL
);
CREATE TABLE IF NOT EXISTS histories (stream VARCHAR PRIMARY KEY, born_us BIGINT NOT NULL, restorations JSON NOT NULL);
"""
# One list a column: a row costs 7 µs so, and 1.6 ms with executemany (measured). What is no JSON is kept as a string.
INSERT = """
INSERT INTO events
SELECT stream, sequence, type, key, make_timestamp(time_us), id, source, trace_id, causation_id,
    CASE WHEN json_valid(data) THEN data ELSE to_json(data) END
FROM (SELECT unnest($1) AS stream, unnest($2::BIGINT[]) AS sequence, unnest($3) AS type, unnest($4) AS key,
    unnest($5::BIGINT[]) AS time_us, unnest($6) AS id, unnest($7) AS source, unnest($8) AS trace_id,
    unnest($9) AS causation_id, unnest($10) AS data)
"""
LAST = "SELECT max(sequence) FROM events WHERE stream = $1"
UNDONE = """
DELETE FROM events WHERE stream = $1 AND epoch_us(time) < $2
    AND ((sequence > $3 AND epoch_us(time) >= $4) OR epoch_us(time) >= $5)
"""
# Redeliveries are found by where they stand and when they were stored: another life has others under these sequences.
KNOWN = """
SELECT stream, sequence, epoch_us(time) FROM events
WHERE sequence BETWEEN list_min($2::BIGINT[]) AND list_max($2::BIGINT[])
    AND (stream, sequence) IN (SELECT unnest($1), unnest($2::BIGINT[]))
"""
SAME_US = 1_000
"""Rows that were loaded from files may have been rounded."""
NEVER_US = 1 << 62


class KnownHistory(NamedTuple):
    """A row of `histories`: what is known of a stream's history, in microseconds."""

    born_us: int
    restorations: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, event: Recorded) -> Self:
        """What an event tells of its stream."""
        history = event.history
        restorations = tuple((round(at * 1_000_000), kept) for at, kept in history.restorations)
        return cls(int(history.born * 1_000_000), restorations)


class WarehouseBusy(Exception):
    """Another process has the warehouse's file: stand by and try again."""


class Warehouse:
    """Every event once, whatever comes twice or in another order. DuckDB works in one thread, off the event loop."""

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises WarehouseBusy where another holds it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock(path)
        try:
            with usable(path, "the warehouse", duckdb.Error):
                self._db = connect(path)
                self._db.execute(SCHEMA)
                self._db.execute(ORDERS)
                self._histories = known_histories(self._db)
        except BaseException:
            self._lock.close()
            raise
        self._last: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warehouse")

    @classmethod
    async def open(cls, path: Path) -> Self:
        """The warehouse at `path`, opened off the event loop. Raises WarehouseBusy where another process holds it."""
        return await asyncio.to_thread(cls, path)

    async def store(self, batch: Sequence[Recorded]) -> int:
        """Store what is new of the batch, in one transaction; how many were new.

        Raises:
            duckdb.Error: nothing of the batch is stored.
        """
        return await self._run(lambda: self._store(batch))

    async def answer(self, query: str) -> list[Row]:
        """The rows that answer one of QUERIES. Raises KeyError where there is none of that name."""
        return await self._run(lambda: ask(self._db, query))

    async def report(self) -> dict[str, list[Row]]:
        """The answers to all of QUERIES, as JSON can carry them."""
        return await self._run(lambda: ask_all(self._db))

    async def aclose(self) -> None:
        """Finish what is under way and let go of the file."""
        await self._run(self._db.close)
        self._thread.shutdown()
        self._lock.close()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _store(self, batch: Sequence[Recorded]) -> int:
        for stream, event in {event.stream: event for event in batch}.items():
            if event.history.born and (now := KnownHistory.of(event)) != self._histories.get(stream):
                self._follow(stream, now)
        fresh = self._fresh(batch)
        if fresh:
            with transaction(self._db):
                self._db.execute(INSERT, columns(fresh))
            for event in fresh:
                self._last[event.stream] = max(self._last[event.stream], event.sequence)
        return len(fresh)

    def _follow(self, stream: str, now: KnownHistory) -> None:
        """The stream was restored, or made anew: what was undone goes."""
        before = self._histories.get(stream, KnownHistory(0, ()))
        later_us = before.born_us if before.born_us > now.born_us else NEVER_US
        with transaction(self._db):
            for at_us, kept in set(now.restorations) - set(before.restorations):
                self._db.execute(UNDONE, [stream, at_us, kept, now.born_us, later_us])
            row = [stream, now.born_us, json.dumps(now.restorations)]
            self._db.execute("INSERT OR REPLACE INTO histories VALUES ($1, $2, $3)", row)
        self._histories[stream] = now

    def _fresh(self, batch: Sequence[Recorded]) -> list[Recorded]:
        """The events that are not stored yet, each once; what stands behind all others needs no look-up."""
        once = {(event.stream, event.sequence, microseconds(event)): event for event in batch}
        again = [place for place in once if place[1] <= self._last_of(place[0])]
        kept = self._times(again) if again else {}
        known = {place for place in again if any(abs(place[2] - at) <= SAME_US for at in kept[place[:2]])}
        return [event for place, event in once.items() if place not in known]

    def _last_of(self, stream: str) -> int:
        """The largest sequence that was ever stored of the stream."""
        if stream not in self._last:
            ((last,),) = self._db.execute(LAST, [stream]).fetchall()
            self._last[stream] = -1 if last is None else last
        return self._last[stream]

    def _times(self, places: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int], list[int]]:
        """When the events were stored that are kept at these places."""
        streams, sequences, _ = zip(*places, strict=True)
        found: dict[tuple[str, int], list[int]] = defaultdict(list)
        for stream, sequence, at in self._db.execute(KNOWN, [list(streams), list(sequences)]).fetchall():
            found[stream, sequence].append(at)
        return found


def lock(path: Path) -> TextIO:
    """The writer's lock beside the file; within one process DuckDB itself would share the file between two writers."""
    file = path.with_name(f"{path.name}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise WarehouseBusy(f"{path} is held by another analytics") from error
    return file


def connect(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to the file.

    Raises:
        WarehouseBusy: another process holds it.
        Unusable: it is damaged, or somebody else's.
    """
    if "\\" in str(path.absolute()):
        raise Unusable(
            f"the warehouse {path} has a backslash in its path, which DuckDB takes for a slash: name another"
        )
    with usable(path, "the warehouse", duckdb.Error):
        try:
            return duckdb.connect(path, read_only=read_only, config=CONFIG)
        except duckdb.IOException as error:
            if "lock" in str(error):
                raise WarehouseBusy(f"{path} is held by another process") from error
            raise


def known_histories(db: duckdb.DuckDBPyConnection) -> dict[str, KnownHistory]:
    """The histories that the file follows."""
    rows = db.execute("SELECT stream, born_us, restorations FROM histories").fetchall()
    return {
        stream: KnownHistory(born, tuple((at, kept) for at, kept in json.loads(undone)))
        for stream, born, undone in rows
    }


@contextmanager
def transaction(db: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Everything inside or nothing."""
    db.begin()
    try:
        yield
        db.commit()
    except BaseException:
        # A commit that failed has rolled back already.
        with suppress(duckdb.TransactionException):
            db.rollback()
        raise


def columns(events: Sequence[Recorded]) -> list[list[Any]]:
    """The events as INSERT's lists, one a column."""
    rows = [(*event[:4], microseconds(event), *event[5:9], event.data.decode("utf-8", "replace")) for event in events]
    return [list(column) for column in zip(*rows, strict=True)]


def microseconds(event: Recorded) -> int:
    """When an event was stored, Unix time."""
    return round(event.time.timestamp() * 1_000_000)


def ask(db: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    """The rows that answer one of QUERIES."""
    result = db.execute(QUERIES[query])
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def ask_all(db: duckdb.DuckDBPyConnection) -> dict[str, list[Row]]:
    """The answers to all of QUERIES."""
    return {query: ask(db, query) for query in QUERIES}


def read_report(path: Path) -> dict[str, list[Row]]:
    """The report from a file that no analytics has open. Raises WarehouseBusy where one has: ask that one."""
    with usable(path, "the warehouse", duckdb.Error), connect(path, read_only=True) as db:
        db.execute(ORDERS)
        return ask_all(db)
