"""A bounded queue of encoded spans and one thread that sends them in batches; ending a span never blocks."""

import logging
import os
import random
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from time import monotonic, sleep
from weakref import WeakMethod

from opentelemetry import context
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from jetmesh.telemetry.otlp.encoding import encode_request
from jetmesh.telemetry.otlp.settings import Batching
from jetmesh.telemetry.otlp.transport import OtlpTransport, ReceiverUnavailable, Rejected

_log = logging.getLogger(__name__)

_PAUSE_FIRST_SECONDS = 0.1
_PAUSE_MAX_SECONDS = 5.0
_REQUEST_BYTES_MAX = 3 * 1024 * 1024  # a gRPC receiver refuses 4 MiB

EncodedScope = tuple[bytes, bytes]


class Nowhere:
    """Drops all spans, for `OTEL_TRACES_EXPORTER=none`."""

    def add(self, scope: EncodedScope, span: bytes) -> None: ...

    def force_flush(self, timeout_seconds: float) -> bool:
        return True

    def shutdown(self, timeout_seconds: float) -> None: ...


class BatchExporter:
    """Sends queued spans in requests. An unavailable receiver is retried until it is back; spans that the queue cannot
    hold meanwhile are dropped and counted, with one warning until the queue is empty again.
    """

    def __init__(self, transport: OtlpTransport, resource: tuple[bytes, bytes], batching: Batching):
        self._transport = transport
        self._resource = resource
        self._batching = batching
        self.exported = 0
        self.rejected = 0
        self.dropped = 0
        self._outage = False
        self._overflow = False
        self._flush_asked = False
        self._deadline = float("inf")
        self._start()
        if hasattr(os, "register_at_fork"):
            start_in_child = WeakMethod(self._start_in_child)
            os.register_at_fork(after_in_child=lambda: (start := start_in_child()) and start())

    @property
    def waiting(self) -> int:
        """Spans that no request has taken yet."""
        return len(self._queue)

    def add(self, scope: EncodedScope, span: bytes) -> None:
        """Queue the span, or drop it if the queue is full or the exporter is shut down."""
        waiting = len(self._queue)
        if waiting >= self._batching.queue_max or self._is_closed:
            self._drop()
            return
        self._queue.append((scope, span))
        if waiting + 1 >= self._batching.batch_max and not self._wake.is_set():
            self._wake.set()

    def force_flush(self, timeout_seconds: float) -> bool:
        """True once the receiver has accepted or rejected each span queued before."""
        with self._settled:
            asked = self._settled_spans() + self._in_flight + len(self._queue)
            self._flush_asked = True
            self._wake.set()
            return self._settled.wait_for(lambda: self._settled_spans() >= asked, timeout_seconds)

    def shutdown(self, timeout_seconds: float) -> None:
        """Send the queued spans; those that the receiver has not accepted in time are dropped and counted."""
        self._deadline = monotonic() + timeout_seconds
        self._is_closed = True
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_seconds + 1)
        self._transport.close()

    def observe(self, meter: Meter) -> None:
        """Report the counts under the names of OpenTelemetry's conventions for SDKs."""
        meter.create_observable_counter("otel.sdk.exporter.span.exported", [self._observe_exported], "{span}")
        meter.create_observable_counter("otel.sdk.processor.span.processed", [self._observe_processed], "{span}")
        meter.create_observable_up_down_counter("otel.sdk.processor.span.queue.size", [self._observe_queue], "{span}")

    def _start(self) -> None:
        self._queue: deque[tuple[EncodedScope, bytes]] = deque()
        self._in_flight = 0
        self._is_closed = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._settled = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="otlp-export", daemon=True)
        self._thread.start()

    def _start_in_child(self) -> None:
        """After a fork: the child has no thread and must not use the connection. The parent sends the queued spans."""
        self._transport.close()
        self._start()

    def _observe_exported(self, _: CallbackOptions) -> Iterable[Observation]:
        return (Observation(self.exported), Observation(self.rejected, {"error.type": "rejected"}))

    def _observe_processed(self, _: CallbackOptions) -> Iterable[Observation]:
        return (Observation(self._settled_spans()), Observation(self.dropped, {"error.type": "queue_full"}))

    def _observe_queue(self, _: CallbackOptions) -> Iterable[Observation]:
        return (Observation(self.waiting),)

    def _run(self) -> None:
        # An instrumented transport must not trace the export of traces.
        context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
        while not self._stopping.is_set():
            woken = self._wake.wait(self._batching.delay_seconds)
            self._wake.clear()
            everything, self._flush_asked = self._flush_asked or not woken, False
            self._export(len(self._queue) if everything else self._full_batches())
        self._export(len(self._queue))
        self._abandon()

    def _full_batches(self) -> int:
        """Spans in full batches: under load, the rest soon fills another one."""
        batch_max = self._batching.batch_max
        return len(self._queue) // batch_max * batch_max

    def _export(self, spans: int) -> None:
        """Send as many spans as were queued at the start, not those that come meanwhile: requests would be small."""
        while spans > 0 and monotonic() < self._deadline:
            batch = self._take(min(spans, self._batching.batch_max))
            spans -= len(batch)
            self._send(batch)

    def _send(self, batch: list[tuple[EncodedScope, bytes]]) -> None:
        try:
            self._deliver(encode_request(self._resource, _by_scope(batch)))
        except Rejected as error:
            _log.error("%d spans are rejected by their receiver: %s", len(batch), error)
            self._settle(rejected=len(batch))
        except ReceiverUnavailable:
            self._queue.extendleft(reversed(batch))
        except Exception:  # the thread goes on with the next batch
            _log.exception("%d spans cannot be sent", len(batch))
            self._settle(rejected=len(batch))
        else:
            self._settle(exported=len(batch))

    def _take(self, spans_max: int) -> list[tuple[EncodedScope, bytes]]:
        batch: list[tuple[EncodedScope, bytes]] = []
        size = 0
        with self._settled:
            while len(batch) < spans_max and size < _REQUEST_BYTES_MAX:
                queued = self._queue.popleft()
                batch.append(queued)
                size += len(queued[1])
            self._in_flight = len(batch)
        return batch

    def _deliver(self, request: bytes) -> None:
        """Raises Rejected, and ReceiverUnavailable where a shutdown leaves no time for another attempt."""
        for pause_seconds in _pauses():
            try:
                self._transport.send(request)
                break
            except ReceiverUnavailable as error:
                self._report_outage(error)
                if not self._paused(max(pause_seconds, error.retry_after_seconds)):
                    raise
        self._report_recovery()

    def _paused(self, seconds: float) -> bool:
        """False if the shutdown's deadline leaves no time for another attempt."""
        if not self._stopping.wait(seconds):
            return True
        sleep(max(0.0, min(seconds, _PAUSE_FIRST_SECONDS, self._deadline - monotonic())))
        return monotonic() < self._deadline

    def _settle(self, exported: int = 0, rejected: int = 0) -> None:
        with self._settled:
            self._in_flight = 0
            self.exported += exported
            self.rejected += rejected
            self._settled.notify_all()

    def _settled_spans(self) -> int:
        return self.exported + self.rejected

    def _drop(self) -> None:
        with self._settled:
            self.dropped += 1
            first, self._overflow = not self._overflow, True
        if first:
            _log.warning("spans are dropped: %d wait for a receiver already", len(self._queue))

    def _abandon(self) -> None:
        with self._settled:
            left = len(self._queue)
            self.dropped += left
            self._queue.clear()
        if left:
            _log.warning("spans are dropped: %d were left when the time to shut down was over", left)

    def _report_outage(self, error: ReceiverUnavailable) -> None:
        if not self._outage:
            self._outage = True
            _log.warning("spans wait, their receiver is unavailable: %s", error)

    def _report_recovery(self) -> None:
        if self._outage:
            _log.warning("spans are exported again; %d were dropped since the start", self.dropped)
        self._outage = False
        self._overflow = self._overflow and bool(self._queue)


def _by_scope(batch: Iterable[tuple[EncodedScope, bytes]]) -> dict[EncodedScope, list[bytes]]:
    scopes: defaultdict[EncodedScope, list[bytes]] = defaultdict(list)
    for scope, span in batch:
        scopes[scope].append(span)
    return scopes


def _pauses() -> Iterator[float]:
    """Doubling pauses with jitter, so that the processes of a mesh do not all retry at the same time."""
    pause_seconds = _PAUSE_FIRST_SECONDS
    while True:
        yield pause_seconds * random.uniform(0.8, 1.2)
        pause_seconds = min(pause_seconds * 2, _PAUSE_MAX_SECONDS)
