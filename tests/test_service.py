"""A service is declared by its signatures; what is wrong with one is said at start, with the function and the fix."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from jetmesh import Blobs, DeclarationError, Delivery, EventModel, Recorded, Service, Snapshot, Tick, Token
from jetmesh.app import AppError, load, named
from jetmesh.forms import AFTER, MANY, ON, SINK
from tests.support.chat import MessageSent, Room, RoomOpened, SenderSeen, Tallied, Tally, chat
from tests.support.jobs import APP, Asked, Dropped, Failed, Finished, Level, Work, work
from tests.support.tollgate import Bank, Gate


@dataclass(frozen=True)
class Needs:
    """What a service needs."""


async def unannotated(asked) -> Finished: ...  # type: ignore[no-untyped-def,empty-body]
async def without_return(asked: Asked): ...  # type: ignore[no-untyped-def]
async def without_event() -> Finished: ...  # type: ignore[empty-body]
async def takes_text(asked: str) -> Finished: ...  # type: ignore[empty-body]
async def returns_text(asked: Asked) -> str: ...  # type: ignore[empty-body]
async def returns_foreign(asked: Asked) -> Dropped: ...  # type: ignore[empty-body]
async def unfilled(asked: Asked, size: int) -> Finished: ...  # type: ignore[empty-body]
async def foreign_needs(asked: Asked, needs: Needs) -> Finished: ...  # type: ignore[empty-body]
async def unresolved(asked: "Nowhere") -> Finished: ...  # type: ignore[name-defined,empty-body] # noqa: F821


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (unannotated, "work.unannotated does not annotate parameter `asked`; annotate"),
        (without_return, "work.without_return does not annotate its return type; annotate"),
        (without_event, "work.without_event takes no event; let its first parameter be the event"),
        (
            takes_text,
            "work.takes_text names <class 'str'> in parameter `asked`, which is not an event; name",
        ),
        (returns_text, "work.returns_text names <class 'str'> in its return type, which is not an event"),
        (returns_foreign, "work.returns_foreign returns Dropped, which jobs owns; return an event that work owns"),
        (unfilled, "work.unfilled has a parameter `size: <class 'int'>` that the runtime can't fill; annotate it with"),
        (foreign_needs, "work.foreign_needs has a parameter `needs:"),
        (
            unresolved,
            "work.unresolved has an annotation that can't be resolved (name 'Nowhere' is not defined); import",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_signature_names_function_type_and_fix(function: Callable[..., Awaitable[Any]], words: str) -> None:
    with pytest.raises(DeclarationError) as error:
        work().on(function)
    assert words in str(error.value)


class LooseKey(EventModel, type="work.keyed", owner="work", key_field="job_id"):
    """An event whose key may be `*`, or have dots in it."""

    job_id: str


class NoKey(EventModel, type="work.keyless", owner="work", key_field="job_id"):
    """An event whose key is no field."""


class ThreeWords(EventModel, type="work.job.done", owner="work", key_field="job_id"):
    """An event whose type is no entity and event."""

    job_id: Token


class OfTheMesh(EventModel, type="timers.made", owner="work", key_field="job_id"):
    """An event on a subject that the mesh uses itself."""

    job_id: Token


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (LooseKey, "names LooseKey in its return type, whose key_field 'job_id' is no field that is a Token; let the"),
        (NoKey, "names NoKey in its return type, whose key_field 'job_id' is no field that is a Token; let the"),
        (ThreeWords, "names ThreeWords in its return type, whose type is 'work.job.done'; write <entity>.<event>"),
        (OfTheMesh, "whose type is 'timers.made'; write <entity>.<event>, two words of small letters"),
    ],
    ids=["loose-key", "no-key", "three-words", "of-the-mesh"],
)
def test_an_event_that_no_subject_can_carry_is_refused(event: type[EventModel], words: str) -> None:
    async def do(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    do.__annotations__["return"] = event
    with pytest.raises(DeclarationError) as error:
        work().on(do)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", "Work", "ü", "-", "x" * 65])
def test_a_name_that_no_stream_can_have_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="a name begins with a small letter"):
        Service(name)


def test_two_reactions_of_one_name_are_refused() -> None:
    service = work()

    async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    service.on(finish)
    with pytest.raises(DeclarationError, match=r"work.finish: a reaction of this name is declared already"):
        service.begins(finish)


ZONELESS = datetime(2026, 1, 1)  # noqa: DTZ001
STARTS: dict[str, tuple[dict[str, Any], str]] = {
    "yesterday": ({"since": "yesterday"}, 'declares since=\'yesterday\'; write "now", "beginning" or a time'),
    "a time without a zone": ({"since": ZONELESS}, "declares since=datetime.datetime(2026"),
    "a time to come": ({"since": datetime.max.replace(tzinfo=UTC)}, "declares since=datetime.datetime(9999"),
    "no name": ({"formerly": "old name"}, "declares formerly='old name'; write the name that the function had before"),
    "its own name": ({"formerly": "finish"}, "declares formerly='finish', its own name; write the one before"),
}


@pytest.mark.parametrize("wrong", STARTS)
def test_a_wrong_start_names_function_value_and_fix(wrong: str) -> None:
    async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    options, words = STARTS[wrong]
    with pytest.raises(DeclarationError) as error:
        work().on(**options)(finish)
    assert f"work.finish {words}" in str(error.value)


@pytest.mark.parametrize("most", [0, -1, 1.5, True, 8_193, 10**30])
def test_a_wrong_concurrency_names_function_and_fix(most: Any) -> None:
    async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]
    async def finish_all(asked: Sequence[Asked]) -> list[Finished]: ...  # type: ignore[empty-body]

    with pytest.raises(
        DeclarationError, match=r"work.finish declares concurrency=.{1,40}; write a whole number from 1 to 8,192"
    ):
        work().on(concurrency=most)(finish)
    with pytest.raises(DeclarationError, match=r"work.finish_all declares concurrency=3, and decides many deliveries"):
        work().on_many(concurrency=3)(finish_all)


async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]
async def keep(events: Sequence[Recorded]) -> None: ...


async def read_many(asked: Sequence[Asked], blobs: Blobs) -> list[Finished]: ...  # type: ignore[empty-body]
def read_plainly(asked: Asked, blobs: Blobs) -> Finished: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: work().on_many(read_many), "work.read_many takes Blobs, and many arrive at once; leave it out, or"),
        (lambda: work().on(read_plainly), "work.read_plainly takes Blobs, which are awaited, and is not async; write"),
    ],
    ids=["many", "plain"],
)
def test_blobs_are_for_one_delivery_on_the_loop(declare: Callable[[], Any], words: str) -> None:
    with pytest.raises(DeclarationError) as error:
        declare()
    assert words in str(error.value)


OPTIONS: dict[str, tuple[Callable[[Service], Any], str]] = {
    "misspelt": (
        lambda service: service.on(retries=3)(finish),  # type: ignore[call-overload]
        "work.finish declares 'retries', and `on` has no such option; write 'retry', or choose from about, concurrency",
    ),
    "of another form": (
        lambda service: service.on(missed="all")(finish),  # type: ignore[call-overload]
        "work.finish declares 'missed', and `on` has no such option; choose from about, concurrency",
    ),
    "of a reaction's inside": (
        lambda service: service.begins(at="due")(finish),  # type: ignore[call-overload]
        "work.finish declares 'at', and `begins` has no such option; choose from",
    ),
    "of a deadline": (
        lambda service: service.after(minuts=3)(finish),  # type: ignore[call-arg]
        "work.finish declares 'minuts', and `after` has no such option; write 'minutes', or choose from about",
    ),
    "of a sink": (
        lambda service: service.sink(retry=3)(keep),  # type: ignore[call-overload]
        "work.keep declares 'retry', and `sink` has no such option; choose from limit.",
    ),
    "of an endpoint": (
        lambda service: service.endpoint(timeout=3)(finish),  # type: ignore[call-overload]
        "work.finish declares 'timeout', and `endpoint` has no such option; it has none: leave it out.",
    ),
}


@pytest.mark.parametrize("wrong", OPTIONS)
def test_an_unknown_option_names_function_option_and_those_that_there_are(wrong: str) -> None:
    declare, words = OPTIONS[wrong]
    with pytest.raises(DeclarationError) as error:
        declare(work())
    assert words in str(error.value)


USES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an endpoint of no function": (
        lambda service: service.endpoint("x"),
        "work.'x' is no function; write the decorator",
    ),
    "a reaction of a subject": (
        lambda service: service.on("jobs.asked"),
        "work.'jobs.asked' is no function; write the",
    ),
    "a reaction of a class": (lambda service: service.begins(Asked), "work.Asked is no function; write the decorator"),
    "at, bare": (
        lambda service: service.at(finish),
        'work.finish: its decorator `at` has no arguments; write `@work.at("remind_at")`.',
    ),
    "every, bare": (
        lambda service: service.every(finish),
        "work.finish: its decorator `every` has no arguments; write",
    ),
    "after, bare": (
        lambda service: service.after(finish),
        "work.finish: its decorator `after` has no arguments; write",
    ),
    "after, positional": (
        lambda service: service.after(5)(finish),
        "work.finish: its decorator `after` does not take these arguments (after() takes 1 positional argument but 2 ",
    ),
    "after, text": (
        lambda service: service.after(minutes="5")(finish),
        "component: str); write `@work.after(minutes=15)`",
    ),
    "at, nothing": (
        lambda service: service.at()(finish),
        "(at() missing 1 required positional argument: 'field'); write",
    ),
    "listen, no stream": (
        lambda service: service.listen("a.b")(finish),
        "work.finish: its decorator `listen` does not take these arguments (listen() missing 1 required keyword-only",
    ),
    "retry": (lambda service: service.on(retry=3)(finish), "work.finish declares retry=3; write `retry=Retry("),
    "middlewares": (
        lambda service: service.on(middlewares=5)(finish),
        "work.finish declares middlewares=5; write a list",
    ),
    "formerly": (lambda service: service.on(formerly=5)(finish), "work.finish declares formerly=5; write the name"),
}


@pytest.mark.parametrize("wrong", USES)
def test_a_decorator_that_is_used_wrongly_names_the_function_and_the_fix(wrong: str) -> None:
    declare, words = USES[wrong]
    with pytest.raises(DeclarationError) as error:
        declare(work())
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"calls": [5]}, "Service('work') declares calls=[5]; write a list of the classes of requests"),
        ({"calls": Asked}, "declares calls=<class 'tests.support.jobs.Asked'>; write a list"),
        ({"middlewares": 5}, "Service('work') declares middlewares=5; write a list of functions"),
        ({"claims": 5}, "Service('work') declares claims=5; write how long, such as `claims=timedelta(hours=24)`"),
        ({"dependencies": "Orders"}, "Service('work') declares dependencies='Orders'; name their class"),
    ],
    ids=str,
)
def test_a_service_is_made_with_what_it_takes(given: Any, words: str) -> None:
    with pytest.raises(DeclarationError) as error:
        Service("work", **given)
    assert words in str(error.value)


def test_one_former_name_goes_on_as_one_reaction() -> None:
    service = work()

    async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]
    async def end(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    service.on(finish)
    with pytest.raises(DeclarationError, match=r"work.end: both end and finish claim the name finish"):
        service.on(formerly="finish")(end)
    other = work()
    other.on(formerly="finish")(end)
    with pytest.raises(DeclarationError, match=r"work.finish: both end and finish claim the name finish"):
        other.on(finish)


def test_an_intake_begins_nowhere() -> None:
    async def take(asked: Asked) -> Asked: ...  # type: ignore[empty-body]

    with pytest.raises(DeclarationError, match=r"jobs.take declares since='now', and takes what comes from outside"):
        Service("jobs").intake(since="now")(take)


def test_an_intake_takes_what_its_own_service_declares_to_come_from_outside() -> None:
    async def take(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    with pytest.raises(DeclarationError, match=r"work.take is an intake of Asked; take an event of work's own"):
        work().intake(take)


def test_a_reaction_to_many_takes_a_sequence_and_returns_a_list() -> None:
    async def one(asked: Asked) -> list[Finished]: ...  # type: ignore[empty-body]
    async def single(asked: Sequence[Asked]) -> Finished: ...  # type: ignore[empty-body]

    with pytest.raises(DeclarationError, match=r"work.one takes .*; a reaction to many takes a Sequence of events"):
        work().on_many(one)
    with pytest.raises(DeclarationError, match=r"work.single returns .*; a reaction to many returns a list"):
        work().on_many(single)


def test_a_sink_takes_what_was_recorded() -> None:
    async def keep(events: Sequence[Asked]) -> None: ...

    with pytest.raises(DeclarationError, match=r"work.keep takes .*; a sink takes `Sequence\[Recorded\]`"):
        work().sink(keep)


def test_a_signature_is_the_wiring() -> None:
    service = Service("work", Needs)

    @service.on
    async def finish(asked: Asked | Dropped, needs: Needs, story: Work) -> Finished | Failed | None:
        """Somebody wants a job done: do it."""

    @service.after(minutes=1)
    async def late(finished: Finished) -> None: ...

    @service.on_many
    async def all_of(asked: Sequence[Asked], snapshot: Snapshot) -> list[Finished]: ...  # type: ignore[empty-body]

    @service.sink
    async def keep(events: Sequence[Recorded], needs: Needs) -> None: ...

    first = service.reactions[0]
    assert (first.events, first.outcomes) == ((Asked, Dropped), (Finished, Failed))
    assert (first.arguments, first.story, first.durable) == (("dependencies", "story"), Work, "work-finish")
    assert first.meaning == "Somebody wants a job done: do it."
    assert [reaction.form for reaction in service.reactions] == [ON, AFTER, MANY, SINK]
    assert service.records == (Finished, Failed)


def test_a_decorator_leaves_the_function_as_it_is() -> None:
    async def finish(asked: Asked) -> Finished: ...  # type: ignore[empty-body]

    assert work().on(finish) is finish
    assert Service("work", Bank).begins(needs=Bank)(finish) is finish


def test_what_a_reaction_needs_is_a_dependency_of_its_service_and_named_after_its_type() -> None:
    async def finish(asked: Asked) -> Finished:
        """Finish."""
        return Finished(job_id=asked.job_id)

    service = Service("work", Gate)
    service.begins(needs=Bank)(finish)
    assert [reaction.needed for reaction in service.reactions] == ["bank"]
    for wrong in (str, "bank"):
        with pytest.raises(DeclarationError, match="which is no dependency of work; name the type of a field"):
            Service("work", Gate).begins(needs=wrong)(finish)  # type: ignore[arg-type]


def test_an_app_is_found_by_name_or_the_error_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    services = load(APP)
    assert named(services, ["work"])[0].name == "work"
    with pytest.raises(AppError, match="no service 'bank'; there are jobs, work"):
        named(services, ["bank"])
    for wrong in ("tests.support.jobs", "tests.support.no:S", "tests.support.jobs:NO", "jetmesh.event:subject_of"):
        with pytest.raises(AppError, match="app"):
            load(wrong)


TWICE = (work(), work())


def test_two_services_of_one_name_are_refused() -> None:
    with pytest.raises(DeclarationError, match="two services are named work; rename one"):
        load(f"{__name__}:TWICE")


def test_services_that_would_share_a_stream_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for names, stream in (
        (("job-runner", "job_runner"), "JOB_RUNNER"),
        (("jobs", "jobs-timers"), "JOBS_TIMERS"),
        (("jobs-claims", "jobs"), "JOBS_CLAIMS"),
        (("intake",), "INTAKE"),
        (("dead-letters",), "DEAD_LETTERS"),
    ):
        monkeypatch.setattr(f"{__name__}.TWICE", [Service(name) for name in names])
        with pytest.raises(DeclarationError, match=f"would share the stream {stream}; rename the service"):
            load(f"{__name__}:TWICE")


def test_a_service_without_reactions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.TWICE", (Service("idle"),))
    with pytest.raises(DeclarationError, match=r"service idle has no reaction: declare one .* with @idle\.on, or take"):
        load(f"{__name__}:TWICE")


@dataclass(frozen=True)
class Messages:
    """A fold that can't be: a story has no occurrences."""

    def evolve(self, event: RoomOpened | MessageSent) -> "Messages":
        """The same."""
        return self


