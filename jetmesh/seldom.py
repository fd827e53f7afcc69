"""One line per condition: logged at once, then with growing pauses and a count, for as long as it lasts."""

import logging
import time
from dataclasses import dataclass

FIRST_SECONDS = 30.0
LONGEST_SECONDS = 1_800.0
CONDITIONS_MAX = 64


@dataclass(slots=True)
class _Told:
    since: float
    next: float
    pause: float
    count: int = 0


class Seldom:
    """Logs what goes on for a while without filling the log. Beyond `CONDITIONS_MAX` conditions the oldest is
    forgotten, and is logged again if it comes again."""

    def __init__(self, log: logging.Logger, first_seconds: float = FIRST_SECONDS) -> None:
        self._log, self._first_seconds = log, first_seconds
        self._told: dict[str, _Told] = {}

    def say(self, level: int, condition: str, words: str) -> None:
        """Log `words`, unless the condition was logged a short while ago; it is counted then."""
        now = time.monotonic()
        told = self._told.get(condition)
        if told is None:
            self._remember(condition, now)
            self._log.log(level, "%s", words)
            return
        told.count += 1
        if now >= told.next:
            self._log.log(level, "%s (%d times more in %.0f s)", words, told.count, now - told.since)
            told.count, told.since = 0, now
            told.pause = min(2 * told.pause, LONGEST_SECONDS)
            told.next = now + told.pause

    def over(self, condition: str = "") -> None:
        """The condition has ended (all of them, if none is named): the next time it is logged at once."""
        if condition:
            self._told.pop(condition, None)
        else:
            self._told.clear()

    def _remember(self, condition: str, now: float) -> None:
        if len(self._told) >= CONDITIONS_MAX:
            del self._told[next(iter(self._told))]
        self._told[condition] = _Told(now, now + self._first_seconds, self._first_seconds)
