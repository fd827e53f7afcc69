"""A service: a name and its reactions, declared by the signatures of async functions."""

import inspect
import re
import reprlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, TypedDict, TypeVar, Union, Unpack, cast, get_args, get_origin, get_type_hints, overload

from pydantic import BaseModel

from jetmesh import forms
from jetmesh.event import TYPE, EventType, Recorded, entity_of, id_field_of, is_ending, is_occurrence, stream_of
from jetmesh.event_model import is_aware, is_token
from jetmesh.failure import Retry
from jetmesh.foreign import Decoder, Listens, problems
from jetmesh.forms import Form
from jetmesh.middleware import Delivery, Middleware
from jetmesh.rate import Rate
from jetmesh.reaction import DeclarationError, EndpointDeclaration, Pool, Reaction
from jetmesh.request_model import Request, RequestType, endpoint_of, owner_of, response_of
from jetmesh.schedule import Missed, Schedule, Tick, problem_of
from jetmesh.since import FORMS, Since, is_since
from jetmesh.snapshot import Snapshot

Function = TypeVar("Function", bound=Callable[..., Any])

RESERVED_ENDPOINTS = ("health", "reactions")
"""The endpoints that every service has (`jetmesh.process.micro`)."""
RESERVED_ENTITIES = ("dead", "dead_log", "due", "jetmesh", "timers")
"""The first words of the subjects that the mesh itself uses (`jetmesh.topology.names`)."""
ENDPOINT = re.compile(r"[A-Za-z0-9_-]+")

