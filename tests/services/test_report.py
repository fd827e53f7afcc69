"""What `jetmesh report` asks of the warehouse, and how it shows the answers."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jetmesh import Recorded
from jetmesh.sql import Warehouse
from jetmesh_shop.analytics.queries import ORDERS, QUERIES
from jetmesh_shop.reference.report import render

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
EVENT = Recorded("ORDERS", 1, "orders.placed", "o-1", NOON, "e-1", "/orders", "0" * 32, "", b"{}")


def event(sequence: int, **given: Any) -> Recorded:
    """An event as its stream has it."""
    return EVENT._replace(sequence=sequence, **given)


async def test_the_report_counts_orders_money_and_time(tmp_path: Path) -> None:
    path = tmp_path / "analytics.duckdb"
    async with Warehouse.held(path, ORDERS) as warehouse:
        await warehouse.store(story())
        report = await warehouse.answers(QUERIES)
    assert report["orders"] == [
        {"placed": 4, "confirmed": 2, "cancelled": 1, "refused": 0, "pending": 1, "conversion": 0.5}
    ]
    assert report["revenue"] == [{"currency": "EUR", "payments": 2, "captured_minor": 4600}]
    assert report["confirmation"][0]["p50_seconds"] == pytest.approx(0.25)
    assert [(row["minute"], row["placed"]) for row in report["minutes"]] == [
        ("2026-05-01T12:01Z", 2),
        ("2026-05-01T12:00Z", 2),
    ]
    assert json.loads(json.dumps(Warehouse.read(path, QUERIES, ORDERS))) == report


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


async def test_the_report_is_readable_with_orders_and_without(tmp_path: Path) -> None:
    async with Warehouse.held(tmp_path / "analytics.duckdb", ORDERS) as warehouse:
        assert "–" in shown(await warehouse.answers(QUERIES))
        await warehouse.store(story())
        text = shown(await warehouse.answers(QUERIES))
    for figure in ("50.0%", "46.00 EUR", "250 ms", "2026-05-01T12:01Z"):
        assert figure in text


def shown(report: dict[str, list[dict[str, object]]]) -> str:
    console = Console(width=120, record=True, quiet=False, file=None, stderr=True)
    with console.capture() as capture:
        console.print(render(report))
    return capture.get()