async def begins_often(asked: Asked) -> MessageSent: ...  # type: ignore[empty-body]
async def folds_messages(asked: Asked, messages: Messages) -> RoomOpened: ...  # type: ignore[empty-body]
async def counts(message: MessageSent, room: Room) -> Tally: ...  # type: ignore[empty-body]
async def may_count(message: MessageSent, room: Room) -> tuple[Tallied, Tally] | Tally: ...  # type: ignore[empty-body]
async def mixes(message: MessageSent, room: Room) -> tuple[Tallied, Tally, Level]: ...  # type: ignore[empty-body]
async def opens(message: MessageSent) -> RoomOpened: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (
            lambda chat: chat.begins(begins_often),
            "chat.begins_often begins a story with MessageSent, which happens many times; declare it with",
        ),
        (
            lambda chat: chat.on(folds_messages),
            "chat.folds_messages decides by a fold of MessageSent, and a story has no occurrences; count",
        ),
        (
            lambda chat: chat.on(counts),
            "chat.counts returns the state Tally alone: a delivery that comes again would change it again; "
            "return `tuple[…, Tally]` with an occurrence or a milestone",
        ),
        (lambda chat: chat.on(may_count), "chat.may_count returns the state Tally alone"),
        (
            lambda chat: chat.on(about="text")(opens),
            "chat.opens is about 'text', which is no field of MessageSent that is a Token; name a field that can be a",
        ),
        (lambda chat: chat.on(about="nobody")(opens), "chat.opens is about 'nobody', which is no field of MessageSent"),
        (
            lambda chat: chat.intake(about="sender_id")(opens),
            "chat.opens is about 'sender_id'; record what comes under its own key, and react to that",
        ),
    ],
    ids=["begins", "fold", "state", "state-or-both", "no-token", "no-field", "intake"],
)
def test_what_its_kinds_of_events_can_not_keep_is_refused(declare: Callable[[Service], Any], words: str) -> None:
    with pytest.raises(DeclarationError) as error:
        declare(Service("chat"))
    assert words in str(error.value)


