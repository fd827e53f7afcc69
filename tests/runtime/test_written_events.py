"""What is recorded keeps its contract, however the event was made."""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel, Field

from jetmesh import Event, EventModel, Permanent, Token
from jetmesh.cloudevents import written_event
from jetmesh.testing import MeshOf
from tests.support.jobs import Asked, WorkEvent, work


class Colour(StrEnum):
    RED = "red"


class Part(BaseModel):
    weight_grams: int


class Made(EventModel, type="things.made", owner="things", key_field="thing_id"):
    """An event with a field of each kind that is hard in JSON."""

    thing_id: Token
    colour: Colour = Colour.RED
    price: Decimal = Decimal("1.10")
    seal: bytes = b"seal"
    size: int | str = 1
    parts: list[Part] = Field(default_factory=list)


class Named(EventModel, type="things.named", owner="things", key_field="thing_id"):
    """An event whose field is called otherwise in JSON."""

    thing_id: Token = Field(alias="thingId")


class Rated(WorkEvent, type="work.rated"):
    """How hard a job is."""

    stars: int


MADE = Made(thing_id="t-1", parts=[Part(weight_grams=1)])


HEAVY: dict[str, Any] = {"weight_grams": "heavy"}


def changed_later() -> Made:
    made = Made(thing_id="t-1")
    made.parts.append(Part.model_construct(**HEAVY))
    return made


BROKEN: dict[str, tuple[Callable[[], Event], str]] = {
    "a copy": (lambda: MADE.model_copy(update={"size": None}), "size"),
    "nothing was checked": (lambda: Made.model_construct(thing_id="a b"), "thing_id"),
    "a list changed later": (changed_later, "parts.0.weight_grams"),
    "an alias": (lambda: Named(thingId="t-1"), "thingId"),
}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("how", BROKEN)
def test_what_breaks_its_contract_is_not_written(how: str) -> None:
    make, field = BROKEN[how]
    with pytest.raises(Permanent, match=rf"^things\.\w+ would break its contract: {field}.*; make the event with"):
        written_event(make())


def test_what_is_written_can_be_read() -> None:
    assert Made.read(written_event(MADE)) == MADE


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_a_reaction_that_makes_one_is_a_dead_letter(mesh_of: MeshOf) -> None:
    service = work()

    @service.begins
    async def rate(asked: Asked) -> Rated:
        """Somebody wants a job done: say how hard it is, and spoil what is said."""
        return Rated(job_id=asked.job_id, stars=1).model_copy(update={"stars": None})

    mesh = await mesh_of(service)
    await mesh.record(Asked(job_id="j-1"))
    (letter,) = await mesh.dead_letters(1)
    assert letter.headers["Jetmesh-Reason"].startswith("work.rated would break its contract: stars: ")
    assert await mesh.types("j-1") == {"jobs.asked"}
