"""How often the deliveries of a reaction may begin, in all processes together."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit over time: `Rate(100, per_seconds=60, burst=10)` lets a hundred deliveries begin in a minute.

    They begin at equal intervals; after a rest up to `burst` of them together. In any time of t seconds at most
    `burst + most / per_seconds * t` begin.
    """

    most: int
    per_seconds: float = 1.0
    burst: int = 1

    @property
    def interval_seconds(self) -> float:
        """The time from one delivery to the next."""
        return self.per_seconds / self.most

    @property
    def slack_seconds(self) -> float:
        """How much sooner than at its interval a delivery may begin, after a rest."""
        return (self.burst - 1) * self.interval_seconds

    @property
    def problem(self) -> str:
        """The field that is wrong, and what to write there; empty if none is."""
        for name, value in (("most", self.most), ("burst", self.burst)):
            if type(value) is not int or value < 1:
                return f"{name}={value!r}: write a whole number from 1 on"
        seconds = self.per_seconds
        if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds <= 0:
            return f"per_seconds={seconds!r}: write a number of seconds above 0"
        return ""
