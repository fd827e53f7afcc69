"""Makes every service a NATS micro service too: `nats micro ls`, `info`, `stats`, `ping`."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from jetmesh.common.version import jetmesh_version
from jetmesh.jetstream.micro import Endpoint, MicroService, plain
from jetmesh.process.health import Health
from jetmesh.reaction import Reaction
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.topology.names import endpoint_subject

log = logging.getLogger("jetmesh.micro")

REPORT = "reactions"
HEALTH = "health"
WITHDRAW_SECONDS = 2.0


async def answer(
    context: Context,
    service: Service,
    health: Health,
    report: Callable[[], Mapping[str, Any]],
    declared: Sequence[Endpoint] = (),
) -> MicroService:
    """Announce the service: its reactions as metadata; its health, its report and its own endpoints as endpoints. `nats
    micro stats` shows the report too, at the endpoint `reactions`."""

    async def send_health(_: bytes) -> bytes:
        state = {"ready": not health.why_not, "reason": health.why_not}
        more = {"notes": health.notes(), "remarks": health.remarks()}
        return json.dumps(state | {name: said for name, said in more.items() if said}).encode()

    async def send_report(_: bytes) -> bytes:
        return json.dumps(report()).encode()

    def subject(name: str) -> str:
        return endpoint_subject(service.name, name)

    endpoints = [
        Endpoint(HEALTH, subject(HEALTH), plain(send_health), queue=uuid4().hex),  # each process answers for itself
        Endpoint(REPORT, subject(REPORT), plain(send_report), data=report),
        *(Endpoint(name, subject(name), plain(responder)) for name, responder in context.endpoints.items()),
        *declared,
    ]
    announced = MicroService(
        context.public or context.connection,
        service.name,
        _semantic(jetmesh_version()),
        service.meaning or f"the service {service.name}",
        {r.name: f"{_taken(r)} -> {_types(r.outcomes, 'nothing')}" for r in service.reactions},
        endpoints,
    )
    await announced.start()
    return announced


async def withdraw(announced: MicroService) -> None:
    """Withdraw the announcement; a broker that does not answer is left alone."""
    try:
        await asyncio.wait_for(announced.stop(), WITHDRAW_SECONDS)
    except TimeoutError:
        log.debug("%s was not withdrawn in time", announced)


def _taken(reaction: Reaction) -> str:
    return (
        reaction.listens.pattern
        if reaction.listens
        else _types(reaction.events, str(reaction.schedule or "everything"))
    )


def _types(events: tuple[Any, ...], none: str) -> str:
    return ", ".join(event.type for event in events) or none


def _semantic(version: str) -> str:
    """The version in the form that ADR-32 accepts: three numbers."""
    numbers = version.split("+")[0].split(".")[:3]
    return ".".join([*numbers, *["0"] * (3 - len(numbers))])
