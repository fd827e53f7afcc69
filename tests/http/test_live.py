"""Stories as server-sent events: what a reader gets, where it goes on, and how many there may be."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from jetmesh import Problem, Stored, Unavailable
from jetmesh.http import Limits, LiveStories


def happened(sequence: int, name: str) -> Stored:
    return Stored(f"parcels.{name}.p-1", sequence, "", {}, b"{}")


ASKED, MOVED, FETCHED = happened(3, "asked"), happened(4, "moved"), happened(9, "fetched")


def end(story: Sequence[Stored]) -> str | None:
    return "fetched" if FETCHED in story else None


def live(leaving: asyncio.Event | None = None, **limits: Any) -> LiveStories:
    return LiveStories("PARCELS", lambda event: event.type, end, limits=Limits(**limits), leaving=leaving)


async def sent(stories: LiveStories, *readings: Sequence[Stored] | Exception, position: int = 0) -> list[Any]:
    """The name, the data and the id of each event, where the story is read so, one reading after another."""
    left = list(readings)

    async def read() -> Sequence[Stored]:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return [(each.event, each.data, each.id) async for each in stories.events(read, position)]


async def test_each_event_is_sent_once_and_at_last_the_end() -> None:
    assert await sent(live(), [ASKED], [ASKED, MOVED], [ASKED, MOVED, FETCHED]) == [
        (None, "parcels.asked", "PARCELS:3"),
        (None, "parcels.moved", "PARCELS:4"),
        (None, "parcels.fetched", "PARCELS:9"),
        ("end", "fetched", "PARCELS:9"),
    ]


async def test_a_stream_stops_without_an_end_where_the_mesh_or_the_replica_goes_away() -> None:
    leaving = asyncio.Event()
    leaving.set()

    assert await sent(live(), [ASKED], Unavailable("no broker")) == [(None, "parcels.asked", "PARCELS:3")]
    assert await sent(live(live_seconds_max=0), [ASKED], []) == [(None, "parcels.asked", "PARCELS:3")]
    assert await sent(live(leaving), [ASKED]) == []


@pytest.mark.parametrize(
    ("last_event_id", "position"), [("", 0), ("PARCELS:4", 4), ("PARCELS:5", 0), ("BILLS:4", 0)]
)  # fmt: skip
async def test_a_reader_goes_on_behind_an_event_of_this_story(last_event_id: str, position: int) -> None:
    async with live().reader([ASKED, MOVED], last_event_id) as found:
        assert found == position


async def test_one_who_has_seen_the_end_is_told_not_to_come_back() -> None:
    with pytest.raises(HTTPException) as told:
        async with live().reader([ASKED, FETCHED], "PARCELS:9"):
            pass

    assert told.value.status_code == 204


async def test_beyond_the_room_a_reader_is_told_to_come_again() -> None:
    stories = live(live_max=1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stories.reader([ASKED], ""))
        with pytest.raises(Problem) as problem:
            await stack.enter_async_context(stories.reader([ASKED], ""))
    async with stories.reader([ASKED], "") as position:
        assert position == 0

    assert problem.value.status == 503
