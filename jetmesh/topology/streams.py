"""The streams and durable consumers that the services need, derived from their signatures and declared nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jetmesh.event import entity_of, stream_of
from jetmesh.jetstream.limits import MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX
from jetmesh.service import INTAKE, Reaction, Service
from jetmesh.topology import partitions
from jetmesh.topology.difference import TAKES, TUNABLE
from jetmesh.topology.names import (
    DEAD_LETTERS,
    DEAD_LOG_SUBJECTS,
    DEAD_SUBJECTS,
    NO_LETTER,
    claim_subjects,
    claims_of,
    due_subjects,
    timer_subjects,
    timers_of,
)
from jetmesh.topology.partitions import Partitions

Config = Mapping[str, Any]

WHOLE: Partitions = {}
"""No stream is split."""

INTAKE_BYTES_MAX = 4 << 30
DEAD_LETTERS_BYTES_MAX = 1 << 30
"""What strangers can fill does not fill the disk. Operators may set others: once a stream is there, theirs counts."""


NO_SOURCE = {"name": DEAD_LETTERS, "filter_subject": NO_LETTER}
"""A source of nothing, no letter having this subject. A stream without any source remembers every `Nats-Msg-Id` for two
minutes, and takes no second message with it: a stranger could make an order vanish by guessing its id. One that has a
source may remember none. An order that comes twice is known by its key, for ever, and by its owner."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its name and the part of its configuration that the mesh relies on (JetStream's own field names).

    `rival`: a stream that holds the same events if they were split otherwise before, so that it must not be there.
    """

    name: str
    config: Config
    rival: str = ""


class Kind(StrEnum):
    """What waits in a durable: work, to be done at once; a delivery that rests until its time is up, so that lag is no
    delay; or a dead letter, for a person to decide on. Metrics, alerts, autoscaling and tests tell them apart."""

    WORK = "work"
    DEADLINE = "deadline"
    LETTERS = "letters"


@dataclass(frozen=True, slots=True)
class Consumer:
    """One durable pull consumer, and the service whose process pulls it."""

    stream: str
    durable: str
    service: str
    subjects: tuple[str, ...]
    ack_wait_seconds: float = 30.0
    kind: Kind = Kind.WORK
    takes: tuple[str, ...] = ()
    """Of an intake: the types that its service takes. Its filter admits more, for what nobody takes must end as a
    letter; what another version takes must not."""

    @property
    def config(self) -> Config:
        """Explicit acks, delivered without limit: the failure policy decides in the process, and in one place."""
        return {
            "durable_name": self.durable,
            "description": f"jetmesh {self.kind} of {self.service}",
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(self.ack_wait_seconds * 1e9),
            "max_deliver": -1,
            "max_ack_pending": TUNABLE["max_ack_pending"],
            "filter_subjects": list(self.subjects),
            "replay_policy": "instant",
            **({"metadata": {TAKES: ",".join(self.takes)}} if self.takes else {}),
        }


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that a broker must have for these services to run."""

    streams: tuple[Stream, ...]
    consumers: tuple[Consumer, ...]
    counts: tuple[Consumer, ...] = ()
    """Durables that nobody pulls: their lag is a number that the broker keeps and its exporter shows."""

    @property
    def durables(self) -> tuple[Consumer, ...]:
        """All of them."""
        return (*self.consumers, *self.counts)

    @property
    def work(self) -> list[Consumer]:
        """The durables in which nothing waits once all is done."""
        return [consumer for consumer in self.consumers if consumer.kind is Kind.WORK]


def topology(
    services: Sequence[Service], replicas: int = 1, ack_wait_seconds: float = 30.0, split: Partitions = WHOLE
) -> Topology:
    """What these services need together; `split` says which streams are split, and in how many.

    Raises:
        ValueError: a stream can't be split, or is none of these services'.
    """
    _check(services, split)
    return Topology(
        streams=tuple(_streams(services, replicas, split)),
        consumers=tuple(c for service in services for c in consumers_of(service, services, ack_wait_seconds, split)),
        counts=(Consumer(DEAD_LETTERS, "letters", "operators", (DEAD_SUBJECTS,), kind=Kind.LETTERS),),
    )


def _check(services: Sequence[Service], split: Partitions) -> None:
    owners = {service.stream: service for service in services if service.records}
    for stream in split:
        if stream not in owners:
            raise ValueError(f"JETMESH_PARTITIONS: no service records into {stream}; there are {', '.join(owners)}")
        many = [reaction.name for reaction in owners[stream].reactions if reaction.form.is_joint]
        if many:
            raise ValueError(
                f"JETMESH_PARTITIONS: {stream} can't be split: {owners[stream].name}.{many[0]} commits events of many "
                f"keys at once, and a commit is of one stream"
            )


