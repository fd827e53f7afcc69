"""Every service also answers as a NATS micro service (ADR-32): `nats micro ls`, `info`, `stats`, `ping`."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import uuid4

from nats import micro
from nats.errors import Error
from nats.micro.request import Request
from nats.micro.service import Service as MicroService

from jetmesh.process.health import Health
from jetmesh.runtime.context import Context, Endpoint
from jetmesh.service import Service
from jetmesh.telemetry.providers import jetmesh_version
from jetmesh.topology.names import endpoint_subject

log = logging.getLogger("jetmesh.micro")

REPORT = "reactions"
HEALTH = "health"
WITHDRAW_SECONDS = 2.0


async def answer(
    context: Context, service: Service, health: Health, report: Callable[[], Mapping[str, Any]]
) -> MicroService:
    """Announce the service: its reactions as metadata, its health, its report and its own endpoints as endpoints. The
    report is also what `nats micro stats` shows beside the endpoint `reactions`."""
    reactions = {
        r.name: f"{_types(r.events, 'everything')} -> {_types(r.outcomes, 'nothing')}" for r in service.reactions
    }
    announced = await micro.add_service(
        cast(Any, context.public or context.connection),
        name=service.name,
        version=_semantic(jetmesh_version()),
        description=(service.meaning or f"the service {service.name}"),
        metadata=reactions,
        stats_handler=lambda endpoint: report() if endpoint.name == REPORT else None,
    )

    async def tell_health(_: bytes) -> bytes:
        state = {"ready": not health.why_not, "reason": health.why_not}
        more = {"notes": health.notes(), "remarks": health.remarks()}
        return json.dumps(state | {name: said for name, said in more.items() if said}).encode()

    async def tell_report(_: bytes) -> bytes:
        return json.dumps(report()).encode()

    for name, endpoint in {HEALTH: tell_health, REPORT: tell_report, **context.endpoints}.items():
        await announced.add_endpoint(
            name=name,
            subject=endpoint_subject(service.name, name),
            handler=_handler(endpoint),
            queue_group=uuid4().hex if name == HEALTH else None,  # each process answers for itself
        )
    return announced


async def withdraw(announced: MicroService) -> None:
    """Answer no more. A broker that is away or hangs has nobody to be told."""
    try:
        await asyncio.wait_for(announced.stop(), WITHDRAW_SECONDS)
    except (Error, OSError, TimeoutError) as away:
        log.debug("%s could not be withdrawn: %r", announced, away)


def _handler(endpoint: Endpoint) -> Any:
    async def handle(request: Request) -> None:
        try:
            await request.respond(await endpoint(request.data))
        except Exception as error:
            await request.respond_error("500", type(error).__name__)

    return handle


def _types(events: tuple[Any, ...], none: str) -> str:
    return ", ".join(event.type for event in events) or none


def _semantic(version: str) -> str:
    """A version that ADR-32 accepts: three numbers."""
    numbers = version.split("+")[0].split(".")[:3]
    return ".".join([*numbers, *["0"] * (3 - len(numbers))])
