"""What the Helm chart must know of the topology: the durables whose lag KEDA scales each service on."""

from typing import Any

from jetmesh.topology.streams import Topology


def values(topology: Topology, tenant: str = "") -> dict[str, Any]:
    """The part of the chart's values that follows from the declarations. Deadlines are not among them: what rests on
    purpose is no lag. The chart puts the tenant before the names of streams."""
    services: dict[str, Any] = {}
    for consumer in topology.work:
        place = {"stream": consumer.stream, "durable": consumer.durable}
        services.setdefault(consumer.service, {"consumers": []})["consumers"].append(place)
    return {**({"tenant": tenant} if tenant else {}), "services": services}
