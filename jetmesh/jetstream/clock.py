"""The broker's time, as a process knows it from the answers of the broker; its own wall clock decides nothing.

The messages' times are the broker's. Who compares them with a clock of its own cancels every order at once where that
clock is an hour ahead, and none where it is behind.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

DIFFERENCE_SECONDS_MAX = 1.0
"""A wall clock that differs by more is told: times in logs and traces are wrong then."""
DRIFT = 1e-3
"""Seconds that an old reading may be worse by, for each second of its age."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The broker's time at the zero of the monotonic clock, give or take `error` seconds."""

    zero: float
    error: float
    at: float


class BrokerClock:
    """Goes on by the monotonic clock from the best answer so far, so that no jump of the wall clock touches it."""

    def __init__(self) -> None:
        self._best: _Sample | None = None

    @property
    def is_known(self) -> bool:
        """Whether the broker has told its time."""
        return self._best is not None

    def learn(self, told: str, asked: float, heard: float) -> None:
        """The broker said that it was `told` (RFC 3339) at some moment between these two of the monotonic clock."""
        fresh = _Sample(datetime.fromisoformat(told).timestamp() - (asked + heard) / 2, (heard - asked) / 2, heard)
        best = self._best
        if best is None or self._is_better(fresh, best):
            self._best = fresh

    @staticmethod
    def _is_better(fresh: _Sample, best: _Sample) -> bool:
        """Whether it is as exact as the other one, or shows that the broker's clock was set meanwhile."""
        error = best.error + DRIFT * (fresh.at - best.at)
        return fresh.error <= error or abs(fresh.zero - best.zero) > fresh.error + error

    def now(self) -> float:
        """The broker's time in seconds since 1970; as long as it is not known, this machine's."""
        return time.monotonic() + self._best.zero if self._best else time.time()

    @property
    def ahead_seconds(self) -> float:
        """How far this machine's wall clock is ahead of the broker's; negative: behind."""
        return time.time() - self.now()

    @property
    def trouble(self) -> str:
        """How far the two differ, where that is more than it should be."""
        ahead = self.ahead_seconds
        if self._best is None or abs(ahead) - self._best.error <= DIFFERENCE_SECONDS_MAX:
            return ""
        return f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the broker's, whose time is used instead"

    def utc(self, seconds: float = 0.0) -> datetime:
        """The broker's time, so many seconds from now."""
        return datetime.fromtimestamp(self.now() + seconds, UTC)
