"""The trace store: spans of the official SDK go in over OTLP, and come back out of another process's file."""

import asyncio
import gzip
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer

from jetmesh.local.span_receiver import BODY_BYTES_MAX, Forwarder, receiving
from jetmesh.operate.jaeger import JaegerTraces
from jetmesh.operate.span_record import SpanRecord, Traces
from jetmesh.operate.span_store import MalformedSpans, TraceStore, TraceWriter
from jetmesh.telemetry.otlp.settings import Signal, receiver
from jetmesh.telemetry.otlp.transport import receivers
from jetmesh.testing.jaeger import Jaeger, jaeger_binary
from tests.support.waiting import wait_until

DEADLINE_SECONDS = 20.0
CONVERSATION = "messaging.message.conversation_id"
HEADERS = {"content-type": "application/x-protobuf"}


def request_of(*trace_ids: bytes, conversation_id: str = "o-1042") -> ExportTraceServiceRequest:
    """One span for each trace id, about this order."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(text("service.name", "orders"))
    spans = resource_spans.scope_spans.add().spans
    for number, trace_id in enumerate(trace_ids, 1):
        span = spans.add(trace_id=trace_id, span_id=number.to_bytes(8, "big"), name="process orders.placed", kind=5)
        span.attributes.append(text(CONVERSATION, conversation_id))
    return request


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def trace_id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


@contextmanager
def tracer(exporter: Any, service: str = "payments") -> Iterator[Tracer]:
    """The official SDK; every span is exported when the block ends."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    yield provider.get_tracer("jetmesh")
    provider.shutdown()


def place_order(tracer: Tracer) -> Span:
    """A failed attempt with everything a span can have, and a child that tells of it."""
    with tracer.start_as_current_span("process orders.placed", kind=SpanKind.CONSUMER) as span:
        span.set_attributes({CONVERSATION: "o-1042", "attempt": 2, "late": False, "share": 0.5, "tags": ["a", "b"]})
        span.add_event("held", {"amount_minor": 2300})
        span.set_status(StatusCode.ERROR, "the bank is closed")
        with tracer.start_as_current_span(
            "publish payments.authorized", kind=SpanKind.PRODUCER, links=[Link(span.get_span_context())]
        ):
            return span


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.sqlite"


