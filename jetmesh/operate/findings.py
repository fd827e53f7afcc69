"""The findings of a check: what was checked, its grade, and the fix."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jetmesh.jetstream.transport import Transport
from jetmesh.operate.deployment import needed
from jetmesh.service import Service
from jetmesh.settings import Settings
from jetmesh.topology.streams import Topology


class Grade(Enum):
    """The grade of a finding. Only `WRONG` makes the command fail."""

    GOOD = "good"
    NOTE = "note"
    DOUBT = "doubt"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    topic: str
    grade: Grade
    found: str
    fix: str = ""


Findings = AsyncIterator[Finding]


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What the checks need: a connection, the services, the settings, and the address of the monitoring port."""

    connection: Transport
    services: Sequence[Service]
    settings: Settings
    monitor_url: str = ""

    @property
    def topology(self) -> Topology:
        """The topology that the services need."""
        return needed(self.services, self.settings)

    @property
    def server(self) -> Mapping[str, Any]:
        """What the server said about itself in the handshake."""
        return self.connection.server.info
