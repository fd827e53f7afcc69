"""What may still be done: deliveries that no durable has acknowledged, that are set aside, or that are dead letters."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jetmesh.jetstream.api import request
from jetmesh.jetstream.subject import covers
from jetmesh.jetstream.transport import Transport
from jetmesh.operate.archive.row import Position, Row
from jetmesh.runtime.origin import Origin, origin_of
from jetmesh.service import Service
from jetmesh.topology.difference import filters_of
from jetmesh.topology.names import DEAD_LETTERS, DEAD_SUBJECTS, is_note, timers_of
from jetmesh.topology.streams import reacts_singly

DEAD, DELAYED = "has a dead letter", "waits for a delayed redelivery"


@dataclass(frozen=True, slots=True)
class Durable:
    """A consumer with acknowledgements, of anybody's: up to `floor`, all that it filters is acknowledged."""

    name: str
    filters: tuple[str, ...]
    floor: int

    def waits_for(self, row: Row) -> bool:
        """Whether the message is still to be acknowledged by it."""
        return row.sequence > self.floor and any(covers(subject, row.subject) for subject in self.filters)


@dataclass(frozen=True, slots=True)
class OpenWork:
    """All of it, as it was when the archiving began: what was done by then stays done."""

    durables: dict[str, list[Durable]]
    kept: dict[Position, str]

    def about(self, rows: Iterable[Row]) -> str:
        """Why something may still be done about these messages; empty where nothing is."""
        for row in rows:
            if why := self.kept.get(row.position):
                return why
            for durable in self.durables[row.stream]:
                if durable.waits_for(row):
                    return f"is not acknowledged by {row.stream}/{durable.name}"
        return ""


async def open_work(connection: Transport, services: Sequence[Service], streams: Iterable[str]) -> OpenWork:
    """Ask the broker.

    Raises:
        Unavailable: it does not answer.
    """
    durables = {stream: [_durable(info) async for info in _consumers(connection, stream)] for stream in streams}
    # Positions first: what is set aside or buried is that before it is acknowledged. Timers twice: what comes back from
    # one may become a letter meanwhile, and a letter that is replayed goes the other way.
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
    """What is set aside for these services.

    Raises:
        Unavailable: the broker does not answer.
    """
    streams = [timers_of(service.stream) for service in services if reacts_singly(service)]
    return [origin for stream in streams for origin in await _origins(connection, stream, ">")]


async def _origins(connection: Transport, stream: str, subjects: str) -> list[Origin]:
    """What is kept in this stream, by what the subjects say: for which reaction, and where the message stands."""
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
