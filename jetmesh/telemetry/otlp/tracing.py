"""A tracer provider for the hot path: OpenTelemetry's interfaces, spans encoded the moment they end."""

import atexit
import logging
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from time import time_ns
from types import TracebackType
from typing import Protocol, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.exception_attributes import (
    EXCEPTION_ESCAPED,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util._decorator import _agnosticcontextmanager
from opentelemetry.util.types import AnyValue, Attributes

from jetmesh.telemetry.otlp.encoding import UNSET, Description, encode_described, encode_scope, encode_span

_log = logging.getLogger(__name__)

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_DEFAULT = TraceFlags(TraceFlags.DEFAULT)
_RANDOM = TraceFlags(TraceFlags.RANDOM_TRACE_ID)
_SAMPLED_RANDOM = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)

# Not the shared generator of `random`: an application that seeds it would repeat ids in every process.
_ids = Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)


class SpanQueue(Protocol):
    """Takes encoded spans with their encoded scopes."""

    def add(self, scope: tuple[bytes, bytes], span: bytes) -> None: ...
    def force_flush(self, timeout_seconds: float) -> bool: ...
    def shutdown(self, timeout_seconds: float) -> None: ...


class Span(trace.Span):
    """One operation, recorded until `end` encodes it; made by a `Tracer`."""

    __slots__ = (
        "_attributes",
        "_description",
        "_errors_recorded",
        "_errors_set_status",
        "_numbers",
        "_texts",
        "_tracer",
        "context",
        "end_time",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "start_time",
        "status",
    )

    def __init__(self, tracer: "Tracer", context: SpanContext, parent: SpanContext | None, name: str, kind: SpanKind):
        self._tracer = tracer
        self.context = context
        self.parent = parent
        self.name = name
        self.kind = kind
        self._attributes: dict[str, AnyValue] = {}
        self.events: list[Event] = []
        self.links: Sequence[Link] = ()
        self.status = UNSET
        self.start_time = time_ns()
        self.end_time: int | None = None
        self._description: Description | None = None
        self._errors_recorded = True
        self._errors_set_status = True

    def describe(self, attributes: Attributes, links: Sequence[Link] | None, start_time: int | None) -> None:
        """Set what a span may start with besides its name and kind; `start_time` is in nanoseconds."""
        if attributes:
            self._attributes.update(attributes)
        if links:
            self.links = links
        if start_time is not None:
            self.start_time = start_time

    def is_described(self, description: Description, texts: Sequence[str], numbers: Sequence[int]) -> None:
        """Set the attributes of a description, with this span's own values for its keys."""
        self._description, self._texts, self._numbers = description, texts, numbers

    @property
    def attributes(self) -> dict[str, AnyValue]:
        """Those that it began with, and those that were set since."""
        if self._description is None:
            return self._attributes
        return {**self._description.all_attributes(self._texts, self._numbers), **self._attributes}

    def encoded(self) -> bytes:
        """As it goes to the receiver."""
        if self._description is None:
            return encode_span(self)
        return encode_described(self, self._description, self._texts, self._numbers, self._attributes)

    def on_exceptions(self, record: bool, set_status: bool) -> None:
        """Set what an exception that leaves the span's `with` block does."""
        self._errors_recorded = record
        self._errors_set_status = set_status

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return self.end_time is None

    def set_attribute(self, key: str, value: AnyValue) -> None:
        if self.end_time is not None:
            self._warn_ended()
            return
        if self._description is not None and key in self._description.keys:
            self._write_out()
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        if self._is_open():
            self.events.append(Event(name, dict(attributes or {}), timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if self._is_open():
            self.links = (*self.links, Link(context, dict(attributes or {})))

    def update_name(self, name: str) -> None:
        if self._is_open():
            self._write_out()
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status; Ok is final, and unset changes nothing, as the specification says."""
        asked = status if isinstance(status, Status) else Status(status, description)
        if asked.is_unset or self.status.status_code is StatusCode.OK or not self._is_open():
            return
        self.status = asked

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        described = _exception_attributes(exception, escaped)
        self.add_event("exception", {**described, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        if self.end_time is not None:
            self._warn_ended()
            return
        self.end_time = time_ns() if end_time is None else end_time
        self._tracer.ended(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_val is not None and self.is_recording():
            if self._errors_recorded:
                self.record_exception(exc_val, escaped=True)
            if self._errors_set_status:
                self.set_status(StatusCode.ERROR, f"{type(exc_val).__name__}: {exc_val}")
        self.end()

    def _write_out(self) -> None:
        """What its description says is about to change: it goes without one from now on."""
        self._attributes, self._description = self.attributes, None

    def _is_open(self) -> bool:
        if self.end_time is None:
            return True
        self._warn_ended()
        return False

    def _warn_ended(self) -> None:
        _log.warning("span %r has ended: later changes are not recorded", self.name)


class Tracer(trace.Tracer):
    """Makes the spans of one instrumentation scope."""

    def __init__(self, provider: "TracerProvider", scope: InstrumentationScope):
        self._provider = provider
        self._scope = scope
        self._encoded_scope = encode_scope(scope)

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        ambient = trace.get_current_span(context).get_span_context()
        parent = ambient if ambient.is_valid else None
        own = _child_of(parent) if parent else _root()
        if not self._provider.keeps_children_of(parent):
            result = self._provider.sampler.should_sample(context, own.trace_id, name, kind, attributes, links)
            own = _as_sampled(own, result)
            if result.decision is not Decision.RECORD_AND_SAMPLE:
                return trace.NonRecordingSpan(own)
            attributes = result.attributes
        span = Span(self, own, parent, name, kind)
        span.describe(attributes, links, start_time)
        span.on_exceptions(record_exception, set_status_on_exception)
        self._provider.started(span, context)
        return span

    def start_described(
        self,
        description: Description,
        parent: SpanContext | None,
        texts: Sequence[str],
        numbers: Sequence[int] = (),
        links: Sequence[Link] = (),
    ) -> trace.Span:
        """A cheaper `start_span` for many spans of one kind. The current span does not become the parent."""
        if not self._provider.keeps_children_of(parent) or self._provider.processors:
            if parent is not None and self._provider.keeps_nothing:
                return trace.NonRecordingSpan(_child_of(parent, _DEFAULT, _RANDOM))
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent) if parent else trace.INVALID_SPAN)
            attributes = description.all_attributes(texts, numbers)
            return self.start_span(description.name, context, description.kind, attributes, links)
        own = _child_of(parent) if parent else _root()
        span = Span(self, own, parent, description.name, description.kind)
        span.is_described(description, texts, numbers)
        span.links = links
        return span

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span

    def ended(self, span: Span) -> None:
        """Pass the span on: encoded to the queue, readable to the processors that users added."""
        try:
            self._provider.queue.add(self._encoded_scope, span.encoded())
        except Exception:  # a name or key that is no text must not fail the work that was traced
            _log.exception("span %r cannot be encoded and is lost", span.name)
        for processor in self._provider.processors:
            processor.on_end(self._readable(span))

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=self._provider.resource,
            attributes=span.attributes,
            events=span.events,
            links=span.links,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=self._scope,
        )


class TracerProvider(trace.TracerProvider):
    """Tracers whose spans go to one queue; spans that are queued when the interpreter exits are sent then."""

    def __init__(self, resource: Resource, sampler: Sampler, queue: SpanQueue):
        self.resource = resource
        self.sampler = sampler
        self.queue = queue
        self.processors: tuple[SpanProcessor, ...] = ()
        self.keeps_nothing = sampler is ALWAYS_OFF
        self._keeps_roots = sampler in (ALWAYS_ON, DEFAULT_ON)
        self._sampled_stay_sampled = _sampled_stay_sampled(sampler)
        self._tracers: dict[InstrumentationScope, Tracer] = {}
        atexit.register(self.shutdown)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        scope = InstrumentationScope(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        return self._tracers.setdefault(scope, Tracer(self, scope))

    def add_span_processor(self, processor: SpanProcessor) -> None:
        """Add a user's processor: it gets each sampled span, at the SDK's cost."""
        self.processors = (*self.processors, processor)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """True once the receiver has answered for every span that ended before. It blocks: not for an event loop."""
        exported = self.queue.force_flush(timeout_millis / 1000)
        return all([exported, *(processor.force_flush(timeout_millis) for processor in self.processors)])

    def shutdown(self, timeout_millis: int = 5_000) -> None:
        """Send the queued spans, for at most this long; spans that end later are counted as dropped."""
        atexit.unregister(self.shutdown)
        self.queue.shutdown(timeout_millis / 1000)
        for processor in self.processors:
            processor.shutdown()

    def keeps_children_of(self, parent: SpanContext | None) -> bool:
        """Whether children of `parent` are sampled (cached: asking it costs more than the rest of a start)."""
        if parent is None:
            return self._keeps_roots
        _, _, _, flags, _, _ = parent
        return self._sampled_stay_sampled and flags & TraceFlags.SAMPLED == 1

    def started(self, span: Span, context: Context | None) -> None:
        """Call `on_start` of the processors that users added; it may still set attributes."""
        for processor in self.processors:
            processor.on_start(cast("SdkSpan", span), context)


class DisabledTracerProvider(TracerProvider):
    """Makes no spans; an incoming context is passed on unchanged."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        return trace.NoOpTracer()


def _sampled_stay_sampled(sampler: Sampler) -> bool:
    return sampler in (ALWAYS_ON, DEFAULT_ON, DEFAULT_OFF) or type(sampler) is ParentBasedTraceIdRatio


def _root() -> SpanContext:
    return SpanContext(_ids.getrandbits(128) or 1, _ids.getrandbits(64) or 1, False, _SAMPLED_RANDOM)


def _child_of(parent: SpanContext, plain: TraceFlags = _SAMPLED, random: TraceFlags = _SAMPLED_RANDOM) -> SpanContext:
    """The context of a new span in a valid trace, without the checks of SpanContext: a third of a span's start. Its
    flags are `plain`, or `random` if the trace id is random."""
    trace_id, _, _, flags, trace_state, _ = parent
    own = random if flags & TraceFlags.RANDOM_TRACE_ID else plain
    return tuple.__new__(SpanContext, (trace_id, _ids.getrandbits(64) or 1, False, own, trace_state, True))


def _as_sampled(context: SpanContext, result: SamplingResult) -> SpanContext:
    sampled = result.decision is Decision.RECORD_AND_SAMPLE
    flags = TraceFlags(context.trace_flags & TraceFlags.RANDOM_TRACE_ID | sampled)
    return SpanContext(context.trace_id, context.span_id, False, flags, result.trace_state)


def _exception_attributes(exception: BaseException, escaped: bool) -> dict[str, AnyValue]:
    module, name = type(exception).__module__, type(exception).__qualname__
    return {
        EXCEPTION_TYPE: name if module == "builtins" else f"{module}.{name}",
        EXCEPTION_MESSAGE: str(exception),
        EXCEPTION_STACKTRACE: "".join(traceback.format_exception(exception)),
        EXCEPTION_ESCAPED: str(escaped),
    }
