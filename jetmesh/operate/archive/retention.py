"""What may leave a story, from the services' declarations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jetmesh.event import INTAKE, EventType, entity_of
from jetmesh.jetstream.subject import subjects_of
from jetmesh.service import Service
from jetmesh.topology import partitions
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import outside


@dataclass(frozen=True, slots=True)
class StreamPart:
    """One stream's part of the stories: the filters that may be purged, the levels, the endings that a marker lists,
    and the entities that have markers."""

    stream: str
    purgeable: tuple[str, ...]
    levels: tuple[str, ...] = ()
    endings: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()


def parts(services: Sequence[Service], split: Partitions) -> list[StreamPart]:
    """The intake, then each service's stream or its partitions. A service that declares no ending keeps everything: its
    part of a story never ends."""
    found = [StreamPart(INTAKE, tuple(sorted(f"{entity}.*" for service in services for entity in outside(service))))]
    for whole in (_part(service) for service in services if service.records):
        found += [replace(whole, stream=name) for name in partitions.names(whole.stream, split)]
    return found


def events_from_outside(services: Sequence[Service]) -> dict[str, EventType]:
    """The events that may be in the intake, by type."""
    reactions = (reaction for service in services for reaction in service.reactions)
    return {event.type: event for r in reactions for event in r.events if r.takes_from_outside(event)}


def _part(service: Service) -> StreamPart:
    endings = frozenset(event.type for event in service.endings)
    passing = [event for event in service.records if not event.state]
    return StreamPart(
        service.stream,
        _filters(passing) if endings else (),
        _filters(event for event in service.records if event.state),
        endings,
        frozenset(map(entity_of, passing if endings else ())),
    )


def _filters(events: Iterable[EventType]) -> tuple[str, ...]:
    return tuple(map(subjects_of, events))
