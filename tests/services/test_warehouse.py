"""The warehouse: every event once, in any order of arrival, whoever is killed, one writer at a time."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jetmesh import Recorded
from jetmesh.history import History, Restoration
from jetmesh_shop.analytics.adapters import Warehouse, WarehouseBusy, read_report
from jetmesh_shop.analytics.report import render

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


EVENT = Recorded("ORDERS", 1, "orders.placed", "o-1", NOON, "e-1", "/orders", "0" * 32, "", b"{}")


def event(sequence: int, **given: Any) -> Recorded:
    """An event as its stream has it."""
    return EVENT._replace(sequence=sequence, **given)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "analytics.duckdb"


@pytest.fixture
async def warehouse(path: Path) -> AsyncIterator[Warehouse]:
    warehouse = await Warehouse.open(path)
    yield warehouse
    await warehouse.aclose()


async def stored(warehouse: Warehouse) -> int:
    return sum(row["stored"] for row in await warehouse.answer("events"))


async def test_any_order_and_any_repetition_stores_each_event_once(path: Path) -> None:
    events = [event(sequence, stream=stream) for sequence in range(1, 101) for stream in ("ORDERS", "PAYMENTS")]
    deliveries = events * 3
    random.Random(7).shuffle(deliveries)
    for batch in batches_of(60, deliveries):
        warehouse = await Warehouse.open(path)
        await warehouse.store(batch)
        await warehouse.store(batch)
        await warehouse.aclose()
    warehouse = await Warehouse.open(path)
    assert await warehouse.store(events) == 0
    assert await stored(warehouse) == len(events)
    await warehouse.aclose()


def batches_of(size: int, deliveries: Sequence[Recorded]) -> list[Sequence[Recorded]]:
    return [deliveries[start : start + size] for start in range(0, len(deliveries), size)]


async def test_a_body_that_is_no_json_is_kept_and_stops_nothing(warehouse: Warehouse) -> None:
    bodies = [b"\xff{", b"", b'"text"', b"{}"]
    assert await warehouse.store([event(number, data=body) for number, body in enumerate(bodies)]) == 4
    assert await stored(warehouse) == 4
    assert (await warehouse.report())["revenue"] == []


async def test_a_second_writer_is_told_to_stand_by_and_takes_over(path: Path) -> None:
    first = await Warehouse.open(path)
    await first.store([event(1)])
    with pytest.raises(WarehouseBusy):
        await Warehouse.open(path)
    await first.aclose()
    second = await Warehouse.open(path)
    assert await second.store([event(1), event(2)]) == 1
    await second.aclose()


STORING_FOR_EVER = """
import asyncio, itertools, pathlib, sys
sys.path.insert(0, sys.argv[2])
from test_warehouse import event
from jetmesh_shop.analytics.adapters import Warehouse

async def main():
    warehouse = await Warehouse.open(pathlib.Path(sys.argv[1]))
    for start in itertools.count(1, 10):
        await warehouse.store([event(sequence) for sequence in range(start, start + 10)])
        print(start + 9, flush=True)

