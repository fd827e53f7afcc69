"""The archive: a folder of Parquet files by day, written once, for DuckDB or any other reader.

`DIR/day=2026-11-27/<time of writing>.parquet`. A file is written and synced under a temporary name, read back,
compared, and then renamed. A temporary file that a crash left is removed by the next writer.
"""

import fcntl
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from jetmesh.common.extras import brought_by
from jetmesh.common.fsync import to_disk
from jetmesh.history import UNKNOWN, History
from jetmesh.jetstream.delivery import Position
from jetmesh.operate.archive.row import Row

CONFIG: dict[str, str | bool | int | float | list[str]] = {"memory_limit": "512MB", "threads": 1}
PARTIAL = ".partial"
FILES = "day=*/*.parquet"
TABLE = """
CREATE TEMP TABLE page (key VARCHAR NOT NULL, stream VARCHAR NOT NULL, sequence UBIGINT NOT NULL,
    time TIMESTAMP_NS NOT NULL, subject VARCHAR NOT NULL, trace_id VARCHAR NOT NULL, headers BLOB NOT NULL,
    data BLOB NOT NULL)
"""
INSERT = """
INSERT INTO page SELECT unnest($1), unnest($2), unnest($3::UBIGINT[]), make_timestamp_ns(unnest($4::BIGINT[])),
    unnest($5), unnest($6), unnest($7::BLOB[]), unnest($8::BLOB[])
"""
COPY = "COPY (FROM page ORDER BY key, time, stream, sequence) TO '{}' (FORMAT parquet, COMPRESSION zstd)"
SELECT = "SELECT key, stream, sequence, epoch_ns(time), subject, headers, data FROM read_parquet($files)"
SOME = f"{SELECT} WHERE key IN (SELECT unnest($keys)) ORDER BY time, stream, sequence"
# Limited by sequence as well: one level may have a million rows.
KNOWN = f"{SELECT} WHERE key IN (SELECT unnest($keys)) AND sequence BETWEEN $first AND $last"

AT = f"{SELECT} WHERE stream = $stream AND sequence = $sequence"
FITS = """
WHERE ($key = '' OR key = $key) AND starts_with(subject, $type) AND ($trace = '' OR trace_id = $trace)
    AND time >= make_timestamp_ns($since) AND time < make_timestamp_ns($until)
    AND (time, stream, sequence) < (make_timestamp_ns($time), $stream, $sequence::UBIGINT)
"""
NEWEST = f"{SELECT} {FITS} ORDER BY time DESC, stream DESC, sequence DESC LIMIT $count"
COUNT = f"SELECT count(*) FROM read_parquet($files) {FITS}"


class ArchiveError(ValueError):
    """The archive can't be used, or its contents are wrong; the text says what to do."""


