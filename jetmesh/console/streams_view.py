"""`/mesh/streams`: the streams and durables on the broker; a reaction is paused and resumed here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jetmesh.common import lenient
from jetmesh.console.access import NotAllowed
from jetmesh.console.desk import back, desk_of, form, said
from jetmesh.jetstream.api import FOR_GOOD
from jetmesh.jetstream.api import request as ask
from jetmesh.operate import pausing
from jetmesh.topology.streams import Consumer, Stream, topology

LENGTHS = {
    "10 minutes": timedelta(minutes=10),
    "1 hour": timedelta(hours=1),
    "8 hours": timedelta(hours=8),
    "until it is resumed": FOR_GOOD,
}
"""For how long a reaction can be paused here, beside a time of one's own choice."""


@dataclass(frozen=True, slots=True)
class StreamOnBroker:
    """A stream as the broker describes it; `info` is empty where there is none."""

    declared: Stream
    info: dict[str, Any]

    @property
    def behind(self) -> list[str]:
        """The copies that are away or behind their leader, in words."""
        return behind(self.info)


@dataclass(frozen=True, slots=True)
class DurableOnBroker:
    """A durable as the broker describes it; `info` is empty where there is none."""

    declared: Consumer
    info: dict[str, Any]

    @property
    def is_paused(self) -> bool:
        """Whether it rests."""
        return bool(self.info.get("paused"))

    @property
    def until(self) -> datetime | None:
        """When it goes on by itself; None if it rests until it is resumed."""
        until = lenient.moment(self.info["config"].get("pause_until", ""))
        return None if pausing.is_for_good(until) else until

    @property
    def behind(self) -> list[str]:
        """The copies that are away or behind their leader, in words."""
        return behind(self.info)


def behind(info: Mapping[str, Any]) -> list[str]:
    """The copies of a stream or durable that are away or behind, as the leader sees them."""
    copies = (info.get("cluster") or {}).get("replicas") or ()
    late = [each for each in copies if each.get("offline") or not each.get("current")]
    return [f"{each.get('name', '?')} is {'away' if each.get('offline') else 'behind'}" for each in late]


async def streams(request: Request) -> Response:
    """Everything that the app needs on the broker."""
    desk = desk_of(request)
    context = desk.link.context
    needed = topology(desk.services, split=context.settings.split)

    async def told(call: str) -> dict[str, Any]:
        return await ask(context.connection, call) or {}

    infos = await asyncio.gather(*(told(f"STREAM.INFO.{each.name}") for each in needed.streams))
    durables = await asyncio.gather(*(told(f"CONSUMER.INFO.{c.stream}.{c.durable}") for c in needed.consumers))
    return desk.page(
        request, "streams.html", lengths=LENGTHS, error=said(request, "error"),
        streams=[StreamOnBroker(each, info) for each, info in zip(needed.streams, infos, strict=True)],
        durables=[DurableOnBroker(each, info) for each, info in zip(needed.consumers, durables, strict=True)],
    )  # fmt: skip


async def pause(request: Request) -> Response:
    """Let a reaction rest, until a time."""
    fields = await form(request)
    try:
        until = _until(fields)
    except pausing.WrongTime as wrong:
        return back("/streams", error=f"{fields.get('reaction', '')} is not paused: {wrong}.")
    words = "until it is resumed" if pausing.is_for_good(until) else f"until {until:%Y-%m-%d %H:%M:%S} UTC"
    return await _set(request, fields, until, "paused", words)


def _until(fields: dict[str, str]) -> datetime:
    """The time of one's own choice, if there is one, else the end of the chosen length.

    Raises:
        WrongTime: it is no time, or past, or too far ahead.
    """
    if text := fields.get("until", "").strip():
        until = _moment(text)
        pausing.require_ahead(until)
        return until
    length = LENGTHS.get(fields.get("length", ""))
    if length is None:
        raise NotAllowed(422, f"Choose how long: {', '.join(LENGTHS)}; or until when.")
    return datetime.now(UTC) + length


def _moment(text: str) -> datetime:
    """A time as a form writes it: with its zone, or in UTC where no script added one."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise pausing.WrongTime(f"{text[:40]!r} is no time: write 2026-11-30T06:00, in UTC") from None


async def resume(request: Request) -> Response:
    """Let it go on."""
    return await _set(request, await form(request), None, "resumed", "")


async def _set(request: Request, fields: dict[str, str], until: datetime | None, action: str, words: str) -> Response:
    desk, reaction = desk_of(request), fields.get("reaction", "")
    context = desk.link.context
    needed = topology(desk.services, split=context.settings.split)
    try:
        chosen = pausing.durables_of(reaction, desk.services, needed.consumers)
    except pausing.NoSuchReaction as unknown:
        raise NotAllowed(422, str(unknown)) from None
    missing = await pausing.pause_all(context.connection, chosen, until)
    if missing:
        raise NotAllowed(422, f"The broker lacks durables of {reaction}: run `jetmesh topology apply`.")
    await desk.post(request).operators.note_pause(reaction, until)
    return back("/streams", done=f"{reaction} is {action} {words}".strip() + ".")


ROUTES = [
    Route("/mesh/streams", streams),
    Route("/mesh/streams/pause", pause, methods=["POST"]),
    Route("/mesh/streams/resume", resume, methods=["POST"]),
]
