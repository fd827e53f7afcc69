"""Restoring a backup into a broker without these streams; no client can use them until all are restored and checked.

A stream that is being restored has no subject of the mesh and no durable: no client can record into it or read from it.
After a crash at any line, a second restore of the same backup continues.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jetmesh.common.terminal import Say
from jetmesh.history import Restoration, history_of
from jetmesh.jetstream.api import delete_message, request
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.backup import foreign, manifest, marker, snapshot
from jetmesh.operate.backup.manifest import BackupError, Manifest, StreamSnapshot
from jetmesh.operate.backup.parts import REGISTRY, Parts, parts
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.topology import provision
from jetmesh.topology.names import RESTORING, closed_subject
from jetmesh.topology.provision import Change
from jetmesh.topology.starting import Starts

Examine = Callable[[], Awaitable[list[str]]]
"""The app's own audit of the restored streams: a sentence for each error."""

AT_ONCE = 64
TIMEOUT_SECONDS = 600.0
OPERATORS = {"deny_delete": False, "deny_purge": False, "max_age": 0}
"""Limits that an operator may have set, and that forbid deleting the messages after the cut, or delete more: they are
not in force while a stream is closed."""


class AuditFailed(Exception):
    """The audit found errors in the restored streams; they stay closed."""

    def __init__(self, found: Sequence[str]) -> None:
        super().__init__(f"{len(found)} offences")
        self.found = found


@dataclass(slots=True)
class Restoring:
    """One run: the folder, the broker."""

    connection: Transport
    services: Sequence[Service]
    settings: Settings
    folder: Path
    progress: Say
    undone: dict[str, int] = field(default_factory=dict)
    """How many messages were after the cut, by stream."""
    withheld: list[str] = field(default_factory=list)
    """The durables on streams of others that are not made, each with the reason and the fix."""
    audit_seconds: float = 0.0

    async def run(self, examine: Examine) -> Manifest:
        """Restore all streams, audit them, and only then open them.

        Raises:
            BackupError: the backup is incomplete or another mesh's, or the broker is not empty.
            AuditFailed: `examine` found some.
            ApiError: the broker refuses something.
            Drift: the broker refuses the topology at the end.
            Unavailable: it does not answer.
        """
        backup = manifest.read(self.folder)
        await asyncio.to_thread(manifest.check, self.folder, backup, self.progress)
        chosen = self.settings
        mine = parts(self.services, chosen.split, chosen.replicas, chosen.ack_wait_seconds)
        _check_fits(backup, mine, self.services, chosen)
        sign = await self._begin(backup)
        at = datetime.fromisoformat(sign.created).timestamp()
        for stream, saved in backup.streams.items():
            await self._restore(stream, saved, backup.id, at)
        self.progress("auditing the restored streams")
        began = time.monotonic()
        if offences := await examine():
            raise AuditFailed(offences)
        self.audit_seconds = time.monotonic() - began
        await self._open(backup, mine)
        await marker.remove(self.connection)
        return backup

    async def _begin(self, backup: Manifest) -> marker.Sign:
        """Check that the broker has no streams but those that an earlier run of this restore left.

        Raises:
            BackupError: naming the streams.
        """
        sign = await marker.find(self.connection)
        if sign and sign.backup != backup.id:
            raise BackupError(
                f"another backup ({sign.backup}) is being restored since {sign.created}: finish that one, or remove "
                f"the streams that it made and {RESTORING}"
            )
        strange = [each async for each in self._there(backup) if sign is None or each.backup != backup.id]
        if full := [each for each in strange if each.last_sequence and each.name not in REGISTRY]:
            words = ", ".join(f"{each.name} with {each.messages:,} messages" for each in full)
            raise BackupError(
                f"the broker has {words}: a mesh is restored whole, into a broker without its streams; name another "
                f"broker, or remove all of them (`nats stream rm`) if they are worth less than the backup"
            )
        sign = sign or await marker.put(self.connection, backup.id, self.settings.replicas)
        for each in strange:  # made by `topology apply`, and empty
            if each.name in backup.streams or not each.last_sequence:
                await request(self.connection, f"STREAM.DELETE.{each.name}")
        return sign

    async def _there(self, backup: Manifest) -> AsyncIterator["Found"]:
        mine = parts(self.services, self.settings.split)
        for stream in dict.fromkeys([*backup.streams, *mine.facts, *mine.beside, *mine.timers]):
            info = await request(self.connection, f"STREAM.INFO.{stream}")
            if info:
                state, metadata = info["state"], info["config"].get("metadata") or {}
                yield Found(stream, state["messages"], state["last_seq"], metadata.get(marker.BACKUP, ""))

    async def _restore(self, stream: str, saved: StreamSnapshot, backup: str, at: float) -> None:
        """Restore one stream, closed, without the messages after the cut."""
        if await request(self.connection, f"STREAM.INFO.{stream}") is None:
            self.progress(f"{stream}: {saved.state['messages']:,} messages, {saved.bytes / 1e6:,.1f} MB")
            config = self._closed(stream, saved, backup, at)
            made = await snapshot.load(self.connection, config, saved.state, self.folder / saved.file)
            _compare(stream, saved, made["state"])
        if saved.kept is not None:
            last = int(saved.state["last_seq"])
            self.undone[stream] = last - saved.kept
            await self._undo(stream, range(saved.kept + 1, last + 1))

    def _closed(self, stream: str, saved: StreamSnapshot, backup: str, at: float) -> dict[str, Any]:
        """The stream's configuration while it is closed, with its history and one replica: a cluster makes the others
        when it is opened."""
        config = {**saved.config, "subjects": [closed_subject(stream)], "num_replicas": 1, **OPERATORS, "sealed": False}
        history = history_of({"config": saved.config, "created": saved.created})
        kept = int(saved.state["last_seq"]) if saved.kept is None else saved.kept
        own = {**history.after(Restoration(at, kept)).metadata, marker.BACKUP: backup}
        return {**config, "metadata": {**(saved.config.get("metadata") or {}), **own}}

    async def _undo(self, stream: str, sequences: range) -> None:
        """Delete messages; one that is deleted already is no error."""
        for start in range(0, len(sequences), AT_ONCE):
            some = sequences[start : start + AT_ONCE]
            await asyncio.gather(*(delete_message(self.connection, stream, each, TIMEOUT_SECONDS) for each in some))

    async def _open(self, backup: Manifest, mine: Parts) -> None:
        """Give the streams their subjects, create missing streams, and let each durable go on from its floor."""
        for stream, saved in backup.streams.items():
            info = await request(self.connection, f"STREAM.INFO.{stream}", strict=True)
            set_before = {name: saved.config[name] for name in ("subjects", *OPERATORS) if name in saved.config}
            own = {**set_before, "num_replicas": self.settings.replicas}
            config = {**info["config"], **own}
            await request(self.connection, f"STREAM.UPDATE.{stream}", config, strict=True)
        needed, found = await foreign.returned(self.connection, mine, backup.foreign, self.withheld)
        floors = {f"{floor.stream}/{floor.durable}": floor.sequence for floor in (*backup.floors, *found)}
        steps = await provision.compare(self.connection, needed, starts=Starts(floors=floors))
        for step in steps:
            if step.change is Change.DECIDE:
                self.progress(f"{step.name} was not in the backup, and is not made: {step.reason}")
        await provision.carry_out(self.connection, [step for step in steps if step.change is not Change.DECIDE])


