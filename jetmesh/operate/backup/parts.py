"""Which streams a backup takes: events up to the cut, claims and objects as they are, and neither timers nor limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from jetmesh.app import name_of
from jetmesh.contracts import deployed, registry
from jetmesh.event import INTAKE
from jetmesh.operate.deployment import with_outside
from jetmesh.service import Service
from jetmesh.topology.names import blobs_of, claims_of, limits_of, timers_of
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import Consumer, Topology, topology

REGISTRY = registry.STREAM, deployed.STREAM
"""The streams of the buckets with the deployed contracts and apps."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The streams of a mesh, by how a backup treats them. A claim of an order that is after the cut does no harm: a
    client that asks again gets the same order's id. An object that only an event after the cut names is one that
    `jetmesh blobs prune` removes; those that an event before it names are there, since they were stored before it."""

    needed: Topology
    facts: tuple[str, ...]
    beside: tuple[str, ...]
    timers: tuple[str, ...]
    sinks: frozenset[str]

    @property
    def durables(self) -> list[Consumer]:
        """The durables whose effects are in the cut. A sink stores its position with its data, and reads everything
        again."""
        pulled = (*self.needed.consumers, *self.needed.outside)
        return [each for each in pulled if each.stream in self.facts and each.durable not in self.sinks]

    @property
    def elsewhere(self) -> list[Consumer]:
        """The durables on streams of others: foreign ones, and those of other apps."""
        own = {stream.name for stream in self.needed.streams}
        return [each for each in self.needed.consumers if each.stream not in own and each.durable not in self.sinks]


def parts(services: Sequence[Service], split: Partitions, replicas: int = 1, ack_wait_seconds: float = 30.0) -> Parts:
    """The parts of a mesh of these services."""
    needed = with_outside(topology(services, replicas, ack_wait_seconds, split, name_of(services)), services, split)
    timers = {timers_of(service.stream) for service in services}
    claims = {of(service.stream) for service in services for of in (claims_of, blobs_of)}
    limits = {limits_of(service.stream) for service in services}
    names = [stream.name for stream in needed.streams]
    sinks = {r.durable for service in services for r in service.reactions if r.form.keeps_all}
    return Parts(
        needed,
        facts=tuple(name for name in names if name not in timers | claims | limits),
        beside=(*(name for name in names if name in claims), *REGISTRY),
        timers=tuple(name for name in names if name in timers),
        sinks=frozenset(sinks),
    )


def durable_of(service: str, reaction: str, stream: str) -> tuple[str, str]:
    """The stream and the durable from which a reaction got a delivery."""
    return stream, f"{service}-intake" if stream == INTAKE else f"{service}-{reaction}"
