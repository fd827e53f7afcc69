"""The streams and durable consumers that the services need, derived from the reactions' signatures alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from jetmesh.blob import bucket_of, description_of, has_blobs, pieces_of
from jetmesh.event import INTAKE, EventType, entity_of, is_occurrence, stream_of
from jetmesh.jetstream.consumer_config import Config
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX
from jetmesh.jetstream.subject import covers, subjects_of
from jetmesh.reaction import Reaction
from jetmesh.service import Service
from jetmesh.since import Since
from jetmesh.topology import ownership, partitions
from jetmesh.topology.difference import EXPRESS, FORMERLY, TAKES, TUNABLE
from jetmesh.topology.names import (
    DEAD_LETTERS,
    DEAD_LOG_SUBJECTS,
    DEAD_SUBJECTS,
    LETTERS,
    NO_LETTER,
    blobs_of,
    claim_subjects,
    claims_of,
    dead_letters_of,
    due_subjects,
    limit_subjects,
    limits_of,
    timer_subjects,
    timers_of,
    wakes,
)
from jetmesh.topology.partitions import Partitions

WHOLE: Partitions = {}
"""No stream is split."""

INTAKE_BYTES_MAX = 4 << 30
DEAD_LETTERS_BYTES_MAX = 1 << 30
BLOBS_BYTES_MAX = 16 << 30
"""Limits of the streams that anybody can fill, so that they don't fill the disk. Operators may set others."""


NO_SOURCE = {"name": DEAD_LETTERS, "filter_subject": NO_LETTER}
"""The intake's source, from which nothing comes: no dead letter has this subject.

A stream without a source remembers every `Nats-Msg-Id` for two minutes and drops a second message with it, so that
anybody who guesses an id could make an order vanish. Only a stream with a source may have no duplicate window. The
owner recognises an order that comes twice by its key.
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its name and the part of its configuration that the mesh relies on (JetStream's field names).

    `conflicting`: a stream that would hold the same events with another number of partitions; it must not exist.
    `is_shared`: all apps on the broker use it.
    """

    name: str
    config: Config
    conflicting: str = ""
    is_shared: bool = False


class ConsumerKind(StrEnum):
    """What a durable is for: work to be done at once; the urgent part of it, once more; a deadline, whose deliveries
    wait by design; dead letters, which a person decides; what a user outside of the app pulls. Metrics, alerts,
    autoscaling and tests read it."""

    WORK = "work"
    EXPRESS = "express"
    DEADLINE = "deadline"
    LETTERS = "letters"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Consumer:
    """One durable pull consumer, and the service whose process pulls it."""

    stream: str
    durable: str
    service: str
    subjects: tuple[str, ...]
    ack_wait_seconds: float = 30.0
    kind: ConsumerKind = ConsumerKind.WORK
    takes: tuple[str, ...] = ()
    """Of an intake: the types that its service takes. Its filter is wider: a type that no version takes must become a
    dead letter, a type that another version takes must not."""
    reaction: str = ""
    """The reaction that it is made for; empty: it is of the whole service, or a sink's, and begins at the beginning."""
    since: Since | None = None
    """Where it begins when it is made, if the reaction declares that."""
    formerly: tuple[str, ...] = ()
    """The former names of the reaction, oldest first."""
    concurrency: int = 0
    """How many deliveries may be in flight; 0: what is usual."""
    app: str = ""
    """The app that owns it; empty: it gets no owner."""

    @property
    def whose(self) -> str:
        """What an operator calls it: `orders.promise`, or `orders.intake`, `orders.due` of the whole service."""
        if self.kind is ConsumerKind.EXPRESS:
            return f"{self.service}.{self.reaction}"
        return f"{self.service}.{self.durable.removeprefix(f'{self.service}-')}"

    @property
    def ordinary(self) -> str:
        """Of an express durable: the one that has all of its deliveries too."""
        return f"{self.service}-{self.reaction}"

    @property
    def config(self) -> Config:
        """Explicit acks and no delivery limit: the failure policy in the process decides."""
        owner = ownership.metadata(self.app, self.service).get("metadata", {})
        noted = ",".join(self.subjects) if self.kind is ConsumerKind.EXPRESS else ""
        metadata = {**owner, TAKES: ",".join(self.takes), FORMERLY: ",".join(self.formerly), EXPRESS: noted}
        given = {name: value for name, value in metadata.items() if value}
        return {
            "durable_name": self.durable,
            "description": f"jetmesh {self.kind} of {self.service}",
            **start_of(self.since),
            "ack_policy": "explicit",
            "ack_wait": int(self.ack_wait_seconds * 1e9),
            "max_deliver": -1,
            "max_ack_pending": self.concurrency or TUNABLE["max_ack_pending"],
            "filter_subjects": list(self.subjects),
            "replay_policy": "instant",
            **({"metadata": given} if given else {}),
        }


