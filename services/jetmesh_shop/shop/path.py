"""The way of an order through the services: which reaction comes after what, and where it stands."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from jetmesh.operate.span_record import SpanRecord
from jetmesh.outcome import Later, Retried
from jetmesh_shop.shop.story import Story
from jetmesh_shop.shop.words import BAD, EVENTS, detail

State = Literal["done", "refused", "working", "retrying", "waiting"]
STATES: Mapping[State, str] = {
    "done": "done", "refused": "refused", "working": "at work", "retrying": "tries again", "waiting": "waits",
}  # fmt: skip
TRIES_AGAIN = frozenset({Later.name, Retried.name, "failed"})
SERVICES = ("orders", "payments", "inventory", "notifications", "delivery")
"""Their order is that of their hues."""


class Reaction(NamedTuple):
    """A reaction on an order's way: what it waits for (all of it, if it `joins`), and the events it may end with."""

    service: str
    name: str
    title: str
    waits: tuple[str, ...]
    ends: tuple[str, ...]
    joins: bool = False

    def waits_in(self, story: Story) -> bool:
        """Whether what it needs is not there."""
        there = [kind in story for kind in self.waits]
        return not (all(there) if self.joins else any(there))


PLACE = Reaction("orders", "place", "Take the order", (), ("orders.placed", "orders.refused"))
HOLD = Reaction(
    "payments", "authorize", "Hold the money", ("orders.placed",), ("payments.authorized", "payments.declined")
)
RESERVE = Reaction(
    "inventory", "shelve", "Reserve the goods", ("orders.placed",), ("inventory.reserved", "inventory.rejected")
)
PROMISE = Reaction(
    "orders",
    "promise",
    "Promise the order",
    ("payments.authorized", "inventory.reserved"),
    ("orders.confirmed",),
    joins=True,
)
CAPTURE = Reaction(
    "payments", "capture", "Take the money", ("orders.confirmed",), ("payments.captured", "payments.capture_failed")
)
CONFIRM = Reaction(
    "notifications", "confirm", "Send the confirmation", ("orders.confirmed",), ("notifications.confirmation_sent",)
)
THANK = Reaction("notifications", "thank", "Send the receipt", ("payments.captured",), ("notifications.receipt_sent",))
DISPATCH = Reaction("delivery", "dispatch", "Find a courier", ("payments.captured",), ("delivery.dispatched",))
DELIVER = Reaction("delivery", "dispatch", "Carry it to you", ("delivery.dispatched",), ("delivery.delivered",))
GIVE_UP = Reaction("orders", "give_up", "Cancel the order", (), ("orders.cancelled",))
VOID = Reaction("payments", "void", "Give the money back", ("orders.cancelled",), ("payments.voided",))
RELEASE = Reaction("inventory", "shelve", "Put the goods back", ("orders.cancelled",), ("inventory.released",))
CALL_OFF = Reaction("delivery", "dispatch", "Deliver nothing", ("orders.cancelled",), ("delivery.cancelled",))
APOLOGIZE = Reaction(
    "notifications", "apologize", "Tell the customer", ("orders.cancelled", "orders.refused"),
    ("notifications.cancellation_sent",),
)  # fmt: skip