CONCURRENCY_MAX = 8_192
"""As many deliveries of a durable are in flight where no concurrency is declared."""

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
    limit: Rate | None
    """How often its deliveries may begin, in all processes together: `Rate(100, per_seconds=60, burst=10)`."""
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
        if not NAME.fullmatch(name):
            raise DeclarationError(
                f"Service({name!r}): a name begins with a small letter, and has small letters, digits, - and _ behind "
                f"it, {NAME_MAX} at most: streams, durables and subjects have it in them"
            )
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

    def after(
        self, *, minutes: float = 0, seconds: float = 0, **options: Unpack[Options]
    ) -> Callable[[Function], Function]:
        """React to an event of the service's own a while after it happened: a deadline, by default never given up.

        The delay is a default: `JETMESH_AFTER_<SERVICE>_<REACTION>_SECONDS` sets another one.
        """
        delay = timedelta(minutes=minutes, seconds=seconds)
        options.setdefault("retry", Retry(attempts=None))
        return lambda function: self._add(forms.AFTER, function, options, delay=delay)

    def at(self, field: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """React to an event at the time in one of its fields; not at all once the service's part of the story is over.

        The field is an aware datetime; without a value the event is passed over.
        """
        return lambda function: self._add(forms.AT, function, options, at=field)

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

    def endpoint(self, function: Function) -> Function:
        """Answer a request: typed, traced, and without recording anything (NATS micro, ADR-32)."""
        declared = _Signature(self, function).endpoint()
        if declared.name in (*RESERVED_ENDPOINTS, *(other.name for other in self._endpoints)):
            raise DeclarationError(
                f"{self.name}.{function.__name__}: an endpoint named {declared.name} is there already; "
                f"give the request another type."
            )
        self._endpoints.append(declared)
        return function

    def _declare(self, form: Form, function: Any, chosen: Mapping[str, Any]) -> Any:
        if function is not None:
            return self._add(form, function, chosen)
        return lambda later: self._add(form, later, chosen)

    def _add(self, form: Form, function: Function, chosen: Mapping[str, Any], **own: Any) -> Function:
        _check_options(f"{self.name}.{function.__name__}", form, chosen)
        options = {**({"retry": Retry(attempts=None)} if form.keeps_all else {}), **chosen, **own}
        options["middlewares"] = tuple(options.get("middlewares", ()))
        former = options.get("formerly", ())
        options["formerly"] = (former,) if isinstance(former, str) else tuple(former)
        reaction = _Signature(self, function).reaction(form, **options)
        _check_name(reaction, self._reactions)
        self._reactions.append(reaction)
        return function


def _check_options(name: str, form: Form, chosen: Iterable[str]) -> None:
    """Check that a decorator has these options.

    Raises:
        DeclarationError: it has not.
    """
    known = [*(SinkOptions if form.keeps_all else Options).__annotations__, *form.options]
    for option in chosen:
        if option not in known:
            nearest = "".join(f"write {each!r}, or " for each in get_close_matches(option, known, 1))
            raise DeclarationError(
                f"{name} declares {option!r}, and `{form.decorator}` has no such option; {nearest}choose from "
                f"{', '.join(sorted(known))}."
            )


def _check_name(reaction: Reaction, others: Sequence[Reaction]) -> None:
    """Check that no other reaction has, or had, one of its names.

    Raises:
        DeclarationError: one has.
    """
    name = f"{reaction.service}.{reaction.name}"
    if any(other.name == reaction.name for other in others):
        raise DeclarationError(
            f"{name}: a reaction of this name is declared already; its durable consumer would be shared. "
            f"Rename one of the functions."
        )
    for mine, theirs in [(reaction, other) for other in others] + [(other, reaction) for other in others]:
        if taken := {*mine.formerly} & {theirs.name, *theirs.formerly}:
            raise DeclarationError(
                f"{name}: both {mine.name} and {theirs.name} claim the name {min(taken)}; one durable can't go on as "
                f"two. Take it out of `formerly` of {mine.name}."
            )
    if reaction.name in reaction.formerly:
        raise DeclarationError(f"{name} declares formerly={reaction.name!r}, its own name; write the one before.")


class _Signature:
    """Makes a Reaction of one function's annotations, or says what is wrong with them."""

    def __init__(self, service: Service, function: Callable[..., Any]) -> None:
        self.service, self.function = service, function
        self.name = function.__name__
        self.is_async = inspect.iscoroutinefunction(function)
        try:
            self.hints = get_type_hints(function)
        except NameError as unknown:
            raise self.error(f"has an annotation that can't be resolved ({unknown})", "import the type") from None

    def error(self, problem: str, fix: str) -> DeclarationError:
        return DeclarationError(f"{self.service.name}.{self.name} {problem}; {fix}.")

    def reaction(self, form: Form, **options: Any) -> Reaction:
        """The declared reaction."""
        parameters = self._parameters()
        self._check_needs(options.get("needs"))
        pool = self._pool(options.pop("pool", None))
        self._check_start(options.get("since"), options.get("formerly", ()))
        self._check_schedule(options)
        self._check_concurrency(form, options.get("concurrency"))
        self._check_limit(options.get("limit"))
        story, arguments = self._arguments(parameters[1:])
        self._check_pool(pool, arguments)
        events, outcomes = self._events(form, parameters[0]), self._outcomes(form)
        self._check_at(events if form.is_timed else (), str(options.get("at", "")))
        self._check_about(form, (Tick,) if form.is_scheduled else events, str(options.get("about", "")))
        if "listens" in options:
            options["listens"] = self._listens(options["listens"], events)
        if "delivery" in arguments and (form.is_joint or form.keeps_all):
            raise self.error("takes a Delivery, and many arrive at once", "leave it out, or react to one event")
        reaction = Reaction(
            service=self.service.name,
            name=self.name,
            form=form,
            function=self.function,
            events=events,
            outcomes=outcomes,
            story=story,
            arguments=arguments,
            pool=pool,
            is_optional=types.NoneType in _members(self.hints["return"]),
            is_several=not form.is_joint and any(_several(member) for member in _members(self.hints["return"])),
            **options,
        )
        if reaction.since is not None and all(map(reaction.takes_from_outside, reaction.events)):
            raise self.error(
                f"declares since={reaction.since!r}, and takes what comes from outside, which no reaction reads again",
                "leave `since` out",
            )
        if form.is_joint:
            self._check_ids(outcomes)
        elif not form.keeps_all:
            self._check_kinds(reaction)
        return reaction

    def _parameters(self) -> list[str]:
        """The names of its parameters, all of them annotated."""
        parameters = list(inspect.signature(self.function).parameters)
        if not parameters:
            raise self.error("takes no event", "let its first parameter be the event that it reacts to")
        for name in (*parameters, "return"):
            if name not in self.hints:
                what = "its return type" if name == "return" else f"parameter `{name}`"
                raise self.error(f"does not annotate {what}", f"annotate {what}: the signature is the wiring")
        return parameters

    def _pool(self, pool: Any) -> Pool | None:
        """Where it runs."""
        if self.is_async and pool is not None:
            raise self.error(f"declares pool={pool!r} and is async", "write `def`: what awaits runs on the loop")
        if pool not in (None, *get_args(Pool)):
            raise self.error(f"declares pool={pool!r}", 'write "threads" or "processes"')
        chosen: Pool | None = pool
        return None if self.is_async else chosen or "threads"

    def _check_pool(self, pool: Pool | None, arguments: Sequence[str]) -> None:
        if pool and "snapshot" in arguments:
            raise self.error("takes a Snapshot, which is awaited, and is not async", "write `async def`")
        if pool == "processes" and "delivery" in arguments:
            raise self.error("takes a Delivery, and runs in another process", 'write pool="threads"')
        if pool == "processes" and "dependencies" in arguments:
            raise self.error(
                "takes the dependencies of this process, and runs in another one",
                'leave them out and compute from the event and the story alone, or write pool="threads"',
            )

    def _check_concurrency(self, form: Form, most: Any) -> None:
        if most is None:
            return
        if type(most) is not int or not 1 <= most <= CONCURRENCY_MAX:
            fix = f"write a whole number from 1 to {CONCURRENCY_MAX:,}"
            raise self.error(f"declares concurrency={reprlib.repr(most)}", fix)
        if form.is_joint or form.only_outside:
            what = "decides many deliveries at once" if form.is_joint else "shares its durable with other intakes"
            raise self.error(f"declares concurrency={most}, and {what}", "leave `concurrency` out")

    def _check_limit(self, limit: Any) -> None:
        if limit is not None and not isinstance(limit, Rate):
            raise self.error(f"declares limit={limit!r}", "write `limit=Rate(100, per_seconds=60, burst=10)`")
        if limit is not None and (problem := limit.problem):
            wrong, _, fix = problem.partition(": ")
            raise self.error(f"declares a limit with {wrong}", fix)

    def _check_start(self, since: Any, formerly: Sequence[Any]) -> None:
        if since is not None and not is_since(since):
            raise self.error(f"declares since={since!r}", f"write {FORMS}")
        for name in formerly:
            if not (isinstance(name, str) and name.isidentifier()):
                raise self.error(f"declares formerly={name!r}", "write the name that the function had before")

    def _check_at(self, events: Sequence[EventType], field: str) -> None:
        for event in events:
            if not is_aware(event, field):
                raise self.error(
                    f"is due at {field!r}, which is no field of {event.__name__} that is a time with a zone",
                    f"declare `{field}: AwareDatetime` there (pydantic), or name another field",
                )

    def _check_schedule(self, options: Mapping[str, Any]) -> None:
        schedule: Schedule | None = options.get("schedule")
        if schedule is None:
            return
        if wrong := problem_of(schedule.cron, schedule.zone, schedule.missed):
            raise self.error(*wrong)
        for name in ("since", "formerly"):
            if options.get(name):
                raise self.error(
                    f"declares {name}={options[name]!r}, and a schedule begins anew", f"leave `{name}` out"
                )

    def _check_about(self, form: Form, events: Sequence[EventType], about: str) -> None:
        if about and form.is_joint:
            raise self.error(f"is about {about!r}", "read any story through the Snapshot of a reaction to many")
        if about and form.only_outside:
            raise self.error(f"is about {about!r}", "record what comes under its own key, and react to that")
        for event in events if about else ():
            if not is_token(event, about):
                raise self.error(
                    f"is about {about!r}, which is no field of {event.__name__} that is a Token",
                    "name a field that can be a key: a part of a subject",
                )

    def _listens(self, listens: Listens, events: Sequence[EventType]) -> Listens:
        """What it listens to; a decoder that is the event's class reads JSON."""
        event = events[0]
        if len(events) > 1:
            raise self.error(f"listens for {_names(events)}", "listen for each with a reaction of its own")
        if event.owner != self.service.name:
            raise self.error(
                f"listens for {event.__name__}, which {event.owner} owns",
                f"decode into an event that {self.service.name} owns",
            )
        chosen = replace(listens, decode=None) if listens.decode is event else listens
        for problem, fix in problems(chosen, event):
            raise self.error(problem, fix)
        return chosen

    def _check_ids(self, outcomes: Sequence[EventType]) -> None:
        """Refuse occurrences whose id is made of one cause where there are many."""
        if unnamed := [event for event in outcomes if is_occurrence(event) and not id_field_of(event)]:
            raise self.error(
                f"returns {_names(unnamed)}, whose id is made of its cause, and takes many",
                f"declare `id_field=` on {unnamed[0].__name__}: the field that tells one from another",
            )

    def _check_kinds(self, reaction: Reaction) -> None:
        """Refuse what its milestones, states and occurrences can't keep."""
        many_times = [event for event in reaction.outcomes if is_occurrence(event)]
        if many_times and reaction.form.begins and not reaction.form.only_outside:
            raise self.error(
                f"begins a story with {_names(many_times)}, which happens many times",
                "declare it with `@service.on`: an occurrence is recorded once without a story",
            )
        if folded := [event for event in _folded(reaction.story) if is_occurrence(event)]:
            raise self.error(
                f"decides by a fold of {_names(folded)}, and a story has no occurrences",
                "count them in a state (`state=True`) that is recorded with each, or decide with `@service.on_many`",
            )
        for member in () if reaction.form.begins else _members(self.hints["return"]):
            self._check_states(reaction, self._flat(member))

    def _check_states(self, reaction: Reaction, together: Sequence[EventType]) -> None:
        """Refuse a state that is recorded with nothing beside it that says what it has counted."""
        states = [event for event in together if event.state]
        if states and len(states) == len(together):
            raise self.error(
                f"returns the state {_names(states)} alone: a delivery that comes again would change it again",
                f"return `tuple[…, {states[0].__name__}]` with an occurrence or a milestone that is recorded once",
            )
        if elsewhere := [event for event in states if entity_of(event) != reaction.entity]:
            raise self.error(
                f"returns the state {_names(elsewhere)}, and reads the story of {reaction.entity}",
                "read it through the Snapshot of a reaction to many (`@service.on_many`)",
            )

    def endpoint(self) -> EndpointDeclaration:
        """The declared endpoint."""
        if not self.is_async:
            raise self.error("is not an async function", "write `async def`")
        names, fix = list(inspect.signature(self.function).parameters), "write `Request[<the response>]`"
        for name in names or ["request"]:
            if name not in self.hints:
                raise self.error(f"does not annotate parameter `{name}`", "annotate it: the signature is the wiring")
        request = self.hints[names[0]]
        if not (isinstance(request, type) and issubclass(request, Request)):
            raise self.error(
                f"takes {request!r}, which is no request", "let its first parameter be a `jetmesh.Request`"
            )
        response: type[BaseModel] | None = response_of(request)
        if response is None:
            raise self.error(f"takes {request.__name__}, which names no response", fix)
        if self.hints.get("return") != response:
            fix = f"annotate `-> {response.__name__}`, and raise `jetmesh.Problem` for what is no success"
            raise self.error(f"does not return the response of {request.__name__}", fix)
        if owner_of(request) != self.service.name or not ENDPOINT.fullmatch(endpoint_of(request)):
            fix = f'declare `type="{self.service.name}.{self.name}"` on its class'
            raise self.error(f"answers {request.__name__}, whose type is {request.type!r}", fix)
        story, arguments = self._arguments(names[1:])
        if "delivery" in arguments:
            raise self.error("takes a Delivery, and answers a request", "leave it out")
        if story is not None:
            self._check_request_key(request)
        return EndpointDeclaration(
            self.service.name, endpoint_of(request), self.function, request, response, story, arguments
        )

    def _check_request_key(self, request: RequestType) -> None:
        """Refuse a request whose story can't be read by its key."""
        if request.key_field not in request.model_fields:
            raise self.error(
                f"reads a story, but {request.__name__} names no key", 'declare `key_field="…"` on its class'
            )
        if not is_token(request, request.key_field):
            raise self.error(
                f"reads the story of {request.__name__}.{request.key_field}, which may be a pattern such as `*`",
                "let the field be a Token, as a key is",
            )

    def _check_needs(self, needs: type | None) -> None:
        dependencies = self.service.dependencies
        known = {dependencies, *get_type_hints(dependencies).values()} if dependencies else set()
        if needs is not None and needs not in known:
            raise self.error(
                f"needs {needs!r}, which is no dependency of {self.service.name}",
                "name the type of a field of its dependencies, such as `needs=Gateway`",
            )

    def _events(self, form: Form, parameter: str) -> tuple[EventType, ...]:
        hint = self.hints[parameter]
        if form.keeps_all:
            if _element(hint) is not Recorded:
                raise self.error(f"takes {hint}", "a sink takes `Sequence[Recorded]`")
            return ()
        if form.is_scheduled:
            if hint is not Tick:
                raise self.error(f"takes {hint}", "a reaction to the clock takes a `jetmesh.Tick`")
            return ()
        if hint is Tick:
            raise self.error("takes a Tick", f"declare when it is due: `@{self.service.name}.every(…)`")
        if form.is_joint:
            element = _element(hint)
            if element is None:
                raise self.error(f"takes {hint}", "a reaction to many takes a Sequence of events")
            hint = element
        events = tuple(self._event(member, f"parameter `{parameter}`") for member in _members(hint))
        if form.only_outside and not all(e.owner == self.service.name and e.from_outside for e in events):
            raise self.error(
                f"is an intake of {_names(events)}",
                f"take an event of {self.service.name}'s own that is declared `from_outside=True`",
            )
        return events

    def _outcomes(self, form: Form) -> tuple[EventType, ...]:
        hint = self.hints["return"]
        if form.is_joint:
            element = _element(hint)
            if element is None:
                raise self.error(f"returns {hint}", "a reaction to many returns a list of events")
            hint = element
        outcomes = tuple(dict.fromkeys(event for member in _members(hint) for event in self._flat(member)))
        for outcome in outcomes:
            if outcome.owner != self.service.name:
                raise self.error(
                    f"returns {outcome.__name__}, which {outcome.owner} owns",
                    f"return an event that {self.service.name} owns",
                )
        return outcomes

    def _flat(self, member: Any) -> tuple[EventType, ...]:
        """The events that one member of the return type names: one, or those that are recorded together."""
        named = [hint for one in _several(member) or (member,) for hint in _members(one)]
        return tuple(self._event(hint, "its return type") for hint in named if hint not in (types.NoneType, Ellipsis))

    def _event(self, hint: Any, where: str) -> EventType:
        if not (isinstance(hint, type) and hasattr(hint, "type") and hasattr(hint, "read")):
            raise self.error(f"names {hint!r} in {where}, which is not an event", "name an event's class")
        event: EventType = hint
        if not TYPE.fullmatch(event.type) or entity_of(event) in RESERVED_ENTITIES:
            raise self.error(
                f"names {event.__name__} in {where}, whose type is {event.type!r}",
                "write <entity>.<event>, two words of small letters, digits and underscores; the mesh itself uses the "
                f"entities {', '.join(RESERVED_ENTITIES)}",
            )
        if event.owner == self.service.name and not is_token(event, event.key_field):
            raise self.error(
                f"names {event.__name__} in {where}, whose key_field {event.key_field!r} is no field that is a Token",
                "let the key be a `Token`: it is a part of a subject, and one that is not could name other subjects",
            )
        return event

    def _arguments(self, names: Sequence[str]) -> tuple[type | None, tuple[str, ...]]:
        """The argument for each parameter after the first: the fold of the story, the dependencies, the snapshot or the
        delivery."""
        story, arguments = None, []
        for name in names:
            hint = self.hints[name]
            if hint is self.service.dependencies:
                arguments.append("dependencies")
            elif hint is Snapshot:
                arguments.append("snapshot")
            elif hint is Delivery:
                arguments.append("delivery")
            elif hasattr(hint, "evolve"):
                story = hint
                arguments.append("story")
            else:
                raise self.error(
                    f"has a parameter `{name}: {hint}` that the runtime can't fill",
                    "annotate it with the service's dependencies, with a fold (a class with `evolve`), with Delivery "
                    "or, in a reaction to many, with Snapshot",
                )
        return story, tuple(arguments)


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _element(hint: Any) -> Any:
    origin = get_origin(hint)
    return get_args(hint)[0] if isinstance(origin, type) and issubclass(origin, Sequence) else None


def _several(hint: Any) -> tuple[Any, ...]:
    """What a tuple or a list of events holds; empty for anything else."""
    return get_args(hint) if get_origin(hint) is tuple or _element(hint) is not None else ()


def _folded(story: type | None) -> tuple[EventType, ...]:
    """What a fold says that it folds: the annotation of its event; nothing where that can't be resolved."""
    try:
        hints = get_type_hints(story.evolve) if story and hasattr(story, "evolve") else {}
    except NameError:
        return ()
    members = [member for name, hint in hints.items() if name != "return" for member in _members(hint)]
    return tuple(member for member in members if isinstance(member, type) and hasattr(member, "read"))


def _names(events: Sequence[EventType]) -> str:
    return " or ".join(event.__name__ for event in events)