class Archive:
    """The files in a folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        """Raises MissingExtra where DuckDB is not installed."""
        with brought_by("archive", "an archive"):
            import duckdb  # here, because it costs a process 24 MB, and services have no archive
        if "\\" in str(folder.absolute()):
            raise ArchiveError(f"the archive {folder} has a backslash in its path, which DuckDB reads as a slash")
        self.folder = folder
        self._histories: dict[str, History] = {}
        self._db = duckdb.connect(config={**CONFIG, "temp_directory": str(folder / ".spill")})
        self._error = duckdb.Error
        self._db.execute("SET TimeZone = 'UTC'")

    @property
    def exists(self) -> bool:
        """Whether anything was ever written to it."""
        return any(self.folder.glob(FILES))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the folder for one writer, and remove the temporary files of a writer that crashed.

        Raises:
            ArchiveError: another process writes, or the folder can't be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise ArchiveError(f"the archive {self.folder} can't be written: {error}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ArchiveError(
                    f"another `jetmesh archive` writes to {self.folder}: wait until it is done"
                ) from None
            for leftover in self.folder.glob(f"day=*/*{PARTIAL}"):
                leftover.unlink()
            yield

    def follow(self, histories: Mapping[str, History]) -> None:
        """From now on, leave out the rows that a later restore of their stream has undone."""
        self._histories = dict(histories)

    def all(self) -> list[Row]:
        """Every row, oldest first."""
        return self._rows(f"{SELECT} ORDER BY time, stream, sequence")

    def of(self, keys: Iterable[str]) -> list[Row]:
        """The rows of these keys, oldest first."""
        return self._rows(SOME, keys=list(keys))

    def newest(self, count: int, wanted: Mapping[str, object]) -> list[Row]:
        """So many of the newest rows that are as wanted (`FITS`), also those that a restore has undone."""
        return self._files_read(NEWEST, count=count, **wanted)

    def count(self, wanted: Mapping[str, object]) -> int:
        """How many rows are as wanted."""
        files = self._files()
        try:
            return int(self._db.execute(COUNT, {"files": files, **wanted}).fetchall()[0][0]) if files else 0
        except self._error as error:
            raise self._unreadable(error) from None

    def at(self, stream: str, sequence: int) -> Row | None:
        """The row of this position, in the present life of its stream."""
        return next(iter(self._rows(AT, stream=stream, sequence=sequence)), None)

    def holds(self, row: Row) -> bool:
        """Whether no restore of its stream has undone the row."""
        return self._history(row).holds(row.sequence, row.time_ns / 1e9)

    def keep(self, rows: Sequence[tuple[Row, str]]) -> list[Row]:
        """Write each row that is not archived yet under its day, and check that all can be read back; returns the new
        ones.

        Raises:
            ArchiveError: the rows that were read back differ. Nothing may be purged then.
        """
        known = self._known([row for row, _ in rows])
        by_day: dict[str, list[Row]] = defaultdict(list)
        for row, day in rows:
            if row.position not in known:
                by_day[day].append(row)
            elif known[row.position] != row:
                raise ArchiveError(
                    f"{self.folder} holds another message as {row.stream} {row.sequence} "
                    f"({known[row.position].subject}, not {row.subject}): it is the archive "
                    f"of another broker; name another folder for this one"
                )
        for day, new in sorted(by_day.items()):
            self._write(self.folder / f"day={day}", new)
        return [row for new in by_day.values() for row in new]

    def _known(self, rows: Sequence[Row]) -> dict[Position, Row]:
        """The archived rows at the positions of these rows, in the present life of their streams."""
        keys, sequences = {row.key for row in rows}, [row.sequence for row in rows]
        first, last = min(sequences, default=0), max(sequences, default=0)
        found = self._rows(KNOWN, keys=list(keys), first=first, last=last)
        return {row.position: row for row in found if row.time_ns / 1e9 >= self._history(row).born}

    def _write(self, folder: Path, rows: Sequence[Row]) -> None:
        """One file: written under a temporary name, synced, compared, and then renamed."""
        folder.mkdir(exist_ok=True)
        final = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.parquet"
        partial = final.with_name(final.name + PARTIAL)
        self._db.execute(f"DROP TABLE IF EXISTS page; {TABLE}")
        self._db.execute(INSERT, _columns(rows))
        self._db.execute(COPY.format(str(partial).replace("'", "''")))
        to_disk(partial)
        self._compare(partial, rows)
        partial.rename(final)
        to_disk(folder)
        to_disk(self.folder)

    def _compare(self, file: Path, rows: Sequence[Row]) -> None:
        written = {row.position: row for row in self._read(SELECT, files=[str(file)])}
        if written != {row.position: row for row in rows}:
            raise ArchiveError(f"{file} does not hold the rows that were written to it: check the disk")

    def _rows(self, query: str, **parameters: object) -> list[Row]:
        return [row for row in self._files_read(query, **parameters) if self.holds(row)]

    def _files(self) -> list[str]:
        return [str(file) for file in sorted(self.folder.glob(FILES))]

    def _files_read(self, query: str, **parameters: object) -> list[Row]:
        files = self._files()
        return self._read(query, files=files, **parameters) if files else []

    def _history(self, row: Row) -> History:
        return self._histories.get(row.stream, UNKNOWN)

    def _read(self, query: str, **parameters: object) -> list[Row]:
        try:
            return [Row(*values) for values in self._db.execute(query, parameters).fetchall()]
        except self._error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> ArchiveError:
        return ArchiveError(f"the archive {self.folder} can't be read: {error}")


def _columns(rows: Sequence[Row]) -> list[list[object]]:
    return [
        [row.key for row in rows],
        [row.stream for row in rows],
        [row.sequence for row in rows],
        [row.time_ns for row in rows],
        [row.subject for row in rows],
        [row.trace_id for row in rows],
        [row.headers for row in rows],
        [row.data for row in rows],
    ]
