"""The timeline of a key as rows with bars; time in which nothing happens takes little room."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jetmesh.common.visible import visible
from jetmesh.console.effects import SideEffect
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.span_record import SpanRecord
from jetmesh.operate.timeline import BLANK, Line, duration, lines_of, unix_nano

WIDTH = 1_000
GAP_NANO = 1_000_000_000
"""Idle time that is longer is drawn as if it took `GAP_SHARE` of what happens."""
GAP_SHARE = 0.06
HUES = 8
StoryRow = tuple[Line, SideEffect | None]
SIGNS = {"ok": "good", "settled": "good", "retry": "doubt", "later": "doubt", "refused": "waits"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: an event or an attempt."""

    line: Line
    depth: int
    time: float
    offset: str
    duration: str
    x: int
    width: int
    hue: int
    state: str
    pause: str
    """How long nothing happened before it; empty: not worth a word."""
    place: tuple[str, int] | None
    """The stream and the sequence of an event."""
    effect: SideEffect | None = None
    """What was done outside, if the row is about that."""


def bars(
    events: Sequence[StoryEvent],
    spans: Sequence[SpanRecord],
    effects: Sequence[SideEffect] = (),
    services: Sequence[str] = (),
) -> list[Bar]:
    """The rows of a story. Each of the services has the same colour in all stories."""
    rows = [*_with_effects(lines_of(events, spans), effects)]
    if not rows:
        return []
    lines = [line for line, _ in rows]
    scale = _Timescale(_moments(rows))
    hues = {
        name: number % HUES + 1
        for number, name in enumerate(dict.fromkeys([*services, *(line.service for line in lines)]))
    }
    places = {name: (event.stream, event.sequence) for event in events for name in (event.type, event.id) if name}
    return [_bar(line, effect, scale, hues, places) for line, effect in rows]


def _with_effects(lines: Sequence[Line], effects: Sequence[SideEffect]) -> Iterator[StoryRow]:
    """The lines, each effect behind the event that it belongs to, or else at the end."""
    left = sorted(effects, key=lambda effect: effect.at)
    for line in lines:
        yield line, None
        is_recorded = line.is_event and not line.outcome
        mine = [effect for effect in left if is_recorded and effect.event == line.label]
        left = [effect for effect in left if effect not in mine]
        yield from ((_effect_line(effect, line.indent), effect) for effect in mine)
    yield from ((_effect_line(effect, BLANK), effect) for effect in left)


def _effect_line(effect: SideEffect, indent: str) -> Line:
    begun, ended = unix_nano(effect.at), unix_nano(effect.until or effect.at)
    return Line(
        "", indent, visible(effect.kind), visible(effect.service), begun, max(begun, ended), outcome=effect.state
    )


def _moments(rows: Sequence[StoryRow]) -> Iterator[tuple[int, int]]:
    """When something happened; what is on hold meanwhile is idle time."""
    for line, effect in rows:
        if effect is None:
            yield line.start_unix_nano, line.end_unix_nano
        else:
            yield line.start_unix_nano, line.start_unix_nano
            yield line.end_unix_nano, line.end_unix_nano


def _bar(
    line: Line,
    effect: SideEffect | None,
    scale: "_Timescale",
    hues: Mapping[str, int],
    places: Mapping[str, tuple[str, int]],
) -> Bar:
    x, end = scale.at(line.start_unix_nano), scale.at(line.end_unix_nano)
    return Bar(
        line=line,
        depth=min(len(line.indent) // len(BLANK), 12),
        time=line.start_unix_nano / 1e9,
        offset=duration(line.start_unix_nano - scale.start),
        duration=""
        if line.is_event or (effect and not effect.until)
        else duration(line.end_unix_nano - line.start_unix_nano),
        x=min(x, WIDTH - 4),
        width=max(end - x, 4),
        hue=hues[line.service],
        state=_state(line, effect),
        pause=scale.pause_before(line.start_unix_nano),
        place=places.get(line.event_id, places.get(line.label)) if line.is_event else None,
        effect=effect,
    )


def _state(line: Line, effect: SideEffect | None) -> str:
    if effect:
        return "waits" if effect.is_open else "good"
    return SIGNS.get(line.outcome, "bad" if line.outcome in ("failed", "dead_letter") else "good")


class _Timescale:
    """Maps time to the width, with idle gaps made short."""

    def __init__(self, moments: Iterable[tuple[int, int]]) -> None:
        busy = _together(sorted(moments))
        self.start = busy[0][0]
        active = sum(end - start for start, end in busy)
        short = sum(gap for gap in _gaps(busy) if gap <= GAP_NANO)
        self._gap = max(int((active + short) * GAP_SHARE), 1)
        self._parts: list[tuple[int, int, int]] = []
        self._pauses: dict[int, str] = {}
        at = 0
        for number, (start, end) in enumerate(busy):
            gap = start - busy[number - 1][1] if number else 0
            if gap > GAP_NANO:
                self._pauses[start] = duration(gap)
            at += min(gap, self._gap) if gap > GAP_NANO else gap
            self._parts.append((start, end, at))
            at += end - start
        self._whole = max(at, 1)

    def at(self, time: int) -> int:
        """The place of a time."""
        start, _, place = next((part for part in reversed(self._parts) if part[0] <= time), self._parts[0])
        return round((place + time - start) * WIDTH / self._whole)

    def pause_before(self, time: int) -> str:
        """How long nothing happened before the busy time that it is in, if that is long; said once, at the row of it
        that is shown first."""
        start = next((part[0] for part in reversed(self._parts) if part[0] <= time), 0)
        return self._pauses.pop(start, "")


def _together(intervals: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping intervals as one."""
    found = [intervals[0]]
    for start, end in intervals[1:]:
        if start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _gaps(busy: Sequence[tuple[int, int]]) -> Iterable[int]:
    return (later[0] - earlier[1] for earlier, later in pairwise(busy))
