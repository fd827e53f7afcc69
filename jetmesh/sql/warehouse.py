"""A warehouse: every event once, in one DuckDB file, to be asked in SQL."""

import asyncio
import fcntl
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TextIO, TypeVar

from jetmesh.common.extras import brought_by
from jetmesh.event import Recorded
from jetmesh.sql.files import Unusable, usable

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger("jetmesh")

T = TypeVar("T")
AnswerRow = dict[str, Any]

STAND_BY_SECONDS = 0.5
# DuckDB takes 80 % of the machine's memory and all its cores if nothing limits it; a question may spill to the disk.
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
    """The store of a sink, in one DuckDB file: the table `events` has every event once, whatever comes twice or in
    another order, and without what a restore has undone. One process writes it; DuckDB works in a thread of its own.

    The columns: stream, sequence, type, key, time (UTC), id, source, trace_id, causation_id, data (JSON).
    """

    def __init__(self, path: Path, views: str = "") -> None:
        """Opens the file and runs `views`, such as CREATE TEMP VIEW. Raises WarehouseBusy, Unusable."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path)
        try:
            self._db = _connect(path, SCHEMA + views)
            with _usable(path):
                self._histories = _known_histories(self._db)
        except BaseException:
            self._lock.close()
            raise
        self._last: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warehouse")

    @classmethod
    @asynccontextmanager
    async def held(cls, path: Path, views: str = "") -> AsyncIterator[Self]:
        """The warehouse at `path` for the block, which begins once no other process has it. `views` is SQL that is run
        first, such as CREATE TEMP VIEW.

        Raises:
            Unusable: the file is damaged, or somebody else's.
        """
        warehouse = await cls._taken(path, views)
        try:
            yield warehouse
        finally:
            await warehouse.aclose()

    @classmethod
    async def open(cls, path: Path, views: str = "") -> Self:
        """The warehouse at `path`, to be closed with `aclose`.

        Raises:
            WarehouseBusy: another process has it.
            Unusable: the file is damaged, or somebody else's.
        """
        return await asyncio.to_thread(cls, path, views)

    @staticmethod
    def read(path: Path, queries: Mapping[str, str], views: str = "") -> dict[str, list[AnswerRow]]:
        """The rows that answer each query, from a file that no process has open.

        Raises:
            WarehouseBusy: one has: ask that one.
            Unusable: the file is damaged, or somebody else's.
        """
        with _connect(path, views, read_only=True) as db, _usable(path):
            return _answers(db, queries)

    async def store(self, batch: Sequence[Recorded]) -> int:
        """Store what is new of the batch, in one transaction; how many were new.

        Raises:
            duckdb.Error: nothing of the batch is stored.
        """
        return await self._run(lambda: self._store(batch))

    async def answers(self, queries: Mapping[str, str]) -> dict[str, list[AnswerRow]]:
        """The rows that answer each query, all of the same events."""
        return await self._run(lambda: _answers(self._db, queries))

    async def aclose(self) -> None:
        """Finish what is under way and let go of the file."""
        await self._run(self._db.close)
        self._thread.shutdown()
        self._lock.close()

    @classmethod
    async def _taken(cls, path: Path, views: str) -> Self:
        standing_by = False
        while True:
            try:
                return await cls.open(path, views)
            except WarehouseBusy:
                if not standing_by:
                    log.info("another process has %s: standing by", path)
                standing_by = True
                await asyncio.sleep(STAND_BY_SECONDS)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _store(self, batch: Sequence[Recorded]) -> int:
        for stream, event in {event.stream: event for event in batch}.items():
            if event.history.born and (now := KnownHistory.of(event)) != self._histories.get(stream):
                self._follow(stream, now)
        fresh = self._fresh(batch)
        if fresh:
            with _transaction(self._db):
                self._db.execute(INSERT, _columns(fresh))
            for event in fresh:
                self._last[event.stream] = max(self._last[event.stream], event.sequence)
        return len(fresh)

    def _follow(self, stream: str, now: KnownHistory) -> None:
        """The stream was restored, or made anew: what was undone goes."""
        before = self._histories.get(stream, KnownHistory(0, ()))
        later_us = before.born_us if before.born_us > now.born_us else NEVER_US
        with _transaction(self._db):
            for at_us, kept in set(now.restorations) - set(before.restorations):
                self._db.execute(UNDONE, [stream, at_us, kept, now.born_us, later_us])
            row = [stream, now.born_us, json.dumps(now.restorations)]
            self._db.execute("INSERT OR REPLACE INTO histories VALUES ($1, $2, $3)", row)
        self._histories[stream] = now

    def _fresh(self, batch: Sequence[Recorded]) -> list[Recorded]:
        """The events that are not stored yet, each once; what stands behind all others needs no look-up."""
        once = {(event.stream, event.sequence, _microseconds(event)): event for event in batch}
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


def _lock(path: Path) -> TextIO:
    """The writer's lock beside the file; within one process DuckDB itself would share the file between two writers."""
    file = path.with_name(f"{path.name}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise WarehouseBusy(f"{path} is held by another process") from error
    return file


def _connect(path: Path, script: str, *, read_only: bool = False) -> "duckdb.DuckDBPyConnection":
    """A connection to the file, on which the script has run. Raises WarehouseBusy, Unusable."""
    with brought_by("warehouse", "jetmesh.sql.Warehouse"):
        import duckdb
    if "\\" in str(path.absolute()):
        raise Unusable(
            f"the warehouse {path} has a backslash in its path, which DuckDB takes for a slash: name another"
        )
    with _usable(path):
        try:
            db = duckdb.connect(path, read_only=read_only, config=CONFIG)
        except duckdb.IOException as error:
            if "lock" in str(error):
                raise WarehouseBusy(f"{path} is held by another process") from error
            raise
        return db.execute(script) if script else db


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    import duckdb

    with usable(path, "the warehouse", duckdb.Error):
        yield


@contextmanager
def _transaction(db: "duckdb.DuckDBPyConnection") -> Iterator[None]:
    """Everything inside or nothing."""
    import duckdb

    db.begin()
    try:
        yield
        db.commit()
    except BaseException:
        # A commit that failed has rolled back already.
        with suppress(duckdb.TransactionException):
            db.rollback()
        raise


def _known_histories(db: "duckdb.DuckDBPyConnection") -> dict[str, KnownHistory]:
    """The histories that the file follows."""
    rows = db.execute("SELECT stream, born_us, restorations FROM histories").fetchall()
    return {
        stream: KnownHistory(born, tuple((at, kept) for at, kept in json.loads(undone)))
        for stream, born, undone in rows
    }


def _columns(events: Sequence[Recorded]) -> list[list[Any]]:
    """The events as INSERT's lists, one a column."""
    rows = [(*event[:4], _microseconds(event), *event[5:9], event.data.decode("utf-8", "replace")) for event in events]
    return [list(column) for column in zip(*rows, strict=True)]


def _microseconds(event: Recorded) -> int:
    """When an event was stored, Unix time."""
    return round(event.time.timestamp() * 1_000_000)


def _answers(db: "duckdb.DuckDBPyConnection", queries: Mapping[str, str]) -> dict[str, list[AnswerRow]]:
    """The rows that answer each query."""
    return {name: _rows(db.execute(query)) for name, query in queries.items()}


def _rows(result: "duckdb.DuckDBPyConnection") -> list[AnswerRow]:
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
