"""Whether the broker stores what is recorded: what went wrong with it last, until something is stored again.

A server whose disk was full, or that had too many open files, keeps a stream's write error until it is restarted. It
answers no publish to that stream then, and everything else as if nothing were.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass

FRESH_SECONDS = 90.0
"""For how long a failure counts: a service that gets no work while it is unready would stay unready for ever."""


@dataclass(slots=True)
class _Failure:
    since: float
    last: float
    reason: str
    is_full: bool


class Storing:
    """The failures by lane: the first token of the subjects that were published to."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}

    def __bool__(self) -> bool:
        """Whether anything has failed and not been stored since."""
        return bool(self._failures)

    def failed(self, subject: str, reason: str, *, is_full: bool = False) -> None:
        """The broker is there, and did not store what was published to `subject`; `is_full`: by the stream's limit."""
        now = time.monotonic()
        failure = self._failures.setdefault(subject.partition(".")[0], _Failure(now, now, reason, is_full))
        failure.last, failure.reason, failure.is_full = now, reason, is_full

    def stored(self, subject: str) -> None:
        """It stored something there."""
        self._failures.pop(subject.partition(".")[0], None)

    def forget(self) -> None:
        """The connection was made again, perhaps to another server."""
        self._failures.clear()

    @property
    def remarks(self) -> dict[str, str]:
        """Why nothing is stored, by lane."""
        return {
            lane: f"the broker has stored nothing on {lane}.> for {seconds:.0f} s: {self._failures[lane].reason}"
            for lane, seconds in self.failing_seconds.items()
        }

    def trouble(self, lanes: Collection[str]) -> str:
        """Why a message on one of these is not stored; empty if all are, or if an operator's limit is reached."""
        found = (why for lane, why in self.remarks.items() if lane in lanes and not self._failures[lane].is_full)
        return next(found, "")

    @property
    def failing_seconds(self) -> dict[str, float]:
        """For how long nothing has been stored, by lane."""
        now = time.monotonic()
        fresh = {lane: found for lane, found in self._failures.items() if now - found.last < FRESH_SECONDS}
        return {lane: now - failure.since for lane, failure in fresh.items()}
