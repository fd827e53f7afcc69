"""What a run of the archive did in each stream, and which stories it did not archive and why."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class StreamReport:
    """One stream: messages of stories that ended, those that were new in the archive, those that were purged, and the
    old markers that were removed."""

    ended: int = 0
    written: int = 0
    purged: int = 0
    forgotten: int = 0


@dataclass(slots=True)
class Report:
    """All streams. `kept` says why a story, or a level that was replaced, was not archived."""

    until: str
    dry_run: bool
    stories: int = 0
    streams: dict[str, StreamReport] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def of(self, stream: str) -> StreamReport:
        """The report of a stream."""
        return self.streams[stream]

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many were kept for which reason, the most frequent first."""
        return dict(Counter(self.kept.values()).most_common())

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        streams = {name: asdict(stream) for name, stream in self.streams.items()}
        return {
            "until": self.until,
            "dry_run": self.dry_run,
            "stories": self.stories,
            "streams": streams,
            "kept": self.reasons,
        }
