"""A bucket of JetStream's KV (ADR-8) on the broker of a mesh: the values of each key, oldest first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jetmesh.jetstream.api import request
from jetmesh.jetstream.errors import ApiError
from jetmesh.jetstream.headers import encode_headers
from jetmesh.jetstream.leader_get import next_message
from jetmesh.jetstream.tenant import stream_on_broker
from jetmesh.jetstream.transport import Transport, beside_api
from jetmesh.topology import provision
from jetmesh.topology.streams import Stream, Topology

OPERATION = "KV-Operation"
"""The header of an entry that deletes its key."""
HISTORY_MAX = 64
"""How many values of each key a bucket keeps: the most that JetStream's KV allows."""

Values = Mapping[str, Sequence[bytes]]
"""The values of each key."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket; `options` are more settings of its stream."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def stream(self, replicas: int = 1) -> Stream:
        """The stream behind it, as every client of JetStream's KV makes it."""
        config = {
            "name": f"KV_{self.name}",
            "subjects": [f"$KV.{self.name}.>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": replicas,
            "max_msgs_per_subject": HISTORY_MAX,
            "allow_rollup_hdrs": True,
            **self.options,
        }
        return Stream(f"KV_{self.name}", config, is_shared=True)

    def on_broker(self, connection: Transport) -> str:
        """The broker's name of it, for the `nats` CLI."""
        return stream_on_broker(connection, f"KV_{self.name}").removeprefix("KV_")

    async def exists(self, connection: Transport) -> bool:
        """Whether the broker has it."""
        return await request(connection, f"STREAM.INFO.KV_{self.name}") is not None

    async def make(self, connection: Transport, replicas: int) -> None:
        """Make it if it is missing."""
        await provision.apply(connection, await provision.plan(connection, Topology((self.stream(replicas),), ())))

    async def put(self, connection: Transport, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Write an entry; its sequence. If the API has a prefix, the bucket's subjects have it as well: otherwise a
        bucket of the same name in the own account would get the entry.

        Raises:
            ApiError: the broker refuses it.
        """
        subject = beside_api(connection, f"$KV.{self.name}.{key}")
        block = encode_headers(dict(headers)) if headers else b""
        answer = json.loads(await connection.ask(subject, value, headers=block))
        if refused := answer.get("error"):
            raise ApiError.of(refused, f"the bucket {self.name}")
        return int(answer["seq"])

    async def delete(self, connection: Transport, key: str, why: bytes = b"") -> None:
        """Delete a key; its last entry says why."""
        await self.put(connection, key, why, {OPERATION: "DEL"})

    async def values(self, connection: Transport) -> Values:
        """The values of every key that is not deleted, oldest first."""
        values: dict[str, list[bytes]] = {}
        gone: set[str] = set()
        first = 1
        while entry := await next_message(connection, f"KV_{self.name}", first, f"$KV.{self.name}.>"):
            first = entry.sequence + 1
            key = entry.subject.removeprefix(f"$KV.{self.name}.")
            if OPERATION in entry.headers:
                gone.add(key)
            else:
                gone.discard(key)
                values.setdefault(key, []).append(entry.data)
        return {key: values[key] for key in sorted(values.keys() - gone)}