asyncio.run(main())
"""


def writer(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STORING_FOR_EVER, str(path), str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_another_process_finds_it_busy_until_the_writer_is_killed_and_then_complete(path: Path) -> None:
    process = writer(path)
    assert process.stdout is not None
    last = [int(process.stdout.readline()) for _ in range(20)][-1]
    with pytest.raises(WarehouseBusy):
        await Warehouse.open(path)
    with pytest.raises(WarehouseBusy):
        read_report(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert read_report(path)["events"][0]["stored"] >= last
    warehouse = await Warehouse.open(path)
    assert await warehouse.store([event(sequence) for sequence in range(1, last + 1)]) == 0
    await warehouse.store([event(sequence) for sequence in range(1, 10_001)])
    assert await stored(warehouse) == 10_000
    await warehouse.aclose()


async def test_the_report_counts_orders_money_and_time(path: Path) -> None:
    warehouse = await Warehouse.open(path)
    await warehouse.store(story())
    report = await warehouse.report()
    assert report["orders"] == [
        {"placed": 4, "confirmed": 2, "cancelled": 1, "refused": 0, "pending": 1, "conversion": 0.5}
    ]
    assert report["revenue"] == [{"currency": "EUR", "payments": 2, "captured_minor": 4600}]
    assert report["confirmation"][0]["p50_seconds"] == pytest.approx(0.25)
    assert [(row["minute"], row["placed"]) for row in report["minutes"]] == [
        ("2026-05-01T12:01Z", 2),
        ("2026-05-01T12:00Z", 2),
    ]
    await warehouse.aclose()
    assert json.loads(json.dumps(read_report(path))) == report


def story() -> list[Recorded]:
    """Four orders, half a minute apart: two confirmed after 250 ms, one cancelled, one still open."""
    at = [NOON + timedelta(seconds=30 * number) for number in range(4)]
    soon = timedelta(milliseconds=250)
    paid = b'{"amount_minor": 2300, "currency": "EUR"}'
    placed = [event(number, key=f"o-{number}", time=time) for number, time in enumerate(at)]
    confirmed = [event(10 + n, type="orders.confirmed", key=f"o-{n}", time=at[n] + soon) for n in range(2)]
    captured = [
        event(n, stream="PAYMENTS", type="payments.captured", key=f"o-{n}", time=at[n] + soon, data=paid)
        for n in range(2)
    ]
    return [*placed, *confirmed, *captured, event(20, type="orders.cancelled", key="o-2", time=at[2])]


async def test_the_report_is_readable_with_orders_and_without(warehouse: Warehouse) -> None:
    assert "–" in shown(await warehouse.report())
    await warehouse.store(story())
    text = shown(await warehouse.report())
    for figure in ("50.0%", "46.00 EUR", "250.0 ms", "2026-05-01T12:01Z"):
        assert figure in text


def shown(report: dict[str, list[dict[str, object]]]) -> str:
    console = Console(width=120, record=True, quiet=False, file=None, stderr=True)
    with console.capture() as capture:
        console.print(render(report))
    return capture.get()


AT = NOON.timestamp()
FIRST = History(born=AT - 60)


def of_life(
    history: History, sequences: Sequence[int], minutes: float = 0.0, type: str = "orders.placed"
) -> list[Recorded]:
    """Events of a stream with this history, stored so many minutes after noon."""
    time = NOON + timedelta(minutes=minutes)
    return [event(sequence, time=time, type=type, history=history) for sequence in sequences]


async def count(warehouse: Warehouse, event_type: str) -> int:
    return sum(int(row["stored"]) for row in await warehouse.answer("events") if row["type"] == event_type)


async def test_a_stream_made_anew_begins_again_and_what_was_before_stays(warehouse: Warehouse) -> None:
    await warehouse.store(of_life(FIRST, range(1, 11)))
    anew = History(born=AT + 600)
    events = of_life(anew, range(1, 6), 11, type="orders.confirmed")
    assert await warehouse.store(events) == 5
    assert await warehouse.store([*events, *of_life(anew, [6], 12, type="orders.confirmed")]) == 1
    assert (await count(warehouse, "orders.placed"), await count(warehouse, "orders.confirmed")) == (10, 6)


async def test_what_a_restore_undid_goes_and_what_comes_instead_is_stored(path: Path) -> None:
    warehouse = await Warehouse.open(path)
    await warehouse.store(of_life(FIRST, range(1, 11)))
    restored = FIRST.after(Restoration(AT + 600, 7))
    await warehouse.aclose()
    warehouse = await Warehouse.open(path)
    assert await warehouse.store(of_life(restored, range(1, 8))) == 0
    assert await stored(warehouse) == 7
    assert await warehouse.store(of_life(restored, range(11, 13), 11, type="orders.confirmed")) == 2
    again = restored.after(Restoration(AT + 1_200, 11))
    assert await warehouse.store(of_life(again, [12], 21, type="orders.cancelled")) == 1
    assert {row["type"]: row["stored"] for row in await warehouse.answer("events")} == {
        "orders.placed": 7, "orders.confirmed": 1, "orders.cancelled": 1,
    }  # fmt: skip
    await warehouse.aclose()


async def test_a_restore_of_an_earlier_life_undoes_the_later_one(warehouse: Warehouse) -> None:
    await warehouse.store(of_life(FIRST, range(1, 11)))
    await warehouse.store(of_life(History(born=AT + 600), range(1, 6), 11, type="orders.confirmed"))
    assert await warehouse.store(of_life(FIRST.after(Restoration(AT + 1_200, 8)), range(1, 9))) == 0
    assert {row["type"]: row["stored"] for row in await warehouse.answer("events")} == {"orders.placed": 8}


async def test_another_message_at_a_known_sequence_is_new_also_before_anybody_says_why(warehouse: Warehouse) -> None:
    await warehouse.store(of_life(FIRST, range(1, 11)))
    assert await warehouse.store(of_life(FIRST, [9, 10], 11, type="orders.confirmed")) == 2
    assert await warehouse.store(of_life(FIRST, [9, 10], 11, type="orders.confirmed")) == 0
    told = FIRST.after(Restoration(AT + 600, 8))
    assert await warehouse.store(of_life(told, [10], 11, type="orders.confirmed")) == 0
    assert (await count(warehouse, "orders.placed"), await count(warehouse, "orders.confirmed")) == (8, 2)
