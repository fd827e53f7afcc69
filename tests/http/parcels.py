"""A small HTTP API, and what calls it: in process, or over a connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from fastapi import FastAPI, Header
from fastapi.security import HTTPBearer
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.types import ASGIApp

from jetmesh import Problem, Token
from jetmesh.http import (
    BAD_HEADER,
    NOT_FOUND,
    OF_A_BODY,
    FromOutside,
    Limits,
    Problems,
    Router,
    api,
    name_key,
    problem_responses,
)
from jetmesh.http.server import HttpServer, listen

PARCEL: dict[str, Any] = {"parcel_id": "p-1", "street": "Main Street 1", "weights": [1]}
JSON = {"content-type": "application/json"}


class Parcel(BaseModel, extra="forbid"):
    """What is sent."""

    parcel_id: Token
    street: str = Field(min_length=3)
    weights: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, max_length=3)
    colour: str = Field(default="red", pattern="^[a-z]+$")


@dataclass
class Parcels:
    """What is kept, and how it fails: a test says so."""

    kept: list[str] = field(default_factory=list)
    failure: Exception | None = None
    released: asyncio.Event | None = None

    async def keep(self, parcel_id: str) -> None:
        """Keep the id."""
        if self.released:
            await self.released.wait()
        if self.failure:
            raise self.failure
        self.kept.append(parcel_id)


def app_of(parcels: Parcels, limits: Limits, provider: TracerProvider | None = None) -> FastAPI:
    """The application."""
    router = Router(prefix="/parcels/{parcel_id}")

    @router.get("", responses=problem_responses(NOT_FOUND))
    async def show(parcel_id: str) -> dict[str, str]:
        if parcel_id not in parcels.kept:
            raise NOT_FOUND.problem("There is no parcel of this id.", parcel_id=parcel_id)
        return {"parcel_id": parcel_id}

    @router.delete("", status_code=204)
    async def drop(parcel_id: str, count: Annotated[int, Header()] = 1) -> None:
        raise Problem(409, "The parcel is on its way", f"{parcel_id} can't be dropped {count} times.")

    @router.get("/events")
    async def events(request: Request) -> dict[str, str]:
        bearer = await HTTPBearer(auto_error=False)(request)
        return {"bearer": bearer.credentials if bearer else "", "query": request.url.query}

    words = Problems(fixes={"colour": "Send a colour."}, ask_again="Send it again.", members={"parcel_id": "Which."})
    app = api(limits, problems=words, tracer_provider=provider, routes=router.routes, title="Parcels")

    @app.post("/parcels", status_code=201, responses=problem_responses(*OF_A_BODY, BAD_HEADER))
    async def keep(parcel: Parcel) -> Parcel:
        name_key(parcel.parcel_id)
        await parcels.keep(parcel.parcel_id)
        return parcel

    return app


@dataclass
class Called:
    """The application under test, and all that surrounds it."""

    parcels: Parcels
    app: ASGIApp
    client: httpx.AsyncClient
    exporter: InMemorySpanExporter

    @property
    def span(self) -> ReadableSpan:
        """The span of the only request."""
        [span] = self.exporter.get_finished_spans()
        return span

    async def send(self, parcel: Any = PARCEL, **headers: str) -> httpx.Response:
        """Send the parcel."""
        return await self.client.post("/parcels", json=parcel, headers=headers)


@asynccontextmanager
async def called(limits: Limits | None = None, *, trusts_callers: bool = False) -> AsyncIterator[Called]:
    """The application under these limits, called in process."""
    parcels, exporter, provider = Parcels(), InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = FromOutside(app_of(parcels, limits or Limits(), provider), trusts_callers=trusts_callers)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://parcels") as client:
        yield Called(parcels, app, client, exporter)


@dataclass
class Served:
    """The application on a port of its own."""

    server: HttpServer
    port: int
    parcels: Parcels
    client: httpx.AsyncClient

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def said(self, *sent: bytes) -> bytes:
        """All that is answered to this, until the server closes the connection."""
        reader, writer = await self.connect()
        writer.write(b"".join(sent))
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer


@asynccontextmanager
async def served(limits: Limits | None = None) -> AsyncIterator[Served]:
    """The application under these limits, on a real connection."""
    limits, parcels = limits or Limits(), Parcels()
    app = FromOutside(app_of(parcels, limits), trusts_callers=False)
    server = HttpServer(app, listen("127.0.0.1", 0), limits, asyncio.Event())
    port = server.listener.getsockname()[1]
    serving = asyncio.create_task(server.run_until_drained())
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            yield Served(server, port, parcels, client)
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 20)
