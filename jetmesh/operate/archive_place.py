"""The archive as a place to search: its rows by time, the newest first."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from datetime import datetime

from jetmesh.jetstream.direct_get import Stored
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive.row import Row
from jetmesh.operate.message_search import PAGE, Wanted, about_of

NAME = "archive"
AT = re.compile(r"(\d{1,18})-(\d{1,18})-([\w-]+)")
LAST = 2**62
"""A time after all others, in nanoseconds since 1970."""


def _all(_: str, __: str) -> bool:
    return True


class ArchivePlace:
    """The rows of an archive that may fit; of an archive that several apps share those alone that are `shown`, by
    stream and subject."""

    def __init__(
        self, archive: Archive, wanted: Wanted, at: str = "", shown: Callable[[str, str], bool] = _all
    ) -> None:
        self.name, self.at, self._at = NAME, at, at
        self.about = about_of
        self._archive, self._wanted, self._shown = archive, wanted, shown
        self._buffer, self._is_over = deque[Row](), False

    async def open(self) -> int:
        """How many rows are left."""
        return await asyncio.to_thread(self._archive.count, self._bounds())

    async def newest(self) -> tuple[str, Stored] | None:
        """From the rows at hand, else from the next ones."""
        while not self._buffer and not self._is_over:
            rows = await asyncio.to_thread(self._archive.newest, PAGE, self._bounds())
            self._is_over = len(rows) < PAGE
            self._at = _place(rows[-1]) if rows else self._at
            self._buffer.extend(
                row for row in rows if self._shown(row.stream, row.subject) and self._archive.holds(row)
            )
        return (self._buffer[0].stream, self._buffer[0].stored()) if self._buffer else None

    def take(self) -> None:
        """Go past it."""
        self.at = _place(self._buffer.popleft())

    def _bounds(self) -> dict[str, object]:
        """What the rows shall be like, for the question to the archive."""
        wanted, found = self._wanted, AT.fullmatch(self._at)
        time_ns, sequence, stream = found.groups() if found else (LAST, 0, "")
        return {
            "key": wanted.key, "type": f"{wanted.type}." if wanted.type else "", "trace": wanted.trace,
            "since": _nano(wanted.since, 0), "until": _nano(wanted.until, LAST),
            "time": int(time_ns), "stream": stream, "sequence": int(sequence),
        }  # fmt: skip


def _place(row: Row) -> str:
    return f"{row.time_ns}-{row.sequence}-{row.stream}"


def _nano(time: datetime | None, otherwise: int) -> int:
    return int(time.timestamp() * 1e6) * 1_000 if time else otherwise
