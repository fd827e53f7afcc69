"""Logs a repeated condition once and then with a count: a full stream fails a thousand deliveries in the same way.

The first occurrence is logged at once, with its details. Later ones are counted; the count is logged after growing
pauses, for as long as the condition lasts.
"""

import asyncio
import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from jetmesh.failure import Deferred, Unavailable

FIRST_SECONDS, LONGEST_SECONDS = 10.0, 1_800.0
CONDITIONS_MAX = 256

ErrorKind = tuple[type[BaseException], CodeType | None, int]


@dataclass(slots=True)
class Occurrences:
    """The text of a condition, and how often it occurred since the last line."""

    level: int = logging.INFO
    words: str = ""
    arguments: tuple[object, ...] = ()
    extra: Mapping[str, object] | None = None
    times: int = 0
    pause: float = FIRST_SECONDS
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Conditions:
    """Logs each condition once, and then how often it occurred."""

    def __init__(self, log: logging.Logger, first_seconds: float | None = None) -> None:
        self._log, self._first_seconds = log, first_seconds
        self._seen: dict[Hashable, Occurrences] = {}

    def log(
        self,
        condition: Hashable,
        level: int,
        words: str,
        *arguments: object,
        extra: Mapping[str, object] | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Log `words` about `condition`, now or later with a count; the first line has the traceback of `error`."""
        seen = self._seen.get(condition)
        if seen is None:
            if not self._log.isEnabledFor(level):
                return
            self._log.log(level, words, *arguments, extra=extra, exc_info=error)
            self._remember(condition)
            return
        seen.times += 1
        seen.level, seen.words, seen.arguments, seen.extra = level, words, arguments, extra

    def say(self, level: int, condition: str, words: str) -> None:
        """Log `words` about `condition`, now or later with a count."""
        self.log(condition, level, "%s", words)

    def over(self, condition: str = "") -> None:
        """The condition has ended (all, if none is named): its next occurrence is logged at once."""
        for ended in [condition] if condition else list(self._seen):
            if seen := self._seen.pop(ended, None):
                self._summary(seen)

    def _remember(self, condition: Hashable) -> None:
        seen = self._seen[condition] = Occurrences(pause=self._first_seconds or FIRST_SECONDS)
        self._plan(condition, seen)
        if len(self._seen) > CONDITIONS_MAX:
            self._summary(self._seen.pop(next(iter(self._seen))))

    def _plan(self, condition: Hashable, seen: Occurrences) -> None:
        seen.timer = asyncio.get_running_loop().call_later(seen.pause, self._again, condition)

    def _again(self, condition: Hashable) -> None:
        """After a pause: log the count; without a new occurrence the condition is over."""
        seen = self._seen[condition]
        if seen.times:
            self._summary(seen)
            seen.pause = min(2 * seen.pause, LONGEST_SECONDS)
            self._plan(condition, seen)
        else:
            del self._seen[condition]

    def _summary(self, seen: Occurrences) -> None:
        """Log how often it occurred since the last line."""
        if seen.timer:
            seen.timer.cancel()
        if seen.times:
            self._log.log(seen.level, f"{seen.words} (%d more)", *seen.arguments, seen.times, extra=seen.extra)
        seen.times = 0


def kind_of(error: BaseException) -> ErrorKind:
    """What groups failures: the type of the error and the line that raised it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return type(error), last.tb_frame.f_code if last else None, last.tb_lineno if last else 0


def reason_of(error: BaseException) -> tuple[Any, ...]:
    """The group of a failure, with its text if that names what is unavailable rather than one delivery."""
    return (*kind_of(error), str(error)) if isinstance(error, (Unavailable, Deferred)) else kind_of(error)
