"""Purging: messages that are archived leave the streams, and no others.

Most old messages belong to stories that ended, so one call purges all messages of a type before the first one that
stays. The broker purges tens of thousands a second in this way, and some hundreds one by one (measured with
`sync_interval: always`).
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
"""In the metadata of a stream: of stories that ended by this time, perhaps only the markers are left."""


@dataclass(slots=True)
class PurgeFilter:
    """The messages to purge from one stream on the subjects of one filter."""

    stream: str
    subjects: str
    sequences: set[int] = field(default_factory=set)
    _seen_to: int = 0
    _stays_from: int | None = None

    def saw(self, sequence: int) -> None:
        """The stream was read up to this sequence."""
        self._seen_to = sequence
        if self._stays_from is None and sequence not in self.sequences:
            self._stays_from = sequence

    @property
    def before(self) -> int:
        """All messages of the filter below this sequence are purged."""
        return self._seen_to + 1 if self._stays_from is None else self._stays_from

    async def purge(self, connection: Transport) -> int:
        """Purge them; returns how many.

        Raises:
            ArchiveError: the broker removed more than was archived.
            Unavailable: the broker does not answer; a second call is safe.
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
    """All messages to purge, by stream and filter."""

    def __init__(self) -> None:
        self._by_filter: dict[tuple[str, str], PurgeFilter] = {}

    def __iter__(self) -> Iterator[PurgeFilter]:
        return iter([purging for purging in self._by_filter.values() if purging.sequences])

    def of(self, stream: str, subjects: str) -> PurgeFilter:
        """The messages to purge from a stream on a filter."""
        return self._by_filter.setdefault((stream, subjects), PurgeFilter(stream, subjects))


async def mark(connection: Transport, stream: str, until: str) -> None:
    """Note in a stream's metadata that stories which ended by `until` may have left it."""
    info = await request(connection, f"STREAM.INFO.{stream}")
    config: dict[str, Any] = info["config"]
    config["metadata"] = {**(config.get("metadata") or {}), MARK: until}
    await request(connection, f"STREAM.UPDATE.{stream}", config, strict=True)


async def archived_until(connection: Transport, stream: str) -> str:
    """The latest end of stories that may have left a stream, RFC 3339; empty if none ever did."""
    info = await request(connection, f"STREAM.INFO.{stream}")
    return str((info["config"].get("metadata") or {}).get(MARK, "")) if info else ""
