"""The optional tail sampling keeps what somebody will look for, and a part of the rest."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from jetmesh.common.ports import free_ports
from jetmesh.testing.jaeger import Jaeger
from tests.observability.stack import OBSERVABILITY
from tests.support.processes import started
from tests.support.programs import program
from tests.support.waiting import wait_until

ORDINARY = 60
WORTH_KEEPING: dict[str, dict[str, Any]] = {
    "a retry": {"messaging.nats.message.delivery_count": 2},
    "a dead letter": {"jetmesh.outcome": "dead_letter"},
    "an error": {},
}


@pytest.fixture
def jaeger() -> Iterator[Jaeger]:
    """Where the traces go that are kept."""
    program("jaeger")
    with Jaeger() as found:
        yield found


@pytest.fixture
def collector(jaeger: Jaeger, tmp_path: Path) -> Iterator[str]:
    """The pipeline with both layers; the address to send to."""
    http, grpc = free_ports(2)
    layers = [OBSERVABILITY / "collector" / name for name in ("collector.yaml", "tail-sampling.yaml")]
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text("service: {telemetry: {metrics: {level: none}}}\n")
    here = {"OTLP_HTTP": f"127.0.0.1:{http}", "OTLP_GRPC": f"127.0.0.1:{grpc}", "DECISION_WAIT": "1s",
            "JAEGER_OTLP": jaeger.otlp_grpc.removeprefix("http://")}  # fmt: skip
    configs = [part for layer in (*layers, quiet) for part in ("--config", str(layer))]
    with started([program("jaeger"), *configs], tmp_path / "log", env={**os.environ, **here}):
        wait_until(lambda: answers(f"http://127.0.0.1:{http}/v1/traces"), "the collector listens")
        yield f"http://127.0.0.1:{http}/v1/traces"


def answers(url: str) -> bool:
    """Whether somebody is there."""
    try:
        return httpx.get(url, trust_env=False).status_code == 405
    except httpx.TransportError:
        return False


def test_errors_retries_and_dead_letters_are_kept_and_a_part_of_the_rest(jaeger: Jaeger, collector: str) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "payments"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(collector)))
    tracer = provider.get_tracer("test")
    for number in range(ORDINARY):
        tracer.start_span("ordinary", attributes={"number": number}).end()
    for name, attributes in WORTH_KEEPING.items():
        span = tracer.start_span(name, attributes=attributes)
        span.set_status(Status(StatusCode.ERROR if name == "an error" else StatusCode.UNSET))
        span.end()

    def kept() -> list[str]:
        asked = {"service": "payments", "limit": "1000"}
        found = httpx.get(f"{jaeger.url}/api/traces", params=asked, trust_env=False).json()["data"]
        return [span["operationName"] for trace in found for span in trace["spans"]]

    wait_until(lambda: set(WORTH_KEEPING) <= set(kept()), "what is worth keeping is kept")
    assert kept().count("ordinary") < ORDINARY / 2
    provider.shutdown()
