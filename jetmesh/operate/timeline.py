"""Prints the timeline of one key as a tree: who reacted to what, when, for how long, and with what outcome."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from textwrap import wrap
from typing import Protocol

from rich.table import Table
from rich.text import Text

from jetmesh.common.console import Console
from jetmesh.common.visible import visible
from jetmesh.operate.span_record import SpanRecord
from jetmesh.outcome import DeadLettered, EventsRecorded, Later, Nothing, Retried, Settled

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
OUTCOMES = {
    EventsRecorded.name: ("ok", "green"),
    Nothing.name: ("ok", "green"),
    Settled.name: ("settled", "dim"),
    Later.name: ("later", "yellow"),
    Retried.name: ("retry", "yellow"),
    DeadLettered.name: ("dead letter", "bold red"),
    "failed": ("failed", "bold red"),
    "refused": ("refused", "dim"),
}
NOTED_OUTCOMES = {"failed", "refused"}
"""The outcomes of a publish span that are shown: a refused event must not look as if it happened twice."""
EXPLAINED_OUTCOMES = {Later.name, Retried.name, DeadLettered.name, "failed"}

EVENT, BRANCH, LAST, TRUNK, BLANK, BAR = "→ ", "├ ", "└ ", "│ ", "  ", "━"

WIDTH_MAX = 140
BAR_WIDTH_MIN, BAR_WIDTH_GOOD = 8, 24
FIXED_WIDTH = len("+12.3 ms" + "dead letter" + "12.3 ms") + 3 + 4
"""The width of the columns time, outcome and duration, and of all gaps."""


class TimelineEvent(Protocol):
    """An event of the timeline; ``time`` has a zone, ``sequence`` is its place in the stream."""

    @property
    def type(self) -> str: ...
    @property
    def time(self) -> datetime: ...
    @property
    def service(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One row: a span or an event, its place in the tree, and the reason below it."""

    connector: str
    indent: str
    label: str
    service: str
    start_unix_nano: int
    end_unix_nano: int
    is_event: bool = False
    outcome: str = ""
    reason: str = ""
    event_id: str = ""


def render(console: Console, key: str, events: Sequence[TimelineEvent], spans: Sequence[SpanRecord]) -> None:
    """Print the timeline; if no spans are kept, say so and print the events alone."""
    lines = lines_of(events, spans)
    console.print(_title(key, events, spans, lines))
    if lines:
        console.print(_table(lines, min(console.width, WIDTH_MAX)))
    if events and not spans:
        console.print("No spans are kept: these are the events alone.", style="dim")


def lines_of(events: Sequence[TimelineEvent], spans: Sequence[SpanRecord]) -> list[Line]:
    """The rows of the tree, and then the events without a span."""
    return [*_Tree(spans).lines(), *_unseen(events, spans)]


def _title(key: str, events: Sequence[TimelineEvent], spans: Sequence[SpanRecord], lines: Sequence[Line]) -> Text:
    if not lines:
        return Text.assemble((visible(key), "bold"), (" · nothing is known about it", "dim"))
    traces = sorted({span.trace_id for span in spans})
    facts = (
        _counted(len(events), "event"),
        _counted(len({line.service for line in lines}), "service"),
        duration(max(line.end_unix_nano for line in lines) - min(line.start_unix_nano for line in lines)),
        *(["trace " + traces[0]] if len(traces) == 1 else [_counted(len(traces), "trace")] if traces else []),
    )
    return Text.assemble((visible(key), "bold"), (" · " + " · ".join(facts), "dim"))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _Tree:
    """Spans as rows. An event has the level of the reaction that recorded it, so that long timelines stay narrow."""

    def __init__(self, spans: Sequence[SpanRecord]) -> None:
        known = {span.span_id for span in spans}
        self._children: defaultdict[str, list[SpanRecord]] = defaultdict(list)
        for span in sorted(spans, key=lambda span: span.start_unix_nano):
            self._children[span.parent_id if span.parent_id in known else ""].append(span)

    def lines(self) -> Iterator[Line]:
        for root in self._children[""]:
            yield _line(root, EVENT if _is_event(root) else "", "")
            yield from self._below(root, "")

    def _below(self, span: SpanRecord, indent: str) -> Iterator[Line]:
        rows = list(self._level(span))
        branches = [row for row in rows if not _is_event(row)]
        for row in rows:
            if _is_event(row):
                yield _line(row, indent + EVENT, indent + BLANK)
            else:
                last = row is branches[-1]
                inner = indent + (BLANK if last else TRUNK)
                yield _line(row, indent + (LAST if last else BRANCH), inner)
                yield from self._below(row, inner)

    def _level(self, span: SpanRecord) -> Iterator[SpanRecord]:
        """The span's children, each event followed by the reactions to it."""
        for child in self._children[span.span_id]:
            yield child
            if _is_event(child):
                yield from self._level(child)


