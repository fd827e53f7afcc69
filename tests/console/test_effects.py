"""What an app did outside, in the story of a key: where it stands, what is seen of it, and what can't be told."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from jetmesh.console.effects import KeyStory, SideEffect, SideEffects
from jetmesh.console.waterfall import WIDTH, _Timescale, bars
from jetmesh.operate.key_history import StoryEvent
from jetmesh.operate.span_record import SpanRecord
from jetmesh.testing import LocalMesh, MeshOf
from tests.console.conftest import ConsoleOf
from tests.support.tollgate import Bank, CarArrived, Gate, TollPaid, tollgate

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PAID = StoryEvent("tolls.paid", NOON, "tolls", "TOLLS", 1, "", "", "")
HOLD = SideEffect(kind="hold", service="bank", at=NOON - MINUTE, state="held", is_open=True, event="tolls.paid")


def test_an_effect_stands_behind_its_event_and_one_without_at_the_end() -> None:
    left = replace(PAID, type="tolls.left", time=NOON + HOUR)
    mail = replace(HOLD, kind="mail", event="", state="sent", is_open=False)
    rows = bars([PAID, left], [], [mail, HOLD])
    assert [row.line.label for row in rows] == ["tolls.paid", "hold", "tolls.left", "mail"]
    assert [row.state for row in rows] == ["good", "waits", "good", "good"]
    assert [row.effect for row in rows] == [None, HOLD, None, mail]


def test_each_of_many_occurrences_leads_to_its_own_message_and_is_there_without_a_span() -> None:
    seen = [replace(PAID, type="cars.seen", sequence=number, id=f"id-{number}") for number in (1, 2, 3)]
    at = int(NOON.timestamp() * 1e9)
    spans = [
        SpanRecord("t", f"s{number}", "", "publish cars.seen", "producer", "cars", at, at,
                   attributes={"cloudevents.event_type": "cars.seen", "cloudevents.event_id": f"id-{number}"})
        for number in (1, 2)
    ]  # fmt: skip
    assert [row.place for row in bars(seen, spans)] == [("TOLLS", 1), ("TOLLS", 2), ("TOLLS", 3)]


def test_an_effect_stands_behind_what_was_recorded_and_not_behind_a_refused_try() -> None:
    at = int(NOON.timestamp() * 1e9)
    spans = [
        SpanRecord("t", outcome, "", "publish tolls.paid", "producer", "tolls", at, at,
                   attributes={"cloudevents.event_type": "tolls.paid", "jetmesh.outcome": outcome})
        for outcome in ("refused", "recorded")
    ]  # fmt: skip
    told = [(row.line.label, row.line.outcome) for row in bars([PAID], spans, [HOLD])]
    assert told == [("tolls.paid", "refused"), ("tolls.paid", ""), ("hold", "held")]


def test_a_hold_reaches_to_its_end_and_what_is_idle_meanwhile_takes_little_room() -> None:
    hold = replace(HOLD, at=NOON, until=NOON + HOUR, state="given back", is_open=False)
    later = replace(PAID, type="tolls.left", time=NOON + HOUR)
    event, held, last = bars([PAID, later], [], [hold])
    assert (held.x, held.x + held.width, held.duration) == (event.x, WIDTH, "60 min")
    assert last.pause == "60 min"


def test_a_pause_stands_before_the_row_of_the_time_after_it_that_is_shown_first() -> None:
    second = 10**9
    scale = _Timescale([(0, second), (60 * second, 62 * second)])
    assert [scale.pause_before(at * second) for at in (0, 61, 60)] == ["", "59.0 s", ""]


async def _car(mesh_of: MeshOf, console_of: ConsoleOf, effects: SideEffects) -> tuple[LocalMesh, httpx.AsyncClient]:
    service = tollgate()
    mesh = await mesh_of(service, dependencies=[Gate(Bank())])
    await mesh.record(CarArrived(plate="car-1"))
    await mesh.recorded(TollPaid, "car-1")
    return mesh, await console_of([service], effects=[effects])


async def test_a_story_has_what_was_done_outside_with_its_text(mesh_of: MeshOf, console_of: ConsoleOf) -> None:
    def mails(story: KeyStory) -> list[SideEffect]:
        body = story.bodies["tolls.paid"]
        at = story.time_of("tolls.paid") or NOON
        said: dict[str, Any] = {
            "text": "Dear driver,\n<b>\u202egood bye",
            "facts": {"to": "a@example.com"},
            "key": f"mail-{story.key}",
        }
        return [SideEffect(kind="mail", service="tolls", at=at, state="sent", title=f"Paid: {body['plate']}", **said)]

    _, browser = await _car(mesh_of, console_of, SideEffects(of=mails, reads=["tolls.paid"]))
    page = (await browser.get("/mesh/story?key=car-1")).text
    assert [
        words
        for words in ("Paid: car-1", "mail-car-1", "a@example.com", "Dear driver,\n&lt;b&gt;")
        if words not in page
    ] == []
    assert "<b>" not in page.partition("<main")[2]
    assert re.search(r"sent</td>", page)


async def test_effects_that_cant_be_told_leave_the_rest_of_the_story(
    mesh_of: MeshOf, console_of: ConsoleOf, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: KeyStory) -> list[SideEffect]:
        raise OSError("the bank's books are away")

    _, browser = await _car(mesh_of, console_of, SideEffects(of=broken))
    page = (await browser.get("/mesh/story?key=car-1")).text
    assert "the reason is in the console&#39;s log" in page
    assert "tolls.paid" in page
    assert "the side effects of car-1" in caplog.text
    assert (await browser.get("/mesh/story?key=nobody")).status_code == 200
