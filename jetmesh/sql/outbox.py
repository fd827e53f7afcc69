"""Events that are committed with what they are about, and published afterwards, once, in the order of each key."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic
from urllib.parse import unquote

from opentelemetry import trace

from jetmesh.client.mesh import Mesh
from jetmesh.cloudevents import JSON, encoded, event_lines, now, written_event
from jetmesh.common.tasks import cancelled
from jetmesh.event import Event, EventType, id_of, is_occurrence, stream_of
from jetmesh.jetstream.headers import TRACEPARENT, TRACESTATE, CloudEvents, header_lines
from jetmesh.jetstream.subject import subject_of
from jetmesh.middleware import Delivery
from jetmesh.runtime.context import Context
from jetmesh.service import Service
from jetmesh.sql.database import Connection_co, Database, NotInTransaction, naming, written
from jetmesh.sql.relay import Kind, Relay
from jetmesh.sql.tables import OUTBOX
from jetmesh.telemetry.spans import trace_headers

COLUMNS = "id, kind, type, key, stream, subject, headers, body, traceparent, tracestate"
ADD = f"INSERT INTO {OUTBOX.name} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Outbox(Generic[Connection_co]):
    """The events of one database that are still to be published.

    `service` is the service whose database it is: its own events are recorded in its stream. Without it, or for another
    service's events, only what is declared `from_outside` may be added: it goes to its owner, who checks it. `source`
    is the `ce-source` of those.
    """

    def __init__(self, database: Database[Connection_co], *, service: Service | None = None, source: str = "") -> None:
        self._database, self._service = database, service
        self._source = source or f"/{service.name if service else 'jetmesh-outbox'}"

    async def add(self, transaction: Any, event: Event, *, because: Delivery | None = None) -> str:
        """Add an event to the transaction that a connection of the driver is in, and return the event's id: it is
        published if the transaction is committed. `because` is the delivery that it follows from; without one it
        follows from the current span.

        Raises:
            TableMissing: the database has no table `jetmesh_outbox`.
            NotInTransaction: `transaction` is no connection of the driver, or in no transaction.
            TypeError: it is no event, or none that may be published from here.
            Permanent: its contents break its contract.
        """
        self._check(transaction)
        row = self._row(event, because)
        with naming(self._database, OUTBOX):
            await transaction.execute(written(ADD, self._database.placeholder), row)
        await self._database.added(transaction)
        return str(row[0])

    @asynccontextmanager
    async def relay(self, mesh: Mesh | Context, *, sweep_seconds: float = 1.0) -> AsyncIterator[None]:
        """Publish what is added, by a task that runs until the end of the block: over a service's context, or over the
        mesh that a program connected to. Any number of processes may: one of them publishes, another goes on when it
        is gone. It looks when something was added, and every `sweep_seconds`.
        """
        context = mesh if isinstance(mesh, Context) else mesh.context
        task = asyncio.create_task(Relay(self._database, context, sweep_seconds).run(), name="outbox-relay")
        try:
            yield
        finally:
            await cancelled(task)

    def _check(self, connection: Any) -> None:
        try:
            is_open = self._database.is_in_transaction(connection)
        except AttributeError:
            raise NotInTransaction(
                f"{connection!r} is no connection of the driver: give the one that `inbox.transaction(…)` or "
                f"`database.transaction()` yields; a delivery that was handled before (None) adds nothing"
            ) from None
        if not is_open:
            raise NotInTransaction(
                "the connection is in no transaction, so that the event would be published whatever becomes of the "
                "rest: begin one first"
            )

    def _row(self, event: Event, because: Delivery | None) -> tuple[Any, ...]:
        """What the relay needs to know: it needs no class of the event."""
        event_type, body, event_id = _type_of(event), written_event(event), str(uuid.uuid4())
        kind = self._kind(event_type)
        trace_context = trace_headers(trace.get_current_span().get_span_context())
        correlation, causation = event.key, ""
        if because:
            correlation = unquote(because.headers.get(CloudEvents.CORRELATION_ID, "")) or because.key
            causation = because.id
            trace_context = {TRACEPARENT: because.traceparent}
        if kind is Kind.OUTSIDE:
            subject, headers = event_type.type, self._headers(event_type, event_id)
        else:
            told_apart = id_of(event) or event_id if kind is Kind.OCCURRENCE else ""
            subject = subject_of(event_type, event.key, told_apart)
            headers = event_lines(
                event_type, event.key, event_id=event_id, correlation_id=correlation, causation_id=causation
            )
        parent = trace_context.get(TRACEPARENT, ""), trace_context.get(TRACESTATE, "")
        stream = "" if kind is Kind.OUTSIDE else stream_of(event_type.owner)
        return event_id, kind.value, event_type.type, event.key, stream, subject, headers, body, *parent

    def _kind(self, event_type: EventType) -> Kind:
        """How it is recorded once.

        Raises:
            TypeError: not from here.
        """
        if self._service is not None and event_type in self._service.records:
            if is_occurrence(event_type):
                return Kind.OCCURRENCE
            return Kind.STATE if event_type.state else Kind.MILESTONE
        if event_type.from_outside:
            return Kind.OUTSIDE
        if self._service is not None and event_type.owner == self._service.name:
            raise TypeError(
                f"{event_type.__name__}: no reaction of {self._service.name} says that it may record "
                f"{event_type.type}; name it in the return type of the reaction that adds it"
            )
        raise TypeError(
            f"{event_type.__name__}: only {event_type.owner} records {event_type.type}; add an event that is declared "
            f"`from_outside=True`, or make the outbox of {event_type.owner}: `Outbox(database, service=…)`"
        )

    def _headers(self, event_type: EventType, event_id: str) -> str:
        """The header lines of what goes to its owner."""
        return header_lines(
            {
                CloudEvents.SPECVERSION: "1.0",
                CloudEvents.ID: event_id,
                CloudEvents.TYPE: event_type.type,
                CloudEvents.SOURCE: encoded(self._source),
                CloudEvents.TIME: now(),
                CloudEvents.DATACONTENTTYPE: JSON,
            }
        )


def _type_of(event: Event) -> EventType:
    """The type of what is added.

    Raises:
        TypeError: it is no event.
    """
    if isinstance(event, type) or not isinstance(event, Event):
        raise TypeError(f"{event!r} is no event: add an instance of an event's class")
    return type(event)
