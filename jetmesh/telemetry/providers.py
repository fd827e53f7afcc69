"""OpenTelemetry's providers of a process, started from its environment."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from jetmesh.common.version import jetmesh_version
from jetmesh.telemetry.instruments import Histograms, WithHistograms
from jetmesh.telemetry.otlp import settings as otlp_settings
from jetmesh.telemetry.otlp import tracer_provider
from jetmesh.telemetry.otlp.settings import Signal
from jetmesh.telemetry.otlp.variables import PROCESS, check
from jetmesh.telemetry.spans import SCOPE, Telemetry


def start(service: str, environment: Mapping[str, str] = PROCESS) -> Telemetry:
    """Telemetry by the `OTEL_*` variables: a signal is exported by OTLP if an endpoint for it is set.

    Raises:
        SettingError: an `OTEL_*` variable is invalid, unknown or not supported.
    """
    check(environment)
    described = {"service.name": service, "service.version": jetmesh_version(), "service.namespace": "jetmesh"}
    # One resource for all signals: the operator's attributes win over those of the code.
    resource = Resource.create(described).merge(otlp_settings.resource(environment))
    histograms, closing = Histograms(), ExitStack()
    if otlp_settings.has_receiver(environment, Signal.LOGS):
        closing.callback(_export_logs(resource, environment))
    meter = _meter(resource, environment, histograms, closing)
    spans = _tracer_provider(resource, environment, closing)
    return Telemetry(service, spans, meter, closing.close, histograms)


def _tracer_provider(resource: Resource, environment: Mapping[str, str], closing: ExitStack) -> TracerProvider:
    """If spans are not exported, none are made: the caller's context is passed on to the next service that exports."""
    if not otlp_settings.has_receiver(environment, Signal.TRACES):
        return NoOpTracerProvider()
    spans = tracer_provider(resource, environment)
    trace.set_tracer_provider(spans)
    closing.callback(spans.shutdown)
    return spans


def _meter(resource: Resource, environment: Mapping[str, str], histograms: Histograms, closing: ExitStack) -> Meter:
    if not otlp_settings.has_receiver(environment, Signal.METRICS):
        return NoOpMeterProvider().get_meter(SCOPE)
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    from jetmesh.telemetry.otlp.signals import MetricSender

    # A scope of their own: of two lists of metrics under one scope the exporter sends only the last.
    measured = InstrumentationScope(f"{SCOPE}.measure", jetmesh_version())
    reader = PeriodicExportingMetricReader(
        WithHistograms(MetricSender(environment), measured, histograms),
        export_interval_millis=otlp_settings.metric_interval_seconds(environment) * 1000,
        export_timeout_millis=otlp_settings.receiver(environment, Signal.METRICS).timeout_seconds * 1000,
    )
    readings = MeterProvider(resource=resource, metric_readers=[reader])
    metrics.set_meter_provider(readings)
    closing.callback(readings.shutdown)
    return readings.get_meter(SCOPE, jetmesh_version())


def _export_logs(resource: Resource, environment: Mapping[str, str]) -> Callable[[], None]:
    """Export the log records as well, until the returned function is called."""
    from jetmesh.telemetry.otlp.logs import LogHandler

    handler, root = LogHandler(resource, environment), logging.getLogger()
    root.addHandler(handler)

    def stop() -> None:
        root.removeHandler(handler)
        handler.close()

    return stop
