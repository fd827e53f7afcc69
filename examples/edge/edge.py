"""The HTTP edge of parcels."""

from fastapi import FastAPI, Response

from examples.edge.service import ParcelAsked, parcels
from jetmesh import AlreadyThere, Context
from jetmesh.http import NOT_FOUND, OF_A_BODY, Limits, ProblemKind, api, name_key, problem_responses

OTHER_PARCEL = ProblemKind(409, "urn:problem-type:parcels:other-parcel", "Another parcel has this id")


def edge(context: Context, limits: Limits) -> FastAPI:
    """The application."""
    app = api(limits, title="Parcels", tracer_provider=context.telemetry.tracer_provider)

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

    @app.get("/parcels/{parcel_id}", responses=problem_responses(NOT_FOUND))
    async def show(parcel_id: str) -> list[str]:
        """What happened to the parcel."""
        story = await context.story(parcels, parcel_id)
        if not story:
            raise NOT_FOUND.problem("There is no parcel of this id.")
        return [event.type for event in story]

    return app
