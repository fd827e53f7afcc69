"""Statistics of one reaction in this process: counts since the start, rates and percentiles of the last minute."""

import math
import time
from collections import Counter
from dataclasses import dataclass

from jetmesh.outcome import DeadLettered, Outcome

SLOT_SECONDS = 10
SLOTS = 6
STEPS_PER_DOUBLING = 8
"""Durations are counted in steps of 2^(1/8): a percentile is right to 9 %."""


@dataclass(frozen=True, slots=True)
class LastMinute:
    """The attempts that ended within the last minute."""

    attempts_per_second: float
    failed_per_second: float
    p50_ms: float
    p95_ms: float


class ReactionStats:
    """Attempts by outcome and by number of deliveries, dead letters by the error's type."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.deliveries: Counter[int] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self._started = time.monotonic()
        self._slots: dict[int, Counter[int]] = {}
        self._failed: Counter[int] = Counter()

    def add(self, outcome: type[Outcome], error: str, seconds: float, delivered: int, times: int = 1) -> None:
        """Count an attempt, with the type of its error if it had one; `times`: several with the same result."""
        self.outcomes[outcome.name] += times
        self.deliveries[delivered] += times
        slot = int(time.monotonic() // SLOT_SECONDS)
        durations: Counter[int] | None = self._slots.get(slot)
        if durations is None:
            durations = self._new_slot(slot)
        durations[int(math.log2(max(seconds, 1e-6)) * STEPS_PER_DOUBLING)] += times
        if outcome.is_failure:
            self._failed[slot] += times
        if outcome is DeadLettered:
            self.dead_letters[error] += times

    def last_minute(self) -> LastMinute:
        """Rates and percentiles over the last minute, or since the start if that is shorter."""
        now = time.monotonic()
        oldest = int(now // SLOT_SECONDS) - SLOTS + 1
        seconds = max(1.0, now - max(self._started, oldest * SLOT_SECONDS))
        together: Counter[int] = Counter()
        for slot, durations in self._slots.items():
            if slot >= oldest:
                together += durations
        failed = sum(count for slot, count in self._failed.items() if slot >= oldest)
        return LastMinute(
            attempts_per_second=together.total() / seconds,
            failed_per_second=failed / seconds,
            p50_ms=_percentile(together, 0.50) * 1e3,
            p95_ms=_percentile(together, 0.95) * 1e3,
        )

    def _new_slot(self, slot: int) -> Counter[int]:
        for old in [old for old in self._slots if old <= slot - SLOTS]:
            del self._slots[old], self._failed[old]
        durations: Counter[int] = Counter()
        self._slots[slot] = durations
        return durations


def _percentile(durations: Counter[int], share: float) -> float:
    """The duration in seconds that `share` of the attempts did not exceed; 0 if there are none."""
    rank = share * durations.total()
    for step in sorted(durations):
        rank -= durations[step]
        if rank <= 0:
            return math.exp2(step / STEPS_PER_DOUBLING)
    return 0.0