def start_of(since: Since | None) -> Config:
    """The fields of a new durable that say where it begins."""
    if since in (None, "beginning", "now"):
        return {"deliver_policy": "new" if since == "now" else "all"}
    assert isinstance(since, datetime)
    return {"deliver_policy": "by_start_time", "opt_start_time": since.isoformat()}


@dataclass(frozen=True, slots=True)
class Topology:
    """The streams and durables that these services need."""

    streams: tuple[Stream, ...]
    consumers: tuple[Consumer, ...]
    counts: tuple[Consumer, ...] = ()
    """Durables that no process pulls: the broker counts their lag, and its exporter shows it."""
    foreign: tuple[Stream, ...] = ()
    """Streams of others that the services listen to: made where nobody has, and never changed."""
    outside: tuple[Consumer, ...] = ()
    """Durables on these streams that users outside of the app pull."""

    @property
    def durables(self) -> tuple[Consumer, ...]:
        """All of them."""
        return (*self.consumers, *self.counts, *self.outside)

    @property
    def work(self) -> list[Consumer]:
        """The durables of work: nothing waits in them once everything is done."""
        return [consumer for consumer in self.consumers if consumer.kind in (ConsumerKind.WORK, ConsumerKind.EXPRESS)]


def topology(
    services: Sequence[Service],
    replicas: int = 1,
    ack_wait_seconds: float = 30.0,
    split: Partitions = WHOLE,
    app: str = "",
) -> Topology:
    """The topology of these services; `split` has the number of partitions of each stream that is split. With the name
    of their app everything gets an owner, so that several apps can share a broker.

    Raises:
        ValueError: a stream can't be split, or no service here has it.
    """
    _check(services, split)
    return Topology(
        streams=tuple(_streams(services, replicas, split, app)),
        consumers=tuple(
            replace(consumer, app=app)
            for service in services
            for consumer in consumers_of(service, services, ack_wait_seconds, split)
        ),
        counts=(_counted(services, app),),
        foreign=tuple(_foreign(services, replicas)),
    )


def _foreign(services: Sequence[Service], replicas: int) -> Iterable[Stream]:
    """The streams that these services listen to, as they are made where nobody has made them."""
    found: dict[str, list[str]] = {}
    for listens in (reaction.listens for service in services for reaction in service.reactions if reaction.listens):
        found.setdefault(listens.stream, []).append(listens.subject)
    for name, subjects in found.items():
        widest = [s for s in dict.fromkeys(subjects) if not any(covers(t, s) for t in subjects if t != s)]
        yield _log(name, widest, replicas, max_bytes=INTAKE_BYTES_MAX, max_msg_size=MESSAGE_BYTES_MAX)


def _counted(services: Sequence[Service], app: str) -> Consumer:
    """The durable that counts the dead letters of an app: those of its services."""
    if not app:
        return Consumer(DEAD_LETTERS, LETTERS, "operators", (DEAD_SUBJECTS,), kind=ConsumerKind.LETTERS)
    mine = tuple(dead_letters_of(service.name) for service in services)
    return Consumer(DEAD_LETTERS, f"{LETTERS}-{app}", "operators", mine, kind=ConsumerKind.LETTERS, app=app)


def intake(services: Sequence[Service], replicas: int = 1, app: str = "") -> Stream:
    """The stream of what comes from outside, with the subjects of these services; they may have none."""
    keyless = sorted({f"{entity}.*" for service in services for entity in outside(service)})
    limits = {"max_bytes": INTAKE_BYTES_MAX, "max_msg_size": MESSAGE_BYTES_MAX}
    mine = ownership.claim(app, keyless)
    whole = _log(INTAKE, keyless, replicas, duplicate_window=0, sources=[NO_SOURCE], **limits, **mine)
    return replace(whole, is_shared=True)


