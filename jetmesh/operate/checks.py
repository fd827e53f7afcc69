"""What must hold in any mesh: each check is a function that names the offences against it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from jetmesh.operate.books import Books, Fact
from jetmesh.operate.flow import is_over
from jetmesh.reaction import Reaction
from jetmesh.schedule import is_tick
from jetmesh.service import Service
from jetmesh.telemetry.otlp.traceparent import trace_id_of

AnyBooks = TypeVar("AnyBooks", bound=Books)
Offences = Iterator[str]
Check: TypeAlias = Callable[[AnyBooks], Offences]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check, in words, and the offences that it found."""

    check: str
    offences: Sequence[str] = field(default=())


def findings(checks: Sequence[Check[AnyBooks]], books: AnyBooks) -> list[CheckResult]:
    """What each check found, in reading order."""
    return [CheckResult((check.__doc__ or "").strip(), sorted(set(check(books)))) for check in checks]


def acknowledged_are_stored(books: Books) -> Offences:
    """every message that was acknowledged is stored, refused, delayed, or a dead letter"""
    for message in unanswered(books, answers_of(books.services)):
        yield f"{books.named(message)}: {message} led to nothing"


def answers_of(services: Sequence[Service]) -> dict[str, set[str]]:
    """What may come of each message from outside, by its type."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for reaction in _reactions(services):
        for event in filter(reaction.takes_from_outside, reaction.events):
            found[event.type] |= {outcome.type for outcome in reaction.outcomes}
    return found


def unanswered(books: Books, answers: Mapping[str, Set[str]]) -> Iterator[Fact]:
    """The messages from outside that led to none of these, and are nowhere else."""
    elsewhere = {letter.position for letter in [*books.letters, *books.discarded]}
    elsewhere |= {waiting.position for waiting in books.delayed}
    recorded = {(event.type, event.key) for event in books.events}
    for message in books.intake:
        key = books.named(message)
        wanted = {(answer, key) for answer in answers.get(message.type, ())}
        if message.position not in elsewhere and not wanted & recorded:
            yield message


def nothing_is_delayed(books: Books) -> Offences:
    """no delivery is delayed for a later attempt"""
    by_time = {f"{each.service}.{each.name}" for each in _reactions(books.services) if each.at}
    for waiting in (each for each in books.delayed if each.whose not in by_time):
        yield f"{waiting.stream} {waiting.sequence}: waits for {waiting.whose}"


def every_event_keeps_its_contract(books: Books) -> Offences:
    """every event keeps its contract"""
    for event in books.events:
        if event.wrong:
            yield f"{event}: {event.wrong}"


def every_story_is_over(books: Books) -> Offences:
    """every story is over: nothing more follows from its events"""
    if not all(service.endings for service in books.services if service.records):
        return  # no event is declared as its ending
    missing = lost(books)
    for key, story in books.stories.items():
        if not is_over(books.services, list(story.values())) and not missing[key]:
            yield f"{key}: something still has to follow from {', '.join(sorted(story))}"


def lost(books: Books) -> Mapping[str, frozenset[str]]:
    """The events, by key, that can't follow any more because the dead letter that they depend on was discarded."""
    found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    positions = {letter.position: consequences(books.services, letter.reaction) for letter in books.discarded}
    for message in [*books.intake, *books.events] if positions else ():
        if message.position in positions:
            found[message.key or books.named(message)] |= positions[message.position]
    return found


def consequences(services: Sequence[Service], reaction: str) -> frozenset[str]:
    """The types of what a reaction may record, and of all that others may record because of it."""
    reactions = _reactions(services)
    found = {event.type for each in reactions if f"{each.service}.{each.name}" == reaction for event in each.outcomes}
    before: set[str] = set()
    while found != before:
        before = set(found)
        found |= {event.type for each in reactions if not each.listens and before & {e.type for e in each.events}
                  for event in each.outcomes}  # fmt: skip
    return frozenset(found)


def each_event_once(books: Books) -> Offences:
    """every event was recorded once"""
    ids = Counter(event.id for event in books.events)
    subjects = Counter(event.subject for event in books.events if not is_state(books, event))
    yield from (f"{event}: its id {event.id} was recorded twice" for event in books.events if ids[event.id] > 1)
    yield from (f"{subject}: recorded {count} times" for subject, count in subjects.items() if count > 1)


def is_state(books: Books, event: Fact) -> bool:
    """Whether it is a state event, which may be recorded many times."""
    event_type = books.types.get(event.type)
    return event_type is not None and event_type.state


def one_trace_each(books: Books) -> Offences:
    """every story is one trace"""
    for key, story in books.stories.items():
        traces = {trace_id for event in story.values() if (trace_id := trace_id_of(event.traceparent))}
        if len(traces) > 1:
            yield f"{key}: its events are of {len(traces)} traces: {', '.join(sorted(traces))}"


def every_event_has_its_cause(books: Books) -> Offences:
    """every event has its cause among the messages"""
    yield from without_cause(books, set().union(*answers_of(books.services).values()))


def without_cause(books: Books, begins: Set[str]) -> Offences:
    """The events whose cause is nowhere, but for those of types that may begin a story, or whose cause may be in a
    foreign stream, which keeps it for as long as its owner likes."""
    known = books.edited | {message.id for message in books.intake} | {event.id for event in books.events}
    listened = {event.type for each in _reactions(books.services) if each.listens for event in each.outcomes}
    for event in books.events:
        may_begin = (event.type in begins and not event.causation_id) or event.type in listened
        if not may_begin and event.causation_id not in known and not is_tick(event.causation_id):
            yield f"{event}: its cause {event.causation_id or '(none)'} is nowhere"


def letters_have_a_source(books: Books) -> Offences:
    """every dead letter points to a message that is there"""
    sources = {(message.stream, message.sequence): message.subject for message in [*books.intake, *books.events]}
    foreign = {each.listens.stream for each in _reactions(books.services) if each.listens}
    for letter in (letter for letter in books.letters if letter.position[0] not in foreign):
        if is_tick(letter.source_subject):
            continue  # it stands for a time
        found = sources.get(letter.position)
        if found is None or letter.source_subject not in ("", found):  # a letter that was cut may not say its subject
            stream, sequence = letter.position
            yield f"{letter}: no {letter.source_subject} at {stream} {sequence}"


def _reactions(services: Sequence[Service]) -> list[Reaction]:
    return [reaction for service in services for reaction in service.reactions]


CHECKS: Sequence[Check[Books]] = (
    acknowledged_are_stored,
    nothing_is_delayed,
    every_event_keeps_its_contract,
    every_story_is_over,
    each_event_once,
    one_trace_each,
    every_event_has_its_cause,
    letters_have_a_source,
)
