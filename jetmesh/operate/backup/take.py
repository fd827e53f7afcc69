"""Taking a backup, while the mesh runs."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jetmesh.common.terminal import Say
from jetmesh.common.version import jetmesh_version
from jetmesh.jetstream.api import request
from jetmesh.jetstream.leader_get import message_at, next_message
from jetmesh.jetstream.tenant import tenant_of
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.backup import cut, manifest, snapshot
from jetmesh.operate.backup.manifest import BackupError, Floor, ForeignFloor, Manifest, StreamSnapshot
from jetmesh.operate.backup.parts import durable_of, parts
from jetmesh.runtime.origin import Origin, origin_of
from jetmesh.service import Service
from jetmesh.topology.names import DEAD_LETTERS, DEAD_LOG_SUBJECTS, is_note
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.provision import check_split
from jetmesh.topology.streams import Consumer

Floors = dict[tuple[str, str], int]
"""By stream and durable: the sequence up to which everything was acknowledged."""


@dataclass(frozen=True, slots=True)
class Taking:
    """One run: the streams, the broker, the folder."""

    connection: Transport
    services: Sequence[Service]
    split: Partitions
    folder: Path
    progress: Say

    async def run(self) -> Manifest:
        """Take the backup. The order matters: floors, then the cut, then the snapshots, then delayed and replayed work.

        Raises:
            BackupError: it can't be taken, or was cut short.
            ApiError: a stream is missing.
            Unavailable: the broker does not answer.
        """
        mine = parts(self.services, self.split)
        await check_split(self.connection, mine.needed)
        self._open_folder()
        floors, elsewhere = await self._floors(mine.durables), await self._floors(mine.elsewhere, missing=None)
        delayed = [place async for place in self._delayed(mine.timers)]
        as_of = datetime.now(UTC)
        kept = await cut.make(self.connection, mine.facts)
        taken = {stream: await self._take(stream, kept.get(stream)) for stream in (*mine.facts, *mine.beside)}
        replayed = [place async for place in self._replayed(kept[DEAD_LETTERS])]
        for found in (floors, elsewhere):
            _lower(found, [*delayed, *replayed])
        made = Manifest(
            id=uuid.uuid4().hex,
            as_of=as_of.isoformat(timespec="milliseconds"),
            ended=datetime.now(UTC).isoformat(timespec="milliseconds"),
            services=[service.name for service in self.services],
            partitions=dict(self.split),
            tenant=tenant_of(self.connection),
            versions={"jetmesh": jetmesh_version(), "nats-server": str(self.connection.server.info.get("version"))},
            streams={stream: each for stream, each in taken.items() if each},
            floors=[Floor(stream=s, durable=d, sequence=at) for (s, d), at in floors.items()],
            foreign=[await self._foreign(*place, at) for place, at in elsewhere.items()],
        )
        manifest.write(self.folder, made)
        return made

    def _open_folder(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise BackupError(f"{self.folder}: is not empty; a backup is written into a folder of its own")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def _floors(self, durables: Iterable[Consumer], missing: int | None = 0) -> Floors:
        """Where each durable stands; `missing`: where one that is not there does, None: nowhere."""

        async def floor(stream: str, durable: str) -> int | None:
            info = await request(self.connection, f"CONSUMER.INFO.{stream}.{durable}")
            return int(info["ack_floor"].get("stream_seq", 0)) if info else missing

        places = [(consumer.stream, consumer.durable) for consumer in durables]
        found = await asyncio.gather(*(floor(*place) for place in places))
        return {place: at for place, at in zip(places, found, strict=True) if at is not None}

    async def _foreign(self, stream: str, durable: str, at: int) -> ForeignFloor:
        """The position of a durable on a stream of others, and when the message there was stored."""
        self.progress(f"{stream} is not this app's, and not in the backup: {durable} has settled it up to {at:,}")
        message = await message_at(self.connection, stream, at) if at else None
        time = manifest.moment(message.timestamp) if message else ""
        return ForeignFloor(stream=stream, durable=durable, sequence=at, time=time)

    async def _delayed(self, timers: Sequence[str]) -> AsyncIterator[Origin]:
        """Messages that are acknowledged and not handled: delayed redeliveries, and replays under way."""
        for stream in timers:
            offset, total = 0, 1
            while offset < total:
                wanted = {"subjects_filter": ">", "offset": offset}
                info = await request(self.connection, f"STREAM.INFO.{stream}", wanted, strict=True)
                page = info["state"].get("subjects") or {}
                for subject in page:
                    if not is_note(subject):
                        yield origin_of(subject)
                offset, total = offset + len(page), info.get("total", 0) if page else 0

    async def _replayed(self, after: int) -> AsyncIterator[Origin]:
        """The letters that were replayed while the snapshots were taken: the snapshots may not have them."""
        while entry := await next_message(self.connection, DEAD_LETTERS, after + 1, DEAD_LOG_SUBJECTS):
            yield origin_of(entry.subject)
            after = entry.sequence

    async def _take(self, stream: str, kept: int | None) -> StreamSnapshot | None:
        """The snapshot of one stream; None if it does not exist."""
        info = await request(self.connection, f"STREAM.INFO.{stream}")
        if info is None:
            return None
        self.progress(f"{stream}: {info['state']['messages']:,} messages")
        file = self.folder / f"{stream}.snapshot"
        file.touch(0o600)
        saved = await snapshot.save(self.connection, stream, file)
        _check_whole(stream, saved.state, kept)
        return StreamSnapshot(
            file=file.name, sha256=saved.sha256, bytes=saved.bytes, created=info["created"], config=saved.config,
            state=saved.state, kept=kept,
        )  # fmt: skip


def _check_whole(stream: str, state: dict[str, Any], kept: int | None) -> None:
    if kept is not None and int(state["last_seq"]) < kept:
        raise BackupError(f"{stream}: the snapshot ends at {state['last_seq']}, and {kept} was stored before it began")


def _lower(floors: Floors, origins: Sequence[Origin]) -> None:
    """Lower the floors, so that the origins of these timers or letters are delivered again."""
    for origin in origins:
        durable = durable_of(origin.service, origin.reaction, origin.stream)
        if durable in floors and origin.sequence:
            floors[durable] = min(floors[durable], origin.sequence - 1)
