"""`/mesh/reactions/<service>/<name>`: one reaction, its durables, what it was delivered last and what waits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.common import lenient
from jetmesh.console.attempts import attempts_at
from jetmesh.console.desk import Desk, desk_of
from jetmesh.console.state import cells, warnings
from jetmesh.failure import Unavailable
from jetmesh.jetstream.api import request as ask
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.headers import Jetmesh, Nats
from jetmesh.jetstream.subject import covers
from jetmesh.reaction import Reaction
from jetmesh.topology.names import timer, timers_of
from jetmesh.topology.streams import Consumer, ConsumerKind, topology

SHOWN = 20
TRACED = 30
"""Of how many of the newest deliveries, and of the oldest that are not settled, the attempts are looked for."""
WORST = 5
LOOKED_AT = 500
"""How far back a stream is looked through for the last deliveries."""


@dataclass(frozen=True, slots=True)
class DurableState:
    """A durable as the broker describes it; `info` is empty where it has none."""

    consumer: Consumer
    info: dict[str, Any]

    @property
    def is_express(self) -> bool:
        """Whether another one of the reaction has all of its deliveries too."""
        return self.consumer.kind is ConsumerKind.EXPRESS


@dataclass(frozen=True, slots=True)
class LastDelivery:
    """A message that a reaction gets, and how far it is."""

    stream: str
    message: Stored
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class LaterDelivery:
    """A delivery that waits for a later attempt."""

    subject: str
    attempts: int
    due: datetime | None


async def reaction(request: Request) -> Response:
    """One reaction."""
    desk = desk_of(request)
    found = _reaction(desk, request.path_params["service"], request.path_params["name"])
    durables = await _durables(desk, found)
    lists: Sequence[list[LastDelivery]] = await asyncio.gather(
        *(_deliveries(desk, durable) for durable in durables if durable.info and not durable.is_express)
    )
    deliveries = sorted((each for some in lists for each in some), key=lambda each: each.message.time, reverse=True)
    attempts = await asyncio.to_thread(
        attempts_at, desk.places.traces, found, [(each.stream, each.message) for each in deliveries]
    )
    whose = f"{found.service}.{found.name}"
    overview = await desk.watch.now()
    known = cells(overview).get(whose, {})
    said = warnings(overview, discreet=not desk.sees_bodies(request))
    why = next((each for each in said if found.needed and f" {found.service}/{found.needed} " in each), "")
    waiting = await _waiting(desk, found)
    return desk.page(
        request, "reaction.html", reaction=found, whose=whose, durables=durables, deliveries=deliveries[:SHOWN],
        known=known, waiting=waiting, attempts=attempts, traced=len(deliveries), worst=WORST, why=why,
    )  # fmt: skip


def _reaction(desk: Desk, service: str, name: str) -> Reaction:
    for each in (reaction for found in desk.services for reaction in found.reactions):
        if (each.service, each.name) == (service, name):
            return each
    raise HTTPException(404, f"The app has no reaction {service}.{name}.")


async def _durables(desk: Desk, reaction: Reaction) -> list[DurableState]:
    """Its own durables; where messages from outside come to it, that of all such reactions of its service."""
    context = desk.link.context
    outside = any(map(reaction.takes_from_outside, reaction.events))
    names = {reaction.durable, reaction.express, *([f"{reaction.service}-intake"] if outside else [])}
    mine = [each for each in topology(desk.services, split=context.settings.split).consumers if each.durable in names]
    infos = await asyncio.gather(
        *(ask(context.connection, f"CONSUMER.INFO.{each.stream}.{each.durable}") for each in mine)
    )
    return [DurableState(consumer, info or {}) for consumer, info in zip(mine, infos, strict=True)]


async def _deliveries(desk: Desk, durable: DurableState) -> list[LastDelivery]:
    """The newest messages of a durable, whether or not they were handled, and the oldest that are not settled."""
    stream, info = durable.consumer.stream, durable.info
    state = await ask(desk.link.context.connection, f"STREAM.INFO.{stream}")
    last, found = state["state"]["last_seq"] if state else 0, list[Stored]()
    if last:
        found = (await _of(desk, durable, max(1, last - LOOKED_AT + 1)))[-TRACED:]
    if found and info["num_ack_pending"] and durable.consumer.kind is ConsumerKind.WORK:
        oldest = await _of(desk, durable, info["ack_floor"]["stream_seq"] + 1)
        found = [*(each for each in oldest[:TRACED] if each.sequence < found[0].sequence), *found]
    return [_delivery(stream, message, info) for message in found]


async def _of(desk: Desk, durable: DurableState, first: int) -> list[Stored]:
    """The messages of a durable among those that follow in its stream."""
    page = await desk.link.context.direct_get.page(durable.consumer.stream, ">", first, LOOKED_AT)
    return [m for m in page.messages if any(covers(s, m.subject) for s in durable.consumer.subjects)]


def _delivery(stream: str, message: Stored, info: dict[str, Any]) -> LastDelivery:
    if message.sequence <= info["ack_floor"]["stream_seq"]:
        return LastDelivery(stream, message, "good", "settled")
    if message.sequence > info["delivered"]["stream_seq"]:
        return LastDelivery(stream, message, "waits", "waits")
    return LastDelivery(stream, message, "doubt", "in flight, or settled before an earlier one")


async def _waiting(desk: Desk, reaction: Reaction) -> Sequence[LaterDelivery]:
    """What failed and comes again later."""
    context = desk.link.context
    service = next(each for each in desk.services if each.name == reaction.service)
    subjects = timer(f"{reaction.service}.{reaction.name}.>")
    try:
        page = await context.direct_get.page(timers_of(service.stream), subjects, 1, SHOWN)
    except Unavailable:
        return []
    return [_timer(message) for message in page.messages]


def _timer(message: Stored) -> LaterDelivery:
    at = message.headers.get(Nats.SCHEDULE, "").removeprefix("@at ")
    due = lenient.moment(at) if at else None
    attempts = lenient.whole(message.headers.get(Jetmesh.ATTEMPTS, ""))
    return LaterDelivery(message.headers.get(Jetmesh.SUBJECT, message.subject), attempts, due)


ROUTES = [Route("/mesh/reactions/{service}/{name}", reaction)]
