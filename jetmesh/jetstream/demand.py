"""How many deliveries of one consumer a process asks for beyond its slots, while it sleeps with all of them in hand.

A delivery whose event is on its way to the broker waits for an answer and for nothing else, so it needs no slot; one
whose reaction runs does, since slots also say how many calls go to the outside at once. Whether asking for more is of
use, the thread's own time tells: one that slept for a while, although the broker has more, can do more; one that ran,
or waited for a processor, can not.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias

Busy: TypeAlias = Callable[[], float]
"""For how many seconds this thread ran, or waited for a processor, so far."""

TIMES_MAX = 2
"""So many times its slots is what a consumer may have in this process."""
WINDOW_SECONDS, WINDOW_SECONDS_MAX = 0.04, 0.5
"""Over how long the sleep is measured; what is longer was no burst."""
ASLEEP_MIN = 0.1
"""The share of the time that it must have slept."""


class Demand:
    """What one consumer may hold: its slots, and as much as it has `storing`, up to `extra`."""

    __slots__ = ("_asleep_from", "_busy", "_busy_from", "_slots", "extra", "storing")

    def __init__(self, slots: int, busy: Busy | None) -> None:
        self._slots, self._busy = slots, busy
        self.extra = 0
        self.storing = 0
        """Deliveries whose event is on its way to the broker."""
        self._asleep_from, self._busy_from = 0.0, 0.0

    def grow(self) -> None:
        """Everything that was asked for has come, so the broker has more: ask for more, if this thread slept."""
        if self._busy is None:
            return
        now = monotonic()
        seconds = now - self._asleep_from
        if seconds < WINDOW_SECONDS:
            return
        busy = self._busy()
        if seconds < WINDOW_SECONDS_MAX and busy - self._busy_from < (1 - ASLEEP_MIN) * seconds:
            self.extra = min(self.extra + self._slots, (TIMES_MAX - 1) * self._slots)
        self._asleep_from, self._busy_from = now, busy


@contextmanager
def busy_of_this_thread() -> Iterator[Busy | None]:
    """From Linux's schedstat, until the end of the block (a µs a reading); None where the kernel keeps none."""
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        yield None
        return

    def busy() -> float:
        ran, waited, _ = os.pread(file, 64, 0).split()
        return (int(ran) + int(waited)) / 1e9

    try:
        yield busy if busy() > 0 else None
    finally:
        os.close(file)
