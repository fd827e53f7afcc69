"""What of this machine the console reads beside the broker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jetmesh.local.state import StateFolder


@dataclass(frozen=True, slots=True)
class Places:
    """The state folder (None: no mesh runs on it) and the archive, the broker's monitoring address, and the settings
    with the names of what they came from."""

    state: Path | None = None
    archive: Path | None = None
    monitor_url: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    telemetry: Mapping[str, str] = field(default_factory=dict)
    """The variables for the export of traces."""
    jaeger_url: str = ""
    """The Jaeger whose pages are linked; empty: none is known."""

    @property
    def traces(self) -> Path | None:
        """The store with the spans of the mesh that runs on the state folder."""
        return StateFolder(self.state).traces if self.state else None
