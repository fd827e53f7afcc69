"""A service: a name and its reactions, declared by the signatures of async functions."""

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict, TypeVar, Unpack, cast, overload

from jetmesh import forms
from jetmesh.blob import has_blobs
from jetmesh.declaration.decorator import like
from jetmesh.declaration.endpoint import declare_endpoint
from jetmesh.declaration.options import of_a_service, unknown
from jetmesh.declaration.reaction import declare_reaction, require_own_names
from jetmesh.declaration.signature import Signature
from jetmesh.event import EventType, is_ending, stream_of
from jetmesh.failure import Retry
from jetmesh.foreign import Decoder, Listens
from jetmesh.forms import Form
from jetmesh.middleware import Middleware
from jetmesh.rate import Rate
from jetmesh.reaction import DeclarationError, EndpointDeclaration, Pool, Reaction
from jetmesh.request_model import RequestType
from jetmesh.schedule import Missed, Schedule
from jetmesh.since import Since

Function = TypeVar("Function", bound=Callable[..., Any])

NAME_MAX = 64
NAME = re.compile(rf"[a-z][a-z0-9_-]{{0,{NAME_MAX - 1}}}")


class Options(TypedDict, total=False):
    """The options of a reaction's decorator."""

    retry: Retry
    """How often it is tried, and the pauses between attempts."""
    needs: type | None
    """The type of the dependency that it can't work without: while that is down, the reaction pauses."""
    middlewares: Sequence[Middleware]
    """The middlewares of this reaction alone, inside those of its service and of the app."""
    since: Since | None
    """Which past events a new reaction reads: "now" (none), "beginning" (all), or those since a time."""
    formerly: str | Sequence[str]
    """The name that the function had before (or all of them, oldest first): it goes on where that one was."""
    concurrency: int
    """How many of its deliveries may be in flight at a time, in all processes together."""
    in_order: bool
    """Whether the deliveries of a stream are handled in its order, one after the other, in all processes together."""
    limit: Rate | None
    """How often its deliveries may begin, in all processes together: `Rate(100, per_seconds=60, burst=10)`."""
    urgent: EventType | Sequence[EventType]
    """The types among those it takes that must not wait behind the others: `urgent=OrderCancelled`."""
    pool: Pool
    """Where a plain `def` runs: in "threads" (what waits: a file, a driver that blocks), or in "processes" (what
    computes). An async function has none."""
    about: str
    """The field of what arrives that names the key of the story, where what arrives is about another key: the story and
    what is recorded are about that one."""


class SinkOptions(TypedDict, total=False):
    """The options of a sink's decorator."""

    limit: Rate | None
    """How often its batches may grow by a message, in all processes together."""


