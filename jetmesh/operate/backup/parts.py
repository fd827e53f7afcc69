"""Which streams a backup takes: facts up to the cut, claims as they are; timers not at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from jetmesh.contracts.registry import BUCKET
from jetmesh.service import INTAKE, Service
from jetmesh.topology.names import claims_of, timers_of
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import Consumer, Topology, topology

CONTRACTS = f"KV_{BUCKET}"


@dataclass(frozen=True, slots=True)
class Parts:
    """The streams of a mesh, by what a backup does about them. What a service claimed for an order that the cut leaves
    out does no harm: whoever asks again is given the same order's id."""

    needed: Topology
    facts: tuple[str, ...]
    beside: tuple[str, ...]
    timers: tuple[str, ...]
    sinks: frozenset[str]

    @property
    def durables(self) -> list[Consumer]:
        """Those whose work is found in the cut. A sink keeps its position beside its data, and is told everything."""
        return [c for c in self.needed.consumers if c.stream in self.facts and c.durable not in self.sinks]


def parts(services: Sequence[Service], split: Partitions, replicas: int = 1, ack_wait_seconds: float = 30.0) -> Parts:
    """The parts of a mesh of these services."""
    needed = topology(services, replicas, ack_wait_seconds, split)
    timers = {timers_of(service.stream) for service in services}
    claims = {claims_of(service.stream) for service in services}
    names = [stream.name for stream in needed.streams]
    sinks = {r.durable for service in services for r in service.reactions if r.form.keeps_all}
    return Parts(
        needed,
        facts=tuple(name for name in names if name not in timers | claims),
        beside=(*(name for name in names if name in claims), CONTRACTS),
        timers=tuple(name for name in names if name in timers),
        sinks=frozenset(sinks),
    )


def durable_of(service: str, reaction: str, stream: str) -> tuple[str, str]:
    """The stream and the durable that brought a delivery to a reaction."""
    return stream, f"{service}-intake" if stream == INTAKE else f"{service}-{reaction}"
