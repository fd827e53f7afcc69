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
        self._told: dict[Hashable, Occurrences] = {}

    def tell(
        self,
        condition: Hashable,
        level: int,
        words: str,
        *arguments: object,
        extra: Mapping[str, object] | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Log `words` about `condition`, now or later with a count; the first line has the traceback of `error`."""
        told = self._told.get(condition)
        if told is None:
            if not self._log.isEnabledFor(level):
                return
            self._log.log(level, words, *arguments, extra=extra, exc_info=error)
            self._remember(condition)
            return
        told.times += 1
        told.level, told.words, told.arguments, told.extra = level, words, arguments, extra

    def say(self, level: int, condition: str, words: str) -> None:
        """Log `words` about `condition`, now or later with a count."""
        self.tell(condition, level, "%s", words)

    def over(self, condition: str = "") -> None:
        """The condition has ended (all, if none is named): its next occurrence is logged at once."""
        for ended in [condition] if condition else list(self._told):
            if told := self._told.pop(ended, None):
                self._summary(told)

    def _remember(self, condition: Hashable) -> None:
        told = self._told[condition] = Occurrences(pause=self._first_seconds or FIRST_SECONDS)
        self._plan(condition, told)
        if len(self._told) > CONDITIONS_MAX:
            self._summary(self._told.pop(next(iter(self._told))))

    def _plan(self, condition: Hashable, told: Occurrences) -> None:
        told.timer = asyncio.get_running_loop().call_later(told.pause, self._again, condition)

    def _again(self, condition: Hashable) -> None:
        """After a pause: log the count; without a new occurrence the condition is over."""
        told = self._told[condition]
        if told.times:
            self._summary(told)
            told.pause = min(2 * told.pause, LONGEST_SECONDS)
            self._plan(condition, told)
        else:
            del self._told[condition]

    def _summary(self, told: Occurrences) -> None:
        """Log how often it occurred since the last line."""
        if told.timer:
            told.timer.cancel()
        if told.times:
            self._log.log(told.level, f"{told.words} (%d more)", *told.arguments, told.times, extra=told.extra)
        told.times = 0


def kind_of(error: BaseException) -> ErrorKind:
    """What groups failures: the type of the error and the line that raised it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return type(error), last.tb_frame.f_code if last else None, last.tb_lineno if last else 0


def reason_of(error: BaseException) -> tuple[Any, ...]:
    """The group of a failure, with its text if that names what is unavailable rather than one delivery."""
    return (*kind_of(error), str(error)) if isinstance(error, (Unavailable, Deferred)) else kind_of(error)
