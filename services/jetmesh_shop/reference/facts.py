"""What an audit goes by, collected past all services: the streams raw, the bank's ledger, the mail sink."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetmesh.cloudevents import bare, read_event, understand
from jetmesh.common import json_body
from jetmesh.failure import BrokenContract
from jetmesh.history import history_of
from jetmesh.jetstream.api import request
from jetmesh.jetstream.delivery import Delivery, id_of_place
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.subject import is_marker
from jetmesh.jetstream.transport import Transport
from jetmesh.local.state import ARCHIVE, State
from jetmesh.operate.archive.open_work import set_aside
from jetmesh.operate.archive.parquet import Archive, ArchiveError
from jetmesh.operate.archive.purge import archived_until
from jetmesh.operate.archive.row import Place, unix_nano
from jetmesh.runtime.context import Context
from jetmesh.runtime.origin import Origin, origin_of
from jetmesh.topology import partitions
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh.topology.provision import check_split, histories
from jetmesh.topology.streams import topology
from jetmesh_contracts import EVENTS, OrderPlaced, OrderRefused
from jetmesh_shop.files import usable
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.payments.ledger import Balance, Ledger
from jetmesh_shop.reference.mailsink import MailSink
from jetmesh_shop.reference.state import Stores
from jetmesh_shop.reference.streams import raw_reader

INTAKE = "INTAKE"
PLACED, REFUSED = OrderPlaced.type, OrderRefused.type
GONE = "discarded"
TYPES = {event.type: event for event in EVENTS}


@dataclass(frozen=True, slots=True)
class Fact:
    """One message of a stream: what it is, about which key, why it is there, what it says (nothing where it is no JSON
    object), and what is `wrong` with it where nobody can read it."""

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
    wrong: str = ""

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.stream, self.sequence

    @property
    def named(self) -> str:
        """The key of a message from outside: the one that its body names, else the one that is made of its place."""
        event_type = TYPES.get(self.type)
        said = self.body.get(event_type.key_field) if event_type else None
        return said if isinstance(said, str) else id_of_place(self.stream, self.unix_nano / 1e9, self.sequence)

    def __str__(self) -> str:
        return f"{self.subject} ({self.stream} {self.sequence})"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, or what is noted of one that was dealt with: whose it is, and where its message stands."""

    sequence: int
    unix_nano: int
    subject: str
    reaction: str
    place: Place
    source_subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} (DEAD_LETTERS {self.sequence})"


