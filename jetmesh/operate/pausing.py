"""Pausing reactions: their durables deliver nothing for a while, whoever pulls them; what comes meanwhile waits."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from jetmesh.jetstream.api import FOR_GOOD, pause
from jetmesh.jetstream.transport import Transport
from jetmesh.service import Service
from jetmesh.topology.streams import Consumer

LONGEST = timedelta(days=366)
"""A time further ahead is a typing error; who wants a longer pause gives no time, and resumes."""


class WrongTime(ValueError):
    """A pause can't end then; the text says why."""


class NoSuchReaction(Exception):
    """No durable is of this reaction; the text names those that there are."""


def durables_of(whose: str, services: Sequence[Service], consumers: Iterable[Consumer]) -> list[Consumer]:
    """The durables of a reaction (`notifications.send`), of what a service takes from outside (`orders.intake`), or of
    a whole service.

    Raises:
        NoSuchReaction: there is none.
    """
    consumers = list(consumers)
    if found := [each for each in consumers if whose in (each.service, each.whose)]:
        return found
    service, _, name = whose.partition(".")
    taken = [r for s in services if s.name == service for r in s.reactions if r.name == name]
    if taken:
        raise NoSuchReaction(
            f"{whose} takes what comes from outside, by the one durable of all such reactions: name {service}.intake"
        )
    names = sorted({each.whose for each in consumers} | {service.name for service in services})
    raise NoSuchReaction(f"there is no reaction {whose!r}; there are {', '.join(names)}")


def require_ahead(until: datetime) -> None:
    """Refuse a pause that would be over already, or hardly ever.

    Raises:
        WrongTime: it is one of these.
    """
    ahead = until - datetime.now(UTC)
    if ahead <= timedelta():
        raise WrongTime(f"{until.isoformat()} is past: give a later time")
    if ahead > LONGEST:
        raise WrongTime(
            f"{until.isoformat()} is more than {LONGEST.days} days ahead: give an earlier time, or none, and resume it"
        )


def is_for_good(until: datetime) -> bool:
    """Whether a pause was given no end: it lasts until somebody resumes."""
    return until - datetime.now(UTC) > FOR_GOOD / 2


async def pause_all(connection: Transport, consumers: Iterable[Consumer], until: datetime | None) -> list[Consumer]:
    """Pause these durables until then, or resume them (None); returns those that the broker does not have.

    Raises:
        Unavailable: the broker does not answer.
        ApiError: it refuses.
    """
    return [each for each in consumers if not await pause(connection, each.stream, each.durable, until)]
