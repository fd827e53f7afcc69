"""The crash guard: gives a delivery whose attempts are used up without a failure further attempts, alone.

A process that is killed uses up an attempt of everything that it had in flight. To find the delivery that kills it,
each suspect runs alone, and a marker is stored before the attempt: only attempts that began count."""

import math

from jetmesh.failure import Unavailable
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.headers import Nats
from jetmesh.jetstream.message import Guard, Message, Refused
from jetmesh.outcome import Retried
from jetmesh.reaction import Reaction
from jetmesh.runtime.context import Context
from jetmesh.runtime.origin import of
from jetmesh.topology.names import BEGUN, timer

SUSPECT_AFTER = 10
"""The delivery count above which a reaction to many that never gives up runs a delivery alone."""
UNFIT_AFTER = 3
"""The same of a sink."""
CHANCES = 3
"""Attempts alone: something else may kill the process at that moment, but hardly so often."""
REMEMBERED = "1h"
PAUSE_SECONDS = 1.0


def trust_until(reaction: Reaction) -> float:
    """The delivery count above which a delivery runs alone: it may have killed its process, or be what a sink's store
    can't take. A reaction to single events that never gives up suspects none: its deliveries don't hold up others."""
    if reaction.form.keeps_all:
        return UNFIT_AFTER
    if reaction.retry.attempts is None:
        return SUSPECT_AFTER if reaction.form.is_joint else math.inf
    return reaction.retry.attempts


async def last_chance(context: Context, reaction: Reaction, delivery: RawDelivery) -> Retried | None:
    """Store the marker of one more attempt of the delivery. A delivery that had all of them stays exhausted; a reaction
    that never gives up has no limit. If the broker can't store the marker, the delivery is given back, and that is the
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
    """Store a marker; False if it was there already."""
    try:
        await context.publisher.record(Message(subject, b"", {Nats.TTL: REMEMBERED}, Guard(subject, 0)))
    except Refused:
        return False
    return True