REACTIONS = (
    PLACE, HOLD, RESERVE, PROMISE, CAPTURE, CONFIRM, THANK, DISPATCH, DELIVER,
    GIVE_UP, VOID, RELEASE, CALL_OFF, APOLOGIZE,
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A reaction and how it stands: its event, how long it took, how often it was tried."""

    reaction: Reaction
    state: State
    words: str = ""
    at_ms: float | None = None
    took_ms: float | None = None
    attempts: int = 0
    reason: str = ""

    @property
    def key(self) -> str:
        """Its id on the page."""
        return f"{self.reaction.service}-{self.reaction.name}-{self.reaction.ends[0].partition('.')[2]}"

    @property
    def hue(self) -> int:
        """The hue of its service."""
        return SERVICES.index(self.reaction.service) + 1

    @property
    def says(self) -> str:
        """Its state in words."""
        return STATES[self.state]


def columns(story: Story) -> Sequence[Sequence[Reaction]]:
    """The reactions of this order, those of one column at the same time."""
    if "orders.refused" in story:
        return ((PLACE,), (APOLOGIZE,))
    if "orders.cancelled" not in story:
        return ((PLACE,), (HOLD, RESERVE), (PROMISE,), (CAPTURE, CONFIRM), (THANK, DISPATCH), (DELIVER,))
    promised = [(PROMISE,), (CAPTURE, CONFIRM)] if "orders.confirmed" in story else []
    undone = [
        *([] if "payments.declined" in story else [VOID]),
        *([] if "inventory.rejected" in story else [RELEASE]),
        CALL_OFF,
        APOLOGIZE,
    ]
    return ((PLACE,), (HOLD, RESERVE), *promised, (GIVE_UP,), tuple(undone))


def is_over(story: Story) -> bool:
    """Whether nothing more is to come."""
    return bool(story) and all(
        any(end in story for end in reaction.ends) for column in columns(story) for reaction in column
    )


def steps(story: Story, spans: Sequence[SpanRecord]) -> list[list[Step]]:
    """Every reaction of the order's way, as it stands."""
    return [[step(reaction, story, spans) for reaction in column] for column in columns(story)]


def step(reaction: Reaction, story: Story, spans: Sequence[SpanRecord]) -> Step:
    """How a reaction stands."""
    tries = list(deliveries(reaction, story, spans))
    attempts = max((attempt_of(span) for span in tries), default=0)
    ended = next((story[kind] for kind in reaction.ends if kind in story), None)
    if ended is None:
        late = bool(tries) and tries[-1].attributes.get("jetmesh.outcome") in TRIES_AGAIN
        state: State = "waiting" if reaction.waits_in(story) else "retrying" if late else "working"
        return Step(reaction, state, attempts=attempts, reason=reason_of(tries[-1]) if late else "")
    done = [span for span in tries if span.attributes.get("messaging.message.id") == ended.causation_id]
    state = "refused" if ended.type in BAD else "done"
    at_ms = (ended.time - began(story)).total_seconds() * 1e3
    words = EVENTS[ended.type]
    return Step(
        reaction, state, words, at_ms, took_ms(done[-1]) if done else None, attempts, detail(ended.type, ended.data)
    )


def deliveries(reaction: Reaction, story: Story, spans: Sequence[SpanRecord]) -> Iterator[SpanRecord]:
    """Each time the reaction had an event of this order, by start."""
    causes = {story[kind].id for kind in reaction.waits if kind in story}
    causes |= {story[kind].causation_id for kind in reaction.ends if kind in story} - {""}
    for span in spans:
        told = span.attributes
        is_mine = span.service == reaction.service and told.get("jetmesh.reaction") == reaction.name
        if span.kind == "consumer" and is_mine and told.get("messaging.message.id") in causes:
            yield span


def began(story: Story) -> datetime:
    """When the first event was recorded."""
    return min(event.time for event in story.values())


def reason_of(span: SpanRecord) -> str:
    """Why a delivery failed, without the name of the exception."""
    thrown = (event.attributes.get("exception.message") for event in span.events if event.name == "exception")
    name, _, said = (span.status_message or str(next(thrown, None) or "")).partition(": ")
    return (said if name.isidentifier() and said else f"{name}: {said}" if said else name).capitalize()


def title_of(span: SpanRecord) -> str:
    """What the reaction of a delivery is to do."""
    name = str(span.attributes.get("jetmesh.reaction", ""))
    known = (each.title for each in REACTIONS if (each.service, each.name) == (span.service, name))
    return next(known, name or span.name)


def took_ms(span: SpanRecord) -> float:
    """How long a span took, in milliseconds."""
    return (span.end_unix_nano - span.start_unix_nano) / 1e6


def attempt_of(span: SpanRecord) -> int:
    """The number of a delivery, from 1."""
    count = span.attributes.get("messaging.nats.message.delivery_count", 1)
    return count if isinstance(count, int) else 1
