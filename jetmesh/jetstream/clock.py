"""The broker's time, estimated from the broker's answers; the process's own wall clock decides nothing.

The times of messages are the broker's. A process that compared them with its own clock would cancel every order at once
if that clock is an hour ahead, and none if it is behind.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

DIFFERENCE_SECONDS_MAX = 1.0
"""A larger difference of the wall clock is reported: times in logs and traces are wrong then."""
DRIFT = 1e-3
"""By how many seconds a sample gets less exact for each second of its age."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The broker's time at the zero of the monotonic clock, give or take `error` seconds."""

    zero: float
    error: float
    at: float


class BrokerClock:
    """Counts with the monotonic clock from the best sample so far, so that a jump of the wall clock has no effect."""

    def __init__(self) -> None:
        self._best: _Sample | None = None

    @property
    def is_known(self) -> bool:
        """Whether the broker's time is known."""
        return self._best is not None

    def learn(self, timestamp: str, asked: float, heard: float) -> None:
        """Take a sample: the broker's time was `timestamp` (RFC 3339) between two times of the monotonic clock."""
        fresh = _Sample(datetime.fromisoformat(timestamp).timestamp() - (asked + heard) / 2, (heard - asked) / 2, heard)
        best = self._best
        if best is None or self._is_better(fresh, best):
            self._best = fresh

    @staticmethod
    def _is_better(fresh: _Sample, best: _Sample) -> bool:
        """Whether it is as exact as the best one, or shows that the broker's clock was set meanwhile."""
        error = best.error + DRIFT * (fresh.at - best.at)
        return fresh.error <= error or abs(fresh.zero - best.zero) > fresh.error + error

    def now(self) -> float:
        """The broker's time in seconds since 1970; this machine's until the broker's is known."""
        return time.monotonic() + self._best.zero if self._best else time.time()

    @property
    def ahead_seconds(self) -> float:
        """How far this machine's wall clock is ahead of the broker's; negative: behind."""
        return time.time() - self.now()

    @property
    def trouble(self) -> str:
        """The difference in words if it is too large; else empty."""
        ahead = self.ahead_seconds
        if self._best is None or abs(ahead) - self._best.error <= DIFFERENCE_SECONDS_MAX:
            return ""
        return f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the broker's, whose time is used instead"

    def utc(self, seconds: float = 0.0) -> datetime:
        """The broker's time, so many seconds from now."""
        return datetime.fromtimestamp(self.now() + seconds, UTC)


def unix_nano(time_stamp: str) -> int:
    """The broker's RFC 3339 time, whose nanoseconds `datetime` does not keep."""
    whole, _, fraction = time_stamp.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
