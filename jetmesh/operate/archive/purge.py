"""Purging: what is archived leaves the streams, and nothing else does.

Most of what is old has ended, so that the beginning of a stream goes in one call: everything of a type before the first
message of it that stays. The broker does tens of thousands a second so, and some hundreds one by one (measured, each on
the disk).
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jetmesh.jetstream.api import delete_message, request
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.archive.parquet import ArchiveError

AT_ONCE = 64
TIMEOUT_SECONDS = 600.0
MARK = "jetmesh.archived_until"
"""In the metadata of a stream: of stories that ended by then, no more than the markers may be here."""


@dataclass(slots=True)
class PurgeFilter:
    """What leaves one stream on the subjects of one filter."""

    stream: str
    subjects: str
    sequences: set[int] = field(default_factory=set)
    _seen_to: int = 0
    _stays_from: int | None = None

    def saw(self, sequence: int) -> None:
        """The stream was read up to here, in its order."""
        self._seen_to = sequence
        if self._stays_from is None and sequence not in self.sequences:
            self._stays_from = sequence

    @property
    def before(self) -> int:
        """Everything of the filter below this sequence leaves."""
        return self._seen_to + 1 if self._stays_from is None else self._stays_from

    async def purge(self, connection: Transport) -> int:
        """Remove it; how many messages that were.

        Raises:
            ArchiveError: the broker removed more than was archived.
            Unavailable: it does not answer; again is safe.
        """
        together = sum(sequence < self.before for sequence in self.sequences)
        removed = await self._purge_together(connection, together) if together else 0
        later = sorted(sequence for sequence in self.sequences if sequence >= self.before)
        for start in range(0, len(later), AT_ONCE):
            some = later[start : start + AT_ONCE]
            deletions = (delete_message(connection, self.stream, each, TIMEOUT_SECONDS) for each in some)
            removed += sum(await asyncio.gather(*deletions))
        return removed

    async def _purge_together(self, connection: Transport, archived: int) -> int:
        call, body = f"STREAM.PURGE.{self.stream}", {"filter": self.subjects, "seq": self.before}
        answer = await request(connection, call, body, strict=True, timeout_seconds=TIMEOUT_SECONDS)
        removed = int(answer["purged"])
        if removed > archived:
            raise ArchiveError(
                f"{self.stream}: {removed} messages of {self.subjects} were purged, {archived} are archived: restore "
                f"the others from a backup, and look for what else writes to this stream"
            )
        return removed


class Purge:
    """All that leaves, by stream and filter."""

    def __init__(self) -> None:
        self._by_filter: dict[tuple[str, str], PurgeFilter] = {}

    def __iter__(self) -> Iterator[PurgeFilter]:
        return iter([purging for purging in self._by_filter.values() if purging.sequences])

    def of(self, stream: str, subjects: str) -> PurgeFilter:
        """What leaves a stream on a filter."""
        return self._by_filter.setdefault((stream, subjects), PurgeFilter(stream, subjects))


async def mark(connection: Transport, stream: str, until: str) -> None:
    """Say in a stream's metadata that stories which ended by then may have left it."""
    info = await request(connection, f"STREAM.INFO.{stream}")
    config: dict[str, Any] = info["config"]
    config["metadata"] = {**(config.get("metadata") or {}), MARK: until}
    await request(connection, f"STREAM.UPDATE.{stream}", config, strict=True)


async def archived_until(connection: Transport, stream: str) -> str:
    """Until when stories may have left a stream, RFC 3339; empty where none ever did."""
    info = await request(connection, f"STREAM.INFO.{stream}")
    return str((info["config"].get("metadata") or {}).get(MARK, "")) if info else ""
