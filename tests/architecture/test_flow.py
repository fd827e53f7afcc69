"""The flow as the signatures tell it: no cycles, few steps, nobody records what is not theirs, nothing is forgotten."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetmesh.event import EventType
from jetmesh.reaction import Reaction
from jetmesh_contracts import (
    EVENTS,
    OrderGoodsSecured,
    OrderPaymentSecured,
    PositionReported,
    ShiftBegun,
)
from jetmesh_shop.flow import SERVICES

ROOT = Path(__file__).resolve().parents[2]
REACTIONS = [reaction for service in SERVICES for reaction in service.reactions]
STEPS_MAX = 8
"""Placed, authorized, confirmed, captured, dispatched, missed, delayed, told: the longest way that an order can go. A
state causes nothing here: `delivery.reassigned` leads to the next courier who is missed, and each is off duty then."""

READ_IN_THE_STORY = {OrderPaymentSecured, OrderGoodsSecured, ShiftBegun}
"""Their owner itself reads them, when it folds what it recorded: the halves of the promise, who is on duty."""
READ_OUTSIDE = {PositionReported}
"""For whoever follows a courier on a map."""


SHELF = {
    "orders.placed": {"inventory.reserved", "inventory.rejected"},
    "orders.cancelled": {"inventory.released", "delivery.cancelled"},
    "stock.restocked": {"stock.restocked"},
    "payments.captured": {"delivery.queued", "delivery.dispatched"},
    "delivery.delivered": {"delivery.delivered"},
    "delivery.courier_missed": {"delivery.delayed", "shifts.ended"},
    "shifts.begun": {"shifts.begun"},
    "shifts.ended": {"shifts.ended"},
}
"""One reaction decides all that happens to a shelf, and one to the couriers: which of its events brings about which,
its signature can't say."""


def caused_by(reaction: Reaction) -> Iterator[tuple[EventType, EventType]]:
    """Which event may cause which. What comes from outside is a wish and not yet the event of the same name."""
    for event in reaction.events:
        for outcome in reaction.outcomes:
            shelved = not reaction.form.is_joint or outcome.type in SHELF[event.type]
            if shelved and not outcome.state and not reaction.takes_from_outside(event):
                yield event, outcome


EDGES = {edge for reaction in REACTIONS for edge in caused_by(reaction) if edge[0] is not edge[1]}


def chains(event: EventType, before: tuple[EventType, ...] = ()) -> Iterator[tuple[EventType, ...]]:
    """Every way on from an event."""
    assert event not in before, " → ".join(each.type for each in (*before, event))
    chain = (*before, event)
    following = [outcome for cause, outcome in EDGES if cause is event]
    if not following:
        yield chain
    for outcome in following:
        yield from chains(outcome, chain)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_no_event_causes_itself_and_every_chain_is_short(event: EventType) -> None:
    assert max(len(chain) for chain in chains(event)) <= STEPS_MAX


def test_only_what_comes_from_outside_may_be_recorded_under_its_own_name() -> None:
    for reaction in REACTIONS:
        same = set(reaction.events) & set(reaction.outcomes)
        assert all(reaction.takes_from_outside(event) for event in same), reaction.name


def test_a_service_records_only_its_own_events() -> None:
    for service in SERVICES:
        assert {event.owner for event in service.records} <= {service.name}


def test_every_contract_is_recorded_by_its_owner() -> None:
    recorded = {event for service in SERVICES for event in service.records}
    assert set(EVENTS) == recorded


def test_every_event_has_a_reaction_or_is_an_ending_or_a_level() -> None:
    read = {event for reaction in REACTIONS for event in reaction.events if not reaction.takes_from_outside(event)}
    unread = {event for event in EVENTS if event not in read and not event.ending and not event.state}
    assert unread == READ_IN_THE_STORY | READ_OUTSIDE


def test_each_type_is_named_after_what_happened_to_which_entity() -> None:
    for event in EVENTS:
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", event.type), event
    assert len({event.type for event in EVENTS}) == len(EVENTS)


def test_compensations_never_give_up() -> None:
    """Money and goods that must be given back pause and page instead."""
    compensating = {"capture", "void", "withdraw", "shelve", "give_up", "time_out"}
    for reaction in REACTIONS:
        if reaction.name in compensating and not reaction.form.only_outside:
            assert reaction.retry.attempts is None, reaction.durable