def _line(span: SpanRecord, connector: str, indent: str) -> Line:
    outcome = _outcome(span)
    return Line(
        connector,
        indent,
        visible(_label(span)),
        visible(span.service),
        span.start_unix_nano,
        span.end_unix_nano,
        _is_event(span),
        outcome if outcome in NOTED_OUTCOMES or not _is_event(span) else "",
        visible(_reason(span)) if outcome in EXPLAINED_OUTCOMES else "",
        _event_id(span) if _is_event(span) else "",
    )


def _is_event(span: SpanRecord) -> bool:
    return span.kind == "producer"


def _event_type(span: SpanRecord) -> str:
    return str(span.attributes.get("cloudevents.event_type") or span.name.removeprefix("publish "))


def _event_id(span: SpanRecord) -> str:
    return str(span.attributes.get("cloudevents.event_id", ""))


def _label(span: SpanRecord) -> str:
    if _is_event(span):
        return _event_type(span)
    reaction = span.attributes.get("jetmesh.reaction")
    attempt = span.attributes.get("messaging.nats.message.delivery_count", 1)
    name = f"{span.service}.{reaction}" if reaction else span.name
    return f"{name} ×{attempt}" if attempt > 1 else name


def _outcome(span: SpanRecord) -> str:
    stated = span.attributes.get("jetmesh.outcome")
    if stated in OUTCOMES:
        return str(stated)
    return "failed" if span.status == "error" else EventsRecorded.name


def _reason(span: SpanRecord) -> str:
    thrown = (event.attributes.get("exception.message") for event in span.events if event.name == "exception")
    return span.status_message or str(next(thrown, None) or "")


def _unseen(events: Sequence[TimelineEvent], spans: Sequence[SpanRecord]) -> Iterator[Line]:
    """The events without a span, by time."""
    published = [span for span in spans if _is_event(span)]
    types, ids = {_event_type(span) for span in published}, {_event_id(span) for span in published}
    for event in sorted(events, key=lambda event: (event.time, event.sequence)):
        is_seen = event.id in ids if event.id and ids != {""} else event.type in types
        if not is_seen:
            at, names = unix_nano(event.time), (visible(event.type), visible(event.service))
            yield Line(EVENT, BLANK, *names, at, at, is_event=True, event_id=event.id)


def unix_nano(time: datetime) -> int:
    """A time in nanoseconds since 1970."""
    return int(time.timestamp()) * 1_000_000_000 + time.microsecond * 1_000


def _table(lines: Sequence[Line], width: int) -> Table:
    label_width = _label_width(lines, width - FIXED_WIDTH)
    bar_width = width - FIXED_WIDTH - label_width
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(justify="right", no_wrap=True, style="dim", min_width=8)
    table.add_column(width=label_width, no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=bar_width, no_wrap=True)
    colours = dict(zip(dict.fromkeys(line.service for line in lines), cycle(COLOURS), strict=False))
    scale = _Scale(lines, bar_width)
    for line in lines:
        table.add_row(*_cells(line, colours, scale, label_width))
    return table


def _label_width(lines: Sequence[Line], room: int) -> int:
    """The width of labels: they come before the waterfall, and that before reasons, which may wrap."""
    labels = max(len(line.connector + line.label) for line in lines)
    reasons = max(len(line.indent + BLANK + line.reason) for line in lines)
    return min(max(labels, min(reasons, room - BAR_WIDTH_GOOD)), room - BAR_WIDTH_MIN)


def _cells(line: Line, colours: Mapping[str, str], scale: "_Scale", label_width: int) -> tuple[str | Text, ...]:
    colour = colours[line.service]
    word, style = OUTCOMES.get(line.outcome, ("", ""))
    label = Text.assemble((line.connector, "dim"), (line.label, f"bold {colour}" if line.is_event else colour))
    for part in wrap(line.reason, max(label_width - len(line.indent) - 2, 16)):
        label.append_text(Text.assemble("\n", (line.indent + "  ", "dim"), (part, "red")))
    took = "" if line.is_event else duration(line.end_unix_nano - line.start_unix_nano)
    return f"+{scale.offset(line)}", label, Text(word, style), took, Text(scale.bar(line), colour)


class _Scale:
    """Maps time to columns of the waterfall: the first row begins at the left, the last one ends at the right."""

    def __init__(self, lines: Sequence[Line], width: int) -> None:
        self._start = min(line.start_unix_nano for line in lines)
        self._span = max(max(line.end_unix_nano for line in lines) - self._start, 1)
        self._width = width

    def offset(self, line: Line) -> str:
        return duration(line.start_unix_nano - self._start)

    def bar(self, line: Line) -> str:
        first = min(self._column(line.start_unix_nano), self._width - 1)
        return " " * first + BAR * max(self._column(line.end_unix_nano) - first, 1)

    def _column(self, unix_nano: int) -> int:
        return (unix_nano - self._start) * self._width // self._span


def duration(nanoseconds: int) -> str:
    """A duration with about three digits in a fitting unit: 0.4 ms, 12.3 ms, 1.25 s, 15 min."""
    milliseconds = nanoseconds / 1_000_000
    if milliseconds < 999.5:
        return f"{milliseconds:.1f} ms" if milliseconds < 99.95 else f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1_000
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
