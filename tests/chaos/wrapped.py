"""A service as `python -m jetmesh` runs it, with traps at named points of its code and, where told, a planted bug.

The product knows nothing of either: both are put around it here, in the process that a test starts. A trap is a file;
whoever comes to its point takes the file away and is dead at once, so that of two replicas one dies.
"""

import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from jetmesh import App, CallNext, Delivery, Outcome
from jetmesh.app import middlewares_of
from jetmesh.commands import main
from jetmesh.event import EventType
from jetmesh.jetstream.message import Guard, Message
from jetmesh.jetstream.publisher import Publisher
from jetmesh.reaction import Reaction
from jetmesh.runtime.recording import Recording
from jetmesh.runtime.version_skew import Versions
from jetmesh.topology.streams import Consumer, Topology
from jetmesh_contracts import OrderCancellationRequested, OrderCancelled, OrderPlaced, OrderRefused
from jetmesh_shop import flow
from jetmesh_shop.analytics.service import analytics
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


def set_traps() -> None:
    """Lead the code by every point."""
    _trap_recording()
    flow.SERVICES = App(flow.SERVICES, (*middlewares_of(flow.SERVICES), trapped_before_ack))
    analytics._reactions = [replace(r, function=_then_trapped(r.function)) for r in analytics.reactions]
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


async def trapped_before_ack(delivery: Delivery, call_next: CallNext) -> Outcome:
    """What the reaction decided is recorded, and the broker does not know it yet."""
    outcome = await call_next(delivery)
    passing(BEFORE_ACK)
    return outcome


def _then_trapped(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same point of a sink, which no middleware is around."""

    @wraps(function)  # by its module the service finds its wiring
    async def trapped(*arguments: Any) -> None:
        await function(*arguments)
        passing(BEFORE_ACK)

    return trapped


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


def _trap_recording() -> None:
    record, record_all = Publisher.record, Publisher.record_all

    async def trapped_record(self: Publisher, message: Message, *, limited: bool = True) -> int:
        passing(BEFORE_RECORDING)
        return await record(self, message, limited=limited)

    async def trapped_record_all(self: Publisher, messages: Sequence[Message]) -> int:
        passing(BEFORE_RECORDING)
        return await record_all(self, messages)

    Publisher.record, Publisher.record_all = trapped_record, trapped_record_all  # type: ignore[method-assign]


def become_the_next_version() -> None:
    """Record events with a field that the version before does not know."""
    message: Callable[..., tuple[Message, Any]] = Recording.message

    def newer(self: Recording, *arguments: Any, **more: Any) -> tuple[Message, Any]:
        made, span = message(self, *arguments, **more)
        made.data = made.data.removesuffix(b"}") + b',"added_by_the_next_version":true}'
        return made, span

    Recording.message = newer  # type: ignore[method-assign]


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

    async def never(*_: Any) -> None: ...

    Versions.give_back = never  # type: ignore[method-assign, assignment]


def acknowledge_before_recording() -> None:
    """The bug: a crash in between loses what was delivered."""
    for service in (orders, payments, notifications):
        service.middlewares = (acknowledged_first,)


def leave_the_guard_out() -> None:
    """The bug: what is handled twice is recorded twice."""
    Guard.lines = property(lambda self: "")  # type: ignore[method-assign, assignment]


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
