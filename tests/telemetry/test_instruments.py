"""What is counted by hand reaches the receiver beside what the SDK collects, as OTLP encodes it."""

from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags

from jetmesh.cloudevents import undecoded
from jetmesh.failure import BrokenContract
from jetmesh.jetstream.delivery import RawDelivery
from jetmesh.outcome import DeadLettered
from jetmesh.telemetry import providers
from jetmesh.telemetry.instruments import Counter, Histograms, WithHistograms
from jetmesh.telemetry.spans import Attempt
from tests.support.jobs import desk

SAMPLED = SpanContext(7, 9, False, TraceFlags(TraceFlags.SAMPLED))


class Received(MetricExporter):
    """What a receiver would see."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, Any] = {}

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        for resource in encode_metrics(metrics_data).resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics.update({metric.name: metric for metric in scope.metrics})
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        pass


def test_both_kinds_arrive_together() -> None:
    received, histograms = Received(), Histograms()
    exporter = WithHistograms(received, InstrumentationScope("jetmesh.measure"), histograms)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)])
    counted = Counter(provider.get_meter("jetmesh"), "events", "{event}", "Events.").series({"of": "test"})
    seconds = histograms.make("elapsed", "s", "Time.", (0.1, 1.0))
    histograms.make("unused", "s", "Never recorded.", (1.0,))
    series = seconds.series({"of": "test"})

    counted.count += 3
    for value in (0.05, 0.1, 0.5, 5.0):
        series.record(value, INVALID_SPAN_CONTEXT)
    series.record(0.7, SAMPLED)
    provider.force_flush()
    [point] = received.metrics["elapsed"].histogram.data_points
    provider.shutdown()

    assert received.metrics.keys() == {"events", "elapsed"}
    assert [p.as_int for p in received.metrics["events"].sum.data_points] == [3]
    assert (point.count, list(point.bucket_counts), point.max) == (5, [2, 2, 1], 5.0)
    assert [exemplar.trace_id[-1] for exemplar in point.exemplars] == [7]


def test_types_that_a_reaction_does_not_take_are_one() -> None:
    """Strangers may think of any number of them: neither a series nor a description is kept for each."""
    (take,) = desk().reactions
    home = providers.start("jobs", {}).reaction(take)
    for event_type in ("asked", *(f"stranger-{number}" for number in range(500))):
        delivery = RawDelivery(f"jobs.{event_type}", b"", b"{}", "", "INTAKE", 1, 1, 0.0)
        Attempt(home, undecoded(delivery)).end(DeadLettered(BrokenContract("it is none")))
    points: Any = home._telemetry.duration.metric().data.data_points
    assert {(point.attributes["cloudevents.event_type"], point.count) for point in points} == {
        ("jobs.asked", 1),
        ("_OTHER", 500),
    }
