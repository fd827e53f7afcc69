"""CPU a span costs, created and exported: the official SDK with its HTTP exporter, and ours, in alternating rounds.

One message is one hop of a mesh: a process span under the context of a header, linked to it, and inside it a publish
span whose context goes into the next header. The exporting thread's CPU counts, the receiver's does not: it is a
process of its own that reads and drops, or the one behind `--endpoint`.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import click
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Tracer

from jetmesh.telemetry.otlp import Tracer as HotTracer
from jetmesh.telemetry.otlp import TracerProvider, format_traceparent, parse_traceparent, tracer_provider
from jetmesh.telemetry.otlp.encoding import Description

SPANS_PER_MESSAGE = 2
QUEUE_MAX = 100_000
FLUSH_TIMEOUT_MILLIS = 60_000
HEADERS = {"traceparent": f"00-{7:032x}-{9:016x}-01"}
SENT = {
    "messaging.system": "nats",
    "messaging.destination.name": "orders.placed",
    "messaging.operation.name": "publish",
    "messaging.operation.type": "send",
}
PROCESSED = {
    "messaging.system": "nats",
    "messaging.destination.name": "orders.placed",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.consumer.group.name": "payments-authorize",
}

OWN_TEXTS = ("messaging.message.id", "messaging.message.conversation_id", "order.id")
OWN_NUMBERS = ("messaging.nats.message.stream_sequence",)
PROCESS = Description("process orders.placed", SpanKind.CONSUMER, PROCESSED, OWN_TEXTS, OWN_NUMBERS)
PUBLISH = Description("publish payments.authorized", SpanKind.PRODUCER, SENT)

Hop = Callable[[Tracer, int], object]


class Sink(BaseHTTPRequestHandler):
    """Takes every request and answers at once, on connections that stay open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def serve(port: Connection) -> None:
    """Runs in the receiver's process, and tells the port it got."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    port.send(server.server_port)
    server.serve_forever()


def process_attributes(number: int) -> dict[str, str | int]:
    """As a runtime sets them: most of them constant, some of this one message."""
    return {**PROCESSED, **dict(zip(OWN_TEXTS, own_texts(number), strict=True)), OWN_NUMBERS[0]: number}


def own_texts(number: int) -> tuple[str, ...]:
    """Those that are this one message's."""
    order_id = f"order-{number:08d}"
    return f"payments-{order_id}", order_id, order_id


def hop_by_the_api(tracer: Tracer, number: int) -> dict[str, str]:
    """The way every instrumentation goes: propagator, ambient context, context managers."""
    parent = propagate.extract(HEADERS)
    links = [Link(trace.get_current_span(parent).get_span_context())]
    attributes = process_attributes(number)
    headers: dict[str, str] = {}
    with (
        tracer.start_as_current_span("process orders.placed", parent, SpanKind.CONSUMER, attributes, links),
        tracer.start_as_current_span("publish payments.authorized", kind=SpanKind.PRODUCER, attributes=SENT),
    ):
        propagate.inject(headers)
    return headers


def hop_of_the_runtime(tracer: Tracer, number: int) -> dict[str, str]:
    """The same spans as `jetmesh.telemetry` makes them: what they have in common is described once."""
    assert isinstance(tracer, HotTracer)
    remote = parse_traceparent(HEADERS["traceparent"])
    assert remote
    process = tracer.start_described(PROCESS, remote, own_texts(number), (number,), (Link(remote),))
    publish = tracer.start_described(PUBLISH, process.get_span_context(), ())
    headers = {"traceparent": format_traceparent(publish.get_span_context())}
    publish.end()
    process.end()
    return headers


def official(endpoint: str) -> SdkTracerProvider:
    """As its documentation says, with a queue that drops nothing."""
    provider = SdkTracerProvider(resource=Resource.create({"service.name": "bench-official"}))
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE_MAX))
    return provider


def cpu_micros_per_span(provider: SdkTracerProvider | TracerProvider, hop: Hop, messages: int) -> float:
    """One round: all spans made, all of them taken by the receiver."""
    tracer = provider.get_tracer("benchmark")
    started = time.process_time()
    for number in range(messages):
        hop(tracer, number)
    assert provider.force_flush(FLUSH_TIMEOUT_MILLIS), "the receiver did not take all spans in time"
    return (time.process_time() - started) / messages / SPANS_PER_MESSAGE * 1e6


def measure(endpoint: str, rounds: int, messages: int) -> dict[str, float]:
    """Medians by contender; each takes its turn in every round, after one that warms up."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_MAX_QUEUE_SIZE": str(QUEUE_MAX)}
    sdk, ours = official(endpoint), tracer_provider(Resource.create({"service.name": "bench-ours"}), settings)
    contenders: dict[str, tuple[SdkTracerProvider | TracerProvider, Hop]] = {
        "official SDK, by the API": (sdk, hop_by_the_api),
        "jetmesh, by the API": (ours, hop_by_the_api),
        "jetmesh, as its runtime does": (ours, hop_of_the_runtime),
    }
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, (provider, hop) in contenders.items():
            figures[name].append(cpu_micros_per_span(provider, hop, messages))
    sdk.shutdown()
    ours.shutdown()
    return {name: statistics.median(micros[1:]) for name, micros in figures.items()}


def report(medians: dict[str, float]) -> None:
    """One line a contender, against the first."""
    reference, *_ = medians.values()
    for name, micros in medians.items():
        click.echo(f"{name:30} {micros:6.1f} µs/span {reference / micros:6.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=4_000)
    options = parser.parse_args()
    if options.endpoint:
        report(measure(options.endpoint, options.rounds, options.messages))
        return
    port, child = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=serve, args=(child,), daemon=True)
    receiver.start()
    report(measure(f"http://127.0.0.1:{port.recv()}", options.rounds, options.messages))
    receiver.terminate()


if __name__ == "__main__":
    main()