@dataclass(frozen=True, slots=True)
class Found:
    """A stream of the mesh that the broker has; `backup`: the restore that it is part of."""

    name: str
    messages: int
    last_sequence: int
    backup: str


def _check_fits(backup: Manifest, mine: Parts, services: Sequence[Service], chosen: Settings) -> None:
    """Check that the backup is one of this mesh.

    Raises:
        BackupError: naming what differs.
    """
    if backup.tenant != chosen.tenant:
        raise BackupError(
            f"the backup is one of JETMESH_TENANT={backup.tenant or '(empty)'}, whose name its messages bear: set it so"
        )
    if backup.partitions != dict(chosen.split):
        split = ",".join(f"{stream.lower()}={count}" for stream, count in backup.partitions.items())
        raise BackupError(f"the backup's streams are split as JETMESH_PARTITIONS={split or '(empty)'}: set it so")
    if strange := set(backup.streams) - {*mine.facts, *mine.beside}:
        names = ", ".join(service.name for service in services)
        raise BackupError(f"the backup holds {', '.join(sorted(strange))}, and this app ({names}) has no such stream")


def _compare(stream: str, saved: StreamSnapshot, state: dict[str, Any]) -> None:
    for name in ("messages", "last_seq"):
        if state[name] != saved.state[name]:
            raise BackupError(
                f"{stream}: {name} is {state[name]} in the broker and {saved.state[name]} in the backup: remove the "
                f"stream and restore again"
            )
