"""The retention job: find stories that ended, write them to the archive, and only then purge them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime

from jetmesh.common.terminal import Say
from jetmesh.event import INTAKE
from jetmesh.jetstream.api import request
from jetmesh.jetstream.direct_get import PATIENT_SECONDS, DirectGet
from jetmesh.jetstream.group_commit import GroupCommit
from jetmesh.jetstream.publisher import Publisher
from jetmesh.jetstream.subject import covers, is_marker
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.archive.marker import forget, mark_ended
from jetmesh.operate.archive.open_work import OpenWork, open_work
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.archive.purge import Purge, PurgeFilter, mark
from jetmesh.operate.archive.report import Report, StreamReport
from jetmesh.operate.archive.retention import StreamPart, events_from_outside, parts
from jetmesh.operate.archive.row import Row, day_of
from jetmesh.operate.archive.scan import scan
from jetmesh.operate.archive.story import by_key, newest, stories, with_keys
from jetmesh.service import Service
from jetmesh.topology import partitions
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.provision import check_split, histories
from jetmesh.topology.streams import WHOLE, topology

PAGE = 5_000
MARKED_AT_ONCE = 1_024
NOT_ENDED, YOUNG = "has not ended", "ended too recently"
STRANGE = "came from outside and could not be decoded"

Take = Callable[[list[Row]], Awaitable[None]]


class Job:
    """One run. After a crash at any line, the next run does the rest: rows that are archived already are compared and
    not written again, and no message is purged before it was read back from the archive."""

    def __init__(
        self,
        connection: Transport,
        services: Sequence[Service],
        archive: Archive,
        progress: Say,
        split: Partitions = WHOLE,
        forget_before: datetime | None = None,
    ) -> None:
        """`forget_before`: markers older than this are removed as well; None: they stay for ever."""
        self._publisher = Publisher(connection)
        self._direct_get = DirectGet(connection, PATIENT_SECONDS)
        self._group_commit = GroupCommit(self._publisher, partitions.lane(services, split))
        self._forget_before = forget_before
        self._connection, self._archive, self._progress = connection, archive, progress
        self._services = [service for service in services if service.records]
        self._split, self._needed = split, topology(services, split=split)
        self._parts = {part.stream: part for part in parts(services, split)}
        self._outside = events_from_outside(services)
        self._to_purge = Purge()
        self._filters: dict[tuple[str, str], str] = {}
        self._work = OpenWork({}, {})
        self._report = Report("", dry_run=True)
        self._there: set[str] = set()
        self._until_ns = 0

    async def run(self, until: datetime, *, dry_run: bool = False) -> Report:
        """Archive and purge the stories that ended until then; with `dry_run`, only report them.

        Raises:
            Unavailable: the broker does not answer.
            ArchiveError: the archive can't be written, or belongs to another broker.
            ApiError: the broker refuses a call: a stream is missing, for instance.
            SettingsError: its streams have another number of partitions.
        """
        await check_split(self._connection, self._needed)
        self._until_ns = int(until.timestamp() * 1e9)
        self._report = Report(until.astimezone(UTC).isoformat(timespec="seconds"), dry_run)
        self._report.streams = {stream: StreamReport() for stream in self._parts}
        self._archive.follow(await histories(self._connection, self._parts))
        self._work = await open_work(self._connection, self._services, self._parts)
        await self._publisher.start()
        await self._direct_get.start()
        try:
            return await self._run(dry_run)
        finally:
            self._direct_get.close()
            await self._publisher.close()

    async def _run(self, dry_run: bool) -> Report:
        for part in self._parts.values():
            await self._read(part, part.purgeable, self._take_stories)
            await self._read(part, part.levels, self._take_levels)
        for purging in self._to_purge:
            self._report.of(purging.stream).ended += len(purging.sequences)
        if not dry_run:
            await self._purge()
            await self._forget()
        return self._report

    async def _read(self, part: StreamPart, subjects: Sequence[str], take: Take) -> None:
        """Read page by page, until the messages are too young."""
        if not subjects or await request(self._connection, f"STREAM.INFO.{part.stream}") is None:
            return
        self._there.add(part.stream)
        read = 0
        async with scan(self._connection, part.stream, subjects) as scanning:
            while page := await scanning.page(PAGE):
                old = [row for row in page if row.time_ns <= self._until_ns]
                await take(with_keys(old, self._outside))
                for row in page:
                    self._filter_for(row).saw(row.sequence)
                read += len(old)
                self._progress(f"{part.stream}: {read:,} messages read, {self._report.stories:,} stories ended")
                if len(old) < len(page):
                    return

    async def _take_stories(self, rows: list[Row]) -> None:
        """Archive each story of these rows that has ended, with all its messages."""
        kept = self._report.kept
        kept |= {f"{row.stream} {row.sequence}": STRANGE for row in rows if not row.key}
        mine = by_key(
            row for row in rows if row.sequence not in self._filter_for(row).sequences and row.key not in kept
        )
        ended: list[list[Row]] = []
        for key, rows in (await stories(self._direct_get, self._services, mine, self._split)).items():
            whole = list({row.position: row for row in [*mine[key], *rows]}.values())
            if why := self._stays(whole):
                kept[key] = why
            else:
                ended.append(whole)
        await self._keep([dated for whole in ended for dated in _dated(_events(whole))])
        self._report.stories += sum(any(not row.is_occurrence for row in mine[whole[0].key]) for whole in ended)
        for whole in await self._marked(ended):
            for row in _events(whole):
                if self._filter_of(row.stream, row.type):
                    self._filter_for(row).sequences.add(row.sequence)

    async def _marked(self, ended: Sequence[list[Row]]) -> list[list[Row]]:
        """The stories whose markers were stored; the others got a new event meanwhile, and stay for now."""
        if self._report.dry_run:
            return list(ended)
        endings = {stream: part.endings for stream, part in self._parts.items()}
        found: list[list[Row]] = []
        for start in range(0, len(ended), MARKED_AT_ONCE):
            some = ended[start : start + MARKED_AT_ONCE]
            done = await asyncio.gather(*(mark_ended(self._group_commit, whole, endings) for whole in some))
            found += [whole for whole, is_marked in zip(some, done, strict=True) if is_marked]
        return found

    def _stays(self, story: Sequence[Row]) -> str:
        """Why a story is not archived; empty where it is."""
        endings: dict[str, set[str]] = {}
        for row in story:
            ended = self._parts[row.stream].endings if is_marker(row.subject) else {row.type}
            endings.setdefault(row.stream, set()).update(ended)
        endings.pop(INTAKE, None)
        if not endings or not all(types & self._parts[stream].endings for stream, types in endings.items()):
            return NOT_ENDED
        if max(row.time_ns for row in _events(story)) > self._until_ns:
            return YOUNG
        return self._work.about(_events(story))

    async def _take_levels(self, rows: list[Row]) -> None:
        """Archive the levels that are replaced: a newer message is on their subject."""
        latest = {row.subject: row.sequence for row in await self._latest(rows)}
        past = [row for row in rows if row.sequence < latest.get(row.subject, 0)]
        open_work = {row: self._work.about([row]) for row in past}
        self._report.kept |= {f"{row.subject} {row.sequence}": why for row, why in open_work.items() if why}
        past = [row for row in past if not open_work[row]]
        await self._keep([(row, row.day) for row in past])
        for row in past:
            self._filter_for(row).sequences.add(row.sequence)

    async def _latest(self, rows: Iterable[Row]) -> list[Row]:
        by_stream = {row.stream: sorted({each.subject for each in rows}) for row in rows}
        return [
            row for stream, subjects in by_stream.items() for row in await newest(self._direct_get, stream, subjects)
        ]

    async def _keep(self, rows: Sequence[tuple[Row, str]]) -> None:
        """Write to the archive in a thread: the connection must answer the broker's pings meanwhile."""
        if not self._report.dry_run and rows:
            for row in await asyncio.to_thread(self._archive.keep, rows):
                self._report.of(row.stream).written += 1

    def _filter_of(self, stream: str, event_type: str) -> str:
        """The filter by which a type is purged; empty if the type stays, or is a level."""
        if (stream, event_type) not in self._filters:
            subjects = [event_type] if stream == INTAKE else [f"{event_type}.key", f"{event_type}.key.id"]
            found = (each for each in self._parts[stream].purgeable for one in subjects if covers(each, one))
            self._filters[stream, event_type] = next(found, "")
        return self._filters[stream, event_type]

    def _filter_for(self, row: Row) -> PurgeFilter:
        """The filter that purges it: all messages of its type; for a level, those of its subject."""
        return self._to_purge.of(row.stream, self._filter_of(row.stream, row.type) or row.subject)

    async def _forget(self) -> None:
        for part in self._parts.values():
            if self._forget_before and part.entities and part.stream in self._there:
                forgotten = await forget(self._connection, part.stream, part.entities, self._forget_before)
                self._report.of(part.stream).forgotten = forgotten
                self._progress(f"{part.stream}: {forgotten:,} old markers removed")

    async def _purge(self) -> None:
        for stream in sorted({purging.stream for purging in self._to_purge}):
            await mark(self._connection, stream, self._report.until)
        for purging in self._to_purge:
            report = self._report.of(purging.stream)
            report.purged += await purging.purge(self._connection)
            self._progress(f"{purging.stream}: {report.purged:,} messages purged")


def _events(story: Sequence[Row]) -> list[Row]:
    """A story without its markers."""
    return [row for row in story if not is_marker(row.subject)]


def _dated(story: Sequence[Row]) -> list[tuple[Row, str]]:
    """The messages of a story, each with the day on which the story ended."""
    day = day_of(max(row.time_ns for row in story))
    return [(row, day) for row in story]
