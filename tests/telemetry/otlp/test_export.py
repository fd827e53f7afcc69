"""What a receiver gets: every span, through outages, slowness and shutdown, by HTTP and gRPC."""

import gzip
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from typing_extensions import override

from jetmesh.common.ports import free_port
from jetmesh.telemetry.otlp import SettingError, TracerProvider, tracer_provider
from jetmesh.telemetry.otlp.encoding import encode_resource
from jetmesh.telemetry.otlp.export import BatchExporter
from jetmesh.telemetry.otlp.settings import Batching, receiver
from jetmesh.telemetry.otlp.transport import HttpTransport
from tests.support.waiting import wait_until

RESOURCE = Resource({"service.name": "payments"})


class Receiver(ThreadingHTTPServer):
    """A real OTLP/HTTP receiver; `statuses` are its next answers, 200 when they are used up."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0):
        super().__init__(("127.0.0.1", port), Answer)
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections: list[socket.socket] = []
        self.statuses: list[int] = []
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def names(self) -> list[str]:
        """Of every span received, in order."""
        return [
            span.name
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def close(self) -> None:
        """As when its process ends: open connections end, too."""
        self.open.set()
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Answer(BaseHTTPRequestHandler):
    """Reads one request, and answers when the receiver is open."""

    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.open.wait(10)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self._keep(body)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _keep(self, body: bytes) -> None:
        plain = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
        self.server.headers.append(dict(self.headers))
        self.server.paths.append(self.path)
        self.server.requests.append(ExportTraceServiceRequest.FromString(plain))

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def otlp() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@contextmanager
def exporting(endpoint: str, **variables: str) -> Iterator[TracerProvider]:
    provider = tracer_provider(RESOURCE, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **variables})
    try:
        yield provider
    finally:
        provider.shutdown(timeout_millis=100)


def make_spans(provider: TracerProvider, count: int) -> list[str]:
    tracer = provider.get_tracer("test")
    names = [f"span {number}" for number in range(count)]
    for name in names:
        tracer.start_span(name).end()
    return names


def test_spans_arrive_in_order_with_resource_and_scope(otlp: Receiver) -> None:
    with exporting(otlp.endpoint, OTEL_RESOURCE_ATTRIBUTES="team=m%C3%BCnzen,zone=a") as provider:
        names = make_spans(provider, 10)
        assert provider.force_flush()

    assert otlp.names() == names
    assert otlp.paths == ["/v1/traces"]
    spans = otlp.requests[0].resource_spans[0]
    described = {attribute.key: attribute.value.string_value for attribute in spans.resource.attributes}
    assert described == {"service.name": "payments", "team": "münzen", "zone": "a"}
    assert spans.scope_spans[0].scope.name == "test"


def test_batches_go_out_by_themselves_on_one_connection(otlp: Receiver) -> None:
    with exporting(otlp.endpoint, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10", OTEL_BSP_SCHEDULE_DELAY="50") as provider:
        names = make_spans(provider, 35)
        wait_until(lambda: len(otlp.names()) == 35)

    assert otlp.names() == names
    assert max(len(request.resource_spans[0].scope_spans[0].spans) for request in otlp.requests) <= 10
    assert len(otlp.connections) == 1


def test_a_request_stays_below_what_a_receiver_takes(otlp: Receiver) -> None:
    with exporting(otlp.endpoint) as provider:
        tracer = provider.get_tracer("test")
        for _ in range(600):
            tracer.start_span("large", attributes={"body": "x" * 16_000}).end()
        assert provider.force_flush()

    assert len(otlp.names()) == 600
    assert max(request.ByteSize() for request in otlp.requests) < 4 * 1024 * 1024


def test_headers_and_gzip_are_sent_as_set(otlp: Receiver) -> None:
    variables = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    with exporting(otlp.endpoint, **variables) as provider:
        names = make_spans(provider, 3)
        assert provider.force_flush()

    assert otlp.names() == names
    assert otlp.headers[0]["api-key"] == "a b"
    assert otlp.headers[0]["Content-Encoding"] == "gzip"


def test_the_endpoint_for_traces_is_taken_as_it_is(otlp: Receiver) -> None:
    with exporting("http://nowhere", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{otlp.endpoint}/custom?key=1") as provider:
        make_spans(provider, 1)
        assert provider.force_flush()

    assert otlp.paths == ["/custom?key=1"]


def test_nothing_is_lost_while_the_receiver_is_away(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with exporting(f"http://127.0.0.1:{port}", OTEL_BSP_SCHEDULE_DELAY="10") as provider:
        names = make_spans(provider, 50)
        assert not provider.force_flush(300)
        late = Receiver(port)
        assert provider.force_flush()
        late.close()

    assert late.names() == names
    said = [record.message for record in caplog.records if record.name == "jetmesh.telemetry.otlp.export"]
    assert [words.partition(":")[0] for words in said] == [
        "spans wait, their receiver is unavailable",
        "spans are exported again; 0 were dropped since the start",
    ]


def test_a_receiver_that_restarts_is_found_again(otlp: Receiver) -> None:
    with exporting(otlp.endpoint) as provider:
        make_spans(provider, 1)
        assert provider.force_flush()
        otlp.close()
        make_spans(provider, 1)
        again = Receiver(otlp.server_port)
        assert provider.force_flush()
        again.close()

    assert (len(otlp.names()), len(again.names())) == (1, 1)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_receiver_that_is_busy_gets_the_batch_again(otlp: Receiver, status: int) -> None:
    otlp.statuses = [status, status]
    with exporting(otlp.endpoint) as provider:
        names = make_spans(provider, 5)
        assert provider.force_flush()

    assert otlp.names() == names


def test_a_rejected_batch_does_not_hold_up_the_next(otlp: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    otlp.statuses = [400]
    with exporting(otlp.endpoint) as provider:
        make_spans(provider, 1)
        assert provider.force_flush()
        make_spans(provider, 2)
        assert provider.force_flush()

    assert len(otlp.names()) == 2
    assert "rejected" in caplog.text


def test_a_batch_that_cannot_be_sent_does_not_end_the_export(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpTransport, "send", lambda *_: 1 / 0)
    with exporting("http://127.0.0.1:1") as provider:
        for _ in range(2):
            make_spans(provider, 1)
            assert provider.force_flush()

    assert caplog.text.count("1 spans cannot be sent") == 2


def test_a_full_queue_drops_counts_and_warns_once(otlp: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    otlp.open.clear()
    exporter = BatchExporter(
        HttpTransport(receiver({"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint})),
        encode_resource(RESOURCE),
        Batching(queue_max=20, batch_max=10, delay_seconds=60),
    )
    reader = InMemoryMetricReader()
    exporter.observe(MeterProvider([reader]).get_meter("test"))
    provider = TracerProvider(RESOURCE, ALWAYS_ON, exporter)
    make_spans(provider, 10)
    wait_until(lambda: not exporter.waiting)
    make_spans(provider, 50)
    otlp.open.set()

    assert provider.force_flush()
    assert len(otlp.names()) == 30
    assert caplog.text.count("spans are dropped") == 1
    assert counted(reader, "otel.sdk.processor.span.processed") == {"": 30, "queue_full": 30}
    assert counted(reader, "otel.sdk.exporter.span.exported") == {"": 30, "rejected": 0}
    provider.shutdown()


def counted(reader: InMemoryMetricReader, name: str) -> dict[object, float]:
    """A counter's points by `error.type`."""
    data = reader.get_metrics_data()
    assert data
    metrics = [metric for metric in data.resource_metrics[0].scope_metrics[0].metrics if metric.name == name]
    points = metrics[0].data.data_points
    return {(point.attributes or {}).get("error.type", ""): point.value for point in points}  # type: ignore[union-attr]


