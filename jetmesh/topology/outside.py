"""Users outside of an app that have accounts of their own: the consumer of another team, a nightly job, a partner who
publishes. What they may do is declared beside the contracts (`jetmesh.contracts.outside`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jetmesh.event import EventType, stream_of
from jetmesh.jetstream.subject import subjects_of
from jetmesh.since import Since
from jetmesh.topology import partitions
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import Consumer, ConsumerKind


@dataclass(frozen=True, slots=True)
class OutsideDurable:
    """A durable that a user outside pulls: events of one owner."""

    name: str
    events: tuple[EventType, ...]
    since: Since = "beginning"


@dataclass(frozen=True, slots=True)
class OutsideUser:
    """One of them: the durables that it pulls, the types whose newest event about a key it may read, the types that it
    may publish, and the subjects of the endpoints that it may ask."""

    name: str
    durables: tuple[OutsideDurable, ...] = ()
    follows: tuple[EventType, ...] = ()
    publishes: tuple[EventType, ...] = ()
    asks: tuple[str, ...] = ()


def durables_of(user: OutsideUser, split: Partitions, app: str = "") -> Iterable[Consumer]:
    """The durables of a user, one per partition of the stream."""
    for durable in user.durables:
        subjects = tuple(subjects_of(event) for event in durable.events)
        for stream in partitions.names(stream_of(durable.events[0].owner), split):
            yield Consumer(
                stream,
                durable.name,
                user.name,
                subjects,
                kind=ConsumerKind.OUTSIDE,
                since=durable.since,
                app=app,
            )


def newest(event: EventType, split: Partitions) -> Iterable[str]:
    """The places at which the newest event of a type about any key is read: a stream and a subject in it."""
    for stream in partitions.names(stream_of(event.owner), split):
        yield f"{stream}.{subjects_of(event)}"


def named(users: Sequence[OutsideUser]) -> list[str]:
    """Their names."""
    return [user.name for user in users]
