"""Deliveries set aside, for a deadline, a long pause or a replay.

A scheduled message (ADR-51) waits in the service's own timer stream and frees the consumer's slot meanwhile. What comes
back, on a lane that only its reaction reads, is the original message, with where it came from in the headers.
"""

import re
import time
from contextlib import suppress
from datetime import UTC, datetime

from jetmesh import tolerant
from jetmesh.message import Guard, Message, Refused
from jetmesh.record import Recorder
from jetmesh.wire import Delivery, Headers

REACTION = "Jetmesh-Reaction"
_ORIGIN = {"subject": "Jetmesh-Subject", "stream": "Jetmesh-Stream", "sequence": "Jetmesh-Sequence"}
_ATTEMPTS = "Jetmesh-Attempts"
_FIRST = "Jetmesh-First-Time"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}")


def timers_of(stream: str) -> str:
    """The timer stream beside the stream of a service."""
    return f"{stream}_TIMERS"


def due_subjects(service: str) -> str:
    """The lane on which what was set aside comes back to a service."""
    return f"due.{service}.>"


def origin(reaction: str, delivery: Delivery, attempts: int) -> Headers:
    """The headers with which a message set aside finds back, after so many attempts."""
    return {
        REACTION: reaction,
        "Jetmesh-Subject": delivery.subject,
        "Jetmesh-Stream": delivery.stream,
        "Jetmesh-Sequence": str(delivery.sequence),
        _ATTEMPTS: str(attempts),
        _FIRST: repr(delivery.timestamp),  # exactly: the id and key of what has none are derived from it
    }


async def set_aside(
    recorder: Recorder, service: str, reaction: str, delivery: Delivery, seconds: float, attempts: int
) -> None:
    """Bring the delivery back after `seconds`, once: a second schedule for it would move the first. `attempts` is how
    many of those it has had shall count.

    Raises:
        Unavailable: the broker does not take it now; the delivery must not be acked.
        TooLarge: with where it came from in its headers, it is more than the broker takes.
    """
    place = f"{service}.{reaction}.{delivery.stream}.{delivery.sequence}"
    at = datetime.fromtimestamp(time.time() + max(0.0, seconds), UTC)
    headers = {name: value for name, value in delivery.headers.items() if not name.startswith("Nats-")}
    headers |= origin(reaction, delivery, attempts)
    headers["Nats-Schedule"] = f"@at {at.isoformat().replace('+00:00', 'Z')}"
    headers["Nats-Schedule-Target"] = f"due.{place}"
    subject = f"timers.{place}"
    with suppress(Refused):
        await recorder.record(Message(subject, delivery.data, headers, Guard(subject, 0)), limited=False)


def brought_back(delivery: Delivery) -> tuple[str, Delivery]:
    """The reaction that a due delivery is for, and the delivery as it was: its attempts go on counting. What does not
    say where it came from stands where it was found."""
    headers = {name: value for name, value in delivery.headers.items() if not name.startswith("Nats-Schedule")}
    values = {field: headers.pop(name, "") for field, name in _ORIGIN.items()}
    attempts, first = tolerant.whole(headers.pop(_ATTEMPTS, "")), tolerant.seconds(headers.pop(_FIRST, ""))
    reaction = headers.pop(REACTION, "")
    stream, sequence = values["stream"], tolerant.whole(values["sequence"])
    has_place = bool(_TOKEN.fullmatch(stream) and sequence)
    original = Delivery(
        subject=values["subject"] or delivery.subject,
        headers=headers,
        data=delivery.data,
        reply=delivery.reply,
        stream=stream if has_place else delivery.stream,
        sequence=sequence if has_place else delivery.sequence,
        delivered=attempts + delivery.delivered,
        timestamp=first or delivery.timestamp,
    )
    original.shared = delivery.shared
    return reaction, original
