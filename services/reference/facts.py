"""What an audit goes by, collected past all services: the streams raw, the bank's ledger, the mail sink."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetmesh import deadletter, partitions
from jetmesh.archive.parquet import Archive, ArchiveError
from jetmesh.archive.purge import archived_until
from jetmesh.archive.row import unix_nano
from jetmesh.connection import Connection
from jetmesh.event import is_ended
from jetmesh.history import history_of
from jetmesh.mesh import Mesh
from jetmesh.origin import origin_of
from jetmesh.provision import check_split, request
from jetmesh.story import Stored
from jetmesh.topology import topology
from jetmesh.wire import id_of_place
from services.flow import SERVICES
from services.payments.ledger import Balance, Ledger
from services.reference.mailsink import MailSink
from services.reference.state import ARCHIVE, State
from services.reference.streams import raw_reader

INTAKE = "INTAKE"
PLACED, REFUSED = "orders.placed", "orders.refused"


@dataclass(frozen=True, slots=True)
class Fact:
    """One message of a stream: what it is, about which key, why it is there, and what it says (nothing where it is no
    JSON object)."""

    stream: str
    sequence: int
    subject: str
    type: str
    key: str
    unix_nano: int
    id: str
    causation_id: str
    traceparent: str
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.subject} ({self.stream} {self.sequence})"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter and where it says that it comes from."""

    sequence: int
    unix_nano: int
    subject: str
    source_stream: str
    source_sequence: int
    source_subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} (DEAD_LETTERS {self.sequence})"


@dataclass(slots=True)
class Facts:
    """Everything; `stories` has the events of each order by type."""

    intake: list[Fact]
    events: list[Fact]
    letters: list[Letter]
    balances: list[Balance] | None = None
    mails: Counter[str] | None = None
    restorations: int = 0
    """How often the mesh was restored: each time, mails may go out again whose record was undone."""
    stories: dict[str, dict[str, Fact]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        for event in self.events:
            if not event.subject.startswith("stock."):
                self.stories[event.key][event.type] = event

    def of_type(self, *types: str) -> Iterator[Fact]:
        """The events of these types."""
        return (event for event in self.events if event.type in types)


async def collect(mesh: Mesh, state: State, archive: Path | None = None) -> Facts:
    """Read everything. The ledger and the mails are None where the folder has none.

    Raises:
        Unavailable: a stream does not answer.
        ArchiveError: stories are archived, and the archive is not there.
        SettingsError: the streams are split otherwise.
    """
    await check_split(mesh.connection, topology(SERVICES, split=mesh.settings.split))
    reader = await raw_reader(mesh.connection)
    events: list[Fact] = []
    kept = Archive(archive or state.archive)
    await _refuse_halves(mesh, kept)
    # Effects before causes: what is read here was caused by something that is there when its stream is read later.
    for stream in reversed(_streams(mesh)):
        events += (_fact(stream, message) for message in await reader.read(stream) if not is_ended(message.subject))
    buried = [message for message in await reader.read(deadletter.STREAM) if message.subject.startswith("dead.")]
    letters = [_letter(message) for message in buried]
    intake = [_fact(INTAKE, message) for message in await reader.read(INTAKE)]
    # The archive last: what leaves a stream while it is read is there by then.
    archived = [_fact(row.stream, row.stored()) for row in kept.all()]
    intake = _together(intake, (fact for fact in archived if fact.stream == INTAKE))
    events = _together(events, (fact for fact in archived if fact.stream != INTAKE))
    return Facts(
        intake, events, letters, _balances(state.bank), _mails(state.mails), await _restorations(mesh.connection)
    )


async def _restorations(connection: Connection) -> int:
    info = await request(connection, f"STREAM.INFO.{deadletter.STREAM}")
    return len(history_of(info).restorations) if info else 0


def _streams(mesh: Mesh) -> list[str]:
    """Where the services record, causes before effects; the partitions of those that are split."""
    wholes = [service.stream for service in SERVICES if service.records]
    return [part for whole in wholes for part in partitions.names(whole, mesh.settings.split)]


async def _refuse_halves(mesh: Mesh, archive: Archive) -> None:
    """An ending whose beginning is in an archive that nobody names looks like an order that was never placed.

    Raises:
        ArchiveError: stories have left the streams, and the archive is not where it is looked for.
    """
    until = [await archived_until(mesh.connection, stream) for stream in (INTAKE, *_streams(mesh))]
    if any(until) and not archive.exists:
        raise ArchiveError(
            f"stories that ended before {max(until)} are archived, and no archive is in {archive.folder}: "
            f"name it with {ARCHIVE}"
        )


def _together(kept: Iterable[Fact], archived: Iterable[Fact]) -> list[Fact]:
    """Each message once, in the order of its stream: the endings of an archived story are in both."""
    by_place = {(fact.stream, fact.sequence): fact for fact in [*archived, *kept]}
    return sorted(by_place.values(), key=lambda fact: (fact.stream, fact.sequence))


def _balances(path: Path) -> list[Balance] | None:
    if not path.exists():
        return None
    with closing(Ledger(path)) as ledger:
        return list(ledger.balances())


def _mails(path: Path) -> Counter[str] | None:
    if not path.exists():
        return None
    try:
        with closing(MailSink(path)) as sink:
            return Counter(sink.copies())
    except sqlite3.OperationalError:  # it was never started, so there is no table yet
        return Counter()


def _fact(stream: str, message: Stored) -> Fact:
    headers = {name.lower(): value for name, value in message.headers.items()}
    first, _, rest = message.subject.partition(".")
    second, _, key = rest.partition(".")
    body = _object(message.data)
    at = unix_nano(message.time)
    structured = headers.get("content-type", "").lower().startswith("application/cloudevents")
    if structured:
        headers, body = {**headers, "ce-id": str(body.get("id", ""))}, _mapping(body.get("data"))
    made = id_of_place(stream, at / 1e9, message.sequence)
    return Fact(
        stream=stream,
        sequence=message.sequence,
        subject=message.subject,
        type=f"{first}.{second}",
        key=key,
        unix_nano=at,
        id=headers.get("ce-id") or made,
        causation_id=headers.get("ce-causationid", ""),
        traceparent=headers.get("traceparent", ""),
        body=body,
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        return _mapping(json.loads(data))
    except ValueError:
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _letter(message: Stored) -> Letter:
    headers, origin = message.headers, origin_of(message.subject)
    return Letter(
        sequence=message.sequence,
        unix_nano=unix_nano(message.time),
        subject=message.subject,
        source_stream=origin.stream,
        source_sequence=origin.sequence,
        source_subject=headers.get("Jetmesh-Subject", ""),
        reason=headers.get("Jetmesh-Reason", ""),
    )


def total(goods: Iterable[dict[str, Any]]) -> Counter[str]:
    """Pieces by article."""
    pieces: Counter[str] = Counter()
    for item in goods:
        pieces[item["sku"]] += item["quantity"]
    return pieces
