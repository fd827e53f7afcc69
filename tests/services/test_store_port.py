"""What analytics needs of a store: the simulated warehouse keeps each event once, as the one on DuckDB does."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jetmesh import Recorded
from jetmesh.sql import Warehouse
from jetmesh_shop.analytics.service import Store
from tests.simulation.outside import SimulatedWarehouse

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def event(stream: str, sequence: int) -> Recorded:
    return Recorded(stream, sequence, "orders.placed", "o-1", NOON, f"e-{sequence}", "/orders", "0" * 32, "", b"{}")


EVENTS = [event(stream, sequence) for sequence in range(1, 21) for stream in ("ORDERS", "PAYMENTS")]


@pytest.fixture(params=["duckdb", "simulated"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Both."""
    if request.param == "simulated":
        yield SimulatedWarehouse(7)
        return
    warehouse = await Warehouse.open(tmp_path / "analytics.duckdb")
    yield warehouse
    await warehouse.aclose()


async def test_an_event_is_kept_once_however_often_it_is_stored(store: Store) -> None:
    assert await store.store(EVENTS) == len(EVENTS)
    assert await store.store(EVENTS) == 0


async def test_events_may_come_in_any_order_and_in_batches_that_overlap(store: Store) -> None:
    deliveries = EVENTS * 3
    random.Random(7).shuffle(deliveries)
    stored = [await store.store(deliveries[start : start + 7]) for start in range(0, len(deliveries), 7)]
    assert sum(stored) == len(EVENTS)


async def test_an_event_that_stands_twice_in_one_batch_counts_once(store: Store) -> None:
    assert await store.store([EVENTS[0], EVENTS[1], EVENTS[0]]) == 2


async def test_the_same_sequence_of_two_streams_is_two_events(store: Store) -> None:
    assert await store.store([event("ORDERS", 1)]) == 1
    assert await store.store([event("PAYMENTS", 1)]) == 1


async def test_an_empty_batch_stores_nothing(store: Store) -> None:
    assert await store.store([]) == 0