def test_many_deliveries_make_no_id() -> None:
    async def tally(messages: Sequence[MessageSent], snapshot: Snapshot) -> list[Tallied]: ...  # type: ignore[empty-body]

    with pytest.raises(DeclarationError, match=r"chat.tally returns Tallied, whose id is made of its cause, and takes"):
        Service("chat").on_many(tally)


def test_many_deliveries_are_no_delivery() -> None:
    async def tally(messages: Sequence[MessageSent], delivery: Delivery) -> list[MessageSent]: ...  # type: ignore[empty-body]

    with pytest.raises(DeclarationError, match=r"chat.tally takes a Delivery, and many arrive at once; leave it out"):
        Service("chat").on_many(tally)


def test_a_state_is_read_in_the_story_that_guards_it() -> None:
    with pytest.raises(DeclarationError, match=r"chat.mixes returns Level, which work owns"):
        Service("chat").on(mixes)


def test_a_reaction_may_record_several_events() -> None:
    service = chat()
    send, count, notice = service.reactions
    assert (send.is_several, send.is_plain) == (False, False)
    assert (count.is_several, count.outcomes, count.entity) == (True, (Tallied, Tally), "chat")
    assert (notice.is_plain, notice.about) == (True, "sender_id")
    assert service.records == (MessageSent, Tallied, Tally, SenderSeen)


