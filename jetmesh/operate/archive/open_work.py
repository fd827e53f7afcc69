"""Open work: messages that a durable has not acknowledged, delayed redeliveries, and dead letters."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.jetstream.api import request
from jetmesh.jetstream.delivery import Position
from jetmesh.jetstream.subject import covers
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.archive.row import Row
from jetmesh.runtime.origin import Origin, origin_of
from jetmesh.service import Service
from jetmesh.topology.difference import filters_of
from jetmesh.topology.names import DEAD_LETTERS, DEAD_SUBJECTS, is_note, timers_of
from jetmesh.topology.streams import reacts_singly

DEAD, DELAYED = "has a dead letter", "waits for a delayed redelivery"


@dataclass(frozen=True, slots=True)
class Durable:
    """A consumer with acknowledgements, of any client: it has acknowledged all that it filters up to `floor`."""

    name: str
    filters: tuple[str, ...]
    floor: int

    def waits_for(self, row: Row) -> bool:
        """Whether it has still to acknowledge the message."""
        return row.sequence > self.floor and any(covers(subject, row.subject) for subject in self.filters)


@dataclass(frozen=True, slots=True)
class OpenWork:
    """All open work when the archiving began; work that was done by then stays done."""

    durables: dict[str, list[Durable]]
    kept: dict[Position, str]

    def about(self, rows: Iterable[Row]) -> str:
        """Why work on these messages is open; empty if none is."""
        for row in rows:
            if why := self.kept.get(row.position):
                return why
            for durable in self.durables[row.stream]:
                if durable.waits_for(row):
                    return f"is not acknowledged by {row.stream}/{durable.name}"
        return ""


async def open_work(connection: Transport, services: Sequence[Service], streams: Iterable[str]) -> OpenWork:
    """Read the open work from the broker.

    Raises:
        Unavailable: it does not answer.
    """
    durables = {stream: [_durable(info) async for info in _consumers(connection, stream)] for stream in streams}
    # Consumers first: a delivery is delayed or dead-lettered before it is acknowledged. Timers twice: a due delivery
    # may become a dead letter meanwhile, and a dead letter that is replayed becomes a timer.
    before = await delayed(connection, services)
    letters = await _origins(connection, DEAD_LETTERS, DEAD_SUBJECTS)
    kept = {origin.position: DELAYED for origin in [*before, *await delayed(connection, services)]}
    return OpenWork(defaultdict(list, durables), kept | {origin.position: DEAD for origin in letters})


async def _consumers(connection: Transport, stream: str) -> AsyncIterator[dict[str, Any]]:
    offset, total = 0, 1
    while offset < total:
        page = await request(connection, f"CONSUMER.LIST.{stream}", {"offset": offset})
        if not page or not page["consumers"]:
            return
        for info in page["consumers"]:
            if info["config"].get("ack_policy", "none") != "none":
                yield info
        offset, total = offset + len(page["consumers"]), page["total"]


def _durable(info: dict[str, Any]) -> Durable:
    return Durable(
        info["name"], tuple(filters_of(info["config"]) or [">"]), int(info["ack_floor"].get("stream_seq", 0))
    )


async def delayed(connection: Transport, services: Sequence[Service]) -> list[Origin]:
    """The delayed redeliveries of these services.

    Raises:
        Unavailable: the broker does not answer.
    """
    streams = [timers_of(service.stream) for service in services if reacts_singly(service)]
    return [origin for stream in streams for origin in await _origins(connection, stream, ">")]


async def _origins(connection: Transport, stream: str, subjects: str) -> list[Origin]:
    """The origins of the messages in this stream, read from the subjects: the reaction and the original position."""
    offset, found = 0, list[Origin]()
    while info := await request(
        connection, f"STREAM.INFO.{stream}", {"subjects_filter": subjects, "offset": offset}, timeout_seconds=30
    ):
        page = info["state"].get("subjects") or {}
        found += [origin for subject in page if not is_note(subject) and (origin := origin_of(subject)).sequence]
        offset += len(page)
        if not page or offset >= info.get("total", 0):
            break
    return found
