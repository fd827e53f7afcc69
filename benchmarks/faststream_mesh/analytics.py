"""Analytics: every event into DuckDB, in batches, one insert from lists each."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import duckdb
from faststream.nats import NatsBroker

from benchmarks.faststream_mesh.app import pulls

SCHEMA = "CREATE TABLE IF NOT EXISTS events (key VARCHAR, data JSON)"
INSERT = "INSERT INTO events SELECT unnest($1), unnest($2)"


def subscribe(broker: NatsBroker) -> None:
    """The subscribers of the service."""
    database = duckdb.connect(Path(os.environ["JETMESH_STATE"], "analytics.duckdb"), config={"threads": 1})
    database.execute(SCHEMA)
    one_at_a_time = asyncio.Lock()

    async def keep(events: list[dict[str, Any]]) -> None:
        columns = [[event["order_id"] for event in events], [json.dumps(event) for event in events]]
        async with one_at_a_time:
            await asyncio.to_thread(database.execute, INSERT, columns)

    for stream, subject in (("ORDERS", "orders.>"), ("PAYMENTS", "payments.>"), ("INVENTORY", "inventory.>")):
        broker.subscriber(subject, **pulls(stream, "analytics", batch=True))(keep)
