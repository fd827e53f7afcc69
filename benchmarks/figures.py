"""Figures: what a run measured, medians over its rounds, and ratios between contenders."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: who did what, how well, at what cost.

    `ratio` is how many times jetmesh is better than this contender. `spread` is half the distance between the best
    and the worst round, as a share of `value`; of many pairs, half the interval in which their median lies. `noise`:
    who else used the machine meanwhile; empty where it was quiet. `day`: when it was measured (2026-11-30).
    `seconds`: how long its part took.
    """

    part: str
    what: str
    who: str
    value: float
    unit: str
    ratio: float | None = None
    spread: float | None = None
    cpu_micros: float | None = None
    memory_bytes: float | None = None
    noise: str = ""
    day: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """What one contender did in one round, or the median of its rounds."""

    messages_per_second: float
    cpu_micros_per_message: float
    memory_bytes: float


def median(rounds: Sequence[Figure]) -> Figure:
    """Each field's median by itself."""
    names = [field.name for field in fields(Figure)]
    return Figure(**{name: statistics.median(asdict(each)[name] for each in rounds) for name in names})


def spread(values: Sequence[float]) -> float:
    """Half the distance between the extremes, as a share of the median."""
    return (max(values) - min(values)) / 2 / statistics.median(values)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median of what these are a sample of lies, with 95 % certainty, whatever its distribution: each value
    is above it as likely as below. Of fewer than six values: between the extremes."""
    ordered, count = sorted(values), len(values)
    cut, tail = 0, 0.5**count
    while tail <= 0.025:
        cut += 1
        tail += math.comb(count, cut) * 0.5**count
    cut = max(0, cut - 1)
    return ordered[cut], ordered[-1 - cut]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of `values` does not exceed; not a number where there is none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
