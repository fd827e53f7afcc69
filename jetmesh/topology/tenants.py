"""A tenant by a prefix, in the broker's names: for what reads the topology without a connection of ours, and what the
tenant's operators may send to."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from jetmesh.blob import is_bucket
from jetmesh.jetstream.tenant_names import STREAM, TenantNames, to_wire
from jetmesh.jetstream.transport import API
from jetmesh.service import Service
from jetmesh.topology import names as beside
from jetmesh.topology.partitions import Partitions
from jetmesh.topology.streams import Consumer, Stream, Topology, topology

LISTED = ("INFO", "STREAM.NAMES", "STREAM.LIST")
"""What is asked of the whole account: nothing of another tenant's but the names and settings of its streams."""
ABOUT = ("STREAM.*.{0}", "STREAM.MSG.*.{0}", "STREAM.LEADER.*.{0}", "CONSUMER.*.{0}", "CONSUMER.*.{0}.>",
         "CONSUMER.DURABLE.CREATE.{0}.>", "CONSUMER.MSG.NEXT.{0}.>", "CONSUMER.LEADER.STEPDOWN.{0}.>",
         "DIRECT.GET.{0}", "DIRECT.GET.{0}.>")  # fmt: skip
"""The calls about one stream."""


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


def streams_of(services: Sequence[Service], split: Partitions) -> tuple[str, ...]:
    """All streams that commands use for an app, without the prefix."""
    needed = topology(services, split=split)
    found = [
        name for stream in (*needed.streams, *needed.foreign) for name in (stream.name, stream.conflicting) if name
    ]
    found += [durable.stream for durable in needed.durables]
    found += [f"KV_{beside.APPS_BUCKET}", f"KV_{beside.CONTRACTS_BUCKET}", beside.RESTORING]
    return tuple(dict.fromkeys(found))


def operator_subjects(tenant: str, streams: Iterable[str], services: Iterable[str]) -> Iterable[str]:
    """What the operators of a tenant may send to."""
    names = to_wire(tenant)
    yield f"{tenant}.>"
    yield from (f"{API}.{call}" for call in LISTED)
    for stream in streams:
        wire = names.stream(stream)
        yield from (f"{API}.{call.format(wire)}" for call in ABOUT)
        yield from (f"$JS.ACK.{wire}.>", f"$JS.FC.{wire}.>", f"$JS.SNAPSHOT.*.{wire}.>")
        if is_bucket(wire):
            yield f"$O.{wire.removeprefix('OBJ_')}.>"
        if wire.startswith("KV_"):
            yield f"$KV.{wire.removeprefix('KV_')}.>"
    for service in services:
        yield from (f"$SRV.*.{names.service(service)}", f"$SRV.*.{names.service(service)}.>")
