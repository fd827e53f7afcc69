"""The topology as custom resources of NACK, for clusters that create streams and durables from objects.

https://github.com/nats-io/nack, `jetstream.nats.io/v1beta2`. A setting without a field there is reported by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jetmesh.jetstream.consumer_config import Config
from jetmesh.topology.streams import Consumer, Stream, Topology

API_VERSION = "jetstream.nats.io/v1beta2"
SINCE = {"allowAtomicPublish": "0.21", "allowMsgSchedules": "0.21"}
"""The NACK version that added each field: the API server drops the field for an older one, without an error."""


STREAM = {
    "name": "name",
    "subjects": "subjects",
    "retention": "retention",
    "storage": "storage",
    "discard": "discard",
    "num_replicas": "replicas",
    "max_msg_size": "maxMsgSize",
    "max_bytes": "maxBytes",
    "max_age": "maxAge",
    "max_msgs_per_subject": "maxMsgsPerSubject",
    "duplicate_window": "duplicateWindow",
    "sources": "sources",
    "allow_direct": "allowDirect",
    "allow_atomic": "allowAtomicPublish",
    "allow_msg_schedules": "allowMsgSchedules",
    "allow_msg_ttl": "allowMsgTtl",
    "subject_transform": "subjectTransform",
    "metadata": "metadata",
}
CONSUMER = {
    "durable_name": "durableName",
    "description": "description",
    "deliver_policy": "deliverPolicy",
    "opt_start_time": "optStartTime",
    "ack_policy": "ackPolicy",
    "ack_wait": "ackWait",
    "max_deliver": "maxDeliver",
    "max_ack_pending": "maxAckPending",
    "filter_subjects": "filterSubjects",
    "replay_policy": "replayPolicy",
    "metadata": "metadata",
}
"""NACK's names of JetStream's fields."""
POLICIES = {"by_start_time": "byStartTime"}
"""NACK's words for where a consumer begins, where they differ."""
DURATIONS = frozenset({"max_age", "duplicate_window", "ack_wait"})
"""Nanoseconds in JetStream, text in NACK."""


@dataclass(frozen=True, slots=True)
class Export:
    """The objects; and each field that they can't express, with its owner, name and value."""

    resources: tuple[dict[str, Any], ...]
    missing: tuple[tuple[str, str, Any], ...]

    @property
    def needs_version(self) -> dict[str, str]:
        """The used fields that older NACK versions lack, with the version that added them."""
        used = {field for resource in self.resources for field in resource["spec"]}
        return {field: version for field, version in SINCE.items() if field in used}


def export(topology: Topology, account: str = "") -> Export:
    """The objects for NACK. `account` names its Account object; empty: the controller's own connection.

    Deleting an object deletes no message: `preventDelete` is set on all of them.
    """
    wanted: list[Stream | Consumer] = [*topology.streams, *topology.durables]
    missing = [(one, field) for one in wanted for field in one.config if field not in _fields(one)]
    return Export(
        tuple(_resource(one, account) for one in wanted),
        tuple((f"{_kind(one)} {object_name(one)}", field, one.config[field]) for one, field in missing),
    )


def object_name(wanted: Stream | Consumer) -> str:
    """A name that Kubernetes accepts: lower-case letters, digits and dashes."""
    name = f"{wanted.stream}-{wanted.durable}" if isinstance(wanted, Consumer) else wanted.name
    return name.lower().replace("_", "-")


def _resource(wanted: Stream | Consumer, account: str) -> dict[str, Any]:
    where = {"streamName": wanted.stream} if isinstance(wanted, Consumer) else {}
    kept = {"preventDelete": True, **({"account": account} if account else {})}
    spec = {**where, **_spec(wanted.config, _fields(wanted)), **kept}
    return {"apiVersion": API_VERSION, "kind": _kind(wanted), "metadata": {"name": object_name(wanted)}, "spec": spec}


def _kind(wanted: Stream | Consumer) -> str:
    return type(wanted).__name__


def _fields(wanted: Stream | Consumer) -> Mapping[str, str]:
    return STREAM if isinstance(wanted, Stream) else CONSUMER


def _spec(config: Config, fields: Mapping[str, str]) -> dict[str, Any]:
    known = ((name, value) for name, value in config.items() if name in fields)
    return {fields[name]: _value(name, value) for name, value in known}


def _value(name: str, value: Any) -> Any:
    """The value as NACK writes it."""
    if name == "sources":
        return [{"name": source["name"], "filterSubject": source["filter_subject"]} for source in value]
    if name == "subject_transform":
        return {"source": value["src"], "dest": value["dest"]}
    if name == "deliver_policy":
        return POLICIES.get(value, value)
    return _duration(value) if name in DURATIONS else value


def _duration(nanoseconds: int) -> str:
    """A duration as Go reads it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{nanoseconds}ns" if rest else f"{seconds}s"
