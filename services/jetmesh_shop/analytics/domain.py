"""What analytics has stored already: the sequences of a stream, as intervals."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Interval(NamedTuple):
    """The sequences from `first` to `last`, both included."""

    first: int
    last: int


class Intervals:
    """A set of sequences as sorted intervals that neither overlap nor touch: a floor, and islands above it.

    Deliveries come in any order and again, so one number as the position would lose or double some. As the gaps
    close, the islands grow together, and what is left is a few numbers a stream.
    """

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._intervals = sorted(intervals)

    def __iter__(self) -> Iterator[Interval]:
        return iter(self._intervals)

    def __contains__(self, sequence: int) -> bool:
        at = bisect_right(self._intervals, sequence, key=first)
        return at > 0 and sequence <= self._intervals[at - 1].last

    def __or__(self, sequences: Iterable[int]) -> "Intervals":
        """These and `sequences` together."""
        return Intervals(merged(sorted([*self._intervals, *map(single, sequences)])))


def first(interval: Interval) -> int:
    """Where the interval begins."""
    return interval.first


def single(sequence: int) -> Interval:
    """The interval of one sequence."""
    return Interval(sequence, sequence)


def merged(ordered: Iterable[Interval]) -> Iterator[Interval]:
    """The same sequences in as few intervals as possible."""
    intervals = iter(ordered)
    current = next(intervals, None)
    if current is None:
        return
    for interval in intervals:
        if interval.first <= current.last + 1:
            current = Interval(current.first, max(current.last, interval.last))
        else:
            yield current
            current = interval
    yield current
