"""The books of the simulated mesh, for the audit of the real one; and what only a simulation can know besides."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jetmesh.event import INTAKE
from jetmesh.jetstream.direct_get import Stored
from jetmesh.operate.books import fact_of, letter_of, types_of
from jetmesh.operate.checks import each_event_once
from jetmesh.testing.simulation import SimulatedBroker
from jetmesh.testing.simulation.stream import StoredMessage
from jetmesh.topology.names import DEAD_LETTERS
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.payments.ledger import Balance
from jetmesh_shop.reference import checks
from jetmesh_shop.reference.audit import AFTER_CRASHES
from jetmesh_shop.reference.books import PLACED, REFUSED, ShopBooks
from tests.simulation.outside import SimulatedBank, SimulatedMailer, SimulatedWarehouse

STREAMS = [service.stream for service in SERVICES if service.records]
TYPES = types_of(SERVICES)
ALWAYS = (each_event_once, checks.never_below_zero, checks.charged_once, checks.no_two_ends)
"""The checks that hold in the middle of everything as well."""


@dataclass(frozen=True, slots=True)
class Books:
    """What an auditor looks at; `acked` are the ids of the orders whose placing was acknowledged."""

    broker: SimulatedBroker
    bank: SimulatedBank
    mailer: SimulatedMailer
    warehouse: SimulatedWarehouse
    acked: frozenset[str]

    def collected(self) -> ShopBooks:
        """The same that is collected from a real broker, a bank's ledger and a mail sink."""
        mails = Counter(mail.message_id for mail in self.mailer.taken)
        return collected(self.broker, STREAMS, balances=_balances(self.bank), mails=mails)


def collected(broker: SimulatedBroker, streams: Iterable[str], **outside: Any) -> ShopBooks:
    """What some streams, the intake and the dead letters have."""
    letters = [message for message in stored(broker, DEAD_LETTERS) if message.subject.startswith("dead.")]
    return ShopBooks(
        intake=[fact_of(TYPES, INTAKE, message) for message in stored(broker, INTAKE)],
        events=[fact_of(TYPES, stream, message) for stream in streams for message in stored(broker, stream)],
        letters=[letter_of(message) for message in letters],
        **outside,
    )


def stored(broker: SimulatedBroker, stream: str) -> list[Stored]:
    """The messages of a stream, as a direct get answers with them."""
    return [_stored(kept) for kept in broker.streams[stream].messages.values()]


def _stored(kept: StoredMessage) -> Stored:
    seconds, nanos = divmod(int(kept.time * 1e9), 1_000_000_000)
    at = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
    return Stored(kept.subject, kept.sequence, at, kept.headers, kept.data)


def _balances(bank: SimulatedBank) -> list[Balance]:
    """The movements of each order, in sum."""
    moved = {key: Counter[str]() for key, _, _ in bank.movements}
    times = {key: Counter[str]() for key in moved}
    for key, kind, amount_minor in bank.movements:
        moved[key][kind] += amount_minor
        times[key][kind] += 1
    kinds = ("held", "captured", "released")
    return [Balance(key, "EUR", *(moved[key][k] for k in kinds), *(times[key][k] for k in kinds)) for key in moved]


def safety(books: Books) -> Iterator[str]:
    """What must hold at any moment."""
    collected = books.collected()
    yield from (offence for check in ALWAYS for offence in check(collected))
    yield from placed_once(collected)


def audit(books: Books) -> list[str]:
    """What is wrong in a mesh that is at rest; nothing if the audit is clean."""
    collected = books.collected()
    found = [f"{offence} ({each.check})" for each in AFTER_CRASHES.of(collected).findings for offence in each.offences]
    return [*found, *placed_once(collected), *lost(books, collected), *given_up(collected), *not_counted(books)]


def placed_once(collected: ShopBooks) -> Iterator[str]:
    """One message from outside never becomes two orders."""
    placed = collected.of_type(PLACED, REFUSED)
    for cause, times in Counter(event.causation_id for event in placed if event.causation_id).items():
        if times > 1:
            yield f"{times} orders of one message: {cause}"


def lost(books: Books, collected: ShopBooks) -> Iterator[str]:
    """Each order that was acknowledged was taken or refused: by the edge, too, which leaves nothing in the intake."""
    for key in books.acked:
        if not {PLACED, REFUSED} & collected.stories.get(key, {}).keys():
            yield f"acknowledged and lost: {key}"


def given_up(collected: ShopBooks) -> Iterator[str]:
    """Nothing is given up that could have been handled: here, only what comes from outside can be unreadable."""
    for letter in collected.letters:
        if letter.position[0] != INTAKE:
            yield f"given up: {letter}: {letter.reason}"


def not_counted(books: Books) -> Iterator[str]:
    """Analytics has everything that was recorded."""
    for name in STREAMS:
        stored = {sequence for stream, sequence in books.warehouse.kept if stream == name}
        if missing := books.broker.streams[name].messages.keys() - stored:
            yield f"analytics lacks {name} {sorted(missing)[:5]}"
