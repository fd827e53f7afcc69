"""The topology of a tenant by a prefix, in the broker's names: for what reads it without a connection of ours."""

from dataclasses import replace

from jetmesh.jetstream.tenant_names import STREAM, TenantNames, to_wire
from jetmesh.topology.streams import Consumer, Stream, Topology


def on_wire(topology: Topology, tenant: str) -> Topology:
    """The same streams and durables, as the broker names them; without a tenant the topology itself."""
    if not tenant:
        return topology
    names = to_wire(tenant)
    return Topology(
        tuple(_stream(each, names) for each in topology.streams),
        tuple(_consumer(each, names) for each in topology.consumers),
        tuple(_consumer(each, names) for each in topology.counts),
        tuple(_stream(each, names) for each in topology.foreign),
        tuple(_consumer(each, names) for each in topology.outside),
    )


def _stream(stream: Stream, names: TenantNames) -> Stream:
    conflicting = names.stream(stream.conflicting) if stream.conflicting else ""
    config = names.body(STREAM, stream.config)
    return replace(stream, name=names.stream(stream.name), config=config, conflicting=conflicting)


def _consumer(consumer: Consumer, names: TenantNames) -> Consumer:
    return replace(
        consumer, stream=names.stream(consumer.stream), subjects=tuple(map(names.subject, consumer.subjects))
    )