def test_ending_a_span_never_waits_for_the_receiver(otlp: Receiver) -> None:
    otlp.open.clear()
    with exporting(otlp.endpoint, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10") as provider:
        names = make_spans(provider, 1_000)
        assert otlp.names() == []
        otlp.open.set()
        assert provider.force_flush()

    assert otlp.names() == names


def test_shutdown_sends_what_is_queued(otlp: Receiver) -> None:
    provider = tracer_provider(
        RESOURCE, {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    )
    names = make_spans(provider, 100)
    provider.shutdown()

    assert otlp.names() == names


def test_shutdown_gives_up_on_a_receiver_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    provider = tracer_provider(RESOURCE, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    make_spans(provider, 3)
    provider.shutdown(timeout_millis=200)

    assert "3 were left" in caplog.text


def test_a_process_that_exits_sends_its_last_spans(otlp: Receiver) -> None:
    run_python(
        "import os",
        "from opentelemetry.sdk.resources import Resource",
        "from jetmesh.telemetry.otlp import tracer_provider",
        "tracer_provider(Resource({})).get_tracer('test').start_span('the last').end()",
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint,
    )

    assert otlp.names() == ["the last"]


def test_a_forked_child_exports_its_own_spans(otlp: Receiver) -> None:
    run_python(
        "import os",
        "from opentelemetry.sdk.resources import Resource",
        "from jetmesh.telemetry.otlp import tracer_provider",
        "provider = tracer_provider(Resource({}))",
        "tracer = provider.get_tracer('test')",
        "tracer.start_span('parent').end()",
        "child = os.fork()",
        "child or tracer.start_span('child').end()",
        "child or (provider.force_flush(), os._exit(0))",
        "os.waitpid(child, 0)",
        OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint,
    )

    assert sorted(otlp.names()) == ["child", "parent"]


def run_python(*lines: str, **variables: str) -> None:
    subprocess.run([sys.executable, "-c", "\n".join(lines)], env={**os.environ, **variables}, check=True, timeout=30)


class GrpcReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """A real OTLP/gRPC receiver; `failures` are the codes of its next answers."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.failures: list[grpc.StatusCode] = []
        self.server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)  # type: ignore[no-untyped-call]
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    @override
    def Export(self, request: ExportTraceServiceRequest, context: grpc.ServicerContext) -> ExportTraceServiceResponse:
        if self.failures:
            context.abort(self.failures.pop(0), "not now")
        self.metadata.append(dict(context.invocation_metadata()))
        self.requests.append(request)
        return ExportTraceServiceResponse()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_grpc_takes_the_same_spans(compression: str) -> None:
    running = GrpcReceiver()
    running.failures = [grpc.StatusCode.UNAVAILABLE]
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        "OTEL_EXPORTER_OTLP_HEADERS": "Api-Key=secret",
    }
    with exporting(f"http://127.0.0.1:{running.port}", **variables) as provider:
        names = make_spans(provider, 5)
        assert provider.force_flush()
    running.server.stop(0).wait()

    assert [span.name for span in running.requests[0].resource_spans[0].scope_spans[0].spans] == names
    assert running.metadata[0]["api-key"] == "secret"


def test_grpc_says_when_a_batch_is_rejected(caplog: pytest.LogCaptureFixture) -> None:
    running = GrpcReceiver()
    running.failures = [grpc.StatusCode.UNAUTHENTICATED]
    with exporting(f"http://127.0.0.1:{running.port}", OTEL_EXPORTER_OTLP_PROTOCOL="grpc") as provider:
        make_spans(provider, 1)
        assert provider.force_flush()
    running.server.stop(0).wait()

    assert "UNAUTHENTICATED: not now" in caplog.text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:port"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no pair"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=value"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingError, match=variable):
        tracer_provider(RESOURCE, {variable: value})


def test_a_sampler_argument_that_cannot_be_meant_is_named() -> None:
    with pytest.raises(SettingError, match="OTEL_TRACES_SAMPLER_ARG"):
        tracer_provider(RESOURCE, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"})
