"""Tracing at a third of the official SDK's cost: OpenTelemetry's interfaces, spans encoded by hand, one connection."""

from opentelemetry import metrics
from opentelemetry.sdk.resources import Resource

from jetmesh.telemetry.otlp import settings
from jetmesh.telemetry.otlp.encoding import encode_resource
from jetmesh.telemetry.otlp.export import BatchExporter, Nowhere
from jetmesh.telemetry.otlp.settings import Signal
from jetmesh.telemetry.otlp.traceparent import format_traceparent, parse_traceparent, trace_id_of
from jetmesh.telemetry.otlp.tracing import DisabledTracerProvider, Span, Tracer, TracerProvider
from jetmesh.telemetry.otlp.transport import connect
from jetmesh.telemetry.otlp.variables import PROCESS, Environment, SettingError, check

__all__ = [
    "SettingError",
    "Span",
    "Tracer",
    "TracerProvider",
    "format_traceparent",
    "parse_traceparent",
    "trace_id_of",
    "tracer_provider",
]


def tracer_provider(resource: Resource, env: Environment = PROCESS) -> TracerProvider:
    """A provider that exports every sampled span by OTLP, as the `OTEL_*` variables say; the receiver may start later.

    Raises SettingError.
    """
    check(env)
    resource = resource.merge(settings.resource(env))
    sampler = settings.sampler(env)
    if settings.disabled(env):
        return DisabledTracerProvider(resource, sampler, Nowhere())
    if not settings.exports(env, Signal.TRACES):
        return TracerProvider(resource, sampler, Nowhere())
    receiver = settings.receiver(env, Signal.TRACES)
    exporter = BatchExporter(connect(receiver), encode_resource(resource), settings.batching(env))
    exporter.observe(metrics.get_meter(__name__))
    return TracerProvider(resource, sampler, exporter)
