"""A web application that is no service of the mesh: it publishes from outside, and tells its caller what came of it.

Run it with `uvicorn examples.web:web`; NATS_URL says where the broker is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

import jetmesh
from jetmesh import AlreadyThere, EventModel, Mesh, NotTaken, Service, Token, Unavailable

WAIT_SECONDS = 2.0


class ParcelAsked(EventModel, type="parcels.asked", owner="parcels", key_field="parcel_id", from_outside=True):
    """Somebody wants a parcel to be fetched."""

    parcel_id: Token
    street: str


parcels = Service("parcels")


@parcels.intake
async def take(asked: ParcelAsked) -> ParcelAsked:
    """Somebody outside wants a parcel to be fetched: record that."""
    return asked


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[dict[str, Mesh]]:
    """One connection for as long as the application runs."""
    async with jetmesh.connect(name="shopfront") as mesh:
        yield {"mesh": mesh}


def the_mesh(request: Request) -> Mesh:
    """The dependency: the mesh of this application."""
    mesh: Mesh = request.state.mesh
    return mesh


web = FastAPI(lifespan=connected)


@web.post("/parcels", status_code=202)
async def ask(asked: ParcelAsked, mesh: Annotated[Mesh, Depends(the_mesh)]) -> dict[str, str]:
    """Publish what was asked; the span of this request becomes the parent."""
    try:
        answer = await mesh.publish(asked, wait_seconds=WAIT_SECONDS)
    except Unavailable as away:
        raise HTTPException(503, str(away), {"Retry-After": "1"}) from None
    match answer:
        case NotTaken(reason=reason):
            raise HTTPException(409, reason)
        case AlreadyThere():
            return {"parcel": asked.parcel_id, "state": "known"}
        case _:
            return {"parcel": asked.parcel_id, "state": "recorded" if answer.recorded else "taken"}
