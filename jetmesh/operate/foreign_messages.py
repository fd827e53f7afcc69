"""What an app reads of streams that are not its own: other apps' events, and foreign messages with what its reactions
make of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from jetmesh.event import INTAKE, Event, EventType
from jetmesh.failure import BrokenContract
from jetmesh.foreign import Listens
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.jetstream.direct_get import Stored
from jetmesh.jetstream.subject import Subject, covers, subjects_of
from jetmesh.operate.archive.parquet import Archive
from jetmesh.operate.key_history import StoryEvent, event_of
from jetmesh.reaction import Reaction
from jetmesh.runtime import foreign
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.topology import names, partitions
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import WHOLE, ConsumerKind, topology

Decode = Callable[[RawDelivery], Event]
READ = (ConsumerKind.WORK, ConsumerKind.DEADLINE)


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """What a reaction makes of a foreign message: an event, or a complaint."""

    reaction: Reaction
    event: Event | None
    complaint: str = ""

    @property
    def event_type(self) -> EventType:
        """The type of event that the reaction listens for."""
        (found,) = self.reaction.events
        return found

    @property
    def key(self) -> str:
        """The key of the event; empty where there is none."""
        return self.event.key if self.event else ""


class ForeignMessages:
    """The reactions of an app that listen to foreign streams."""

    def __init__(self, services: Sequence[Service], event: str = "") -> None:
        """Those that listen for a type of event; all, where none is named."""
        reactions = (reaction for service in services for reaction in service.reactions)
        self._listening = [
            (reaction, listens, foreign.decoder(reaction, listens))
            for reaction in reactions
            if (listens := reaction.listens) and event in ("", reaction.events[0].type)
        ]

    @property
    def subjects(self) -> dict[str, list[str]]:
        """The streams, with the subjects of them that are listened to."""
        found: dict[str, list[str]] = {}
        for _, listens, _ in self._listening:
            found.setdefault(listens.stream, []).append(listens.subject)
        return {stream: _widest(subjects) for stream, subjects in found.items()}

    def about(self, stream: str, message: Stored) -> tuple[str, str]:
        """The type and the key of the event that the first reaction makes of a message; what can't be known is
        empty. What nobody listens to is an event of another app."""
        found = next(self.decoded(stream, message), None)
        return (found.event_type.type, found.key) if found else (message.type, message.key)

    def decoded(self, stream: str, message: Stored) -> Iterator[DecodedMessage]:
        """What each reaction makes of a message."""
        at = datetime.fromisoformat(message.time).timestamp()
        for reaction, _, decode in self._listening_to(stream, message.subject):
            delivery = RawDelivery(message.subject, message.headers, message.data, "", stream, message.sequence, 0, at)
            try:
                yield DecodedMessage(reaction, decode(delivery))
            except BrokenContract as broken:
                yield DecodedMessage(reaction, None, str(broken))

    def _listening_to(self, stream: str, subject: str) -> "Iterator[tuple[Reaction, Listens, Decode]]":
        return (each for each in self._listening if each[1].stream == stream and covers(each[1].subject, subject))


def read_of_others(services: Sequence[Service], split: Partitions = WHOLE) -> dict[str, list[str]]:
    """The streams of others that the app reads, with the subjects that it reads of them."""
    own = {part for service in services for part in partitions.names(service.stream, split)}
    own |= {of(service.stream) for service in services for of in names.BESIDE} | {INTAKE}
    found: dict[str, list[str]] = {}
    for each in topology(services, split=split).consumers:
        if each.kind in READ and each.stream not in own:
            found.setdefault(each.stream, []).extend(each.subjects or (">",))
    return {stream: _widest(subjects) for stream, subjects in found.items()}


async def events_of_others(
    context: Context, services: Sequence[Service], key: str, away: Sequence[str] = ()
) -> list[StoryEvent]:
    """What other apps recorded about a key, as far as the app reads it: of each type the newest. Nothing of streams
    that are `away`.

    Raises:
        Unavailable: a stream does not answer.
    """
    events = {event.type: event for service in services for each in service.reactions for event in each.events}
    foreign = ForeignMessages(services).subjects
    found: list[StoryEvent] = []
    for stream, subjects in read_of_others(services, context.settings.split).items():
        if stream in away:
            continue
        types = {Subject.parse(each).type for each in subjects if each not in foreign.get(stream, ())}
        wanted = [subjects_of(events[name], key) for name in sorted(types & events.keys())]
        stored = await context.direct_get.last(stream, wanted) if wanted else []
        found += [event_of(message, events[message.type].owner, stream) for message in stored]
    return found


def archived_of_others(archive: Archive, services: Sequence[Service], key: str, split: Partitions) -> list[StoryEvent]:
    """The same of an archive, which other apps may share: all that the app reads.

    Raises:
        ArchiveError: it can't be read.
    """
    events = {event.type: event for service in services for each in service.reactions for event in each.events}
    read = read_of_others(services, split)
    rows = [row for row in archive.of([key]) if any(covers(each, row.subject) for each in read.get(row.stream, ()))]
    known = [(events[row.type], row) for row in rows if row.type in events]
    return [replace(event_of(row.stored(), event.owner, row.stream), archived=True) for event, row in known]


def _widest(subjects: Sequence[str]) -> list[str]:
    """The subjects without those that another one covers."""
    known = list(dict.fromkeys(subjects))
    return [one for one in known if not any(covers(other, one) for other in known if other != one)]
