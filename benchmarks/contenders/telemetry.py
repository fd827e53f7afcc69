"""The official SDK with its OTLP/HTTP exporter, as its documentation sets it up, for the peers."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

QUEUE_MAX = 200_000
"""So wide that nothing is dropped: every contender exports every span."""


def provider(service: str) -> TracerProvider:
    """Exports to OTEL_EXPORTER_OTLP_ENDPOINT; `shutdown` exports what is left."""
    made = TracerProvider(resource=Resource.create({"service.name": service}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=QUEUE_MAX))
    trace.set_tracer_provider(made)
    return made