class Service:
    """A name, the type of what its reactions need, and the reactions in the order of their declaration.

    `dependencies` is the type (usually a frozen dataclass of Protocols) whose instance is handed to every parameter
    annotated with it. `claims` is for how long the service remembers idempotency keys
    (`jetmesh.runtime.idempotency`); None: it keeps none. The decorators return the function unchanged, so that a test
    can await it. `middlewares` are around its reactions (`jetmesh.middleware`). `calls` are the requests that it sends
    to other services: with accounts, it may send no others.
    """

    def __init__(
        self,
        name: str,
        dependencies: type | None = None,
        *,
        claims: timedelta | None = None,
        middlewares: Sequence[Middleware] = (),
        calls: Sequence[RequestType] = (),
    ) -> None:
        if not NAME.fullmatch(str(name)):
            raise DeclarationError(
                f"Service({name!r}): a name begins with a small letter, and has small letters, digits, - and _ behind "
                f"it, {NAME_MAX} at most: streams, durables and subjects have it in them"
            )
        for problem, fix in of_a_service(dependencies, claims, middlewares, calls):
            raise DeclarationError(f"Service({name!r}) {problem}; {fix}.")
        self.name = name
        self.dependencies = dependencies
        self.claims = claims
        self.middlewares = tuple(middlewares)
        self.calls = tuple(calls)
        self._reactions: list[Reaction] = []
        self._endpoints: list[EndpointDeclaration] = []

    @property
    def endpoints(self) -> tuple[EndpointDeclaration, ...]:
        """What answers requests, in the order of declaration."""
        return tuple(self._endpoints)

    @property
    def reactions(self) -> tuple[Reaction, ...]:
        """All reactions, in the order of declaration."""
        return tuple(self._reactions)

    @property
    def stream(self) -> str:
        """The stream of the events that this service records."""
        return stream_of(self.name)

    @property
    def records(self) -> tuple[EventType, ...]:
        """Every type that this service may record, in order of declaration."""
        return tuple(dict.fromkeys(event for reaction in self._reactions for event in reaction.outcomes))

    @property
    def keeps_blobs(self) -> bool:
        """Whether its events name objects, which are in a bucket of its own."""
        return any(map(has_blobs, self.records))

    @property
    def endings(self) -> tuple[EventType, ...]:
        """The events after which its part of a story is over. A delivery about an archived story is settled without
        calling a reaction. A service without endings is never archived."""
        return tuple(event for event in self.records if is_ending(event))

    @property
    def module(self) -> str:
        """The module of its reactions; the module `wiring` in the same package makes the dependencies."""
        self.require_reactions()
        return self._reactions[0].function.__module__

    def require_reactions(self) -> None:
        """Refuse a service that does nothing.

        Raises:
            DeclarationError: it has no reactions.
        """
        if not self._reactions:
            raise DeclarationError(
                f"service {self.name} has no reaction: declare one in the module that makes the service, for instance "
                f"with @{self.name}.on, or take the service out of the app"
            )

    @property
    def meaning(self) -> str:
        """What the service does: the first line of its module's docstring."""
        return (inspect.getdoc(sys.modules[self.module]) or "").partition("\n")[0]

    @overload
    def on(self, function: Function, /) -> Function: ...
    @overload
    def on(self, /, **options: Unpack[Options]) -> Callable[[Function], Function]: ...
    def on(self, function: Any = None, /, **options: Unpack[Options]) -> Any:
        """React to one event, after reading this service's own story of its key."""
        return self._declare(forms.ON, function, options)

    @overload
    def begins(self, function: Function, /) -> Function: ...
    @overload
    def begins(self, /, **options: Unpack[Options]) -> Callable[[Function], Function]: ...
    def begins(self, function: Any = None, /, **options: Unpack[Options]) -> Any:
        """React to the event that begins this service's story of its key; an existing story settles the delivery."""
        return self._declare(forms.BEGINS, function, options)

    @overload
    def intake(self, function: Function, /) -> Function: ...
    @overload
    def intake(self, /, **options: Unpack[Options]) -> Callable[[Function], Function]: ...
    def intake(self, function: Any = None, /, **options: Unpack[Options]) -> Any:
        """React to a message from outside, published without a key in the subject: check it and record it once."""
        return self._declare(forms.INTAKE, function, options)

    @like("after(minutes=15)")
    def after(
        self, *, minutes: float = 0, seconds: float = 0, **options: Unpack[Options]
    ) -> Callable[[Function], Function]:
        """React to an event of the service's own a while after it happened: a deadline, by default never given up.

        The delay is a default: `JETMESH_AFTER_<SERVICE>_<REACTION>_SECONDS` sets another one.
        """
        delay = timedelta(minutes=minutes, seconds=seconds)
        options.setdefault("retry", Retry(attempts=None))
        return lambda function: self._add(forms.AFTER, function, options, delay=delay)

    @like('at("remind_at")')
    def at(self, field: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """React to an event at the time in one of its fields; not at all once the service's part of the story is over.

        The field is an aware datetime; without a value the event is passed over.
        """
        return lambda function: self._add(forms.AT, function, options, at=field)

    @like('every("0 9 * * *")')
    def every(
        self, cron: str, *, zone: str = "UTC", missed: Missed = "once", **options: Unpack[Options]
    ) -> Callable[[Function], Function]:
        """React to the clock: to each time of a cron expression in a time zone, once in all processes together.

        `missed` says what becomes of times at which the broker or the service was away: "once" makes up for all of them
        by one tick, "all" by one tick each, "skip" by none.
        """
        return lambda function: self._add(forms.EVERY, function, options, schedule=Schedule(cron, zone, missed))

    @overload
    def on_many(self, function: Function, /) -> Function: ...
    @overload
    def on_many(self, /, **options: Unpack[Options]) -> Callable[[Function], Function]: ...
    def on_many(self, function: Any = None, /, **options: Unpack[Options]) -> Any:
        """React to many deliveries at once: decide them together on shared state, record them in one atomic batch."""
        return self._declare(forms.MANY, function, options)

    @like('listen("telemetry.{plant_id}.temp", stream="TELEMETRY")')
    def listen(
        self, subject: str, *, stream: str, decode: Decoder | EventType | None = None, **options: Unpack[Options]
    ) -> Callable[[Function], Function]:
        """React to messages of a foreign stream, which are no events of ours: `decode` makes the event of each.

        In `subject`, `*` or `{name}` is any one token, and `>` at the end the rest. Without `decode` the body is JSON,
        and named tokens are fields beside it.
        """
        listens = Listens(subject, stream, cast("Decoder | None", decode))
        return lambda function: self._add(forms.LISTEN, function, options, listens=listens)

    @overload
    def sink(self, function: Function, /) -> Function: ...
    @overload
    def sink(self, /, **options: Unpack[SinkOptions]) -> Callable[[Function], Function]: ...
    def sink(self, function: Any = None, /, **options: Unpack[SinkOptions]) -> Any:
        """Keep every event, in batches, in a store that keeps its own position."""
        return self._declare(forms.SINK, function, options)

    @overload
    def endpoint(self, function: Function, /) -> Function: ...
    @overload
    def endpoint(self, /) -> Callable[[Function], Function]: ...
    def endpoint(self, function: Any = None, /, **options: Any) -> Any:
        """Answer a request: typed, traced, and without recording anything (NATS micro, ADR-32)."""
        if function is None:
            return lambda later: self._answer(later, options)
        return self._answer(function, options)

    def _answer(self, function: Function, chosen: Mapping[str, Any]) -> Function:
        signature = Signature(self.name, function)
        signature.require_none(unknown("endpoint", (), chosen))
        self._endpoints.append(declare_endpoint(signature, self.dependencies, self._endpoints))
        return function

    def _declare(self, form: Form, function: Any, chosen: Mapping[str, Any]) -> Any:
        if function is not None:
            return self._add(form, function, chosen)
        return lambda later: self._add(form, later, chosen)

    def _add(self, form: Form, function: Function, chosen: Mapping[str, Any], **own: Any) -> Function:
        signature = Signature(self.name, function)
        known = [*(SinkOptions if form.keeps_all else Options).__annotations__, *form.options]
        signature.require_none(unknown(form.decorator, known, chosen))
        reaction = declare_reaction(signature, self.dependencies, form, {**chosen, **own})
        require_own_names(reaction, self._reactions)
        self._reactions.append(reaction)
        return function
