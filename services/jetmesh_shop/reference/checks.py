"""What must hold in the books: each check is one function that names what offends against it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote

from jetmesh.telemetry.otlp.traceparent import trace_id_of
from jetmesh_contracts import (
    CancellationSent,
    ConfirmationSent,
    GoodsRejected,
    GoodsReleased,
    GoodsReserved,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentDeclined,
    PaymentVoided,
    ReceiptSent,
    StockLevel,
    StockRestocked,
)
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.reference.facts import PLACED, REFUSED, Fact, Facts, total

CONFIRMED, CANCELLED, REQUESTED = OrderConfirmed.type, OrderCancelled.type, OrderCancellationRequested.type
CAPTURED, VOIDED, DECLINED = PaymentCaptured.type, PaymentVoided.type, PaymentDeclined.type
CAPTURE_FAILED, AUTHORIZED = PaymentCaptureFailed.type, PaymentAuthorized.type
RESERVED, REJECTED, RELEASED = GoodsReserved.type, GoodsRejected.type, GoodsReleased.type
RESTOCKED, LEVEL = StockRestocked.type, StockLevel.type
LETTERS = ConfirmationSent.type, CancellationSent.type, ReceiptSent.type

Story: TypeAlias = Mapping[str, Fact]
Offences: TypeAlias = Iterator[str]
Check: TypeAlias = Callable[[Facts], Offences]


@dataclass(frozen=True, slots=True)
class Finding:
    """A check, in words, and the offences that it found."""

    check: str
    offences: Sequence[str] = field(default=())


def findings(facts: Facts, *, crashed: bool = False) -> list[Finding]:
    """All checks, in reading order. Where services have `crashed` between SMTP and recording, a mail may have gone out
    again under its own Message-ID, which mail clients show once: no offence then (`sent_again` has them)."""
    checks = [check for check in CHECKS if not (crashed and check is no_mail_twice)]
    return [Finding((check.__doc__ or "").strip(), sorted(set(check(facts)))) for check in checks]


def outcome(story: Story) -> str:
    """How an order ended: confirmed, cancelled or refused; pending where it has not."""
    if REFUSED in story:
        return "refused"
    if CANCELLED in story:
        return "cancelled"
    return "confirmed" if CONFIRMED in story else "pending"


ANSWERS: Mapping[str, set[str]] = {
    PLACED: {PLACED, REFUSED},
    REQUESTED: {REQUESTED, CANCELLED, REFUSED},
    RESTOCKED: {RESTOCKED},
}
"""What may come of a message from outside."""


def acknowledged_are_stored(facts: Facts) -> Offences:
    """every message that was acknowledged is stored, refused, set aside, or a dead letter"""
    elsewhere = {letter.place for letter in [*facts.letters, *facts.discarded]}
    elsewhere |= {waiting.place for waiting in facts.aside}
    recorded = {(event.type, event.key) for event in facts.events}
    for message in facts.intake:
        answers = {(answer, message.named) for answer in ANSWERS.get(message.type, ())}
        if message.place not in elsewhere and not answers & recorded and not _came_too_late(facts, message):
            yield f"{message.named}: {message} led to nothing"


def _came_too_late(facts: Facts, message: Fact) -> bool:
    """Whether it asks for an order back of which nothing but the ending was left."""
    placed = facts.stories.get(message.named, {}).get(PLACED)
    return message.type == REQUESTED and placed is not None and placed.place in facts.gone


def nothing_is_set_aside(facts: Facts) -> Offences:
    """nothing is set aside for a later attempt"""
    for waiting in facts.aside:
        yield f"{waiting.stream} {waiting.sequence}: waits for {waiting.whose}"


def every_event_keeps_its_contract(facts: Facts) -> Offences:
    """every event keeps its contract"""
    for event in facts.events:
        if event.wrong:
            yield f"{event}: {event.wrong}"


def let_go(facts: Facts) -> Mapping[str, frozenset[str]]:
    """What will not happen any more, by key, since somebody discarded the letter that it depended on."""
    found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    lost = {letter.place: consequences(letter.reaction) for letter in facts.discarded}
    for message in [*facts.intake, *facts.events] if lost else ():
        if message.place in lost:
            found[message.key or message.named] |= lost[message.place]
    return found


@lru_cache
def consequences(reaction: str) -> frozenset[str]:
    """The types of what a reaction may record, and of all that others may record because of it."""
    reactions = [each for service in SERVICES for each in service.reactions]
    found = {event.type for each in reactions if f"{each.service}.{each.name}" == reaction for event in each.outcomes}
    before: set[str] = set()
    while found != before:
        before = set(found)
        found |= {event.type for each in reactions if before & {cause.type for cause in each.events}
                  for event in each.outcomes}  # fmt: skip
    return frozenset(found)


def one_end_each(facts: Facts) -> Offences:
    """every order has exactly one end"""
    yield from no_two_ends(facts)
    missing = let_go(facts)
    for key, story in facts.stories.items():
        is_open = PLACED in story and outcome(story) == "pending"
        if is_open and not {CONFIRMED, CANCELLED} & missing[key]:
            yield f"{key}: has not ended"


def no_two_ends(facts: Facts) -> Offences:
    """no order has two ends"""
    for key, story in facts.stories.items():
        if {PLACED, REFUSED} <= story.keys():
            yield f"{key}: was placed and refused"
        elif {CONFIRMED, CANCELLED} <= story.keys() and CAPTURE_FAILED not in story:
            yield f"{key}: was confirmed and cancelled, though its money could be taken"


def ends_have_their_effects(facts: Facts) -> Offences:
    """every end has its effects: on the money, on the goods, and a mail"""
    missing = let_go(facts)
    for key, story in facts.stories.items():
        for alternatives in EFFECTS[outcome(story)]:
            if not alternatives & (story.keys() | missing[key]):
                yield f"{key}: is {outcome(story)}, but there is no {' or '.join(sorted(alternatives))}"
        if outcome(story) == "cancelled" and CAPTURED in story:
            yield f"{key}: is cancelled, and its money is taken"


def promises_are_secured(facts: Facts) -> Offences:
    """every promised order has its money held and its goods reserved"""
    for key, story in facts.stories.items():
        for needed in {AUTHORIZED, RESERVED} - story.keys():
            if CONFIRMED in story:
                yield f"{key}: is confirmed, but there is no {needed}"


EFFECTS: Mapping[str, Sequence[set[str]]] = {
    "confirmed": ({CAPTURED}, {AUTHORIZED}, {RESERVED}, {LETTERS[0]}, {LETTERS[2]}),
    "cancelled": ({VOIDED, DECLINED}, {RELEASED, REJECTED}, {LETTERS[1]}),
    "refused": ({LETTERS[1]},),
    "pending": (),
}


def each_event_once(facts: Facts) -> Offences:
    """every event was recorded once"""
    ids = Counter(event.id for event in facts.events)
    subjects = Counter(event.subject for event in facts.events if event.type != LEVEL)
    yield from (f"{event}: its id {event.id} was recorded twice" for event in facts.events if ids[event.id] > 1)
    yield from (f"{subject}: recorded {count} times" for subject, count in subjects.items() if count > 1)


def one_trace_each(facts: Facts) -> Offences:
    """every order is one trace"""
    for key, story in facts.stories.items():
        traces = {trace_id for event in story.values() if (trace_id := trace_id_of(event.traceparent))}
        if len(traces) > 1:
            yield f"{key}: its events are of {len(traces)} traces: {', '.join(sorted(traces))}"


def every_event_has_its_cause(facts: Facts) -> Offences:
    """every event has its cause among the messages"""
    known = {message.id for message in facts.intake} | {event.id for event in facts.events}
    for event in facts.events:
        begins = event.type in (PLACED, REFUSED) and not event.causation_id
        if not begins and event.causation_id not in known:
            yield f"{event}: its cause {event.causation_id or '(none)'} is nowhere"


def nothing_for_unknown_orders(facts: Facts) -> Offences:
    """nothing was done for an order that nobody placed"""
    for key, story in facts.stories.items():
        if not {PLACED, REFUSED} & story.keys():
            yield f"{key}: has {', '.join(sorted(story))}, but was never placed"
        elif REFUSED in story and (extra := story.keys() - {REFUSED, *LETTERS}):
            yield f"{key}: was refused, but has {', '.join(sorted(extra))}"
    for balance in facts.balances or ():
        if PLACED not in facts.stories.get(balance.key, {}):
            yield f"{balance.key}: the bank moved money, but it was never placed"
    for message_id in facts.mails or ():
        if addressee(message_id) not in facts.stories:
            yield f"{addressee(message_id)}: a mail {message_id} went out, but it was never placed"


def addressee(message_id: str) -> str:
    """The order that a mail is about: its Message-ID is `<kind.order@host>`."""
    return unquote(message_id.partition(".")[2].rpartition("@")[0])


def charged_once(facts: Facts) -> Offences:
    """no card was held or charged twice"""
    for balance in facts.balances or ():
        if balance.holds > 1 or balance.captures > 1:
            yield f"{balance.key}: held {balance.holds} times, charged {balance.captures} times"


def money_balances(facts: Facts) -> Offences:
    """money held = taken + let go, for every order that has ended"""
    missing = let_go(facts)
    for balance in facts.balances or ():
        if {CAPTURED, VOIDED} & missing[balance.key] and balance.open_minor > 0:
            continue
        ended = outcome(facts.stories.get(balance.key, {})) != "pending"
        if balance.open_minor < 0 or (ended and balance.open_minor):
            yield f"{balance.key}: {balance.open_minor} of {balance.held_minor} held are neither taken nor let go"


def ledger_agrees(facts: Facts) -> Offences:
    """the bank's ledger and payments' events agree, amount by amount"""
    if facts.balances is None:
        return
    held = {balance.key: balance.held_minor for balance in facts.balances if balance.holds}
    taken = {balance.key: balance.captured_minor for balance in facts.balances if balance.captures}
    told = {event.key: event.body["amount_minor"] for event in facts.of_type(CAPTURED)}
    yield from (f"{key}: the bank took {taken[key]}, payments.captured says {told.get(key)}"
                for key in taken if taken[key] != told.get(key))  # fmt: skip
    yield from (f"{key}: payments.captured, but the bank took nothing" for key in told.keys() - taken.keys())
    for event in facts.of_type(AUTHORIZED):
        if event.body["amount_minor"] != held.get(event.key):
            yield f"{event.key}: payments.authorized, but the bank held {held.get(event.key)}"


def charged_what_was_ordered(facts: Facts) -> Offences:
    """what was charged is what was ordered"""
    for event in facts.of_type(CAPTURED):
        placed = facts.stories[event.key].get(PLACED)
        if placed and event.body["amount_minor"] != price(placed):
            yield f"{event.key}: ordered for {price(placed)}, charged {event.body['amount_minor']}"


def price(placed: Fact) -> int:
    """What an order costs, from its lines."""
    return sum(line["quantity"] * line["unit_price_minor"] for line in placed.body["lines"])


def never_below_zero(facts: Facts) -> Offences:
    """no stock was ever below zero, nothing was sold that was not there"""
    for event in facts.of_type(LEVEL):
        if event.body["available"] < 0:
            yield f"{event.key}: {event} says {event.body['available']}"
    for sku, shelf in shelves(facts).items():
        if shelf.oversold:
            yield f"{sku}: {shelf.out} pieces went out of {shelf.restocked} that came in"


def stock_balances(facts: Facts) -> Offences:
    """stock: restocked − on the shelf = reserved − released, for every article"""
    for sku, shelf in shelves(facts).items():
        if shelf.restocked - shelf.level != shelf.out:
            yield f"{sku}: restocked {shelf.restocked}, on the shelf {shelf.level}, but {shelf.out} went out"


def goods_follow_the_end(facts: Facts) -> Offences:
    """goods of a confirmed order are sold, goods of a cancelled one are back"""
    for key, story in facts.stories.items():
        reserved, released = goods(story, RESERVED), goods(story, RELEASED)
        if RESERVED in story and PLACED in story and reserved != total(story[PLACED].body["lines"]):
            yield f"{key}: what is reserved is not what was ordered"
        if outcome(story) == "confirmed" and released:
            yield f"{key}: is confirmed, but its goods were put back"
        if outcome(story) == "cancelled" and {RELEASED, REJECTED} & story.keys() and released != reserved:
            yield f"{key}: is cancelled, but what was put back is not what was reserved"


def goods(story: Story, event_type: str) -> Counter[str]:
    """The pieces in an event of the story, by article; none where there is no such event."""
    return total(story[event_type].body["goods"]) if event_type in story else Counter()


def mails_agree(facts: Facts) -> Offences:
    """every mail that was noted went out, and no letter under two Message-IDs"""
    if facts.mails is None:
        return
    for event in facts.of_type(*LETTERS):
        if event.body["message_id"] not in facts.mails:
            yield f"{event.key}: {event.type}, but the mail is not there"
    letters = Counter(message_id.rpartition("@")[0] for message_id in facts.mails)
    for message_id in facts.mails:
        if letters[message_id.rpartition("@")[0]] > 1:
            yield f"{addressee(message_id)}: {message_id} is one of several for the same letter"


def no_mail_twice(facts: Facts) -> Offences:
    """no mail went out twice"""
    for message_id, copies in sent_again(facts).items():
        if copies > 1 + facts.restorations:
            yield f"{addressee(message_id)}: {copies} copies of {message_id}"


def sent_again(facts: Facts) -> dict[str, int]:
    """The Message-IDs that went out more than once, with the number of copies."""
    return {message_id: copies for message_id, copies in (facts.mails or {}).items() if copies > 1}


def letters_have_a_source(facts: Facts) -> Offences:
    """every dead letter points to a message that is there"""
    sources = {(message.stream, message.sequence): message.subject for message in [*facts.intake, *facts.events]}
    for letter in facts.letters:
        found = sources.get(letter.place)
        if found is None or letter.source_subject not in ("", found):  # a letter that was cut may not say its subject
            stream, sequence = letter.place
            yield f"{letter}: no {letter.source_subject} at {stream} {sequence}"


CHECKS: Sequence[Check] = (
    acknowledged_are_stored,
    nothing_is_set_aside,
    every_event_keeps_its_contract,
    one_end_each,
    ends_have_their_effects,
    each_event_once,
    one_trace_each,
    every_event_has_its_cause,
    nothing_for_unknown_orders,
    charged_once,
    money_balances,
    ledger_agrees,
    charged_what_was_ordered,
    never_below_zero,
    stock_balances,
    goods_follow_the_end,
    mails_agree,
    no_mail_twice,
    letters_have_a_source,
)


@dataclass(slots=True)
class Shelf:
    """One article's books, in pieces."""

    restocked: int = 0
    reserved: int = 0
    released: int = 0
    level: int = 0
    level_sequence: int = 0

    @property
    def out(self) -> int:
        """What left the shelf and did not come back."""
        return self.reserved - self.released

    @property
    def oversold(self) -> int:
        """What left the shelf without ever having been on it."""
        return max(0, self.out - self.restocked)


def shelves(facts: Facts) -> dict[str, Shelf]:
    """The books of every article."""
    found: defaultdict[str, Shelf] = defaultdict(Shelf)
    for event in facts.of_type(RESTOCKED):
        found[event.body["sku"]].restocked += event.body["quantity"]
    for event in facts.of_type(RESERVED, RELEASED):
        for sku, pieces in total(event.body["goods"]).items():
            if event.type == RESERVED:
                found[sku].reserved += pieces
            else:
                found[sku].released += pieces
    for event in facts.of_type(LEVEL):
        if event.sequence > found[event.key].level_sequence:
            found[event.key].level, found[event.key].level_sequence = event.body["available"], event.sequence
    return dict(sorted(found.items()))
