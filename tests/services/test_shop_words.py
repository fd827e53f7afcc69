"""The shop has words for all that can happen to an order."""

from typing import Any

import pytest

from jetmesh_contracts import OrderCancelled, OrderRefused, PaymentDeclined
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.orders.catalogue import PRICES
from jetmesh_shop.shop import path, view, words
from jetmesh_shop.shop.articles import WORDS
from jetmesh_shop.shop.story import TYPES


@pytest.mark.parametrize(
    ("said", "event", "field"),
    [
        (words.CANCELLED, OrderCancelled, "reason"),
        (words.DECLINED, PaymentDeclined, "reason"),
        (words.REFUSED, OrderRefused, "reason"),
    ],
    ids=["cancelled", "declined", "refused"],
)
def test_every_reason_of_a_contract_has_words(said: dict[str, words.Refusal], event: type, field: str) -> None:
    schema = event.model_json_schema()["properties"][field]  # type: ignore[attr-defined]
    assert set(schema.get("enum") or []) <= set(said)


def test_every_event_about_an_order_has_words() -> None:
    assert {kind.type for kind in TYPES} == set(words.EVENTS)


def test_every_article_has_a_name() -> None:
    assert set(WORDS) == set(PRICES)


def test_the_way_of_an_order_names_reactions_that_there_are() -> None:
    declared = {(service.name, reaction.name) for service in SERVICES for reaction in service.reactions}
    assert {(each.service, each.name) for each in path.REACTIONS} <= declared


def test_a_cancellation_that_came_too_late_is_told_so() -> None:
    story: Any = dict.fromkeys(["orders.confirmed", "payments.captured", "orders.cancellation_requested"])
    assert "too late to cancel" in view.headline(story, over=False).advice
    assert "too late" not in view.headline({"payments.captured": story}, over=False).advice