@dataclass(slots=True)
class Facts:
    """Everything; `stories` has the events of each order by type. Some letters wait for somebody, others somebody
    `discarded`. `gone` are the messages that have left their streams."""

    intake: list[Fact]
    events: list[Fact]
    letters: list[Letter]
    discarded: list[Letter] = field(default_factory=list)
    aside: list[Origin] = field(default_factory=list)
    gone: frozenset[Place] = frozenset()
    balances: list[Balance] | None = None
    mails: Counter[str] | None = None
    restorations: int = 0
    """How often the mesh was restored: each time, mails may go out again whose record was undone."""
    stories: dict[str, dict[str, Fact]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        for event in self.events:
            if not event.wrong and not event.subject.startswith("stock."):
                self.stories[event.key][event.type] = event

    def of_type(self, *types: str) -> Iterator[Fact]:
        """The events of these types that can be read."""
        return (event for event in self.events if event.type in types and not event.wrong)


async def collect(context: Context, state: State, archive: Path | None = None) -> Facts:
    """Read everything. The ledger and the mails are None where the folder has none.

    Raises:
        Unavailable: a stream does not answer.
        ArchiveError: stories are archived, and the archive is not there.
        SettingsError: the streams are split otherwise.
    """
    await check_split(context.connection, topology(SERVICES, split=context.settings.split))
    reader = await raw_reader(context.connection)
    events: list[Fact] = []
    kept = Archive(archive or state.archive)
    await _refuse_halves(context, kept)
    kept.follow(await histories(context.connection, (INTAKE, *_streams(context))))
    # Effects before causes: what is read here was caused by something that is there when its stream is read later.
    for stream in reversed(_streams(context)):
        events += (_fact(stream, message) for message in await reader.read(stream) if not is_marker(message.subject))
    buried = await reader.read(DEAD_LETTERS)
    letters = [_letter(message) for message in buried if _is_ours(message.subject, "dead")]
    discarded = [
        _letter(m) for m in buried if _is_ours(m.subject, "dead_log") and _object(m.data).get("action") == GONE
    ]
    aside = await set_aside(context.connection, SERVICES)
    intake = [_fact(INTAKE, message) for message in await reader.read(INTAKE)]
    # The archive last: what leaves a stream while it is read is there by then.
    archived = [_fact(row.stream, row.stored()) for row in kept.all()]
    gone = frozenset(fact.place for fact in archived) - {fact.place for fact in [*intake, *events]}
    intake = _together(intake, (fact for fact in archived if fact.stream == INTAKE))
    events = _together(events, (fact for fact in archived if fact.stream != INTAKE))
    restorations = await _restorations(context.connection)
    stores = Stores.of(state)
    return Facts(
        intake, events, letters, discarded, aside, gone, _balances(stores.bank), _mails(stores.mails), restorations
    )


async def _restorations(connection: Transport) -> int:
    info = await request(connection, f"STREAM.INFO.{DEAD_LETTERS}")
    return len(history_of(info).restorations) if info else 0


def _is_ours(subject: str, first: str) -> bool:
    """Whether a letter (or what was done with one) is about a service of this mesh: others may share the broker."""
    return subject.startswith(tuple(f"{first}.{service.name}." for service in SERVICES))


def _streams(context: Context) -> list[str]:
    """Where the services record, causes before effects; the partitions of those that are split."""
    wholes = [service.stream for service in SERVICES if service.records]
    return [part for whole in wholes for part in partitions.names(whole, context.settings.split)]


async def _refuse_halves(context: Context, archive: Archive) -> None:
    """An ending whose beginning is in an archive that nobody names looks like an order that was never placed.

    Raises:
        ArchiveError: stories have left the streams, and the archive is not where it is looked for.
    """
    until = [await archived_until(context.connection, stream) for stream in (INTAKE, *_streams(context))]
    if any(until) and not archive.exists:
        raise ArchiveError(
            f"stories that ended before {max(until)} are archived, and no archive is in {archive.folder}: "
            f"name it with {ARCHIVE}"
        )


def _together(kept: Iterable[Fact], archived: Iterable[Fact]) -> list[Fact]:
    """Each message once, in the order of its stream: the endings of an archived story are in both."""
    by_place = {fact.place: fact for fact in [*archived, *kept]}
    return sorted(by_place.values(), key=lambda fact: (fact.stream, fact.sequence))


def _balances(path: Path) -> list[Balance] | None:
    if not path.exists():
        return None
    with closing(Ledger(path)) as ledger:
        return list(ledger.balances())


def _mails(path: Path) -> Counter[str] | None:
    if not path.exists():
        return None
    with usable(path, "the mails", sqlite3.DatabaseError), closing(MailSink(path)) as sink:
        try:
            return Counter(sink.copies())
        except sqlite3.OperationalError:  # it was never started, so there is no table yet
            return Counter()


def _fact(stream: str, message: Stored) -> Fact:
    """What a message is, read as the services read it. What they could not read either says so."""
    at = unix_nano(message.time)
    delivery = Delivery(message.subject, message.headers, message.data, "", stream, message.sequence, 1, at / 1e9)
    try:
        envelope, wrong = understand(delivery), ""
    except BrokenContract as broken:
        envelope, wrong = bare(delivery), str(broken)
    said = _object(envelope.data)
    return Fact(
        stream=stream,
        sequence=message.sequence,
        subject=message.subject,
        type=delivery.type,
        key=delivery.key,
        unix_nano=at,
        id=envelope.id,
        causation_id=envelope.causation_id,
        traceparent=envelope.traceparent,
        body=said,
        wrong=wrong or _wrong(delivery, envelope.data),
    )


def _wrong(delivery: Delivery, data: bytes) -> str:
    """What its contract does not allow; nothing where it comes from outside (its owner says that), or has none here."""
    event_type = TYPES.get(delivery.type)
    if event_type is None or not delivery.key:
        return ""
    try:
        return "" if read_event(event_type, data).key == delivery.key else "its key is not that of its subject"
    except BrokenContract as broken:
        return str(broken)


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = json_body.document(data)
    except json_body.Malformed:
        return {}
    return said if isinstance(said, dict) else {}


def _letter(message: Stored) -> Letter:
    origin = origin_of(message.subject)
    return Letter(
        sequence=message.sequence,
        unix_nano=unix_nano(message.time),
        subject=message.subject,
        reaction=origin.whose,
        place=origin.place,
        source_subject=message.headers.get("Jetmesh-Subject", ""),
        reason=message.headers.get("Jetmesh-Reason", ""),
    )


def total(goods: Iterable[dict[str, Any]]) -> Counter[str]:
    """Pieces by article."""
    pieces: Counter[str] = Counter()
    for item in goods:
        pieces[item["sku"]] += item["quantity"]
    return pieces