def _check(services: Sequence[Service], split: Partitions) -> None:
    owners = {service.stream: service for service in services if service.records}
    for stream in split:
        if stream not in owners:
            raise ValueError(f"JETMESH_PARTITIONS: no service records into {stream}; there are {', '.join(owners)}")
        many = [each.name for each in owners[stream].reactions if each.form.is_joint or each.is_several]
        if many:
            raise ValueError(
                f"JETMESH_PARTITIONS: {stream} can't be split: {owners[stream].name}.{many[0]} commits events of many "
                f"keys at once, and a commit is of one stream"
            )


def consumers_of(
    service: Service, services: Sequence[Service] = (), ack_wait_seconds: float = 30.0, split: Partitions = WHOLE
) -> Iterable[Consumer]:
    """The durables of one service, one per partition; a sink reads the streams of all `services`."""

    def durable(
        stream: str,
        name: str,
        *subjects: str,
        kind: ConsumerKind = ConsumerKind.WORK,
        takes: Iterable[str] = (),
        of: Reaction | None = None,
    ) -> Iterable[Consumer]:
        former = of.formerly if of and kind is not ConsumerKind.EXPRESS else ()
        start = (of.name, of.since, former, of.in_flight_max) if of else ()
        for part in partitions.names(stream, split):
            yield Consumer(part, name, service.name, subjects, ack_wait_seconds, kind, tuple(sorted(takes)), *start)

    for reaction in service.reactions:
        kind = ConsumerKind.DEADLINE if reaction.form.is_delayed else ConsumerKind.WORK
        of = None if reaction.form.keeps_all else reaction
        for stream, subjects in _read(service, reaction, services):
            yield from durable(stream, reaction.durable, *subjects, kind=kind, of=of)
        for stream, subjects in _urgent(reaction):
            yield from durable(stream, reaction.express, *subjects, kind=ConsumerKind.EXPRESS, of=of)
    if entities := sorted(outside(service)):
        subjects = [f"{entity}.*" for entity in entities]
        yield from durable(INTAKE, f"{service.name}-intake", *subjects, takes=taken(service))
    if reacts_singly(service):
        yield from durable(
            timers_of(service.stream),
            f"{service.name}-due",
            due_subjects(service.name),
        )


def _read(service: Service, reaction: Reaction, services: Sequence[Service]) -> Iterable[tuple[str, list[str]]]:
    """The streams that the durables of a reaction are on, with the subjects in each."""
    for owner, events in inside(reaction).items():
        yield stream_of(owner), [subjects_of(event) for event in events]
    if reaction.schedule:
        yield timers_of(service.stream), [wakes(service.name, reaction.name)]
    if listens := reaction.listens:
        yield listens.stream, [listens.subject]
    if reaction.form.keeps_all:
        for stream in sorted(
            {other.stream for other in services if other.records} | {service.stream for _ in service.records}
        ):
            yield stream, [">"]


def _urgent(reaction: Reaction) -> Iterable[tuple[str, list[str]]]:
    """The streams that hold its urgent types, with their subjects."""
    found: dict[str, list[str]] = {}
    for event in reaction.urgent:
        found.setdefault(stream_of(event.owner), []).append(subjects_of(event))
    return found.items()


def inside(reaction: Reaction) -> dict[str, list[EventType]]:
    """The events that a reaction reads from each owner's stream."""
    found: dict[str, list[EventType]] = {}
    for event in () if reaction.listens else reaction.events:
        if not reaction.takes_from_outside(event):
            found.setdefault(event.owner, []).append(event)
    return found


def facts_of(events: Iterable[EventType]) -> list[str]:
    """The subjects of the stream that holds these events: of each entity, and of its occurrences where it has some."""
    stories = {f"{entity_of(event)}.*.*" for event in events}
    return sorted(stories | {f"{entity_of(event)}.*.*.*" for event in events if is_occurrence(event)})


def taken_types(service: Service) -> list[EventType]:
    """The events that a service takes from the intake."""
    return [e for reaction in service.reactions for e in reaction.events if reaction.takes_from_outside(e)]


def taken(service: Service) -> set[str]:
    """Their types."""
    return {event.type for event in taken_types(service)}


def outside(service: Service) -> set[str]:
    """Their entities: the first tokens of their subjects."""
    return set(map(entity_of, taken_types(service)))


def reacts_singly(service: Service) -> bool:
    """Whether its deliveries may need a delayed redelivery: a sink keeps them until its store takes them."""
    return any(not reaction.form.keeps_all for reaction in service.reactions)


def is_limited(service: Service) -> bool:
    """Whether one of its reactions declares a rate limit."""
    return any(reaction.limit for reaction in service.reactions)


