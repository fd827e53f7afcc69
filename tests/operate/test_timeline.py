"""The story of an order in the terminal, at any width, with and without spans."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jetmesh.common.console import Console
from jetmesh.operate.span_record import SpanRecord
from jetmesh.operate.timeline import TimelineEvent, render

CLICK = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLICK_UNIX_NANO = int(CLICK.timestamp()) * 1_000_000_000


@dataclass(frozen=True)
class Event:
    type: str
    time: datetime
    service: str
    sequence: int
    id: str = ""


def event(kind: str, milliseconds: float, sequence: int = 1) -> Event:
    return Event(kind, CLICK + timedelta(milliseconds=milliseconds), kind.split(".")[0], sequence)


def span(name: str, parent: str, at: float, lasts: float, **more: Any) -> SpanRecord:
    """``name`` is ``service.reaction`` or ``→service.event``, and the span's id; times in milliseconds."""
    service, what = name.removeprefix("→").split(".")
    publishes = name.startswith("→")
    attributes = {"cloudevents.event_type": name[1:]} if publishes else {"jetmesh.reaction": what}
    return SpanRecord(
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id=more.get("id", name),
        parent_id=parent,
        name=f"publish {name[1:]}" if publishes else "process",
        kind="producer" if publishes else "consumer",
        service=service,
        start_unix_nano=CLICK_UNIX_NANO + int(at * 1e6),
        end_unix_nano=CLICK_UNIX_NANO + int((at + lasts) * 1e6),
        status="error" if more.get("reason") else "unset",
        status_message=more.get("reason", ""),
        attributes=attributes
        | {
            "jetmesh.outcome": more.get("outcome", "recorded"),
            "messaging.nats.message.delivery_count": more.get("attempt", 1),
        },
    )


CLICKED = replace(span("orders.place", "", 0, 4.2), name="POST /orders", kind="server", attributes={})
STORY = [
    CLICKED,
    span("→orders.placed", "orders.place", 1.1, 2.4),
    span("payments.authorize", "→orders.placed", 5.2, 38.0, id="1", outcome="retry", reason="the bank did not answer"),
    span("payments.authorize", "→orders.placed", 212.4, 21.9, id="2", attempt=2),
    span("→payments.authorized", "2", 230.1, 2.0),
    span("orders.promise", "→payments.authorized", 236.0, 3.3, outcome="settled"),
    span("inventory.reserve", "→orders.placed", 6.1, 5.8),
    span("→inventory.rejected", "inventory.reserve", 9.9, 1.8),
    span("orders.give_up", "→inventory.rejected", 13.0, 4.4),
    span("→orders.cancelled", "orders.give_up", 14.8, 1.7),
    span("payments.void", "→orders.cancelled", 18.7, 9.1, id="v1", outcome="later", reason="no authorization seen yet"),
    span("payments.void", "→orders.cancelled", 260.7, 9.1, id="v2", attempt=2),
    span("→payments.voided", "v2", 268.0, 1.5),
    span("inventory.release", "→orders.cancelled", 19.5, 2.2, outcome="settled"),
    span(
        "notifications.tell",
        "→orders.cancelled",
        20.0,
        31.0,
        outcome="dead_letter",
        reason="customer.email: no @ in it",
    ),
]
EVENTS = [
    event("orders.placed", 2, 1),
    event("inventory.rejected", 10, 2),
    event("orders.cancelled", 15, 3),
    event("payments.authorized", 231, 4),
    event("payments.voided", 269, 5),
]


def shown(
    events: Sequence[TimelineEvent], spans: Sequence[SpanRecord], width: int = 80, ascii_only: bool = False
) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if ascii_only else "utf-8", errors="strict")
    render(Console(file=file, width=width), "o-1042", events, spans)
    file.seek(0)
    return file.read()


def line_with(text: str, output: str) -> str:
    return next(line for line in output.splitlines() if text in line)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line.rstrip()) <= width for line in shown(EVENTS, STORY, width).splitlines())


def test_every_event_and_attempt_is_there_in_full_at_80_columns() -> None:
    output = shown(EVENTS, STORY)
    assert "…" not in output
    assert all(f"→ {each.type}" in output for each in EVENTS)
    assert output.count("payments.authorize ") == 2
    assert "payments.authorize ×2" in output


def test_each_row_has_its_time_outcome_and_duration() -> None:
    output = shown(EVENTS, STORY)
    assert line_with("payments.authorize ×2", output).split()[:2] == ["+212", "ms"]
    assert "ok" in line_with("payments.authorize ×2", output)
    assert "21.9 ms" in line_with("payments.authorize ×2", output)
    assert "settled" in line_with("orders.promise", output)


def test_what_failed_says_why() -> None:
    output = shown(EVENTS, STORY, 120)
    assert "dead letter" in line_with("notifications.tell", output)
    assert "customer.email: no @ in it" in output
    assert "the bank did not answer" in output


def test_an_event_that_was_refused_does_not_look_as_if_it_had_happened_twice() -> None:
    story = [CLICKED, span("→orders.placed", "orders.place", 1, 2, id="1", outcome="refused"),
             span("→orders.placed", "orders.place", 4, 2, id="2")]  # fmt: skip
    first, second = [line for line in shown([], story).splitlines() if "→ orders.placed" in line]
    assert "refused" in first
    assert "refused" not in second


def test_reactions_hang_below_the_event_that_they_react_to() -> None:
    rows = [line[9:].split("  ")[0].rstrip() for line in shown([], STORY[:5]).splitlines()[1:]]
    assert [row for row in rows if row][:4] == ["POST /orders", "→ orders.placed", "├ payments.authorize", "│"]
    assert "  → payments.authorized" in shown([], STORY[:5])


def test_the_title_names_key_and_trace() -> None:
    title = shown(EVENTS, STORY, 120).splitlines()[0]
    assert title == "o-1042 · 5 events · 4 services · 270 ms · trace 4bf92f3577b34da6a3ce929d0e0e4736"


def test_events_alone_are_shown_where_no_spans_are_kept() -> None:
    output = shown(EVENTS, [])
    assert [row.split("→ ")[1].split()[0] for row in output.splitlines() if "→" in row] == [e.type for e in EVENTS]
    assert "events alone" in output


def test_an_event_without_a_span_is_not_forgotten() -> None:
    assert "→ payments.captured" in shown([event("payments.captured", 400)], STORY)


def test_nothing_at_all_is_said_so() -> None:
    assert shown([], []) == "o-1042 · nothing is known about it\n"


def test_spans_whose_parent_is_missing_begin_a_tree_of_their_own() -> None:
    output = shown([], [each for each in STORY if each.name != "publish orders.placed"])
    assert "inventory.reserve" in output


def test_a_terminal_without_unicode_gets_ascii() -> None:
    output = shown(EVENTS, STORY, ascii_only=True)
    assert "> orders.placed" in output
    assert "payments.authorize x2" in output


def test_escape_sequences_from_outside_do_not_reach_the_terminal() -> None:
    hostile = span(
        "notifications.tell", "", 0, 1, outcome="dead_letter", reason="\x1b]0;owned\x07\x1b[2Jno such customer"
    )
    output = shown([], [hostile], 120)
    assert "no such customer" in output
    assert "\x1b" not in output
