"""What an examination finds: one thing that was looked at, how good it is, and how it is mended."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jetmesh.jetstream.transport import Transport
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.topology.streams import Topology, topology


class Grade(Enum):
    """How good a finding is. Only `WRONG` fails the examination."""

    GOOD = "good"
    NOTE = "note"
    DOUBT = "doubt"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    grade: Grade
    found: str
    fix: str = ""


Findings = AsyncIterator[Finding]


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined: a connection, the services that should be there, and where monitoring and traces are."""

    connection: Transport
    services: Sequence[Service]
    settings: Settings
    monitor_url: str = ""

    @property
    def topology(self) -> Topology:
        """What the services need."""
        chosen = self.settings
        return topology(self.services, chosen.replicas, chosen.ack_wait_seconds, chosen.split)

    @property
    def server(self) -> Mapping[str, Any]:
        """What the server said of itself when it was connected to."""
        return self.connection.server.info
