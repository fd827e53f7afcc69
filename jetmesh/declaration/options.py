"""What may be wrong with the options of a reaction: each check yields what is wrong, and the fix."""

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from jetmesh import foreign
from jetmesh.declaration.annotations import names
from jetmesh.declaration.signature import Mistake
from jetmesh.event_model import is_aware, is_token
from jetmesh.failure import Retry
from jetmesh.forms import Form
from jetmesh.rate import Rate
from jetmesh.reaction import Pool, Reaction
from jetmesh.request_model import is_request
from jetmesh.schedule import problem_of
from jetmesh.since import FORMS, is_since

CONCURRENCY_MAX = 8_192
"""As many deliveries of a durable are in flight where no concurrency is declared."""


def unknown(decorator: str, known: Sequence[str], chosen: Iterable[str]) -> Iterator[Mistake]:
    """The decorator has these options."""
    for option in chosen:
        if option not in known:
            nearest = "".join(f"write {each!r}, or " for each in get_close_matches(option, known, 1))
            fix = f"{nearest}choose from {', '.join(sorted(known))}" if known else "it has none: leave it out"
            yield f"declares {option!r}, and `{decorator}` has no such option", fix


def kinds_of_values(_form: Form, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """A policy, and lists of what can be called or named."""
    if not isinstance(retry := options.get("retry", Retry()), Retry):
        yield f"declares retry={retry!r}", "write `retry=Retry(attempts=5)`, or leave `retry` out"
    yield from middlewares(options.get("middlewares", ()))
    if not isinstance(former := options.get("formerly", ()), Sequence):
        yield f"declares formerly={former!r}", "write the name that the function had before, or a list of all of them"


def middlewares(declared: Any) -> Iterator[Mistake]:
    """A list of functions."""
    if not isinstance(declared, Sequence) or not all(map(callable, declared)):
        yield f"declares middlewares={declared!r}", "write a list of functions, such as `middlewares=[timed]`"


def of_a_service(dependencies: Any, claims: Any, its_middlewares: Any, calls: Any) -> Iterator[Mistake]:
    """What a service is made with."""
    if dependencies is not None and not isinstance(dependencies, type):
        yield (
            f"declares dependencies={dependencies!r}",
            "name their class, such as `Orders`; its wiring makes the instance",
        )
    if claims is not None and not isinstance(claims, timedelta):
        yield f"declares claims={claims!r}", "write how long, such as `claims=timedelta(hours=24)`"
    yield from middlewares(its_middlewares)
    if not isinstance(calls, Sequence) or not all(map(is_request, calls)):
        yield (
            f"declares calls={calls!r}",
            "write a list of the classes of requests that it sends, such as `calls=[StockOf]`",
        )


def needs(service: str, dependencies: type | None, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """What it needs is a dependency of its service."""
    needed = options.get("needs")
    known = {dependencies, *get_type_hints(dependencies).values()} if dependencies else set()
    if needed is not None and needed not in known:
        yield (
            f"needs {needed!r}, which is no dependency of {service}",
            "name the type of a field of its dependencies, such as `needs=Gateway`",
        )


def pool(is_async: bool, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """A plain function runs in a pool that there is; one that awaits in none."""
    chosen = options.get("pool")
    if is_async and chosen is not None:
        yield f"declares pool={chosen!r} and is async", "write `def`: what awaits runs on the loop"
    if chosen not in (None, *get_args(Pool)):
        yield f"declares pool={chosen!r}", 'write "threads" or "processes"'


def start(_form: Form, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """Where it begins, and the names that it had."""
    since = options.get("since")
    if since is not None and not is_since(since):
        yield f"declares since={since!r}", f"write {FORMS}"
    former = options.get("formerly", ())
    for name in (former,) if isinstance(former, str) else former:
        if not (isinstance(name, str) and name.isidentifier()):
            yield f"declares formerly={name!r}", "write the name that the function had before"


def schedule(_form: Form, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """The times of the clock; they begin anew with each deployment."""
    declared = options.get("schedule")
    if declared is None:
        return
    if wrong := problem_of(declared.cron, declared.zone, declared.missed):
        yield wrong
    for name in ("since", "formerly"):
        if options.get(name):
            yield f"declares {name}={options[name]!r}, and a schedule begins anew", f"leave `{name}` out"


def concurrency(form: Form, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """A number, of a reaction that has deliveries of its own."""
    most = options.get("concurrency")
    if most is None:
        return
    if type(most) is not int or not 1 <= most <= CONCURRENCY_MAX:
        yield f"declares concurrency={reprlib.repr(most)}", f"write a whole number from 1 to {CONCURRENCY_MAX:,}"
    if form.is_joint or form.only_outside:
        what = "decides many deliveries at once" if form.is_joint else "shares its durable with other intakes"
        yield f"declares concurrency={most}, and {what}", "leave `concurrency` out"


def in_order(form: Form, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """A reaction that has a durable of its own, and whose deliveries come in the order of the stream."""
    chosen = options.get("in_order", False)
    if type(chosen) is not bool:
        yield f"declares in_order={reprlib.repr(chosen)}", "write True, or leave `in_order` out"
    if not chosen:
        return
    if what := _without_order(form):
        yield f"declares in_order=True, and {what}", "leave `in_order` out, or react with `on` to what is recorded"
    if options.get("concurrency") is not None:
        yield "declares in_order=True and a concurrency: one at a time is in order", "leave one of them out"


def urgent(form: Form, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """A reaction to one event at once, whose deliveries may overtake one another and are not counted."""
    if "urgent" not in options:
        return
    chosen = options["urgent"]
    types = chosen if isinstance(chosen, (tuple, list)) else (chosen,)
    if not types or not all(isinstance(each, type) for each in types):
        yield f"declares urgent={chosen!r}", "name the types of events that go first, such as `urgent=OrderCancelled`"
        return
    said = names(types)
    if what := _without_express(form):
        yield f"declares urgent={said}, and {what}", "leave `urgent` out, or react with `on` to what is recorded"
    for option, why in (("in_order", "keeps the order"), ("concurrency", "counts what one durable has in flight")):
        if options.get(option):
            yield f"declares urgent={said}, and {why} ({option}={options[option]!r})", "leave one of them out"


def _without_express(form: Form) -> str:
    """Why a form can have no second durable; empty if it can."""
    if form.is_foreign or form.is_delayed:
        return "takes one type of a foreign stream" if form.is_foreign else "waits for a time"
    return _without_order(form)


def _without_order(form: Form) -> str:
    """Why deliveries of a form can't be handled in the order of their stream; empty if they can."""
    if form.is_joint or form.only_outside:
        return "decides many deliveries at once" if form.is_joint else "shares its durable with other intakes"
    if form.is_timed:
        return "is due when its events say"
    return "is handed out by the clock" if form.is_scheduled else ""


def limit(_form: Form, options: Mapping[str, Any]) -> Iterator[Mistake]:
    """A rate, of numbers that can be kept."""
    declared = options.get("limit")
    if declared is None:
        return
    if not isinstance(declared, Rate):
        yield f"declares limit={declared!r}", "write `limit=Rate(100, per_seconds=60, burst=10)`"
    elif declared.problem:
        wrong, _, fix = declared.problem.partition(": ")
        yield f"declares a limit with {wrong}", fix


BY_THEMSELVES = (kinds_of_values, start, schedule, concurrency, in_order, urgent, limit)
"""The checks that look at nothing but the options and the form."""


def in_a_pool(reaction: Reaction) -> Iterator[Mistake]:
    """What it takes can be had where it runs."""
    if reaction.pool and "snapshot" in reaction.arguments:
        yield "takes a Snapshot, which is awaited, and is not async", "write `async def`"
    if reaction.pool and "blobs" in reaction.arguments:
        yield "takes Blobs, which are awaited, and is not async", "write `async def`"
    if reaction.pool == "processes" and "delivery" in reaction.arguments:
        yield "takes a Delivery, and runs in another process", 'write pool="threads"'
    if reaction.pool == "processes" and "dependencies" in reaction.arguments:
        yield (
            "takes the dependencies of this process, and runs in another one",
            'leave them out and compute from the event and the story alone, or write pool="threads"',
        )


def at(reaction: Reaction) -> Iterator[Mistake]:
    """The field of its event that says when is a time with a zone."""
    for event in reaction.events if reaction.form.is_timed else ():
        if not is_aware(event, reaction.at):
            yield (
                f"is due at {reaction.at!r}, which is no field of {event.__name__} that is a time with a zone",
                f"declare `{reaction.at}: AwareDatetime` there (pydantic), or name another field",
            )


def about(reaction: Reaction) -> Iterator[Mistake]:
    """The field that names another key can name one, and its form has a story to choose."""
    if reaction.about and reaction.form.is_joint:
        yield f"is about {reaction.about!r}", "read any story through the Snapshot of a reaction to many"
    if reaction.about and reaction.form.only_outside:
        yield f"is about {reaction.about!r}", "record what comes under its own key, and react to that"
    for event in reaction.arrives if reaction.about else ():
        if not is_token(event, reaction.about):
            yield (
                f"is about {reaction.about!r}, which is no field of {event.__name__} that is a Token",
                "name a field that can be a key: a part of a subject",
            )


def listens(reaction: Reaction) -> Iterator[Mistake]:
    """It makes one event of its service's own of a foreign message."""
    if reaction.listens is None:
        return
    event = reaction.events[0]
    if len(reaction.events) > 1:
        yield f"listens for {names(reaction.events)}", "listen for each with a reaction of its own"
    if event.owner != reaction.service:
        yield (
            f"listens for {event.__name__}, which {event.owner} owns",
            f"decode into an event that {reaction.service} owns",
        )
    yield from foreign.problems(reaction.listens, event)


def delivery(reaction: Reaction) -> Iterator[Mistake]:
    """One delivery is there where one event is."""
    if reaction.form.is_joint or reaction.form.keeps_all:
        yield from of_one_delivery(reaction.arguments, "and many arrive at once", "leave it out, or react to one event")


def of_one_delivery(arguments: Iterable[str], why: str, fix: str) -> Iterator[Mistake]:
    """The arguments that belong to one delivery, where there is none."""
    for name, what in (("delivery", "a Delivery"), ("blobs", "Blobs")):
        if name in arguments:
            yield f"takes {what}, {why}", fix


def since(reaction: Reaction) -> Iterator[Mistake]:
    """What it reads again is kept."""
    if reaction.since is not None and all(map(reaction.takes_from_outside, reaction.events)):
        yield (
            f"declares since={reaction.since!r}, and takes what comes from outside, which no reaction reads again",
            "leave `since` out",
        )


def urgent_types(reaction: Reaction) -> Iterator[Mistake]:
    """They are some of the types that it takes, and what it records tells that it has handled one of them: whatever the
    express durable delivers comes once more by the ordinary one if that durable is taken away."""
    chosen = reaction.urgent
    if not chosen:
        return
    if strange := [each for each in chosen if each not in reaction.events]:
        yield (
            f"declares urgent={names(strange)}, and takes {names(reaction.events)}",
            "name types that it takes",
        )
    elif set(chosen) == set(reaction.events):
        yield (
            f"declares urgent={names(chosen)}, which is all that it takes",
            "leave `urgent` out: they have nothing to overtake",
        )
    if not reaction.outcomes or (reaction.is_optional and reaction.story is None):
        yield (
            f"declares urgent={names(chosen)}, and may record nothing, so that nothing tells whether it was done",
            "return an event for each, or decide by the story (`story: Fold`)",
        )


OF_A_REACTION = (in_a_pool, at, about, listens, delivery, since, urgent_types)
"""The checks that look at what the signature names, too."""
