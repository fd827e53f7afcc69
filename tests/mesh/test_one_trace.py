"""One order, one trace, also where somebody outside asks for something later; what they asked in is linked."""

import json
from functools import partial
from pathlib import Path

import httpx
import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, use_span

import jetmesh
from jetmesh.common.ports import free_ports
from jetmesh.telemetry import providers as telemetry
from jetmesh.telemetry.otlp.traceparent import parse_traceparent
from jetmesh.testing import MeshOf
from jetmesh_contracts import OrderCancellationRequested
from tests.mesh.spans import spans_in, traced
from tests.mesh.whole import Whole, whole_mesh
from tests.support.samples import body

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALLING = NonRecordingSpan(parse_traceparent(CALLER) or INVALID_SPAN_CONTEXT)
REQUESTED = "orders.cancellation_requested"


async def test_an_order_that_is_cancelled_over_http_or_by_hand_is_one_trace(
    mesh_of: MeshOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry.start("another", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}).shut_down()
    (port,) = free_ports(1)
    http = {"JETMESH_HTTP_PORT": str(port), "JETMESH_HTTP_SECRET": "0123456789abcdef"}
    async with (
        traced(tmp_path, monkeypatch) as kept,
        whole_mesh(mesh_of, tmp_path, monkeypatch, **http) as whole,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        placed = await client.post("/orders", json=body("o-http"))
        assert placed.status_code == 201, placed.text
        await whole.mesh.publish("orders.placed", body("o-hand"))
        await whole.mesh.publish("orders.placed", body("o-program"))
        await whole.ended("o-http", "o-hand", "o-program")
        await whole.mesh.publish("orders.placed", body("o-hand"), {"traceparent": CALLER})
        token = {"Authorization": f"Bearer {placed.json()['token']}", "traceparent": CALLER}
        assert (await client.delete("/orders/o-http", headers=token)).status_code == 202
        await whole.mesh.publish(REQUESTED, json.dumps({"order_id": "o-hand"}), {"traceparent": CALLER})
        async with jetmesh.connect(whole.mesh.settings.nats_url) as program:
            with use_span(CALLING):
                await program.publish(OrderCancellationRequested(order_id="o-program"))
        traces = {}
        for order_id in ("o-http", "o-hand", "o-program"):
            await whole.mesh.until(partial(told, whole, order_id), 20, f"{order_id} is asked back")
            await whole.mesh.settled()
            story = await whole.mesh.story(order_id)
            (traces[order_id],) = {stored.headers["traceparent"][3:35] for stored in story}
    spans = spans_in(kept)
    requests = {span.span_id: span for span in spans if span.name.startswith("publish orders.cancellation")}
    for order_id, trace_id in traces.items():
        (attempt,) = [s for s in spans if s.trace_id == trace_id and s.attributes.get("jetmesh.reaction") == "withdraw"
                      and s.service == "orders"]  # fmt: skip
        (link,) = attempt.links
        assert link.trace_id != trace_id
        assert link.span_id in requests if order_id == "o-http" else link.trace_id == CALLER[3:35]
    sent = {span.span_id for span in spans} | {CALLER[36:52]}
    assert [span.name for span in spans if span.parent_id and span.parent_id not in sent] == []


async def told(whole: Whole, order_id: str) -> bool:
    """Whether the request was recorded."""
    return REQUESTED in await whole.mesh.types(order_id)
