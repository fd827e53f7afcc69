"""The sign in the broker that a restore is under way: a stream that exists until everything is restored and checked."""

from dataclasses import dataclass

from jetmesh.jetstream.api import request
from jetmesh.jetstream.transport import Transport
from jetmesh.topology.names import RESTORING, RESTORING_SUBJECT

BACKUP = "jetmesh.backup"
"""In the metadata of the sign, and of each stream that is being restored: the id of the backup."""


@dataclass(frozen=True, slots=True)
class Sign:
    """The backup that is being restored, and since when."""

    backup: str
    created: str


async def find(connection: Transport) -> Sign | None:
    """The sign, if it is there."""
    info = await request(connection, f"STREAM.INFO.{RESTORING}")
    return info and Sign((info["config"].get("metadata") or {}).get(BACKUP, ""), info["created"])


async def put(connection: Transport, backup: str, replicas: int) -> Sign:
    """Create the sign, with as many replicas as the streams have."""
    config = {"name": RESTORING, "subjects": [RESTORING_SUBJECT], "storage": "file", "max_msgs": 1,
              "num_replicas": replicas, "metadata": {BACKUP: backup}}  # fmt: skip
    info = await request(connection, f"STREAM.CREATE.{RESTORING}", config, strict=True)
    return Sign(backup, info["created"])


async def remove(connection: Transport) -> None:
    """Delete the sign."""
    await request(connection, f"STREAM.DELETE.{RESTORING}")
