"""What is wrong with a declaration that listens is said at once, with function, value and fix."""

from collections.abc import Callable
from typing import Any

import pytest

from jetmesh import DeclarationError, EventModel, ForeignMessage, Service
from jetmesh.foreign import Listens
from tests.support.jobs import Asked
from tests.support.plant import TELEMETRY, TEMPERATURES, Pressure, Reading, Scanned, climate, packed


async def read(reading: Reading) -> Reading: ...  # type: ignore[empty-body]
async def two(one: Reading | Scanned) -> Reading: ...  # type: ignore[empty-body]
async def others(asked: Asked) -> Reading: ...  # type: ignore[empty-body]
async def waits(message: ForeignMessage) -> Reading: ...  # type: ignore[empty-body]
def nothing() -> Reading: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (read, {"subject": "telemetry..temp"}, "climate.read listens to 'telemetry..temp', which is no subject; write"),
        (read, {"subject": "telemetry.>.temp"}, "listens to 'telemetry.>.temp', which is no subject"),
        (read, {"subject": "t.{line_id}.{line_id}"}, "names two tokens alike; give each a name of its own"),
        (read, {"subject": "t.{line}"}, "and Reading has no field 'line'; name a field, or write a function `decode=`"),
        (read, {"stream": "a.b"}, "climate.read declares stream='a.b'; write the name of a stream"),
        (read, {"decode": packed}, "climate.read declares decode=packed, which returns Pressure, not Reading; write"),
        (read, {"decode": waits}, "climate.read declares decode=waits, which is async; write `def`"),
        (read, {"decode": nothing}, "declares decode=nothing, which can't be called with one message"),
        (read, {"decode": Scanned}, "declares decode=Scanned, which is no decoder of a Reading"),
        (read, {"decode": "json"}, "declares decode='json', which is no decoder of a Reading"),
        (two, {}, "climate.two listens for Reading or Scanned; listen for each with a reaction of its own"),
        (others, {}, "climate.others listens for Asked, which jobs owns; decode into an event that climate owns"),
    ],
    ids=["empty", "rest", "twice", "field", "stream", "returns", "async", "arguments", "class", "text", "two", "owner"],
)
def test_what_is_wrong_names_function_value_and_fix(
    function: Callable[..., Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(DeclarationError) as refused:
        Service("climate").listen(**{"subject": TEMPERATURES, "stream": TELEMETRY, **options})(function)
    assert words in str(refused.value)


def test_the_class_of_the_event_is_a_decoder_of_json() -> None:
    service = Service("climate")
    service.listen(TEMPERATURES, stream=TELEMETRY, decode=Reading)(read)
    assert service.reactions[0].listens == climate().reactions[0].listens == Listens(TEMPERATURES, TELEMETRY)
    assert Listens(TEMPERATURES, TELEMETRY).names == {"plant_id": 2, "line_id": 3}


def test_a_decoder_without_annotations_is_believed() -> None:
    service = Service("climate")
    service.listen("pressure.*", stream="PRESSURE", decode=lambda message: Pressure(plant_id="p", bar=1.0))(pressed)
    assert isinstance(service.reactions[0].events[0], type(EventModel))


async def pressed(one: Pressure) -> Pressure: ...  # type: ignore[empty-body]