@contextmanager
def running_store(path: Path, **environment: str) -> Iterator[str]:
    """The receiver as a process of its own; gives its endpoint."""
    command = [sys.executable, "-m", "jetmesh.local.span_receiver", "--path", str(path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
    assert process.returncode == 0


@asynccontextmanager
async def serving(path: Path, **environment: str) -> AsyncIterator[httpx.AsyncClient]:
    """The receiver inside this process, and a client of it."""
    async with (
        receiving(path, onward=receivers(environment)) as endpoint,
        httpx.AsyncClient(base_url=endpoint, trust_env=False) as client,
    ):
        yield client


def sent_on_to(url: str, protocol: str = "grpc") -> dict[str, str]:
    """The variables that name a receiver of every signal."""
    logs = {"OTEL_LOGS_EXPORTER": "otlp"}
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, **logs}


class Collector(grpc.GenericRpcHandler):
    """A real OTLP/gRPC server that keeps what it is sent."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[bytes] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(1))
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    def service(self, _details: object) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._keep)

    def _keep(self, body: bytes, _context: object) -> bytes:
        self.bodies.append(body)
        return b""

    def __enter__(self) -> "Collector":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


def assert_is_the_order(spans: list[SpanRecord], failed: Span) -> None:
    context = failed.get_span_context()
    consumer, producer = spans
    assert (consumer.name, consumer.kind, consumer.service) == ("process orders.placed", "consumer", "payments")
    assert (producer.name, producer.kind) == ("publish payments.authorized", "producer")
    assert consumer.trace_id == producer.trace_id == f"{context.trace_id:032x}"
    assert (consumer.parent_id, producer.parent_id) == ("", consumer.span_id)
    assert (consumer.status, consumer.status_message) == ("error", "the bank is closed")
    assert producer.status == "unset"
    assert consumer.start_unix_nano <= producer.start_unix_nano <= producer.end_unix_nano <= consumer.end_unix_nano
    assert [event.name for event in consumer.events] == ["held"]
    assert consumer.events[0].attributes == {"amount_minor": 2300}
    assert consumer.attributes[CONVERSATION] == "o-1042"
    assert (consumer.attributes["attempt"], consumer.attributes["late"], consumer.attributes["share"]) == (
        2,
        False,
        0.5,
    )


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_what_the_official_sdk_exports_is_read_back_by_another_process(path: Path, compression: Compression) -> None:
    with running_store(path) as endpoint:
        with tracer(OTLPSpanExporter(f"{endpoint}/v1/traces", compression=compression)) as official:
            failed = place_order(official)
        with TraceStore(path) as store:
            [trace_id] = store.trace_ids_of("o-1042")
            spans = store.spans_of(trace_id)
            assert_is_the_order(spans, failed)
            assert [link.span_id for link in spans[1].links] == [spans[0].span_id]
            assert spans[0].attributes["tags"] == ["a", "b"]
            assert sorted(store.spans(), key=lambda span: span.start_unix_nano) == spans


def test_a_store_is_readable_after_its_writer_has_stopped_and_goes_on_with_the_next(path: Path) -> None:
    for number in (1, 2):
        with running_store(path) as endpoint:
            body = request_of(trace_id_of(number)).SerializeToString()
            assert httpx.post(f"{endpoint}/v1/traces", content=body, headers=HEADERS, trust_env=False).is_success
    with TraceStore(path) as store:
        assert store.trace_ids_of("o-1042") == [trace_id_of(1).hex(), trace_id_of(2).hex()]
        assert len(list(store.spans())) == 2


def test_no_store_says_where_it_was_looked_for(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"traces\.sqlite"):
        TraceStore(path)


def test_unknown_traces_and_conversations_are_empty(path: Path) -> None:
    TraceWriter(path).close()
    with TraceStore(path) as store:
        assert store.spans_of(trace_id_of(1).hex()) == []
        assert store.trace_ids_of("o-1") == []
        assert store.ids() == set()


def test_a_span_that_is_exported_again_is_one_span(path: Path) -> None:
    writer = TraceWriter(path)
    for _ in range(2):
        writer.add(request_of(trace_id_of(1)).SerializeToString())
    with TraceStore(path) as store:
        assert len(store.spans_of(trace_id_of(1).hex())) == 1
        assert len(store.ids()) == 1
    writer.close()


def test_only_the_most_recent_spans_are_kept_also_across_restarts(path: Path) -> None:
    for first in (0, 500):
        writer = TraceWriter(path, spans_max=200)
        for number in range(first, first + 500):
            writer.add(request_of(trace_id_of(number), conversation_id=f"o-{number}").SerializeToString())
        assert 190 <= writer.spans <= 200
        writer.close()
    with TraceStore(path) as store:
        numbers = [int(span.trace_id, 16) for span in store.spans()]
        assert numbers == list(range(1000 - len(numbers), 1000))
        assert 190 <= len(numbers) <= 200
        assert store.trace_ids_of("o-999") == [trace_id_of(999).hex()]
        assert store.trace_ids_of("o-1") == []


def test_a_conversation_that_goes_on_stays_findable_when_its_beginning_is_gone(path: Path) -> None:
    writer = TraceWriter(path, spans_max=100)
    for _ in range(400):
        writer.add(request_of(trace_id_of(1)).SerializeToString())
    with TraceStore(path) as store:
        assert store.trace_ids_of("o-1042") == [trace_id_of(1).hex()]
    writer.close()


def test_ten_thousand_traces_are_audited_in_one_pass(path: Path) -> None:
    writer = TraceWriter(path)
    for first in range(0, 10_000, 500):
        ids = [trace_id_of(number) for number in range(first, first + 500)]
        writer.add(request_of(*ids).SerializeToString())
    with TraceStore(path) as store:
        assert len({trace_id for trace_id, _ in store.ids()}) == 10_000
        assert len(store.trace_ids_of("o-1042")) == 10_000
    writer.close()


BROKEN_ID = request_of(b"short").SerializeToString()
BROKEN_TEXT = request_of(trace_id_of(1)).SerializeToString().replace(b"o-1042", b"\xff\xff1042")
BOMB = gzip.compress(bytes(BODY_BYTES_MAX + 1), mtime=0)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\x0a\xff\xff", {}, 400),
        (b"{}", {}, 400),
        (BROKEN_ID, {}, 400),
        (BROKEN_TEXT, {}, 400),
        (request_of(trace_id_of(1)).SerializeToString()[:-3], {}, 400),
        (b"not gzip", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"cut off", mtime=0)[:-4], {"content-encoding": "gzip"}, 400),
        (BOMB, {"content-encoding": "gzip"}, 413),
        (bytes(BODY_BYTES_MAX + 1), {}, 413),
        (b"", {"content-encoding": "zstd"}, 415),
        (b"{}", {"content-type": "application/json"}, 415),
    ],
)
async def test_what_cannot_be_read_is_refused_and_the_next_request_is_kept(
    path: Path, body: bytes, headers: dict[str, str], status: int
) -> None:
    async with serving(path) as client:
        answer = await client.post("/v1/traces", content=body, headers=HEADERS | headers)
        assert answer.status_code == status
        good = request_of(trace_id_of(2)).SerializeToString()
        assert (await client.post("/v1/traces", content=good, headers=HEADERS)).status_code == 200
    with TraceStore(path) as store:
        assert [span.trace_id for span in store.spans()] == [trace_id_of(2).hex()]


async def test_other_paths_and_methods_are_refused(path: Path) -> None:
    async with serving(path) as client:
        assert (await client.post("/v1/spans", headers=HEADERS)).status_code == 404
        assert (await client.get("/v1/traces")).status_code == 405


def test_a_refused_request_leaves_nothing_behind(path: Path) -> None:
    writer = TraceWriter(path)
    with pytest.raises(MalformedSpans):
        writer.add(request_of(trace_id_of(1), b"short").SerializeToString())
    with TraceStore(path) as store:
        assert list(store.spans()) == []
    writer.close()


async def test_a_store_that_cannot_write_asks_the_exporter_to_come_again(path: Path) -> None:
    async with serving(path) as client:
        with sqlite3.connect(path) as broken:
            broken.execute("DROP TABLE bodies")
        body = request_of(trace_id_of(1)).SerializeToString()
        assert (await client.post("/v1/traces", content=body, headers=HEADERS)).status_code == 503


async def test_traces_metrics_and_logs_go_on_unchanged_over_grpc(path: Path) -> None:
    body = request_of(trace_id_of(1)).SerializeToString()
    with Collector() as collector:
        async with serving(path, **sent_on_to(f"http://127.0.0.1:{collector.port}")) as client:
            await client.post("/v1/traces", content=body, headers=HEADERS)
            zipped = HEADERS | {"content-encoding": "gzip"}
            await client.post("/v1/metrics", content=gzip.compress(b"metrics"), headers=zipped)
            await client.post("/v1/logs", content=b"logs", headers=HEADERS)
        assert sorted(collector.bodies) == sorted([body, b"metrics", b"logs"])


async def test_requests_go_on_over_http(path: Path, tmp_path: Path) -> None:
    body = gzip.compress(request_of(trace_id_of(1)).SerializeToString())
    with running_store(tmp_path / "other.sqlite") as other:
        async with serving(path, **sent_on_to(other, "http/protobuf")) as client:
            await client.post("/v1/traces", content=body, headers=HEADERS | {"content-encoding": "gzip"})
            await client.post("/v1/logs", content=b"logs", headers=HEADERS)
        with TraceStore(tmp_path / "other.sqlite") as store:
            assert store.trace_ids_of("o-1042") == [trace_id_of(1).hex()]


async def test_a_receiver_that_is_away_gets_everything_when_it_is_back(path: Path) -> None:
    with Collector() as away:
        port = away.port
    body = request_of(trace_id_of(1)).SerializeToString()
    async with serving(path, **sent_on_to(f"http://127.0.0.1:{port}")) as client:
        for _ in range(3):
            assert (await client.post("/v1/traces", content=body, headers=HEADERS)).status_code == 200
        with Collector(port) as back:
            await asyncio.to_thread(wait_until, lambda: len(back.bodies) == 3)


def test_what_finds_no_room_is_dropped_counted_and_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    with Collector() as away:
        port = away.port
    forwarder = Forwarder(receiver(sent_on_to(f"http://127.0.0.1:{port}"), Signal.TRACES), waiting_max=2)
    with caplog.at_level(logging.WARNING, "jetmesh"):
        for _ in range(6):
            forwarder.offer(b"12345")
    assert forwarder.dropped in (3, 4)  # one may be tried by now, and two wait
    assert [record.message for record in caplog.records] == ["traces are not all sent on: 2 requests wait already"]
    with Collector(port) as back:
        forwarder.close()
        assert len(back.bodies) == 6 - forwarder.dropped


async def test_what_the_receiver_refuses_is_dropped_and_the_next_one_sent(path: Path) -> None:
    good = request_of(trace_id_of(1)).SerializeToString()
    async with serving(path) as client:
        forwarder = Forwarder(receiver(sent_on_to(str(client.base_url), "http/protobuf"), Signal.TRACES))
        forwarder.offer(b"\xff")
        forwarder.offer(good)
        await asyncio.to_thread(forwarder.close)
    assert forwarder.dropped == 1
    with TraceStore(path) as store:
        assert len(store.ids()) == 1


@pytest.mark.skipif(not jaeger_binary(), reason="no jaeger; `just tools` builds it")
def test_jaeger_and_the_store_give_the_same_spans(path: Path) -> None:
    with Jaeger() as jaeger:
        with (
            running_store(path, **sent_on_to(jaeger.otlp_grpc)) as endpoint,
            tracer(OTLPSpanExporter(f"{endpoint}/v1/traces")) as official,
        ):
            failed = place_order(official)
        with TraceStore(path) as store, JaegerTraces(jaeger.url) as real:
            sources: tuple[Traces, Traces] = (store, real)
            wait_until(lambda: real.trace_ids_of("o-1042"))
            [[ours], [theirs]] = [traces.trace_ids_of("o-1042") for traces in sources]
            assert ours == theirs
            for traces in sources:
                assert_is_the_order(traces.spans_of(ours), failed)
            assert real.spans_of(trace_id_of(1).hex()) == []


@pytest.mark.skipif(not jaeger_binary(), reason="no jaeger; `just tools` builds it")
def test_jaeger_takes_spans_from_the_official_grpc_exporter() -> None:
    with Jaeger() as jaeger, tracer(GrpcExporter(jaeger.otlp_grpc, insecure=True)) as official:
        failed = place_order(official)
        official.start_span("root").end()
        with JaegerTraces(jaeger.url) as traces:
            wait_until(lambda: traces.trace_ids_of("o-1042"))
            assert_is_the_order(traces.spans_of(f"{failed.get_span_context().trace_id:032x}"), failed)
