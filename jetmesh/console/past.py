"""The last fifteen minutes of the flow, as it was read while somebody looked."""

import json
import zlib
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

SECONDS = 900
EVERY_SECONDS = 2.0
GAP_SECONDS = 5.0
"""A reading says nothing about a moment that is later by more."""


class Past:
    """The readings, in the words of the pages and compressed: a few hundred, about one kilobyte each."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, bytes]] = deque(maxlen=round(SECONDS / EVERY_SECONDS))

    def __len__(self) -> int:
        return len(self._kept)

    def takes(self, at: float) -> bool:
        """Whether what is told at this time is kept: the one before is not very young."""
        return not self._kept or at - self._kept[-1][0] >= EVERY_SECONDS

    def keep(self, at: float, told: Mapping[str, Any]) -> None:
        """Keep what was told at this time, if it is taken."""
        while self._kept and self._kept[0][0] < at - SECONDS:
            self._kept.popleft()
        if self.takes(at):
            self._kept.append((at, zlib.compress(json.dumps(told).encode(), 1)))

    def at(self, moment: float) -> Mapping[str, Any] | None:
        """What was told then; None if nobody looked."""
        for at, told in reversed(self._kept):
            if at <= moment + EVERY_SECONDS / 2:
                return None if moment - at > GAP_SECONDS else dict(json.loads(zlib.decompress(told)))
        return None

    def spans(self) -> list[tuple[float, float]]:
        """The times with readings, as intervals."""
        found: list[tuple[float, float]] = []
        for at, _ in self._kept:
            if found and at - found[-1][1] <= GAP_SECONDS:
                found[-1] = found[-1][0], at
            else:
                found.append((at, at))
        return found


def moment_of(text: str) -> float | None:
    """The time that an address names; None if it is no time."""
    try:
        found = datetime.fromisoformat(text)
        moment = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return moment if moment > 0 else None


def named(moment: float) -> str:
    """A time as an address names it."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
