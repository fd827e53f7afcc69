"""The HTTP edge of parcels."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from functools import partial
from typing import Annotated

from fastapi import Depends, FastAPI, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from examples.edge.service import ParcelAsked, ParcelFetched, parcels
from jetmesh import AlreadyThere, Context, Stored
from jetmesh.http import (
    LIVE,
    NOT_FOUND,
    OF_A_BODY,
    LastEventId,
    Limits,
    LiveStories,
    ProblemKind,
    api,
    name_key,
    problem_responses,
)

OTHER_PARCEL = ProblemKind(409, "urn:problem-type:parcels:other-parcel", "Another parcel has this id")


def depot_of(story: Sequence[Stored]) -> str | None:
    """Where a parcel was brought, which ends its story."""
    fetched = [ParcelFetched.read(event.data).depot for event in story if event.type == ParcelFetched.type]
    return fetched[0] if fetched else None


def edge(context: Context, limits: Limits, leaving: asyncio.Event) -> FastAPI:
    """The application."""
    app = api(limits, title="Parcels", tracer_provider=context.telemetry.tracer_provider)
    live = LiveStories(parcels.stream, lambda event: event.type, depot_of, limits=limits, leaving=leaving)

    @app.post("/parcels", status_code=201, responses=problem_responses(*OF_A_BODY, OTHER_PARCEL))
    async def ask(asked: ParcelAsked, response: Response) -> ParcelAsked:
        """Ask for a parcel: asking twice is asking once."""
        name_key(asked.parcel_id)
        answer = await context.record_first(parcels, asked)
        if isinstance(answer, AlreadyThere):
            if all(ParcelAsked.read(each.data) != asked for each in answer.story if each.type == ParcelAsked.type):
                raise OTHER_PARCEL.problem("Send this parcel under a new parcel_id.")
            response.status_code = 200
        return asked

    async def story_of(parcel_id: str) -> Sequence[Stored]:
        story = await context.story(parcels, parcel_id)
        if not story:
            raise NOT_FOUND.problem("There is no parcel of this id.")
        return story

    @app.get("/parcels/{parcel_id}", responses=problem_responses(NOT_FOUND))
    async def show(story: Annotated[Sequence[Stored], Depends(story_of)]) -> list[str]:
        """What happened to the parcel."""
        return [event.type for event in story]

    async def reader(
        story: Annotated[Sequence[Stored], Depends(story_of)], last_event_id: LastEventId = ""
    ) -> AsyncIterator[int]:
        async with live.reader(story, last_event_id) as position:
            yield position

    @app.get("/parcels/{parcel_id}/events", response_class=EventSourceResponse, responses=LIVE)
    async def follow(parcel_id: str, position: Annotated[int, Depends(reader)]) -> AsyncIterable[ServerSentEvent]:
        """What happens to the parcel, as it happens."""
        async for event in live.events(partial(context.story, parcels, parcel_id), position):
            yield event

    return app