def consumers_of(
    service: Service, services: Sequence[Service] = (), ack_wait_seconds: float = 30.0, split: Partitions = WHOLE
) -> Iterable[Consumer]:
    """The durables of one service, one in each partition; a sink reads the streams of all `services`."""

    def durable(
        stream: str, name: str, *subjects: str, kind: Kind = Kind.WORK, takes: Iterable[str] = ()
    ) -> Iterable[Consumer]:
        for part in partitions.names(stream, split):
            yield Consumer(part, name, service.name, subjects, ack_wait_seconds, kind, tuple(sorted(takes)))

    for reaction in service.reactions:
        kind = Kind.DEADLINE if reaction.form.is_delayed else Kind.WORK
        for owner, types in inside(reaction).items():
            yield from durable(stream_of(owner), reaction.durable, *(f"{name}.*" for name in types), kind=kind)
        if reaction.form.keeps_all:
            for stream in sorted(
                {other.stream for other in services if other.records} | {service.stream for _ in service.records}
            ):
                yield from durable(stream, reaction.durable, ">")
    if entities := sorted(outside(service)):
        subjects = [f"{entity}.*" for entity in entities]
        yield from durable(INTAKE, f"{service.name}-intake", *subjects, takes=taken(service))
    if reacts_singly(service):
        yield from durable(
            timers_of(service.stream),
            f"{service.name}-due",
            due_subjects(service.name),
        )


def inside(reaction: Reaction) -> dict[str, list[str]]:
    """What a reaction reads from the streams of the services that recorded it: owner → types."""
    found: dict[str, list[str]] = {}
    for event in reaction.events:
        if not reaction.takes_from_outside(event):
            found.setdefault(event.owner, []).append(event.type)
    return found


def taken(service: Service) -> set[str]:
    """The types that a service takes from outside."""
    return {e.type for reaction in service.reactions for e in reaction.events if reaction.takes_from_outside(e)}


def outside(service: Service) -> set[str]:
    """The entities of what a service takes from outside: the first tokens of the keyless subjects that it owns."""
    return {entity_of(e) for reaction in service.reactions for e in reaction.events if reaction.takes_from_outside(e)}


def reacts_singly(service: Service) -> bool:
    """Whether the service has deliveries that may be set aside: a sink keeps what it gets until its store takes it."""
    return any(not reaction.form.keeps_all for reaction in service.reactions)


def _streams(services: Sequence[Service], replicas: int, split: Partitions) -> Iterable[Stream]:
    yield _letters(replicas)
    keyless = sorted({f"{entity}.*" for service in services for entity in outside(service)})
    if keyless:
        intake = {"max_bytes": INTAKE_BYTES_MAX, "max_msg_size": MESSAGE_BYTES_MAX}
        yield _log(INTAKE, keyless, replicas, duplicate_window=0, sources=[NO_SOURCE], **intake)
    for service in services:
        if service.records:
            entities = sorted({entity_of(event) for event in service.records})
            facts = _log(service.stream, [f"{entity}.*.*" for entity in entities], replicas, allow_atomic=True)
            yield from _parts(facts, split)
        if reacts_singly(service):
            yield _timers(service, replicas)
        if service.claims is not None:
            yield _claims(service, replicas)


def _letters(replicas: int) -> Stream:
    """Dead letters. One is what was taken and the evidence, and no larger than `max_payload`; a `max_msg_size` here
    would have to be the intake's, which has this stream for its source (10046)."""
    subjects = [DEAD_SUBJECTS, DEAD_LOG_SUBJECTS]
    return _log(DEAD_LETTERS, subjects, replicas, max_bytes=DEAD_LETTERS_BYTES_MAX, max_msg_size=-1)


def _log(name: str, subjects: list[str], replicas: int, **more: Any) -> Stream:
    """Facts: kept on disk, read by anyone, nothing pushed out by what comes later (`discard: new` is back-pressure).

    Limits retention, because work-queue and interest streams forget what they have seen.
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
    """The stream, or its partitions; the one is refused where the others are."""
    is_split = whole.name in split
    rival = whole.name if is_split else f"{whole.name}-0"
    for config in partitions.configs(whole.config, split):
        yield Stream(str(config["name"]), config, rival)


def _timers(service: Service, replicas: int) -> Stream:
    """Schedules and what they bring back, gone when acknowledged; and notes of last chances, gone when their time is
    up. Schedules exclude `discard: new` (10052)."""
    name = timers_of(service.stream)
    return Stream(
        name,
        {
            "name": name,
            "subjects": [timer_subjects(service.name), due_subjects(service.name)],
            "retention": "workqueue",
            "storage": "file",
            "discard": "old",
            "num_replicas": replicas,
            "allow_msg_schedules": True,
            "allow_msg_ttl": True,
        },
    )


def _claims(service: Service, replicas: int) -> Stream:
    """Who took a token first; forgotten after a while."""
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
