"""The last chance of a delivery whose attempts are used up although it never failed: alone, and noted before it begins.

A process that is killed uses up an attempt of everything that it had in hand, and so does whoever kills it each time.
Which of them it was is found out by handling one at a time; only an attempt that began counts against it.
"""

from jetmesh.failure import Unavailable
from jetmesh.jetstream.delivery import Delivery
from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.outcome import Retried
from jetmesh.runtime.context import Context
from jetmesh.runtime.origin import of
from jetmesh.service import Reaction
from jetmesh.topology.names import BEGUN, timer

SUSPECT_AFTER = 10
"""Deliveries of one that is never given up; it goes alone from then on, so that the others get by."""
CHANCES = 3
"""A process may be killed by something else just then, but hardly so often."""
REMEMBERED = "1h"
PAUSE_SECONDS = 1.0


def is_suspect(reaction: Reaction, delivery: Delivery) -> bool:
    """Whether its handling may have killed its process, as often as it has come."""
    return delivery.delivered > (reaction.retry.attempts or SUSPECT_AFTER)


async def last_chance(context: Context, reaction: Reaction, delivery: Delivery) -> Retried | None:
    """Give the delivery one attempt more, noted as begun; it stays as it was, if it had all its chances. One that is
    never given up has no last chance. Where the broker takes no note now, the delivery is given back, and that is its
    outcome."""
    if reaction.retry.attempts is None:
        return None
    place = timer(of(reaction.service, f"{BEGUN}.{reaction.name}", delivery).tokens)
    try:
        for number in range(1, CHANCES + 1):
            if await _note(context, f"{place}.{number}"):
                delivery.delivered = reaction.retry.attempts
                break
    except Unavailable as trouble:
        context.in_flight.nak(delivery, PAUSE_SECONDS)
        return Retried(trouble, PAUSE_SECONDS)
    return None


async def _note(context: Context, subject: str) -> bool:
    """Whether this chance was not taken before."""
    try:
        await context.publisher.record(Message(subject, b"", {Nats.TTL: REMEMBERED}, Guard(subject, 0)))
    except Refused:
        return False
    return True