async def _tick(tick: Tick) -> Finished | None: ...


async def _no_tick(asked: Asked) -> Finished | None: ...


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (
            lambda work: work.every("0 25 * * *")(_tick),
            "work._tick declares every('0 25 * * *'), which is no cron expression (Bad hour); write minute, hour, day",
        ),
        (
            lambda work: work.every("@daily")(_tick),
            "work._tick declares every('@daily'), which is no cron expression (Wrong number of fields); write minute",
        ),
        (
            lambda work: work.every("0 9 * * *", zone="Europe/Berln")(_tick),
            "work._tick declares zone='Europe/Berln', which is no time zone; write an IANA name, such as",
        ),
        (
            lambda work: work.every("0 9 * * *", missed="often")(_tick),
            'work._tick declares missed=\'often\'; write "once", "all" or "skip"',
        ),
        (
            lambda work: work.every("0 9 * * *", since="now")(_tick),
            "work._tick declares since='now', and a schedule begins anew; leave `since` out",
        ),
        (lambda work: work.every("0 9 * * *", about="hour")(_tick), "work._tick is about 'hour', which is no field of"),
        (lambda work: work.every("0 9 * * *")(_no_tick), "a reaction to the clock takes a `jetmesh.Tick`"),
        (lambda work: work.on(_tick), "work._tick takes a Tick; declare when it is due: `@work.every(…)`"),
    ],
    ids=["hour", "fields", "zone", "missed", "since", "about", "no-tick", "no-schedule"],
)
def test_a_wrong_schedule_is_refused(declare: Callable[[Service], Any], words: str) -> None:
    with pytest.raises(DeclarationError) as error:
        declare(Service("work"))
    assert words in str(error.value)