def has_schedules(service: Service) -> bool:
    """Whether one of its reactions reacts to the clock."""
    return any(reaction.schedule for reaction in service.reactions)


def _streams(services: Sequence[Service], replicas: int, split: Partitions, app: str) -> Iterable[Stream]:
    yield _letters(replicas)
    if any(outside(service) for service in services):
        yield intake(services, replicas, app)
    for service in services:
        for stream in _streams_of(service, replicas, split):
            yield replace(stream, config={**stream.config, **ownership.metadata(app, service.name)})


def _streams_of(service: Service, replicas: int, split: Partitions) -> Iterable[Stream]:
    if service.records:
        facts = _log(service.stream, facts_of(service.records), replicas, allow_atomic=True)
        yield from _parts(facts, split)
    if reacts_singly(service):
        yield _timers(service, replicas)
    if service.claims is not None:
        yield _claims(service, replicas)
    if is_limited(service):
        yield _limits(service, replicas)
    if service.keeps_blobs:
        limit = {"max_bytes": BLOBS_BYTES_MAX} if any(map(has_blobs, taken_types(service))) else {}
        yield bucket(service.name, replicas, **limit)


def _letters(replicas: int) -> Stream:
    """The stream of dead letters. Its `max_msg_size` would have to be the intake's, whose source it is (10046), so that
    only `max_payload` limits a dead letter."""
    subjects = [DEAD_SUBJECTS, DEAD_LOG_SUBJECTS]
    whole = _log(DEAD_LETTERS, subjects, replicas, max_bytes=DEAD_LETTERS_BYTES_MAX, max_msg_size=-1)
    return replace(whole, is_shared=True)


def _log(name: str, subjects: list[str], replicas: int, **more: Any) -> Stream:
    """A stream of events: on disk, with limits retention, and full streams refuse new messages (`discard: new`).

    Work-queue and interest retention would forget acknowledged messages, and with them the guards.
    """
    return Stream(
        name,
        {
            "name": name,
            "subjects": subjects,
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": replicas,
            "max_msg_size": PAYLOAD_BYTES_MAX,
            "allow_direct": True,
            **more,
        },
    )


def _parts(whole: Stream, split: Partitions) -> Iterable[Stream]:
    """The stream or its partitions; each names the other form as conflicting."""
    is_split = whole.name in split
    conflicting = whole.name if is_split else f"{whole.name}-0"
    for config in partitions.configs(whole.config, split):
        yield Stream(str(config["name"]), config, conflicting)


def _timers(service: Service, replicas: int) -> Stream:
    """Delayed redeliveries: schedules and the messages that they publish, gone once acknowledged; and the crash guard's
    markers, gone after their TTL. Schedules exclude `discard: new` (10052). The service reads them: what is
    overdue, and the schedules of what reacts to the clock."""
    name = timers_of(service.stream)
    clock = [wakes(service.name)] if has_schedules(service) else []
    return Stream(
        name,
        {
            "name": name,
            "subjects": [timer_subjects(service.name), due_subjects(service.name), *clock],
            "retention": "workqueue",
            "storage": "file",
            "discard": "old",
            "num_replicas": replicas,
            "allow_msg_schedules": True,
            "allow_msg_ttl": True,
            "allow_direct": True,
        },
    )


def _claims(service: Service, replicas: int) -> Stream:
    """Idempotency keys, forgotten after `claims`."""
    name = claims_of(service.stream)
    assert service.claims is not None
    return Stream(
        name,
        {
            "name": name,
            "subjects": [claim_subjects(service.name)],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": replicas,
            "allow_direct": True,
            "max_age": int(service.claims.total_seconds() * 1e9),
        },
    )


def bucket(owner: str, replicas: int = 1, **more: Any) -> Stream:
    """The objects that events of a service name, as every client of JetStream's Object Store finds them. No client may
    replace one: that would need `allow_rollup_hdrs`."""
    name = bucket_of(owner)
    return _log(blobs_of(stream_of(owner)), [pieces_of(name), description_of(name)], replicas, **more)


def _limits(service: Service, replicas: int) -> Stream:
    """The states of its rate limits: of each the last."""
    name = limits_of(service.stream)
    return Stream(
        name,
        {
            "name": name,
            "subjects": [limit_subjects(service.name)],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": replicas,
            "allow_direct": True,
            "max_msgs_per_subject": 1,
        },
    )
