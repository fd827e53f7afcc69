"""What every service recorded about one order: as it is, and as it happens."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any

import jetmesh_contracts
from jetmesh import Mesh, Recorded, Unavailable
from jetmesh_contracts import CourierSeen, Event

AGAIN_SECONDS = 0.5
TYPES: tuple[type[Event], ...] = tuple(
    sorted(
        (
            kind
            for kind in vars(jetmesh_contracts).values()
            if isinstance(kind, type) and issubclass(kind, Event) and getattr(kind, "key_field", "") == "order_id"
            if hasattr(kind, "type") and not kind.occurrence and kind is not CourierSeen
        ),
        key=attrgetter("owner", "type"),
    )
)
"""What a page tells: not where a courier is, and how often."""
OWNERS = {owner: tuple(kinds) for owner, kinds in groupby(TYPES, key=attrgetter("owner"))}


class Happened:
    """One event of the order's story."""

    def __init__(self, recorded: Recorded) -> None:
        self.type, self.time, self.id = recorded.type, recorded.time, recorded.id
        self.causation_id, self.trace_id = recorded.causation_id, recorded.trace_id
        self.service = recorded.stream.partition("-")[0].lower()
        self._data = recorded.data

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """Its body; empty where it is no JSON object."""
        with suppress(ValueError):
            document = json.loads(self._data)
            return document if isinstance(document, dict) else {}
        return {}


Story = Mapping[str, Happened]
"""Type → event: the first of each."""


def _told(events: Iterable[Recorded]) -> Story:
    return {each.type: Happened(each) for each in events}


async def read(mesh: Mesh, order_id: str) -> Story:
    """The story so far.

    Raises:
        Unavailable: the mesh does not answer.
    """
    pages = await asyncio.gather(*(mesh.read(order_id, kind, limit=1) for kind in TYPES))
    return _told(event for page in pages for event in page.events)


class Followed:
    """A story as it happens. `changed` is set with each event; who has looked clears it."""

    def __init__(self, story: Story) -> None:
        self.story: dict[str, Happened] = dict(story)
        self.changed = asyncio.Event()

    def take(self, recorded: Recorded) -> None:
        """One more event, or one that is known."""
        if recorded.type not in self.story:
            self.story[recorded.type] = Happened(recorded)
            self.changed.set()

    @property
    def since(self) -> datetime | None:
        """When the last event came."""
        return max((event.time for event in self.story.values()), default=None)


@asynccontextmanager
async def followed(mesh: Mesh, order_id: str) -> AsyncIterator[Followed]:
    """The story as it goes on, each stream followed for itself, until the block ends.

    Raises:
        Unavailable: the mesh does not answer.
    """
    mine = Followed(await read(mesh, order_id))

    async def follow(kinds: tuple[type[Event], ...]) -> None:
        while True:
            with suppress(Unavailable):
                async for recorded in mesh.follow(order_id, *kinds):
                    mine.take(recorded)
            await asyncio.sleep(AGAIN_SECONDS)

    tasks = [asyncio.create_task(follow(kinds), name=f"{owner} of {order_id}") for owner, kinds in OWNERS.items()]
    try:
        yield mine
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
