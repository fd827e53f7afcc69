"""A service as `python -m jetmesh` runs it, with traps at named points of its code and, where told, a planted bug.

The product knows nothing of either: both are put around it here, in the process that a test starts. A trap is a file;
whoever comes to its point takes the file away and is dead at once, so that of two replicas one dies.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from jetmesh import App, CallNext, Delivery, Outcome
from jetmesh.app import middlewares_of
from jetmesh.commands import main
from jetmesh.event import EventType, entity_of
from jetmesh.jetstream.connection import Connection
from jetmesh.reaction import Reaction
from jetmesh.runtime import context
from jetmesh.topology.streams import Consumer, Topology
from jetmesh_contracts import EVENTS, OrderCancellationRequested, OrderCancelled, OrderPlaced, OrderRefused
from jetmesh_shop import flow
from jetmesh_shop.inventory.service import inventory
from jetmesh_shop.notifications.adapters import SmtpMailer
from jetmesh_shop.notifications.mailer import Mail
from jetmesh_shop.notifications.service import notifications
from jetmesh_shop.orders.service import orders
from jetmesh_shop.payments.bank import Rule
from jetmesh_shop.payments.ledger import Bank
from jetmesh_shop.payments.service import payments
from tests.support.planted import acknowledged_first, forgetting

TRAPS, BUG, NEXT_VERSION, OLDER_VERSION = "CHAOS_TRAPS", "CHAOS_BUG", "CHAOS_NEXT_VERSION", "CHAOS_OLDER_VERSION"
AHEAD = "CHAOS_CLOCK_AHEAD_SECONDS"
BEFORE_RECORDING = "before recording"
BEFORE_ACK = "between recording and ack"
IN_THE_BANK = "inside the bank call"
AFTER_THE_MAIL = "between SMTP and recording"
POINTS = {
    BEFORE_RECORDING: tuple(service.name for service in flow.SERVICES if service.records),
    BEFORE_ACK: tuple(service.name for service in flow.SERVICES),
    IN_THE_BANK: ("payments",),
    AFTER_THE_MAIL: ("notifications",),
}
"""Where a trap may be set, and the services that come by there."""

ENTITIES = {entity_of(event) for event in EVENTS}
GUARD = re.compile(rb"Nats-Expected-Last-Subject-Sequence(-Subject)?: [^\r]*\r\n")

ADDED: dict[str, tuple[EventType, ...]] = {
    "orders-withdraw": (OrderCancellationRequested,),
    "notifications-apologize": (OrderRefused,),
}
"""What the version of today takes and the one before it does not, by reaction."""
HAS_AN_OLDER = ("orders", "notifications")
DEADLY = "kills-"
"""With the name of a service, the beginning of an order's id whose placing kills that service's process."""
ATTEMPTS = 4
MORTAL = ("orders", "payments")
"""Who gives up at some time: for notifications that takes twenty attempts, inventory and analytics never do."""


def trap_file(folder: Path, point: str) -> Path:
    """The file that is the trap of a point."""
    return folder / point.replace(" ", "-")


def passing(point: str) -> None:
    """Die here, if the trap of this point is set."""
    try:
        trap_file(Path(os.environ[TRAPS]), point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Sent(NamedTuple):
    """A message on its way to the broker."""

    subject: str
    data: bytes
    headers: bytes

    @property
    def is_ack(self) -> bool:
        """Whether it acknowledges a delivery."""
        return self.data == b"+ACK"

    @property
    def is_recorded(self) -> bool:
        """Whether it is an event, to be stored under its guard."""
        return self.subject.partition(".")[0] in ENTITIES and GUARD.search(self.headers) is not None


class WrappedConnection(Connection):
    """The connection to the broker; each message passes the steps on its way."""

    steps: ClassVar[list[Callable[[Sent], Sent]]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        send = self.send

        def wrapped(subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
            sent = Sent(subject, data, headers)
            for step in self.steps:
                sent = step(sent)
            send(sent.subject, sent.data, reply=reply, headers=sent.headers)

        self.send = wrapped


def trapped(sent: Sent) -> Sent:
    """What the reaction decided is not recorded yet; or it is, and the broker does not know that it is handled."""
    if sent.is_recorded:
        passing(BEFORE_RECORDING)
    if sent.is_ack:
        passing(BEFORE_ACK)
    return sent


def set_traps() -> None:
    """Lead the code by every point."""
    vars(context)["Connection"] = WrappedConnection
    WrappedConnection.steps.append(trapped)
    perform, send = Bank.perform, SmtpMailer.send

    def trapped_perform(self: Bank, calls: Sequence[tuple[str, Rule[Any]]]) -> list[Any]:
        answers = perform(self, calls)
        passing(IN_THE_BANK)
        return answers

    async def trapped_send(self: SmtpMailer, mail: Mail) -> None:
        await send(self, mail)
        passing(AFTER_THE_MAIL)

    Bank.perform = trapped_perform  # type: ignore[method-assign]
    SmtpMailer.send = trapped_send  # type: ignore[method-assign]


async def deadly(delivery: Delivery, call_next: CallNext) -> Outcome:
    """Some orders kill the process that handles them."""
    if isinstance(delivery.event, OrderPlaced) and delivery.key.startswith(f"{DEADLY}{delivery.service}-"):
        os.kill(os.getpid(), signal.SIGKILL)
    return await call_next(delivery)


def be_mortal() -> None:
    """Die of every deadly order, once it is known that this attempt shall be made."""
    flow.SERVICES = App(flow.SERVICES, (*middlewares_of(flow.SERVICES), deadly))
    for service in (orders, payments):
        service._reactions = [_of_few_attempts(reaction) for reaction in service.reactions]


def _of_few_attempts(reaction: Reaction) -> Reaction:
    """Fewer deaths until a deadly order is given up, and so more innocent suspects."""
    if reaction.retry.attempts is None:
        return reaction
    return replace(reaction, retry=replace(reaction.retry, attempts=ATTEMPTS))


def become_the_next_version() -> None:
    """Record events with a field that the version before does not know."""

    def newer(sent: Sent) -> Sent:
        more = b',"added_by_the_next_version":true}'
        return sent._replace(data=sent.data.removesuffix(b"}") + more) if sent.is_recorded else sent

    WrappedConnection.steps.append(newer)


def be_the_older_version() -> None:
    """Take less: nobody can withdraw an order yet, and who is refused one gets no mail yet."""
    for service in (orders, notifications):
        older = (_narrower(reaction) for reaction in service.reactions)
        service._reactions = [reaction for reaction in older if reaction.events]


def _narrower(reaction: Reaction) -> Reaction:
    added = ADDED.get(reaction.durable, ())
    return replace(reaction, events=tuple(event for event in reaction.events if event not in added))


def older_topology(now: Topology) -> Topology:
    """What the older version declares."""
    return replace(now, consumers=tuple(map(_narrower_durable, now.consumers)))


def _narrower_durable(consumer: Consumer) -> Consumer:
    types = {event.type for event in ADDED.get(consumer.durable, ())}
    return replace(
        consumer,
        subjects=tuple(subject for subject in consumer.subjects if subject.removesuffix(".*") not in types),
        takes=tuple(sorted({*consumer.takes} - {OrderCancellationRequested.type})),
    )


def dead_letter_unknown_types() -> None:
    """The bug: what another version takes is a dead letter, and goes no further."""
    os.environ["JETMESH_UNKNOWN_SECONDS"] = "0"


def acknowledge_before_recording() -> None:
    """The bug: a crash in between loses what was delivered."""
    for service in (orders, payments, notifications):
        service.middlewares = (acknowledged_first,)


def leave_the_guard_out() -> None:
    """The bug: what is handled twice is recorded twice."""
    WrappedConnection.steps.append(lambda sent: sent._replace(headers=GUARD.sub(b"", sent.headers)))


def leave_the_compensation_out() -> None:
    """The bug: a cancelled order keeps its money and its goods."""
    for service in (payments, inventory):
        service.middlewares = (forgetting(OrderCancelled),)


BUGS: dict[str, Callable[[], None]] = {
    "unknown-types-dead-lettered": dead_letter_unknown_types,
    "ack-before-recording": acknowledge_before_recording,
    "guard-left-out": leave_the_guard_out,
    "compensation-left-out": leave_the_compensation_out,
}


def be_ahead(seconds: float) -> None:
    """The clock of the machine is so far ahead, as Python's `time` tells it."""
    there, there_ns = time.time, time.time_ns
    time.time, time.time_ns = lambda: there() + seconds, lambda: there_ns() + int(seconds * 1e9)


if __name__ == "__main__":
    if ahead := os.environ.get(AHEAD):
        be_ahead(float(ahead))
    set_traps()
    be_mortal()
    if os.environ.get(NEXT_VERSION):
        become_the_next_version()
    if os.environ.get(OLDER_VERSION):
        be_the_older_version()
    if bug := os.environ.get(BUG):
        BUGS[bug]()
    main()
