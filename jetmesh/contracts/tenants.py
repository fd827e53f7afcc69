"""The AsyncAPI document of a tenant by a prefix: a stranger who reads it writes the broker's names."""

from typing import Any

from jetmesh.jetstream.tenant_names import Fields, TenantNames, to_wire
from jetmesh.topology.accounts import API_PREFIX

STREAM, CONSUMER, STREAMS = "x-jetstream-stream", "x-jetstream-consumer", "x-jetstream-streams"
CHANNEL: Fields = {"address": "subject", STREAM: "stream"}
OPERATION: Fields = {
    STREAM: "stream",
    CONSUMER: {"stream": "stream", "pull": "subject"},
    "x-jetstream-direct-get": "subject",
}


def on_wire(document: dict[str, Any], tenant: str) -> dict[str, Any]:
    """The document with the addresses, streams and calls as the broker has them."""
    names = to_wire(tenant, f"{API_PREFIX}.")
    info = {**document["info"], "title": f"{document['info']['title']} for {tenant}"}
    streams = {STREAMS: _streams(document[STREAMS], names)} if STREAMS in document else {}
    channels = {name: names.body(CHANNEL, each) for name, each in document["channels"].items()}
    operations = {name: names.body(OPERATION, each) for name, each in document["operations"].items()}
    return {**document, "info": info, "channels": channels, "operations": operations, **streams}


def _streams(streams: dict[str, Any], names: TenantNames) -> dict[str, Any]:
    return {names.stream(name): names.body({"subjects": "subject"}, each) for name, each in streams.items()}
