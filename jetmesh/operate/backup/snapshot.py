"""One stream to a file and back, in chunks that the receiver acknowledges (STREAM.SNAPSHOT, STREAM.RESTORE)."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetmesh.common.fsync import to_disk
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.status import Status, StatusKind
from jetmesh.jetstream.transport import Transport, answer_inbox
from jetmesh.operate.backup.manifest import BackupError, digest

CHUNK_BYTES, WINDOW_BYTES = 256 << 10, 8 << 20
STALL_SECONDS = 60.0
"""How long the broker may be silent."""
INSTALL_SECONDS = 3_600.0
"""How long the server may take to make a stream from the chunks."""
LOOK_SECONDS = 5.0
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Saved:
    """A stream in a file, as it was when the snapshot began."""

    config: dict[str, Any]
    state: dict[str, Any]
    bytes: int
    sha256: str


async def save(connection: Transport, stream: str, file: Path) -> Saved:
    """Write a stream's snapshot to a file, without its durables, every message compared with its checksum.

    Raises:
        BackupError: the snapshot broke off.
        ApiError: the broker refuses it.
        Unavailable: the broker does not answer.
    """
    chunks: asyncio.Queue[tuple[str, bytes, bytes]] = asyncio.Queue()
    lost: list[bool] = []
    connection.on_reconnected(lambda: lost.append(True))
    async with answer_inbox(connection, lambda _, *frame: chunks.put_nowait(frame)) as inbox:
        wanted = {"deliver_subject": inbox, "no_consumers": True, "jsck": True,
                  "chunk_size": CHUNK_BYTES, "window_size": WINDOW_BYTES}  # fmt: skip
        call = f"STREAM.SNAPSHOT.{stream}"
        begun = await request(connection, call, wanted, strict=True, timeout_seconds=TIMEOUT_SECONDS)
        size = await _download(connection, stream, chunks, file)
    if lost:
        raise BackupError(f"{stream}: the connection was lost during the snapshot: take the backup again")
    to_disk(file)
    return Saved(begun["config"], begun["state"], size, await asyncio.to_thread(digest, file))


async def _download(
    connection: Transport, stream: str, chunks: "asyncio.Queue[tuple[str, bytes, bytes]]", file: Path
) -> int:
    """Write the chunks in order; the last has no number, and an empty one has the status."""
    size = count = 0
    with file.open("wb") as target:
        while True:
            reply, headers, data = await _in_time(chunks.get(), STALL_SECONDS, stream)
            if not data:
                _check_end(stream, headers)
                return size
            count += 1
            if reply and int(reply.rpartition(".")[2]) != count:
                raise BackupError(f"{stream}: chunk {count} of the snapshot was lost: take the backup again")
            await asyncio.to_thread(target.write, data)
            size += len(data)
            if reply:
                connection.send(reply, b"")


def _check_end(stream: str, headers: bytes) -> None:
    status = Status.of(headers)
    if status and status.kind is not StatusKind.END:
        raise BackupError(f"{stream}: the broker broke the snapshot off ({status}): take the backup again")


async def load(connection: Transport, config: dict[str, Any], state: dict[str, Any], file: Path) -> Any:
    """Make a stream from a file, with this configuration; returns the broker's STREAM.INFO.

    Raises:
        BackupError: the broker can't make it.
        ApiError: it refuses to begin.
        Unavailable: it does not answer.
    """
    stream = config["name"]
    body = {"config": config, "state": state}
    call = f"STREAM.RESTORE.{stream}"
    subject = (await request(connection, call, body, strict=True, timeout_seconds=TIMEOUT_SECONDS))["deliver_subject"]
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    async with answer_inbox(connection, lambda _subject, _reply, _headers, data: answers.put_nowait(data)) as inbox:
        await _upload(connection, stream, subject, inbox, file, answers)
        connection.send(subject, b"", reply=inbox)
        return await _installed(connection, stream, state, answers)


async def _installed(connection: Transport, stream: str, state: dict[str, Any], answers: "asyncio.Queue[bytes]") -> Any:
    """The STREAM.INFO of the restored stream. In a cluster the answer may be lost: then the stream is asked."""
    deadline = time.monotonic() + INSTALL_SECONDS
    while time.monotonic() < deadline:
        with suppress(TimeoutError):
            return _understood(stream, await asyncio.wait_for(answers.get(), LOOK_SECONDS))
        with suppress(Unavailable, ApiError):
            info = await request(connection, f"STREAM.INFO.{stream}")
            if info and all(info["state"][name] == state[name] for name in ("messages", "last_seq")):
                return info
    raise BackupError(f"{stream}: the broker did not make it in {INSTALL_SECONDS:g} s: read its log, then retry")


async def _upload(
    connection: Transport, stream: str, subject: str, inbox: str, file: Path, answers: "asyncio.Queue[bytes]"
) -> None:
    size = min(CHUNK_BYTES, connection.limits.payload_bytes_max)
    ahead, under_way = WINDOW_BYTES // size, 0
    with file.open("rb") as source:
        while chunk := await asyncio.to_thread(source.read, size):
            connection.send(subject, chunk, reply=inbox)
            under_way += 1
            if under_way == ahead:
                under_way -= await _taken(stream, answers)
    while under_way:
        under_way -= await _taken(stream, answers)


async def _taken(stream: str, answers: "asyncio.Queue[bytes]") -> int:
    """Wait until the server has acknowledged one more chunk."""
    if problem := await _in_time(answers.get(), STALL_SECONDS, stream):
        _understood(stream, problem)
        raise BackupError(f"{stream}: the broker ended the restoration before everything was sent")
    return 1


def _understood(stream: str, answer: bytes) -> Any:
    document = json.loads(answer)
    if error := document.get("error"):
        raise BackupError(f"{stream}: the broker can't restore it: {error.get('description')}")
    return document


async def _in_time(waiting: Any, seconds: float, stream: str) -> Any:
    try:
        return await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        raise BackupError(f"{stream}: no answer of the broker for {seconds:g} s: read its log, then retry") from None
