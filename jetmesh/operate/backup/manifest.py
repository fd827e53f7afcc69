"""The manifest of a backup, a file that is written last: a folder without it is an incomplete backup."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from jetmesh.common.fsync import to_disk

FILE = "manifest.json"
READ_BYTES = 1 << 20


class BackupError(ValueError):
    """A backup can't be taken, is incomplete, or belongs to another mesh; the text says what to do."""


class StreamSnapshot(BaseModel):
    """One stream's snapshot; `kept`: the last sequence before the cut, None if all messages count."""

    model_config = ConfigDict(frozen=True)

    file: str
    sha256: str
    bytes: int
    created: str
    config: dict[str, Any]
    state: dict[str, Any]
    kept: int | None = None


class Floor(BaseModel):
    """The sequence up to which a durable had acknowledged everything before the cut was made."""

    model_config = ConfigDict(frozen=True)

    stream: str
    durable: str
    sequence: int


class ForeignFloor(Floor):
    """The same of a durable on a stream of others, which no backup holds. `time`: when the message there was stored;
    empty: there is none."""

    time: str = ""


class Manifest(BaseModel):
    """The whole backup. `as_of`: the moment that a restore goes back to."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    id: str
    as_of: str
    ended: str
    services: list[str]
    partitions: dict[str, int]
    tenant: str = ""
    versions: dict[str, str]
    streams: dict[str, StreamSnapshot]
    floors: list[Floor]
    foreign: list[ForeignFloor] = []

    @property
    def bytes(self) -> int:
        """The size of all snapshots."""
        return sum(snapshot.bytes for snapshot in self.streams.values())

    @property
    def held_bytes(self) -> int:
        """The size of all messages in the streams."""
        return sum(int(snapshot.state["bytes"]) for snapshot in self.streams.values())


def moment(timestamp: float) -> str:
    """When a message was stored, to the microsecond."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="microseconds")


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically, and sync it."""
    partial = folder / f"{FILE}.partial"
    partial.write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
    partial.chmod(0o600)
    to_disk(partial)
    partial.replace(folder / FILE)
    to_disk(folder)


def read(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        BackupError: there is none, or it can't be read.
    """
    file = folder / FILE
    if not file.is_file():
        raise BackupError(f"{folder}: no {FILE}, so this is no backup, or one that was cut short: take another")
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except OSError as wrong:
        raise BackupError(f"{file}: {wrong.strerror}") from None
    except ValidationError as wrong:
        raise BackupError(f"{file}: {_first(wrong)}; take another backup, or restore with its jetmesh") from None


def _first(wrong: ValidationError) -> str:
    """The first error, with its field."""
    error = wrong.errors()[0]
    return ": ".join([*map(str, error["loc"]), error["msg"]])


def check(folder: Path, manifest: Manifest, progress: Callable[[str], None]) -> None:
    """Check that every file is there, as it was written.

    Raises:
        BackupError: naming the first file that is not.
    """
    for stream, snapshot in manifest.streams.items():
        progress(f"checking {stream}")
        file = folder / snapshot.file
        if not file.is_file():
            raise BackupError(f"{file}: is missing; the backup is not whole")
        if file.stat().st_size != snapshot.bytes or digest(file) != snapshot.sha256:
            raise BackupError(f"{file}: is not what was written (its SHA-256 differs); use another copy of the backup")


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with file.open("rb") as source:
        while piece := source.read(READ_BYTES):
            found.update(piece)
    return found.hexdigest()
