"""The warehouse: every event once, in any order of arrival, whoever is killed, one writer at a time."""

import asyncio
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jetmesh import Recorded
from jetmesh.history import History, Restoration
from jetmesh.sql import Unusable, Warehouse, WarehouseBusy

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
BY_TYPE = {"types": "SELECT type, count(*) AS stored FROM events GROUP BY 1 ORDER BY 1"}

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
    return sum((await by_type(warehouse)).values())


async def by_type(warehouse: Warehouse) -> dict[str, int]:
    """How many events of each type are stored."""
    return {row["type"]: row["stored"] for row in (await warehouse.answers(BY_TYPE))["types"]}


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
    texts = {"texts": "SELECT count(*) AS strings FROM events WHERE json_type(data) = 'VARCHAR'"}
    assert await warehouse.answers(texts) == {"texts": [{"strings": 3}]}


async def test_a_second_writer_is_told_to_stand_by_and_takes_over(path: Path) -> None:
    first = await Warehouse.open(path)
    await first.store([event(1)])
    with pytest.raises(WarehouseBusy):
        await Warehouse.open(path)
    await first.aclose()
    second = await Warehouse.open(path)
    assert await second.store([event(1), event(2)]) == 1
    await second.aclose()


async def test_who_holds_it_waits_for_the_one_before_and_lets_go_at_the_end(path: Path) -> None:
    first = await Warehouse.open(path)

    async def wait() -> int:
        async with Warehouse.held(path, "CREATE TEMP VIEW keys AS SELECT key FROM events") as warehouse:
            return len((await warehouse.answers({"keys": "FROM keys"}))["keys"])

    second = asyncio.create_task(wait())
    await first.store([event(1), event(2)])
    assert not second.done()
    await first.aclose()
    assert await second == 2
    await (await Warehouse.open(path)).aclose()


@pytest.fixture(params=[b"no database at all", b"SQLite format 3\0" + bytes(4_000)], ids=["text", "sqlite"])
def foreign(request: pytest.FixtureRequest, path: Path) -> bytes:
    """A file of another kind at the warehouse's path; its contents."""
    contents: bytes = request.param
    path.write_bytes(contents)
    return contents


async def test_a_file_of_another_kind_is_named_and_left_alone(path: Path, foreign: bytes) -> None:
    with pytest.raises(Unusable, match=re.escape(str(path))):
        await Warehouse.open(path)
    with pytest.raises(Unusable, match="move it away and begin a new one"):
        Warehouse.read(path, BY_TYPE)
    assert await asyncio.to_thread(path.read_bytes) == foreign


STORING_FOR_EVER = """
import asyncio, itertools, pathlib, sys
sys.path.insert(0, sys.argv[2])
from test_warehouse import event
from jetmesh.sql import Warehouse

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
        Warehouse.read(path, BY_TYPE)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert Warehouse.read(path, BY_TYPE)["types"][0]["stored"] >= last
    warehouse = await Warehouse.open(path)
    assert await warehouse.store([event(sequence) for sequence in range(1, last + 1)]) == 0
    await warehouse.store([event(sequence) for sequence in range(1, 10_001)])
    assert await stored(warehouse) == 10_000
    await warehouse.aclose()


AT = NOON.timestamp()
FIRST = History(born=AT - 60)


def of_life(
    history: History, sequences: Sequence[int], minutes: float = 0.0, type: str = "orders.placed"
) -> list[Recorded]:
    """Events of a stream with this history, stored so many minutes after noon."""
    time = NOON + timedelta(minutes=minutes)
    return [event(sequence, time=time, type=type, history=history) for sequence in sequences]


async def test_a_stream_made_anew_begins_again_and_what_was_before_stays(warehouse: Warehouse) -> None:
    await warehouse.store(of_life(FIRST, range(1, 11)))
    anew = History(born=AT + 600)
    events = of_life(anew, range(1, 6), 11, type="orders.confirmed")
    assert await warehouse.store(events) == 5
    assert await warehouse.store([*events, *of_life(anew, [6], 12, type="orders.confirmed")]) == 1
    assert await by_type(warehouse) == {"orders.placed": 10, "orders.confirmed": 6}


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
    assert await by_type(warehouse) == {
        "orders.placed": 7, "orders.confirmed": 1, "orders.cancelled": 1,
    }  # fmt: skip
    await warehouse.aclose()


async def test_a_restore_of_an_earlier_life_undoes_the_later_one(warehouse: Warehouse) -> None:
    await warehouse.store(of_life(FIRST, range(1, 11)))
    await warehouse.store(of_life(History(born=AT + 600), range(1, 6), 11, type="orders.confirmed"))
    assert await warehouse.store(of_life(FIRST.after(Restoration(AT + 1_200, 8)), range(1, 9))) == 0
    assert await by_type(warehouse) == {"orders.placed": 8}


async def test_another_message_at_a_known_sequence_is_new_also_before_anybody_says_why(warehouse: Warehouse) -> None:
    await warehouse.store(of_life(FIRST, range(1, 11)))
    assert await warehouse.store(of_life(FIRST, [9, 10], 11, type="orders.confirmed")) == 2
    assert await warehouse.store(of_life(FIRST, [9, 10], 11, type="orders.confirmed")) == 0
    told = FIRST.after(Restoration(AT + 600, 8))
    assert await warehouse.store(of_life(told, [10], 11, type="orders.confirmed")) == 0
    assert await by_type(warehouse) == {"orders.placed": 8, "orders.confirmed": 2}
