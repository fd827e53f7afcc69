"""What the flow page shows of a time within the last fifteen minutes."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException

from jetmesh.console.desk import Desk
from jetmesh.console.past import SECONDS, moment_of, named
from jetmesh.console.recorded import MINUTE, Minute
from jetmesh.console.state import TOTALS, unread
from jetmesh.failure import Unavailable

HEIGHT = 38
"""Of the highest bar, in pixels."""
SHARE = 100 / SECONDS
"""The width of a second, in percent of the whole."""
GAP = 0.25
STEPS = {"− 1 min": -60, "− 10 s": -10, "+ 10 s": 10, "+ 1 min": 60}


@dataclass(frozen=True, slots=True)
class MinuteBar:
    """The events that were recorded in a minute, as a bar; `x` and `width` in percent of the whole."""

    at: str
    x: float
    width: float
    height: float
    count: int
    start: float

    @property
    def start_at(self) -> str:
        """When the minute began."""
        return named(self.start)

    @property
    def is_whole(self) -> bool:
        """Whether most of the minute is within the fifteen."""
        return self.width > MINUTE * SHARE / 2


@dataclass(frozen=True, slots=True)
class Rewound:
    """The flow at a time; `moment` is 0 while it is live."""

    now: float
    moment: float
    told: Mapping[str, Any]
    words: str
    minutes: Sequence[Minute] = ()
    spans: Sequence[tuple[float, float]] = field(default=())

    @property
    def name(self) -> str:
        """The time as the address names it; empty: live."""
        return named(self.moment) if self.moment else ""

    @property
    def recorded(self) -> dict[str, int]:
        """What was recorded in the minute of the moment, by service."""
        shown = [each for each in self.minutes if each.start <= (self.moment or self.now)]
        return dict(shown[-1].counts) if shown else {}

    @property
    def minute(self) -> float:
        """When the minute of the moment began."""
        return (self.moment or self.now) // MINUTE * MINUTE

    @property
    def steps(self) -> dict[str, str]:
        """The times that are a step away, by what the buttons say."""
        here, first = self.moment or self.now, self.now - SECONDS
        return {words: named(min(max(here + by, first), self.now)) for words, by in STEPS.items()}

    @property
    def bars(self) -> list[MinuteBar]:
        """The minutes, each a link to its middle."""
        most = max((minute.count for minute in self.minutes), default=0) or 1
        return [self._bar(minute, most) for minute in self.minutes if minute.start + MINUTE > self.now - SECONDS]

    @property
    def lines(self) -> list[tuple[float, float]]:
        """The times with readings, as places and widths in percent."""
        first = self.now - SECONDS
        return [
            (max(0.0, start - first) * SHARE, max(2.0, end - max(start, first)) * SHARE) for start, end in self.spans
        ]

    def _bar(self, minute: Minute, most: int) -> MinuteBar:
        first = self.now - SECONDS
        left, right = max(0.0, minute.start - first), min(SECONDS, minute.start + MINUTE - first)
        middle = (max(minute.start, first) + min(minute.start + MINUTE, self.now)) / 2
        height = HEIGHT * minute.count / most
        width = max(GAP, (right - left) * SHARE - GAP)
        return MinuteBar(named(middle), left * SHARE, width, height, minute.count, minute.start)


async def rewound(desk: Desk, text: str) -> Rewound:
    """The flow at the time that an address names; live, if it names none.

    Raises:
        HTTPException: it is no time.
    """
    now, moment = time.time(), 0.0
    if text:
        moment = moment_of(text) or 0.0
        if not moment:
            raise HTTPException(422, f"at={text[:40]} is no time: write one such as at={named(now)}.")
    past = desk.watch.past
    minutes: Sequence[Minute] = ()
    with contextlib.suppress(Unavailable, TimeoutError):
        minutes = await desk.recorded.minutes()
    known = past.at(moment) if moment else {}
    found = unread_at(desk) if known is None else known
    return Rewound(now, moment, found, _words(desk, now, moment, known is None), minutes, past.spans())


def unread_at(desk: Desk) -> dict[str, Any]:
    """The figures of a time at which nobody looked."""
    return {"cells": unread(desk.services), "totals": dict.fromkeys(TOTALS, "–"), "warnings": []}


def _words(desk: Desk, now: float, moment: float, is_unread: bool) -> str:
    """What the figures stand on."""
    spans = desk.watch.past.spans()
    if moment and now - moment > SECONDS + MINUTE:
        return "The console keeps the last 15 minutes: of this time it knows nothing any more."
    if moment > now + 1:
        return "This time is still to come."
    if is_unread and spans:
        return "Nobody looked at this time, so nothing was read; what was recorded is known all the same."
    if is_unread:
        return "Nobody has looked for 15 minutes, so nothing was read; what was recorded is known all the same."
    return "Everything is as it was read then." if moment else ""
